"""Running counts over the newest slices: hashrates of the last hour and the shares of today.

The ledger writes slices and rejects in one order without gaps, so a reader that remembers the last position
it saw never has to read a slice twice: each look costs what has come since the last one, however long the
day is. Work is counted in spans of ten seconds by the time of a slice's last share. All integers.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.tables import batch, reject, slice_

SPAN_SECONDS = 10
SPAN_US = SPAN_SECONDS * 1_000_000
LONGEST_SECONDS = 3600


class Hashrates(NamedTuple):
    """Hashes per second of the whole pool and of each miner that worked, averaged over a time."""

    pool: int
    by_miner: dict[int, int]


class RecentWork:
    """What was counted so far; one reader at a time."""

    def __init__(self) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self.accepted: Counter[tuple[dt.date, int]] = Counter()
        """Shares by day and miner; likewise `rejected`."""
        self.rejected: Counter[tuple[dt.date, int]] = Counter()
        self._work: dict[int, Counter[int]] = {}
        self._slice_position = 0
        self._batch_position = 0
        self._first_span: int | None = None

    @property
    def started(self) -> bool:
        """Whether the first look, the one that reads a whole day, is over."""
        return self._first_span is not None

    async def advance(self, connection: AsyncConnection, now_us: int, since: dt.date) -> None:
        """Count what the ledger has written since the last look; nothing of days before `since` is kept."""
        slices, batches = await _ends(connection)
        if slices < self._slice_position or batches < self._batch_position:
            # The database was set back (a backup restored): what was counted may not be in it.
            self._start_over()
        oldest = now_us // SPAN_US - LONGEST_SECONDS // SPAN_SECONDS
        worked = await _read_slices(connection, self._slice_position, slices, since, oldest)
        refused = await _read_rejects(connection, self._batch_position, batches, since)
        first_us = await _first_us(connection) if self._first_span is None else None
        # Nothing is counted before everything is read: a lost connection leaves the counts as they were.
        for row in worked:
            self.accepted[row.day, row.miner_id] += row.shares
            self._work.setdefault(row.span, Counter())[row.miner_id] += row.work
        for row in refused:
            self.rejected[row.day, row.miner_id] += row.refused
        if first_us is not None:
            self._first_span = first_us // SPAN_US
        self._slice_position, self._batch_position = slices, batches
        self._forget(since, oldest)

    def hashrates(self, now_us: int, seconds: int) -> Hashrates:
        """Over the last `seconds`, or since the pool's first share where it is younger than that."""
        end = now_us // SPAN_US
        begin = end - seconds // SPAN_SECONDS
        if self._first_span is not None:
            begin = min(max(begin, self._first_span), end - 1)
        work: Counter[int] = Counter()
        for span, by_miner in self._work.items():
            if begin <= span < end:
                work.update(by_miner)
        length = (end - begin) * SPAN_SECONDS
        return Hashrates(work.total() // length, {miner_id: one // length for miner_id, one in work.items()})

    def _forget(self, since: dt.date, oldest: int) -> None:
        self._work = {span: work for span, work in self._work.items() if span >= oldest}
        for counts in (self.accepted, self.rejected):
            for key in [key for key in counts if key[0] < since]:
                del counts[key]


async def _ends(connection: AsyncConnection) -> tuple[int, int]:
    newest = [
        sa.select(sa.func.coalesce(sa.func.max(table.c.position), 0)).scalar_subquery()
        for table in (slice_, batch)
    ]
    slices, batches = (await connection.execute(sa.select(*newest))).one()
    return slices, batches


async def _first_us(connection: AsyncConnection) -> int | None:
    first = sa.select(slice_.c.first_us).order_by(slice_.c.position).limit(1)
    return await connection.scalar(first)


async def _read_slices(
    connection: AsyncConnection, after: int, upto: int, since: dt.date, oldest: int
) -> list[Any]:
    # What is older than the longest time comes as one span, the one before, and is dropped.
    span = sa.func.greatest(slice_.c.last_us // SPAN_US, oldest - 1).label("span")
    found = (
        sa.select(
            slice_.c.miner_id,
            slice_.c.day,
            span,
            sa.func.sum(slice_.c.work).label("work"),
            sa.func.sum(slice_.c.shares).label("shares"),
        )
        .where(slice_.c.position > after, slice_.c.position <= upto)
        .group_by(slice_.c.miner_id, slice_.c.day, sa.text("span"))
    )
    # Positions say where to begin, but for the first time, when the index by day is the way in.
    rows = await connection.execute(found if after else found.where(slice_.c.day >= since))
    return list(rows)


async def _read_rejects(connection: AsyncConnection, after: int, upto: int, since: dt.date) -> list[Any]:
    found = (
        sa.select(reject.c.miner_id, reject.c.day, sa.func.sum(reject.c.count).label("refused"))
        .where(reject.c.batch_position > after, reject.c.batch_position <= upto)
        .group_by(reject.c.miner_id, reject.c.day)
    )
    rows = await connection.execute(found if after else found.where(reject.c.day >= since))
    return list(rows)
