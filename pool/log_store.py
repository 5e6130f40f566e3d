"""The transparency log in PostgreSQL: leaves, signed checkpoints, cosignatures.

A leaf is added within the transaction of what it tells, so that there is no report without its leaf and no
leaf without its report. Whoever adds one waits for who adds another, until that transaction ends: numbers
have no gap, and become visible in order.

Nothing here is ever changed: triggers refuse it (`pool.tables_log`). The tree over the leaves is the business
of `pool.log_reader`, what is signed that of `pool.log_signing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import rfc8785
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.clock import instant
from pool.tables_log import log_checkpoint, log_cosignature, log_leaf
from reporting.checkpoint import Checkpoint, parse_checkpoint
from reporting.merkle import leaf_hash
from reporting.note import (
    COSIGNATURE,
    Note,
    VerifierKey,
    cosigned_at,
    parse_note,
    parse_signatures,
)

KINDS: Final = frozenset({"report", "rules", "register", "access", "key", "form", "log_key"})
"""What is told of: `docs/log.md` has the members of each."""
DATA_LIMIT: Final = 65_535
"""Bytes of a leaf: an entry bundle has two bytes for its length (C2SP tlog-tiles)."""


class LogError(Exception):
    """The log cannot be added to, signed or published. The message says what is wrong and what to do."""


class Signed(NamedTuple):
    """A checkpoint that was signed."""

    checkpoint: Checkpoint
    note: Note
    """Without cosignatures."""
    signed_us: int


# Leaves


async def lock(connection: AsyncConnection) -> None:
    """Have all others who would add a leaf wait until this transaction ends.

    `append` does it too. A REPEATABLE READ transaction calls it before its first look at the database: a leaf
    that came after that look is not seen by it, and its number would be given twice.
    """
    await connection.execute(sa.text("LOCK TABLE log_leaf IN SHARE ROW EXCLUSIVE MODE"))


async def append(connection: AsyncConnection, kind: str, body: Mapping[str, Any], at_us: int) -> int:
    """Add one leaf within the caller's transaction; its index, from 0.

    The leaf's data is the canonical JSON (RFC 8785) of `kind`, `at` (ISO 8601, UTC) and the members of
    `body`. Raises ValueError for another kind or a body that no leaf can carry.
    """
    data = _leaf_data(kind, body, at_us)
    await lock(connection)
    newest: int | None = await connection.scalar(sa.select(sa.func.max(log_leaf.c.index)))
    index = 0 if newest is None else newest + 1
    await connection.execute(
        sa.insert(log_leaf).values(
            index=index, previous=newest, kind=kind, at_us=at_us, data=data, hash=leaf_hash(data)
        )
    )
    return index


def _leaf_data(kind: str, body: Mapping[str, Any], at_us: int) -> bytes:
    if kind not in KINDS:
        raise ValueError(f"log leaf: {kind!r} is no kind; there are {', '.join(sorted(KINDS))}")
    if taken := {"kind", "at"}.intersection(body):
        raise ValueError(f"log leaf of kind {kind}: its body has {sorted(taken)}, which the log sets itself")
    data = rfc8785.dumps({"kind": kind, "at": instant(at_us).isoformat(), **body})
    if len(data) > DATA_LIMIT:
        raise ValueError(f"log leaf of kind {kind}: {len(data)} bytes; a leaf has at most {DATA_LIMIT}")
    return data


async def newest_of(connection: AsyncConnection, kind: str) -> bytes | None:
    """The data of the newest leaf of a kind."""
    wanted = sa.select(log_leaf.c.data).where(log_leaf.c.kind == kind).order_by(log_leaf.c.index.desc())
    data = await connection.scalar(wanted.limit(1))
    return None if data is None else bytes(data)


async def size(connection: AsyncConnection) -> int:
    """How many leaves there are."""
    found = await connection.scalar(sa.select(sa.func.coalesce(sa.func.max(log_leaf.c.index) + 1, 0)))
    return int(found or 0)


async def entries(connection: AsyncConnection, first: int, count: int) -> list[bytes]:
    """The data of `count` leaves from index `first`, or of those there are."""
    wanted = sa.select(log_leaf.c.data).where(log_leaf.c.index >= first, log_leaf.c.index < first + count)
    return list(await connection.scalars(wanted.order_by(log_leaf.c.index)))


# Checkpoints


async def newest_checkpoint(connection: AsyncConnection) -> Signed | None:
    """The largest that was signed."""
    newest = sa.select(log_checkpoint).order_by(log_checkpoint.c.size.desc()).limit(1)
    row = (await connection.execute(newest)).one_or_none()
    return None if row is None else _signed(row)


async def checkpoint_of(connection: AsyncConnection, wanted: int) -> Signed | None:
    """The one of a size, if one was signed."""
    found = await connection.execute(sa.select(log_checkpoint).where(log_checkpoint.c.size == wanted))
    row = found.one_or_none()
    return None if row is None else _signed(row)


async def signed_sizes(connection: AsyncConnection) -> list[int]:
    """The sizes of all checkpoints that were signed."""
    return list(await connection.scalars(sa.select(log_checkpoint.c.size).order_by(log_checkpoint.c.size)))


def _signed(row: Any) -> Signed:
    note = parse_note(row.note)
    checkpoint = parse_checkpoint(note.text)
    if (checkpoint.size, checkpoint.root) != (row.size, row.root):
        raise LogError(
            f"log checkpoint of {row.size} leaves: its note speaks of {checkpoint.size} leaves and root "
            f"{checkpoint.root.hex()}; the database was tampered with: restore a backup"
        )
    return Signed(checkpoint, note, row.signed_us)


async def keep_checkpoint(connection: AsyncConnection, signed: Signed) -> None:
    """Store a checkpoint; the database refuses one that is not larger than all before it."""
    checkpoint = signed.checkpoint
    await connection.execute(
        sa.insert(log_checkpoint).values(
            size=checkpoint.size, root=checkpoint.root, note=signed.note.encode(), signed_us=signed.signed_us
        )
    )


# Cosignatures


async def cosignatures(connection: AsyncConnection, of_size: int) -> list[str]:
    """The lines of witnesses below the checkpoint of a size, in the order in which they came."""
    return list(
        await connection.scalars(
            sa.select(log_cosignature.c.line)
            .where(log_cosignature.c.size == of_size)
            .order_by(log_cosignature.c.received_us, log_cosignature.c.name)
        )
    )


async def cosigned(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """By name and key id of each witness, the largest checkpoint that it cosigned."""
    found = await connection.execute(
        sa.select(
            log_cosignature.c.name, log_cosignature.c.key_id, sa.func.max(log_cosignature.c.size)
        ).group_by(log_cosignature.c.name, log_cosignature.c.key_id)
    )
    return {(name, key_id): largest for name, key_id, largest in found}


async def published_note(connection: AsyncConnection, signed: Signed) -> Note:
    """A checkpoint with all its cosignatures, as it is published."""
    lines = await cosignatures(connection, signed.checkpoint.size)
    witnesses = parse_signatures("".join(f"{line}\n" for line in lines)) if lines else []
    return Note(signed.note.text, (*signed.note.signatures, *witnesses))


async def add_cosignatures(
    connection: AsyncConnection, note: Note, witnesses: Iterable[VerifierKey], at_us: int
) -> list[str]:
    """Keep the cosignatures of a checkpoint of ours, each verified; the names of their witnesses.

    What was kept before stays. Raises LogError for a checkpoint that was not signed here, and when no line is
    of a witness that the configuration has; NoteError when a line of one is wrong.
    """
    checkpoint = parse_checkpoint(note.text)
    ours = await checkpoint_of(connection, checkpoint.size)
    if ours is None or ours.note.text != note.text:
        raise LogError(
            f"cosigned checkpoint of {checkpoint.origin} with {checkpoint.size} leaves and root "
            f"{checkpoint.root.hex()}: this log signed no such checkpoint"
        )
    known = [key for key in witnesses if key.type == COSIGNATURE]
    found = [(key, one) for one in note.signatures for key in known if key.signed(one)]
    if not found:
        strangers = sorted({one.name for one in note.signatures} - {checkpoint.origin}) or ["nobody"]
        raise LogError(
            f"cosigned checkpoint: it is cosigned by {', '.join(strangers)}, and by no key of "
            f"[[log.witnesses]]; enter the witness's vkey there first"
        )
    for key, signature in found:
        key.check(note.text, signature)
        values = {
            "size": checkpoint.size,
            "name": key.name,
            "key_id": key.key_id.hex(),
            "cosigned_s": cosigned_at(signature),
            "line": signature.line(),
            "received_us": at_us,
        }
        await connection.execute(insert(log_cosignature).values(values).on_conflict_do_nothing())
    return sorted({key.name for key, _ in found})
