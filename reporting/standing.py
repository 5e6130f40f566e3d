"""Where a miner's licences stood within one day, as the register knew them at each instant.

A correction changes what the register says of the past, and not what was done in good faith before it. So
each version of a licence counts only while it was the newest, and of a miner's licences the one counts that
the gate went by: one that covers work, or else the last that began, or else the next to begin.

It reads no log (that is `pool.report_facts`) and does not judge whether work was allowed (`equalities`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from register.event import Event
from register.licence import FOREVER_US, Licence, Status, counting
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.records import decode
from register.register import Register
from register.rules import Rules

NO_LICENCE: Final = "no_licence"
"""The status while the register knew of no licence at all."""


class Version(NamedTuple):
    """A licence as the register had it from one instant until before another."""

    licence: Licence
    since_us: int = 0
    until_us: int = FOREVER_US


class Held(NamedTuple):
    """A miner and its wallet when a day ends, with all versions that its licences had in the day."""

    miner: Miner
    wallet: PayoutAddress | None
    versions: Sequence[Version]

    def newest(self, number: str) -> Licence:
        """A licence as it stands when the day ends."""
        of_it = (version for version in self.versions if version.licence.number == number)
        return max(of_it, key=lambda version: version.since_us).licence


class Stretch(NamedTuple):
    """A part of a day in which a miner stood so under the licence of this number, or under none."""

    number: str | None
    status: str
    start_us: int
    end_us: int


class Turn(NamedTuple):
    """An instant at which a licence came to stand so: by an act, a correction, or the calendar."""

    number: str
    status: Status
    at_us: int


class _Part(NamedTuple):
    """A phase of one version of a licence, as far as both were."""

    licence: Licence
    status: Status
    start_us: int
    end_us: int


def live_through(register: Register, events: Iterable[Event]) -> dict[int, list[Version]]:
    """Take a day's events into the register as it stood before; the versions of each miner's licences."""
    newest = {number: Version(licence) for number, licence in register.licences.items()}
    versions: dict[int, list[Version]] = defaultdict(list)
    for event in events:
        record = decode(event.kind, event.body)
        if isinstance(record, Licence):
            before = newest.get(record.number)
            if before is not None:
                versions[before.licence.miner_id].append(before._replace(until_us=event.at_us))
            newest[record.number] = Version(record, event.at_us)
        register.put(event.kind, event.key, record)
    for version in newest.values():
        versions[version.licence.miner_id].append(version)
    return versions


def stretches(versions: Iterable[Version], start_us: int, end_us: int, rules: Rules) -> list[Stretch]:
    """How a miner stood from one instant until before another, without a gap."""
    parts = _parts(versions, start_us, end_us, rules)
    turns = sorted({start_us, *(part.start_us for part in parts), *(part.end_us for part in parts)})
    told: list[Stretch] = []
    for at_us in turns:
        if at_us == end_us:
            break
        standing = [part for part in parts if part.start_us <= at_us < part.end_us]
        best = counting(standing, lambda part: part.status)
        number, status = (best.licence.number, best.status.value) if best else (None, NO_LICENCE)
        if told and told[-1][:2] == (number, status):
            continue
        if told:
            told[-1] = told[-1]._replace(end_us=at_us)
        told.append(Stretch(number, status, at_us, end_us))
    return told


def turns(versions: Iterable[Version], start_us: int, end_us: int, rules: Rules) -> list[Turn]:
    """Of each of a miner's licences, when its status changed from one instant until before another.

    A licence that the register first hears of then turns at that moment, unless it is yet to begin.
    """
    before: dict[str, Status] = {}
    told: list[Turn] = []
    for part in sorted(_parts(versions, start_us - 1, end_us, rules), key=lambda part: part.start_us):
        number, status = part.licence.number, part.status
        stood = before.get(number)
        new = status is not Status.NOT_YET if stood is None else status is not stood
        if new and part.start_us >= start_us:
            told.append(Turn(number, status, part.start_us))
        before[number] = status
    return told


def _parts(versions: Iterable[Version], start_us: int, end_us: int, rules: Rules) -> list[_Part]:
    """The phases of all versions within a day, in the order in which the gate looks at licences."""
    parts = [
        _Part(
            licence,
            phase.status,
            max(phase.start_us, since_us, start_us),
            min(phase.end_us, until_us, end_us),
        )
        for licence, since_us, until_us in versions
        for phase in licence.phases(rules)
    ]
    real = [part for part in parts if part.start_us < part.end_us]
    return sorted(real, key=lambda part: (part.licence.valid_from, part.licence.number))
