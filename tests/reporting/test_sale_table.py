"""Sales as rows of a table, in three languages; and what can be a sale at all."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.miner import Miner
from register.register import Register
from register.tables import BadRow, HeadingError, read_heading, write_row
from reporting.sale_confirmation import Sale, SaleError, folded
from reporting.sale_table import HEADINGS, english, read_bitcoin, read_sale, table_of, write_bitcoin
from tests.register_world import RULES, RULES_FILE

TODAY = dt.date(2026, 11, 24)
TABLE = table_of(RULES)
ROW = [
    "altai",
    "miner",
    "Steppe Exchange",
    "AFSA",
    "AFSA-A-1",
    "T-1",
    "2026-11-20",
    "0.5",
    "KZT",
    "1250000.50",
]
SALE = Sale(
    *(1, "miner", "Steppe Exchange", "AFSA", "AFSA-A-1", "T-1"),
    *(dt.date(2026, 11, 20), 50_000_000, "KZT", "1250000.5"),
)


def world() -> Register:
    register = Register()
    register.put("miner", "1", Miner(1, "altai", "Altai LLP", "230440000105"))
    register.put("miner", "2", Miner(2, "алтай", "Алтай ЖШС", "061211600012"))
    return register


REGISTER = world()


def read(heading: list[str], cells: list[str]) -> Sale:
    return read_sale(TABLE, read_heading(TABLE, english(heading)), cells, REGISTER)


def bad(place: int, cell: str) -> str:
    """What is said of a row with one bad cell."""
    cells = [*ROW[:place], cell, *ROW[place + 1 :]]
    with pytest.raises(BadRow) as caught:
        read(TABLE.names, cells)
    ((column, reason),) = caught.value.cells
    assert column == TABLE.names[place]
    return reason


ENGLISH, RUSSIAN, KAZAKH = (
    list(HEADINGS),
    [one[0] for one in HEADINGS.values()],
    [one[1] for one in HEADINGS.values()],
)


@pytest.mark.parametrize("heading", [ENGLISH, RUSSIAN, KAZAKH], ids=["en", "ru", "kk"])
@pytest.mark.parametrize("change", [str, str.upper, str.title], ids=["as it is", "upper", "title"])
def test_a_file_in_any_of_the_three_languages_is_read(heading: list[str], change: Any) -> None:
    assert read([change(one) for one in heading], ROW) == SALE


def test_headings_may_be_mixed_and_stand_in_any_order() -> None:
    mixed = [three[place % 3] for place, three in enumerate(zip(ENGLISH, RUSSIAN, KAZAKH, strict=True))]
    assert read(mixed[::-1], ROW[::-1]) == SALE
    assert read(["line", *ENGLISH, "reason", " Quantity BTC "][:11], ["7", *ROW]) == SALE
    assert english(["Trade date"[6:], "ҚҰНЫ"[:0], "  told   BY "]) == ["date", "", "told_by"]


def test_licensor_and_licence_may_be_left_out() -> None:
    keep = [place for place, name in enumerate(ENGLISH) if name not in ("licensor", "licence")]
    elsewhere = read([ENGLISH[place] for place in keep], [ROW[place] for place in keep])
    assert elsewhere == msgspec.structs.replace(SALE, licensor="", licence="")


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        (["account", "quantity"], "column 'quantity' is unknown; did you mean quantity btc"),
        (["account", "номер сделкi"], "did you mean номер сделки"),
        (["account", "price"], "Columns of a sale are account, told_by"),
        (["account", "аккаунт"], "column account stands there twice"),
        (["date"], "column account is missing"),
    ],
)
def test_a_wrong_heading_is_told(heading: list[str], words: str) -> None:
    with pytest.raises(HeadingError, match=words):
        read_heading(TABLE, english(heading))


@pytest.mark.parametrize(
    ("place", "cell", "words"),
    [
        (0, "", "is empty; it is required"),
        (0, "nobody", "no such account"),
        (1, "broker", "must be miner or exchange"),
        (2, "", "is empty"),
        (5, "", "is empty"),
        (5, "T\x07", "cannot be shown"),
        (6, "soon", "no day; write it like 2026-01-31"),
        (6, "2026-02-30", "no day"),
        (6, "2026-11-20T10:00:00", "does not say by which clock"),
        (6, "2026-11-20 at noon", "no day and no time"),
        (6, "0001-01-01T00:00+23:59", "is beyond the calendar"),
        (6, "0001-01-01T00:00Z", "rule timezone says nothing"),
        (7, "0,5", "write BTC with a point"),
        (7, "0.123456789", "up to eight decimals"),
        (7, "-1", "no quantity"),
        (7, "1e5", "no quantity"),
        (7, "NaN", "no quantity"),
        (7, "٣", "no quantity"),
        (9, "1 250 000", "without separators of thousands"),
        (9, "12,5", "no amount"),
        (9, "1.123456789", "up to eight decimals"),
        (9, "-5", "no amount"),
    ],
)
def test_every_bad_cell_is_told_with_its_column(place: int, cell: str, words: str) -> None:
    assert words in bad(place, cell)


def test_all_bad_cells_of_a_row_are_told_and_missing_columns_too() -> None:
    with pytest.raises(BadRow) as caught:
        read(ENGLISH, [*ROW[:6], "soon", "much", "KZT", "x"])
    assert [cell.column for cell in caught.value.cells] == ["date", "quantity_btc", "amount"]
    with pytest.raises(BadRow, match="told_by: is missing; a new sale needs this column"):
        read(["account", "exchange"], ["altai", "X"])
    with pytest.raises(BadRow, match="more cells than the first line"):
        read(ENGLISH, [*ROW, "more"])


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-12-31", "2026-12-31"),
        ("31.12.2026", "2026-12-31"),
        ("2026-12-31T18:59:59Z", "2026-12-31"),
        ("2026-12-31T19:00:00Z", "2027-01-01"),  # UTC+5
        ("2026-12-31 23:30:00+05:00", "2026-12-31"),
        ("2023-12-31T17:59:59+00:00", "2023-12-31"),
        ("2023-12-31T18:00:00+00:00", "2024-01-01"),  # UTC+6 until March 2024
    ],
)
def test_the_day_of_a_sale_is_kazakhstans(text: str, day: str) -> None:
    assert read(ENGLISH, [*ROW[:6], text, *ROW[7:]]).sold_on == dt.date.fromisoformat(day)


@pytest.mark.parametrize(
    ("text", "satoshis"),
    [("1e-05", 1000), ("1e-08", 1), ("21000000", 21 * 10**14), ("0.10", 10_000_000), ("2.5e-07", 25)],
)
def test_a_quantity_is_exact(text: str, satoshis: int) -> None:
    assert read_bitcoin(text) == satoshis


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", "0"), ("007", "7"), ("10.50", "10.5"), ("10.00", "10"), ("0.00000001", "0.00000001")],
)
def test_an_amount_has_one_spelling(text: str, amount: str) -> None:
    one = read(ENGLISH, [*ROW[:9], text])
    assert one.amount == amount
    one.check(TODAY)


words = st.text("Aя ңҰ=-+@\"';,|\\", min_size=1, max_size=8).map(str.strip).filter(bool)
sales = st.builds(
    Sale,
    st.sampled_from([1, 2]),
    st.sampled_from(["miner", "exchange"]),
    words,
    st.sampled_from(["AFSA", "NBK"]),
    words,
    words,
    st.dates(dt.date(2009, 1, 3), TODAY),
    st.integers(1, 21 * 10**14),
    st.sampled_from(["KZT", "USD", "1INCH"]),
    st.integers(0, 10**18 - 1).map(str) | st.integers(1, 9).map(lambda digit: f"12.000{digit}"),
)


@given(sales)
def test_a_sale_that_is_written_is_read_as_it_was(one: Sale) -> None:
    one.check(TODAY)
    assert read(TABLE.names, write_row(TABLE, one, REGISTER, 0)) == one
    assert read_bitcoin(write_bitcoin(one.quantity_sat)) == one.quantity_sat


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference": " x"}, "reference ' x' must be 1 to 100 printable"),
        ({"reference": "x" * 101}, "reference"),
        ({"exchange": ""}, "exchange '' must be"),
        ({"told_by": "broker"}, "told_by 'broker' must be one of miner, exchange"),
        ({"licensor": "SEC"}, "licensor 'SEC' must be one of AFSA, NBK, or empty"),
        ({"licence": ""}, "give both licensor and licence"),
        ({"licensor": ""}, "give both licensor and licence"),
        (
            {"sold_on": TODAY + dt.timedelta(days=1)},
            "day 2026-11-25 must be from 2009-01-03 to today, 2026-11-24",
        ),
        ({"sold_on": dt.date(2009, 1, 2)}, "must be from 2009-01-03"),
        ({"quantity_sat": 0}, "quantity of 0 satoshis"),
        ({"quantity_sat": 21 * 10**14 + 1}, "quantity of"),
        ({"currency": "kzt"}, "currency 'kzt' must be 2 to 12 of A-Z and 0-9"),
        ({"amount": "1.50"}, "amount '1.50' must be a number"),
        ({"amount": "-1"}, "amount '-1' must be a number"),
    ],
)
def test_what_cannot_be_a_sale_is_refused(change: dict[str, Any], words: str) -> None:
    SALE.check(TODAY)
    with pytest.raises(SaleError, match=words):
        msgspec.structs.replace(SALE, **change).check(TODAY)


def test_a_sale_counts_by_the_licence_of_its_exchange() -> None:
    """O-50, Q-04."""
    other = msgspec.structs.replace
    assert SALE.eligible(["NBK", "AFSA"])
    assert not SALE.eligible(["NBK"])
    assert not other(SALE, licensor="", licence="").eligible(["AFSA"])
    assert not other(SALE, licence="").eligible(["AFSA"])


def test_an_exchange_is_known_by_its_name_or_its_licence() -> None:
    """So that one trade is not told twice under two spellings."""
    other = msgspec.structs.replace
    assert folded("  STEPPE\u00a0 Exchange ") == "steppe exchange"
    assert SALE.names & other(SALE, exchange="STEPPE exchange", licensor="", licence="").names
    assert SALE.names & other(SALE, exchange="Steppe Ltd", licence="afsa-a-1").names
    assert not SALE.names & other(SALE, exchange="Steppe Ltd", licensor="NBK").names
    assert not SALE.names & other(SALE, exchange="Other", licensor="", licence="").names


def test_every_heading_stands_in_the_page_in_each_language() -> None:
    page = (RULES_FILE.parents[1] / "docs" / "mandatory-sale.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| (yes|no) \|", page, re.M)
    needed = {column.name: "no" if column.empty == "" else "yes" for column in TABLE.columns}
    assert rows == [(name, *others, needed[name]) for name, others in HEADINGS.items()]
