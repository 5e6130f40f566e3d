"""Counts workers (`pool.pages.workers`) from the batches that the ledger has taken, each batch once.

It goes on from the position that it counted last. At the first look it goes back as far as 24 hours, but over
no more than RECORDS_BACK records: what is told says since when it was counted. What was counted is kept in a
file of the data directory from time to time, so that a restart goes on there; the file is a cache, may be
deleted at any time, and is not used when it does not fit to the database.

A batch has a MiB of records at most and is decoded in a thread, 16 at a time. A share costs about three
microseconds of a core and 50 bytes of transfer: 1000 shares a second are 0.3 % of a core.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import structlog
import zstandard
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.durable import write_durably
from pool.pages.workers import DAY_US, HOURS, SPANS, Worker, Workers
from pool.reading import reading
from pool.records import decode_batch
from pool.tables import batch, ledger_head
from register.rules import Rules

log = structlog.get_logger(__name__)

RECORDS_BACK = 3_000_000
"""Read at the first look, at most: some seconds of work."""
BATCHES_AT_ONCE: Final = 16
LOOK_SECONDS: Final = 1.0
"""No further batches are fetched when a look has taken so long."""
READ_SECONDS: Final = 30.0
KEEP_SECONDS: Final = 300.0
FORGET_SECONDS = 60.0
FILE: Final = "workers.cache"
_FORMAT: Final = 1
_SLOTS_BYTES: Final = 8 * (SPANS + HOURS)


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A batch that was counted, as the database has it: a position of another database has other facts."""

    position: int
    id: int
    taken_us: int


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """A worker in the file."""

    miner_id: int
    name: str
    newest: tuple[int, int]
    slots: bytes
    last_us: int
    day: int
    accepted: int
    rejected: dict[str, int]


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: int
    since_us: int
    place: Place
    workers: list[_Kept]


class WorkerReader:
    """See the head of this file; one for a process."""

    def __init__(self, engine: AsyncEngine, rules: Rules, data_dir: Path, now_us: Callable[[], int]) -> None:
        self.workers = Workers()
        self.whole = False
        """Whether all batches that the ledger has taken are counted."""
        self.still = threading.RLock()
        """Whoever holds it in a thread sees workers that do not change meanwhile."""
        self._engine = engine
        self._rules = rules
        self._file = data_dir / FILE
        self._now_us = now_us
        self._place: Place | None = None
        self._started = False
        self._keep_at = self._forget_at = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def advance(self) -> None:
        """Count what has come since the last look, as far as the time allows; raises DatabaseAway."""
        async with self._one_at_a_time, reading(self._engine, READ_SECONDS) as connection:
            until = time.monotonic() + LOOK_SECONDS
            end = int(await connection.scalar(sa.select(ledger_head.c.batch_position)) or 0)
            if not self._started or await self._is_another(connection):
                await self._start(connection)
            while (after := self._position) < end and time.monotonic() < until:
                rows = await _batches(connection, after)
                if not rows:
                    end = after  # the rest is no longer kept
                    break
                await asyncio.to_thread(self._count, rows)
            self.whole = self._position >= end
            if time.monotonic() >= self._forget_at:
                self._forget_at = time.monotonic() + FORGET_SECONDS
                await asyncio.to_thread(self._forget)

    async def keep(self) -> None:
        """Write what was counted to the file, when it is time again."""
        if self._place is None or time.monotonic() < self._keep_at:
            return
        self._keep_at = time.monotonic() + KEEP_SECONDS
        async with self._one_at_a_time:
            await asyncio.to_thread(self._write)

    @property
    def _position(self) -> int:
        return self._place.position if self._place else 0

    async def _start(self, connection: AsyncConnection) -> None:
        """From the file if it fits, else some way back."""
        self.workers, self._place = Workers(), None
        now_us = self._now_us()
        first = await _first_position(connection, now_us)
        kept = None if self._started else await asyncio.to_thread(_read, self._file)
        if kept is not None and kept.place.position >= first and await _holds(connection, kept.place):
            self._place, self._started = kept.place, True
            _fill(self.workers, kept)
            return
        before = sa.select(batch.c.position, batch.c.id, batch.c.taken_us, batch.c.last_us)
        row = (await connection.execute(before.where(batch.c.position == first - 1))).one_or_none()
        self._started = True
        if row is not None:
            self._place = Place(row.position, row.id, row.taken_us)
            self.workers.since_us = max(row.taken_us, now_us - DAY_US)

    async def _is_another(self, connection: AsyncConnection) -> bool:
        """Whether the database was set back, and what was counted may not be in it."""
        return self._place is not None and not await _holds(connection, self._place)

    def _count(self, rows: list[Any]) -> None:
        """In a thread, which goes on when whoever asked has left: a batch and the place go together."""
        now_us = self._now_us()
        today = self._rules.day_of(now_us)
        days = [
            (self._rules.day_bounds(day)[0], day.toordinal()) for day in (today - dt.timedelta(days=1), today)
        ]
        for row in rows:
            records = decode_batch(row.payload)
            with self.still:
                if row.position <= self._position:
                    continue
                if self.workers.since_us is None and records:
                    self.workers.since_us = min(records[0].at_us, now_us)
                self.workers.count(records, days, now_us)
                self._place = Place(row.position, row.id, row.taken_us)

    def _forget(self) -> None:
        with self.still:
            self.workers.forget(self._now_us())

    def _write(self) -> None:
        if self._place is None:
            return
        kept = [
            _Kept(
                miner_id,
                one.name,
                (one.spans.newest, one.hours.newest),
                one.spans.slots.tobytes() + one.hours.slots.tobytes(),
                one.last_us,
                one.day,
                one.accepted,
                dict(one.rejected or {}),
            )
            for miner_id, one in self.workers.all()
        ]
        content = _File(_FORMAT, self.workers.since_us or self._now_us(), self._place, kept)
        packed = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(content))
        try:
            write_durably(self._file, packed)
        except OSError as error:
            log.warning("workers_not_kept", file=str(self._file), reason=str(error))


