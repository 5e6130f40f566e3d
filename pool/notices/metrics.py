"""How notices fare, for Prometheus. Read from the desk's numbers when it is scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pool.notices.numbers import NoticeNumbers
from pool.telemetry.instruments import counter_family, filled, gauge_family


class NoticeMetrics(Collector):
    """The series of one desk; there are none without channels."""

    def __init__(self, numbers: NoticeNumbers, now_us: Callable[[], int]) -> None:
        self._numbers = numbers
        self._now_us = now_us

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        channels, now_us = self._numbers.channels, self._now_us()
        if not channels:
            return
        waiting = {name: float(one.waiting) for name, one in channels.items()}
        oldest = {name: one.oldest_seconds(now_us) for name, one in channels.items()}
        sent = {name: float(one.sent) for name, one in channels.items()}
        failed = {name: float(one.failed) for name, one in channels.items()}
        yield filled(gauge_family("dmpool_notices_waiting"), waiting)
        yield filled(gauge_family("dmpool_notice_oldest_seconds"), oldest)
        yield filled(counter_family("dmpool_notices_sent_total"), sent)
        yield filled(counter_family("dmpool_notices_failed_total"), failed)
