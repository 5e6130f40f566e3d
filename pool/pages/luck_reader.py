"""Where luck is read from: the running totals of the slices, and the targets of blocks.

The work until a block is the running total of the slice that its window ends with. Where that slice is no
longer kept, or the block has no window, the total at the beginning of its hour stands for it, as the archive
has it. Work by days is what the ledger counted by miner and day. Which difficulty a day was mined at is told
by the pool's blocks and by the hours of the archive; the newest share tells today's.

Totals of the past do not change, so each is looked up once and kept; a look costs the rows of 30 days.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.intake import work_of
from pool.pages.luck import LuckView, RoundView, Stretch, effort, luck
from pool.tables import archive_hour, block, ledger_head, miner_day, slice_
from register.rules import Rules

BLOCKS: Final = (10, 50)
"""Luck is told over so many of the last blocks."""
DAYS: Final = (1, 7, 30)
"""And over so many of the last days, today among them."""
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Luck:
    """Luck over several lengths, and the round that goes on; None while no difficulty is known."""

    lengths: tuple[LuckView, ...]
    round: RoundView | None


class LuckReader:
    """Reads luck; one reader at a time."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._totals: dict[str, int] = {}
        """By block, those that will not change."""
        self._hours: dict[int, int] = {}
        """The work of a block in the hours that the archive has closed."""

    async def read(self, connection: AsyncConnection, now_us: int, target: bytes | None) -> Luck:
        """As of now; `target` is the network's, None while unknown."""
        today = self._rules.day_of(now_us)
        first = today - (max(DAYS) - 1) * _DAY
        blocks = await _newest_blocks(connection, max(BLOCKS) + 1)
        if target is None and blocks:
            target = blocks[-1].network_target
        if target is None:
            return Luck((), None)
        now_work = work_of(target)
        total = int(await connection.scalar(sa.select(ledger_head.c.total)) or 0)
        totals = await self._totals_of(connection, blocks)
        difficulty = _Difficulty({**await self._told(connection, now_us), now_us: now_work})
        works = await _works(connection, first)
        found = await _found(connection, first)
        lengths = [_of_blocks(blocks, totals, count) for count in BLOCKS if blocks]
        for count in DAYS:
            days = [today - back * _DAY for back in range(count)]
            stretches = [Stretch(works.get(day, 0), difficulty.at(self._end_us(day))) for day in days]
            lengths.append(luck("days", count, sum(found.get(day, 0) for day in days), stretches))
        since = max(total - totals[-1], 0) if totals else total
        return Luck(tuple(dict.fromkeys(lengths)), effort(since, now_work))

    def _end_us(self, day: dt.date) -> int:
        return self._rules.day_bounds(day)[1] - 1

    async def _told(self, connection: AsyncConnection, now_us: int) -> dict[int, int]:
        """The work of a block at instants of these weeks."""
        since_us = now_us - (max(DAYS) + 1) * 86_400_000_000
        work = sa.cast(sa.cast(archive_hour.c.manifest, sa.JSON)["network_work"].as_string(), sa.Numeric)
        hours = sa.select(archive_hour.c.hour_us, work.label("work")).where(
            archive_hour.c.hour_us > max(self._hours, default=since_us)
        )
        self._hours |= {row.hour_us: int(row.work) for row in await connection.execute(hours) if row.work}
        self._hours = {hour_us: one for hour_us, one in self._hours.items() if hour_us >= since_us}
        blocks = await connection.execute(
            sa.select(block.c.network_target, sa.func.min(block.c.found_us).label("at_us"))
            .where(block.c.found_us >= since_us)
            .group_by(block.c.network_target)
        )
        return self._hours | {row.at_us: work_of(row.network_target) for row in blocks}

    async def _totals_of(self, connection: AsyncConnection, blocks: list[Any]) -> list[int]:
        """The work until each block, never falling."""
        wanted = {one.window_last for one in blocks if one.window_last and one.hash not in self._totals}
        kept = sa.select(slice_.c.position, slice_.c.total).where(slice_.c.position.in_(wanted))
        found = {row.position: int(row.total) for row in await connection.execute(kept)} if wanted else {}
        for one in blocks:
            if one.window_last in found:
                self._totals[one.hash] = found[one.window_last]
        names = {one.hash for one in blocks}
        self._totals = {name: total for name, total in self._totals.items() if name in names}
        totals: list[int] = []
        for one in blocks:
            total = self._totals.get(one.hash)
            if total is None:
                total = await _total_before(connection, one.found_us)
            totals.append(max(total, totals[-1] if totals else 0))
        return totals


def _of_blocks(blocks: list[Any], totals: list[int], count: int) -> LuckView:
    """Over the last `count`, from the block before them on, or else from the first share on."""
    shown = min(count, len(blocks))
    ends = totals[-shown - 1 :] if len(blocks) > shown else [0, *totals]
    works = (after - before for before, after in pairwise(ends))
    stretches = [
        Stretch(work, work_of(one.network_target)) for work, one in zip(works, blocks[-shown:], strict=True)
    ]
    return luck("blocks", shown, shown, stretches)


async def _newest_blocks(connection: AsyncConnection, count: int) -> list[Any]:
    """The oldest of them first."""
    columns = (block.c.hash, block.c.found_us, block.c.window_last, block.c.network_target)
    wanted = sa.select(*columns).order_by(block.c.found_us.desc(), block.c.hash).limit(count)
    return list(reversed((await connection.execute(wanted)).all()))


async def _total_before(connection: AsyncConnection, at_us: int) -> int:
    """All work until the hour of an instant, as far as the archive tells."""
    hour = (
        sa.select(archive_hour.c.total_before)
        .where(archive_hour.c.hour_us <= at_us)
        .order_by(archive_hour.c.hour_us.desc())
        .limit(1)
    )
    return int(await connection.scalar(hour) or 0)


async def _works(connection: AsyncConnection, first: dt.date) -> dict[dt.date, int]:
    rows = await connection.execute(
        sa.select(miner_day.c.day, sa.func.sum(miner_day.c.work).label("work"))
        .where(miner_day.c.day >= first)
        .group_by(miner_day.c.day)
    )
    return {row.day: int(row.work) for row in rows}


async def _found(connection: AsyncConnection, first: dt.date) -> dict[dt.date, int]:
    rows = await connection.execute(
        sa.select(block.c.day, sa.func.count().label("blocks"))
        .where(block.c.day >= first)
        .group_by(block.c.day)
    )
    return {row.day: row.blocks for row in rows}


class _Difficulty:
    """The work of a block at instants of the past: as last told before, or else as first told after."""

    def __init__(self, told: dict[int, int]) -> None:
        self._instants = sorted(told)
        self._works = [told[at_us] for at_us in self._instants]

    def at(self, at_us: int) -> int:
        """At an instant."""
        return self._works[max(bisect_right(self._instants, at_us) - 1, 0)]
