"""From the spool to PostgreSQL, exactly once (invariant I1).

A batch and the gateway's cursor `last_seq` are written in one transaction, and only if the cursor stands
right before the batch. So the cursor in PostgreSQL is the truth: whatever was lost on the way (an answer,
the process, the connection), the forwarder asks for the cursor and goes on behind it. The spool forgets
rows only after they are committed there.

With PostgreSQL away it keeps trying, and the spool keeps the shares. What it cannot mend it refuses: a spool
and a database that do not belong together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import UNAVAILABLE, reason_of
from pool.records import encode_batch
from pool.spool import Spool
from pool.tables import batch, gateway

log = structlog.get_logger(__name__)

BATCH_BYTES = 1 << 20
IDLE_SECONDS = 1.0
BACK_OFF_SECONDS = 5.0
PUSH_SECONDS = 30.0
"""A push that takes longer counts as an outage; the cursor tells what became of it."""

_decode_rows = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class ForwarderError(Exception):
    """The spool and the database do not belong together. The message says how, and what to do."""


class Forwarder:
    """Pushes one gateway's spool.

    For metrics: `outage`, `last_ok_at` (unix seconds of the last commit or None), `batches` committed,
    `failures` to do so.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        spool: Spool,
        number: int,
        on_push: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        """`number` is what `register_gateway` gave to this spool; `on_push(seconds)` follows each commit."""
        self.outage = False
        self.last_ok_at: float | None = None
        self.batches = 0
        self.failures = 0
        self._on_push = on_push
        self._engine = engine
        self._spool = spool
        self._number = number
        self._cursor: int | None = None

    async def run(self) -> None:
        """Push for ever; raises ForwarderError only."""
        delay = IDLE_SECONDS
        while True:
            try:
                more = await self.push()
            except UNAVAILABLE as error:
                self._went_away(error)
                self.failures += 1
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACK_OFF_SECONDS)
                continue
            self._is_back()
            delay = IDLE_SECONDS
            if not more:
                await asyncio.sleep(IDLE_SECONDS)

    async def push(self) -> bool:
        """Push at most one batch; whether there may be more. Raises ForwarderError or UNAVAILABLE."""
        if self._cursor is None:
            async with asyncio.timeout(PUSH_SECONDS):
                self._cursor = await self._ask_cursor()
            self._spool.trim(self._cursor)
        if self._spool.last_seq <= self._cursor:
            return False
        cursor, self._cursor = self._cursor, None  # unknown until the commit is known
        rows = await asyncio.to_thread(self._spool.rows_after, cursor, BATCH_BYTES)
        if not rows:
            self._cursor = cursor
            return False
        first, last = rows[0][0], rows[-1][0]
        if [seq for seq, _ in rows] != list(range(cursor + 1, last + 1)):
            raise ForwarderError(
                f"gateway {self._number}: PostgreSQL has its rows up to {cursor}, but the spool goes on with "
                f"{first}; was the database restored from an older backup? Restore the newest one, or give "
                f"the gateway a new data_dir and keep this one for the auditor"
            )
        records, payload = await asyncio.to_thread(_pack, [row for _, row in rows])
        started = time.perf_counter()
        async with asyncio.timeout(PUSH_SECONDS):
            if not await self._write(first, last, records, payload):
                return True  # somebody moved the cursor: ask again
        self._cursor = last
        self.last_ok_at = time.time()
        self.batches += 1
        self._on_push(time.perf_counter() - started)
        self._spool.trim(last)
        return self._spool.last_seq > last

    async def _ask_cursor(self) -> int:
        async with self._engine.connect() as connection:
            row = (
                await connection.execute(
                    sa.select(gateway.c.identity, gateway.c.last_seq).where(gateway.c.number == self._number)
                )
            ).one_or_none()
        if row is None or row.identity != self._spool.identity:
            raise ForwarderError(
                f"gateway {self._number}: the database does not know it by its spool's identity "
                f"{self._spool.identity}; is database.url right? A new database gives a new number: start "
                f"the gateway again"
            )
        if self.last_ok_at is None and row.last_seq > self._spool.last_seq:
            raise ForwarderError(
                f"gateway {self._number}: PostgreSQL has its rows up to {row.last_seq}, but the spool ends "
                f"with {self._spool.last_seq}; an old copy of the spool cannot be used: give the gateway a "
                f"new data_dir"
            )
        return int(row.last_seq)

    async def _write(self, first: int, last: int, records: int, payload: bytes) -> bool:
        async with self._engine.begin() as connection:
            moved = await connection.execute(
                sa.update(gateway)
                .where(gateway.c.number == self._number, gateway.c.last_seq == first - 1)
                .values(last_seq=last)
            )
            if moved.rowcount != 1:
                return False
            await connection.execute(
                sa.insert(batch).values(
                    gateway_number=self._number,
                    first_seq=first,
                    last_seq=last,
                    records=records,
                    payload=payload,
                )
            )
        return True

    def _went_away(self, error: Exception) -> None:
        if not self.outage:
            log.warning(
                "database_away",
                part="forwarder",
                reason=reason_of(error),
                explained="shares stay in the spool meanwhile",
            )
        self.outage = True

    def _is_back(self) -> None:
        if self.outage:
            log.info("database_back", part="forwarder", spool_depth=self._spool.depth)
        self.outage = False


def _pack(rows: list[bytes]) -> tuple[int, bytes]:
    return sum(len(_decode_rows(row)) for row in rows), encode_batch(rows)
