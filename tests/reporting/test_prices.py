"""Official values: what may be entered, which one counts for a day, tenge exactly (O-63, Q-06)."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting.prices import (
    CalendarDay,
    Found,
    Missing,
    PriceError,
    PriceTable,
    Quote,
    read_line,
    read_value,
    tenge,
    tiyn,
)
from tests.reporting.form_world import RULES, day

TODAY = day(28)


def bitcoin(on: int, value: str = "67890.12", reason: str = "", currency: str = "USD") -> Quote:
    return Quote(day(on), "Bitcoin", Decimal(value), currency, "kgd.gov.kz", reason)


def dollar(on: int, value: str = "512.34", reason: str = "") -> Quote:
    return Quote(day(on), "USD", Decimal(value), "KZT", "nationalbank.kz", reason)


def off(on: int, reason: str = "") -> CalendarDay:
    return CalendarDay(day(on), False, "calendar", reason)


def table(*records: Quote | CalendarDay) -> PriceTable:
    """What is entered one by one, each checked."""
    made = PriceTable()
    for record in records:
        assert made.check(record, RULES, TODAY)
        made.put(record)
    return made


def test_o63_a_day_has_its_own_value_and_a_day_off_that_of_the_working_day_before() -> None:
    made = table(bitcoin(20), off(21), off(22), bitcoin(23))
    assert made.find("Bitcoin", day(20)) == Found(bitcoin(20), ())
    assert made.find("Bitcoin", day(22)) == Found(bitcoin(20), (day(22), day(21)))
    assert made.find("Bitcoin", day(23)) == Found(bitcoin(23), ())


def test_o63_a_value_that_was_forgotten_is_never_taken_for_a_day_off() -> None:
    """Not on a Saturday either, while nobody said so, and not behind days off."""
    saturday = day(21)
    assert saturday.weekday() == 5
    made = table(bitcoin(19), bitcoin(20), off(22))
    assert made.find("Bitcoin", saturday) == Missing("Bitcoin", saturday)
    assert made.find("Bitcoin", day(22)) == Missing("Bitcoin", saturday)
    assert made.find("Bitcoin", day(1)) == Missing("Bitcoin", day(1))
    worked = table(CalendarDay(saturday, True, "transferred"), bitcoin(20))
    assert worked.find("Bitcoin", saturday) == Missing("Bitcoin", saturday)
    assert made.find("USD", day(20)) == Missing("USD", day(20))


def test_a_rate_may_be_stated_for_a_day_off_too() -> None:
    """The National Bank's holds for days off; where one is stated it counts."""
    made = table(dollar(20), off(21), off(22), dollar(22, "513"))
    assert made.find("USD", day(21)) == Found(dollar(20), (day(21),))
    assert made.find("USD", day(22)) == Found(dollar(22, "513"), ())


def test_a_correction_is_a_later_row_with_a_reason() -> None:
    made = table(bitcoin(20), off(21))
    for again in (bitcoin(20), bitcoin(20, "67890.120"), off(21)):
        assert not made.check(again, RULES, TODAY)
    with pytest.raises(
        PriceError, match=r"2026-11-20: Bitcoin has the value 67890\.12 USD already; a correction"
    ):
        made.check(bitcoin(20, "67890.13"), RULES, TODAY)
    with pytest.raises(PriceError, match="USD already"):
        made.check(bitcoin(20, currency="KZT"), RULES, TODAY)
    with pytest.raises(
        PriceError, match="2026-11-21: the calendar has a day off already; a correction needs"
    ):
        made.check(CalendarDay(day(21), True, "calendar"), RULES, TODAY)
    corrected = bitcoin(20, "1", "a slip")
    assert made.check(corrected, RULES, TODAY)
    made.put(corrected)
    assert made.find("Bitcoin", day(21)) == Found(corrected, (day(21),))
    assert made.check(CalendarDay(day(21), True, "calendar", "transferred"), RULES, TODAY)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (bitcoin(20, "0"), "0 is no value"),
        (bitcoin(29), "that day is to come; today is 2026-11-28"),
        (Quote(dt.date(2026, 12, 6), "USD", Decimal(1), "KZT", "s"), "that day is to come"),
        (
            bitcoin(20)._replace(asset="Dash"),
            r"is neither on the list of that day \(Bitcoin\) nor a currency",
        ),
        (bitcoin(20)._replace(asset="bitcoin"), "is neither on the list"),
        (bitcoin(20)._replace(asset="KZT"), "is neither on the list"),
        (bitcoin(20)._replace(currency="usd"), "currency 'usd' must be three letters"),
        (bitcoin(20)._replace(source=""), "source '' must be 1 to 200 printable"),
        (bitcoin(20)._replace(day=dt.date(2008, 1, 1)), "must be a day from 2009-01-03"),
        (dollar(20)._replace(currency="USD"), "a rate of the National Bank is in KZT, not in USD"),
        (bitcoin(21), "the calendar has a day off there"),
        (off(19), "there is a value of that day, so it was no day off"),
        (off(18)._replace(source=""), "source '' must be"),
    ],
)
def test_what_cannot_be_entered_is_told(record: Quote | CalendarDay, why: str) -> None:
    made = table(bitcoin(19), off(21))
    with pytest.raises(PriceError, match=why):
        made.check(record, RULES, TODAY)


