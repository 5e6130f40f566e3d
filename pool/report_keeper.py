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
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.clock import instant, microseconds, unix_microseconds
from pool.config import ConfigError
from pool.database import UNAVAILABLE, reason_of
from pool.report_facts import hours_complete, waiting_batches
from pool.reports import GRACE_US, Publisher, ReportError, build_report
from pool.tables import archive_hour, batch, journal_entry, report
from register.rules import Rules
from reporting.daily_facts import DoesNotReconcile

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 30.0
_DAY: Final = dt.timedelta(days=1)
_SECOND_US: Final = 1_000_000
MOVED_REASON: Final = "a payment that counts for this day was booked, or taken back, on {day}"


class State(NamedTuple):
    """How far the reports are: for metrics."""

    behind_seconds: int = 0
    """How long the oldest day without its report could have been told; 0 when none is missing."""
    blocked: bool = False
    """Whether that day cannot be built: somebody must look."""


class Newest(NamedTuple):
    """A report by its day and hash."""

    day: dt.date
    sha256: str


class ReportKeeper:
    """The task beside a ledger; `active` says whether that ledger is the active one."""

    def __init__(
        self,
        engine: AsyncEngine,
        rules: Rules,
        publisher: Callable[[dt.date], Publisher],
        active: Callable[[], bool],
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        """`publisher` says who signs the report of a day; it may raise ConfigError."""
        self.state = State()
        self._engine = engine
        self._rules = rules
        self._publisher = publisher
        self._active = active
        self._now_us = now_us
        self._corrected: str | None = None
        """The hash of the newest day's report, once its payments of other days were looked at."""
        self._told = ""

    async def run(self) -> None:
        """Work for ever while the ledger is active, and wait while it is not."""
        while True:
            try:
                await self.step()
                self._told = ""
            except UNAVAILABLE as error:
                self._tell(f"reports: waiting, and trying again: {reason_of(error)}")
            except (ReportError, DoesNotReconcile, ConfigError) as error:
                self.state = self.state._replace(blocked=True)
                self._tell(f"reports: {error}")
            await asyncio.sleep(TICK_SECONDS)

    def _tell(self, trouble: str) -> None:
        """Once, for as long as it lasts."""
        if trouble != self._told:
            log.error("%s", trouble)
        self._told = trouble

    async def step(self) -> None:
        """Build every day that is due. Raises ReportError or DoesNotReconcile for the first that cannot
        be."""
        if not self._active():
            self.state, self._corrected = State(), None
            return
        while self._active():
            async with self._engine.connect() as connection:
                day = await next_day(connection, self._rules)
                newest = await newest_report(connection)
            self._look(day)
            if newest is not None and newest.sha256 != self._corrected:
                await self._correct(newest)
                self._corrected = newest.sha256
            if day is None or not await self._due(day):
                return
            await build_report(self._engine, day, await self._signing(day), self._now_us())
            log.info("report of %s: built and signed", day)

    def _look(self, day: dt.date | None) -> None:
        """How long the oldest missing day has waited."""
        closed_us = self._now_us() if day is None else self._closes_us(day)
        self.state = State(max(self._now_us() - closed_us, 0) // _SECOND_US)

    def _closes_us(self, day: dt.date) -> int:
        return self._rules.day_bounds(day)[1] + GRACE_US

    async def _signing(self, day: dt.date) -> Publisher:
        return await asyncio.to_thread(self._publisher, day)  # it may read keys from a slow place

    async def _due(self, day: dt.date) -> bool:
        """Whether a day is over, and all of it is in the ledger and in the archive."""
        if self._now_us() < self._closes_us(day):
            return False
        end_us = self._rules.day_bounds(day)[1]
        async with self._engine.connect() as connection:
            waiting = await waiting_batches(connection, instant(end_us))
            return not waiting and await hours_complete(connection, end_us)

    async def _correct(self, newest: Newest) -> None:
        """Days that were told, and for which the newest report's day has booked or taken back a payment."""
        async with self._engine.connect() as connection:
            wanted = sa.select(report.c.envelope).where(report.c.sha256 == newest.sha256)
            envelope = json.loads((await connection.execute(wanted)).scalar_one())
            told = set(await connection.scalars(sa.select(report.c.day).distinct()))
        apart = envelope["report"].get("bookings_apart", ())
        days = {dt.date.fromisoformat(row["counts_for"]) for row in apart if row["counts_for"]}
        reason = MOVED_REASON.format(day=newest.day)
        for day in sorted(days & told - {newest.day}):
            await build_report(self._engine, day, await self._signing(day), self._now_us(), reason=reason)


async def next_day(connection: AsyncConnection, rules: Rules) -> dt.date | None:
    """The oldest day, over or not, that has no report of the whole of it; None before anything happened."""
    first = await first_day(connection, rules)
    if first is None:
        return None
    rows = await connection.execute(
        sa.select(report.c.day, sa.func.max(report.c.built_at)).group_by(report.c.day)
    )
    whole = {day for day, built_at in rows if microseconds(built_at) >= rules.day_bounds(day)[1]}
    while first in whole:
        first += _DAY
    return first


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


async def newest_report(connection: AsyncConnection) -> Newest | None:
    """The newest version of the last day that has a report."""
    wanted = sa.select(report.c.day, report.c.sha256).order_by(report.c.day.desc(), report.c.version.desc())
    row = (await connection.execute(wanted.limit(1))).one_or_none()
    return None if row is None else Newest(row.day, row.sha256)
