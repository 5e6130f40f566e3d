"""A licence for digital mining, and what became of it (O-03 to O-11).

A licence is in force from 00:00 of its first day to the end of its last, in Kazakhstan (Q-11), less the time
of its suspensions, until it is ended or revoked. What happens to it is an `Act` of the authorised body or a
court, each with its number. An act follows the one before; an end or a revocation takes the place of what
was to come after it.

A suspension does not lapse: after its last day the licence awaits resumption until the resumption act is
entered (O-10), unless the dated rule `licence.auto_resume` says otherwise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final, Literal, TypeVar

import msgspec

from register.fields import day_of, text_of
from register.rules import Rules

_Stands = TypeVar("_Stands")
ActKind = Literal["suspended", "resumed", "ended", "revoked"]
FINAL: Final = ("ended", "revoked")
"""Acts after which nothing follows."""
REASON_CODES: Final = range(1, 7)
"""Grounds of a suspension: LAW art. 9 p. 4 sp. 1) to 6) (O-08)."""


class LicenceError(ValueError):
    """The licence cannot be as given. The message names the licence, the value and the remedy."""


class Status(StrEnum):
    """Where a licence stands at an instant."""

    NOT_YET = "not_yet"
    IN_FORCE = "in_force"
    SUSPENDED = "suspended"
    AWAITING_RESUMPTION = "awaiting_resumption"
    RESUMED = "resumed"
    ENDED = "ended"
    REVOKED = "revoked"


COVERING: Final = frozenset({Status.IN_FORCE, Status.RESUMED})
"""A miner may mine while its licence stands so (O-03)."""


class Act(msgspec.Struct, frozen=True, gc=False):
    """What the authorised body, or a court, decided about a licence."""

    kind: ActKind
    number: str
    """Of the decision, the resumption act, or the court act (O-11)."""
    on: dt.date
    """Takes effect at 00:00 of this day in Kazakhstan."""
    reason_code: int = 0
    """Of a suspension, 1 to 6."""
    until: dt.date | None = None
    """Last day of a suspension."""
    entered_us: int = 0
    """When the register heard of it: it takes effect no earlier, for what was done before was done in good
    faith."""

    def effect_us(self, rules: Rules) -> int:
        """When it takes effect."""
        return max(rules.day_bounds(self.on)[0], self.entered_us)


class Phase(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a licence's life: it has `status` from `start_us` until before `end_us`."""

    status: Status
    start_us: int
    end_us: int
    act: Act | None = None
    """What brought it."""


