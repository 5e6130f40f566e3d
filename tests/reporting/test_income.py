"""The monthly form: its columns letter by letter, its rows and sums, the daily reports it is made of."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pool.workbook import read_rows
from register.form_columns import FIELDS, GROUP, parse_columns
from register.rules import RulesError
from reporting import income
from reporting.income import DailyReport, FormError, Payment
from reporting.income_files import CELLS, NOT_FINAL, csv, file_name, lines_of, table, xlsx
from tests.register_world import rules_with
from tests.reporting.form_world import (
    FORM_1,
    FORM_2,
    MONTH,
    RULES,
    WALLET,
    day,
    facts_of,
    form_of,
    paid,
    reports_of,
)

# Copied from regulation.md 2.2, which has them from a template in published code.
HEADINGS_1 = {
    "1": "№ п/п",
    "2": "Наименование цифрового майнера и цифрового майнингового пула",
    "3": "Бизнес идентификационный номер, индивидуальный идентификационный номер цифрового майнера и "
    "цифрового майнингового пула",
    "4": "Номер лицензии на осуществление деятельности по цифровому майнингу и дата ее выдачи",
    "5": "Реквизиты (адрес) цифрового электронного кошелька",
    "6": "Дата распределения цифрового актива",
    "7": "Наименование цифрового актива, распределенного цифровому майнеру",
    "8": "Количество цифрового актива, переданного цифровому майнеру, единиц",
    "9": "Комиссия цифрового майнингового пула, выраженная в цифровых активах",
    "9.1": "наименование цифрового актива",
    "9.2": "Количество, единиц",
}
HEADINGS_2 = {
    "1": "номер по порядку",
    "2": "индивидуальный идентификационный номер/бизнес-идентификационный номер цифрового майнера",
    "3": "наименование цифрового майнера",
    "4": "номер лицензии на осуществление деятельности по цифровому майнингу",
    "5": "дата выдачи лицензии на осуществление деятельности по цифровому майнингу",
    "6": "реквизиты криптокошелька",
    "7": "дата распределения необе…",
}


@pytest.mark.parametrize(("form", "headings"), [(FORM_1, HEADINGS_1), (FORM_2, HEADINGS_2)])
def test_o41_the_headings_are_those_of_the_form_letter_by_letter(form: str, headings: dict[str, str]) -> None:
    columns = form_of(form=form)["columns"]
    assert {one["number"]: one["heading"] for one in columns} == headings
    assert [one["number"] for one in columns] == list(headings)
    assert [one["number"] for one in columns if one["field"] == GROUP] == (["9"] if form == FORM_1 else [])


def test_o32_a_row_of_form_1_by_its_columns() -> None:
    """Column 9.2 is the commission, as its heading asks, and not quantity and commission together."""
    document = form_of(paid(1, quantity_sat=123_456_789, commission_sat=1_870_557))
    assert table(document) == [
        [
            "1",
            "ТОО «Өңір 1»; ТОО «Пул»",
            "940140000381; 940140000385",
            "KZ-1 от 15.01.2026",
            WALLET,
            "24.11.2026",
            "Bitcoin",
            "1.23456789",
            "Bitcoin",
            "0.01870557",
        ]
    ]


def test_q09_form_2_has_its_seven_columns_and_is_not_final() -> None:
    document = form_of(paid(1), form=FORM_2)
    assert table(document) == [
        ["1", "940140000381", "ТОО «Өңір 1»", "KZ-1", "15.01.2026", WALLET, "24.11.2026"]
    ]
    assert document["final"] is False
    assert form_of(paid(1))["final"] is True


def test_the_header_says_who_when_and_which() -> None:
    document = form_of(paid(1))
    assert {key: document[key] for key in ("schema", "form", "period", "first_day", "last_day")} == {
        "schema": "kz-dmp-income/1",
        "form": FORM_1,
        "period": "2026-11",
        "first_day": "2026-11-01",
        "last_day": "2026-11-30",
    }
    assert document["pool"] == {
        "name": "ТОО «Пул»",
        "bin": "940140000385",
        "accreditation_number": "A-12",
        "accreditation_date": "2026-01-10",
    }
    assert (document["submission_number"], document["replaces_sha256"]) == (1, None)
    assert document["generated_at"] == "2026-12-03T00:00:00.000000+05:00"
    assert [one["role"] for one in document["addressees"]] == ["authorised_body", "tax_authority"]  # O-40
    assert [one["day"] for one in document["daily_reports"]] == [str(one) for one in MONTH.days()]
    assert document["daily_reports"][23] == {
        "day": "2026-11-24",
        "version": 1,
        "sha256": f"{day(24).toordinal():064x}",
    }
    assert json.loads(rfc8785.dumps(document)) == document


def test_what_a_miner_got_on_a_day_in_a_wallet_is_one_row() -> None:
    """In the order of days and miners; another wallet, day or licence has a row of its own."""
    payments = [
        paid(1, 2, on=3),
        paid(2, 1, on=3, commission_sat=0),
        paid(3, 1, on=3),
        paid(4, 1, on=3, wallet_address="bc1other", purpose="exchange_deposit", exchange="X"),
        paid(5, 1, on=2),
        paid(6, 1, on=3, licence_number=""),
    ]
    rows = form_of(*payments)["rows"]
    assert [
        (one["row_no"], one["distributed_on"][-2:], one["miner_id"], one["wallet_address"], one["quantity"])
        for one in rows
    ] == [
        (1, "02", 1, WALLET, "0.01000000"),
        (2, "03", 1, WALLET, "0.01000000"),
        (3, "03", 1, "bc1other", "0.01000000"),
        (4, "03", 1, WALLET, "0.02000000"),
        (5, "03", 2, WALLET, "0.01000000"),
    ]
    assert rows[3]["commission_quantity"] == "0.00000150"
    assert rows[3]["payments"] == [f"{2:064x}:0", f"{3:064x}:0"]
    assert table(form_of(paid(6, licence_number="")))[0][3] == ""


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 30),
            st.integers(1, 10**13),
            st.integers(0, 10**12),
            st.booleans(),
        ),
        max_size=10,
    )
)
def test_i2_rows_sum_to_the_payments_and_to_the_totals(
    payments: list[tuple[int, int, int, int, bool]],
) -> None:
    """By decimals and not by the program's own integers."""
    told = [
        paid(
            number,
            miner_id,
            on,
            quantity_sat=quantity,
            commission_sat=commission,
            received_on=day(on) + dt.timedelta(days=late),
        )
        for number, (miner_id, on, quantity, commission, late) in enumerate(payments)
    ]
    document = form_of(*told)
    for key, whole in (
        ("quantity", sum(one.quantity_sat for one in told)),
        ("commission_quantity", sum(one.commission_sat for one in told)),
    ):
        satoshis = Decimal(whole).scaleb(-8)
        assert sum(Decimal(row[key]) for row in document["rows"]) == satoshis
        assert Decimal(document["totals"][key]) == satoshis
        assert sum(Decimal(part[key]) for row in document["rows"] for part in row["received"]) == satoshis
    assert len({(one.miner_id, one.distributed_on) for one in told}) == document["totals"]["rows"]
    assert all(len(row["quantity"].partition(".")[2]) == 8 for row in document["rows"])


