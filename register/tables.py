"""The register as tables: what the columns of a spreadsheet mean, and a record as a row of them.

One set of headings, in English, in any case of letters; a heading that is unknown is an error. Miners go by
their account, hashrates are in TH/s with up to three decimals, dates are 2026-01-31 or 31.01.2026. A column
that a file leaves out keeps what the register has; an empty cell says that there is nothing.

Each bad cell is one error with its column, and all of a row are told. Whether the record may stand so among
the others is the clerk's to say. Files and their formats are `pool.spreadsheet`'s.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeVar, cast, get_args

import msgspec

from register.centre import LEGAL_BASES, Centre
from register.device import Device
from register.identity import identify
from register.licence import Act, ActKind, Licence
from register.miner import LANGUAGES, Contact, Miner
from register.payout_address import address_at
from register.register import Register

NOTES: Final = ("line", "column", "reason")
"""Headings of a file of bad rows; they are passed over, so that such a file can be mended and read again."""
WALLET: Final = "wallet"
"""The one column that is no field of its record: the address that a miner is paid to."""
_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_HASHRATE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")
_ISO_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_DOTTED_DAY: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")
_PIECE: Final = re.compile(r"\\.|.", re.DOTALL)
_ACT_KINDS: Final[tuple[str, ...]] = get_args(ActKind)
_REQUIRED: Final = object()
_ACCOUNT: Final = "account"
_Record = TypeVar("_Record", bound=msgspec.Struct)


class HeadingError(ValueError):
    """The first line is no heading of this table. The message names the column and the nearest known one."""


class BadCell(NamedTuple):
    """One thing that is wrong with a row; `column` is empty when it is the row as a whole."""

    column: str
    reason: str


class BadRow(ValueError):
    """The row cannot be read: all that is wrong with it."""

    def __init__(self, cells: Sequence[BadCell]) -> None:
        super().__init__("; ".join(f"{cell.column}: {cell.reason}" for cell in cells))
        self.cells = tuple(cells)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how a cell is read into a field, and how the field is written."""

    name: str
    field: str
    read: Callable[[str], Any]
    """Raises ValueError with the reason."""
    write: Callable[[Any], str] = str
    empty: Any = _REQUIRED
    """What an empty cell means."""


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a kind of record; the first is the key."""

    kind: str
    type: type[msgspec.Struct]
    columns: tuple[Column, ...]

    @property
    def key(self) -> str:
        """The column that says which record a row is of."""
        return self.columns[0].name

    @property
    def names(self) -> list[str]:
        """The headings, in order."""
        return [column.name for column in self.columns]


# Reading


def read_heading(table: Table, cells: Sequence[str]) -> list[Column | None]:
    """What stands in each column; None for one to be passed over. Raises HeadingError."""
    known = {column.name: column for column in table.columns}
    found: list[Column | None] = []
    for cell in cells:
        name = cell.strip().lower()
        if name and name not in known and name not in NOTES:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise HeadingError(
                f"column {cell[:40]!r} is unknown; {hint}Columns of a {table.kind} are {', '.join(known)}"
            )
        column = known.get(name)
        if column is not None and column in found:
            raise HeadingError(f"column {name} stands there twice; remove one")
        found.append(column)
    if table.columns[0] not in found:
        raise HeadingError(
            f"column {table.key} is missing; the first line holds headings: {', '.join(known)}"
        )
    return found


def read_row(heading: Sequence[Column | None], cells: Sequence[str], register: Register) -> dict[str, Any]:
    """The fields in a row; raises BadRow with all that is wrong."""
    fields: dict[str, Any] = {}
    bad: list[BadCell] = []
    for number, cell in enumerate(cells[: len(heading)]):
        column = heading[number]
        if column is None:
            continue
        text = cell.strip()
        try:
            fields[column.field] = _read_cell(column, text, register)
        except ValueError as error:
            bad.append(BadCell(column.name, str(error)))
    for column in heading[len(cells) :]:
        if column is not None and column.empty is _REQUIRED:
            bad.append(BadCell(column.name, "is empty; it is required"))
        elif column is not None:
            fields[column.field] = column.empty
    if any(cell.strip() for cell in cells[len(heading) :]):
        bad.append(BadCell("", "has more cells than the first line has headings"))
    if bad:
        raise BadRow(bad)
    return fields


def _read_cell(column: Column, text: str, register: Register) -> Any:
    if not text:
        if column.empty is _REQUIRED:
            raise ValueError("is empty; it is required")
        return column.empty
    if not text.isprintable():
        raise ValueError(f"{text[:40]!r} holds a line break or another character that cannot be shown")
    if column.field == "miner_id":
        return register.miner(text).id
    return column.read(text)


def complete(table: Table, fields: Mapping[str, Any], before: _Record | None) -> _Record:
    """The record as it was, with the fields of its row; raises BadRow when a new one lacks some."""
    given = {name: value for name, value in fields.items() if name != WALLET}
    if before is not None:
        return msgspec.structs.replace(before, **given)
    missing = [
        BadCell(column.name, f"is missing; a new {table.kind} needs this column")
        for column in table.columns
        if column.empty is _REQUIRED and column.field not in given
    ]
    if missing:
        raise BadRow(missing)
    record: _Record = table.type(**{"id": 0} | given if table.type is Miner else given)  # type: ignore[assignment]
    return record


# Writing


def write_row(table: Table, record: msgspec.Struct, register: Register, at_us: int) -> list[str]:
    """A record as a row; the wallet of a miner is the one of that instant."""
    row = []
    for column in table.columns:
        if column.field == "miner_id":
            row.append(register.miners[getattr(record, column.field)].name)
        elif column.field == WALLET:
            row.append(_wallet(register, getattr(record, "id"), at_us))  # noqa: B009 - a miner's
        else:
            row.append(column.write(getattr(record, column.field)))
    return row


def _wallet(register: Register, miner_id: int, at_us: int) -> str:
    address = address_at(register.addresses_of(miner_id), "wallet", at_us)
    return address.address if address else ""


# Cells


def read_day(text: str) -> dt.date:
    """2026-01-31, or 31.01.2026 as spreadsheets here write it."""
    match = _ISO_DAY.fullmatch(text)
    numbers = match.groups() if match else None
    if numbers is None and (match := _DOTTED_DAY.fullmatch(text)):
        numbers = match.groups()[::-1]
    try:
        if numbers is not None:
            return dt.date(*map(int, numbers))
    except ValueError:
        pass
    raise ValueError(f"{text[:40]!r} is no day; write it like 2026-01-31")


def read_hashrate(text: str) -> int:
    """GH/s of a text in TH/s; by decimal arithmetic, so that it is exact."""
    if not _HASHRATE.fullmatch(text):
        raise ValueError(
            f"{text[:40]!r} is no hashrate; write TH/s with a point and up to three decimals, like 95.5"
        )
    return int(Decimal(text) * 1000)


def write_hashrate(ghs: int) -> str:
    """TH/s of GH/s, without needless zeros."""
    whole, rest = divmod(ghs, 1000)
    return f"{whole}.{rest:03}".rstrip("0") if rest else str(whole)


def read_contact(text: str) -> Contact:
    """`name;email;phone`; the last may be left out. A `;` of the name is written `\\;`."""
    parts = [_plain(part) for part in _split(text, ";")]
    if not 2 <= len(parts) <= 3:
        raise ValueError(f"contact {text[:60]!r} must be name;email;phone")
    return Contact(*parts)


def _read_contacts(text: str) -> tuple[Contact, ...]:
    return tuple(read_contact(part) for part in _split(text, "|"))


def _write_contacts(contacts: Sequence[Contact]) -> str:
    return "|".join(_join(one.name, one.email, one.phone) for one in contacts)


def _read_acts(text: str) -> tuple[Act, ...]:
    return tuple(_read_act(part) for part in _split(text, "|"))


def _read_act(text: str) -> Act:
    kind, number, on, code, until = ([_plain(part) for part in _split(text, ";")] + [""] * 5)[:5]
    if kind not in _ACT_KINDS or not number:
        raise ValueError(
            f"act {text[:60]!r} must be kind;number;day, a suspension kind;number;day;reason code;last day; "
            f"kind is one of {', '.join(_ACT_KINDS)}"
        )
    return Act(
        cast("ActKind", kind),
        number,
        read_day(on),
        _read_whole(code) if code else 0,
        read_day(until) if until else None,
    )


def _write_acts(acts: Sequence[Act]) -> str:
    return "|".join(
        _join(act.kind, act.number, str(act.on), str(act.reason_code), _write_day(act.until))
        if act.kind == "suspended"
        else _join(act.kind, act.number, str(act.on))
        for act in acts
    )


def _split(text: str, separator: str) -> list[str]:
    parts = [""]
    for piece in _PIECE.findall(text):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _plain(part: str) -> str:
    return re.sub(r"\\(.)", r"\1", part.strip())


def _join(*parts: str) -> str:
    return ";".join(re.sub(r"([\\;|])", r"\\\1", part) for part in parts)


def _read_whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def _read_identity(text: str) -> str:
    if text.isdecimal() and len(text) < 12:
        raise ValueError(
            f"{text} has {len(text)} digits, a BIN or IIN 12; if the spreadsheet dropped zeros in front, "
            f"format the column as text"
        )
    identify(text)
    return text


def _read_subtype(text: str) -> int:
    subtype = {"1": 1, "I": 1, "2": 2, "II": 2}.get(text.upper())
    if subtype is None:
        raise ValueError(f"{text[:40]!r} must be 1 (own data centre) or 2 (hosted hardware)")
    return subtype


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text[:40]!r} must be one of {', '.join(choices)}")
        return text.lower()

    return read


def _write_day(day: dt.date | None) -> str:
    return "" if day is None else day.isoformat()


def _text(name: str, field: str = "", empty: Any = _REQUIRED) -> Column:
    return Column(name, field or name, str, empty=empty)


def _day(name: str, empty: Any = _REQUIRED) -> Column:
    return Column(name, name, read_day, _write_day, empty)


def _identity(name: str) -> Column:
    return Column(name, name, _read_identity)


TABLES: Final = {
    "device": Table(
        "device",
        Device,
        (
            _text("registry_number"),
            _text(_ACCOUNT, "miner_id"),
            _text("worker"),
            _text("manufacturer"),
            _text("model"),
            _text("serial_number"),
            Column("nominal_ths", "nominal_ghs", read_hashrate, write_hashrate),
            Column("nominal_w", "nominal_w", _read_whole),
            _identity("owner_bin"),
            _text("centre"),
            _text("place", empty=""),
            _text("contract", empty=""),
            _day("included_on"),
            _day("excluded_on", empty=None),
        ),
    ),
    "licence": Table(
        "licence",
        Licence,
        (
            _text("number"),
            _text(_ACCOUNT, "miner_id"),
            Column("subtype", "subtype", _read_subtype),
            _day("issued_on"),
            _day("valid_from"),
            _day("valid_to"),
            _text("issuer", empty=""),
            Column("acts", "acts", _read_acts, _write_acts, ()),
        ),
    ),
    "centre": Table(
        "centre",
        Centre,
        (
            _text("code"),
            _text("title"),
            _text("address"),
            _identity("holder_bin"),
            _text("holder_title"),
            Column("legal_basis", "legal_basis", _one_of(LEGAL_BASES)),
            _text("document"),
            Column("declared_power_kw", "declared_power_kw", _read_whole, empty=0),
        ),
    ),
    "miner": Table(
        "miner",
        Miner,
        (
            _text(_ACCOUNT, "name"),
            _text("title"),
            _identity("bin"),
            Column("language", "language", _one_of(LANGUAGES), empty="en"),
            Column("contacts", "contacts", _read_contacts, _write_contacts, ()),
            _text(WALLET, empty=""),
            Column("payout_threshold_sat", "payout_threshold_sat", _read_whole, empty=0),
        ),
    ),
}
"""What can be imported and exported."""
