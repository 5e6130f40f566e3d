"""The annex in tenge: values of the day of receipt, what is missing, totals, notes, files (O-60 to O-63)."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import rfc8785

from pool import spreadsheet
from reporting import annex_files
from reporting.annex import annex
from reporting.distribution import Distribution
from reporting.income_files import NOT_FINAL
from reporting.prices import CalendarDay, PriceTable, Quote
from tests.reporting.form_world import FORM_2, RULES, day, form_of, paid
from tests.reporting.test_prices import bitcoin, dollar, off

SHA = "ab" * 32
PRICES = (bitcoin(19, "70000"), bitcoin(20, "67890.12"), bitcoin(24, "0.5", currency="KZT"))
RATES = (dollar(19, "500"), dollar(20, "512.34"))


def annex_to(*payments: Distribution, records: tuple[Quote | CalendarDay, ...] = ()) -> dict[str, Any]:
    return annex(form_of(*payments), SHA, PriceTable([*PRICES, *RATES, *records]), RULES)


def test_o60_a_row_has_the_value_of_the_day_on_which_it_was_received() -> None:
    """O-61: the commission is worth as much. O-62: the day of receipt, where the form's date is another."""
    made = annex_to(paid(1, on=19, received_on=day(20), quantity_sat=12_345_678, commission_sat=15_000))
    (row,) = made["rows"]
    exact = Fraction("67890.12") * Fraction("512.34") * 100
    assert {key: row[key] for key in list(row)[4:]} == {
        "distributed_on": "2026-11-19",
        "received_on": "2026-11-20",
        "asset": "Bitcoin",
        "quantity": "0.12345678",
        "commission_quantity": "0.00015000",
        "official_price": "67890.12",
        "price_date_used": "2026-11-20",
        "price_currency": "USD",
        "fx_rate_to_kzt": "512.34",
        "fx_date": "2026-11-20",
        "amount_kzt": str(Decimal(round(exact * 12_345_678 / 10**8)).scaleb(-2)),
        "commission_kzt": str(Decimal(round(exact * 15_000 / 10**8)).scaleb(-2)),
    }
    assert (made["notes"], made["form_sha256"], made["currency"]) == ([], SHA, "KZT")
    assert [rule["effective_from"] for rule in made["rules"]] == ["2026-01-01"]


def test_q06_a_value_in_tenge_needs_no_rate() -> None:
    (row,) = annex_to(paid(1, on=24, quantity_sat=300_000_000))["rows"]
    assert (row["price_currency"], row["fx_rate_to_kzt"], row["fx_date"]) == ("KZT", None, None)
    assert (row["amount_kzt"], row["commission_kzt"]) == ("1.50", "0.00")


def test_o63_each_day_off_is_a_note() -> None:
    made = annex_to(paid(1, on=22), paid(2, 2, on=22), paid(3, on=21), records=(off(21), off(22)))
    assert [row["price_date_used"] for row in made["rows"]] == ["2026-11-20"] * 3
    assert made["notes"] == [
        {"what": "day_off", "asset": asset, "day": f"2026-11-{one}", "used": "2026-11-20"}
        for one, asset in itertools.product((21, 22), ("Bitcoin", "USD"))
    ]
    assert annex_files.note_text(made["notes"][0]) == (
        "21.11.2026 — нерабочий день: Bitcoin по последнему рабочему дню, 20.11.2026."
    )


def test_o63_what_is_missing_blanks_the_tenge_of_its_row_and_nothing_else() -> None:
    """A value, and a rate alone; the totals that would hold the row are blank too, the others are not."""
    made = annex_to(
        paid(1, 1, on=20), paid(2, 2, on=23), paid(3, 3, on=25), records=(bitcoin(25, "1"), off(26))
    )
    assert [row["amount_kzt"] is None for row in made["rows"]] == [False, True, True]
    assert [row["commission_kzt"] is None for row in made["rows"]] == [False, True, True]
    assert [row["official_price"] for row in made["rows"]] == ["67890.12", None, "1"]
    assert [row["quantity"] for row in made["rows"]] == ["0.01000000"] * 3
    assert made["notes"] == [
        {"what": "missing", "asset": "Bitcoin", "day": "2026-11-23", "missing_on": "2026-11-23"},
        {"what": "missing", "asset": "USD", "day": "2026-11-25", "missing_on": "2026-11-25"},
    ]
    assert [one["amount_kzt"] is None for one in made["miners"]] == [False, True, True]
    totals = made["totals"]
    assert (totals["amount_kzt"], totals["commission_kzt"], totals["rows_without_value"]) == (None, None, 2)
    assert (totals["quantity"], totals["rows"]) == ("0.03000000", 3)


