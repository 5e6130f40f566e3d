"""What the active ledger does for the compliance officer, beside its work on batches (O-03, O-07).

It feeds `pool.device_watch` with the slices of each batch, looks at each clock hour some minutes after its
end, and makes events of the log out of what gateways and ledger have seen. Nothing of this may hold up the
ledger: `taken` never raises and never waits, and what fails here is done again from PostgreSQL.

An hour that is counted from PostgreSQL may have been looked at before, by this ledger or another one. What a
sighting of that day covers already is not counted again: counts may miss an hour, and never double one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.clock import HOUR_US, unix_microseconds
from pool.database import UNAVAILABLE, reason_of
from pool.device_watch import AHEAD_HOURS, DeviceWatch, Finding, Hour, look, part_of
from pool.intake import DayOf, Taken, sort_records
from pool.records import decode_batch
from pool.register_follower import RegisterFollower
from pool.tables import batch
from register.clerk import Terms
from register.register import Register
from register.sighting import Seen, SightingKind

log = structlog.get_logger(__name__)

TICK_SECONDS = 2.0
LOOK_SECONDS = 1800.0
"""A round that takes longer is given up: the host of PostgreSQL may have vanished without a word."""
NAMES_AT_ONCE: Final = 1000
"""Names of an hour that are looked at before others may work."""
BATCHES_AT_ONCE: Final = 16
"""Fetched and counted at a time; a batch has 1 MiB of records at most."""


class Compliance:
    """The task beside a ledger; `active` says whether that ledger is the active one."""

    def __init__(
        self,
        engine: AsyncEngine,
        terms: Terms,
        active: Callable[[], bool],
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        self._engine = engine
        self._terms = terms
        self._active = active
        self._now_us = now_us
        self._watch = DeviceWatch()
        self._register = Register()
        self._follower = RegisterFollower(engine, self._register, ("device",), lambda changes: None)
        self._away = False

    def taken(self, taken: Taken) -> None:
        """The ledger has committed a batch."""
        try:
            self._watch.take(taken.position, taken.gateway_number, taken.slices, self._now_us())
        except Exception:
            log.exception("device_watch_failed", explained="it starts over behind this batch")
            self._watch = DeviceWatch()

    async def run(self) -> None:
        """Work for ever while the ledger is active, and wait while it is not."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.step()
                self._away = False
            except UNAVAILABLE as error:
                if not self._away:
                    log.warning(
                        "database_away", part="compliance", reason=reason_of(error), explained="trying again"
                    )
                self._away = True
            await asyncio.sleep(TICK_SECONDS)

    async def step(self) -> None:
        """Look at the hours that are over, and make events of what was seen."""
        if not self._active():
            self._watch = DeviceWatch()  # another ledger counts now; hours go on from PostgreSQL
            return
        now_us = self._now_us()
        due: dict[int, Hour | None] = {hour.start_us: hour for hour in self._watch.closed(now_us)}
        due |= dict.fromkeys(self._watch.to_read(now_us))
        try:
            while due:
                start_us = next(iter(due))
                await self._report(start_us, due[start_us])
                del due[start_us]
        finally:
            for start_us in due:  # what failed, and what had to wait for it
                self._watch.read_later(start_us, self._now_us())
        while await register_store.record_sightings(self._engine, self._terms):
            pass

    async def _report(self, start_us: int, counted: Hour | None) -> None:
        """Look at an hour, as it was counted here or as PostgreSQL has it."""
        await self._follower.catch_up()
        hour = counted or await read_hour(self._engine, self._terms.rules.day_of, start_us)
        found = [one.seen for one in await self._look(hour) if await self._holds(one)]
        if counted is None:
            found = await self._uncovered(found)
        await register_store.add_sightings(self._engine, found)

    async def _look(self, hour: Hour) -> list[Finding]:
        found: list[Finding] = []
        names = list(hour.rates)
        for start in range(0, len(names), NAMES_AT_ONCE):
            chunk = names[start : start + NAMES_AT_ONCE]
            found += look(hour, chunk, self._register.units_named, self._terms.rules)
            await asyncio.sleep(0)
        return found

    async def _holds(self, finding: Finding) -> bool:
        """A unit that was changed since the hour began may have had another name, miner or nominal rate."""
        if finding.seen.sighting.kind is not SightingKind.OVERRATE:
            return True
        versions = await register_store.history(self._engine, "device", finding.registry_number)
        return versions[-1].at_us < finding.seen.sighting.first_us

    async def _uncovered(self, found: list[Seen]) -> list[Seen]:
        if not found:
            return []
        day = found[0].sighting.day
        known = await register_store.read_sightings(self._engine, day, day)
        until = {one.sighting.key: one.last_us for one in known}
        return [one for one in found if until.get(one.sighting.key, 0) < one.last_us]


async def read_hour(engine: AsyncEngine, day_of: DayOf, start_us: int) -> Hour:
    """An hour as the batches have it that the ledger has taken, counted as `DeviceWatch` does."""
    hour = Hour(start_us)
    async with engine.connect() as connection:
        first = await connection.scalar(_taken_since(start_us - AHEAD_HOURS * HOUR_US))
    while first is not None:
        async with engine.connect() as connection:
            rows = (await connection.execute(_touching(start_us, first))).all()
        for row in rows:
            await asyncio.to_thread(_count, hour, row.gateway_number, row.payload, day_of)
        first = rows[-1].position + 1 if len(rows) == BATCHES_AT_ONCE else None
    return hour


def _taken_since(at_us: int) -> sa.Select[Any]:
    """Where the order stood: no clock is so far ahead that earlier batches have shares that are looked at."""
    return (
        sa.select(batch.c.position)
        .where(batch.c.taken_us >= at_us)
        .order_by(batch.c.taken_us, batch.c.position)
        .limit(1)
    )


def _touching(start_us: int, first: int) -> sa.Select[Any]:
    """The next batches from a position on that have shares of an hour, or say nothing of theirs."""
    touches = sa.and_(batch.c.first_us < start_us + HOUR_US, batch.c.last_us >= start_us)
    return (
        sa.select(batch.c.position, batch.c.gateway_number, batch.c.payload)
        .where(batch.c.position >= first, sa.or_(touches, batch.c.first_us.is_(None)))
        .order_by(batch.c.position)
        .limit(BATCHES_AT_ONCE)
    )


def _count(hour: Hour, gateway_number: int, payload: bytes, day_of: DayOf) -> None:
    for one in sort_records(decode_batch(payload), day_of).workers:
        if one.first_us < hour.start_us + HOUR_US and one.last_us >= hour.start_us:
            hour.add(gateway_number, (one.miner_id, one.worker), part_of(one, hour.start_us))
