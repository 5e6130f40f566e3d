"""The window by look-ups in PostgreSQL against the pure function and the slow reference (I4).

Each example lies in a transaction of its own that is rolled back. The partitions of the slices are cut at
days, so that windows begin in one, end in another and reach over whole ones.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
import pytest_asyncio
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import pplns
from payouts.slices import Slice
from payouts.terms import Terms
from pool import ledger_store as store
from pool.tables import miner, slice_
from tests.campaign import extent
from tests.payouts.reference_pplns import Worked, split_by_fractions, window_by_line

pytestmark = pytest.mark.campaign
MINERS = 6
FIRST_DAY = dt.date(2026, 11, 24)
DAYS = 4
DAY_US = 86_400_000_000
START_US = (FIRST_DAY - dt.date(1970, 1, 1)).days * DAY_US


class Run(NamedTuple):
    """What the ledger takes at once, on which day."""

    day: int
    slices: list[Worked]


@pytest_asyncio.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A database with miners and with a partition for each day but the last."""
    async with engine.begin() as setting_up:
        await setting_up.execute(
            sa.insert(miner), [{"id": number, "name": f"m{number}"} for number in range(1, MINERS + 1)]
        )
        for number in range(DAYS - 1):
            day = FIRST_DAY + dt.timedelta(number)
            await setting_up.execute(
                sa.text(
                    f"CREATE TABLE slice_{number} PARTITION OF slice "
                    f"FOR VALUES FROM ('{day}') TO ('{day + dt.timedelta(1)}')"
                )
            )
    async with engine.connect() as made:
        yield made


async def append(connection: AsyncConnection, runs: list[Run]) -> list[Worked]:
    """Run by run, by the ledger's own functions; the slices in the order that they got."""
    ledger: list[Worked] = []
    for run in runs:
        at_us = START_US + run.day * DAY_US
        head = await store.move_head(connection, at_us)
        day = FIRST_DAY + dt.timedelta(run.day)
        rows = [Slice(who, "", day, work, 1, at_us, at_us, None) for who, work in run.slices]
        moved = await store.append_slices(connection, head, rows)
        ledger.extend(run.slices)
        assert (moved.slice_position, moved.total) == (len(ledger), sum(one.work for one in ledger))
        assert await store.read_head(connection) == moved
    return ledger


def ledgers(works: st.SearchStrategy[int]) -> st.SearchStrategy[list[Run]]:
    """Runs on days that never go back."""
    slices = st.lists(st.builds(Worked, st.integers(1, MINERS), works), max_size=8)
    runs = st.lists(st.builds(Run, st.integers(0, DAYS - 1), slices), min_size=1, max_size=8)
    return runs.map(lambda some: sorted(some, key=lambda run: run.day)).filter(
        lambda some: any(run.slices for run in some)
    )


def sizes(ledger: list[Worked], last: int, drawn: int) -> Iterator[int]:
    """The edges of every slice, one beside them, the whole, more than the whole, and one drawn."""
    reach = 0
    for one in reversed(ledger[:last]):
        reach += one.work
        yield from {max(1, reach - 1), reach, reach + 1}
    yield from (1, 2 * reach, 1 + drawn % reach)


@settings(
    max_examples=extent(25, 400), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.one_of(ledgers(st.integers(1, 9)), ledgers(st.integers(1, 2**100))), st.data())
async def test_i4_the_look_ups_are_the_window(
    connection: AsyncConnection, runs: list[Run], data: st.DataObject
) -> None:
    """For any slice that wins and any size: same slices, same cut, same work, same split, to the satoshi."""
    transaction = await connection.begin()
    try:
        ledger = await append(connection, runs)
        last = data.draw(st.integers(1, len(ledger)))
        bps, reward = data.draw(st.integers(0, 10_000)), data.draw(st.integers(0, 10**10))
        for size in sizes(ledger, last, data.draw(st.integers(0, 2**110))):
            found = await store.read_window(connection, last, size)
            newest_first = [pplns.Entry(place, *one) for place, one in enumerate(ledger[:last], 1)][::-1]
            assert found == pplns.window(newest_first, size)
            slow = window_by_line(ledger, last, size)
            assert (found.first_order, found.first_taken_work, found.last_order) == slow[:3]
            assert (found.work_total, found.by_miner) == slow[3:]
            terms = Terms("pplns", 2, bps, "shared")
            divided, parts = (
                terms.divide(reward, 0, found),
                split_by_fractions(reward, bps, slow.by_miner),
            )
            assert (divided.commission, divided.amounts, divided.commissions) == parts
    finally:
        await transaction.rollback()


async def test_there_is_no_window_of_nothing(connection: AsyncConnection) -> None:
    assert await store.read_window(connection, 0, 100) is None
    await append(connection, [Run(0, [Worked(1, 5)])])
    assert await store.read_window(connection, 1, 0) is None
    with pytest.raises(ValueError, match="slice 2 is not in the ledger"):
        await store.read_window(connection, 2, 5)


async def test_i4_a_window_that_reaches_what_is_no_longer_kept_is_an_error(
    connection: AsyncConnection,
) -> None:
    """Never a smaller window in silence; one that stays within what is kept is as before."""
    runs = [Run(day, [Worked(1 + day % 2, 10), Worked(3, 1)]) for day in range(DAYS)]
    ledger = await append(connection, runs)
    await connection.execute(sa.text("ALTER TABLE slice DETACH PARTITION slice_0"))
    kept = sum(one.work for one in ledger[2:])
    found = await store.read_window(connection, len(ledger), kept)
    assert found is not None
    assert (found.first_order, found.first_taken_work, found.work_total) == (3, 10, kept)
    assert found.by_miner == window_by_line(ledger, len(ledger), kept).by_miner
    with pytest.raises(ValueError, match="reaches back before slice 3, the oldest that is kept"):
        await store.read_window(connection, len(ledger), kept + 1)
    with pytest.raises(ValueError, match="reaches back before slice 3"):
        await store.read_window(connection, len(ledger), 10**9)


async def test_a_miner_that_stopped_long_ago_is_not_in_the_window(connection: AsyncConnection) -> None:
    ledger = await append(connection, [Run(0, [Worked(5, 100)]), Run(2, [Worked(1, 3), Worked(2, 4)])])
    found = await store.read_window(connection, len(ledger), 7)
    assert found is not None
    assert found.by_miner == {1: 3, 2: 4}
    assert await connection.scalar(sa.select(sa.func.count()).select_from(slice_)) == 3
