"""Money in the ledger beyond a block's usual life: schemes, kept fees, blocks lost after a payout."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
import sqlalchemy as sa

from payouts import journal
from payouts.terms import DatedTerms, Terms, TermsFrom
from pool import journal_store, ledger_store
from pool.records import Found, Submitted
from pool.reports import build_report
from tests.integration.ledger_world import DAY, NETWORK, RULES, World
from tests.integration.test_reports import PUBLISHER, content

REWARD = 5_000_000_001


async def mined(world: World, miner_id: int, *others: int) -> Found:
    """A block on top of the node's chain, told and taken; `others` have worked in its batch."""
    solved = world.share(miner_id, target=NETWORK)
    found = world.found(solved, height=len(world.node.main), reward=REWARD)
    world.node.main.append(found.block_hash)
    await world.tell(*(world.share(one) for one in others), solved, found)
    await world.work()
    return found


async def pay(world: World, payout_id: int, amounts: dict[int, int]) -> None:
    """A payout as a settler books it, reserved and confirmed."""
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        run = await connection.scalar(
            sa.text(
                "INSERT INTO payout_run (at_us, day, actor, reason) VALUES (1, :day, 't', 't') RETURNING id"
            ),
            {"day": DAY},
        )
        await connection.execute(
            sa.text(
                "INSERT INTO payout (id, run_id, number, state, created_us, amount_sat) "
                "OVERRIDING SYSTEM VALUE VALUES (:id, :run, 1, 'confirmed', 1, :amount)"
            ),
            {"id": payout_id, "run": run, "amount": sum(amounts.values())},
        )
        for number, (miner_id, amount) in enumerate(amounts.items()):
            await connection.execute(
                sa.text(
                    "INSERT INTO payment VALUES (:id, :number, :miner, 'wallet', 'a', '', :amount, 0, NULL, "
                    "'', 'L', 'active')"
                ),
                {"id": payout_id, "number": number, "miner": miner_id, "amount": amount},
            )
        for entry in (
            journal.payout_reserved(payout_id, amounts),
            journal.payout_confirmed(payout_id, amounts, 10),
        ):
            await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "test")


async def test_i3_a_block_lost_after_it_was_paid_is_the_pools_loss_and_comes_back(world: World) -> None:
    """Reorganised away at maturity after a payout, and back: to the satoshi, and the report tells it."""
    found = await mined(world, 1, 2)
    branch = list(world.node.main)
    world.node.grow(99)
    await world.work()
    before = await world.balances()
    owed = {1: -before["miner:1:payable"], 2: -before["miner:2:payable"]}
    await pay(world, 1, {1: owed[1], 2: owed[2] - 4})
    deep = list(world.node.main)
    world.node.reorganise(1)
    world.now_us += 60_000_000
    await world.work()
    assert await world.states() == {found.block_hash: "orphaned"}
    lost = await world.balances()
    assert lost["pool:orphan_loss:1"] == owed[1]
    assert lost["pool:orphan_loss:2"] == owed[2] - 4
    assert "miner:1:payable" not in lost
    assert "miner:2:payable" not in lost
    world.node.aside.update(world.node.main[1:])
    world.node.main = deep
    assert branch == deep[:2]
    world.now_us += 60_000_000
    await world.work()
    await world.work()
    assert await world.states() == {found.block_hash: "mature"}
    after = await world.balances()
    assert not [account for account in after if "orphan_loss" in account]
    assert after["miner:2:payable"] == -4
    assert after["asset:coinbase:mature"] == REWARD - owed[1] - owed[2] + 4 - 10
    report = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us + 86_400_000_000))
    [told] = report["blocks"]
    assert [event["state"] for event in told["history"]][-3:] == ["orphaned", "confirmed", "mature"]
    assert told["history"][-1]["borne_by_pool"] == [
        {"miner_id": 1, "amount_sat": owed[1]},
        {"miner_id": 2, "amount_sat": owed[2] - 4},
    ]


@pytest.mark.parametrize("depth", [1, 6, 99])
async def test_i3_a_reorganisation_of_any_depth_reverses_and_restores(world: World, depth: int) -> None:
    blocks = [await mined(world, 1 + number % 3) for number in range(3)]
    world.node.grow(99 - 1)
    await world.work()
    before = await world.balances()
    chain = list(world.node.main)
    world.node.reorganise(len(chain) - depth)
    await world.work()
    states = await world.states()
    assert [states[one.block_hash] for one in blocks] == [
        "orphaned" if height >= len(chain) - depth else "mature" for height in range(1, 4)
    ]
    world.node.aside.update(world.node.main)
    world.node.main = [*chain, f"{2**255 + depth:064x}", f"{2**254 + depth:064x}"]
    await world.work()
    await world.work()
    now = await world.balances()
    assert sum(now.values()) == 0
    mature = sum(REWARD for height in range(1, 4) if len(world.node.main) - height >= 100)
    assert now["asset:coinbase:mature"] == mature >= before["asset:coinbase:mature"]


