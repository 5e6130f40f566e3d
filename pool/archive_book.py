"""The book of a day: what the archive keeps beside the shares, so that whoever has it can recompute the rest.

Shares alone do not say who was in the register, when a node had a block in its chain, what was paid, or what
a person corrected. The book does: canonical JSON lines (RFC 8785) compressed with zstd, one file for each UTC
day at YYYY/MM/DD/book.jsonl.zst; the manifest beside it has its hash and that of the manifest before.

A book holds all rows that were written since the book before it, up to the moment when it was closed: rows
are told apart by their numbers and not by their times, so that each stands in exactly one book.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import rfc8785
import sqlalchemy as sa
import zstandard
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms
from pool.clock import microseconds
from pool.durable import settle, write_durably
from pool.tables import (
    Work,
    block_event,
    fpps_credit,
    fpps_rate,
    gateway,
    journal_entry,
    journal_posting,
    payment,
    payout,
    payout_event,
    payout_run,
    payout_version,
    register_event,
    report,
)
from pool.tables_sale import sale_confirmation
from register.rules import Rules

DATA: Final = "book.jsonl.zst"
MANIFEST: Final = "book.json"
SCHEMA: Final = "dmpool-archive-book-1"
LOCK_SECONDS: Final = 5
"""How long the writers of a table are waited for; new ones wait behind us."""
_CHUNK: Final = 1000
_LEVEL: Final = 12
_DAY_US: Final = 86_400_000_000

Line = dict[str, Any]
"""A row as JSON: its table under "table", and its columns."""
Marks = Mapping[str, int]
"""By table, the number of the last row that a book holds."""


class BookError(Exception):
    """A book cannot be written or read. The message names the file, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Book:
    """A closed book, as its manifest has it; `manifest_sha256` is the hash of the manifest's bytes."""

    directory: Path
    day: dt.date
    upto: Marks
    lines: Mapping[str, int]
    bytes: int
    sha256: str
    previous_sha256: str | None
    closed_us: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A table whose rows only come, in the order of `number`; marks are taken in this order of tables."""

    table: sa.Table
    number: sa.Column[int]


# The journal first: what an entry is booked for stands in the same book or in an earlier one.
_NUMBERED: Final = (
    _Numbered(journal_entry, journal_entry.c.id),
    _Numbered(fpps_credit, fpps_credit.c.id),
    _Numbered(fpps_rate, fpps_rate.c.id),
    _Numbered(register_event, register_event.c.seq),
    _Numbered(block_event, block_event.c.id),
    _Numbered(payout_event, payout_event.c.id),
    _Numbered(payout, payout.c.id),
    _Numbered(payout_run, payout_run.c.id),
    _Numbered(report, report.c.sequence),
    _Numbered(sale_confirmation, sale_confirmation.c.seq),
)
NOTHING: Final[Marks] = {one.table.name: 0 for one in _NUMBERED}
"""The marks before the first book."""


# Writing


async def close_book(
    engine: AsyncEngine, archive: Path, day: dt.date, terms: DatedTerms, rules: Rules, now_us: int
) -> Book | None:
    """Write the book of a UTC day that is over; None when it, or one of a later day, is there already.

    Safe to repeat after a crash at any moment: the manifest is written last. Raises BookError, also when the
    book before cannot be trusted; database errors come through.
    """
    if now_us < start_of(day + dt.timedelta(days=1)):
        raise BookError(f"book of {day}: that day is not over (UTC)")
    known = await asyncio.to_thread(books, archive)
    if known and known[-1].day >= day:
        return None
    before = known[-1] if known else None
    after = before.upto if before else NOTHING
    upto = await _marks(engine)
    directory = day_directory(archive, day)
    directory.mkdir(parents=True, exist_ok=True)
    counted, sha256, size = await _write(engine, directory, (after, upto), terms_lines(terms, rules, day))
    manifest: Line = {
        "schema": SCHEMA,
        "day": day.isoformat(),
        "upto": dict(upto),
        "lines": dict(counted),
        "bytes": size,
        "sha256": sha256,
        "previous_sha256": before.manifest_sha256 if before else None,
        "closed_us": now_us,
    }
    write_durably(directory / MANIFEST, rfc8785.dumps(manifest))
    return read_manifest(directory)


async def _marks(engine: AsyncEngine) -> dict[str, int]:
    """The newest row of each table, with all older ones committed.

    One table at a time, so that nobody who writes several is ever waited for in a circle.
    """
    marks: dict[str, int] = {}
    for one in _NUMBERED:
        async with engine.begin() as connection:
            await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
            await connection.execute(sa.text(f"LOCK TABLE {one.table.name} IN SHARE MODE"))
            marks[one.table.name] = int(await connection.scalar(sa.select(sa.func.max(one.number))) or 0)
    return marks


async def _write(
    engine: AsyncEngine, directory: Path, marks: tuple[Marks, Marks], first: Sequence[Line]
) -> tuple[Counter[str], str, int]:
    """The lines of a book into its file: how many by table, the file's hash and size."""
    counted: Counter[str] = Counter()
    place = directory / DATA
    temporary = place.with_name(place.name + ".new")
    with (
        temporary.open("wb") as file,
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, closefd=False) as out,
    ):
        for line in first:
            counted[line["table"]] += 1
            out.write(rfc8785.dumps(line) + b"\n")
        async with engine.connect() as connection:
            async for line in lines_between(connection, *marks):
                counted[line["table"]] += 1
                out.write(rfc8785.dumps(line) + b"\n")
    data = temporary.read_bytes()
    settle(temporary, place)
    return counted, hashlib.sha256(data).hexdigest(), len(data)