# The days


def test_o41_a_form_needs_every_day_of_its_month() -> None:
    days = [one for one in MONTH.days() if one.day not in (7, 30)]
    with pytest.raises(
        FormError, match="there is none of 2026-11-07, 2026-11-30; `dmpool reports build --date"
    ):
        income.build(facts_of([], daily=reports_of([], days)))
    unfinished = [one._replace(complete=one.day != day(9)) for one in reports_of([])]
    with pytest.raises(FormError, match="the report of 2026-11-09 was made before the day was over"):
        income.build(facts_of([], daily=unfinished))


def test_i3_the_month_is_the_sum_of_its_days() -> None:
    """A payment that a report does not tell, tells otherwise, or tells alone. Schema 1 tells none."""
    payments = [paid(1), paid(2, 2)]

    def told(of: dict[tuple[str, int], Payment] | None) -> list[DailyReport]:
        return [one._replace(payments=of) if one.day == day(24) else one for one in reports_of(payments)]

    both = reports_of(payments)[23].payments
    assert both is not None
    first, second = sorted(both)
    assert income.build(facts_of(payments, daily=told(None)))["totals"]["payments"] == 2
    for wrong in (
        {first: both[first]},
        {**both, second: both[second]._replace(quantity_sat=1_000_001)},
        {**both, second: both[second]._replace(commission_sat=149)},
        {**both, second: both[second]._replace(miner_id=1)},
        {**both, ("f" * 64, 3): both[first]},
    ):
        with pytest.raises(FormError, match="2026-11-24, version 1, tells of output"):
            income.build(facts_of(payments, daily=told(wrong)))
    with pytest.raises(FormError, match=r"output 0{63}2:0 nothing, and the books now tell 0\.01000000 and"):
        income.build(facts_of(payments, daily=told({first: both[first]})))


