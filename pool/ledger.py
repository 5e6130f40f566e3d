"""The ledger service: of all processes that may be it, one is active and the others stand by.

The active one holds a PostgreSQL advisory lock on one connection and writes on that connection alone.
Whoever loses the connection has lost the lock and the means to write together, so two ledgers can never
write at once.

Each half second it takes new batches (`pool.intake`), follows the blocks that were found
(`pool.block_watch`) and pays for shares where the terms say so (`pool.fpps_accrual`). Everything it does can
be killed between any two steps and goes on from there. With the database or the nodes away it waits; a batch
that cannot be true stops it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms
from pool import block_watch
from pool import ledger_store as store
from pool.block_watch import BlockWatch, Sighting
from pool.clock import unix_microseconds
from pool.database import LEDGER_LOCK, UNAVAILABLE, reason_of, refused
from pool.fpps_accrual import Accrual
from pool.intake import LedgerError, Taken, take_batch
from pool.ledger_store import Watched
from pool.node import Node
from pool.workers_seen import WorkersSeen
from register.rules import Rules

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.5
BATCHES_PER_TICK = 50
"""So that blocks are looked after while a backlog is worked off."""


class Ledger:
    """One candidate for being the ledger.

    For metrics: `active` (it is), `outage` (PostgreSQL is away), `last_ok_at` (unix seconds or None).
    """

    def __init__(
        self,
        engine: AsyncEngine,
        nodes: Sequence[Node],
        rules: Rules,
        terms: DatedTerms,
        now_us: Callable[[], int] = unix_microseconds,
        taken: Callable[[Taken], object] = lambda taken: None,
        measured: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        """`taken` is called after each batch that was committed, and `measured` with the seconds that it
        took; they must neither wait nor raise."""
        self.active = False
        self.outage = False
        self.last_ok_at: float | None = None
        self._engine = engine
        self._watch = BlockWatch(nodes)
        self._fpps = Accrual(nodes, rules, terms, now_us)
        self._rules = rules
        self._terms = terms
        self._now_us = now_us
        self._taken = taken
        self._measured = measured
        self._seen = WorkersSeen()
        self.standing_by = False
        """Another ledger is active."""
        self._looking: asyncio.Task[Sighting | None] | None = None
        self._looked_at: list[Watched] = []

    async def run(self) -> None:
        """Be the ledger, or stand by, for ever; raises LedgerError when a person is needed."""
        while True:
            try:
                await self._hold_and_work()
            except UNAVAILABLE as error:
                self.standing_by = False  # who is active now, nobody here knows
                reason = reason_of(error)
                if refused(error):
                    raise LedgerError(f"ledger stopped, the database refused: {reason}") from error
                if not self.outage:
                    log.warning("database_away", part="ledger", reason=reason, explained="trying again")
                self.outage = True
            await asyncio.sleep(TICK_SECONDS)

    async def _hold_and_work(self) -> None:
        async with self._engine.connect() as connection:
            held = await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(LEDGER_LOCK)))
            await connection.commit()
            self.outage = False
            if not held:
                if not self.standing_by:
                    log.info("ledger_stands_by", explained="another one is active")
                self.standing_by = True
                return
            self.active, self.standing_by = True, False
            self._seen.forget()
            log.info("ledger_active")
            try:
                while True:
                    if not await self.tick(connection):
                        await asyncio.sleep(TICK_SECONDS)
            finally:
                self.active = False
                await self._stop_looking()
                await self._fpps.stop()
                # Closing the connection gives back the lock, whatever state it is in.
                await connection.invalidate()

    async def tick(self, connection: AsyncConnection) -> bool:
        """Take some batches and look after the blocks; whether more batches may be waiting."""
        busy = True
        for _ in range(BATCHES_PER_TICK):
            started = time.perf_counter()
            taken = await take_batch(connection, self._terms, self._rules.day_of, self._now_us(), self._seen)
            busy = taken is not None
            if taken is None:
                break
            self._measured(time.perf_counter() - started)
            self._taken(taken)
        await self._follow_blocks(connection)
        await self._fpps.follow(connection)
        self.last_ok_at = time.time()
        return busy

    async def _follow_blocks(self, connection: AsyncConnection) -> None:
        """Ask beside the work, since a node may be slow; book when the answer is there."""
        if self._looking is None:
            async with connection.begin():
                self._looked_at = await store.watched_blocks(connection, block_watch.FINAL_DEPTH)
            self._looking = asyncio.create_task(self._watch.look(self._looked_at))
            await asyncio.wait([self._looking], timeout=TICK_SECONDS / 10)
        if not self._looking.done():
            return
        sighting, self._looking = self._looking.result(), None
        if sighting is None:
            return
        settled = await block_watch.settle(
            connection, self._looked_at, sighting, self._rules.day_of, self._now_us
        )
        self._watch.settled(sighting, settled)

    async def _stop_looking(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._looking
            self._looking = None