def terms_lines(terms: DatedTerms, rules: Rules, day: dt.date) -> list[Line]:
    """On what terms blocks are divided on the days in Kazakhstan that a UTC day touches."""
    days = sorted({rules.day_of(start_of(day)), rules.day_of(start_of(day) + _DAY_US - 1)})
    lines = []
    for one in days:
        held = terms.on(one)
        lines.append(
            {
                "table": "terms",
                "day": one.isoformat(),
                "scheme": held.scheme,
                "window_multiple": held.window_multiple,
                "commission_bps": held.commission_bps,
                "transaction_fees": held.transaction_fees,
            }
        )
    return lines


async def lines_between(connection: AsyncConnection, after: Marks, upto: Marks) -> AsyncIterator[Line]:
    """All rows behind some marks and up to others, a table after the other, each in the order of its numbers.

    Gateways are few and told whole each time; a payout's versions whenever something became of it.
    """
    for row in await connection.execute(
        sa.select(gateway.c.number, gateway.c.identity, gateway.c.name).order_by(gateway.c.number)
    ):
        yield {"table": "gateway", **{name: _plain(value) for name, value in row._mapping.items()}}
    for one in _NUMBERED:
        first, last = after[one.table.name], upto[one.table.name]
        while rows := (
            await connection.execute(
                sa.select(one.table)
                .where(one.number > first, one.number <= last)
                .order_by(one.number)
                .limit(_CHUNK)
            )
        ).all():
            first = rows[-1]._mapping[one.number]
            lines = [_line(one.table, row) for row in rows]
            if one.table is journal_entry:
                await _add_postings(connection, lines)
            for line in lines:
                yield line
    events = (after["payout_event"], upto["payout_event"])
    touched = sa.select(payout_event.c.payout_id).where(
        payout_event.c.id > events[0], payout_event.c.id <= events[1]
    )
    new = sa.and_(payment.c.payout_id > after["payout"], payment.c.payout_id <= upto["payout"])
    for table, wanted in ((payment, new), (payout_version, payout_version.c.payout_id.in_(touched))):
        chosen = sa.select(table).where(wanted).order_by(table.c.payout_id, table.c.number)
        for row in await connection.execute(chosen):
            yield _line(table, row)


async def marks_now(connection: AsyncConnection) -> dict[str, int]:
    """The newest row of each table as this snapshot sees it."""
    return {
        one.table.name: int(await connection.scalar(sa.select(sa.func.max(one.number))) or 0)
        for one in _NUMBERED
    }


