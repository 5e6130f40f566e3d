"""Periods of the mandatory sale and the rows of law inside of them (Q-01, Q-02)."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.rules import Rules
from reporting.sale_period import Period, Stretch, period_before, period_named, period_of, stretches
from tests.register_world import RULES
from tests.reporting.sale_world import rules_of

AFSA = ("AFSA",)
START = dt.date(2024, 1, 1)
DAY = dt.timedelta(days=1)


def days(*texts: str) -> list[dt.date]:
    return [dt.date.fromisoformat(text) for text in texts]


def measured(*rows: tuple[str, str, str]) -> Rules:
    """Rules that measure by rows of day, base and period."""
    return rules_of(
        {START: (5000, AFSA)}, {dt.date.fromisoformat(on): (base, period) for on, base, period in rows}
    )


@pytest.mark.parametrize(
    ("period", "name", "first", "last"),
    [
        ("month", "2026-11", "2026-11-01", "2026-11-30"),
        ("quarter", "2026-Q4", "2026-10-01", "2026-12-31"),
        ("year", "2026", "2026-01-01", "2026-12-31"),
    ],
)
def test_a_period_is_one_of_the_calendar(period: str, name: str, first: str, last: str) -> None:
    rules = measured(("2024-01-01", "mined", period))
    wanted = Period(name, *days(first, last))
    for day in (wanted.first, dt.date(2026, 11, 24), wanted.last):
        assert period_of(rules, day) == wanted
        assert period_named(rules, name, day) == wanted
    after = period_of(rules, wanted.last + DAY)
    assert after is not None
    assert period_before(rules, after) == wanted


def test_before_2024_there_is_none() -> None:
    """O-50, LAW art. 14."""
    assert period_of(RULES, START - DAY) is None
    first = period_of(RULES, START)
    assert first == Period("2024-Q1", *days("2024-01-01", "2024-03-31"))
    assert period_before(RULES, first) is None


def test_a_change_of_the_base_alone_leaves_the_period_whole() -> None:
    rules = measured(
        ("2024-01-01", "mined", "quarter"),
        ("2026-05-14", "realised", "quarter"),
        ("2026-06-01", "mined", "quarter"),
    )
    for day in days("2026-04-01", "2026-05-13", "2026-05-14", "2026-06-30"):
        assert period_of(rules, day) == Period("2026-Q2", *days("2026-04-01", "2026-06-30"))


def test_a_change_of_the_period_ends_the_one_that_runs() -> None:
    rules = measured(
        ("2024-01-01", "mined", "quarter"), ("2026-05-14", "mined", "month"), ("2026-08-20", "mined", "year")
    )
    wanted = [
        Period("2026-Q1", *days("2026-01-01", "2026-03-31")),
        Period("2026-Q2", *days("2026-04-01", "2026-05-13")),
        Period("2026-05", *days("2026-05-14", "2026-05-31")),
        Period("2026-06", *days("2026-06-01", "2026-06-30")),
        Period("2026-07", *days("2026-07-01", "2026-07-31")),
        Period("2026-08", *days("2026-08-01", "2026-08-19")),
        Period("2026", *days("2026-08-20", "2026-12-31")),
    ]
    found = [period_of(rules, one.first) for one in wanted]
    assert found == wanted
    assert [period_named(rules, one.name, dt.date(2026, 12, 31)) for one in wanted] == wanted


@pytest.mark.parametrize(
    "name", ["2026-Q5", "2026-12", "2026", "2027-Q1", "2023-Q4", "soon", "", "9999", "٢٠٢٦-Q4"]
)
def test_a_period_that_there_is_not_is_told_with_the_one_that_runs(name: str) -> None:
    with pytest.raises(ValueError, match=r"there is no period .* until today; the one that runs is 2026-Q4"):
        period_named(RULES, name, dt.date(2026, 11, 24))


def test_a_period_is_cut_where_the_law_changes() -> None:
    """Days before the first row are in no stretch: nothing had to be sold."""
    rules = rules_of(
        {
            dt.date(2024, 2, 10): (5000, AFSA),
            dt.date(2024, 3, 5): (7500, ("NBK",)),
            dt.date(2024, 7, 1): (0, AFSA),
        },
        {START: ("mined", "year")},
    )
    assert period_of(rules, dt.date(2024, 2, 9)) is None
    year = period_of(rules, dt.date(2024, 2, 10))
    assert year == Period("2024", *days("2024-01-01", "2024-12-31"))
    assert stretches(rules, year) == [
        Stretch(*days("2024-02-10", "2024-03-04"), 5000, AFSA),
        Stretch(*days("2024-03-05", "2024-06-30"), 7500, ("NBK",)),
        Stretch(*days("2024-07-01", "2024-12-31"), 0, AFSA),
    ]


DATES = st.dates(dt.date(2024, 1, 2), dt.date(2025, 12, 31))
KINDS = st.sampled_from(["month", "quarter", "year"])


@given(st.dictionaries(DATES, KINDS, max_size=4), st.sets(DATES, max_size=3))
def test_every_day_is_in_one_period_and_one_stretch(kinds: dict[dt.date, str], changes: set[dt.date]) -> None:
    """Whatever changes when, periods and their stretches follow each other without a gap."""
    rules = rules_of(
        {START: (5000, AFSA)} | {on: (on.day, AFSA) for on in changes},
        {START: ("mined", "quarter")} | {on: ("mined", kind) for on, kind in kinds.items()},
    )
    day = START
    while day < dt.date(2026, 1, 1):
        period = period_of(rules, day)
        assert period is not None
        assert period.first == day
        for stretch in stretches(rules, period):
            assert stretch.first == day
            assert stretch.share_bps == rules.on("mandatory_sale", stretch.last).integer("min_share_bps")
            day = stretch.last + DAY
        assert day == period.last + DAY
        assert period_of(rules, period.last) == period
