"""How a miner stood through a day (I6): what was done in good faith in the morning stays so in the report.

The second way of computing is the gate's: at each minute of the day, a register of the events until then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from register.centre import Centre
from register.clerk import Clerk, Terms
from register.device import Device
from register.event import Event
from register.gate import Admission, Gate, RefusalKind
from register.licence import COVERING, Act, Licence, LicenceError
from register.miner import Miner
from register.person import Actor, Role
from register.register import Register
from register.rules import Rules
from reporting.daily import DayFacts, MinerFacts, build
from reporting.daily_facts import Devices
from reporting.equalities import reconcile
from reporting.standing import Held, Stretch, live_through, stretches

OFFICER = Actor("tester", Role.COMPLIANCE)
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = dt.date(2026, 11, 20)
LONG_AGO, LAST = dt.date(2026, 1, 1), dt.date(2028, 12, 31)
LICENCE = Licence("L-1", 1, 1, LONG_AGO, LONG_AGO, LAST)
SUSPENDED = Act("suspended", "1", dt.date(2026, 10, 1), 1, dt.date(2026, 12, 15))


class Office:
    """A register that is written at hours of DAY, and the log of it."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.start_us, self.end_us = rules.day_bounds(DAY)
        self.register = Register()
        self.log: list[Event] = []
        self.write(-9000, self._enter)

    @staticmethod
    def _enter(clerk: Clerk) -> None:
        miner = clerk.enter_miner(Miner(0, "alpha", "Alpha LLP", "940140000385"))
        clerk.enter_centre(Centre("dc", "hall 1", "Ekibastuz", miner.bin, "alpha", "ownership", "deed 1"))
        clerk.enter_device(
            Device("d", "Bitmain", "S17", "d", "rig1", 56_000, 2520, miner.bin, 1, "dc", LONG_AGO)
        )

    def write(self, hour: float, change: Callable[[Clerk], object]) -> None:
        """Make a change so many hours after the day began; one that is no lawful change is not made."""
        clerk = Clerk(
            self.register, Terms(self.rules, "regtest"), OFFICER, "a test", self.start_us + int(hour * HOUR)
        )
        with suppress(LicenceError):
            change(clerk)
        self.log += clerk.events

    def correct(self, hour: float, number: str = "L-1", **fields: Any) -> None:
        right = msgspec.structs.replace(self.register.licences[number], **fields)
        self.write(hour, lambda clerk: clerk.correct_licence(right))

    def act(self, hour: float, act: Act, number: str = "L-1") -> None:
        self.write(hour, lambda clerk: clerk.act_on_licence(number, act))

    def enter(self, hour: float, licence: Licence = LICENCE) -> None:
        self.write(hour, lambda clerk: clerk.enter_licence(licence))

    def register_at(self, at_us: int) -> Register:
        register = Register()
        for event in self.log:
            if event.at_us <= at_us:
                register.apply(event)
        return register

    def held(self) -> Held:
        register = self.register_at(self.start_us - 1)
        events = [event for event in self.log if self.start_us <= event.at_us < self.end_us]
        versions = live_through(register, events)
        return Held(register.miners[1], None, versions.get(1, ()))

    def told(self) -> list[Stretch]:
        return stretches(self.held().versions, self.start_us, self.end_us, self.rules)

    def in_words(self) -> list[tuple[str | None, str, int]]:
        """Licence, status and the hour until which it was so."""
        return [(one.number, one.status, (one.end_us - self.start_us) // HOUR) for one in self.told()]

    def report(self, facts: DayFacts) -> dict[str, Any]:
        """The report of a day on which this miner worked."""
        start_us, _ = facts.rules.day_bounds(facts.day)
        mine = MinerFacts(self.held(), 40, {}, 640, start_us, start_us, Devices(1, 1, 0, ("dc",)))
        money: dict[str, Any] = {"blocks": [], "opening": {}, "entries": [], "closing": {}}
        others: dict[str, Any] = {"paid": [], "apart": [], "sale": [], "seen": [], "hours": []}
        return build(replace(facts, miners=[mine], rules=self.rules, **money, **others))


def test_i6_a_licence_cut_short_in_the_afternoon_leaves_the_morning(facts: DayFacts) -> None:
    office = Office(facts.rules)
    office.enter(-500)
    office.correct(15, valid_to=dt.date(2026, 10, 31))
    assert office.in_words() == [("L-1", "in_force", 15), ("L-1", "ended", 24)]
    report = office.report(facts)
    assert all(check.passed for check in reconcile(report))
    assert report["miners"][0]["licence"] == {
        "number": "L-1",
        "subtype": 1,
        "issued_on": "2026-01-01",
        "valid_from": "2026-01-01",
        "valid_to": "2026-10-31",
        "standing": [
            {
                "licence": "L-1",
                "status": "in_force",
                "from": "2026-11-20T00:00:00.000000+05:00",
                "until": "2026-11-20T15:00:00.000000+05:00",
            },
            {
                "licence": "L-1",
                "status": "ended",
                "from": "2026-11-20T15:00:00.000000+05:00",
                "until": "2026-11-21T00:00:00.000000+05:00",
            },
        ],
    }


def test_i6_a_first_day_moved_ahead_leaves_the_morning(facts: DayFacts) -> None:
    office = Office(facts.rules)
    office.enter(-500)
    office.correct(12, valid_from=dt.date(2026, 12, 1))
    assert office.in_words() == [("L-1", "in_force", 12), ("L-1", "not_yet", 24)]
    assert all(check.passed for check in reconcile(office.report(facts)))


def test_i6_a_resumption_taken_out_leaves_the_morning(facts: DayFacts) -> None:
    office = Office(facts.rules)
    office.enter(-5000)
    office.act(-1000, SUSPENDED)
    office.act(-96, Act("resumed", "2", dt.date(2026, 11, 16)))
    office.correct(15, acts=office.register.licences["L-1"].acts[:1])
    assert office.in_words() == [("L-1", "resumed", 15), ("L-1", "suspended", 24)]
    assert all(check.passed for check in reconcile(office.report(facts)))


def test_a_suspension_whose_number_is_corrected_does_not_cover_the_morning(facts: DayFacts) -> None:
    """The act is heard of anew at noon; the register of the morning knew it all the same."""
    office = Office(facts.rules)
    office.enter(-5000)
    office.act(-1000, SUSPENDED)
    (act,) = office.register.licences["L-1"].acts
    office.correct(12, acts=(msgspec.structs.replace(act, number="No 1"),))
    assert office.in_words() == [("L-1", "suspended", 24)]


def test_two_licences_take_turns_and_the_row_tells_the_last_that_covered(facts: DayFacts) -> None:
    office = Office(facts.rules)
    office.enter(-500)
    office.act(10, Act("ended", "1", DAY))
    office.enter(14, msgspec.structs.replace(LICENCE, number="L-2", issued_on=DAY, valid_from=DAY))
    office.act(20, Act("revoked", "2", DAY), "L-2")
    office.enter(21, msgspec.structs.replace(LICENCE, number="L-3", valid_from=dt.date(2027, 1, 1)))
    assert office.in_words() == [
        ("L-1", "in_force", 10),
        ("L-1", "ended", 14),
        ("L-2", "in_force", 20),
        ("L-2", "revoked", 24),
    ]
    report = office.report(facts)
    assert report["miners"][0]["licence"]["number"] == "L-2"
    assert all(check.passed for check in reconcile(report))


def test_a_licence_entered_in_the_day_is_told_from_then_on(facts: DayFacts) -> None:
    office = Office(facts.rules)
    office.enter(9)
    assert office.in_words() == [(None, "no_licence", 9), ("L-1", "in_force", 24)]
    report = office.report(facts)
    assert all(check.passed for check in reconcile(report))
    report["miners"][0]["licence"]["standing"][1]["status"] = "not_yet"
    failed = [check for check in reconcile(report) if not check.passed]
    assert "miner alpha: worked, its licence no_licence, then not_yet" in failed[0].detail


def test_what_is_entered_after_the_day_changes_nothing_of_it(facts: DayFacts) -> None:
    office = Office(facts.rules)
    office.enter(-500)
    before = office.report(facts)
    office.correct(24, valid_to=dt.date(2026, 10, 31))
    assert office.report(facts) == before


Step = tuple[int, int, str, int, int]


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Minute after the day began, what is done, to which licence, and two numbers of days from DAY."""
    minute = st.integers(-1000, 1600)
    days = st.integers(-40, 40)
    what = st.sampled_from([0, 1, 2, 3, 3, 4, 4, 5, 6, 6])
    step = st.tuples(minute, what, st.sampled_from(["L-1", "L-1", "L-2"]), days, days)
    return sorted(draw(st.lists(step, min_size=4, max_size=16)))


def take(office: Office, step: Step) -> None:
    minute, what, number, one, two = step
    hour = minute / 60
    first, second = DAY + dt.timedelta(days=one), DAY + dt.timedelta(days=two)
    known = office.register.licences.get(number)
    if known is None:
        valid = {"valid_from": min(first, second), "valid_to": max(first, second) if what % 2 else LAST}
        office.enter(hour, msgspec.structs.replace(LICENCE, number=number, **valid))
        return
    today = office.rules.day_of(office.start_us + minute * MINUTE)
    match what:
        case 0:
            office.correct(hour, number, valid_to=first)
        case 1:
            office.correct(hour, number, valid_from=first)
        case 2:
            office.correct(hour, number, acts=known.acts[:-1])
        case 3:
            until = first + dt.timedelta(days=90)
            office.act(hour, Act("suspended", "s", min(first, today), 1, until), number)
        case 4:
            office.act(hour, Act("resumed", "r", today), number)
        case 5:
            office.act(hour, Act("ended" if two % 2 else "revoked", "e", max(first, today)), number)
        case _:
            office.correct(hour, number, valid_from=LONG_AGO, valid_to=LAST)


def minute_by_minute(office: Office) -> Sequence[tuple[str | None, str]]:
    """Licence and status by the gate, in the middle of each minute: nothing happens there."""
    seen: list[tuple[str | None, str]] = []
    known, gate = -1, Gate(Register(), office.rules)
    for at_us in range(office.start_us + MINUTE // 2, office.end_us, MINUTE):
        so_far = sum(event.at_us <= at_us for event in office.log)
        if so_far != known:
            known, gate = so_far, Gate(office.register_at(at_us), office.rules)
        answer = gate.admit("alpha.rig1", at_us)
        if isinstance(answer, Admission):
            seen.append((answer.licence.number, answer.licence.phase_at(at_us, office.rules).status.value))
        elif answer.kind is RefusalKind.NO_LICENCE:
            seen.append((None, answer.kind.value))
        else:
            seen.append((answer.licence, answer.kind.removeprefix("licence_")))
    return seen


@settings(max_examples=150)
@given(steps(), st.booleans())
def test_i6_the_report_tells_at_each_minute_what_the_gate_went_by(
    world: Callable[[], Any], taken: list[Step], held_before: bool
) -> None:
    facts: DayFacts = world().facts()
    office = Office(facts.rules)
    if held_before:
        office.enter(-500)
    for step in taken:
        take(office, step)
    told = office.told()
    seen = minute_by_minute(office)
    assert [
        one[:2]
        for at_us in range(office.start_us + MINUTE // 2, office.end_us, MINUTE)
        for one in told
        if one.start_us <= at_us < one.end_us
    ] == seen
    assert (told[0].start_us, told[-1].end_us) == (office.start_us, office.end_us)
    if any(status in COVERING for _, status in seen):
        report = office.report(facts)
        assert all(check.passed for check in reconcile(report))
