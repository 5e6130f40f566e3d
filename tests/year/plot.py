"""What happens in the year: 84 licensees, 83,000 hardware units, and a list of steps.

A step is a verb with plain words and dates. The office performs it with a clerk, the oracle notes it; neither
sees the other. Numbers after regulation.md, section 7: 38 % of licences, and of units, are of subtype I; one
farm is a giant. Instants are UTC. The year has two changes of the clock, made up: 1 September 2026 loses an
hour, 10 January 2027 gains one.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FIRST_DAY, LAST_DAY = dt.date(2026, 3, 1), dt.date(2027, 2, 28)
FARMS, FARMS_I = 84, 32
UNITS, UNITS_I = 83_000, 31_540
QUARANTINE, MONITOR = dt.date(2026, 10, 15), dt.date(2026, 12, 20)
"""From these days unknown units are let in without credit, and with."""
RULES = f"""
[[timezone]]
effective_from = 2026-09-01
offset = "+06:00"
source = "made up for a test"
confidence = "assumed"

[[timezone]]
effective_from = 2027-01-10
offset = "+05:00"
source = "made up for a test"
confidence = "assumed"

[[unknown_device]]
effective_from = {QUARANTINE}
mode = "quarantine"
source = "made up for a test"
confidence = "assumed"

[[unknown_device]]
effective_from = {MONITOR}
mode = "monitor"
source = "made up for a test"
confidence = "assumed"
"""
"""Rows behind those that are shipped."""


class Step(NamedTuple):
    """Something that happens."""

    when: dt.datetime
    verb: str
    about: dict[str, Any]
    approved: dt.datetime | None = None
    """When the second officer approves what needs two; by default a second later."""

    def __str__(self) -> str:
        words = " ".join(f"{name}={value}" for name, value in self.about.items())
        return f"{self.when:%Y-%m-%d %H:%M}Z {self.verb} {words}"[:200]


@dataclass
class Farm:
    """A licensee."""

    account: str
    subtype: int
    size: int
    licence: str = ""
    units: list[tuple[str, str]] = field(default_factory=list)
    """Registry number and worker name."""

    def name(self, index: int) -> str:
        """The username of a unit."""
        return f"{self.account}.{self.units[index][1]}"


def utc(day: str | dt.date, clock: str = "07:30") -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day} {clock}")


def later(day: dt.date, days: int) -> dt.date:
    return day + dt.timedelta(days=days)


class Plot:
    """The farms, the steps in order of time, and the usernames that a sample of machines works under."""

    def __init__(self, seed: int, churn: int, crowd: int) -> None:
        """`churn` more things that happen to farms without a story, and a sample of `crowd` more machines."""
        self._dice = random.Random(seed)
        self._serial = 0
        self.farms = [
            Farm(f"farm{number:02}", 1 if number <= FARMS_I else 2, size)
            for number, size in enumerate(self._sizes(), 1)
        ]
        self.steps: list[Step] = []
        self.cast: dict[str, None] = {}
        self.step(utc("2026-02-28", "19:00"), "accredited", number="A-1", first=dt.date(2026, 2, 1))
        for number, one in enumerate(self.farms, 1):
            self._open(number, one)
        self._licences_in_trouble()
        self._units_in_motion()
        self._pool_without_accreditation()
        for _ in range(churn):
            self._something()
        for _ in range(crowd):
            farm = self._dice.choice(self.farms)
            self.play(farm.name(self._dice.randrange(len(farm.units))))
        self.steps.sort(key=lambda one: one.when)

    def step(self, when: dt.datetime, verb: str, approved: dt.datetime | None = None, **about: Any) -> None:
        self.steps.append(Step(when, verb, about, approved))

    def play(self, *usernames: str) -> None:
        """Let these machines be of the sample."""
        self.cast.update(dict.fromkeys(usernames))

    def farm(self, number: int) -> Farm:
        """Farm `number` of the story; one of its machines plays."""
        one = self.farms[number - 1]
        self.play(one.name(0), one.name(len(one.units) - 1))
        return one

    # The beginning

    def _sizes(self) -> list[int]:
        """A giant, and farms from a handful up; most are small."""
        sizes: list[int] = []
        for count, total, giant in ((FARMS_I, UNITS_I, 20_000), (FARMS - FARMS_I, UNITS - UNITS_I, 9_000)):
            weights = [self._dice.paretovariate(0.8) for _ in range(count - 1)]
            rest = total - giant - 8 * (count - 1)
            small = [8 + int(rest * one / sum(weights)) for one in weights]
            sizes += [total - sum(small), *small]
        return sizes

    def _open(self, number: int, farm: Farm) -> None:
        """A farm comes to the pool in the first weeks: a new licence, or one from before."""
        day = later(FIRST_DAY, number % 20)
        issued = day if number % 2 else later(dt.date(2024, 4, 1), self._dice.randrange(600))
        last = later(issued.replace(year=issued.year + 3), -1)
        if number in _EXPIRING:
            issued, last = _EXPIRING[number]
        elif number == FARMS:
            day, issued, last = dt.date(2026, 12, 1), dt.date(2026, 12, 1), dt.date(2029, 11, 30)
        at = utc(day, "05:00")
        farm.licence = f"L-{number:02}"
        self.step(at, "miner", account=farm.account, subtype=farm.subtype)
        self.licence(farm, farm.licence, at + dt.timedelta(minutes=10), issued, max(issued, day), last)
        listed = [self._new_unit(farm) for _ in range(farm.size)]
        self.step(at + dt.timedelta(minutes=20), "units", account=farm.account, listed=listed, included=day)

    def _new_unit(self, farm: Farm) -> tuple[str, str]:
        self._serial += 1
        farm.units.append((f"KZ-{self._serial:06}", f"s17-{self._serial:06}"))
        return farm.units[-1]

    def licence(
        self, farm: Farm, number: str, when: dt.datetime, issued: dt.date, first: dt.date, last: dt.date
    ) -> None:
        self.step(
            when, "licence", number=number, account=farm.account, subtype=farm.subtype,
            issued=issued, first=first, last=last,
        )  # fmt: skip

    def act(
        self, farm: Farm, when: dt.datetime, what: str, on: str | dt.date, until: str | dt.date | None = None,
        approved: dt.datetime | None = None,
    ) -> None:  # fmt: skip
        self.step(
            when, "act", approved, number=farm.licence, what=what, on=_date(on), until=until and _date(until)
        )

    # Stories

    def _licences_in_trouble(self) -> None:
        farm = self.farm
        # 3 ends after its three years and has a new licence two weeks later; 4 has the next one at once, at
        # the midnight at which the clock changes; 5 has none after the midnight at which it changes back.
        self.licence(
            farm(3), "L-03b", utc("2026-06-29"), _date("2026-06-29"), _date("2026-07-01"), _date("2029-06-28")
        )
        self.licence(
            farm(4), "L-04b", utc("2026-08-20"), _date("2026-08-20"), _date("2026-09-01"), _date("2029-08-19")
        )
        farm(5)
        # 6 is suspended for today; nobody resumes it in time, and then somebody does.
        self.act(farm(6), utc("2026-05-12", "08:17"), "suspended", "2026-05-12", "2026-06-11")
        self.act(farm(6), utc("2026-06-25", "04:00"), "resumed", "2026-06-25")
        # 7 is suspended for a day to come; its resumption waits two days for the second officer.
        self.act(farm(7), utc("2026-05-20"), "suspended", "2026-06-01", "2026-09-30")
        self.act(
            farm(7), utc("2026-10-05", "03:00"), "resumed", "2026-10-05", approved=utc("2026-10-07", "09:00")
        )
        # 8 is resumed from the day after its suspension on, told in advance; 33 before the suspension ends.
        self.act(farm(8), utc("2026-07-01", "12:00"), "suspended", "2026-07-01", "2026-08-15")
        self.act(farm(8), utc("2026-08-10"), "resumed", "2026-08-16")
        self.act(farm(33), utc("2026-08-28"), "suspended", "2026-09-01", "2026-12-31")
        self.act(farm(33), utc("2026-11-10", "15:30"), "resumed", "2026-11-10")
        # 9 asks for its end, 10 is revoked by a court, 34 is suspended and then revoked.
        self.act(farm(9), utc("2026-09-10"), "ended", "2026-09-15")
        self.act(farm(10), utc("2026-11-03", "10:10"), "revoked", "2026-11-03")
        self.act(farm(34), utc("2026-12-28"), "suspended", "2027-01-10", "2027-02-20")
        self.act(farm(34), utc("2027-01-20", "06:00"), "revoked", "2027-01-21")
        farm(FARMS)

    def _units_in_motion(self) -> None:
        farm = self.farm
        # 11 gets a unit that is registered from a day to come, and loses two.
        number, worker = self._new_unit(farm(11))
        self.step(
            utc("2026-06-18"),
            "units",
            account="farm11",
            listed=[(number, worker)],
            included=_date("2026-06-20"),
        )
        self.play(f"farm11.{worker}", f"farm11.{number.lower()}", f"farm11.{farm(11).units[1][1].upper()}")
        self.step(utc("2026-07-15"), "excluded", number=farm(11).units[0][0], on=_date("2026-07-20"))
        self.step(utc("2026-07-22", "11:11"), "excluded", number=number, on=_date("2026-07-22"))
        # A unit of 12 goes to 40 while it works, under its old name, and comes back under another one.
        number, worker = farm(12).units[0]
        self.play(f"farm12.{worker}", f"farm40.{worker}", "farm12.home-again", f"farm40.{number}")
        self.step(utc("2026-06-10", "09:41"), "moved", number=number, account="farm40", worker=worker)
        self.step(utc("2026-12-01", "09:41"), "moved", number=number, account="farm12", worker="home-again")
        # A worker name goes to a new unit: three days later, and at the same midnight.
        self._renew(farm(41), "2026-08-05", "2026-08-08")
        self._renew(farm(42), "2026-09-01", "2026-09-01")
        # Names that are nobody's, another's, empty, of no account at all; one becomes a unit in quarantine.
        self.play("farm14.stranger", f"farm14.{farm(15).units[0][1]}", "farm14", "nobody.s17", "farm14.later")
        number, _ = self._new_unit(farm(14))
        farm(14).units[-1] = (number, "later")
        self.step(
            utc("2026-11-10"),
            "units",
            account="farm14",
            listed=[(number, "later")],
            included=_date("2026-11-15"),
        )
        # 16 renames a unit while it works.
        self.play("farm16.hall-2")
        self.step(
            utc("2026-05-05", "05:05"),
            "moved",
            number=farm(16).units[0][0],
            account="farm16",
            worker="hall-2",
        )

    def _renew(self, farm: Farm, excluded: str, included: str) -> None:
        old, worker = farm.units[0]
        number, _ = self._new_unit(farm)
        farm.units[-1] = (number, worker)
        self.step(utc(excluded, "04:00") - dt.timedelta(days=3), "excluded", number=old, on=_date(excluded))
        when = utc(included, "05:00") - dt.timedelta(days=2)
        self.step(when, "units", account=farm.account, listed=[(number, worker)], included=_date(included))
        self.play(f"{farm.account}.{number}")

    def _pool_without_accreditation(self) -> None:
        """For three days in October the pool may not work (O-21)."""
        self.step(
            utc("2026-09-20"), "accredited", number="A-1", first=_date("2026-02-01"), last=_date("2026-10-02")
        )
        self.step(utc("2026-10-05"), "accredited", number="A-2", first=_date("2026-10-06"))

    # And what else happens

    def _something(self) -> None:
        """To a farm without a story: to its licence once at most, to its units often."""
        farm = self.farms[self._dice.randrange(44, FARMS - 1)]
        self.play(farm.name(0))
        day = later(dt.date(2026, 4, 1), self._dice.randrange(300))
        when = utc(day, f"{self._dice.randrange(18):02}:{self._dice.randrange(60):02}")
        troubled = {one.about["number"] for one in self.steps if one.verb == "act"}
        troubled |= {f"L-{number:02}" for number in _EXPIRING}
        if farm.licence in troubled or self._dice.random() < 0.4:
            self._something_to_a_unit(farm, when)
            return
        on = later(day, self._dice.choice((0, 0, 1, 10)))
        what = self._dice.choice(("suspended", "suspended", "suspended", "ended", "revoked"))
        until = later(on, self._dice.randrange(31, 180)) if what == "suspended" else None
        self.act(farm, when, what, on, until)
        if until is not None and self._dice.random() < 0.7:
            back = later(on, self._dice.randrange(1, 200))
            if back < LAST_DAY:
                self.act(farm, utc(back, "06:30"), "resumed", back)

    def _something_to_a_unit(self, farm: Farm, when: dt.datetime) -> None:
        moved = {one.about.get("number") for one in self.steps}
        staying = [unit for unit in farm.units if unit[0] not in moved]
        if not staying:
            return
        number, worker = self._dice.choice(staying)
        self.play(f"{farm.account}.{worker}")
        on = later(when.date(), self._dice.choice((0, 1, 5)))
        if self._dice.random() < 0.5:
            self.step(when, "excluded", number=number, on=on)
        else:
            to = self._dice.choice(self.farms[44 : FARMS - 1])
            self.step(when, "moved", number=number, account=to.account, worker=worker)
            self.play(f"{to.account}.{worker}")


_EXPIRING = {
    3: (dt.date(2023, 6, 15), dt.date(2026, 6, 15)),
    4: (dt.date(2023, 8, 31), dt.date(2026, 8, 31)),
    5: (dt.date(2024, 1, 9), dt.date(2027, 1, 9)),
    48: (dt.date(2023, 9, 30), dt.date(2026, 9, 30)),
    55: (dt.date(2023, 12, 31), dt.date(2026, 12, 31)),
}
"""Farms whose licence ends in the year after its three years (O-04): day of issue, and last day."""


def _date(day: str | dt.date) -> dt.date:
    return day if isinstance(day, dt.date) else dt.date.fromisoformat(day)