def test_a_missing_value_behind_days_off_is_named_with_the_day_that_needs_it() -> None:
    made = annex_to(paid(1, on=29), records=(off(29), off(28)))
    assert made["notes"] == [
        {"what": "missing", "asset": "Bitcoin", "day": "2026-11-29", "missing_on": "2026-11-27"}
    ]
    assert "за 27.11.2026 (нужна для 29.11.2026)" in annex_files.note_text(made["notes"][0])


def test_totals_are_the_sums_of_the_rounded_rows() -> None:
    payments = [paid(n, 1 + n % 2, on=19 + n % 2, quantity_sat=1 + n, commission_sat=n) for n in range(20)]
    made = annex_to(*payments)
    for key in ("quantity", "commission_quantity", "amount_kzt", "commission_kzt"):
        whole = sum(Decimal(row[key]) for row in made["rows"])
        assert Decimal(made["totals"][key]) == whole == sum(Decimal(one[key]) for one in made["miners"])
    assert [one["miner_bin"] for one in made["miners"]] == ["940140000381", "940140000382"]


def test_a_row_of_the_form_that_was_received_on_two_days_is_two_of_the_annex() -> None:
    """Where the form is dated by credit (Q-07), both were credited on one day."""
    made = annex_to(paid(1, on=18, received_on=day(19)), paid(2, on=18, received_on=day(20)))
    assert [(row["row_no"], row["fx_rate_to_kzt"]) for row in made["rows"]] == [(1, "500"), (1, "512.34")]


def test_an_annex_to_nothing() -> None:
    made = annex_to()
    assert (made["rows"], made["notes"], made["totals"]["amount_kzt"]) == ([], [], "0.00")
    assert rfc8785.dumps(made)


def test_before_the_first_rule_there_is_no_act_to_name() -> None:
    early = dt.date(2023, 5, 1)
    made = annex(form_of(paid(1, received_on=early)), SHA, PriceTable(), RULES)
    assert made["rules"] == []


# Files


def test_the_csv_has_all_sections_and_the_workbook_its_numbers(tmp_path: Path) -> None:
    made = annex_to(paid(1, on=20), paid(2, 2, on=23), records=(off(21),))
    path = tmp_path / "annex.csv"
    path.write_bytes(annex_files.csv(made))
    sheet = spreadsheet.read(path)
    rows = [dict(zip(sheet.heading.cells, row.cells, strict=True)) for row in sheet.rows]
    assert [row["section"] for row in rows] == ["row", "row", "miner", "miner", "total", "note"]
    assert (rows[0]["amount_kzt"], rows[1]["amount_kzt"]) == (made["rows"][0]["amount_kzt"], "")
    assert rows[5]["note"].startswith("Нет стоимости или курса Bitcoin за 23.11.2026")
    book = tmp_path / "annex.xlsx"
    book.write_bytes(annex_files.xlsx(made, "2026-12-03T00:00:00.000000+05:00"))
    sheet = spreadsheet.read(book)
    first, second, total = [row.cells for row in sheet.rows]
    assert Decimal(first[13]) == Decimal(made["rows"][0]["amount_kzt"])
    assert (second[6], second[13], total[1], total[6]) == ("0.01", "", "Итого по пулу", "0.02")
    assert NOT_FINAL not in annex_files.csv(made).decode()
    other = annex(form_of(form=FORM_2), SHA, PriceTable(), RULES)
    assert NOT_FINAL in annex_files.csv(other).decode()
    again = annex_files.xlsx(made, "2026-12-03T00:00:00.000000+05:00")
    assert book.read_bytes() == again
