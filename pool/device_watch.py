"""What the ledger sees of hardware units, hour by hour: too much work, or work at two gateways (O-07).

Pure. `DeviceWatch` is fed with the slices of each batch after the ledger has committed it, and gives the
hours that are over; `look` says what is wrong with an hour. Clock hours of Kazakhstan are whole hours of UTC.

Counts in memory are trusted for an hour only when every batch since before its beginning was seen, which the
positions of the batches tell. Every other hour is named by `to_read` and counted from PostgreSQL instead: the
one in which a ledger starts, and the ones for which a gateway that was cut off delivers late.

Too much: with work W, nominal work N and Q the sum of the squares of the shares' works, chance spreads W by
the root of Q * N / W (a compound Poisson count; with n shares of equal work Q is W * W / n). An hour is told
when W is over `overrate_percent` of N and over N by at least `min_sigma` such deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from payouts.slices import Slice
from pool.clock import HOUR_US, hour_of
from register.device import Device
from register.rules import Rules
from register.sighting import Seen, Sighting, SightingKind

MINUTE_US: Final = 60_000_000
CLOSE_US: Final = 5 * MINUTE_US
"""So long after its end an hour is looked at; one that is read again, so long after its last late slice."""
SHARED_MINUTES: Final = 3
"""Minutes of an hour with shares at two gateways that make a duplicate: one that goes to another gateway and
back has two of them."""
LATE_HOURS: Final = 168
"""How far back late slices are looked into: a week."""
AHEAD_HOURS: Final = 24
"""How far ahead a gateway's clock may be for its slices to be looked into."""
_HASHES_PER_GHS: Final = 3600 * 10**9

Name = tuple[int, str]
"""Miner and worker name, as slices have them."""


class Part(NamedTuple):
    """What of a slice, or of many, falls into an hour."""

    work: int
    spread: int
    """Q at the head of this file."""
    shares: int
    minutes: int
    """A bit for each minute of the hour that is known to have a share."""


class Rate:
    """The work of a name in an hour, at all gateways."""

    __slots__ = ("shares", "spread", "work")

    def __init__(self) -> None:
        self.work = self.spread = self.shares = 0


class Hour:
    """What was counted in one clock hour."""

    def __init__(self, start_us: int) -> None:
        self.start_us = start_us
        self.rates: dict[Name, Rate] = {}
        self.minutes: dict[int, dict[Name, int]] = {}
        """By gateway."""

    def add(self, gateway: int, name: Name, part: Part) -> None:
        """Count a part."""
        rate = self.rates.get(name)
        if rate is None:
            rate = self.rates[name] = Rate()
        rate.work += part.work
        rate.spread += part.spread
        rate.shares += part.shares
        minutes = self.minutes.setdefault(gateway, {})
        minutes[name] = minutes.get(name, 0) | part.minutes

    def shared_minutes(self, name: Name) -> int:
        """The minutes in which two gateways had shares of a name, as bits."""
        seen = shared = 0
        for minutes in self.minutes.values():
            here = minutes.get(name, 0)
            shared |= seen & here
            seen |= here
        return shared


