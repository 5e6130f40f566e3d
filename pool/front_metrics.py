"""The Stratum front for Prometheus: who is connected, who waits, who was turned away or cut, and why.

Read from the server's own counts when it is scraped; nothing is pushed from the share path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pool.telemetry.instruments import counter_family, filled, gauge_family
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
        sessions = [connection.session for connection in list(server.connections)]
        by_class = Counter(session.device.name for session in sessions)
        yield gauge_family("dmpool_stratum_connections", len(sessions))
        yield gauge_family("dmpool_stratum_authorised", sum(session.authorised for session in sessions))
        yield filled(gauge_family("dmpool_stratum_devices"), by_class)
        yield gauge_family("dmpool_stratum_waiting", server.waiting)
        yield gauge_family("dmpool_stratum_parked", server.context.subscriptions.parked)
        yield gauge_family("dmpool_stratum_bans", len(server.bans()))
        goal = server.context.policy.shares_per_minute
        yield gauge_family("dmpool_vardiff_goal_shares_per_minute", goal)
        yield counter_family("dmpool_stratum_accepted_connections_total", counts.connections)
        yield filled(counter_family("dmpool_stratum_closed_total"), dict(counts.closed))
        yield filled(counter_family("dmpool_stratum_refused_total"), dict(counts.refused))
        yield filled(counter_family("dmpool_stratum_banned_total"), dict(counts.bans))
        yield counter_family("dmpool_stratum_throttled_total", counts.throttled)
        yield counter_family("dmpool_stratum_jobs_skipped_total", counts.jobs_skipped)
        yield counter_family("dmpool_stratum_unknown_methods_total", server.context.unknown_methods)
        if self._certificate is not None:
            ends = self._certificate.not_after.timestamp()
            yield gauge_family("dmpool_stratum_certificate_end_timestamp_seconds", ends)
