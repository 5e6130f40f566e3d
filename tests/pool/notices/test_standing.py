"""What follows from time: a licence is told of on its steps, once each, and not when another takes over."""

from __future__ import annotations

import datetime as dt

from pool.config import RULES_FILE
from pool.notices import standing
from pool.notices.notice import Draft
from register.licence import Act, Licence
from register.miner import Miner
from register.pool_data import Accreditation
from register.register import Register
from register.rules import load_rules
from reporting.deadlines import Due, State

RULES = load_rules(RULES_FILE)
LAST = dt.date(2026, 12, 31)
FIRST = dt.date(2026, 1, 1)


def at(day: dt.date) -> int:
    return RULES.day_bounds(day)[0] + 3_600_000_000


def register_with(*licences: Licence) -> Register:
    register = Register()
    register.put("miner", "1", Miner(1, "alpha", "Alpha LLP", "230440000105"))
    for one in licences:
        register.put("licence", one.number, one)
    return register


def licence(number: str = "L-1", first: dt.date = FIRST, last: dt.date = LAST) -> Licence:
    return Licence(number, 1, 1, first, first, last)


def told(register: Register, day: dt.date, began: dt.date = FIRST) -> list[Draft]:
    return list(standing.licences(register, RULES, at(day), at(began)))


def test_a_licence_is_told_of_once_on_each_step_of_its_last_month() -> None:
    register = register_with(licence())
    keys: dict[str, tuple[int, str]] = {}
    for day in (LAST - dt.timedelta(days=left) for left in range(60, -40, -1)):
        for one in told(register, day):
            keys.setdefault(one.key, ((LAST - day).days, one.severity))
    assert keys == {
        "licence_ending:30:L-1:2026-12-31": (30, "info"),
        "licence_ending:7:L-1:2026-12-31": (7, "warning"),
        "licence_ending:1:L-1:2026-12-31": (1, "critical"),
        "licence_over:L-1:2026-12-31": (-1, "warning"),
    }


def test_another_licence_that_takes_over_makes_it_no_news() -> None:
    after = licence("L-2", LAST + dt.timedelta(days=1), dt.date(2028, 12, 30))
    for left in (30, 7, 1, 0, -1):
        day = LAST - dt.timedelta(days=left)
        assert [one for one in told(register_with(licence(), after), day) if "L-1" in one.key] == []


def test_what_was_over_before_notices_began_is_not_told() -> None:
    day = LAST + dt.timedelta(days=10)
    assert told(register_with(licence()), day, began=day) == []
    assert len(told(register_with(licence()), day, began=LAST)) == 1


def test_a_licence_that_an_act_ended_was_told_by_the_act() -> None:
    revoked = licence().with_act(Act("revoked", "C-1", dt.date(2026, 12, 20)), RULES)
    assert told(register_with(revoked), dt.date(2026, 12, 21)) == []


def accredited(*held: Accreditation, day: dt.date, began: dt.date = FIRST) -> list[Draft]:
    register = Register()
    for one in held:
        register.put("accreditation", one.number, one)
    return list(standing.accreditations(register, RULES, at(day), at(began)))


def test_the_pools_own_accreditation_is_told_of_before_it_ends_and_when_it_has() -> None:
    one, after = Accreditation("A-1", FIRST, LAST), Accreditation("A-2", LAST + dt.timedelta(days=1))
    keys: dict[str, tuple[int, str]] = {}
    for day in (LAST - dt.timedelta(days=left) for left in range(120, -40, -1)):
        for draft in accredited(one, day=day):
            keys.setdefault(draft.key, ((LAST - day).days, draft.severity))
        assert accredited(one, after, day=day) == [], "another takes over"
    assert list(keys.values()) == [
        *((90, "warning"), (60, "warning"), (30, "warning"), (7, "critical"), (1, "critical")),
        (-1, "critical"),
    ]
    assert "accreditation_over:A-1:2026-12-31" in keys
    long_after = LAST + dt.timedelta(days=40)
    assert accredited(one, day=long_after, began=long_after) == []
    assert accredited(Accreditation("A-3", FIRST), day=LAST) == [], "it has no end"


def due(deadline: dt.date, submitted: int = 0) -> Due:
    state = State.SUBMITTED if submitted else State.MISSING
    return Due("166-1", "2026-10", "tax", deadline.replace(day=5), deadline, state, 0, submitted)


def test_a_form_is_told_of_when_it_is_due_and_when_it_is_late() -> None:
    deadline = dt.date(2026, 11, 15)

    def events(day: dt.date, *dues: Due, began: dt.date = FIRST) -> list[str]:
        return [one.event for one in standing.forms(dues, RULES, at(day), at(began))]

    assert events(dt.date(2026, 11, 4), due(deadline)) == []
    assert events(dt.date(2026, 11, 5), due(deadline)) == ["form_due"]
    assert events(deadline, due(deadline)) == ["form_due"]
    assert events(dt.date(2026, 11, 16), due(deadline), due(deadline, 1)) == ["form_late"]
    long_after = dt.date(2027, 3, 1)
    assert events(long_after, due(deadline), began=long_after) == [], "years of old forms are no news"
