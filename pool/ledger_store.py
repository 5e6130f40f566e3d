"""The ledger's SQL: batches, slices, blocks, splits and the journal.

Every function works inside its caller's transaction and decides nothing: what is owed is decided in
`payouts`, and what may be written is guarded once more by the database's own triggers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal, pplns
from payouts.block_state import State
from payouts.slices import Slice
from pool.database import batch, block, block_event, journal_entry, journal_posting, reject, slice_, split
from pool.records import Found

WINDOW_CHUNK = 2000
"""Slices fetched at a time while a window is read backwards."""
ACTOR = "ledger"


class RejectKey(NamedTuple):
    """What refused shares are counted by."""

    miner_id: int
    worker: str
    day: dt.date
    reason: str


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block at the moment it is found: all of it is frozen but its state."""

    found: Found
    day: dt.date
    window_multiple: int
    window: pplns.Window | None
    """None when no work was in the ledger."""
    commission_bps: int
    split: pplns.Split


class Watched(NamedTuple):
    """A block whose state may still change."""

    hash: str
    height: int
    state: State


# Batches and slices


async def next_batch(connection: AsyncConnection) -> Any | None:
    """The oldest batch that has no position: id, gateway_number, first_seq, last_seq, payload."""
    columns = (batch.c.id, batch.c.gateway_number, batch.c.first_seq, batch.c.last_seq, batch.c.payload)
    waiting = sa.select(*columns).where(batch.c.position.is_(None)).order_by(batch.c.id).limit(1)
    return (await connection.execute(waiting)).one_or_none()


async def place_batch(connection: AsyncConnection, batch_id: int) -> tuple[int, int]:
    """Give a batch the next position; that position, and the last position of a slice so far."""
    newest = sa.select(sa.func.coalesce(sa.func.max(batch.c.position), 0)).scalar_subquery()
    last = sa.select(sa.func.coalesce(sa.func.max(slice_.c.position), 0)).scalar_subquery()
    before, last_slice = (await connection.execute(sa.select(newest, last))).one()
    await connection.execute(sa.update(batch).where(batch.c.id == batch_id).values(position=before + 1))
    return before + 1, last_slice


async def insert_slices(
    connection: AsyncConnection, batch_position: int, first_position: int, slices: Sequence[Slice]
) -> None:
    """Store slices at consecutive positions."""
    rows = [
        {
            "position": position,
            "batch_position": batch_position,
            "miner_id": one.miner_id,
            "worker": one.worker,
            "day": one.day,
            "work": one.work,
            "shares": one.shares,
            "first_us": one.first_us,
            "last_us": one.last_us,
        }
        for position, one in enumerate(slices, first_position)
    ]
    if rows:
        await connection.execute(sa.insert(slice_), rows)


async def insert_rejects(
    connection: AsyncConnection, batch_position: int, rejects: Mapping[RejectKey, int]
) -> None:
    """Store how many shares were refused."""
    rows = [
        {"batch_position": batch_position, **key._asdict(), "count": count} for key, count in rejects.items()
    ]
    if rows:
        await connection.execute(sa.insert(reject), rows)


async def read_window(connection: AsyncConnection, last: int, size: int) -> pplns.Window | None:
    """The window of `size` work that ends with the slice at `last`; None when there is no slice.

    Slices are read backwards in chunks, and no further than the window reaches.
    """
    if last < 1:
        return None
    return await connection.run_sync(lambda plain: pplns.window(_newest_first(plain, last), size))


def _newest_first(connection: sa.Connection, last: int) -> Iterator[pplns.Entry]:
    while True:
        rows = connection.execute(
            sa.select(slice_.c.position, slice_.c.miner_id, slice_.c.work)
            .where(slice_.c.position <= last)
            .order_by(slice_.c.position.desc())
            .limit(WINDOW_CHUNK)
        ).all()
        for row in rows:
            yield pplns.Entry(row.position, row.miner_id, row.work)
        if len(rows) < WINDOW_CHUNK:
            return
        last = rows[-1].position - 1


# Blocks


async def block_known(connection: AsyncConnection, block_hash: str) -> bool:
    """Whether the ledger has the block."""
    return await connection.scalar(sa.select(block.c.hash).where(block.c.hash == block_hash)) is not None


