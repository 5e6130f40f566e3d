"""The daily reports by themselves: each day that is over is built, in order, beside the active ledger.

A day is built when it has closed in Kazakhstan, the ledger has taken what came before its end, and the
archive has closed its hours, so that the report commits to all of them. The days begin with the first of
which the ledger has anything. A day that cannot be built stops those behind it, since each report carries
the hash of the one before: it is told once, tried again, and an alarm sounds; nothing is ever reported
around it.

A payment may be heard of after midnight, or be taken back by the chain: the day that it counts for has been
told otherwise then, and is corrected by its next version. What gateways that were cut off bring for days
that were told is not: a person decides on that and gives the reason (`dmpool reports build`).

Who signs the log, and tells it of rules and register, is `pool.log_task`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.clock import instant, microseconds, unix_microseconds
from pool.config import ConfigError
from pool.database import UNAVAILABLE, reason_of
from pool.report_facts import hours_complete, waiting_batches
from pool.reports import DEFAULT_REASON, GRACE_US, Publisher, ReportError, build_report, settle
from pool.tables import archive_hour, batch, journal_entry, report
from register.rules import Rules
from reporting.daily_facts import DoesNotReconcile

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 30.0
_DAY: Final = dt.timedelta(days=1)
_SECOND_US: Final = 1_000_000
LOOK_BACK: Final = 32
"""Reports that a keeper which begins looks through: people may have built some, or another was killed."""
MOVED_REASON: Final = "a payment that counts for this day was booked, or taken back, on {day}"


class State(NamedTuple):
    """How far the reports are: for metrics."""

    behind_seconds: int = 0
    """How long the oldest day without its report could have been told; 0 when none is missing."""
    blocked: bool = False
    """Whether that day cannot be built: somebody must look."""


class ReportKeeper:
    """The task beside a ledger; `active` says whether that ledger is the active one."""

    def __init__(
        self,
        engine: AsyncEngine,
        rules: Rules,
        publisher: Callable[[dt.date], Publisher],
        active: Callable[[], bool],
        now_us: Callable[[], int] = unix_microseconds,
        built: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        """`publisher` says who signs the report of a day; it may raise ConfigError. `built` is called after
        each report with the seconds that it took."""
        self.state = State()
        self._engine = engine
        self._rules = rules
        self._publisher = publisher
        self._active = active
        self._now_us = now_us
        self._built = built
        self._looked: int | None = None
        """The sequence of the last report whose payments of other days were looked at."""
        self._told = ""

    async def run(self) -> None:
        """Work for ever while the ledger is active, and wait while it is not."""
        while True:
            try:
                await self.step()
                self._told = ""
            except UNAVAILABLE as error:
                self._tell(f"waiting, and trying again: {reason_of(error)}")
            except (ReportError, DoesNotReconcile, ConfigError) as error:
                self.state = self.state._replace(blocked=True)
                self._tell(str(error))
            await asyncio.sleep(TICK_SECONDS)

    def _tell(self, trouble: str) -> None:
        """Once, for as long as it lasts."""
        if trouble != self._told:
            log.error("report_waits", reason=trouble)
        self._told = trouble

    async def step(self) -> None:
        """Build every day that is due. Raises ReportError or DoesNotReconcile for the first that cannot
        be."""
        if not self._active():
            self.state, self._looked = State(), None
            return
        while self._active():
            async with self._engine.connect() as connection:
                day = await next_day(connection, self._rules)
            self._look(day)
            await self._correct()
            if day is None or not await self._due(day):
                return
            await self._build(day, DEFAULT_REASON)
            log.info("report_signed", day=str(day))

    def _look(self, day: dt.date | None) -> None:
        """How long the oldest missing day has waited."""
        closed_us = self._now_us() if day is None else self._closes_us(day)
        self.state = State(max(self._now_us() - closed_us, 0) // _SECOND_US)

    def _closes_us(self, day: dt.date) -> int:
        return self._rules.day_bounds(day)[1] + GRACE_US

    async def _build(self, day: dt.date, reason: str) -> None:
        started = time.perf_counter()
        publisher = await asyncio.to_thread(self._publisher, day)  # it may read keys from a slow place
        await settle(self._engine)
        await build_report(self._engine, day, publisher, self._now_us(), reason=reason)
        self._built(time.perf_counter() - started)

    async def _due(self, day: dt.date) -> bool:
        """Whether a day is over, and all of it is in the ledger and in the archive."""
        if self._now_us() < self._closes_us(day):
            return False
        end_us = self._rules.day_bounds(day)[1]
        async with self._engine.connect() as connection:
            waiting = await waiting_batches(connection, instant(end_us))
            return not waiting and await hours_complete(connection, end_us)

    async def _correct(self) -> None:
        """Days that were told before a report that booked, or took back, a payment which counts for them."""
        async with self._engine.connect() as connection:
            made = await made_after(connection, self._looked)
        for sequence in made:
            async with self._engine.connect() as connection:
                wanted = sa.select(report.c.day, report.c.envelope).where(report.c.sequence == sequence)
                teller, envelope = (await connection.execute(wanted)).one()
                told = await told_whole(connection, self._rules)
            days = await asyncio.to_thread(days_apart, envelope)
            reason = MOVED_REASON.format(day=teller)
            for day in sorted(one for one in days if told.get(one, sequence) < sequence):
                await self._build(day, reason)
            self._looked = sequence


def days_apart(envelope: bytes) -> set[dt.date]:
    """The days for which payments count that a report tells apart."""
    apart = json.loads(envelope)["report"].get("bookings_apart", ())
    return {dt.date.fromisoformat(row["counts_for"]) for row in apart if row["counts_for"]}


async def made_after(connection: AsyncConnection, sequence: int | None) -> list[int]:
    """The reports made after one, in order; without one the last that were made at all."""
    wanted = sa.select(report.c.sequence).order_by(report.c.sequence.desc())
    wanted = wanted.limit(LOOK_BACK) if sequence is None else wanted.where(report.c.sequence > sequence)
    return sorted(await connection.scalars(wanted))


async def next_day(connection: AsyncConnection, rules: Rules) -> dt.date | None:
    """The oldest day, over or not, that has no report of the whole of it; None before anything happened."""
    first = await first_day(connection, rules)
    if first is None:
        return None
    told = await told_whole(connection, rules)
    while first in told:
        first += _DAY
    return first


async def told_whole(connection: AsyncConnection, rules: Rules) -> dict[dt.date, int]:
    """The days that have a report of the whole of them, each with the sequence of its newest version."""
    newest = sa.func.max(report.c.built_at), sa.func.max(report.c.sequence)
    rows = await connection.execute(sa.select(report.c.day, *newest).group_by(report.c.day))
    return {
        day: sequence
        for day, built_at, sequence in rows
        if microseconds(built_at) >= rules.day_bounds(day)[1]
    }


async def first_day(connection: AsyncConnection, rules: Rules) -> dt.date | None:
    """The first day on which the ledger took or booked anything, by its own clock.

    Not by the times of shares: a gateway whose clock is years behind would have years of nothing reported.
    """
    taken = sa.select(
        sa.func.least(
            sa.select(sa.func.min(archive_hour.c.hour_us)).scalar_subquery(),
            sa.select(sa.func.min(batch.c.taken_us)).scalar_subquery(),
            sa.select(sa.func.min(journal_entry.c.at_us)).scalar_subquery(),
        )
    )
    first_us = await connection.scalar(taken)
    return None if first_us is None else rules.day_of(first_us)
