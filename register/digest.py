"""What a compliance officer should know of a day: the digest of the register and of what the pool saw.

One note is one thing to know or to do. The kinds stand in the order of their weight, the notes of a kind by
day, account and subject; who shows them needs no rule of its own. A licence is warned of in the nearest of
the brackets that the dated rule `licence_warning` names, and not at all when a following one of the same
miner takes over the day after.

Pure: the instant, the running version and what was seen are given. Nothing is decided here and nobody told.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from register.consistency import has_own_centre, not_hosted
from register.device import Device
from register.licence import COVERING, Licence, Phase, Status
from register.miner import Miner
from register.payout_address import address_at
from register.pool_data import Accreditation
from register.records import decode
from register.register import Register
from register.rules import Rules
from register.sighting import Seen

ENDED_DAYS: Final = 30
"""How long a licence that is over is told of."""
_OVER: Final = (Status.ENDED, Status.REVOKED)


class NoteKind(StrEnum):
    """What a note is about, the weightiest first."""

    NOT_ACCREDITED = "not_accredited"
    """No accreditation of the pool is in force (O-20, O-21)."""
    ACCREDITATION_ENDING = "accreditation_ending"
    SITE_ABROAD = "site_abroad"
    """An open site of the pool outside Kazakhstan (O-22)."""
    VERSION_NOT_TESTED = "version_not_tested"
    """No test protocol is for the running version (O-23)."""
    REQUIREMENT_UNMET = "requirement_unmet"
    """O-24."""
    SUSPENDED = "suspended"
    """A suspension in force: `reason_code`, `since`, last day `until` (O-09)."""
    AWAITING_RESUMPTION = "awaiting_resumption"
    """A suspension whose term is over, without a resumption act (O-10)."""
    SUSPENSION_TOMORROW = "suspension_tomorrow"
    LICENCE_ENDING = "licence_ending"
    """`bracket` is the 90, 60 or 30 days of the warning; `days_left` counts today's day as 0 (O-04)."""
    LICENCE_ENDED = "licence_ended"
    """Ended or revoked in the last 30 days; `detail` is ended or revoked."""
    LICENCE_TOMORROW = "licence_tomorrow"
    """A licence whose term begins tomorrow."""
    NO_LICENCE = "no_licence"
    """A miner without a licence that is in force, suspended, awaiting resumption or to come."""
    NO_WALLET = "no_wallet"
    """A miner with such a licence whom nothing can be paid to."""
    NO_OWN_CENTRE = "no_own_centre"
    """A miner of subtype I without a data centre of its own (O-05)."""
    NOT_HOSTED = "not_hosted"
    """Units (`count`) of a miner of subtype II that are not its own, or not in another's centre (O-06)."""
    SALE_SHORT = "sale_short"
    """Less was sold than had to be in the period that ended last, the `subject` (O-52)."""
    SALE_BEHIND = "sale_behind"
    """The same of the period that runs, told in its last month."""
    ADDRESS_WAITING = "address_waiting"
    """An address that takes effect at `until_us`."""
    PROPOSAL_WAITING = "proposal_waiting"
    """A change that waits for a second pair of eyes; `actor` asked for it."""
    UNREGISTERED = "unregistered"
    FOREIGN = "foreign"
    DUPLICATE = "duplicate"
    OVERRATE = "overrate"
    REFUSED = "refused"


class Note(msgspec.Struct, frozen=True, gc=False):
    """One thing to know. Fields that a kind does not need stay empty."""

    kind: NoteKind
    subject: str
    """Number of the licence, accreditation or proposal; code of the site or requirement; worker; address;
    account where the note is of the miner as such; running version; period of the mandatory sale."""
    account: str = ""
    title: str = ""
    """Legal name of the miner."""
    miner_id: int = 0
    since: dt.date | None = None
    until: dt.date | None = None
    """Last day."""
    days_left: int | None = None
    """From today to the last day, or to the day on which something begins."""
    bracket: int = 0
    reason_code: int = 0
    """Of a suspension, 1 to 6."""
    until_us: int = 0
    count: int = 0
    """How often it was seen that day; how many units."""
    last_us: int = 0
    """When it was last seen."""
    actor: str = ""
    detail: str = ""


class Digest(msgspec.Struct, frozen=True):
    """The notes of a day, and which state of the register they were made from."""

    day: dt.date
    at_us: int
    seq: int
    sha256: str
    notes: tuple[Note, ...]

    def of(self, *kinds: NoteKind) -> list[Note]:
        """The notes of some kinds."""
        return [note for note in self.notes if note.kind in kinds]

    def counts(self) -> dict[NoteKind, int]:
        """How many notes there are of every kind, 0 included, in order of weight."""
        found = Counter(note.kind for note in self.notes)
        return {kind: found[kind] for kind in NoteKind}


