"""The ledger's archivist: closes each hour into the share archive, and drops from PostgreSQL what it holds.

An hour is closed when the ledger has passed it, or five minutes after its end. First the ledger's clock is
raised to the end of the hour, under its row lock, so that no batch can enter it any more. Then its batches
are written to a file, which is read back and compared with them record by record, and with the ledger's
slices by miner. Only then does the row of `archive_hour` say that it is closed. A crash between any two
steps leaves files that the next try writes anew; a file whose hour has a row is never touched again
(invariants I1, I4).

Only the process of the active ledger does this. Where another machine was the ledger before, its files are
made again from PostgreSQL as long as that has the batches and the bytes come out the same; else they must be
copied, and no partition that they cover is dropped before.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms
from pool import archive_book, partitions
from pool.archive_book import BookError
from pool.archive_file import (
    ArchivedBatch,
    ArchiveError,
    Contents,
    HourWriter,
    Manifest,
    Written,
    manifest_bytes,
    parse_manifest,
    paths_of,
    read_batches,
    sha256_of,
    write_durably,
)
from pool.clock import HOUR_US, hour_of, instant, unix_microseconds
from pool.database import UNAVAILABLE, reason_of
from pool.records import decode_batch
from pool.tables import archive_hour, batch, ledger_head, slice_
from register.rules import Rules

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 30.0
STANDBY_SECONDS: Final = 2.0
"""How often one that stands by looks whether its ledger is the active one."""
CLOSE_US: Final = 5 * 60_000_000
"""So long after its end an hour is closed that no later batch has closed."""
BATCHES_AT_ONCE: Final = 32
"""Fetched and written at a time; a batch has 1 MiB of records at most."""
_DAY: Final = dt.timedelta(days=1)
_Result = TypeVar("_Result")


class Archive:
    """The task beside a ledger; `active` says whether that ledger is the active one."""

    def __init__(
        self,
        engine: AsyncEngine,
        directory: Path,
        terms: DatedTerms,
        rules: Rules,
        active: Callable[[], bool],
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        self._engine = engine
        self._directory = directory
        self._terms = terms
        self._rules = rules
        self._active = active
        self._now_us = now_us
        self._looked_through = False
        """Whether all closed hours were looked for on this disk."""
        self._booked: dt.date | None = None
        """The newest day whose book is closed, where that was looked at."""
        self._verified: set[int] = set()
        """Hours whose files were read whole and are what was closed."""
        self._told = ""

    async def run(self) -> None:
        """Work for ever while the ledger is active, and wait while it is not."""
        while True:
            try:
                await self.step()
                self._told = ""
            except UNAVAILABLE as error:
                self._tell(f"waiting, and trying again: {reason_of(error)}")
            except (ArchiveError, BookError) as error:
                self._tell(str(error))
            await asyncio.sleep(TICK_SECONDS if self._active() else STANDBY_SECONDS)

    def _tell(self, trouble: str) -> None:
        """Once, for as long as it lasts."""
        if trouble != self._told:
            log.error("archive_waits", reason=trouble)
        self._told = trouble

    async def step(self) -> None:
        """Close the hours that are over; see to partitions, the book of each day, and files not here."""
        if not self._active():
            self._looked_through, self._booked = False, None  # another machine may write the archive now
            return
        await partitions.make_ahead(self._engine, instant(self._now_us()).date())
        while self._active() and await close_next(self._engine, self._directory, self._now_us()):
            pass
        missing = [] if self._looked_through else await self._bring_back()
        self._looked_through = True
        await self._close_books()
        await self._drop_old()
        if missing:
            raise ArchiveError(
                f"{len(missing)} closed hours are not in {self._directory}, the first is {missing[0].file}, "
                f"and PostgreSQL cannot give them any more; copy them from the machine that was the "
                f"ledger before"
            )

    async def _bring_back(self) -> list[Manifest]:
        """Make again the files of closed hours that this machine has not; those that could not be made."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(
                sa.select(archive_hour.c.manifest).order_by(archive_hour.c.hour_us)
            )
            closed = [parse_manifest(row.manifest.encode()) for row in rows]
        absent = await asyncio.to_thread(_absent, self._directory, closed)
        return [one for one in absent if not await remake(self._engine, self._directory, one)]

    async def _close_books(self) -> None:
        """Of the days that are over, when all of their hours are closed."""
        async with self._engine.connect() as connection:
            first_us = await connection.scalar(sa.select(sa.func.min(archive_hour.c.hour_us)))
        if first_us is None:
            return
        now_us = self._now_us()
        if self._booked is None:
            known = await asyncio.to_thread(archive_book.books, self._directory)
            self._booked = known[-1].day if known else instant(first_us).date() - _DAY
        while (day := self._booked + _DAY) < instant(now_us - CLOSE_US).date():
            await archive_book.close_book(
                self._engine, self._directory, day, self._terms, self._rules, now_us
            )
            self._booked = day

    async def _drop_old(self) -> None:
        now_us = self._now_us()
        async with self._engine.connect() as connection:
            old = await partitions.old(connection, instant(now_us).date())
        for one in old:
            async with self._engine.connect() as connection:
                held = await partitions.span(connection, one)
                reason = await partitions.needed_for(connection, one, held, self._terms, now_us)
                closed = await _closed_over(connection, held) if held and reason is None else []
            if reason is not None:
                log.debug("partition_stays", partition=one.name, reason=reason)
                continue
            for manifest in closed:
                await self._verify(manifest)
            await partitions.drop(self._engine, one)

    async def _verify(self, manifest: Manifest) -> None:
        if manifest.hour_us not in self._verified:
            await asyncio.to_thread(verify_file, self._directory, manifest)
            self._verified.add(manifest.hour_us)


