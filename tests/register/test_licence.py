"""Licences (O-03 to O-11): what cannot be is refused; each instant has the status that its acts give it."""

import datetime as dt
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from register.licence import Act, Licence, LicenceError, Phase, Status, months_later
from register.rules import Rules
from tests.register_world import RULES, at, rules_with

FIRST, LAST = dt.date(2024, 2, 29), dt.date(2027, 2, 28)
AUTO = rules_with(("auto_resume = false", "auto_resume = true"))
DAY = dt.timedelta(days=1)
HOUR = 3_600_000_000


def licence(**changes: Any) -> Licence:
    usual: dict[str, Any] = {
        "number": "KZ00LAA00000001",
        "miner_id": 1,
        "subtype": 1,
        "issued_on": FIRST,
        "valid_from": FIRST,
        "valid_to": LAST,
    }
    return Licence(**(usual | changes))


def suspended(on: dt.date, until: dt.date, entered_us: int = 0) -> Act:
    return Act("suspended", "S-1", on, 3, until, entered_us)


def story(phases: list[Phase], rules: Rules = RULES) -> list[tuple[str, str]]:
    return [(phase.status.value, rules.local(phase.start_us).isoformat()[:16]) for phase in phases[1:]]


def test_o03_a_licence_is_in_force_from_midnight_to_the_end_of_its_last_day() -> None:
    """Q-11: the clock of the day decides, over the change of the zone."""
    phases = licence().phases(RULES)
    assert [phase.status for phase in phases] == [Status.NOT_YET, Status.IN_FORCE, Status.ENDED]
    assert RULES.local(phases[1].start_us).isoformat() == "2024-02-29T00:00:00+06:00"
    assert RULES.local(phases[1].end_us).isoformat() == "2027-03-01T00:00:00+05:00"


def test_o04_the_longest_term_is_that_of_the_rule() -> None:
    licence().check(RULES)
    begins = {"issued_on": dt.date(2024, 5, 10), "valid_from": dt.date(2024, 5, 10)}
    licence(**begins, valid_to=dt.date(2027, 5, 10)).check(RULES)
    with pytest.raises(LicenceError, match="2027-05-11 is later than 2027-05-10"):
        licence(**begins, valid_to=dt.date(2027, 5, 11)).check(RULES)
    with pytest.raises(LicenceError, match="2027-03-01 is later than 2027-02-28"):
        licence(valid_to=dt.date(2027, 3, 1)).check(RULES)
    with pytest.raises(LicenceError, match=r"given for 3 years \(O-04\)"):  # the term runs from the issue
        licence(**begins | {"valid_from": dt.date(2024, 8, 1)}, valid_to=dt.date(2027, 7, 31)).check(RULES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": ""}, "1 to 64 printable"),
        ({"number": " KZ1"}, "1 to 64 printable"),
        ({"number": "KZ\n1"}, "1 to 64 printable"),
        ({"number": "K" * 65}, "1 to 64 printable"),
        ({"subtype": 3}, "subtype is 3; it must be 1 or 2"),
        ({"valid_to": dt.date(2024, 2, 28)}, "is before valid_from 2024-02-29"),
        ({"issued_on": dt.date(2024, 3, 1)}, "begins on the day of its issue or later"),
        ({"issuer": "\t"}, "issuer"),
    ],
)
def test_impossible_licences(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LicenceError, match=message):
        licence(**changes).check(RULES)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (Act("suspended", "", dt.date(2025, 1, 31), 1, dt.date(2025, 3, 1)), "act number"),
        (Act("suspended", "S", dt.date(2024, 2, 28), 1, dt.date(2024, 5, 1)), "outside its term"),
        (Act("revoked", "C", dt.date(2027, 3, 1)), "outside its term"),
        (Act("suspended", "S", dt.date(2025, 1, 10), 0, dt.date(2025, 3, 1)), r"must be 1 to 6 \(O-08\)"),
        (Act("suspended", "S", dt.date(2025, 1, 10), 7, dt.date(2025, 3, 1)), r"must be 1 to 6 \(O-08\)"),
        (Act("suspended", "S", dt.date(2025, 1, 10), 1), r"the term of a suspension \(O-09\)"),
        (
            Act("suspended", "S", dt.date(2025, 1, 10), 1, dt.date(2025, 2, 8)),
            "between 2025-02-09 and 2025-07-10",
        ),
        (Act("suspended", "S", dt.date(2025, 1, 10), 1, dt.date(2025, 7, 11)), "1 to 6 months later"),
        (Act("resumed", "R", dt.date(2025, 1, 10)), "is not suspended"),
        (Act("ended", "E", dt.date(2025, 1, 10), 2), "belong to a suspension"),
        (Act("revoked", "C", dt.date(2025, 1, 10), 0, dt.date(2025, 3, 1)), "belong to a suspension"),
    ],
)
def test_impossible_first_acts(act: Act, message: str) -> None:
    with pytest.raises(LicenceError, match=message):
        licence().with_act(act, RULES)


