"""The log's tree in the memory of a process, brought up to date by what is new in the database.

A root or a proof then costs a few look-ups however long the log is, and nobody else of the process waits for
it. What was read once is not read again: every new leaf is checked against its number and its hash, and every
signed checkpoint against the tree.
"""

from __future__ import annotations

import asyncio
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import log_store
from pool.log_store import LogError
from pool.tables_log import log_checkpoint, log_leaf
from reporting.checkpoint import Checkpoint, LoggedProof
from reporting.merkle import ProofError, Tree, check_consistency, leaf_hash

PORTION: Final = 500
"""Leaves taken in before the loop may turn."""


class LogReader:
    """One database's log."""

    def __init__(self) -> None:
        self.tree = Tree()
        self._sound = 0
        self._lock = asyncio.Lock()

    async def update(self, connection: AsyncConnection) -> Tree:
        """The tree of all leaves that the transaction sees.

        Raises LogError where one is not what it must be, where leaves are gone that were there, and where the
        log does not go on from each checkpoint that was signed.
        """
        async with self._lock:
            await self._take_in(connection)
            signed = sa.select(log_checkpoint.c.size, log_checkpoint.c.root).order_by(log_checkpoint.c.size)
            rows = await connection.execute(signed.where(log_checkpoint.c.size > self._sound))
            for size, root in rows.all():
                require_continued(self.tree, Checkpoint("", size, root))
                self._sound = size
            return self.tree

    async def proof(
        self, connection: AsyncConnection, index: int, data: bytes | None = None
    ) -> LoggedProof | None:
        """Where an entry stands in the newest signed checkpoint; None while none that was signed has it.

        With `data`, the entry's own, the proof carries it along. Raises as `update`.
        """
        signed = await log_store.newest_checkpoint(connection)
        if signed is None or signed.checkpoint.size <= index:
            return None
        tree = await self.update(connection)
        hashes = tuple(tree.inclusion(index, signed.checkpoint.size))
        return LoggedProof(index, hashes, await log_store.published_note(connection, signed), data)

    async def _take_in(self, connection: AsyncConnection) -> None:
        known = self.tree.size
        # The last that is known is read as well: it must still be there.
        wanted = sa.select(log_leaf.c.index, log_leaf.c.data, log_leaf.c.hash).order_by(log_leaf.c.index)
        rows = await connection.stream(wanted.where(log_leaf.c.index >= known - 1))
        at = max(known - 1, 0)
        async for portion in rows.partitions(PORTION):
            for index, data, stored in portion:
                node = leaf_hash(data)
                if index != at or stored != node or (at < known and self.tree.full(0, at, 1) != [node]):
                    raise LogError(
                        f"log leaf {index}: it is not the one that was there, or its data does not have the "
                        f"hash {stored.hex()}; the database was tampered with, or restored from a backup"
                    )
                if at >= known:
                    self.tree.append(node)
                at += 1
            await asyncio.sleep(0)
        if at < known:
            raise LogError(
                f"log: there were {known} leaves, and the database has fewer: it was restored from an older "
                f"backup. Nothing is signed; docs/log.md says what can be done"
            )


def require_continued(tree: Tree, earlier: Checkpoint) -> None:
    """That the log as it is goes on from an earlier checkpoint; raises LogError."""
    if earlier.size > tree.size:
        raise LogError(
            f"log: a checkpoint of {earlier.size} leaves was published, and the database has {tree.size}: it "
            f"was restored from an older backup. Nothing is signed; docs/log.md says what can be done"
        )
    proof = tree.consistency(earlier.size)
    try:
        check_consistency(earlier.size, earlier.root, tree.size, tree.root(), proof)
    except ProofError as error:
        raise LogError(
            f"log: its first {earlier.size} leaves are not those of a checkpoint that was signed: {error}. "
            f"Nothing is signed; docs/log.md says what can be done"
        ) from error
