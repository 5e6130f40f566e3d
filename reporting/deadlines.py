"""By when which form goes to whom, and what has become of it (O-40, O-41, Q-03).

Each form in force on the last day of a month is due to both addressees by the day that its dated rule
states, in the month after; people are reminded from another day on. A form counts as submitted to an
addressee when its newest version was: a correction has to follow the version that it corrects. Of a form
whose days were reported anew since it was made that correction is yet to be built. Pure; what was built and
sent is told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

from payouts.statement import Period
from register.rules import Rules
from reporting.daily_rows import BODIES
from reporting.income import forms_of


class State(StrEnum):
    """What has become of a form for one addressee."""

    MISSING = "missing"
    """It was not built."""
    BUILT = "built"
    """No version was submitted."""
    OUTDATED = "outdated"
    """An older version was submitted, and then a correction was made."""
    STALE = "stale"
    """A day of its month was reported anew since the newest version was built: build the next one."""
    SUBMITTED = "submitted"


class Due(NamedTuple):
    """One form of one month for one addressee."""

    form: str
    period: str
    addressee: str
    remind_on: dt.date
    deadline: dt.date
    state: State
    built: int
    """The newest version; 0 for none."""
    submitted: int
    """The newest version that was submitted; 0 for none."""

    @property
    def open(self) -> bool:
        """Whether nothing was submitted yet."""
        return not self.submitted

    @property
    def corrected(self) -> bool:
        """Whether what was submitted is no longer what the books say."""
        return not self.open and self.state is not State.SUBMITTED

    def days_left(self, today: dt.date) -> int:
        """Days until the deadline; below 0 when it is over."""
        return (self.deadline - today).days

    def reminded(self, today: dt.date) -> bool:
        """Whether it is open, and time to see to it."""
        return self.open and self.remind_on <= today

    def late(self, today: dt.date) -> bool:
        """Whether it is open, and its deadline is over."""
        return self.open and self.deadline < today


def dues(
    rules: Rules,
    first: dt.date,
    today: dt.date,
    built: Mapping[tuple[str, str], int],
    submitted: Mapping[tuple[str, str, str], int],
    *,
    stale: Collection[tuple[str, str]] = (),
    begun_on: dt.date = dt.date.min,
) -> list[Due]:
    """All forms of the months that are over, from that of `first` on, the oldest first.

    `built` has the newest version by form and period, `submitted` by form, period and addressee; of the forms
    in `stale` a day was reported anew since the newest was built. What was due before `begun_on`, when this
    program began to make forms, was not this program's, and is told only where it was built here all the
    same.
    """
    found: list[Due] = []
    period = Period.parse(first.isoformat()[:7])
    while period.last < today:
        after = Period.parse(period.after)
        for rule in forms_of(rules, period):
            form = rule.text("form")
            newest = built.get((form, period.text), 0)
            deadline = after.first.replace(day=rule.integer("deadline_day"))
            if deadline < begun_on and not newest:
                continue
            for addressee in BODIES:
                sent = submitted.get((form, period.text, addressee), 0)
                found.append(
                    Due(
                        form=form,
                        period=period.text,
                        addressee=addressee,
                        remind_on=after.first.replace(day=rule.integer("reminder_day")),
                        deadline=deadline,
                        state=_state(newest, sent, stale=(form, period.text) in stale),
                        built=newest,
                        submitted=sent,
                    )
                )
        period = after
    return found


def _state(newest: int, sent: int, *, stale: bool) -> State:
    if stale:
        return State.STALE
    if sent:
        return State.SUBMITTED if sent >= newest else State.OUTDATED
    return State.BUILT if newest else State.MISSING
