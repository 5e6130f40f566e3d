"""Who may send work at this moment: invariant 6, no licence, no work.

Work counts by the whole chain (O-01, O-03, O-07): the pool is accredited, the account is a miner in the
register, the worker name is one of its hardware units, registered on that day, and a licence of the miner is
in force. A `Gate` asks a register that somebody keeps up to date; it has no clock and no database. An
`Admission` carries the instants between which nothing of that changes by time alone.

A worker name that is no hardware unit of the account is refused, let in without credit, or only flagged, by
the dated rule `unknown_device`. The username is what firmware sends: `account` or `account.worker`, split at
the first dot.
"""

from __future__ import annotations

import datetime as dt
import re
from enum import StrEnum
from typing import Final

import msgspec

from register.device import Device
from register.licence import COVERING, FOREVER_US, Licence, Phase, Status, counting
from register.miner import Language, Miner
from register.register import Register
from register.rules import Rules

_WORKER: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")
_SHOWN: Final = 40  # characters of a stranger's username that an answer repeats


class RefusalKind(StrEnum):
    """Why the gate stayed shut; a label for metrics and for the log (O-03)."""

    MALFORMED = "malformed"
    UNKNOWN_ACCOUNT = "unknown_account"
    NOT_ACCREDITED = "pool_not_accredited"
    NO_LICENCE = "no_licence"
    NOT_YET = "licence_not_yet"
    ENDED = "licence_ended"
    SUSPENDED = "licence_suspended"
    AWAITING_RESUMPTION = "licence_awaiting_resumption"
    REVOKED = "licence_revoked"
    UNKNOWN_DEVICE = "unknown_device"
    NOT_REGISTERED = "device_not_registered"
    """The unit is known, but not in the state register on that day."""


class Admission(msgspec.Struct, frozen=True, gc=False):
    """Work of a worker of a miner counts from `valid_from_us` until before `valid_until_us`."""

    miner_id: int
    account: str
    worker: str
    """The hardware unit's worker name, however it was spelt; as it was sent when there is no unit."""
    valid_from_us: int
    valid_until_us: int
    licence: Licence
    language: Language
    device: str | None
    """Registry number of the hardware unit; None for a worker that is none and is let in all the same."""
    nominal_ghs: int
    """Of the unit; 0 without one."""
    credited: bool
    """False in quarantine: shares are accepted, and nothing is owed for them."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The gate's no: why, and what the words for it need."""

    kind: RefusalKind
    account: str = ""
    worker: str = ""
    licence: str = ""
    """Number of the licence."""
    day: dt.date | None = None
    """First day of a licence to come or of a suspension, last day of one that ended, day of a revocation."""
    until: dt.date | None = None
    """Last day of a suspension."""
    reason_code: int = 0
    """Of a suspension."""
    language: Language = "en"
    miner_id: int = 0
    """0 for an account that is unknown."""


