"""The register for Prometheus: licences, hardware units, what waits, what was seen today.

Read every few seconds, never by a scrape. Every ledger process tells it, active or not, because it is the
same everywhere. Without PostgreSQL the series keep their last values and their age grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.clock import unix_microseconds
from pool.live_register import LiveRegister
from pool.reading import asking
from pool.register_figures import Figures, figures
from pool.telemetry.instruments import counter_family, filled, gauge_family
from register.digest import Digest, digest
from register.register import Register
from register.rules import Rules
from register.rules_schema import UNKNOWN_DEVICE_MODES
from register.sighting import Seen

WORK_SECONDS: Final = 60.0
"""An unchanged register is counted anew so often, for what follows from time alone."""


class RegisterMetrics(Collector):
    """The series. There are none before the first `read`."""

    every: Final = 5.0
    """Seconds between two reads."""

    def __init__(
        self,
        engine: AsyncEngine,
        live: LiveRegister,
        rules: Rules,
        version: str,
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        self._engine = engine
        self._live = live
        self._rules = rules
        self._version = version
        self._now_us = now_us
        self._told: Figures | None = None
        self._counted: tuple[int, int, list[Seen]] | None = None

    async def read(self) -> None:
        """Read it once; raises DatabaseAway."""
        at_us = self._now_us()
        day = self._rules.day_of(at_us)
        async with asking():
            seen = await register_store.read_sightings(self._engine, day, day)
        async with self._live.held() as register:
            counted = (register.seq, at_us // int(WORK_SECONDS * 1_000_000), seen)
            if counted != self._counted:
                self._told = await asyncio.to_thread(self._count, register, at_us, seen)
                self._counted = counted

    def _count(self, register: Register, at_us: int, seen: list[Seen]) -> Figures:
        told: Digest = digest(register, self._rules, at_us, seen, self._version)
        return figures(register, self._rules, told)

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        told, age = self._told, self._live.age_seconds
        if told is None or age is None:
            return
        yield filled(gauge_family("dmpool_licences"), told.licences)
        ending = {str(days): count for days, count in told.ending.items()}
        yield filled(gauge_family("dmpool_licences_ending"), ending)
        yield filled(gauge_family("dmpool_devices"), told.devices)
        yield filled(gauge_family("dmpool_sightings_today"), told.sightings)
        yield gauge_family("dmpool_proposals_waiting", told.proposals_waiting)
        yield gauge_family("dmpool_addresses_waiting", told.addresses_waiting)
        yield counter_family("dmpool_register_events_total", told.seq)
        yield gauge_family("dmpool_register_age_seconds", age)
        modes = {mode: int(mode == told.mode) for mode in UNKNOWN_DEVICE_MODES}
        yield filled(gauge_family("dmpool_licence_enforcement"), modes)
