"""A file of sales becomes lines of the book, all together or, where that was asked for, as far as it is good.

Rows are read first, each by itself; then those that stand in the book already are told apart. A bad row is
told with its line, the column where one is to blame, and the reason (`pool.table_import`); it leaves no
trace.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from pool.sale_book import Writer, same_trade
from pool.spreadsheet import Row, Sheet
from pool.table_import import BadLine, BadRows
from register.register import Register
from register.rules import Rules
from register.tables import NOTES, read_heading
from reporting.sale_confirmation import Sale, SaleError, Told
from reporting.sale_table import english, read_sale, table_of


class Prepared(NamedTuple):
    """A file that was read whole: the rows that are good by themselves, and the others."""

    heading: list[str]
    rows: Sequence[tuple[Row, Sale]]
    bad: list[BadLine]


class Outcome(NamedTuple):
    """What came of a file."""

    entered: list[Told]
    bad_rows: int
    bad: list[BadLine]
    """All that is wrong, by line."""


def prepare(sheet: Sheet, rules: Rules, register: Register, today: dt.date) -> Prepared:
    """Read a file; `register` has the miners.

    Raises HeadingError, SpreadsheetError, or TooManyBadError when the file is given up.
    """
    table = table_of(rules)
    names = english(sheet.heading.cells)
    heading = read_heading(table, names)
    noted = {place for place, name in enumerate(names) if name in NOTES}
    rows: list[tuple[Row, Sale]] = []
    bad = BadRows(sheet.heading.cells)
    lines: dict[tuple[str, tuple[str, str]], int] = {}
    for row in sheet.rows:
        if noted and not any(cell for place, cell in enumerate(row.cells) if place not in noted):
            continue  # a further reason of the bad row above
        try:
            sale = read_sale(table, heading, row.cells, register)
            sale.check(today)
            for name in sorted(sale.names):
                line = lines.setdefault((sale.reference, name), row.line)
                if line != row.line:
                    raise SaleError(
                        f"trade {sale.reference!r} of this exchange stands on line {line} already"
                    )
            rows.append((row, sale))
        except ValueError as error:
            bad.add(row, error)
    return Prepared(sheet.heading.cells, rows, bad.reasons)


async def take_in(writer: Writer, prepared: Prepared) -> Outcome:
    """Enter all good rows that do not stand in the book; raises TooManyBadError."""
    clashes = await writer.clashes([sale for _, sale in prepared.rows])
    bad = BadRows(prepared.heading, prepared.bad)
    good: list[Sale] = []
    for place, (row, sale) in enumerate(prepared.rows):
        if place in clashes:
            bad.add(row, SaleError(same_trade(sale, clashes[place])))
        else:
            good.append(sale)
    return Outcome(await writer.enter(good), bad.count, sorted(bad.reasons, key=lambda one: one.row.line))