class Gate:
    """Asks a register; `forget` what was derived from it when it has changed."""

    def __init__(self, register: Register, rules: Rules) -> None:
        self._register = register
        self._rules = rules
        self._phases: dict[int, list[tuple[Licence, Phase]]] = {}
        self._accredited: list[tuple[int, int]] | None = None

    def forget(self, kind: str, miner_id: int = 0) -> None:
        """A record of `kind` has a new version: what was derived from it is worked out anew.

        Of licences, those of one miner, or of all where it is 0.
        """
        if kind == "licence" and miner_id == 0:
            self._phases.clear()
        elif kind == "licence":
            self._phases.pop(miner_id, None)
        elif kind == "accreditation":
            self._accredited = None

    def admit(self, username: str, at_us: int) -> Admission | Refusal:
        """Whether work under `username` counts at an instant (unix microseconds)."""
        account, _, worker = username.partition(".")
        miner = self._register.find_miner(account)
        if miner is None:
            return Refusal(RefusalKind.UNKNOWN_ACCOUNT, account[:_SHOWN])
        if not _WORKER.fullmatch(worker):
            return _refusal(RefusalKind.MALFORMED, miner, worker[:_SHOWN])
        accredited = self._accreditation_at(at_us)
        if accredited is None:
            return _refusal(RefusalKind.NOT_ACCREDITED, miner, worker)
        held = self._licence_at(miner, at_us)
        if isinstance(held, Refusal):
            return msgspec.structs.replace(held, worker=worker)
        licence, phase = held
        start, end = max(phase.start_us, accredited[0]), min(phase.end_us, accredited[1])
        return self._admit_unit(miner, worker, at_us, licence, start, end)

    def _admit_unit(
        self, miner: Miner, worker: str, at_us: int, licence: Licence, start: int, end: int
    ) -> Admission | Refusal:
        units = self._register.units_named(miner.id, worker.lower())
        for unit in units:
            first, last = self._registered(unit)
            if first <= at_us < last:
                return _admission(miner, unit.worker, max(start, first), min(end, last), licence, unit)
        day = self._rules.day_of(at_us)
        mode = self._rules.on("unknown_device", day).text("mode")
        if mode == "strict":
            kind = RefusalKind.NOT_REGISTERED if units else RefusalKind.UNKNOWN_DEVICE
            return _refusal(kind, miner, worker)
        # What a unit that comes later, or the next row of the rule, changes is asked for then.
        for unit in units:
            first = self._registered(unit)[0]
            end = min(end, first) if first > at_us else end
        changed = self._rules.until("unknown_device", day)
        if changed is not None:
            end = min(end, self._rules.day_bounds(changed)[0])
        return _admission(miner, worker, max(start, at_us), end, licence, None, credited=mode == "monitor")

    def _registered(self, unit: Device) -> tuple[int, int]:
        start = self._rules.day_bounds(unit.included_on)[0]
        excluded = unit.excluded_on
        return start, FOREVER_US if excluded is None else self._rules.day_bounds(excluded)[0]

    def _accreditation_at(self, at_us: int) -> tuple[int, int] | None:
        """The span of the pool's accreditation (O-21); a pool that entered none is not asked for it here."""
        spans = self._accredited
        if spans is None:
            spans = self._accredited = [
                (
                    self._rules.day_bounds(one.issued_on)[0],
                    FOREVER_US if one.valid_to is None else self._rules.day_bounds(one.valid_to)[1],
                )
                for one in self._register.accreditations.values()
            ]
        if not spans:
            return 0, FOREVER_US
        return max((span for span in spans if span[0] <= at_us < span[1]), default=None)

    def _licence_at(self, miner: Miner, at_us: int) -> tuple[Licence, Phase] | Refusal:
        phases = self._phases.get(miner.id)
        if phases is None:
            known = sorted(self._register.licences_of(miner.id), key=lambda one: (one.valid_from, one.number))
            phases = [(licence, phase) for licence in known for phase in licence.phases(self._rules)]
            self._phases[miner.id] = phases
        standing = [pair for pair in phases if pair[1].start_us <= at_us < pair[1].end_us]
        held = counting(standing, lambda pair: pair[1].status)
        if held is None:
            return _refusal(RefusalKind.NO_LICENCE, miner)
        return held if held[1].status in COVERING else _licence_refusal(miner, *held)


_KINDS: Final = {
    Status.NOT_YET: RefusalKind.NOT_YET,
    Status.SUSPENDED: RefusalKind.SUSPENDED,
    Status.AWAITING_RESUMPTION: RefusalKind.AWAITING_RESUMPTION,
    Status.ENDED: RefusalKind.ENDED,
    Status.REVOKED: RefusalKind.REVOKED,
}


def _licence_refusal(miner: Miner, licence: Licence, phase: Phase) -> Refusal:
    act = phase.act
    if act is not None:
        day: dt.date = act.on
    else:
        day = licence.valid_from if phase.status is Status.NOT_YET else licence.valid_to
    return Refusal(
        _KINDS[phase.status],
        miner.name,
        licence=licence.number,
        day=day,
        until=act.until if act else None,
        reason_code=act.reason_code if act else 0,
        language=miner.language,
        miner_id=miner.id,
    )


def _refusal(kind: RefusalKind, miner: Miner, worker: str = "") -> Refusal:
    return Refusal(kind, miner.name, worker, language=miner.language, miner_id=miner.id)


def _admission(
    miner: Miner,
    worker: str,
    start: int,
    end: int,
    licence: Licence,
    unit: Device | None,
    *,
    credited: bool = True,
) -> Admission:
    return Admission(
        miner.id,
        miner.name,
        worker,
        start,
        end,
        licence,
        miner.language,
        unit.registry_number if unit else None,
        unit.nominal_ghs if unit else 0,
        credited,
    )