def test_what_is_read_of_a_daily_report() -> None:
    row = {"txid": "ab", "vout": 1, "miner_id": 2, "quantity_sat": 3, "commission_sat": 4, "more": "5"}
    report = {"report_date": "2026-11-24", "version": 2, "day_complete": True, "distributions": [row]}
    read = income.daily_report({"report": report, "report_sha256": "cd"})
    assert read == DailyReport(day(24), 2, "cd", True, {("ab", 1): Payment(2, 3, 4)})
    del report["distributions"]
    assert income.daily_report({"report": report, "report_sha256": "cd"}).payments is None


def test_a_month_and_the_forms_in_force_in_it() -> None:
    def forms(text: str) -> list[str]:
        return [row.text("form") for row in income.forms_of(RULES, income.month(text))]

    assert forms("2026-01") == [FORM_1]
    assert forms("2026-02") == [FORM_1, FORM_2]
    assert forms("2023-03") == []
    for wrong in ("2026", "2026-13", "2026-11-24", "november", ""):
        with pytest.raises(FormError, match="is no month"):
            income.month(wrong)


# The columns of the rule


def test_every_field_of_a_column_has_its_cells() -> None:
    assert set(CELLS) == set(FIELDS)
    row = form_of(paid(1))["rows"][0]
    pool = form_of()["pool"]
    assert all(CELLS[field](row, pool) for field in FIELDS)


COLUMN_7 = '"7 distributed_on дата распределения необе…",'