def test_o33_the_list_is_that_of_the_day() -> None:
    dash = Quote(dt.date(2024, 5, 1), "Dash", Decimal(1), "USD", "s")
    assert PriceTable().check(dash, RULES, TODAY)
    assert PriceTable().check(Quote(dt.date(2026, 12, 5), "USD", Decimal(1), "KZT", "s"), RULES, TODAY)


# Lines of a file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("67890.12", "67890.12"),
        ("67890,12", "67890.12"),
        ("67 890,12", "67890.12"),
        ("67\N{NO-BREAK SPACE}890.1", "67890.1"),
        ("512", "512"),
        ("0.12345678", "0.12345678"),
        ("512.345", "512.345"),
    ],
)
def test_numbers_as_people_write_them(text: str, value: str) -> None:
    assert str(read_value(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1e5",
        "67,890.12",
        "67.890,12",
        "1.123456789",
        "123456789012345",
        "٣",
        "1.",
        "NaN",
        "=1",
    ],
)
def test_what_is_no_number_is_told(text: str) -> None:
    with pytest.raises(PriceError, match=r"write it like 67890\.12"):
        read_value(text)


def test_a_comma_that_may_part_thousands_is_not_guessed_at() -> None:
    with pytest.raises(PriceError, match="whether the comma parts thousands is not clear"):
        read_value("67,890")


def test_lines_of_a_file() -> None:
    cells = {"date": "20.11.2026", "asset": "Bitcoin", "value": "67890,12", "currency": "USD"}
    assert read_line(cells, "file", "") == bitcoin(20)._replace(source="file")
    own = {**cells, "source": "kgd.gov.kz", "reason": "a slip"}
    assert read_line(own, "file", "all wrong") == bitcoin(20, reason="a slip")
    weekend = {"date": "2026-11-21", "value": "Day off"}
    assert read_line(weekend, "calendar", "") == off(21)
    with pytest.raises(PriceError, match="a day off is one for every asset"):
        read_line({**weekend, "asset": "Bitcoin"}, "", "")
    with pytest.raises(ValueError, match="is no day"):
        read_line({**cells, "date": "11/20/2026"}, "", "")


# Tenge


@given(
    st.integers(0, 21_000_000 * 10**8),
    st.decimals("0.00000001", "99999999", places=8),
    st.decimals("0.0001", "9999", places=4),
)
def test_i2_tenge_are_the_exact_product_rounded_once_half_up(
    satoshis: int, price: Decimal, rate: Decimal
) -> None:
    """A second way: decimals of enough digits."""
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(satoshis).scaleb(-8) * price * rate
        rounded = exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert Decimal(tenge(tiyn(satoshis, price, rate))) == rounded


def test_halves_of_a_tiyn_go_up() -> None:
    assert tiyn(100_000_000, Decimal("0.005"), Decimal(1)) == 1
    assert tiyn(100_000_000, Decimal("0.00499999"), Decimal(1)) == 0
    assert [tenge(1), tenge(100), tenge(123_456)] == ["0.01", "1.00", "1234.56"]
