"""`/api/v1/archive`: the share archive, hour by hour, for whoever recomputes what the pool says it paid.

An hour is its Parquet file and the manifest that closes it, byte for byte as they lie on the disk of this
machine; its text (`HH.csv.gz`, `pool.archive_text`) is made when it is asked for the first time, and kept in
`data_dir/archive-text/`. Beside the hours each day has its book, which an audit needs (docs/audit.md). The
archive holds the shares of all miners, so it is never open to everybody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

import sqlalchemy as sa
import structlog
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import archive_book
from pool.archive_book import BookError
from pool.archive_file import ArchiveError, paths_of
from pool.archive_text import write_text
from pool.clock import instant, microseconds
from pool.door_desk import DoorDesk, guarded, told
from pool.door_files import Shown, described, file_answer
from pool.door_regulators import Scope
from pool.problems import problem
from pool.reading import reading
from pool.tables import archive_hour

log = structlog.get_logger(__name__)

PAGE = 744
"""Hours of a list: a month of 31 days."""
PARQUET: Final = "application/vnd.apache.parquet"
TYPES: Final = {
    "parquet": PARQUET,
    "json": "application/json",
    "csv.gz": "application/gzip",
    "jsonl.zst": "application/zstd",
}
_NAME: Final = r"^(([01][0-9]|2[0-3])\.(parquet|json|csv\.gz)|book\.(json|jsonl\.zst))$"
_FILE: Final[dict[int | str, dict[str, Any]]] = {
    **described("The file.", *TYPES.values()),
    404: problem("There is no such file, or it is not on this machine."),
}


@dataclass(frozen=True, slots=True)
class HourView:
    """A closed hour; `path` is that of its files without the ending (.parquet, .json, .csv.gz)."""

    hour: dt.datetime
    rows: int
    bytes: int
    sha256: str
    """Of the Parquet file."""
    manifest_sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class HourList:
    """Closed hours, newest first; `next_before` is the `before` that gives the rest, None at the end."""

    hours: tuple[HourView, ...]
    next_before: dt.datetime | None


def archive_router(desk: DoorDesk) -> APIRouter:
    """The routes, to be put under /api/v1."""
    router = guarded(desk.door, Scope.ARCHIVE, "/archive", "archive")
    shelf = _Shelf(desk)

    @router.get("", response_model=HourList, summary="The closed hours, newest first")
    async def _list(
        before: Annotated[dt.datetime | None, Query(description="With an offset; UTC without one.")] = None,
    ) -> Response:
        async with reading(desk.engine) as connection:
            hours = await _hours(connection, before)
        return told(HourList(tuple(hours[:PAGE]), hours[PAGE - 1].hour if len(hours) > PAGE else None))

    @router.get(
        "/{year}/{month}/{day}/{name}",
        responses=_FILE,
        response_class=Response,
        summary="A file of a UTC day: HH.parquet, HH.json, HH.csv.gz of an hour; book.jsonl.zst, book.json",
    )
    async def _file(
        request: Request,
        year: Annotated[str, Path(pattern=r"^[0-9]{4}$")],
        month: Annotated[str, Path(pattern=r"^[0-9]{2}$")],
        day: Annotated[str, Path(pattern=r"^[0-9]{2}$")],
        name: Annotated[str, Path(pattern=_NAME)],
    ) -> Response:
        try:
            date = dt.date(int(year), int(month), int(day))
        except ValueError as error:  # in no calendar
            raise HTTPException(404, f"{year}-{month}-{day}: {error}") from None
        return await shelf.give(request, date, name)

    return router


async def _hours(connection: AsyncConnection, before: dt.datetime | None) -> list[HourView]:
    wanted = sa.select(archive_hour).order_by(archive_hour.c.hour_us.desc()).limit(PAGE + 1)
    if before is not None:
        aware = before if before.tzinfo is not None else before.replace(tzinfo=dt.UTC)
        wanted = wanted.where(archive_hour.c.hour_us < microseconds(aware))
    return [
        HourView(
            instant(row.hour_us),
            row.rows,
            row.bytes,
            row.sha256,
            row.manifest_sha256,
            f"/api/v1/archive/{instant(row.hour_us):%Y/%m/%d/%H}",
        )
        for row in await connection.execute(wanted)
    ]


class _Shelf:
    """The files of one machine."""

    def __init__(self, desk: DoorDesk) -> None:
        self._desk = desk
        self._texts = desk.settings.data_dir / "archive-text"
        self._writing = asyncio.Lock()

    async def give(self, request: Request, day: dt.date, name: str) -> Response:
        """A file of a UTC day; raises HTTPException 404."""
        try:
            found = await (self._book(day, name) if name.startswith("book") else self._hour(day, name))
        except BookError as error:
            log.error("archive_book_unreadable", reason=str(error))
            found = None
        if found is None:
            raise HTTPException(404, f"{day}: no {name} is closed; /api/v1/archive lists all hours there are")
        path, shown = found
        self._desk.door.gives(request, f"archive {day:%Y/%m/%d}/{name}", shown.tag)
        try:
            if name.endswith(".csv.gz"):
                await self._write(path, paths_of(self._desk.archive, _begins_us(day, name)).file)
            return await file_answer(request, path, shown)
        except (OSError, ArchiveError) as error:
            log.error("archive_file_unreadable", path=str(path), reason=str(error))
            raise HTTPException(
                404, f"{day}: {name} is not on this machine, or cannot be read; ask the pool for it"
            ) from None

    async def _hour(self, day: dt.date, name: str) -> tuple[FilePath, Shown] | None:
        """Where a file of a closed hour lies, and what it is."""
        hour_us = _begins_us(day, name)
        wanted = sa.select(archive_hour).where(archive_hour.c.hour_us == hour_us)
        async with reading(self._desk.engine) as connection:
            row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        place = paths_of(self._desk.archive, hour_us)
        match name.partition(".")[2]:
            case "parquet":
                path, tag = place.file, row.sha256
            case "json":
                path, tag = place.manifest, row.manifest_sha256
            case _:
                path = self._texts / f"{day:%Y/%m/%d}" / name
                tag = f"{row.sha256}-text"
        return path, _shown(day, name, tag, instant(row.closed_us))

    async def _book(self, day: dt.date, name: str) -> tuple[FilePath, Shown] | None:
        """The same of the day's book."""
        directory = archive_book.day_directory(self._desk.archive, day)
        if not await asyncio.to_thread((directory / archive_book.MANIFEST).exists):
            return None
        known = await asyncio.to_thread(archive_book.read_manifest, directory)
        tag = known.manifest_sha256 if name == archive_book.MANIFEST else known.sha256
        return known.directory / name, _shown(day, name, tag, instant(known.closed_us))

    async def _write(self, text: FilePath, parquet: FilePath) -> None:
        """The text of an hour, unless it is there; raises ArchiveError where there is no Parquet file."""
        async with self._writing:
            if not await asyncio.to_thread(text.exists):
                await asyncio.to_thread(write_text, parquet, text, self._desk.rules.day_of)


def _shown(day: dt.date, name: str, tag: str, modified: dt.datetime) -> Shown:
    return Shown(f"{day}-{name}", TYPES[name.partition(".")[2]], tag, modified, inline=name.endswith(".json"))


def _begins_us(day: dt.date, name: str) -> int:
    return microseconds(dt.datetime(day.year, day.month, day.day, int(name[:2]), tzinfo=dt.UTC))