def verify_file(directory: Path, manifest: Manifest) -> None:
    """Raises ArchiveError unless the hour's file, and its manifest, are on disk as they were closed."""
    place = paths_of(directory, manifest.hour_us)
    if sha256_of(place.file) != manifest.sha256:
        raise ArchiveError(f"{place.file}: is not the file that was closed; restore it from a backup")
    try:
        content = place.manifest.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{place.manifest}: {error.strerror}; restore it from a backup") from error
    if content != manifest_bytes(manifest):
        raise ArchiveError(f"{place.manifest}: is not the manifest that was closed; restore it from a backup")


def _absent(directory: Path, closed: Sequence[Manifest]) -> list[Manifest]:
    """The closed hours whose file or manifest this directory does not have."""
    places = [(one, paths_of(directory, one.hour_us)) for one in closed]
    return [one for one, place in places if not (place.file.exists() and place.manifest.exists())]


async def _closed_over(connection: AsyncConnection, held: partitions.Span) -> list[Manifest]:
    rows = await connection.execute(
        sa.select(archive_hour.c.manifest)
        .where(archive_hour.c.last_batch >= held.first, archive_hour.c.first_batch <= held.last)
        .order_by(archive_hour.c.hour_us)
    )
    return [parse_manifest(row.manifest.encode()) for row in rows]


# Closing an hour, step by step


async def close_next(engine: AsyncEngine, directory: Path, now_us: int) -> bool:
    """Close the oldest hour that is over and not closed; whether there was one."""
    async with engine.connect() as connection:
        before = await last_closed(connection)
        hour_us = await due(connection, before, now_us)
    if hour_us is None:
        return False
    await seal(engine, hour_us + HOUR_US)
    first = before.last_batch + 1 if before else 1
    contents, written = await write(engine, directory, hour_us, first)
    await compare(engine, directory, hour_us, first)
    manifest = await counted(engine, before, hour_us, contents, written)
    await asyncio.to_thread(write_durably, paths_of(directory, hour_us).manifest, manifest_bytes(manifest))
    await enter(engine, manifest, now_us)
    log.info("archive_closed", file=manifest.file, records=manifest.rows, bytes=manifest.bytes)
    return True


async def last_closed(connection: AsyncConnection) -> Manifest | None:
    """The manifest of the newest closed hour."""
    newest = sa.select(archive_hour.c.manifest).order_by(archive_hour.c.hour_us.desc()).limit(1)
    manifest = await connection.scalar(newest)
    return None if manifest is None else parse_manifest(manifest.encode())