@pytest.mark.parametrize(
    ("acts", "message"),
    [
        ((suspended(dt.date(2025, 1, 10), dt.date(2025, 3, 1)),) * 2, "acts follow in time"),
        (
            (
                suspended(dt.date(2025, 1, 10), dt.date(2025, 3, 1)),
                suspended(dt.date(2025, 4, 1), dt.date(2025, 6, 1)),
            ),
            "resume it before",
        ),
        (
            (Act("revoked", "C-1", dt.date(2025, 1, 1)), Act("resumed", "R", dt.date(2025, 2, 1))),
            "was revoked on",
        ),
        ((Act("ended", "E", dt.date(2025, 1, 1)), Act("revoked", "C", dt.date(2025, 2, 1))), "was ended on"),
    ],
)
def test_impossible_second_acts(acts: tuple[Act, Act], message: str) -> None:
    once = licence().with_act(acts[0], RULES)
    with pytest.raises(LicenceError, match=message):
        once.with_act(acts[1], RULES)


def test_o10_a_suspension_does_not_lapse_by_itself() -> None:
    held = licence().with_act(suspended(dt.date(2025, 1, 10), dt.date(2025, 2, 9)), RULES)
    assert story(held.phases(RULES)) == [
        ("in_force", "2024-02-29T00:00"),
        ("suspended", "2025-01-10T00:00"),
        ("awaiting_resumption", "2025-02-10T00:00"),
        ("ended", "2027-03-01T00:00"),
    ]
    resumed = held.with_act(Act("resumed", "R-1", dt.date(2025, 4, 1)), RULES)
    assert story(resumed.phases(RULES))[3:] == [
        ("resumed", "2025-04-01T00:00"),
        ("ended", "2027-03-01T00:00"),
    ]
    early = held.with_act(Act("resumed", "R-1", dt.date(2025, 1, 20)), RULES)
    assert story(early.phases(RULES))[2:] == [("resumed", "2025-01-20T00:00"), ("ended", "2027-03-01T00:00")]


def test_o10_where_the_rule_says_so_it_does_and_may_be_suspended_again() -> None:
    held = licence().with_act(suspended(dt.date(2025, 1, 10), dt.date(2025, 2, 9)), AUTO)
    again = held.with_act(suspended(dt.date(2025, 2, 10), dt.date(2025, 3, 9)), AUTO)
    assert [status for status, _ in story(held.phases(AUTO))] == ["in_force", "suspended", "resumed", "ended"]
    assert story(again.phases(AUTO))[1:4] == [
        ("suspended", "2025-01-10T00:00"),
        ("suspended", "2025-02-10T00:00"),
        ("resumed", "2025-03-10T00:00"),
    ]
    with pytest.raises(LicenceError, match="resume it before"):
        held.with_act(suspended(dt.date(2025, 2, 9), dt.date(2025, 3, 9)), AUTO)


def test_o04_a_suspension_beyond_the_term_does_not_lengthen_it() -> None:
    held = licence().with_act(suspended(dt.date(2027, 1, 10), dt.date(2027, 6, 9)), RULES)
    assert story(held.phases(RULES))[1:] == [("suspended", "2027-01-10T00:00"), ("ended", "2027-03-01T00:00")]
    assert held.phase_at(at(dt.date(2027, 3, 1)), RULES).status is Status.ENDED


def test_o11_a_revocation_takes_the_place_of_what_was_to_come() -> None:
    held = licence().with_act(suspended(dt.date(2025, 6, 1), dt.date(2025, 7, 31)), RULES)
    revoked = held.with_act(Act("revoked", "court 7", dt.date(2025, 5, 1)), RULES)
    assert story(revoked.phases(RULES))[1:] == [("revoked", "2025-05-01T00:00")]
    assert revoked.last_day == dt.date(2025, 4, 30)
    # What took effect before the register heard of the revocation stays.
    late = Act("revoked", "court 7", dt.date(2025, 5, 1), entered_us=at(dt.date(2025, 6, 10), 9))
    assert story(held.with_act(late, RULES).phases(RULES))[1:] == [
        ("suspended", "2025-06-01T00:00"),
        ("revoked", "2025-06-10T09:00"),
    ]


