"""The work of the last 24 hours in spans of ten minutes, of the whole pool and of each miner: for charts.

The ledger's slices stand in one order without gaps, so a reader that remembers its place reads each of them
once. The first time it begins with the slices of yesterday and goes on in stretches of so many slices, for a
bounded time at each look: a chart may fill up over some looks, and no look waits for it. Kept are 145 numbers
for each miner that worked. A day of 20 million slices is read in about 20 seconds, once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.clock import instant
from pool.tables import ledger_head, slice_

SPAN_SECONDS: Final = 600
SPAN_US: Final = SPAN_SECONDS * 1_000_000
SPANS: Final = 144
"""Of 24 hours."""
SLICES_AT_ONCE: Final = 200_000
LOOK_SECONDS: Final = 1.0
"""No further stretch is begun when a look has taken so long."""


@dataclass(frozen=True, slots=True)
class Point:
    """Hashes per second over ten minutes that begin at `at_us`."""

    at_us: int
    hashrate: int


class WorkHistory:
    """See the head of this file."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._start_over()

    def _start_over(self) -> None:
        self._work: dict[int, Counter[int]] = {}
        self._position: int | None = None
        self._oldest_span: int | None = None
        self.whole = False
        """Whether all of the 24 hours was read."""

    async def advance(self, connection: AsyncConnection, now_us: int) -> None:
        """Count slices that are new, as many as the time allows."""
        async with self._one_at_a_time:
            end = int(await connection.scalar(sa.select(ledger_head.c.slice_position)) or 0)
            if self._position is None or end < self._position:
                # The first look, or the database was set back and has other slices.
                self._start_over()
                self._position = await _first_position(connection, now_us)
            until = time.monotonic() + LOOK_SECONDS
            while self._position < end and time.monotonic() < until:
                upto = min(self._position + SLICES_AT_ONCE, end)
                await self._read(connection, self._position, upto, now_us // SPAN_US - SPANS)
                self._position = upto
            self.whole = self._position >= end
            self._forget(now_us // SPAN_US - SPANS)

    def points(self, now_us: int, miner_id: int | None = None) -> tuple[Point, ...]:
        """The spans that are over, the oldest first, from the first one with work of anybody."""
        end = now_us // SPAN_US
        begin = end - SPANS if self._oldest_span is None else max(end - SPANS, self._oldest_span)
        return tuple(
            Point(span * SPAN_US, self._of(span, miner_id) // SPAN_SECONDS) for span in range(begin, end)
        )

    def hashrate(self, now_us: int, miner_id: int | None = None) -> int:
        """Over the spans that are over, 24 hours at most; 0 before there is one."""
        points = self.points(now_us, miner_id)
        return sum(one.hashrate for one in points) // len(points) if points else 0

    def _of(self, span: int, miner_id: int | None) -> int:
        work = self._work.get(span)
        if work is None:
            return 0
        return work.total() if miner_id is None else work[miner_id]

    async def _read(self, connection: AsyncConnection, after: int, upto: int, oldest: int) -> None:
        span = (slice_.c.last_us // SPAN_US).label("span")
        rows = await connection.execute(
            sa.select(slice_.c.miner_id, span, sa.func.sum(slice_.c.work).label("work"))
            .where(
                slice_.c.position > after,
                slice_.c.position <= upto,
                slice_.c.last_us >= oldest * SPAN_US,
            )
            .group_by(slice_.c.miner_id, sa.text("span"))
        )
        for row in rows:
            self._work.setdefault(row.span, Counter())[row.miner_id] += int(row.work)
        if self._work:
            first = min(self._work)
            self._oldest_span = first if self._oldest_span is None else min(first, self._oldest_span)

    def _forget(self, oldest: int) -> None:
        self._work = {span: work for span, work in self._work.items() if span >= oldest}


async def _first_position(connection: AsyncConnection, now_us: int) -> int:
    """Behind which slice the last 24 hours begin, at the latest: at the first of that UTC day."""
    day: dt.date = instant(now_us - SPANS * SPAN_US).date()
    first = await connection.scalar(sa.select(sa.func.min(slice_.c.position)).where(slice_.c.taken_on >= day))
    return int(first or 1) - 1
