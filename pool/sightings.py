"""What a gateway saw that a compliance officer should know (O-03, O-07): counted until PostgreSQL takes it.

Noted are refused authorisations of known accounts, worker names that are no hardware unit of their account,
and duplicates. A name is foreign when it is the registry number of a unit of another account; a mere worker
name says nothing outside of its own account, where every farm has a `rig1`.

A unit counts as being in two sessions when their shares alternate: in three or more minutes of a clock hour
an older session, which had been left for a newer one, has a further credited share. A reconnect is none, even
if a share of the old session comes late. A gateway sees its own sessions only.

Of what anybody can make up only so many names of an account and day are kept, the rest stands under "*": who
tries names must not fill a table. Duplicates are the register's own units and stand apart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from register.gate import Admission, Refusal, RefusalKind
from register.register import Register
from register.rules import Rules
from register.sighting import Seen, Sighting, SightingKind
from stratum.interfaces import Unit, Worker

NAMES_LIMIT = 100
"""Names of an account that are kept apart on one day, duplicates not counted."""
LEFT_LIMIT = 8
"""Connections of a unit that are remembered after it went on to work over another one."""
RETURN_MINUTES = 3
"""Minutes of an hour with returns to an older connection that make a duplicate; a late share is one."""
_MINUTE_US: Final = 60_000_000
REST: Final = "*"
_OF_DEVICE: Final = (RefusalKind.UNKNOWN_DEVICE, RefusalKind.NOT_REGISTERED)


class Sightings:
    """Collects for one gateway; everything happens on its loop."""

    def __init__(self, register: Register, rules: Rules) -> None:
        self._register = register
        self._rules = rules
        self._units: WeakValueDictionary[str, Unit] = WeakValueDictionary()
        self._seen: dict[str, Seen] = {}
        """By the key of the sighting; waits to be drained."""
        self._day = dt.date.min
        self._day_us = (0, 0)
        self._names: dict[int, set[str]] = {}
        """Of each account on that day."""

    def unit(self, number: str) -> Unit:
        """The hardware unit of a registry number, the same for every session that works as it."""
        unit = self._units.get(number)
        if unit is None:
            unit = self._units[number] = Unit(number)
        return unit

    def refused(self, refusal: Refusal, now_us: int) -> None:
        """An authorisation was refused; those of strangers, and unreadable names, are nobody's."""
        if refusal.kind in _OF_DEVICE:
            self._unregistered(refusal.miner_id, refusal.worker, refusal.kind.value, now_us)
        elif refusal.miner_id and refusal.kind is not RefusalKind.MALFORMED:
            self._note(SightingKind.REFUSED, refusal.miner_id, refusal.worker, refusal.kind.value, now_us)

    def let_in(self, admission: Admission, now_us: int) -> None:
        """An authorisation was granted; noted when the worker is no hardware unit."""
        if admission.device is None:
            how = "monitor" if admission.credited else "quarantine"
            self._unregistered(admission.miner_id, admission.worker, how, now_us)

    def moved(self, unit: Unit, worker: Worker, now_us: int) -> None:
        """A credited share of a unit came over another connection than the last."""
        before, here = unit.connection, worker.connection
        returned = here < before and here in unit.left
        unit.connection = here
        if before:
            unit.left = (before, *(one for one in unit.left if one not in (before, here)))[:LEFT_LIMIT]
        if not returned:
            return
        hour, minute = divmod(now_us // _MINUTE_US, 60)
        if hour != unit.hour:
            unit.hour, unit.minutes = hour, 0
        unit.minutes |= 1 << minute
        if unit.minutes.bit_count() >= RETURN_MINUTES:
            self._note(SightingKind.DUPLICATE, worker.miner_id, worker.name, unit.number, now_us)

    def drain(self) -> list[Seen]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, {}
        return list(seen.values())

    def put_back(self, seen: Iterable[Seen]) -> None:
        """Keep for the next time what was drained and could not be stored."""
        for one in seen:
            self._add(one)

    def _unregistered(self, miner_id: int, name: str, detail: str, now_us: int) -> None:
        day = self._day_of(now_us)
        devices = self._register.devices
        for number in dict.fromkeys((name, name.upper(), name.lower())):
            device = devices.get(number)
            if device is None or device.miner_id == miner_id:
                continue
            if device.excluded_on is None or day < device.excluded_on:
                self._note(SightingKind.FOREIGN, miner_id, name, detail, now_us)
                return
        self._note(SightingKind.UNREGISTERED, miner_id, name, detail, now_us)

    def _note(self, kind: SightingKind, miner_id: int, name: str, detail: str, now_us: int) -> None:
        day = self._day_of(now_us)
        names = self._names.setdefault(miner_id, set())
        if kind is not SightingKind.DUPLICATE and name not in names:
            if len(names) >= NAMES_LIMIT:
                name = REST
            else:
                names.add(name)
        self._add(Seen(Sighting(kind, day, miner_id, name, now_us, detail), now_us, 1))

    def _add(self, seen: Seen) -> None:
        key = seen.sighting.key
        known = self._seen.get(key)
        if known is None:
            self._seen[key] = seen
            return
        first = min(known.sighting, seen.sighting, key=lambda one: one.first_us)
        self._seen[key] = msgspec.structs.replace(
            known, sighting=first, last_us=max(known.last_us, seen.last_us), count=known.count + seen.count
        )

    def _day_of(self, now_us: int) -> dt.date:
        if not self._day_us[0] <= now_us < self._day_us[1]:
            self._day = self._rules.day_of(now_us)
            self._day_us = self._rules.day_bounds(self._day)
            self._names.clear()
        return self._day
