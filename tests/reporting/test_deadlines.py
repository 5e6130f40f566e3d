"""What is due to whom by when: dated rules, both addressees, corrections (O-40, O-41, Q-03)."""

from __future__ import annotations

import datetime as dt

from reporting.deadlines import Due, State, dues
from tests.register_world import rules_with
from tests.reporting.form_world import FORM_1, FORM_2, RULES

FIRST = dt.date(2026, 10, 30)
BOTH = ("authorised_body", "tax_authority")


def due(
    today: dt.date, built: dict[tuple[str, str], int], sent: dict[tuple[str, str, str], int]
) -> list[Due]:
    return dues(RULES, FIRST, today, built, sent)


def test_o40_each_form_of_each_month_that_is_over_is_due_to_both() -> None:
    found = due(dt.date(2026, 12, 1), {}, {})
    assert [(one.period, one.form, one.addressee) for one in found] == [
        (month, form, to) for month in ("2026-10", "2026-11") for form in (FORM_1, FORM_2) for to in BOTH
    ]
    assert {one.state for one in found} == {State.MISSING}
    assert due(dt.date(2026, 10, 31), {}, {}) == []


def test_q03_reminder_and_deadline_are_those_of_the_rule() -> None:
    (one, *_) = due(dt.date(2026, 11, 2), {}, {})
    assert (one.remind_on, one.deadline) == (dt.date(2026, 11, 5), dt.date(2026, 11, 15))
    days = [dt.date(2026, 11, number) for number in (4, 5, 15, 16)]
    assert [one.reminded(today) for today in days] == [False, True, True, True]
    assert [one.late(today) for today in days] == [False, False, False, True]
    assert [one.days_left(today) for today in days] == [11, 10, 0, -1]
    other = rules_with(
        ("deadline_day = 15             # the act's own day was not seen", "deadline_day = 20"),
        (
            'reminder_day = 5\ntransport = "file"\ncomplete = true',
            'reminder_day = 6\ntransport = "file"\ncomplete = true',
        ),
    )
    (one, *_) = dues(other, FIRST, dt.date(2026, 11, 2), {}, {})
    assert (one.remind_on, one.deadline) == (dt.date(2026, 11, 6), dt.date(2026, 11, 20))


def test_the_month_after_december_is_january() -> None:
    last = due(dt.date(2027, 1, 2), {}, {})[-1]
    assert (last.period, last.deadline) == ("2026-12", dt.date(2027, 1, 15))


def test_what_becomes_of_a_form() -> None:
    """Built, sent to one, corrected, sent again; what was sent once is late no more."""

    def states(newest: int, **sent: int) -> list[State]:
        built = {(FORM_1, "2026-10"): newest} if newest else {}
        told = {(FORM_1, "2026-10", to): version for to, version in sent.items()}
        found = due(dt.date(2026, 11, 30), built, told)
        assert [one.late(dt.date(2026, 11, 30)) for one in found[:2]] == [to not in sent for to in BOTH]
        return [one.state for one in found[:2]]

    assert states(0) == [State.MISSING, State.MISSING]
    assert states(1) == [State.BUILT, State.BUILT]
    assert states(1, tax_authority=1) == [State.BUILT, State.SUBMITTED]
    assert states(2, tax_authority=1) == [State.BUILT, State.OUTDATED]
    assert states(2, tax_authority=2, authorised_body=2) == [State.SUBMITTED, State.SUBMITTED]


def test_what_was_reported_anew_since_is_stale_whatever_was_sent() -> None:
    """It stays late where nothing was sent; where something was, that is no longer what the books say."""
    today = dt.date(2026, 11, 30)
    key = FORM_1, "2026-10"
    sent = {(*key, "tax_authority"): 2}
    found = dues(RULES, FIRST, today, {key: 2}, sent, stale={key})[:4]
    assert [one.state for one in found] == [State.STALE, State.STALE, State.MISSING, State.MISSING]
    assert [(one.open, one.late(today), one.corrected) for one in found[:2]] == [
        (True, True, False),
        (False, False, True),
    ]
    assert [one.corrected for one in dues(RULES, FIRST, today, {key: 2}, sent)[:2]] == [False, False]
    assert [one.corrected for one in dues(RULES, FIRST, today, {key: 3}, sent)[:2]] == [False, True]


def test_what_was_due_before_forms_were_made_is_told_only_where_it_was_built() -> None:
    """The deadline of October was 15 November."""
    today = dt.date(2026, 12, 1)

    def told(begun_on: dt.date, built: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
        found = dues(RULES, FIRST, today, built, {}, begun_on=begun_on)
        return [(one.period, one.form) for one in found[::2]]

    november = [("2026-11", FORM_1), ("2026-11", FORM_2)]
    october = [("2026-10", FORM_1), ("2026-10", FORM_2)]
    assert told(dt.date(2026, 11, 15), {}) == october + november
    assert told(dt.date(2026, 11, 16), {}) == november
    assert told(dt.date(2026, 11, 16), {(FORM_2, "2026-10"): 1}) == [october[1], *november]


def test_before_the_first_rule_nothing_is_due() -> None:
    found = dues(RULES, dt.date(2023, 1, 1), dt.date(2023, 6, 1), {}, {})
    assert {one.period for one in found} == {"2023-04", "2023-05"}
