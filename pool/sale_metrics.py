"""The mandatory sale for Prometheus: how many miners are short, and of how much (O-52).

Read now and then, never by a scrape, and worked out anew only when a day, a payout or a sale has come. Every
ledger process tells it, active or not, because it is the same everywhere. Without PostgreSQL the series keep
their last values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.clock import unix_microseconds
from pool.reading import reading
from pool.sale_watch import SaleWatch, Watch
from pool.telemetry.instruments import gauge_family
from register.rules import Rules


class SaleMetrics(Collector):
    """The series. There are none before the first `read`."""

    every: Final = 30.0
    """Seconds between two reads."""

    def __init__(
        self, engine: AsyncEngine, rules: Rules, now_us: Callable[[], int] = unix_microseconds
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._now_us = now_us
        self._watch = SaleWatch(rules)
        self._found: Watch | None = None

    async def read(self) -> None:
        """Read once; raises DatabaseAway."""
        day = self._rules.day_of(self._now_us())
        async with reading(self._engine) as connection:
            self._found = await self._watch.look(connection, day)

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        if self._found is None:
            return
        miners = gauge_family("dmpool_sale_short_miners")
        satoshis = gauge_family("dmpool_sale_short_satoshis")
        for name, short in self._found._asdict().items():
            miners.add_metric([name], len(short))
            satoshis.add_metric([name], sum(one.short_sat for one in short))
        yield miners
        yield satoshis