async def due(connection: AsyncConnection, before: Manifest | None, now_us: int) -> int | None:
    """The first microsecond of the hour to be closed; None when none is over."""
    head = (await connection.execute(sa.select(ledger_head))).one()
    first = before.last_batch + 1 if before else 1
    if head.batch_position < first:
        return None
    taken_us = await connection.scalar(sa.select(batch.c.taken_us).where(batch.c.position == first))
    if taken_us is None:
        raise ArchiveError(
            f"the batch at position {first} is neither archived nor in PostgreSQL; restore the database "
            f"from a backup that has it: the archive must not skip a batch"
        )
    hour_us = hour_of(taken_us)
    over = head.taken_us >= hour_us + HOUR_US or now_us >= hour_us + HOUR_US + CLOSE_US
    return hour_us if over else None


async def seal(engine: AsyncEngine, end_us: int) -> None:
    """From now on the ledger takes no batch at an earlier time than this."""
    async with engine.begin() as connection:
        await _raise_clock(connection, end_us)


async def _raise_clock(connection: AsyncConnection, end_us: int) -> None:
    raised = sa.func.greatest(ledger_head.c.taken_us, end_us)
    await connection.execute(sa.update(ledger_head).values(taken_us=raised))


async def write(engine: AsyncEngine, directory: Path, hour_us: int, first: int) -> tuple[Contents, Written]:
    """The batches of a sealed hour, from position `first` on, into its file; the file is durable then."""
    contents = Contents()
    path = paths_of(directory, hour_us).file
    try:
        writer = await asyncio.to_thread(HourWriter, path)
        with writer:
            async for rows in _rows(engine, first, hour_us + HOUR_US):
                await _to_its_end(_add, writer, contents, rows)
            return contents, await _to_its_end(writer.finish)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path}: cannot be written: {error}; nothing was closed") from error


async def _to_its_end(call: Callable[..., _Result], *given: object) -> _Result:
    """In a thread, also when cancelled: a file is not closed while a thread still writes it."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *given))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _add(writer: HourWriter, contents: Contents, rows: Sequence[Any]) -> None:
    for one in _batches(rows):
        contents.add(one)
        writer.add(one)


async def compare(engine: AsyncEngine, directory: Path, hour_us: int, first: int) -> None:
    """Raises ArchiveError unless the file gives back each record of PostgreSQL's batches."""
    path = paths_of(directory, hour_us).file
    archived = read_batches(path)
    async for rows in _rows(engine, first, hour_us + HOUR_US):
        await asyncio.to_thread(_compare, archived, rows, path)
    if await asyncio.to_thread(next, archived, None) is not None:
        raise ArchiveError(f"{path}: holds more than PostgreSQL has; nothing was closed, it is written again")


def _compare(archived: Iterator[ArchivedBatch], rows: Sequence[Any], path: Path) -> None:
    for one in _batches(rows):
        if next(archived, None) != one:
            raise ArchiveError(
                f"{path}: the batch at position {one.position} does not come back as PostgreSQL has it; "
                f"nothing was closed, it is written again; if this stays, look at the disk"
            )


