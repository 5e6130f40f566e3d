"""A database that is older than the wallet, as after a restored backup: what was paid is not paid again (I5).

The wallet and the chain are the witnesses then. Payments that a person makes by hand look the same to the
database, and are treated the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts import journal
from payouts.journal import Posting
from pool import journal_store
from pool import settlement_desk as desk
from pool.settlement_desk import DeskError
from pool.settlement_steps import Stuck
from pool.settler import Settler, SettlerTask
from pool.wallet import bitcoins
from tests.conftest import administer
from tests.integration.entering import made_up_address
from tests.integration.ledger_world import RULES
from tests.integration.settlement_world import MATURE, SettlementWorld, settlement_world

OWED = {1: 1_234_567_890, 2: 100_000}
HOUR = 3_600_000_000


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[SettlementWorld]:
    async with settlement_world(engine) as made:
        yield made


class Backup:
    """A copy of the database, to be put in its place later."""

    def __init__(self, world: SettlementWorld) -> None:
        self._engine = world.engine
        self._url = world.engine.url.render_as_string(hide_password=False)
        self._name = world.engine.url.database

    async def take(self) -> None:
        await self._engine.dispose()
        await administer(self._url, f"CREATE DATABASE {self._name}_old TEMPLATE {self._name}")

    async def restore(self) -> None:
        await self._engine.dispose()
        await administer(
            self._url,
            f"DROP DATABASE {self._name} WITH (FORCE)",
            f"ALTER DATABASE {self._name}_old RENAME TO {self._name}",
        )


async def backup_of(world: SettlementWorld) -> Backup:
    made = Backup(world)
    await made.take()
    return made


async def received(world: SettlementWorld) -> dict[int, int]:
    return {miner_id: await world.received(miner_id) for miner_id in OWED}


async def pay_by_hand(world: SettlementWorld, miner_id: int, amount_sat: int) -> str:
    """Somebody sends from the wallet to a miner's address; the txid."""
    return await send(world, world.miners[miner_id - 1].name, amount_sat)


async def send(world: SettlementWorld, whom: str, amount_sat: int) -> str:
    to = {made_up_address(whom): bitcoins(amount_sat)}
    change = {"change_address": world.address}
    return str((await world.rpc("send", [to], None, "unset", 5, change))["txid"])


async def book_by_hand(world: SettlementWorld, amounts: dict[int, int], reason: str = "paid by hand") -> None:
    """The correction that says the same, network fees aside."""
    postings = [
        Posting(journal.COINBASE_MATURE, -sum(amounts.values())),
        *(Posting(journal.miner_payable(miner_id), amount) for miner_id, amount in amounts.items()),
    ]
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        entry = journal.correction(postings, reason)
        await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "tester")


async def run_booked(world: SettlementWorld, settler: Settler, *booked: str) -> list[int]:
    async with world.acting() as tenure:
        made = await settler.reserve(tenure, None, "tester", "a test", frozenset(booked))
        for payout_id in made:
            await settler.advance(tenure, payout_id)
    return made


@pytest.mark.parametrize("mined", [False, True])
async def test_a_scheduled_run_that_the_database_forgot_is_not_made_again(
    world: SettlementWorld, mined: bool
) -> None:
    """I5: the run is overdue and a problem, until a person has decided; nothing is written of it."""
    await world.owe(OWED)
    backup = await backup_of(world)
    settler = world.settler(schedule="daily 12:00")
    await world.tick(settler)
    txid = (await world.payout(1)).versions[0].txid
    if mined:
        await world.mine()
    await backup.restore()
    for _ in range(2):
        health = await SettlerTask(settler).tick()
        assert (health.live, health.problems) == (1, 1)
    assert await world.rows_of_payouts() == []
    with pytest.raises(Stuck, match=f"{txid}, which pays miners and is no payout's"):
        await world.run(settler)
    await world.mine()
    assert await received(world) == OWED


