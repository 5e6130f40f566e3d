"""The year as it is lived: steps, midnights, days and censuses in the order of time.

At each of them machines send shares, and what became of each is compared with the oracle's word. A change is
known to the gateway a second after it was made (the bound is two), and until then the old register counts.
"""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from register.rules import Rules
from tests.year.gateway import Gateway, Machine
from tests.year.office import Office
from tests.year.oracle import CLOCK, EPOCH, REFUSED, Oracle, wall_clock
from tests.year.plot import FIRST_DAY, LAST_DAY, MONITOR, QUARANTINE, Plot, Step

SECOND = 1_000_000
MICROSECOND = dt.timedelta(microseconds=1)
REPORTED = 30
"""Differences that are told; a wrong rule makes thousands."""


def us_of(utc: dt.datetime) -> int:
    return (utc - EPOCH) // MICROSECOND


def midnight(day: dt.date) -> int:
    """The first instant of a day, found by looking at the clock on the wall each hour."""
    hour = dt.datetime.combine(day, dt.time()) - dt.timedelta(hours=24)
    while wall_clock(us_of(hour)).date() < day:
        hour += dt.timedelta(hours=1)
    return us_of(hour)


class Year:
    """See the head of this file. After `live`, `differences` says where the pool and the oracle disagreed."""

    def __init__(self, plot: Plot, rules: Rules, censuses: int) -> None:
        self.plot = plot
        self.rules = rules
        begins = us_of(min(one.when for one in plot.steps)) - SECOND
        self.office = Office(rules, begins)
        self.gateway = Gateway(rules, begins)
        self.oracle = Oracle()
        self.oracle.unknown_devices(QUARANTINE, "quarantine")
        self.oracle.unknown_devices(MONITOR, "monitor")
        self.machines = [Machine(self.gateway, username) for username in plot.cast]
        self.expected: Counter[tuple[str, str]] = Counter()
        """Shares to be credited, by account and month."""
        self.fates: Counter[str] = Counter()
        self.admissions: Counter[str] = Counter()
        """Of the censuses."""
        self.differences: list[str] = []
        self.copies: dict[dt.date, dict[str, dict[Any, Any]]] = {}
        """The register as it stood when a day was over."""
        self._unheard: list[Step] = []
        """Done, and not told to the gateway yet."""
        self._dice = random.Random(len(plot.cast))
        self._agenda: list[tuple[int, int, Callable[[int], None]]] = []
        self._fill_agenda(censuses)

    def live(self) -> None:
        """From the first day to the last."""
        self.gateway.poll(self.office.log)
        for at_us, _, what in sorted(self._agenda, key=lambda one: one[:2]):
            what(at_us)

    def at(self, at_us: int, what: Callable[[int], None]) -> None:
        """Something more on the agenda."""
        self._agenda.append((at_us, len(self._agenda), what))

    # The agenda

    def _fill_agenda(self, censuses: int) -> None:
        for step in self.plot.steps:
            self._plan(step)
        days = [FIRST_DAY + dt.timedelta(days=number) for number in range((LAST_DAY - FIRST_DAY).days + 1)]
        for day in sorted(set(days) & set(self._days_of_change())):
            self.at(midnight(day) - 1, self._everybody)
            self.at(midnight(day), self._everybody)
            self._plan_review(midnight(day))
        for day in days:
            self.at(midnight(day) + self._dice.randrange(82_000) * SECOND, self._some)
        told = [dt.date(2026, 9, 1), dt.date(2026, 10, 3), QUARANTINE, dt.date(2027, 1, 10), LAST_DAY]
        for day in [*told, *self._dice.sample(days, censuses)]:
            self.at(midnight(day) - 1, self._census)
            self.at(midnight(day), self._census)
        for day in (
            dt.date(2026, 3, 9),
            dt.date(2026, 6, 10),
            dt.date(2026, 8, 31),
            dt.date(2027, 1, 9),
            LAST_DAY,
        ):
            self.at(midnight(day + dt.timedelta(days=1)), lambda at_us, day=day: self._copy(day))

    def _days_of_change(self) -> Iterator[dt.date]:
        """Days that some step names, and the days after them."""
        for step in self.plot.steps:
            for value in step.about.values():
                if isinstance(value, dt.date):
                    yield from (value, value + dt.timedelta(days=1))
        yield from (QUARANTINE, MONITOR, *(wall_clock(us_of(since)).date() for since, _ in CLOCK))
        yield from (dt.date(2027, 1, 10), dt.date(2026, 9, 1))

    def _plan(self, step: Step) -> None:
        """Made, approved, and heard of by the gateway a second later."""
        made_us = us_of(step.when)
        approved_us = us_of(step.approved) if step.approved else made_us + SECOND // 5
        proposals: list[int] = []
        self.at(made_us, lambda at_us: proposals.extend(self._perform(at_us, step)))
        self.at(made_us + 1, lambda at_us: self._share(at_us, self._concerned(step)))
        self.at(approved_us, lambda at_us: self._approve(at_us, step, proposals))
        self.at(approved_us + SECOND - 1, lambda at_us: self._share(at_us, self._concerned(step)))
        self.at(approved_us + SECOND, lambda at_us: self._hear(at_us, step))
        self._plan_review(approved_us + SECOND)

    def _plan_review(self, at_us: int) -> None:
        """The server looks at all connections, and has ended by a minute those that may not work (O-09)."""
        for seconds in (1, 30):
            self.at(at_us + seconds * SECOND, lambda at_us: [one.review(at_us) for one in self.machines])
        self.at(at_us + 60 * SECOND, self._nobody_stays)

    # What is done

    def _perform(self, at_us: int, step: Step) -> list[int]:
        try:
            proposals = self.office.perform(at_us, step.verb, step.about)
        except Exception as error:
            raise AssertionError(f"the office could not: {step}: {error}") from error
        if not proposals:
            self._unheard.append(step)
        return proposals

    def _approve(self, at_us: int, step: Step, proposals: list[int]) -> None:
        if proposals:
            self.office.approve(at_us, proposals)
            self._unheard.append(step)

    def _hear(self, at_us: int, step: Step) -> None:
        """The gateway hears of all that is new, and the oracle is told of it."""
        concerned = self._concerned(step)
        self.gateway.poll(self.office.log)
        for one in self._unheard:
            self._tell(one)
        self._unheard.clear()
        self._share(at_us, dict.fromkeys([*concerned, *self._concerned(step)]))

    def _tell(self, step: Step) -> None:
        if step.verb == "units":
            for number, worker in step.about["listed"]:
                self.oracle.unit(number, step.about["account"], worker, step.about["included"])
        elif step.verb != "miner":
            getattr(self.oracle, step.verb)(**step.about)

    def _concerned(self, step: Step) -> list[Machine]:
        """The machines of the accounts that a step names, and some others; of all when it names none."""
        about = step.about
        accounts = {about.get("account")}
        unit = self.oracle.units.get(about.get("number", ""))
        if unit is not None:
            accounts.add(unit["account"])
        for account, licences in self.oracle.licences.items():
            if any(number == about.get("number") for number, _, _ in licences):
                accounts.add(account)
        if step.verb == "accredited":
            return self.machines
        mine = [one for one in self.machines if one.username.partition(".")[0] in accounts]
        return [*mine, *self._dice.sample(self.machines, 3)]

    def _everybody(self, at_us: int) -> None:
        self._share(at_us, self.machines)

    def _some(self, at_us: int) -> None:
        self._share(at_us, self._dice.sample(self.machines, len(self.machines) // 8))

    def _share(self, at_us: int, machines: Iterable[Machine]) -> None:
        """A share of each, and what becomes of it."""
        for one in machines:
            allowed = self.oracle.verdict(one.username, at_us)
            became = one.share(at_us)
            self.fates[became.fate] += 1
            if allowed.fate == "credited":
                self.expected[allowed.account, f"{wall_clock(at_us):%Y-%m}"] += 1
            if became != allowed:
                why = f" ({one.told})" if became == REFUSED else ""
                self.differ(at_us, f"share of {one.username}: allowed {allowed}, became {became}{why}")

    def _nobody_stays(self, at_us: int) -> None:
        """O-04, O-09: within 60 s a connection has ended on which nobody may work, and no other one."""
        for one in self.machines:
            connected = one.session is not None
            stays = one.review(at_us)
            allowed = self.oracle.verdict(one.username, at_us) != REFUSED
            if stays and not allowed:
                self.differ(at_us, f"{one.username}: is still connected")
            if connected and not stays and allowed:
                self.differ(at_us, f"{one.username}: was disconnected ({one.told})")

    def _census(self, at_us: int) -> None:
        """Every unit that there ever was asks to be let in."""
        for farm in self.plot.farms:
            for _, worker in farm.units:
                username = f"{farm.account}.{worker}"
                allowed, is_let_in = (
                    self.oracle.verdict(username, at_us),
                    self.gateway.verdict(username, at_us),
                )
                self.admissions[is_let_in.fate] += 1
                if allowed != is_let_in:
                    self.differ(at_us, f"census, {username}: allowed {allowed}, let in {is_let_in}")

    def _copy(self, day: dt.date) -> None:
        self.copies[day] = records_of(self.office.register)

    def differ(self, at_us: int, what: str) -> None:
        """The pool was wrong."""
        if len(self.differences) < REPORTED:
            self.differences.append(f"{wall_clock(at_us)} (Kazakhstan) {what}")


def records_of(register: Any) -> dict[str, dict[Any, Any]]:
    """All records of a register; they never change, so that pointers to them are a copy."""
    kinds = ("miners", "licences", "centres", "devices", "addresses", "accreditations", "people", "proposals")
    return {kind: dict(getattr(register, kind)) for kind in kinds}