async def counted(
    engine: AsyncEngine, before: Manifest | None, hour_us: int, contents: Contents, written: Written
) -> Manifest:
    """The manifest of an hour. Raises ArchiveError when the ledger's slices are not its work."""
    first = before.next_slice if before else 1
    total_before = before.total_after if before else 0
    mine = (
        slice_.c.position >= first,
        slice_.c.batch_position <= contents.last_batch,
        slice_.c.taken_on == instant(hour_us).date(),
    )
    sums = (sa.func.sum(slice_.c.work), sa.func.sum(slice_.c.shares), sa.func.count())
    async with engine.connect() as connection:
        rows = await connection.execute(
            sa.select(slice_.c.miner_id, *sums).where(*mine).group_by(slice_.c.miner_id)
        )
        slices = {str(miner_id): (shares, str(int(work)), count) for miner_id, work, shares, count in rows}
        start = await connection.scalar(
            sa.select(slice_.c.total - slice_.c.work).where(slice_.c.position == first, *mine)
        )
    work = {miner_id: (one.shares, one.work) for miner_id, one in contents.miners.items()}
    if {miner_id: (shares, work_) for miner_id, (shares, work_, _) in slices.items()} != work:
        raise ArchiveError(f"hour {hour_us}: the ledger's slices are not the work of its batches; {_CALL}")
    if slices and start != total_before:
        raise ArchiveError(
            f"hour {hour_us}: the ledger counts work of {start} before slice {first}, the archive "
            f"{total_before}; {_CALL}"
        )
    previous = hashlib.sha256(manifest_bytes(before)).hexdigest() if before else None
    count = sum(one[2] for one in slices.values())
    return contents.manifest(hour_us, written, count, first, total_before, previous)


_CALL: Final = "nothing was closed; have it looked at, `dmpool audit` says where they differ"


async def enter(engine: AsyncEngine, manifest: Manifest, now_us: int) -> None:
    """Say that the hour is closed. Raises ArchiveError when a batch has entered it meanwhile."""
    content = manifest_bytes(manifest)
    end_us = manifest.hour_us + HOUR_US
    async with engine.begin() as connection:
        await _raise_clock(connection, end_us)
        after = sa.select(batch.c.taken_us).where(batch.c.position == manifest.last_batch + 1)
        if (await connection.scalar(after) or end_us) < end_us:
            raise ArchiveError(
                f"{manifest.file}: a batch entered the hour after it was sealed; closing again"
            )
        await connection.execute(
            sa.insert(archive_hour).values(
                hour_us=manifest.hour_us,
                first_batch=manifest.first_batch,
                last_batch=manifest.last_batch,
                first_slice=manifest.first_slice,
                total_before=int(manifest.total_before),
                rows=manifest.rows,
                bytes=manifest.bytes,
                sha256=manifest.sha256,
                manifest=content.decode(),
                manifest_sha256=hashlib.sha256(content).hexdigest(),
                closed_us=now_us,
            )
        )


async def remake(engine: AsyncEngine, directory: Path, manifest: Manifest) -> bool:
    """Make the file of a closed hour again; whether it came out as it was closed. Else there is none."""
    place = paths_of(directory, manifest.hour_us)
    if not place.file.exists():
        async with engine.connect() as connection:
            held = sa.select(sa.func.count()).where(
                batch.c.position.between(manifest.first_batch, manifest.last_batch)
            )
            if await connection.scalar(held) != manifest.batches:
                return False
        _, written = await write(engine, directory, manifest.hour_us, manifest.first_batch)
        if written.sha256 != manifest.sha256:
            await asyncio.to_thread(place.file.unlink)
            return False
        log.info("archive_made_again", file=manifest.file)
    await asyncio.to_thread(write_durably, place.manifest, manifest_bytes(manifest))
    return True


# PostgreSQL's batches


async def _rows(engine: AsyncEngine, first: int, end_us: int) -> AsyncIterator[Sequence[Any]]:
    """The batches from a position on that were taken before an instant; no transaction stays open between."""
    columns = (
        *(batch.c.position, batch.c.id, batch.c.gateway_number, batch.c.first_seq, batch.c.last_seq),
        *(batch.c.taken_us, batch.c.payload),
    )
    while True:
        # By position alone: with a condition on the time too, the last look would go on to the newest batch.
        wanted = (
            sa.select(*columns)
            .where(batch.c.position >= first)
            .order_by(batch.c.position)
            .limit(BATCHES_AT_ONCE)
        )
        async with engine.connect() as connection:
            rows = (await connection.execute(wanted)).all()
        within = [row for row in rows if row.taken_us < end_us]
        if within:
            yield within
        if len(within) < BATCHES_AT_ONCE:
            return
        first = rows[-1].position + 1


def _batches(rows: Sequence[Any]) -> Iterator[ArchivedBatch]:
    for row in rows:
        yield ArchivedBatch._make((*row[:-1], decode_batch(row.payload)))