def test_q09_a_form_whose_columns_were_entered_is_final_and_shows_them() -> None:
    """What an operator does when the order itself is at hand: no code is changed."""
    complete = "complete = false              # only its first seven columns are known, and the last of"
    rules = rules_with(
        (complete, "complete = true # of"),
        (COLUMN_7, '"7 distributed_on дата", "8 quantity сколько", "9 group все", "9.1 asset что",'),
    )
    document = form_of(paid(1), form=FORM_2, rules=rules)
    assert document["final"] is True
    assert table(document)[0][-3:] == ["24.11.2026", "0.01000000", "Bitcoin"]
    assert "дата,сколько,все: что\r\n" in csv(document).decode()
    with pytest.raises(RulesError, match="complete = true, but columns has no quantity; add it, or write"):
        rules_with((complete, "complete = true # of"))


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["1 row_no"], 'write it as "9.2 quantity Heading"'),
        (["x row_no a"], 'write it as "9.2 quantity Heading"'),
        (["1 price a"], "'price' is unknown; known are row_no"),
        (["1 row_no a", "1 asset b"], "column 1 stands there twice"),
        (["9.1 asset a"], "column 9.1 wants a heading above it"),
        (["9 group a", "8 asset b"], "group 9 has no columns"),
        (["9 group a"], "group 9 has no columns"),
        (["9 group a", "9.1 group b"], "a group has no group above it"),
        (["8 asset a", "8.1 asset b"], "column 8.1 wants a heading above it"),
    ],
)
def test_columns_that_cannot_be_are_told(texts: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_columns(texts)
    listed = ", ".join(f'"{text}"' for text in texts)
    with pytest.raises(RulesError, match="rule report_form_2026, row 1: columns: "):
        rules_with((COLUMN_7, f"{COLUMN_7}\n    {listed},"))


# Files


def test_the_same_document_gives_the_same_bytes() -> None:
    document = form_of(paid(1), paid(2, 2))
    assert xlsx(document, "ab" * 32) == xlsx(json.loads(json.dumps(document)), "ab" * 32)
    assert csv(document) == csv(document)


def test_our_own_reader_reads_the_workbook_again(tmp_path: Path) -> None:
    """O-41: the headings where the form has them, twelve digits and eight decimals whole."""
    path = tmp_path / "form.xlsx"
    document = form_of(paid(1, quantity_sat=100_000_000, bin="010140000385"), paid(2, 2))
    path.write_bytes(xlsx(document, "ab" * 32))
    rows = dict(read_rows(path))
    head = {cells[0]: cells[2] for number, cells in rows.items() if number <= 7}
    assert head == {
        "Цифровой майнинговый пул:": "ТОО «Пул»",
        "БИН:": "940140000385",
        "Аккредитация:": "A-12 от 10.01.2026",
        "Период:": "2026-11",
        "Версия формы:": FORM_1,
        "Номер представления:": "1",
        "SHA-256:": "ab" * 32,
    }
    plain = [HEADINGS_1[str(number)] for number in range(1, 10)]
    assert rows[9] == plain
    assert rows[10] == [*[""] * 8, HEADINGS_1["9.1"], HEADINGS_1["9.2"]]
    assert rows[11] == [number for number in HEADINGS_1 if number != "9"]
    assert [rows[12], rows[13]] == table(document)
    assert rows[12][2] == "010140000385; 940140000385"
    assert rows[12][7] == "1.00000000"
    assert max(rows) == 13
    path.write_bytes(xlsx(form_of(paid(1), form=FORM_2), "ab" * 32))
    rows = dict(read_rows(path))
    assert rows[1][0] == NOT_FINAL
    assert rows[10] == list(HEADINGS_2.values())


def test_the_csv_of_form_1_has_its_headings_flat() -> None:
    lines = csv(form_of(paid(1))).decode("utf-8-sig").split("\r\n")
    flat = [one for number, one in HEADINGS_1.items() if "." not in number and number != "9"]
    flat += [f"{HEADINGS_1['9']}: {HEADINGS_1[number]}" for number in ("9.1", "9.2")]
    assert lines[0] == ",".join(f'"{one}"' if "," in one else one for one in flat)
    assert (len(lines), lines[2]) == (3, "")


def test_q09_what_is_not_final_says_so_in_the_file_and_its_name() -> None:
    document = form_of(paid(1), form=FORM_2)
    assert file_name(document, "xlsx") == "income-mof-2026-02-20-2026-11-v1-NOT-FINAL.xlsx"
    assert csv(document).decode("utf-8-sig").splitlines()[0].strip('"') == NOT_FINAL
    assert file_name(form_of(), "csv") == "income-order-166-2023-2026-11-v1.csv"
    assert NOT_FINAL not in csv(form_of(paid(1))).decode()
    assert file_name({**document, "form": "a/../b"}, "csv").startswith("income-a_.._b-2026-11")


def test_lines_that_a_text_takes() -> None:
    assert [lines_of(text, 13) for text in ("", "abc", "abcde fghi", "abcde fghij", "a" * 11, "a" * 25)] == [
        1,
        1,
        1,
        2,
        2,
        3,
    ]
