"""The Stratum front for Prometheus: who is connected, who waits, who was turned away or cut, and why.

Read from the server's own counts when it is scraped; nothing is pushed from the share path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stratum.server import Server
from stratum.tls import TlsCertificate


class FrontCollector(Collector):
    """The series of one server."""

    def __init__(self, server: Server, certificate: TlsCertificate | None) -> None:
        self._server = server
        self._certificate = certificate

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        server, counts = self._server, self._server.counts
        by_class = Counter(connection.session.device.name for connection in list(server.connections))
        yield _gauge("dmpool_stratum_connections", "Open Stratum connections.", by_class.total())
        classes = GaugeMetricFamily(
            "dmpool_stratum_devices", "Open Stratum connections, by device class.", labels=["device_class"]
        )
        for name, count in by_class.items():
            classes.add_metric([name], count)
        yield classes
        yield _gauge("dmpool_stratum_waiting", "Connections that wait to be let in.", server.waiting)
        parked = server.context.subscriptions.parked
        yield _gauge("dmpool_stratum_parked", "Lost sessions that a miner may still resume.", parked)
        yield _gauge("dmpool_stratum_bans", "Addresses that are banned now.", len(server.bans()))
        yield _counter(
            "dmpool_stratum_accepted_connections", "Connections that were served.", counts.connections
        )
        yield _by_reason("dmpool_stratum_closed", "Connections that the pool ended.", counts.closed)
        yield _by_reason("dmpool_stratum_refused", "Connections that were never served.", counts.refused)
        yield _by_reason("dmpool_stratum_banned", "Bans, by the last offence.", counts.bans)
        yield _counter(
            "dmpool_stratum_throttled", "Pauses of those who sent too many lines.", counts.throttled
        )
        text = "Jobs that slow readers were spared because a newer one was there."
        yield _counter("dmpool_stratum_jobs_skipped", text, counts.jobs_skipped)
        if self._certificate is not None:
            text = "When the certificate of the TLS port ends, in unix seconds."
            ends = self._certificate.not_after.timestamp()
            yield _gauge("dmpool_stratum_certificate_end_timestamp_seconds", text, ends)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _by_reason(name: str, text: str, counts: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, count in list(counts.items()):
        family.add_metric([reason], count)
    return family
