"""Who reads PostgreSQL in the background for the metrics of a ledger process, each in a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from importlib.metadata import version
from typing import Protocol

from prometheus_client import Gauge
from prometheus_client.core import Metric
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import ledger_metrics
from pool.account_metrics import AccountMetrics
from pool.clock import unix_microseconds
from pool.config import Settings
from pool.database_metrics import DatabaseMetrics
from pool.income_metrics import IncomeMetrics
from pool.live_register import LiveRegister
from pool.metrics import Metrics
from pool.reading import keep_reading
from pool.register_metrics import RegisterMetrics
from pool.report_metrics import ReportMetrics
from pool.sale_metrics import SaleMetrics
from pool.statement_now import office_of
from register.rules import Rules

Read = Callable[[], Awaitable[None]]


class _Reader(Protocol):
    @property
    def every(self) -> float: ...
    async def read(self) -> None: ...
    def collect(self) -> Iterable[Metric]: ...


def readers(
    metrics: Metrics, engine: AsyncEngine, live: LiveRegister, settings: Settings, rules: Rules
) -> dict[str, Callable[[], Awaitable[None]]]:
    """What is to run, by the name of its task; what they read is told from now on."""
    office = office_of(settings, rules)
    collectors: dict[str, _Reader] = {
        "register metrics": RegisterMetrics(engine, live, rules, version("dmpool")),
        "sale metrics": SaleMetrics(engine, rules),
        "income metrics": IncomeMetrics(engine, rules),
        "report metrics": ReportMetrics(engine, rules, settings.log.witnesses, cms=settings.signing.cms),
        "database metrics": DatabaseMetrics(engine),
        "account metrics": AccountMetrics(engine, live, office),
    }
    for one in collectors.values():
        metrics.registry.register(one)
    reads: dict[str, tuple[Read, float]] = {
        "ledger metrics": (
            lambda: ledger_metrics.read(engine, metrics, unix_microseconds()),
            ledger_metrics.READ_SECONDS,
        ),
        "held metrics": (
            lambda: ledger_metrics.read_held(engine, metrics, live, office, unix_microseconds()),
            ledger_metrics.HELD_SECONDS,
        ),
        **{name: (one.read, one.every) for name, one in collectors.items()},
    }
    read_at = metrics.make.gauge("dmpool_metrics_read_timestamp_seconds")
    return {
        name: partial(keep_reading, read, every, name, _noting(read_at, name))
        for name, (read, every) in reads.items()
    }


def _noting(read_at: Gauge, part: str) -> Callable[[], None]:
    return lambda: read_at.labels(part).set_to_current_time()
