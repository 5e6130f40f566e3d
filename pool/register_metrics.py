"""The register for Prometheus: licences, hardware units, what waits, what was seen today.

Read every few seconds, never by a scrape. Every ledger process tells it, active or not, because it is the
same everywhere. Without PostgreSQL the series keep their last values and their age grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.clock import unix_microseconds
from pool.live_register import LiveRegister
from pool.reading import asking, keep_reading
from pool.register_figures import Figures, figures
from register.digest import Digest, digest
from register.register import Register
from register.rules import Rules
from register.rules_schema import UNKNOWN_DEVICE_MODES
from register.sighting import Seen

READ_SECONDS: Final = 5.0
WORK_SECONDS: Final = 60.0
"""An unchanged register is counted anew so often, for what follows from time alone."""


class RegisterMetrics(Collector):
    """The series. `follow` keeps them up to date; there are none before it has read the register once."""

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

    async def follow(self) -> None:
        """Read the register until cancelled."""
        await keep_reading(self.read, READ_SECONDS, "register metrics")

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
        yield _by("dmpool_licences", "Licences in the register, by status.", "status", told.licences)
        text = "Licences that end within so many days and are not taken over by another."
        yield _by("dmpool_licences_ending", text, "days", {str(n): count for n, count in told.ending.items()})
        yield _by("dmpool_devices", "Hardware units in the register, by state.", "state", told.devices)
        text = "Worker names seen today that a compliance officer should know of, by kind."
        yield _by("dmpool_sightings_today", text, "kind", told.sightings)
        text = "Changes of the register that wait for a second person."
        yield GaugeMetricFamily("dmpool_proposals_waiting", text, told.proposals_waiting)
        text = "Payout addresses that are not in effect yet."
        yield GaugeMetricFamily("dmpool_addresses_waiting", text, told.addresses_waiting)
        yield CounterMetricFamily("dmpool_register_events", "Events in the register's log.", told.seq)
        text = "Seconds since the register was last known to be that of PostgreSQL."
        yield GaugeMetricFamily("dmpool_register_age_seconds", text, age)
        modes = {mode: int(mode == told.mode) for mode in UNKNOWN_DEVICE_MODES}
        text = "1 for what today's rule does with a worker name that is no hardware unit."
        yield _by("dmpool_licence_enforcement", text, "mode", modes)


def _by(name: str, text: str, label: str, numbers: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family