def test_o09_an_act_takes_effect_no_earlier_than_it_is_heard_of() -> None:
    late = suspended(dt.date(2025, 1, 10), dt.date(2025, 2, 9), at(dt.date(2025, 1, 15), 12))
    assert story(licence().with_act(late, RULES).phases(RULES))[1] == ("suspended", "2025-01-15T12:00")


def test_i6_an_act_heard_of_after_the_end_does_not_reopen_the_licence() -> None:
    after = at(dt.date(2027, 3, 5), 12)
    for act in (suspended(LAST, dt.date(2027, 4, 1), after), Act("revoked", "C", LAST, entered_us=after)):
        phases = licence().with_act(act, RULES).phases(RULES)
        assert story(phases) == [("in_force", "2024-02-29T00:00"), ("ended", "2027-03-01T00:00")]


def naive_status(held: Licence, at_us: int, rules: Rules) -> Status:
    """What a clerk with a calendar and the list of acts would say."""
    day = rules.day_of(at_us)
    if day < held.valid_from:
        return Status.NOT_YET
    end_us = rules.day_bounds(held.valid_to)[1]
    known = [
        act
        for act in held.acts
        if act.on <= rules.day_of(min(at_us, end_us - 1)) and act.entered_us <= min(at_us, end_us - 1)
    ]
    last = known[-1] if known else None
    if last is not None and last.kind in ("ended", "revoked"):
        return Status(last.kind)
    if day > held.valid_to:
        return Status.ENDED
    if last is None:
        return Status.IN_FORCE
    if last.kind == "resumed":
        return Status.RESUMED
    assert last.until is not None
    if day <= last.until:
        return Status.SUSPENDED
    return (
        Status.RESUMED if rules.on("licence", last.until).truth("auto_resume") else Status.AWAITING_RESUMPTION
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["suspended", "resumed", "ended", "revoked"]),
        st.integers(0, 24 * 90),  # hours until the clerk hears of it
        st.integers(-60, 120),  # days from then to the day of the act
        st.integers(30, 180),
    ),
    max_size=7,
)


@given(STEPS, st.booleans(), st.integers(20, 1000))
@example([("suspended", 24 * 5, 60, 100), ("revoked", 24 * 80, -30, 30)], False, 1000)
def test_o03_every_hour_has_the_status_that_its_acts_give_it(
    steps: list[tuple[Any, int, int, int]], auto: bool, days: int
) -> None:
    rules = AUTO if auto else RULES
    held = licence(valid_to=FIRST + days * DAY)
    now_us = at(FIRST) - 30 * 24 * HOUR
    for kind, hours, offset, length in steps:
        now_us += hours * HOUR
        on = rules.day_of(now_us) + offset * DAY
        act = Act(kind, "A-1", on, entered_us=now_us)
        if kind == "suspended":
            act = suspended(on, on + length * DAY, now_us)
        with suppress(LicenceError):
            held = held.with_act(act, rules)
    phases = held.phases(rules)
    assert phases[0].start_us == 0
    assert all(one.end_us == two.start_us for one, two in pairwise(phases))
    assert all(phase.start_us < phase.end_us for phase in phases)
    day = FIRST - 2 * DAY
    while day <= held.valid_to + 100 * DAY:
        for instant in (at(day), at(day) + 11 * HOUR + 1, rules.day_bounds(day)[1] - 1):
            assert held.phase_at(instant, rules).status is naive_status(held, instant, rules), day
        day += 3 * DAY
    for phase in phases[1:]:
        for instant in (phase.start_us - 1, phase.start_us):
            assert held.phase_at(instant, rules).status is naive_status(held, instant, rules)


@given(st.dates(dt.date(2020, 1, 1), dt.date(2040, 12, 31)), st.integers(0, 120))
def test_o08_months_are_those_of_the_calendar(day: dt.date, months: int) -> None:
    later = months_later(day, months)
    assert (later.year * 12 + later.month) - (day.year * 12 + day.month) == months
    assert later.day == day.day or ((later + DAY).day == 1 and later.day < day.day)
