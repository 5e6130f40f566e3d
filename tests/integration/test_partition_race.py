"""Partitions are made while the ledger, gateways and readers work: none of them fails, none misses a row.

Rows of a day without a partition move out of the default one when it is made. Who has looked up where rows
lie before that, and waits, must not go there after it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import sqlalchemy as sa

from payouts.pplns import Window
from pool import ledger_store, partitions, report_facts
from pool.partitions import KINDS, Kind, Partition
from tests.integration.ledger_world import World

DAY_US = 86_400_000_000
FAR = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
_Result = TypeVar("_Result")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no failure."""
    monkeypatch.setattr(partitions, "LOCK_SECONDS", 60)


def utc(at_us: int) -> dt.date:
    return dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC).date()


def day_of(world: World, kind: Kind) -> dt.date:
    """The day whose rows lie in the default: batches go by the database's own clock."""
    return dt.datetime.now(dt.UTC).date() if kind.name == "batch" else utc(world.now_us)


@asynccontextmanager
async def half_made(world: World, partition: Partition) -> AsyncIterator[None]:
    """Within, a partition is being made and has all its locks; behind, it is made.

    It waits for somebody who is about to make a table of the same name, and who thinks better of it.
    """
    async with world.engine.connect() as other:
        await other.execute(sa.text(f"CREATE TABLE {partition.name} ()"))
        making = asyncio.create_task(partitions.make(world.engine, partition))
        await _waiting(world, 1)
        yield
        await other.rollback()
        await making


async def _waiting(world: World, who_waits: int) -> None:
    """Until so many sessions wait for a lock."""
    waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(30):
        while (await world.rows(waiting))[0][0] != who_waits:
            await asyncio.sleep(0.01)


async def meanwhile(world: World, partition: Partition, work: Callable[[], Awaitable[_Result]]) -> _Result:
    """What comes of work that begins while a partition is being made."""
    async with half_made(world, partition):
        working = asyncio.ensure_future(work())
        await _waiting(world, 2)
    return await working


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_whoever_writes_meanwhile_waits_and_writes_into_the_new_partition(
    world: World, kind: Kind
) -> None:
    """I1: not an error, and not a row in a place where nobody would look for it."""
    await world.tell(world.share(1), world.reject(1))
    await world.work()
    share = world.share(1)
    records = share, world.reject(2), world.found(share)
    if kind.name == "batch":
        await meanwhile(world, Partition(kind, day_of(world, kind)), lambda: world.tell(*records))
    else:
        await world.tell(*records)
        await meanwhile(world, Partition(kind, day_of(world, kind)), world.work)
    await world.work()
    places = await world.rows(f"SELECT tableoid::regclass::text, count(*) FROM {kind.name} GROUP BY 1")
    assert places == [(Partition(kind, day_of(world, kind)).name, 2)]
    assert await world.rows("SELECT window_first, window_last, window_work::int FROM block") == [(1, 2, 32)]


async def read_window(world: World, last: int, size: int) -> Window | None:
    async with world.engine.connect() as connection:
        return await ledger_store.read_window(connection, last, size)


async def test_a_window_that_is_read_meanwhile_misses_no_slice(world: World) -> None:
    """I4: a block would be split otherwise than an audit splits it."""
    for _ in range(2):
        for _ in range(5):
            await world.tell(world.share(1), world.share(2))
            await world.work()
        world.now_us += DAY_US
    whole = await read_window(world, 20, 300)
    assert whole is not None
    assert whole.by_miner == {1: 144, 2: 156}
    for days in (1, 2):
        day = utc(world.now_us - days * DAY_US)
        seen = await meanwhile(world, Partition(KINDS[1], day), lambda: read_window(world, 20, 300))
        assert seen == whole
    assert await read_window(world, 20, 300) == whole


async def test_batches_that_wait_are_seen_meanwhile(world: World) -> None:
    """I1, I7: else a report would be made without them."""
    await world.tell(world.share(1))

    async def looking() -> tuple[int, int]:
        async with world.engine.connect() as connection:
            waiting = await report_facts.waiting_batches(connection, FAR)
            return waiting, (await ledger_store.next_batch(connection)).id

    before = await looking()
    batches = Partition(KINDS[0], day_of(world, KINDS[0]))
    assert await meanwhile(world, batches, looking) == before == (1, 1)
