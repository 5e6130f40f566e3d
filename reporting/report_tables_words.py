"""How a report's tables write numbers, days and words in one language.

Numbers are whole until the last step: satoshis become bitcoin with eight places by shifting the point, and
hashrates are cut down, never rounded up. Groups and decimal points are those of the language (babel). Words
of a closed set (states of a licence, kinds of events) have texts in the catalogue; a word that is not there,
from a newer program, is shown as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, localcontext
from typing import Any, Final, NamedTuple

from babel.dates import format_skeleton
from babel.numbers import format_decimal

from register import catalogue
from register.miner import Language
from reporting.report_tables_shape import Column, Kind, Section

Json = dict[str, Any]
NOTHING: Final = "–"
"""Stands where there is nothing to tell: an empty cell may be a mistake."""
_DIGITS: Final = 100
"""A day's work has more digits than decimal numbers usually keep."""
_BITCOIN: Final = "#,##0.00000000"
_HASHRATES: Final = (("th", 12), ("gh", 9), ("mh", 6), ("kh", 3))
_PLAIN_DAY: Final = "%d.%m.%Y"
_ISO_DAY: Final = "%Y-%m-%d"


class Cells(NamedTuple):
    """A column of a table to be: its heading in the catalogue, what it holds, and what it says of a row."""

    heading: str
    of: Callable[[Json], str]
    kind: Kind = Kind.TEXT


class Words:
    """One language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._day = _ISO_DAY if language == "en" else _PLAIN_DAY

    def text(self, id_: str, **values: str | int | dt.date) -> str:
        """A text of the reports."""
        return catalogue.text(self.language, f"report.{id_}", **values)

    def word(self, group: str, code: str) -> str:
        """One word of a closed set."""
        told = catalogue.messages(self.language).get(f"report.{group}.{code}")
        return told or code.replace("_", " ") or NOTHING

    def truth(self, value: bool) -> str:
        """Yes or no."""
        return self.text("yes" if value else "no")

    # Numbers

    def number(self, value: int | str | None) -> str:
        """A whole number, however long."""
        return NOTHING if value is None else self._decimal(Decimal(value), "#,##0")

    def bitcoin(self, satoshis: int) -> str:
        """Satoshis as bitcoin, to the last one."""
        return self._decimal(_shifted(satoshis, -8), _BITCOIN)

    def amount(self, decimal: str) -> str:
        """The same of a decimal with eight places."""
        return self.bitcoin(satoshis(decimal))

    def money(self, decimal: str) -> str:
        """An amount of any currency, with the places that it was told with."""
        return self._decimal(Decimal(decimal), "#,##0.########")

    def percent(self, basis_points: int | None) -> str:
        """Basis points as percent, with two places."""
        return NOTHING if basis_points is None else self._decimal(_shifted(basis_points, -2), "#,##0.00")

    def hashrate(self, value: str, unit: str) -> str:
        """Hashes per second in a unit of `unit_for`, cut down to three places."""
        power = dict(_HASHRATES).get(unit, 0)
        return self._decimal(_shifted(int(value) * 1000 // 10**power, -3), "#,##0.000")

    def _decimal(self, value: Decimal, pattern: str) -> str:
        with localcontext(prec=_DIGITS):
            return str(format_decimal(value, pattern, locale=self.language))

    # Days

    def day(self, iso: str | None) -> str:
        """A day in a table."""
        return f"{dt.date.fromisoformat(iso):{self._day}}" if iso else NOTHING

    def long_day(self, iso: str) -> str:
        """A day, written out."""
        return catalogue.day_text(self.language, dt.date.fromisoformat(iso))

    def month(self, first_day: str) -> str:
        """The month that begins with a day."""
        told = format_skeleton("yMMMM", dt.date.fromisoformat(first_day), locale=self.language)
        return " ".join(str(told).split())

    def moment(self, iso: str | None) -> str:
        """Day and time as the clock of the document shows them, to the second."""
        return f"{dt.datetime.fromisoformat(iso):{self._day} %H:%M:%S}" if iso else NOTHING

    def clock(self, iso: str | None, day: str) -> str:
        """The time alone, of an instant on `day`; else with its day."""
        if iso is None:
            return NOTHING
        return f"{dt.datetime.fromisoformat(iso):%H:%M:%S}" if iso.startswith(day) else self.moment(iso)

    # Tables

    def facts(
        self, id_: str, rows: Iterable[tuple[str, str]], *, note: str = "", kind: Kind = Kind.TEXT
    ) -> Section:
        """Names (by their ids in the catalogue) and values, all of a kind."""
        return Section(
            id=id_,
            title=self.text(f"section.{id_}"),
            note=note,
            columns=(Column(self.text("fact")), Column(self.text("value"), kind)),
            rows=tuple((self.text(f"fact.{name}"), value or NOTHING) for name, value in rows),
            facts=True,
        )

    def table(
        self,
        id_: str,
        cells: Sequence[Cells],
        rows: Iterable[Json],
        *,
        note: str = "",
        total: Sequence[str] = (),
    ) -> Section:
        """A table of rows; `total` are the last cells of its last line, whose first text is the word."""
        told = tuple(tuple(cell.of(row) or NOTHING for cell in cells) for row in rows)
        last = [""] * (len(cells) - len(total)) + list(total)
        last[next(place for place, cell in enumerate(cells) if cell.kind is Kind.TEXT)] = self.text("total")
        return Section(
            id=id_,
            title=self.text(f"section.{id_}"),
            note=note,
            columns=tuple(Column(self.text(f"column.{cell.heading}"), cell.kind) for cell in cells),
            rows=told,
            total=tuple(last) if total and told else (),
            empty=self.text("none"),
        )


def unit_for(hashrate: str) -> str:
    """The unit in which a pool's hashrate, and those of its miners, are read best; TH/s at most, as the law's
    tables have it."""
    return next((unit for unit, power in _HASHRATES if int(hashrate) >= 10**power), "h")


def satoshis(decimal: str) -> int:
    """Of bitcoin with eight places, as official forms have them."""
    whole, _, rest = decimal.partition(".")
    return int(whole + rest)


def _shifted(value: int, places: int) -> Decimal:
    with localcontext(prec=_DIGITS):
        return Decimal(value).scaleb(places)
