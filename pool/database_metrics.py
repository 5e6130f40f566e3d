"""PostgreSQL for Prometheus, as the pool's own database tells of itself: size, connections, replicas.

Read every 15 s, never by a scrape; without PostgreSQL the series keep their last values, and
`dmpool_database_up` says so. Of other users' sessions the state is hidden from a role without pg_monitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.reading import reading
from pool.telemetry.instruments import filled, gauge_family

STATES: Final = ("active", "idle", "idle in transaction", "idle in transaction (aborted)")
"""Told even when none is in them; others as they come."""
HIDDEN: Final = "hidden"

_SIZE: Final = sa.text(
    "SELECT pg_database_size(current_database()), "
    "current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
)
_CONNECTIONS: Final = sa.text(
    "SELECT coalesce(state, :hidden), count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1"
)
_OLDEST: Final = sa.text(
    "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float "
    "FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_REPLICAS: Final = sa.text(
    "SELECT application_name || '@' || coalesce(host(client_addr), 'local'), "
    "coalesce(extract(epoch FROM max(replay_lag)), 0)::float FROM pg_stat_replication "
    "WHERE state IS NOT NULL GROUP BY 1"
)


@dataclass(frozen=True, slots=True)
class _Told:
    size: int
    limit: int
    connections: dict[str, float]
    oldest: float
    replicas: dict[str, float]


class DatabaseMetrics(Collector):
    """The series. There are none before the first `read`."""

    every: Final = 15.0
    """Seconds between two reads."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._told: _Told | None = None

    async def read(self) -> None:
        """Read once; raises DatabaseAway."""
        async with reading(self._engine) as connection:
            size, limit = (await connection.execute(_SIZE)).one()
            counted = (await connection.execute(_CONNECTIONS, {"hidden": HIDDEN})).all()
            oldest = (await connection.execute(_OLDEST)).scalar_one()
            replicas = (await connection.execute(_REPLICAS)).all()
        connections: dict[str, float] = dict.fromkeys(STATES, 0)
        connections.update((state, count) for state, count in counted)
        self._told = _Told(size, limit, connections, oldest, dict(map(tuple, replicas)))

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        told = self._told
        if told is None:
            return
        yield gauge_family("dmpool_database_size_bytes", told.size)
        yield filled(gauge_family("dmpool_database_connections"), told.connections)
        yield gauge_family("dmpool_database_connections_limit", told.limit)
        yield gauge_family("dmpool_database_oldest_transaction_seconds", told.oldest)
        yield filled(gauge_family("dmpool_database_replication_lag_seconds"), told.replicas)
