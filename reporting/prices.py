"""Official values of assets, rates of the National Bank, and the value of a quantity in tenge (O-60 to
O-63).

A value is of a working day. A day off takes that of the working day before, but only where the calendar
says that it is a day off: a day without a value that nobody called a day off is a missing value, never a
day off. A rate may be stated for any day. Both are of the day of receipt, by the dated rule
`official_value`.

Tenge are computed in integers and rounded once, to whole tiyn, halves up. No file and no database is known
here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

from register.fields import day_of, text_of
from register.rules import Rules
from register.tables import read_day

TENGE: Final = "KZT"
ROUNDING: Final = "each amount is rounded once, to whole tiyn, halves up; totals are sums of rounded amounts"
COLUMNS: Final = ("date", "asset", "value", "currency", "source", "reason")
"""Headings of a file of values; the last two may be left out where the command gives them."""
DAY_OFF: Final = "day off"
"""What stands in place of a value in a row of the calendar."""
PLACES: Final = 8
RATES_AHEAD: Final = 7
"""Days: the National Bank sets a rate some days before the day that it is for."""
_DIGITS: Final = 14
_SATOSHIS: Final = 100_000_000
_TIYN: Final = 100
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_VALUE: Final = re.compile(r"([0-9]{1,14})(?:([.,])([0-9]{1,8}))?")
_GAPS: Final = str.maketrans("", "", " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")


class PriceError(ValueError):
    """The value cannot be as given. The message names day and asset, what is wrong and the remedy."""


class Quote(NamedTuple):
    """What one unit of an asset was worth on a day; of a currency, the rate of the National Bank in tenge."""

    day: dt.date
    asset: str
    """As the dated list `digital_assets` spells it, or the three letters of a currency."""
    value: Decimal
    currency: str
    source: str
    reason: str = ""
    """Why it stands in the place of another value; empty for the first of its day."""


class CalendarDay(NamedTuple):
    """Whether a day is a working day: what somebody stated, with a source."""

    day: dt.date
    working: bool
    source: str
    reason: str = ""


def read_line(cells: dict[str, str], source: str, reason: str) -> Quote | CalendarDay:
    """A row of a file, by its headings in COLUMNS; raises PriceError or ValueError.

    `source` and `reason` stand in for cells that are empty or not there.
    """
    day = day_of("line", "date", read_day(cells.get("date", "")), PriceError)
    asset, currency = cells.get("asset", ""), cells.get("currency", "")
    source, reason = cells.get("source", "") or source, cells.get("reason", "") or reason
    if cells.get("value", "").lower() != DAY_OFF:
        return Quote(day, asset, read_value(cells.get("value", "")), currency, source, reason)
    if asset or currency:
        raise PriceError(f"{day}: a day off is one for every asset; leave asset and currency empty")
    return CalendarDay(day, False, source, reason)


def read_value(text: str) -> Decimal:
    """A number with a point or a comma before up to 8 decimals; raises PriceError.

    A comma before just three digits may part thousands, and is not guessed at.
    """
    match = _VALUE.fullmatch(text.translate(_GAPS))
    if match is None:
        raise PriceError(
            f"value {text[:40]!r}: write it like 67890.12, with up to {_DIGITS} digits and {PLACES} decimals"
        )
    whole, mark, decimals = match.groups()
    if mark == "," and len(decimals) == 3:
        raise PriceError(
            f"value {text[:40]!r}: whether the comma parts thousands is not clear; write a point"
        )
    return Decimal(f"{whole}.{decimals or ''}")


def check_quote(quote: Quote, rules: Rules, today: dt.date, *, working: bool | None) -> None:
    """Raises PriceError unless a value can be of its day; `working` is what the calendar says of that day."""
    where = f"value of {quote.asset[:30] or 'nothing'} of {quote.day}"
    day_of(where, "date", quote.day, PriceError)
    text_of(where, "source", quote.source, PriceError)
    text_of(where, "reason", quote.reason, PriceError, 300, empty=True)
    if quote.value <= 0:
        raise PriceError(f"{where}: {quote.value} is no value; it is above 0")
    if not _CURRENCY.fullmatch(quote.currency):
        raise PriceError(
            f"{where}: currency {quote.currency[:20]!r} must be three letters, like USD or {TENGE}"
        )
    ahead = 0
    if is_currency(quote.asset):
        ahead = RATES_AHEAD
        if quote.currency != TENGE:
            raise PriceError(f"{where}: a rate of the National Bank is in {TENGE}, not in {quote.currency}")
    else:
        listed = rules.on("digital_assets", quote.day).texts("listed")
        if quote.asset not in listed:
            raise PriceError(
                f"{where}: is neither on the list of that day ({', '.join(listed)}) nor a currency like USD"
            )
        if working is False:
            raise PriceError(
                f"{where}: the calendar has a day off there, and a day off has no value of its own; "
                f"`dmpool prices calendar {quote.day} --working` says otherwise"
            )
    if quote.day > today + dt.timedelta(days=ahead):
        raise PriceError(f"{where}: that day is to come; today is {today}")


def check_calendar(one: CalendarDay, *, priced: bool) -> None:
    """Raises PriceError for a day off of which there is a value of an asset (`priced`)."""
    where = f"calendar of {one.day}"
    day_of(where, "date", one.day, PriceError)
    text_of(where, "source", one.source, PriceError)
    text_of(where, "reason", one.reason, PriceError, 300, empty=True)
    if priced and not one.working:
        raise PriceError(f"{where}: there is a value of that day, so it was no day off")


def is_currency(asset: str) -> bool:
    """Whether it is a currency, whose value is a rate of the National Bank."""
    return _CURRENCY.fullmatch(asset) is not None and asset != TENGE


# What holds on a day


class Found(NamedTuple):
    """The value for a day, and the days off that were passed on the way back to it."""

    quote: Quote
    passed: tuple[dt.date, ...]


class Missing(NamedTuple):
    """There is no value of an asset on a day, and the calendar does not say that it was a day off."""

    asset: str
    day: dt.date


class PriceTable:
    """All values and all of the calendar; of two for the same day the later given one counts."""

    def __init__(self, records: Iterable[Quote | CalendarDay] = ()) -> None:
        """`records` in the order in which they were given."""
        self._quotes: dict[tuple[str, dt.date], Quote] = {}
        self._working: dict[dt.date, bool] = {}
        self._priced: set[dt.date] = set()
        for record in records:
            self.put(record)

    def put(self, record: Quote | CalendarDay) -> None:
        """Take in one more, which counts from now on."""
        if isinstance(record, CalendarDay):
            self._working[record.day] = record.working
            return
        self._quotes[record.asset, record.day] = record
        if not is_currency(record.asset):
            self._priced.add(record.day)

    def check(self, record: Quote | CalendarDay, rules: Rules, today: dt.date) -> bool:
        """Whether a record says anything new: not when it says what stands, whatever its source.

        Raises PriceError where it cannot be, or corrects what stands without a reason.
        """
        if isinstance(record, CalendarDay):
            check_calendar(record, priced=self.priced(record.day))
            working = self.working(record.day)
            if working is None or working == record.working:
                return working is None
            stands = f"the calendar has a {'working day' if working else DAY_OFF}"
        else:
            check_quote(record, rules, today, working=self.working(record.day))
            held = self.at(record.asset, record.day)
            if held is None or (held.value, held.currency) == (record.value, record.currency):
                return held is None
            stands = f"{held.asset} has the value {held.value:f} {held.currency}"
        if not record.reason:
            raise PriceError(f"{record.day}: {stands} already; a correction needs a reason")
        return True

    def at(self, asset: str, day: dt.date) -> Quote | None:
        """What was stated for that very day."""
        return self._quotes.get((asset, day))

    def priced(self, day: dt.date) -> bool:
        """Whether an asset has a value of that very day."""
        return day in self._priced

    def working(self, day: dt.date) -> bool | None:
        """What the calendar says of a day; None where it says nothing."""
        return self._working.get(day)

    def find(self, asset: str, day: dt.date) -> Found | Missing:
        """The value that counts for a day: its own, or on a day off that of the working day before."""
        passed: list[dt.date] = []
        while (quote := self.at(asset, day)) is None:
            if self.working(day) is not False:
                return Missing(asset, day)
            passed.append(day)
            day -= dt.timedelta(days=1)
        return Found(quote, tuple(passed))


# Tenge


def tiyn(satoshis: int, price: Decimal, rate: Decimal) -> int:
    """The value of a quantity in whole tiyn: times price, times rate, rounded once, halves up."""
    (price_up, price_down), (rate_up, rate_down) = price.as_integer_ratio(), rate.as_integer_ratio()
    above = satoshis * price_up * rate_up * _TIYN
    below = _SATOSHIS * price_down * rate_down
    return (2 * above + below) // (2 * below)


def tenge(amount: int) -> str:
    """Tiyn as tenge with two decimals."""
    return f"{amount // _TIYN}.{amount % _TIYN:02d}"