async def test_a_payment_whose_raised_fee_the_database_forgot_is_never_paid_again(
    world: SettlementWorld,
) -> None:
    """I5: the coin was spent by a transaction that makes the very payments; no depth makes it another's."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    backup = await backup_of(world)
    async with world.acting() as tenure:
        await desk.bump(settler, tenure, payout_id, None, "operator", "slow")
    await world.mine()
    await backup.restore()
    problem = await world.advance(settler, payout_id)
    assert problem is not None
    assert "none of ours" in problem
    for more in (0, MATURE):
        await world.mine(more)
        async with world.acting() as tenure:
            with pytest.raises(DeskError, match="makes its payments"):
                await desk.abandon(settler, tenure, payout_id, "operator", "lost")
    assert (await world.payout(payout_id)).state == "sent"
    balances = await world.balances()
    assert {one: -balances[f"miner:{one}:paying"] for one in OWED} == OWED
    assert await received(world) == OWED


async def test_a_payment_whose_signature_the_database_forgot_is_recognised_when_mined(
    world: SettlementWorld,
) -> None:
    """I5: the draft says which txid it has once signed, so that the chain can be asked."""
    await world.owe(OWED)
    unsigned, hot = world.settler(signer="psbt"), world.settler()
    (payout_id,) = await world.run(unsigned)
    backup = await backup_of(world)
    await world.advance(hot, payout_id)
    await world.mine()
    await backup.restore()
    async with world.acting() as tenure:
        with pytest.raises(DeskError, match="is confirmed"):
            await desk.abandon(unsigned, tenure, payout_id, "operator", "start again")
    assert await world.run(hot) == []
    await world.require_books_true(OWED)


async def test_what_was_never_given_out_is_not_released_while_its_coin_is_being_spent(
    engine: AsyncEngine,
) -> None:
    """I5: the database forgot that the payout was taken back and paid by another one, on the same coin."""
    async with settlement_world(engine, coins=1) as world:
        await world.owe(OWED)
        unsigned, hot = world.settler(signer="psbt"), world.settler()
        (payout_id,) = await world.run(unsigned)
        backup = await backup_of(world)
        async with world.acting() as tenure:
            await desk.abandon(unsigned, tenure, payout_id, "operator", "one is missing")
        await world.owe({3: 5_000_000})
        (again,) = await world.run(hot)
        spent = (await world.payout(again)).versions[0].inputs
        await backup.restore()
        assert (await world.payout(payout_id)).versions[0].inputs == spent
        for blocks, says in (
            (0, "is being spent"),
            (1, "makes its payments"),
            (MATURE, "makes its payments"),
        ):
            await world.mine(blocks)
            async with world.acting() as tenure:
                with pytest.raises(DeskError, match=says):
                    await desk.abandon(unsigned, tenure, payout_id, "operator", "start again")
        assert (await world.payout(payout_id)).state == "reserved"
        assert await received(world) == OWED


async def test_a_run_waits_until_a_payment_by_hand_is_booked(world: SettlementWorld) -> None:
    """I5: it goes on with the txid of what was booked, and with no other."""
    await world.owe(OWED)
    settler = world.settler()
    txids = [await pay_by_hand(world, miner_id, amount) for miner_id, amount in OWED.items()]
    for booked in ([], txids[:1], txids[1:], ["00" * 32]):
        with pytest.raises(Stuck, match=rf"--booked ({'|'.join(set(txids) - set(booked))})`$"):
            await run_booked(world, settler, *booked)
    assert await world.rows_of_payouts() == []
    await book_by_hand(world, OWED)
    assert await run_booked(world, settler, *txids) == []
    await world.owe({3: 7_000_000})
    assert len(await run_booked(world, settler, *txids)) == 1
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(OWED | {3: 7_000_000})


async def test_what_the_wallet_sends_to_others_and_payouts_signed_elsewhere_hold_no_run(
    world: SettlementWorld,
) -> None:
    """Only what pays a miner and is no payout's is a question."""
    await world.owe({1: OWED[1]})
    unsigned = world.settler(signer="psbt")
    (payout_id,) = await world.run(unsigned)
    psbt = (await world.payout(payout_id)).versions[0].psbt
    signed = await world.rpc("walletprocesspsbt", psbt)
    await world.rpc("sendrawtransaction", signed["hex"], wallet=None)
    await send(world, "an auditor", 100_000_000)
    await world.owe({2: OWED[2]})
    assert len(await world.run(unsigned)) == 1


async def test_what_was_said_to_be_booked_is_known_to_all_runs_from_then_on(world: SettlementWorld) -> None:
    """The schedule goes on by itself, whether a run or the correction itself named the payment."""
    await world.owe(OWED)
    first, second = [await pay_by_hand(world, miner_id, amount) for miner_id, amount in OWED.items()]
    await book_by_hand(world, {1: OWED[1]}, f"paid by hand, {first}")
    await book_by_hand(world, {2: OWED[2]}, "paid by hand")
    settler = world.settler(schedule="daily 12:00")
    assert (await SettlerTask(settler).tick()).problems == 1
    assert await run_booked(world, settler, second) == []
    for days in range(3):
        await world.owe({3: 7_000_000})
        assert (await SettlerTask(settler).tick()).problems == 0
        assert len(await world.rows_of_payouts()) == days + 1
        await world.mine(MATURE)
        world.now_us += 24 * HOUR


async def test_what_was_forgotten_is_seen_though_an_older_payout_is_mined_later(
    world: SettlementWorld,
) -> None:
    """I5: a payout that the database does know may be mined behind, or with, one that it does not."""
    await world.owe({1: OWED[1]})
    settler = world.settler()
    (known,) = await world.run(settler)
    await world.owe({2: OWED[2]})
    backup = await backup_of(world)
    world.now_us += HOUR
    await world.run(settler)
    await world.mine()
    await backup.restore()
    await world.tick(settler)
    assert (await world.payout(known)).state == "confirmed"
    with pytest.raises(Stuck, match="is no payout's"):
        await world.run(settler)
    assert await received(world) == OWED
