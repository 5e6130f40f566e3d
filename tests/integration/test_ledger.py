"""The ledger on a real PostgreSQL: order, splits, the life of blocks, the journal, one ledger at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from fractions import Fraction

import msgspec
import pytest
import sqlalchemy as sa

from pool.database import create_engine
from pool.intake import LedgerError
from pool.ledger import Ledger
from pool.records import Found, Record, Share
from pool.tables import batch
from tests.integration.ledger_world import NETWORK, RULES, World

REWARD = 5_000_000_001
COMMISSION = REWARD * 150 // 10_000


async def mine(world: World, miner_id: int = 1, *, reward: int = REWARD) -> Found:
    """A block on top of the node's chain, told and taken."""
    share = world.share(miner_id)
    found = world.found(share, height=len(world.node.main), reward=reward)
    world.node.main.append(found.block_hash)
    await world.tell(share, found)
    await world.work()
    return found


async def entries(world: World) -> list[str]:
    rows = await world.rows("SELECT kind, round FROM journal_entry ORDER BY id")
    return [f"{kind} {turn}" for kind, turn in rows]


async def test_positions_have_no_gap(world: World) -> None:
    """I4: batches and slices have one order."""
    for _ in range(5):
        await world.tell(world.share(1), world.share(2), world.reject(3), world.share(1, "b"))
    await world.work()
    positions = await world.rows("SELECT position FROM slice ORDER BY position")
    assert [one for (one,) in positions] == list(range(1, 11))
    batches = await world.rows("SELECT id, position FROM batch ORDER BY id")
    assert [position for _, position in batches] == [1, 2, 3, 4, 5]
    assert await world.rows("SELECT sum(count) FROM reject WHERE miner_id = 3") == [(5,)]


async def test_life_of_a_block(world: World) -> None:
    """I3: found, confirmed, mature; each step is booked once, when it is seen."""
    share = world.share(1)
    found = world.found(share)
    await world.tell(share, found)
    await world.work()
    assert await world.states() == {found.block_hash: "found"}
    assert await world.balances() == {}
    world.node.main.append(found.block_hash)
    await world.work()
    assert await world.balances() == {
        "asset:coinbase:immature": REWARD,
        "miner:1:immature": COMMISSION - REWARD,
        "pool:commission:immature": -COMMISSION,
    }
    world.node.grow(98)
    await world.work()
    assert await world.states() == {found.block_hash: "confirmed"}
    world.node.grow()
    await world.work()
    await world.work()
    assert await world.states() == {found.block_hash: "mature"}
    assert await world.balances() == {
        "asset:coinbase:mature": REWARD,
        "miner:1:payable": COMMISSION - REWARD,
        "pool:commission:earned": -COMMISSION,
    }
    assert await entries(world) == ["block_confirmed 0", "block_matured 0"]
    events = await world.rows("SELECT state FROM block_event ORDER BY id")
    assert [state for (state,) in events] == ["found", "confirmed", "mature"]


async def test_block_that_leaves_the_chain_is_reversed_and_restored(world: World) -> None:
    """I3: by new entries only, however often it goes and comes."""
    found = await mine(world)
    for turn in range(3):
        away = list(world.node.main)
        world.node.reorganise(1)
        await world.work()
        assert await world.states() == {found.block_hash: "orphaned"}
        assert await world.balances() == {}
        world.node.aside.update(world.node.main[1:])
        world.node.main = away
        world.node.grow(turn + 2)
        await world.work()
        assert (await world.balances())["asset:coinbase:immature"] == REWARD
    world.node.grow(100)
    await world.work()
    assert await world.states() == {found.block_hash: "mature"}
    assert (await entries(world))[-3:] == ["block_reversed 2", "block_confirmed 3", "block_matured 3"]


async def test_deep_reorganisation_reverses_a_mature_block(world: World) -> None:
    found = await mine(world)
    world.node.grow(100)
    await world.work()
    world.node.reorganise(1)
    await world.work()
    assert await world.states() == {found.block_hash: "orphaned"}
    assert await world.balances() == {}


async def test_of_two_blocks_at_one_height_one_is_paid(world: World) -> None:
    winner = await mine(world, 1)
    late = world.share(2)
    loser = world.found(late, height=1)
    world.node.aside.add(loser.block_hash)
    await world.tell(late, loser)
    await world.work()
    assert await world.states() == {winner.block_hash: "confirmed", loser.block_hash: "orphaned"}
    assert (await world.balances())["asset:coinbase:immature"] == REWARD
    world.node.reorganise(1)
    world.node.main[1] = loser.block_hash
    world.node.aside.discard(loser.block_hash)
    await world.work()
    assert await world.states() == {winner.block_hash: "orphaned", loser.block_hash: "confirmed"}
    assert (await world.balances())["asset:coinbase:immature"] == REWARD


async def test_block_that_pays_nothing_lives_without_entries(world: World) -> None:
    found = await mine(world, reward=0)
    world.node.grow(99)
    await world.work()
    assert await world.states() == {found.block_hash: "mature"}
    assert await entries(world) == []
    world.node.reorganise(1)
    await world.work()
    assert await world.states() == {found.block_hash: "orphaned"}


