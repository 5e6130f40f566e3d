"""Official values, rates of the National Bank and the calendar in PostgreSQL: read whole, and only added
to.

What may be entered is decided by `reporting.prices`. A file is taken whole or not at all; what it says as
it stands already is passed over. Of two rows for the same day the later one counts, and says why.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import register_store
from pool.spreadsheet import Sheet
from pool.tables_income import calendar_day, price
from register.person import Actor, PersonError, Role, require_current
from register.rules import Rules
from reporting.prices import COLUMNS, CalendarDay, PriceError, PriceTable, Quote, is_currency, read_line

_MAY: Final = (Role.OPERATOR, Role.COMPLIANCE)
_DAY: Final = dt.timedelta(days=1)
_SATURDAY: Final = 5
_SHOWN: Final = 20
"""Bad lines that are told of; there may be more."""


class Line(NamedTuple):
    """A record and where it comes from: a line of a file, or nothing."""

    record: Quote | CalendarDay
    where: str = ""
    weekend: bool = False
    """A Saturday or Sunday that is a day off unless it was called a working day or has a value already."""


class Entered(NamedTuple):
    """What came of some lines."""

    values: int
    days: int
    same: int


class Shown(NamedTuple):
    """A row as it is listed; `value` is None for a row of the calendar."""

    record: Quote | CalendarDay
    entered_us: int
    actor: str


async def read_table(connection: AsyncConnection) -> PriceTable:
    """All that was entered."""
    return PriceTable([one.record for one in await read_rows(connection)])


async def read_rows(
    connection: AsyncConnection, first: dt.date = dt.date.min, last: dt.date = dt.date.max
) -> list[Shown]:
    """The rows of some days: values first, each kind in the order in which they were entered."""
    quotes = sa.select(price).where(price.c.day.between(first, last)).order_by(price.c.id)
    days = sa.select(calendar_day).where(calendar_day.c.day.between(first, last)).order_by(calendar_day.c.id)
    found = [_shown(row, _quote(row)) for row in await connection.execute(quotes)]
    return found + [_shown(row, _day(row)) for row in await connection.execute(days)]


def _shown(row: Any, record: Quote | CalendarDay) -> Shown:
    return Shown(record, row.entered_us, row.actor)


def _quote(row: Any) -> Quote:
    return Quote(row.day, row.asset, row.value, row.currency, row.source, row.reason)


def _day(row: Any) -> CalendarDay:
    return CalendarDay(row.day, row.working, row.source, row.reason)


def read_sheet(sheet: Sheet, source: str, reason: str, *, weekends: bool) -> list[Line]:
    """The lines of a file; `source` and `reason` stand in for empty cells. Raises PriceError for bad ones.

    With `weekends`, every Saturday and Sunday between its first and last value, and next to these, that it
    gives none of is a day off: somebody has looked at the calendar. Other days off have a line of their own.
    """
    heading = [cell.strip().lower() for cell in sheet.heading.cells]
    unknown = [name for name in heading if name not in COLUMNS]
    missing = [name for name in COLUMNS[:4] if name not in heading]
    if unknown or missing or len(set(heading)) != len(heading):
        raise PriceError(
            f"headings are {', '.join(heading)[:200]}; they must be {', '.join(COLUMNS)}, each once; the "
            f"last two may be left out"
        )
    lines: list[Line] = []
    bad: list[str] = []
    first_of: dict[object, int] = {}
    for row in sheet.rows:
        try:
            if any(row.cells[len(heading) :]):
                raise PriceError(
                    "has more cells than the first line has headings; a value with a comma stands in quotes"
                )
            record = read_line(dict(zip(heading, row.cells, strict=False)), source, reason)
            key = (record.day, record.asset if isinstance(record, Quote) else "")
            if first_of.setdefault(key, row.line) != row.line:
                raise PriceError(f"the same stands on line {first_of[key]} already; keep one of them")
            lines.append(Line(record, f"line {row.line}"))
        except ValueError as error:
            bad.append(f"line {row.line}: {error}")
    _refuse(bad)
    return lines + (_weekends(lines, source) if weekends else [])


def _weekends(lines: Iterable[Line], source: str) -> list[Line]:
    records = [line.record for line in lines]
    priced = {one.day for one in records if isinstance(one, Quote) and not is_currency(one.asset)}
    told = priced | {one.day for one in records if isinstance(one, CalendarDay)}
    if not priced:
        return []
    first, last = min(priced), max(priced)
    # The weekend between two months is next to the values of both, and between those of neither.
    while (first - _DAY).weekday() >= _SATURDAY:
        first -= _DAY
    while (last + _DAY).weekday() >= _SATURDAY:
        last += _DAY
    days = (first + _DAY * number for number in range((last - first).days + 1))
    off = [day for day in days if day.weekday() >= _SATURDAY and day not in told]
    return [Line(CalendarDay(day, False, f"{day:%A}; {source}"), "weekends", weekend=True) for day in off]


async def enter(
    engine: AsyncEngine, lines: Sequence[Line], rules: Rules, actor: Actor, now_us: int
) -> Entered:
    """Add what is new, all of it or nothing; raises PriceError with all bad lines, PersonError."""
    async with engine.begin() as connection:
        await connection.execute(sa.text("LOCK TABLE price, calendar_day IN SHARE ROW EXCLUSIVE MODE"))
        await _require_allowed(connection, actor)
        table = await read_table(connection)
        new, same, bad = [], 0, list[str]()
        for record, where, weekend in lines:
            if weekend and (table.priced(record.day) or table.working(record.day)):
                continue
            try:
                if table.check(record, rules, rules.day_of(now_us)):
                    table.put(record)
                    new.append(record)
                else:
                    same += 1
            except ValueError as error:
                bad.append(f"{where}: {error}" if where else str(error))
        _refuse(bad)
        by = {"entered_us": now_us, "actor": actor.name}
        values = [record._asdict() | by for record in new if isinstance(record, Quote)]
        days = [record._asdict() | by for record in new if isinstance(record, CalendarDay)]
        for into, rows in ((price, values), (calendar_day, days)):
            if rows:
                await connection.execute(sa.insert(into), rows)
        return Entered(len(values), len(days), same)


async def _require_allowed(connection: AsyncConnection, actor: Actor) -> None:
    if actor.role not in _MAY:
        raise PersonError(f"{actor.name}: the role {actor.role} may not enter values; ask an operator")
    require_current(actor, (await register_store.load(connection, ("person",))).people)


def _refuse(bad: Sequence[str]) -> None:
    if bad:
        more = f"\nand {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise PriceError("\n".join(bad[:_SHOWN]) + more)
