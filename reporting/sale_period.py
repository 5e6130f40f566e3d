"""Over what time the mandatory sale is measured, and which share holds on which of its days (Q-01, Q-02).

Both are dated rules. `sale_measure` says month, quarter or year, of the calendar of Kazakhstan. Where a row
of it changes that, the period that runs ends on the day before and another begins: each day is in one period.
Where `mandatory_sale` changes inside a period, the period goes on and is cut into stretches: what is mined or
sold on a day falls under the row of that day. Of days without a row, as all before 2024, nothing is told.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from register.rules import Rules, RulesError

MEASURE: Final = "sale_measure"
SHARE: Final = "mandatory_sale"
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_DAY: Final = dt.timedelta(days=1)


class Period(NamedTuple):
    """A time over which the sale is measured: 2026-Q4, 2026-11 or 2026; both days included."""

    name: str
    first: dt.date
    last: dt.date


class Stretch(NamedTuple):
    """Days of a period under one row of the rule; both included."""

    first: dt.date
    last: dt.date
    share_bps: int
    """What has to be sold, in basis points."""
    licensors: tuple[str, ...]
    """Whose exchanges count."""


def period_of(rules: Rules, day: dt.date) -> Period | None:
    """The period that a day is in; None on a day on which nothing has to be sold."""
    measure = rules.find(MEASURE, day)
    if measure is None or rules.find(SHARE, day) is None:
        return None
    kind = measure.text("period")
    first, last, name = _calendar(day, kind)
    begins, ends = _held(rules, day, kind)
    return Period(name, max(first, begins), last if ends is None else min(last, ends))


def period_before(rules: Rules, period: Period) -> Period | None:
    """The period that ended when this one began."""
    return period_of(rules, period.first - _DAY)


def period_named(rules: Rules, name: str, today: dt.date) -> Period:
    """The period of a name, 2026-Q4 say; raises ValueError for one that there is not, or is to come."""
    year = name[:4]
    if year.isascii() and year.isdecimal():
        day = dt.date(max(int(year), 1), 1, 1)
        while day.year == int(year) and day <= today:
            found = period_of(rules, day)
            if found is None:
                day += _DAY
            elif found.name == name:
                return found
            else:
                day = found.last + _DAY
    running = period_of(rules, today)
    raise ValueError(
        f"there is no period {name[:20]!r} until today"
        + (f"; the one that runs is {running.name}" if running else ": nothing has to be sold")
    )


def stretches(rules: Rules, period: Period) -> list[Stretch]:
    """The days of a period by the rows of the rule, in order; days without a row are left out."""
    found: list[Stretch] = []
    day = period.first
    while day <= period.last:
        row, until = rules.find(SHARE, day), rules.until(SHARE, day)
        last = period.last if until is None else min(until - _DAY, period.last)
        if row is not None:
            share = row.integer("min_share_bps")
            found.append(Stretch(day, last, share, tuple(row.texts("licensors"))))
        day = last + _DAY
    return found


def _calendar(day: dt.date, kind: str) -> tuple[dt.date, dt.date, str]:
    """First and last day of the month, quarter or year that a day is in, and its name."""
    months = _MONTHS.get(kind)
    if months is None:
        raise RulesError(f"rule {MEASURE} period = {kind!r} is not one of {', '.join(_MONTHS)}")
    number = (day.month - 1) // months
    first = dt.date(day.year, number * months + 1, 1)
    last_month = first.month + months - 1
    after = dt.date(day.year + last_month // 12, last_month % 12 + 1, 1)
    name = {1: f"{day:%Y-%m}", 3: f"{day:%Y}-Q{number + 1}", 12: f"{day:%Y}"}[months]
    return first, after - _DAY, name


def _held(rules: Rules, day: dt.date, kind: str) -> tuple[dt.date, dt.date | None]:
    """First and last day around a day on which the measure was of a kind; None while no row ends it."""
    row = rules.on(MEASURE, day)
    first = row.effective_from
    while (before := rules.find(MEASURE, first - _DAY)) is not None and before.text("period") == kind:
        first = before.effective_from
    until = rules.until(MEASURE, day)
    while until is not None and rules.on(MEASURE, until).text("period") == kind:
        until = rules.until(MEASURE, until)
    return first, None if until is None else until - _DAY
