"""Who may mine, worked out a second time: slow, plain, and without a line of the register's.

The oracle is told what happens in the year in the words of the plot, and keeps lists of it. Asked about an
instant it looks at the clock on the wall in Kazakhstan, and then only at days: each licence is lived through
day by day from its first one on. Nothing here is imported from the program.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

EPOCH = dt.datetime(1970, 1, 1)
CLOCK = [
    (dt.datetime(2024, 2, 29, 19), 5),
    (dt.datetime(2026, 8, 31, 19), 6),
    (dt.datetime(2027, 1, 9, 18), 5),
]
"""Since which instant (UTC) the clock on the wall is so many hours ahead. The last two are made up."""
ONE_DAY = dt.timedelta(days=1)


def wall_clock(at_us: int) -> dt.datetime:
    """What the clock in Kazakhstan shows."""
    utc = EPOCH + dt.timedelta(microseconds=at_us)
    ahead = [hours for since, hours in CLOCK if since <= utc][-1]
    return utc + dt.timedelta(hours=ahead)


class Verdict(NamedTuple):
    """What becomes of a share."""

    fate: str
    """"credited", "quarantined" or "refused"."""
    account: str = ""
    """Whose it is; empty when it is refused."""
    unit: str = ""
    """Of which hardware unit, if of one."""

    def __str__(self) -> str:
        return " ".join(one for one in self if one)


REFUSED = Verdict("refused")


class Oracle:
    """See the head of this file. Its methods are the verbs of the plot."""

    def __init__(self) -> None:
        self.accreditations: dict[str, list[dt.date | None]] = {}
        self.licences: dict[str, list[tuple[str, dt.date, dt.date]]] = {}
        """By account: number, first day, last day."""
        self.acts: dict[str, list[tuple[str, dt.date, dt.date | None]]] = {}
        """By licence: what, on which day, until which day."""
        self.units: dict[str, dict[str, object]] = {}
        self.names: dict[tuple[str, str], list[dict[str, object]]] = {}
        """By account and name in small letters: units, also those that have lost the name since."""
        self.modes: list[tuple[dt.date, str]] = [(dt.date(2023, 1, 1), "strict")]
        self._asked: dict[tuple[str, dt.date], bool] = {}

    # What happens

    def accredited(self, number: str, first: dt.date, last: dt.date | None = None) -> None:
        self.accreditations[number] = [first, last]
        self._asked.clear()

    def unknown_devices(self, since: dt.date, mode: str) -> None:
        self.modes.append((since, mode))

    def licence(
        self, number: str, account: str, subtype: int, issued: dt.date, first: dt.date, last: dt.date
    ) -> None:
        self.licences.setdefault(account, []).append((number, first, last))
        self.acts[number] = []
        self._asked.clear()

    def act(self, number: str, what: str, on: dt.date, until: dt.date | None = None) -> None:
        self.acts[number].append((what, on, until))
        self._asked.clear()

    def unit(self, number: str, account: str, worker: str, included: dt.date) -> None:
        unit = {
            "number": number,
            "account": account,
            "worker": worker,
            "included": included,
            "excluded": None,
        }
        self.units[number] = unit
        self._name(unit)

    def excluded(self, number: str, on: dt.date) -> None:
        self.units[number]["excluded"] = on

    def moved(self, number: str, account: str, worker: str) -> None:
        """To another miner, or another name."""
        unit = self.units[number]
        unit["account"], unit["worker"] = account, worker
        self._name(unit)

    def _name(self, unit: dict[str, object]) -> None:
        for name in (str(unit["worker"]).lower(), str(unit["number"]).lower()):
            here = self.names.setdefault((str(unit["account"]), name), [])
            if unit not in here:
                here.append(unit)

    # What follows

    def verdict(self, username: str, at_us: int) -> Verdict:
        """What becomes of a share under a name at an instant."""
        account, _, worker = username.partition(".")
        day = wall_clock(at_us).date()
        if not self._may_mine(account, day):
            return REFUSED
        for unit in self.names.get((account, worker.lower()), []):
            mine = unit["account"] == account and worker.lower() in (
                str(unit["worker"]).lower(),
                str(unit["number"]).lower(),
            )
            if mine and self._registered(unit, day):
                return Verdict("credited", account, str(unit["number"]))
        mode = [mode for since, mode in self.modes if since <= day][-1]
        if mode == "strict":
            return REFUSED
        return Verdict("credited" if mode == "monitor" else "quarantined", account)

    def _registered(self, unit: dict[str, object], day: dt.date) -> bool:
        included, excluded = unit["included"], unit["excluded"]
        return included <= day and (excluded is None or day < excluded)  # type: ignore[operator]

    def _may_mine(self, account: str, day: dt.date) -> bool:
        known = self._asked.get((account, day))
        if known is None:
            accredited = any(
                first is not None and first <= day and (last is None or day <= last)
                for first, last in self.accreditations.values()
            )
            licensed = any(
                self._stands(number, first, last, day)
                for number, first, last in self.licences.get(account, [])
            )
            known = self._asked[account, day] = accredited and licensed
        return known

    def _stands(self, number: str, first: dt.date, last: dt.date, day: dt.date) -> bool:
        """Live through the licence until the day."""
        if not first <= day <= last:
            return False
        state, until = "in force", None
        today = first
        while today <= day:
            if state == "suspended" and until is not None and today > until:
                state = "awaiting resumption"
            for what, on, act_until in self.acts[number]:
                if on == today and what == "suspended":
                    state, until = "suspended", act_until
                elif on == today and what == "resumed":
                    state = "in force"
                elif on == today:
                    return False
            today += ONE_DAY
        return state == "in force"
