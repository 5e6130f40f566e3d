"""Keeps a register in memory up to date with PostgreSQL, within a second or so.

Once a second it asks for the newest event, a single index look-up, and fetches what is new. Records are put
into the live register between two turns of the loop, in small portions, so that an import of a hundred
thousand holds up nobody's share. With PostgreSQL away the register stays as it was last known.

A log that no longer holds the last known event (a restored backup) is read anew as a whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.database import UNAVAILABLE, reason_of
from pool.register_replica import RegisterReplica, ReplicaError, Version
from pool.register_store import PORTION, Head
from register.licence import Licence
from register.records import decode
from register.register import Register

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
QUERY_SECONDS = 30.0
"""A query that takes longer is given up: the host of PostgreSQL may have vanished without a word."""

Changes = Iterable[tuple[str, int]]
"""Kind of each record that changed, and the miner of a licence, else 0."""


class RegisterFollower:
    """Follows the kinds of record that it was given, for `changed` to be told."""

    def __init__(
        self,
        engine: AsyncEngine,
        register: Register,
        kinds: Sequence[str],
        changed: Callable[[Changes], object],
        replica: RegisterReplica | None = None,
    ) -> None:
        self._engine = engine
        self._register = register
        self._kinds = tuple(kinds)
        self._changed = changed
        self._replica = replica
        self._copied = (register.seq, register.sha256)
        """Up to which event the replica is true; behind the register's while its disk fails."""
        self.read_at: float | None = None
        """Unix time when the register was last known to be that of PostgreSQL."""

    async def run(self) -> None:
        """Follow until cancelled."""
        away = failing = False
        while True:
            try:
                async with asyncio.timeout(QUERY_SECONDS):
                    await self.catch_up()
                away = failing = False
            except UNAVAILABLE as error:
                if not away:
                    log.warning(
                        "database_away",
                        part="register",
                        reason=reason_of(error),
                        explained="keeping to what is known",
                    )
                away = True
            except ReplicaError as error:
                if not failing:
                    log.error("register_copy_failed", reason=str(error))
                failing = True
            await asyncio.sleep(POLL_SECONDS)

    async def catch_up(self) -> bool:
        """Take what is new; whether there was any. Raises what a lost database raises, and ReplicaError."""
        register = self._register
        known = (register.seq, register.sha256)
        since = known if self._replica is None else min(known, self._copied)
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                head = await register_store.head(connection)
                if head[:2] == known == since:
                    self.read_at = time.time()
                    return False
                lost = await register_store.hash_at(connection, since[0]) != since[1]
                anew = lost or since[0] == 0
                after = 0 if anew else since[0]
                versions: list[Version] = []
                async for portion in register_store.newest_versions(connection, self._kinds, after, head.seq):
                    versions += portion
        if lost:
            log.warning(
                "register_read_anew", since=since[0], explained="the log does not hold that event as known"
            )
        if head[:2] != known:
            await self._take(versions, head, anew=anew)
        self.read_at = time.time()
        if self._replica is not None:
            await asyncio.to_thread(self._replica.store, head, versions, since=since[0], anew=anew)
            self._copied = head[:2]
        return head[:2] != known

    async def _take(self, versions: list[Version], head: Head, *, anew: bool) -> None:
        # A whole new register is built aside and taken at once: nobody may meet it half empty.
        target = Register() if anew else self._register
        changes: set[tuple[str, int]] = set()
        for number, (kind, key, body) in enumerate(versions, 1):
            record = decode(kind, body)
            target.put(kind, key, record)
            changes.add((kind, miner_of(record)))
            if number % PORTION == 0:
                await asyncio.sleep(0)
        if anew:
            self._register.become(target)
            changes |= {("licence", 0), ("accreditation", 0)}
        self._register.seq, self._register.sha256, self._register.at_us = head
        if changes:
            self._changed(changes)


def miner_of(record: msgspec.Struct) -> int:
    """The miner whose standing a record decides; 0 for any but a licence."""
    return record.miner_id if isinstance(record, Licence) else 0