def part_of(one: Slice, start_us: int) -> Part:
    """What of a slice falls into an hour; one that crosses its bounds is divided by time, rounded down."""
    end_us = start_us + HOUR_US
    first, last = one.first_us >= start_us, one.last_us < end_us
    minutes = 1 << (one.first_us - start_us) // MINUTE_US if first else 0
    if last:
        minutes |= 1 << (one.last_us - start_us) // MINUTE_US
    spread = one.work * one.work // one.shares
    if first and last:
        return Part(one.work, spread, one.shares, minutes)
    whole = one.last_us - one.first_us + 1
    inside = min(one.last_us + 1, end_us) - max(one.first_us, start_us)
    return Part(one.work * inside // whole, spread * inside // whole, one.shares * inside // whole, minutes)


class DeviceWatch:
    """See the head of this file. `now_us` is the ledger's clock."""

    def __init__(self) -> None:
        self._position: int | None = None
        self._whole_from_us = 0
        """Hours that begin here or later are counted whole in memory."""
        self._hours: dict[int, Hour] = {}
        self._late: dict[int, int] = {}
        """Hours that must be read, and when something was last heard of them."""

    def take(self, position: int, gateway: int, slices: Iterable[Slice], now_us: int) -> None:
        """Count the slices of the batch at a position."""
        slices = tuple(slices)
        if self._position is None or position != self._position + 1:
            earliest = min((one.first_us for one in slices), default=now_us)
            self._start_over(earliest, now_us)
        self._position = position
        for one in slices:
            for start_us in range(hour_of(one.first_us), one.last_us + 1, HOUR_US):
                hour = self._open(start_us, now_us)
                if hour is not None:
                    hour.add(gateway, (one.miner_id, one.worker), part_of(one, start_us))

    def closed(self, now_us: int) -> list[Hour]:
        """The hours counted whole that are over, each given once."""
        over = sorted(start_us for start_us in self._hours if start_us + HOUR_US + CLOSE_US <= now_us)
        if over:
            self._whole_from_us = max(self._whole_from_us, over[-1] + HOUR_US)
        return [self._hours.pop(start_us) for start_us in over]

    def to_read(self, now_us: int) -> list[int]:
        """The beginnings of hours that are over and must be read from the ledger, each given once."""
        due = sorted(
            start_us
            for start_us, heard_us in self._late.items()
            if max(start_us + HOUR_US, heard_us) + CLOSE_US <= now_us
        )
        for start_us in due:
            del self._late[start_us]
        return due

    def read_later(self, start_us: int, now_us: int) -> None:
        """An hour is to be read from the ledger once it has been quiet for a while."""
        if -LATE_HOURS * HOUR_US <= start_us - hour_of(now_us) <= AHEAD_HOURS * HOUR_US:
            self._late[start_us] = now_us

    def _start_over(self, earliest_us: int, now_us: int) -> None:
        """Batches were missed: whoever took them may not have come to the hour before the first slice."""
        for start_us in (*self._hours, hour_of(earliest_us) - HOUR_US, hour_of(now_us)):
            self.read_later(start_us, now_us)
        self._hours.clear()
        self._whole_from_us = hour_of(now_us) + HOUR_US

    def _open(self, start_us: int, now_us: int) -> Hour | None:
        hour = self._hours.get(start_us)
        if hour is not None:
            return hour
        if start_us in self._late or not self._whole_from_us <= start_us <= now_us + HOUR_US:
            self.read_later(start_us, now_us)
            return None
        hour = self._hours[start_us] = Hour(start_us)
        return hour


class Finding(NamedTuple):
    """What is wrong with an hour of a hardware unit."""

    seen: Seen
    registry_number: str


def look(
    hour: Hour, names: Sequence[Name], units_named: Callable[[int, str], Iterable[Device]], rules: Rules
) -> list[Finding]:
    """What is wrong with some names of an hour. Names that are no registered units are the gate's affair."""
    day = rules.day_of(hour.start_us)
    row = rules.on("device_watch", day)
    percent, sigma = row.integer("overrate_percent"), row.integer("min_sigma")
    found = []
    for name in names:
        for unit in units_named(name[0], name[1].lower()):
            if unit.included_on <= day and (unit.excluded_on is None or day < unit.excluded_on):
                found += _look_at(hour, name, unit, percent, sigma, rules)
    return found


def over_nominal(rate: Rate, nominal: int, percent: int, sigma: int) -> bool:
    """Whether an hour's work is more than `nominal` hashes allow, and by no chance."""
    more = rate.work - nominal
    return (
        rate.work * 100 > nominal * percent
        and more > 0
        and more * more * rate.work >= sigma * sigma * nominal * rate.spread
    )


def _look_at(hour: Hour, name: Name, unit: Device, percent: int, sigma: int, rules: Rules) -> list[Finding]:
    found = []
    rate = hour.rates[name]
    nominal = unit.nominal_ghs * _HASHES_PER_GHS
    if over_nominal(rate, nominal, percent, sigma):
        share = rate.work * 100 // nominal
        what = f"{share} % of {unit.nominal_ghs} GH/s in {rate.shares} shares"
        found.append(_finding(SightingKind.OVERRATE, hour, name, unit, what, rules))
    shared = hour.shared_minutes(name).bit_count()
    if shared >= SHARED_MINUTES:
        gateways = " and ".join(
            str(gateway) for gateway in sorted(hour.minutes) if name in hour.minutes[gateway]
        )
        what = f"at gateways {gateways} in the same {shared} minutes"
        found.append(_finding(SightingKind.DUPLICATE, hour, name, unit, what, rules))
    return found


def _finding(kind: SightingKind, hour: Hour, name: Name, unit: Device, what: str, rules: Rules) -> Finding:
    local = rules.local(hour.start_us)
    detail = f"{what}, hour from {local:%H:%M}"
    sighting = Sighting(kind, local.date(), name[0], name[1], hour.start_us, detail)
    return Finding(Seen(sighting, hour.start_us + HOUR_US - 1, 1), unit.registry_number)