class Licence(msgspec.Struct, frozen=True):
    """Subtype 1: own data centre; subtype 2: own hardware in another's data centre (O-05, O-06)."""

    number: str
    miner_id: int
    subtype: Literal[1, 2]
    issued_on: dt.date
    valid_from: dt.date
    valid_to: dt.date
    """Last day in force."""
    issuer: str = ""
    """Who gave it, where that is not the authorised body of the day (Q-04)."""
    acts: tuple[Act, ...] = ()
    """In the order of their days."""

    def check(self, rules: Rules) -> None:
        """Raises LicenceError when this cannot be a licence, the term of O-04 included."""
        text_of("licence", "number", self.number, LicenceError, 64)
        where = f"licence {self.number}"
        text_of(where, "issuer", self.issuer, LicenceError, empty=True)
        if self.subtype not in (1, 2):
            raise LicenceError(f"{where}: subtype is {self.subtype!r}; it must be 1 or 2")
        for name in ("issued_on", "valid_from", "valid_to"):
            day_of(where, name, getattr(self, name), LicenceError)
        if self.valid_to < self.valid_from:
            raise LicenceError(
                f"{where}: valid_to {self.valid_to} is before valid_from {self.valid_from}; "
                f"valid_to is the last day in force"
            )
        if self.issued_on > self.valid_from:
            raise LicenceError(
                f"{where}: issued_on {self.issued_on} is after valid_from {self.valid_from}; "
                f"a licence begins on the day of its issue or later"
            )
        years = rules.on("licence", self.issued_on).integer("term_years")
        latest = months_later(self.issued_on, 12 * years)
        if self.valid_to > latest:
            raise LicenceError(
                f"{where}: valid_to {self.valid_to} is later than {latest}; a licence issued on "
                f"{self.issued_on} is given for {years} years (O-04)"
            )

    @property
    def last_day(self) -> dt.date:
        """Last day before it is over, by its term or by an act."""
        over = next((act.on for act in self.acts if act.kind in FINAL), None)
        return self.valid_to if over is None else over - dt.timedelta(days=1)

    def with_act(self, act: Act, rules: Rules) -> Licence:
        """The licence after one more act; raises LicenceError when the act cannot follow."""
        where = f"licence {self.number}"
        text_of(where, "act number", act.number, LicenceError)
        if not self.valid_from <= act.on <= self.valid_to:
            raise LicenceError(
                f"{where}: {act.kind} on {act.on} is outside its term, {self.valid_from} to {self.valid_to}"
            )
        final, at_us = act.kind in FINAL, act.effect_us(rules)
        # What stops the work takes the place of acts that are still to come, an end of the licence excepted.
        if final:
            before = tuple(one for one in self.acts if one.effect_us(rules) < at_us)
        elif act.kind == "suspended":
            before = tuple(one for one in self.acts if one.effect_us(rules) <= at_us)
        else:
            before = self.acts
        later = () if final else tuple(one for one in self.acts[len(before) :] if one.kind in FINAL)
        last = before[-1] if before else None
        if last is not None and last.kind in FINAL:
            raise LicenceError(f"{where}: was {last.kind} on {last.on}; nothing follows that")
        if last is not None and not final and (act.on < last.on or at_us <= last.effect_us(rules)):
            raise LicenceError(
                f"{where}: {act.kind} on {act.on} is not after the act of {last.on}; acts follow in time"
            )
        suspension = last if last is not None and last.kind == "suspended" else None
        if act.kind == "suspended":
            if suspension is not None and not _lapsed(suspension, act.on, rules):
                raise LicenceError(f"{where}: is suspended already; resume it before it is suspended again")
            _check_suspension(where, act, rules)
        elif act.reason_code or act.until is not None:
            raise LicenceError(f"{where}: reason code and last day belong to a suspension, not to {act.kind}")
        if act.kind == "resumed" and suspension is None:
            raise LicenceError(f"{where}: is not suspended, so there is nothing to resume")
        return msgspec.structs.replace(self, acts=(*before, act, *later))

    def phases(self, rules: Rules) -> list[Phase]:
        """The licence's whole life, from the beginning of time to its end, without a gap."""
        begin, end = rules.day_bounds(self.valid_from)[0], rules.day_bounds(self.valid_to)[1]
        # What is heard of when the term is over changes nothing.
        acts = [act for act in self.acts if act.effect_us(rules) < end]
        effects = [*(act.effect_us(rules) for act in acts), end]
        phases: list[Phase] = []
        current: tuple[Status, int, Act | None] = (Status.NOT_YET, 0, None)

        def turn(status: Status, at_us: int, act: Act | None) -> None:
            nonlocal current
            before, since, cause = current
            if at_us > since:
                phases.append(Phase(before, since, at_us, cause))
            current = (status, max(at_us, since), act)

        turn(Status.IN_FORCE, begin, None)
        for act, (at_us, next_us) in zip(acts, pairwise(effects), strict=True):
            if act.kind == "suspended" and act.until is not None:
                turn(Status.SUSPENDED, at_us, act)
                after = act.until + dt.timedelta(days=1)
                if rules.day_bounds(after)[0] < next_us:
                    lapsed = _lapsed(act, after, rules)
                    waiting = Status.RESUMED if lapsed else Status.AWAITING_RESUMPTION
                    turn(waiting, rules.day_bounds(after)[0], act)
            elif act.kind == "resumed":
                turn(Status.RESUMED, at_us, act)
            else:
                turn(Status.ENDED if act.kind == "ended" else Status.REVOKED, at_us, act)
        if current[0] not in (Status.ENDED, Status.REVOKED):
            turn(Status.ENDED, end, None)
        status, since, cause = current
        phases.append(Phase(status, since, FOREVER_US, cause))
        return phases

    def phase_at(self, at_us: int, rules: Rules) -> Phase:
        """Where the licence stands at an instant."""
        return next(phase for phase in self.phases(rules) if at_us < phase.end_us)


FOREVER_US: Final = 2**62
"""No instant of this program is later."""


def _lapsed(suspension: Act, on: dt.date, rules: Rules) -> bool:
    """Whether a suspension is over on a day without a resumption act (O-10)."""
    until = suspension.until
    return until is not None and until < on and rules.on("licence", until).truth("auto_resume")


def counting(standing: Sequence[_Stands], status_of: Callable[[_Stands], Status]) -> _Stands | None:
    """Of a miner's licences at an instant, in the order of their first days, the one that counts.

    One that covers work, or else the last that began, or else the next to begin.
    """
    covering = [one for one in standing if status_of(one) in COVERING]
    begun = [one for one in standing if status_of(one) is not Status.NOT_YET]
    return next(iter(covering[:1] or begun[-1:] or standing[:1]), None)


def _check_suspension(where: str, act: Act, rules: Rules) -> None:
    if act.reason_code not in REASON_CODES:
        raise LicenceError(f"{where}: reason code {act.reason_code} of the suspension must be 1 to 6 (O-08)")
    if act.until is None:
        raise LicenceError(f"{where}: the decision states the term of a suspension (O-09): give its last day")
    row = rules.on("licence", act.on)
    shortest, longest = row.integer("suspension_months_min"), row.integer("suspension_months_max")
    first = months_later(act.on, shortest) - dt.timedelta(days=1)
    last = months_later(act.on, longest)
    if not first <= act.until <= last:
        raise LicenceError(
            f"{where}: a suspension from {act.on} ends between {first} and {last}, "
            f"{shortest} to {longest} months later (O-08), not on {act.until}"
        )


def months_later(day: dt.date, months: int) -> dt.date:
    """The same day so many months later, or the last of its month where there is none."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return dt.date(year, month + 1, last)
        except ValueError:
            continue
    raise ValueError(f"{day} and {months} months make no day")
