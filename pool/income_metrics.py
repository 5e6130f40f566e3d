"""The income forms for Prometheus: how long there is to submit them, which are late, which were corrected
since.

Read now and then, never by a scrape. Every ledger process tells it, active or not, because it is the same
everywhere. Without PostgreSQL the series keep their last values, but the days go on being counted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.clock import unix_microseconds
from pool.income_due import read_dues
from pool.reading import reading
from pool.telemetry.instruments import gauge_family
from register.rules import Rules
from reporting.deadlines import Due


class IncomeMetrics(Collector):
    """The series. There are none before the first `read`."""

    every: Final = 60.0
    """Seconds between two reads."""

    def __init__(
        self, engine: AsyncEngine, rules: Rules, now_us: Callable[[], int] = unix_microseconds
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._now_us = now_us
        self._dues: list[Due] | None = None

    async def read(self) -> None:
        """Read once; raises DatabaseAway."""
        async with reading(self._engine) as connection:
            self._dues = await read_dues(connection, self._rules, self._today())

    def _today(self) -> dt.date:
        return self._rules.day_of(self._now_us())

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        if self._dues is None:
            return
        today = self._today()
        left = gauge_family("dmpool_income_deadline_days")
        oldest: dict[tuple[str, str], Due] = {}
        for due in self._dues:
            if due.open:
                oldest.setdefault((due.form, due.addressee), due)
        for labels, due in oldest.items():
            left.add_metric(labels, due.days_left(today))
        yield left
        reminded = _count(due.reminded(today) for due in self._dues)
        yield gauge_family("dmpool_income_reminders", reminded)
        yield gauge_family("dmpool_income_late", _count(due.late(today) for due in self._dues))
        yield gauge_family("dmpool_income_outdated", _count(due.corrected for due in self._dues))


def _count(flags: Iterator[bool]) -> int:
    return sum(flags)