async def test_node_that_is_down_behind_or_new_says_nothing_of_a_block(world: World) -> None:
    found = await mine(world)
    world.node.grow(20)
    await world.work()
    chain = world.node.main
    world.node.down = True
    await world.work()
    world.node.down = False
    world.node.main = chain[:1]  # it has lost its data and syncs from the start
    await world.work()
    world.node.main = [chain[0], *(f"{0xDEAD + height:064x}" for height in range(50))]
    await world.work()
    assert await world.states() == {found.block_hash: "confirmed"}
    assert len(await entries(world)) == 1


async def test_node_that_came_back_on_another_chain_says_nothing_of_a_block(world: World) -> None:
    """I3: a long chain that is not ours reverses nothing, however far above our blocks it is."""
    found = await mine(world)
    chain = world.node.main
    world.node.down = True
    await world.work()
    world.node.down, world.node.wrong_chain = False, True
    world.node.main = [f"{0xBAD + height:064x}" for height in range(500)]
    await world.work()
    assert await world.states() == {found.block_hash: "confirmed"}
    world.node.wrong_chain, world.node.main = False, chain
    world.node.grow(99)
    await world.work()
    assert await entries(world) == ["block_confirmed 0", "block_matured 0"]


async def test_ledger_that_starts_beside_a_node_of_another_chain_asks_it_nothing(world: World) -> None:
    found = await mine(world)
    world.node.wrong_chain = True
    world.node.main = [f"{0xBAD + height:064x}" for height in range(500)]
    await world.work(world.new_ledger())
    assert await world.states() == {found.block_hash: "confirmed"}


async def test_gateway_whose_clock_is_ahead_does_not_move_the_journal(world: World) -> None:
    """I10: one machine with a wrong clock must not date everybody's money; entries never go back again."""
    share = world.share(1)
    ahead = msgspec.structs.replace(world.found(share), at_us=world.now_us + 400 * 86_400_000_000)
    world.node.main.append(ahead.block_hash)
    await world.tell(share, ahead)
    await world.work()
    await mine(world)
    assert await world.rows("SELECT DISTINCT at_us FROM journal_entry") == [(world.now_us,)]
    assert await world.rows("SELECT max(at_us) FROM block_event") == [(world.now_us,)]
    assert await world.rows("SELECT max(found_us) FROM block") == [(world.now_us,)]


async def test_block_told_again_is_taken_once(world: World) -> None:
    """I1: a gateway may tell a block once more after a crash."""
    found = await mine(world)
    await world.tell(found)
    await world.tell(world.share(2), found)
    await world.work()
    assert await world.states() == {found.block_hash: "confirmed"}
    assert await world.rows("SELECT count(*) FROM block_event WHERE state = 'found'") == [(1,)]


async def test_reward_belongs_to_the_pool_when_nobody_has_worked(world: World) -> None:
    found = world.found(None)
    world.node.main.append(found.block_hash)
    await world.tell(found)
    await world.work()
    assert await world.balances() == {
        "asset:coinbase:immature": REWARD,
        "pool:commission:immature": -REWARD,
    }


async def test_entry_is_never_before_the_one_before_it(world: World) -> None:
    await mine(world)
    world.now_us -= 3_600_000_000
    await mine(world)
    times = [int(str(at)) for (at,) in await world.rows("SELECT at_us FROM journal_entry ORDER BY id")]
    assert times == sorted(times)
    assert len(times) == 2


async def test_quiet_chain_is_asked_once(world: World) -> None:
    for _ in range(3):
        await mine(world)
    asked = world.node.asked
    for _ in range(5):
        await world.work()
    assert world.node.asked == asked