async def test_solo_gives_the_block_to_its_finder(world: World) -> None:
    """I4: a window of one hash, the finder's; and the report recomputes it."""
    world.terms = DatedTerms(Terms("solo", 2, 150, "shared"))
    world.ledger = world.new_ledger()
    found = await mined(world, 2, 1, 3)
    assert await world.rows(
        "SELECT split.miner_id, work::int, window_first = window_last FROM split, block"
    ) == [(2, 1, True)]
    await world.tell(stranger := world.found(height=2))
    await world.work()
    rows = await world.rows(f"SELECT window_first, scheme FROM block WHERE hash = '{stranger.block_hash}'")
    assert rows == [(None, "solo")]
    report = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us + 86_400_000_000))
    assert {block["hash"]: block["window"] and block["window"]["size"] for block in report["blocks"]} == {
        found.block_hash: "1",
        stranger.block_hash: None,
    }


async def test_terms_change_with_the_day_on_which_a_block_is_found(world: World) -> None:
    world.terms = DatedTerms(
        Terms("pplns", 2, 150, "shared"),
        [TermsFrom(DAY + dt.timedelta(days=1), Terms("pplns", 3, 80, "pool"))],
    )
    world.ledger = world.new_ledger()
    await mined(world, 1)
    world.now_us += 86_400_000_000
    await mined(world, 1)
    rows = await world.rows(
        "SELECT window_multiple, commission_bps, transaction_fees, commission_sat FROM block ORDER BY height"
    )
    assert rows == [
        (2, 150, "shared", REWARD * 150 // 10_000),
        (3, 80, "pool", 1 + (REWARD - 1) * 80 // 10_000),
    ]


async def test_a_block_that_a_node_took_is_submitted_before_it_is_confirmed(world: World) -> None:
    solved = world.share(1, target=NETWORK)
    found = world.found(solved)
    at_us = world.now_us + 1000
    world.now_us += 2000
    await world.tell(solved, found, Submitted(at_us, found.block_hash, "node a"))
    await world.work()
    assert await world.states() == {found.block_hash: "submitted"}
    world.node.main.append(found.block_hash)
    await world.tell(Submitted(at_us + 5, found.block_hash, "node a"))
    await world.work()
    rows = await world.rows("SELECT state, at_us, note FROM block_event ORDER BY id")
    assert [state for state, *_ in rows] == ["found", "submitted", "confirmed"]
    assert rows[1][1:] == (at_us, "taken by node a")


async def test_i4_running_totals_are_the_sums_of_all_work(world: World) -> None:
    for size in (3, 1, 4):
        await world.tell(*(world.share(1 + number % 3) for number in range(size)))
    await world.work()
    rows = await world.rows(
        "SELECT miner_id, work::int, total::int, miner_total::int FROM slice ORDER BY position"
    )
    works = [int(str(work)) for _, work, _, _ in rows]
    assert [total for *_, total, _ in rows] == list(itertools.accumulate(works))
    for id_ in (1, 2, 3):
        own = [row for row in rows if row[0] == id_]
        assert [row[3] for row in own] == list(itertools.accumulate(int(str(row[1])) for row in own))
    async with world.engine.connect() as connection:
        head = await ledger_store.read_head(connection)
    assert (head.batch_position, head.slice_position, head.total) == (3, len(rows), sum(works))


async def test_a_window_that_reaches_behind_what_is_kept_is_refused_in_words(world: World) -> None:
    """I4: never a split over a part of its window."""
    for _ in range(3):
        await world.tell(world.share(1))
    await world.work()
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM slice WHERE position = 1"))
        assert (await ledger_store.read_window(connection, 3, 32)).work_total == 32  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="reaches back before slice 2, the oldest that is kept"):
            await ledger_store.read_window(connection, 3, 33)


async def test_i3_what_an_account_has_by_day_follows_from_the_journal_alone(world: World) -> None:
    await mined(world, 1)
    by_hand = [
        "UPDATE account_day SET closing = closing + 1, debit = debit + 1",
        "DELETE FROM account_day",
        "INSERT INTO account_day VALUES ('x', '2026-11-24', 0, 1, 0, 1)",
    ]
    for statement in by_hand:
        with pytest.raises(sa.exc.DBAPIError, match="follows from the journal"):
            await execute(world, statement)
    rows = await world.rows("SELECT account, opening, closing FROM account_day ORDER BY account")
    assert {account: closing for account, _, closing in rows} == await world.balances()


async def test_i3_no_miner_is_ever_made_to_owe(world: World) -> None:
    await mined(world, 1)
    entry = journal.correction(
        [journal.Posting("miner:1:payable", 1), journal.Posting("pool:correction", -1)], "too much"
    )
    async with world.engine.connect() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        with pytest.raises(sa.exc.DBAPIError, match="account_day_owed_check"):
            await journal_store.book(connection, entry, at_us, DAY, "test")


async def execute(world: World, statement: str) -> None:
    async with world.engine.begin() as connection:
        await connection.execute(sa.text(statement))