class _Moment(NamedTuple):
    """What every part of the digest looks at."""

    register: Register
    rules: Rules
    at_us: int
    today: dt.date

    def day(self, on: dt.date) -> int:
        """Days from today."""
        return (on - self.today).days


def digest(
    register: Register,
    rules: Rules,
    at_us: int,
    seen: Sequence[Seen],
    version: str,
    besides: Iterable[Note] = (),
) -> Digest:
    """The digest at an instant, with the day's sightings; `version` is the running one.

    `besides` are notes that follow from elsewhere; a miner in them is named here.
    """
    now = _Moment(register, rules, at_us, rules.day_of(at_us))
    notes = [*_pool(now, version), *_waiting(now), *_sightings(register, seen)]
    notes += [_by_id(register, note) for note in besides]
    for miner in register.miners.values():
        notes.extend(_of_miner(now, miner))
    weight = {kind: number for number, kind in enumerate(NoteKind)}
    notes.sort(
        key=lambda one: (weight[one.kind], one.until or one.since or now.today, one.account, one.subject)
    )
    return Digest(now.today, at_us, register.seq, register.sha256, tuple(notes))


# The pool itself


def _pool(now: _Moment, version: str) -> Iterator[Note]:
    yield from _accreditation(now, list(now.register.accreditations.values()))
    for site in now.register.sites.values():
        if site.country != "KZ" and (site.closed_on is None or site.closed_on > now.today):
            yield Note(NoteKind.SITE_ABROAD, site.code, until=site.closed_on, detail=site.country)
    tested = {one.version: one.on for one in now.register.protocols.values() if one.on <= now.today}
    if version not in tested:
        last = max(tested, key=lambda one: (tested[one], one), default="")
        yield Note(NoteKind.VERSION_NOT_TESTED, version, since=tested.get(last), detail=last)
    for one in now.register.requirements.values():
        if one.met_on is None or one.met_on > now.today:
            yield Note(NoteKind.REQUIREMENT_UNMET, one.code, until=one.met_on, detail=one.text)


def _accreditation(now: _Moment, held: list[Accreditation]) -> Iterator[Note]:
    begun = [one for one in held if one.issued_on <= now.today]
    in_force = [one for one in begun if one.valid_to is None or one.valid_to >= now.today]
    if not in_force:
        last = max(begun, key=lambda one: (one.valid_to or dt.date.max, one.number), default=None)
        yield Note(
            NoteKind.NOT_ACCREDITED, last.number if last else "", until=last.valid_to if last else None
        )
    row = now.rules.find("accreditation", now.today)
    for one in in_force:
        terms = ((other.issued_on, other.valid_to or dt.date.max) for other in held)
        if row is None or one.valid_to is None or _taken_over(one.valid_to, terms):
            continue
        left = now.day(one.valid_to)
        bracket = _bracket(left, row.integers("warning_days"))
        if bracket:
            yield Note(
                NoteKind.ACCREDITATION_ENDING,
                one.number,
                until=one.valid_to,
                days_left=left,
                bracket=bracket,
            )


# Miners and their licences


def _of_miner(now: _Moment, miner: Miner) -> Iterator[Note]:
    held = {one.number: (one, one.phases(now.rules)) for one in now.register.licences_of(miner.id)}
    living = []
    for licence, phases in held.values():
        index = next(number for number, phase in enumerate(phases) if now.at_us < phase.end_us)
        yield from _of_phase(now, miner, licence, phases[index])
        yield from _tomorrow(now, miner, licence, phases[index + 1 :])
        if phases[index].status not in _OVER:
            living.append(licence)
            yield from _ending(now, miner, licence)
    if not living:
        yield _note_of(miner, NoteKind.NO_LICENCE)
        return
    if address_at(now.register.addresses_of(miner.id), "wallet", now.at_us) is None:
        yield _note_of(miner, NoteKind.NO_WALLET)
    subtypes = {licence.subtype for licence in living}
    if 1 in subtypes and not has_own_centre(now.register, miner):
        yield _note_of(miner, NoteKind.NO_OWN_CENTRE)
    if subtypes == {2}:
        wrong = [unit for unit in now.register.devices_of(miner.id) if _wrong(now, unit, miner)]
        if wrong:
            first = min(wrong, key=lambda unit: unit.registry_number)
            reason = next(not_hosted(now.register, first, miner))
            detail = f"{first.registry_number} {reason}"
            yield _note_of(miner, NoteKind.NOT_HOSTED, count=len(wrong), detail=detail)


