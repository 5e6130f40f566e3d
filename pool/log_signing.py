"""Signs the log: a checkpoint only of a tree that goes on from every one that was signed before.

Two checkpoints that do not fit would prove that the pool rewrote its past. So what was signed before is
looked up in the database and, as far as it is known, in what was published beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import log_store
from pool.log_reader import LogReader, require_continued
from pool.log_store import LogError, Signed
from reporting.checkpoint import Checkpoint
from reporting.note import NoteSigner, sign_note


async def sign_checkpoint(
    connection: AsyncConnection,
    reader: LogReader,
    origin: str,
    signers: Sequence[NoteSigner],
    at_us: int,
    told: Checkpoint | None = None,
) -> Signed | None:
    """The newest checkpoint within the caller's transaction; signed now when the log has grown.

    None for a log without leaves. `told` is what was published last, as far as is known beside the database.
    Raises LogError when the log does not go on from each checkpoint that was signed before and from `told`,
    and what a signer raises.
    """
    await connection.execute(sa.text("LOCK TABLE log_checkpoint IN SHARE ROW EXCLUSIVE MODE"))
    tree = await reader.update(connection)
    if told is not None:
        require_continued(tree, told)
    last = await log_store.newest_checkpoint(connection)
    if last is not None and last.checkpoint.origin != origin:
        raise LogError(
            f"log: its checkpoints are signed as {last.checkpoint.origin}, and the configuration makes it "
            f"{origin}; a log keeps its name: set pool.bin and pool.chain back, or give this pool a database"
        )
    size = tree.size
    if size == 0 or (last is not None and size == last.checkpoint.size):
        return last
    checkpoint = Checkpoint(origin, size, tree.root(size))
    note = await asyncio.to_thread(sign_note, checkpoint.text(), signers)  # a signer may take its time
    signed = Signed(checkpoint, note, at_us)
    await log_store.keep_checkpoint(connection, signed)
    return signed