async def _first_position(connection: AsyncConnection, now_us: int) -> int:
    """From where to count: 24 hours back, but over no more than RECORDS_BACK records."""
    behind = sa.func.sum(batch.c.records).over(order_by=batch.c.position.desc())
    recent = (
        sa.select(batch.c.position, behind.label("behind"))
        .where(batch.c.taken_us >= now_us - DAY_US, batch.c.position.is_not(None))
        .subquery()
    )
    first = await connection.scalar(
        sa.select(sa.func.min(recent.c.position)).where(recent.c.behind <= RECORDS_BACK)
    )
    last = await connection.scalar(sa.select(ledger_head.c.batch_position))
    return int(first) if first is not None else int(last or 0) + 1


async def _batches(connection: AsyncConnection, after: int) -> list[Any]:
    columns = (batch.c.position, batch.c.id, batch.c.taken_us, batch.c.payload)
    wanted = sa.select(*columns).where(batch.c.position > after).order_by(batch.c.position)
    return list((await connection.execute(wanted.limit(BATCHES_AT_ONCE))).all())


async def _holds(connection: AsyncConnection, place: Place) -> bool:
    """Whether the database has this very batch there."""
    columns = sa.select(batch.c.id, batch.c.taken_us).where(batch.c.position == place.position)
    row = (await connection.execute(columns)).one_or_none()
    return row is not None and (row.id, row.taken_us) == (place.id, place.taken_us)


def _read(file: Path) -> _File | None:
    """The file, if there is one that can be read."""
    try:
        packed = zstandard.ZstdDecompressor().decompress(file.read_bytes())
        kept = msgspec.msgpack.decode(packed, type=_File)
    except FileNotFoundError:
        return None
    except (OSError, zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("workers_not_read", file=str(file), reason=str(error))
        return None
    fits = all(len(one.slots) == _SLOTS_BYTES for one in kept.workers)
    return kept if kept.format == _FORMAT and fits else None


def _fill(workers: Workers, kept: _File) -> None:
    workers.since_us = kept.since_us
    for one in kept.workers:
        worker = Worker(one.name, 0)
        slots = array("d", one.slots)
        worker.spans.slots, worker.hours.slots = slots[:SPANS], slots[SPANS : SPANS + HOURS]
        worker.spans.newest, worker.hours.newest = one.newest
        worker.last_us, worker.day, worker.accepted = one.last_us, one.day, one.accepted
        worker.rejected = Counter(one.rejected) if one.rejected else None
        workers.put(one.miner_id, worker)