async def _add_postings(connection: AsyncConnection, entries: Sequence[Line]) -> None:
    postings: dict[int, list[list[Any]]] = {line["id"]: [] for line in entries}
    for row in await connection.execute(
        sa.select(journal_posting.c.entry_id, journal_posting.c.account, journal_posting.c.amount)
        .where(journal_posting.c.entry_id.in_(list(postings)))
        .order_by(journal_posting.c.id)
    ):
        postings[row.entry_id].append([row.account, row.amount])
    for line in entries:
        line["postings"] = postings[line["id"]]


def _line(table: sa.Table, row: Any) -> Line:
    values = {name: _plain(value) for name, value in row._mapping.items()}
    for column in table.columns:
        if isinstance(column.type, Work) and values[column.name] is not None:
            values[column.name] = str(values[column.name])  # it outgrows what JSON has of numbers
    return {"table": table.name, **values}


def _plain(value: Any) -> Any:
    """A column's value as JSON has it: bytes in base64, times as text."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat()
        case dt.date():
            return value.isoformat()
        case None | bool() | int() | str() | list():
            return value
        case _:
            return str(value)


def row_of(table: sa.Table, line: Line) -> dict[str, Any]:
    """A line as a row of its table: what `_plain` did, undone; columns that it does not have are left."""
    return {
        column.name: _column(column, line[column.name]) for column in table.columns if column.name in line
    }


def _column(column: sa.Column[Any], value: Any) -> Any:
    if value is None:
        return None
    match column.type:
        case sa.LargeBinary():
            return base64.b64decode(value)
        case sa.DateTime():
            return dt.datetime.fromisoformat(value)
        case sa.Date():
            return dt.date.fromisoformat(value)
        case sa.Uuid():
            return UUID(value)
        case Work():
            return int(value)
        case _:
            return value


# Reading


def books(archive: Path) -> list[Book]:
    """All closed books in the order of their days; raises BookError where they do not hang together."""
    places = sorted(archive.glob(f"[0-9]*/[0-9]*/[0-9]*/{MANIFEST}"))
    found = [read_manifest(place.parent) for place in places]
    before: Book | None = None
    for book in found:
        expected = before.manifest_sha256 if before else None
        if book.previous_sha256 != expected:
            raise BookError(
                f"{book.directory / MANIFEST}: names {book.previous_sha256} as the book before, which is "
                f"{expected}; restore the archive from its backup"
            )
        before = book
    return found


def read_manifest(directory: Path) -> Book:
    """The manifest of a day's book; raises BookError."""
    place = directory / MANIFEST
    try:
        data = place.read_bytes()
        told = json.loads(data)
        day = dt.date.fromisoformat(told["day"])
        book = Book(
            directory=directory,
            day=day,
            upto={**NOTHING, **told["upto"]},
            lines=told["lines"],
            bytes=told["bytes"],
            sha256=told["sha256"],
            previous_sha256=told["previous_sha256"],
            closed_us=told["closed_us"],
            manifest_sha256=hashlib.sha256(data).hexdigest(),
        )
    except OSError as error:
        raise BookError(f"{place}: {error.strerror}; restore it from the archive's backup") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BookError(f"{place}: no manifest of a book ({error}); restore it from a backup") from error
    if told.get("schema") != SCHEMA:
        raise BookError(f"{place}: is of schema {told.get('schema')!r}, this program reads {SCHEMA!r}")
    if directory != day_directory(directory.parents[2], day):
        raise BookError(f"{place}: says it is of {day}; it lies in another day's folder")
    return book


def read_lines(book: Book) -> Iterator[Line]:
    """The lines of a book, in order; its hash is checked first. Raises BookError."""
    place = book.directory / DATA
    try:
        data = place.read_bytes()
    except OSError as error:
        raise BookError(f"{place}: {error.strerror}; restore it from the archive's backup") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != book.sha256:
        raise BookError(f"{place}: has sha256 {sha256}, its manifest says {book.sha256}; restore the file")
    with zstandard.ZstdDecompressor().stream_reader(data) as reader:
        rest = b""
        while chunk := reader.read(1 << 20):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield json.loads(line)
    if rest:
        raise BookError(f"{place}: ends in the middle of a line; restore it from the archive's backup")


def day_directory(archive: Path, day: dt.date) -> Path:
    """Where the files of a UTC day lie."""
    return archive / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}"


def start_of(day: dt.date) -> int:
    """The first microsecond of a UTC day."""
    return microseconds(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC))
