"""What the portal shows of the transparency log, of the keys and of the share archive, read as plain data.

Of the log: what was signed last, what its entries tell, newest first, and one entry with its place in the
published files. Of the archive: how many hours each day has, and the hours of a day. Days and hours of the
archive are those of UTC, as its files are named.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import log_store
from pool.clock import HOUR_US, instant, microseconds
from pool.log_store import Signed
from pool.tables import archive_hour
from pool.tables_log import log_leaf
from register.rules import Rules
from reporting.tiles import ENTRIES, WIDTH, Tile

PAGE: Final = 50
"""Entries of a list."""
DAYS: Final = 62
"""Of the archive, on a page."""
_DAY_US: Final = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log, and where it lies."""

    index: int
    at: dt.datetime
    told: Mapping[str, Any]
    leaf_hash: str
    data: str
    """As it is hashed."""


@dataclass(frozen=True, slots=True)
class LogView:
    """A page of the log; `signed` is the newest checkpoint."""

    size: int
    signed: Signed | None
    signed_at: dt.datetime | None
    checkpoint: str
    """As it is published."""
    entries: Sequence[Entry]
    older: int | None
    """The `before` of the next page."""


@dataclass(frozen=True, slots=True)
class EntryView:
    """One entry; `bundle` is the file below /log that has it, once a checkpoint was signed with it."""

    entry: Entry
    size: int
    signed: Signed | None
    bundle: str


@dataclass(frozen=True, slots=True)
class ArchiveDay:
    """A UTC day of the archive."""

    day: dt.date
    hours: int
    shares: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ArchiveHour:
    """A closed hour; `path` is its files' without the ending, YYYY/MM/DD/HH."""

    hour: dt.datetime
    path: str
    shares: int
    bytes: int
    sha256: str
    manifest_sha256: str


# The log


async def view_log(connection: AsyncConnection, rules: Rules, before: int | None = None) -> LogView:
    """The newest entries, or those before an index."""
    size = await log_store.size(connection)
    signed = await log_store.newest_checkpoint(connection)
    note = None if signed is None else await log_store.published_note(connection, signed)
    wanted = sa.select(log_leaf).order_by(log_leaf.c.index.desc()).limit(PAGE)
    if before is not None:
        wanted = wanted.where(log_leaf.c.index < before)
    entries = [_entry(row, rules) for row in await connection.execute(wanted)]
    return LogView(
        size=size,
        signed=signed,
        signed_at=None if signed is None else rules.local(signed.signed_us),
        checkpoint="" if note is None else note.encode().decode(),
        entries=entries,
        older=entries[-1].index if entries and entries[-1].index > 0 else None,
    )


async def view_entry(connection: AsyncConnection, rules: Rules, index: int) -> EntryView | None:
    """One entry; None where there is none of this index."""
    row = (await connection.execute(sa.select(log_leaf).where(log_leaf.c.index == index))).one_or_none()
    if row is None:
        return None
    signed = await log_store.newest_checkpoint(connection)
    size = 0 if signed is None else signed.checkpoint.size
    return EntryView(_entry(row, rules), await log_store.size(connection), signed, _bundle(index, size))


def _bundle(index: int, size: int) -> str:
    """The path of the bundle with an entry, in a log of a signed size; empty where that has it not."""
    if index >= size:
        return ""
    number = index // WIDTH
    return Tile(ENTRIES, number, min(WIDTH, size - number * WIDTH)).path


def _entry(row: Any, rules: Rules) -> Entry:
    data = bytes(row.data).decode()
    return Entry(row.index, rules.local(row.at_us), json.loads(data), bytes(row.hash).hex(), data)


# The archive


async def archive_days(
    connection: AsyncConnection, before: dt.date | None = None
) -> tuple[list[ArchiveDay], dt.date | None]:
    """Days that have closed hours, newest first, and the `before` of the next page."""
    day = (archive_hour.c.hour_us // _DAY_US).label("day")
    wanted = (
        sa.select(
            day,
            sa.func.count().label("hours"),
            sa.func.sum(archive_hour.c.rows).label("shares"),
            sa.func.sum(archive_hour.c.bytes).label("bytes"),
        )
        .group_by(day)
        .order_by(day.desc())
        .limit(DAYS + 1)
    )
    if before is not None:
        wanted = wanted.where(archive_hour.c.hour_us < _start_us(before))
    days = [
        ArchiveDay(instant(int(row.day) * _DAY_US).date(), row.hours, int(row.shares), int(row.bytes))
        for row in await connection.execute(wanted)
    ]
    return days[:DAYS], days[DAYS - 1].day if len(days) > DAYS else None


async def archive_hours(connection: AsyncConnection, day: dt.date) -> list[ArchiveHour]:
    """The closed hours of a UTC day, in order."""
    start_us = _start_us(day)
    rows = await connection.execute(
        sa.select(archive_hour)
        .where(archive_hour.c.hour_us >= start_us, archive_hour.c.hour_us < start_us + _DAY_US)
        .order_by(archive_hour.c.hour_us)
    )
    return [
        ArchiveHour(
            hour=instant(row.hour_us),
            path=f"{instant(row.hour_us):%Y/%m/%d/%H}",
            shares=row.rows,
            bytes=row.bytes,
            sha256=row.sha256,
            manifest_sha256=row.manifest_sha256,
        )
        for row in rows
    ]


def _start_us(day: dt.date) -> int:
    return microseconds(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC))