async def test_splits_are_those_recomputed_from_the_raw_records(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I2 and I4: window and split, computed again the slow way from the records that the gateway told."""
    luck = random.Random(20261124)
    for height in range(1, 9):
        for _ in range(luck.randrange(3)):
            await world.tell(
                *(world.share(luck.randint(1, 3), luck.choice("ab")) for _ in range(luck.randint(1, 9)))
            )
        solved = world.share(luck.randint(1, 3), target=NETWORK)
        crowd: list[Record] = [world.share(luck.randint(1, 3), luck.choice("ab")) for _ in range(5)]
        crowd[2:2] = [solved, world.found(solved, height=height, reward=luck.randrange(1, 10**9))]
        await world.tell(*crowd)
    await world.work()
    expected = recomputed(world.told)
    rows = await world.rows("SELECT hash, miner_id, amount_sat FROM split")
    assert {(name, miner_id): amount for name, miner_id, amount in rows} == expected
    assert len({name for name, _ in expected}) == 8


def recomputed(batches: list[list[Record]]) -> dict[tuple[object, object], int]:
    """The parts of every block by (hash, miner), with fractions and from the definition."""
    amounts: dict[tuple[object, object], int] = {}
    slices: list[tuple[int, int]] = []
    for records in batches:
        for run, found in runs(records):
            slices += run
            if found is not None:
                amounts |= {(found.block_hash, one): part for one, part in divided(slices, found).items()}
    return amounts


def divided(slices: list[tuple[int, int]], found: Found) -> dict[int, int]:
    size = Fraction(2 * 256)
    taken: dict[int, Fraction] = {}
    for miner_id, work in reversed(slices):
        part = min(Fraction(work), size)
        size -= part
        if part:
            taken[miner_id] = taken.get(miner_id, Fraction(0)) + part
    pot = found.reward_sat - found.reward_sat * 150 // 10_000
    exact = {miner_id: pot * part / sum(taken.values()) for miner_id, part in taken.items()}
    parts = {miner_id: int(part) for miner_id, part in exact.items()}
    order = sorted(exact, key=lambda miner_id: (parts[miner_id] - exact[miner_id], miner_id))
    for miner_id in order[: pot - sum(parts.values())]:
        parts[miner_id] += 1
    return parts


def runs(records: list[Record]) -> Iterator[tuple[list[tuple[int, int]], Found | None]]:
    """(miner, work) of each miner of a run, the winner's last; a run ends with a block or with its batch."""
    work: dict[int, int] = {}
    last = 0
    for record in records:
        if isinstance(record, Share):
            last = record.miner_id
            work[last] = work.get(last, 0) + 2**256 // (int.from_bytes(record.target, "big") + 1)
        elif isinstance(record, Found):
            work[last] = work.pop(last)
            yield list(work.items()), record
            work = {}
    yield list(work.items()), None


async def test_batch_that_cannot_be_read_stops_the_ledger(world: World) -> None:
    """I1: it is named, not skipped, and nothing behind it is taken."""
    await world.tell(world.share(1))
    await world.tell(world.share(1))
    async with world.engine.begin() as connection:
        await connection.execute(sa.update(batch).where(batch.c.first_seq == 1).values(payload=b"rubbish"))
    with pytest.raises(LedgerError, match=r"batch \d+ \(gateway 1, spool rows 1 to 1\).*must not be skipped"):
        await world.work()
    assert await world.rows("SELECT count(*) FROM slice") == [(0,)]


async def test_share_of_nobody_stops_the_ledger(world: World) -> None:
    """I6: work is only ever credited to a miner of the register."""
    await world.tell(world.share(99))
    with pytest.raises(LedgerError, match="miner_work_miner_id_fkey"):
        await world.work()
    assert await world.rows("SELECT count(*) FROM batch WHERE position IS NOT NULL") == [(0,)]


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("step", range(14))
async def test_crash_at_any_statement_leaves_a_state_to_go_on_from(world: World, step: int) -> None:
    """I1 and I3: whatever statement was the last, the next ledger ends in the same books."""
    left = step

    def dies(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    share = world.share(1)
    found = world.found(share)
    await world.tell(world.share(2), share, found, world.reject(3))
    world.node.main.append(found.block_hash)
    world.node.grow(99)
    writes = ("INSERT", "UPDATE")

    def watch(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith(writes):
            dies()

    sa.event.listen(world.engine.sync_engine, "before_cursor_execute", watch)
    with pytest.raises(Killed):
        await world.work()
    sa.event.remove(world.engine.sync_engine, "before_cursor_execute", watch)
    await world.work(world.new_ledger())
    assert await world.states() == {found.block_hash: "mature"}
    assert await entries(world) == ["block_confirmed 0", "block_matured 0"]
    assert await world.rows("SELECT sum(shares), max(position) FROM slice") == [(2, 2)]
    assert (await world.balances())["asset:coinbase:mature"] == REWARD


async def test_two_ledgers_one_works(world: World) -> None:
    first, second = world.new_ledger(), world.new_ledger()
    tasks = [asyncio.create_task(one.run()) for one in (first, second)]
    await until(lambda: first.active or second.active)
    await asyncio.sleep(1.2)
    assert [first.active, second.active].count(True) == 1
    active, waiting = (first, second) if first.active else (second, first)
    await world.tell(world.share(1))
    tasks[[first, second].index(active)].cancel()
    await until(lambda: waiting.active)
    await world.tell(world.share(1))
    await until_taken(world, 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_ledger_that_loses_its_connection_can_no_longer_write(world: World) -> None:
    """The lock and the means to write are one connection."""
    one = world.new_ledger()
    task = asyncio.create_task(one.run())
    await until(lambda: one.active)
    await world.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await until(lambda: one.outage)
    await until(lambda: one.active)
    assert not one.outage
    await world.tell(world.share(1))
    await until_taken(world, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_ledger_waits_for_a_database_that_is_away(world: World) -> None:
    nowhere = create_engine("postgresql://postgres@/x?host=/nonexistent")
    one = Ledger(nowhere, [world.node], RULES, world.terms)
    task = asyncio.create_task(one.run())
    await until(lambda: one.outage)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await nowhere.dispose()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("did not come true in 20 seconds")


async def until_taken(world: World, batches: int) -> None:
    for _ in range(400):
        if await world.rows("SELECT count(*) FROM batch WHERE position IS NOT NULL") == [(batches,)]:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{batches} batches were not taken in 20 seconds")
