"""Sales as a table: headings in English, Russian or Kazakh, and what a cell of each column may hold.

The file comes from a miner or an exchange, in whatever of the three languages they keep it; headings may be
mixed, in any case of letters. Cells are read as those of the register's tables (`register.tables`), and every
bad one of a row is told with its column. A quantity is of bitcoin, with a point and up to eight decimals. A
day is one in Kazakhstan; a time is taken with its offset and becomes that day. Whether the sale may stand
beside the others is the book's to say.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from register.register import Register
from register.rules import Rules
from register.tables import NOTES, Column, HeadingError, Table, complete, read_day, read_row
from reporting.sale_confirmation import Sale, folded

SATOSHIS: Final = 100_000_000
HEADINGS: Final[Mapping[str, tuple[str, str]]] = {
    "account": ("аккаунт", "есептік жазба"),
    "told_by": ("кто сообщил", "кім хабарлады"),
    "exchange": ("биржа", "биржа"),
    "licensor": ("кем лицензирована", "лицензияны кім берді"),
    "licence": ("номер лицензии", "лицензия нөмірі"),
    "reference": ("номер сделки", "мәміле нөмірі"),
    "date": ("дата сделки", "мәміле күні"),
    "quantity_btc": ("количество, BTC", "саны, BTC"),
    "currency": ("валюта", "валюта"),
    "amount": ("сумма", "сомасы"),
}
"""The columns, in order, and what they are called in Russian and Kazakh."""
_TELLERS: Final = {"miner": "miner", "exchange": "exchange", "майнер": "miner", "биржа": "exchange"}
"""The same in Russian and Kazakh."""
_QUANTITY: Final = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,20})?(?:e-[0-9]{1,2})?")
"""A spreadsheet writes small numbers as 1e-05."""
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,8})?")


def table_of(rules: Rules) -> Table:
    """The columns; the calendar of Kazakhstan is that of the rules."""
    return Table(
        "sale",
        Sale,
        (
            Column("account", "miner_id", str),
            Column("told_by", "told_by", _read_teller),
            Column("exchange", "exchange", str),
            Column("licensor", "licensor", str.upper, empty=""),
            Column("licence", "licence", str, empty=""),
            Column("reference", "reference", str),
            Column("date", "sold_on", lambda text: read_sold_on(text, rules)),
            Column("quantity_btc", "quantity_sat", read_bitcoin, write_bitcoin),
            Column("currency", "currency", str.upper),
            Column("amount", "amount", read_amount),
        ),
    )


def english(cells: Sequence[str]) -> list[str]:
    """A heading in any of the languages as `register.tables.read_heading` knows it; raises HeadingError."""
    known = {_plain(one): name for name, others in HEADINGS.items() for one in (name, *others)}
    known |= {note: note for note in NOTES} | {"": ""}
    found = []
    for cell in cells:
        name = known.get(_plain(cell))
        if name is None:
            near = difflib.get_close_matches(_plain(cell), known, 1, 0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise HeadingError(
                f"column {cell[:40]!r} is unknown; {hint}Columns of a sale are {', '.join(HEADINGS)}, or the "
                f"same in Russian or Kazakh (docs/mandatory-sale.md)"
            )
        found.append(name)
    return found


def read_sale(
    table: Table, heading: Sequence[Column | None], cells: Sequence[str], register: Register
) -> Sale:
    """The sale in a row; raises BadRow with all that is wrong. `register` has the miners."""
    fields = {column.field: column.empty for column in table.columns if column.empty == ""}
    return complete(table, fields | read_row(heading, cells, register), None)


def read_sold_on(text: str, rules: Rules) -> dt.date:
    """The day in Kazakhstan of a day, or of a time with its offset; raises ValueError."""
    if len(text) <= len("2026-01-31"):
        return read_day(text)
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no day and no time; write it like 2026-01-31") from None
    if at.tzinfo is None:
        raise ValueError(
            f"{text[:40]!r} does not say by which clock; write the day in Kazakhstan, or the time with its "
            f"offset, like 2026-01-31T23:30+05:00"
        )
    try:
        return rules.day_of((at - _EPOCH) // dt.timedelta(microseconds=1))
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is beyond the calendar") from None


def read_bitcoin(text: str) -> int:
    """Satoshis of a text in BTC, by decimal arithmetic; raises ValueError."""
    satoshis = Decimal(text) * SATOSHIS if _QUANTITY.fullmatch(text) else Decimal("0.5")
    if satoshis != satoshis.to_integral_value():
        raise ValueError(
            f"{text[:40]!r} is no quantity; write BTC with a point and up to eight decimals, like 0.12345678"
        )
    return int(satoshis)


def write_bitcoin(satoshis: int) -> str:
    """BTC of satoshis, with all eight decimals."""
    whole, rest = divmod(satoshis, SATOSHIS)
    return f"{whole}.{rest:08d}"


def read_amount(text: str) -> str:
    """An amount of money without needless zeros; raises ValueError."""
    if not _AMOUNT.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} is no amount; write a number with a point and up to eight decimals, without "
            f"separators of thousands, like 1250000.50"
        )
    whole, point, rest = text.partition(".")
    rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (f"{point}{rest}" if rest else "")


def _read_teller(text: str) -> str:
    teller = _TELLERS.get(text.casefold())
    if teller is None:
        raise ValueError(f"{text[:40]!r} must be miner or exchange: whose word it is")
    return teller


def _plain(cell: str) -> str:
    return folded(re.sub(r"[_,]", " ", cell))


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