async def insert_block(connection: AsyncConnection, new: NewBlock) -> None:
    """Store a found block with its window and split, and its first event."""
    found, window = new.found, new.window
    await connection.execute(
        sa.insert(block).values(
            hash=found.block_hash,
            height=found.height,
            previous_hash=found.previous_hash,
            found_us=found.at_us,
            day=new.day,
            miner_id=found.miner_id or None,
            worker=found.worker,
            network_target=found.network_target,
            reward_sat=found.reward_sat,
            fees_sat=found.fees_sat,
            coinbase_txid=found.coinbase_txid,
            window_multiple=new.window_multiple,
            window_first=window and window.first_order,
            window_first_work=window and window.first_taken_work,
            window_last=window and window.last_order,
            window_work=window.work_total if window else 0,
            commission_bps=new.commission_bps,
            commission_sat=new.split.commission,
            state=State.FOUND.value,
        )
    )
    if window is not None:
        await connection.execute(
            sa.insert(split),
            [
                {
                    "hash": found.block_hash,
                    "miner_id": miner_id,
                    "work": work,
                    "amount_sat": new.split.amounts[miner_id],
                }
                for miner_id, work in window.by_miner.items()
            ],
        )
    note = f"found by worker {found.worker!r}" if found.credited else "found by a share that was not credited"
    await _insert_event(connection, found.block_hash, State.FOUND, found.at_us, note)


async def watched_blocks(connection: AsyncConnection, final_depth: int) -> list[Watched]:
    """Blocks whose state may still change: all but those `final_depth` below the pool's highest block."""
    top = sa.select(sa.func.max(block.c.height)).scalar_subquery()
    settled = sa.and_(
        block.c.state.in_([State.MATURE.value, State.ORPHANED.value]), block.c.height <= top - final_depth
    )
    rows = await connection.execute(
        sa.select(block.c.hash, block.c.height, block.c.state)
        .where(sa.not_(settled))
        .order_by(block.c.height)
    )
    return [Watched(row.hash, row.height, State(row.state)) for row in rows]


async def set_state(
    connection: AsyncConnection, watched: Watched, state: State, at_us: int, note: str
) -> bool:
    """Move a block from the state it was seen in; False when it is no longer in it."""
    moved = await connection.execute(
        sa.update(block)
        .where(block.c.hash == watched.hash, block.c.state == watched.state.value)
        .values(state=state.value)
    )
    if moved.rowcount != 1:
        return False
    await _insert_event(connection, watched.hash, state, at_us, note)
    return True


async def read_split(connection: AsyncConnection, block_hash: str) -> pplns.Split:
    """The frozen split of a block."""
    commission = await connection.scalar(sa.select(block.c.commission_sat).where(block.c.hash == block_hash))
    rows = await connection.execute(
        sa.select(split.c.miner_id, split.c.amount_sat)
        .where(split.c.hash == block_hash)
        .order_by(split.c.miner_id)
    )
    return pplns.Split(int(commission or 0), {row.miner_id: row.amount_sat for row in rows})


async def _insert_event(
    connection: AsyncConnection, block_hash: str, state: State, at_us: int, note: str
) -> None:
    await connection.execute(
        sa.insert(block_event).values(hash=block_hash, state=state.value, at_us=at_us, note=note)
    )


# The journal


async def next_instant(connection: AsyncConnection, block_hash: str, now_us: int) -> int:
    """Now, but never before the journal's last entry or the block's last event."""
    entry = sa.select(journal_entry.c.at_us).order_by(journal_entry.c.id.desc()).limit(1).scalar_subquery()
    event = (
        sa.select(sa.func.max(block_event.c.at_us)).where(block_event.c.hash == block_hash).scalar_subquery()
    )
    return int(await connection.scalar(sa.select(sa.func.greatest(now_us, entry, event))) or now_us)


async def book(connection: AsyncConnection, entry: journal.Entry, at_us: int, day: dt.date) -> None:
    """Append an entry to the journal; one without postings (a block that pays nothing) is left out.

    The database refuses to book the same step of a block twice without a reversal between.
    """
    if not entry.postings:
        return
    reversals = (
        sa.select(sa.func.count())
        .where(
            journal_entry.c.block_hash == entry.block_hash,
            journal_entry.c.kind == journal.EntryKind.BLOCK_REVERSED.value,
        )
        .scalar_subquery()
    )
    entry_id = await connection.scalar(
        sa.insert(journal_entry)
        .values(
            at_us=at_us,
            day=day,
            kind=entry.kind.value,
            block_hash=entry.block_hash,
            round=None if entry.block_hash is None else reversals,
            memo=entry.memo,
            actor=ACTOR,
        )
        .returning(journal_entry.c.id)
    )
    await connection.execute(
        sa.insert(journal_posting),
        [
            {"entry_id": entry_id, "account": posting.account, "amount": posting.amount}
            for posting in entry.postings
        ],
    )