def _of_phase(now: _Moment, miner: Miner, licence: Licence, phase: Phase) -> Iterator[Note]:
    if phase.status in _OVER:
        since = now.rules.day_of(phase.start_us)
        if (now.today - since).days <= ENDED_DAYS:
            until = now.rules.day_of(phase.start_us - 1)
            yield _note_of(
                miner, NoteKind.LICENCE_ENDED, licence, since=since, until=until, detail=phase.status.value
            )
    elif phase.status not in COVERING and phase.act is not None:
        act = phase.act
        suspended = phase.status is Status.SUSPENDED
        yield _note_of(
            miner,
            NoteKind.SUSPENDED if suspended else NoteKind.AWAITING_RESUMPTION,
            licence,
            since=act.on,
            until=act.until,
            days_left=now.day(act.until) if suspended and act.until else None,
            reason_code=act.reason_code,
        )


def _tomorrow(now: _Moment, miner: Miner, licence: Licence, to_come: list[Phase]) -> Iterator[Note]:
    tomorrow = now.today + dt.timedelta(days=1)
    for phase in to_come:
        if now.rules.day_of(phase.start_us) != tomorrow:
            continue
        if phase.status is Status.IN_FORCE:
            yield _note_of(
                miner,
                NoteKind.LICENCE_TOMORROW,
                licence,
                since=tomorrow,
                until=licence.last_day,
                days_left=1,
            )
        elif phase.status is Status.SUSPENDED and phase.act is not None:
            yield _note_of(
                miner,
                NoteKind.SUSPENSION_TOMORROW,
                licence,
                since=tomorrow,
                until=phase.act.until,
                days_left=1,
                reason_code=phase.act.reason_code,
            )


def _ending(now: _Moment, miner: Miner, licence: Licence) -> Iterator[Note]:
    last = licence.last_day
    left = now.day(last)
    bracket = _bracket(left, now.rules.on("licence_warning", now.today).integers("days"))
    terms = (
        (other.valid_from, other.last_day)
        for other in now.register.licences_of(miner.id)
        if other.last_day >= other.valid_from
    )
    if bracket and licence.valid_from <= now.today and not _taken_over(last, terms):
        yield _note_of(miner, NoteKind.LICENCE_ENDING, licence, until=last, days_left=left, bracket=bracket)


def _wrong(now: _Moment, unit: Device, miner: Miner) -> bool:
    registered = unit.excluded_on is None or unit.excluded_on > now.today
    return registered and next(not_hosted(now.register, unit, miner), None) is not None


def _bracket(days_left: int, brackets: Iterable[int]) -> int:
    """The nearest bracket that so many days fall into; 0 for none."""
    return min((days for days in brackets if days_left <= days), default=0)


def _taken_over(last: dt.date, terms: Iterable[tuple[dt.date, dt.date]]) -> bool:
    """Whether another term holds on the day after the last."""
    after = last + dt.timedelta(days=1)
    return any(begins <= after <= ends for begins, ends in terms)


def _note_of(
    miner: Miner,
    kind: NoteKind,
    licence: Licence | None = None,
    *,
    since: dt.date | None = None,
    until: dt.date | None = None,
    days_left: int | None = None,
    bracket: int = 0,
    reason_code: int = 0,
    count: int = 0,
    detail: str = "",
) -> Note:
    return Note(
        kind,
        licence.number if licence else miner.name,
        miner.name,
        miner.title,
        miner.id,
        since,
        until,
        days_left,
        bracket,
        reason_code,
        count=count,
        detail=detail,
    )


# What waits, and what was seen


def _waiting(now: _Moment) -> Iterator[Note]:
    for address in now.register.addresses.values():
        if address.withdrawn_us is None and address.effective_us > now.at_us:
            yield _by_id(
                now.register,
                Note(
                    NoteKind.ADDRESS_WAITING,
                    address.address,
                    miner_id=address.miner_id,
                    until=now.rules.day_of(address.effective_us),
                    until_us=address.effective_us,
                    detail=address.purpose,
                ),
            )
    for one in now.register.proposals.values():
        if one.state == "waiting":
            miner_id = getattr(decode(one.kind, one.body), "miner_id", 0)
            detail = f"{one.kind} {one.key} {one.action}: {one.reason}"
            note = Note(
                NoteKind.PROPOSAL_WAITING, str(one.id), miner_id=miner_id, actor=one.actor, detail=detail
            )
            yield _by_id(now.register, note)


def _sightings(register: Register, seen: Iterable[Seen]) -> Iterator[Note]:
    for found in seen:
        one = found.sighting
        note = Note(
            NoteKind(one.kind.value),
            one.worker,
            miner_id=one.miner_id,
            since=one.day,
            count=found.count,
            last_us=found.last_us,
            detail=one.detail,
        )
        yield _by_id(register, note)


def _by_id(register: Register, note: Note) -> Note:
    miner = register.miners.get(note.miner_id)
    if miner is None:
        return note
    return msgspec.structs.replace(note, account=miner.name, title=miner.title)
