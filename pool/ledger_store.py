"""The ledger's SQL: batches, slices, blocks and splits. The journal's is `pool.journal_store`.

Every function works inside its caller's transaction and decides nothing: what is owed is decided in
`payouts`, and what may be written is guarded once more by the database's own triggers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import pplns
from payouts.block_state import State
from payouts.slices import Slice
from payouts.terms import Terms
from pool.clock import instant
from pool.records import Found
from pool.tables import (
    Work,
    batch,
    block,
    block_event,
    ledger_head,
    miner_day,
    miner_work,
    reject,
    reject_day,
    slice_,
    split,
)

_SLICE_COLUMNS: Final = tuple(column.name for column in slice_.columns)


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
    terms: Terms
    window: pplns.Window | None
    """None when nobody's work is paid by it."""
    split: pplns.Split


class Head(NamedTuple):
    """Where the ledger stands: the last positions given, all work until there, and its clock."""

    batch_position: int
    slice_position: int
    total: int
    taken_us: int

    @property
    def taken_on(self) -> dt.date:
        """The UTC day of its clock, by which tables are cut."""
        return instant(self.taken_us).date()


class Watched(NamedTuple):
    """A block whose state may still change."""

    hash: str
    height: int
    state: State


# Batches and slices


async def next_batch(connection: AsyncConnection) -> Any | None:
    """The oldest batch without a position: id, received_on, gateway_number, first_seq, last_seq, payload."""
    columns = (
        batch.c.id,
        batch.c.received_on,
        batch.c.gateway_number,
        batch.c.first_seq,
        batch.c.last_seq,
        batch.c.payload,
    )
    waiting = sa.select(*columns).where(batch.c.position.is_(None)).order_by(batch.c.id).limit(1)
    return (await connection.execute(waiting)).one_or_none()


async def read_head(connection: AsyncConnection) -> Head:
    """Where the ledger stands, as it was last committed."""
    return _head((await connection.execute(sa.select(ledger_head))).one())


async def move_head(connection: AsyncConnection, now_us: int) -> Head:
    """Where the ledger stands, for a transaction that goes on from there; its clock never runs backwards."""
    row = (await connection.execute(sa.select(ledger_head).with_for_update())).one()
    return _head(row)._replace(taken_us=max(now_us, row.taken_us))


def _head(row: Any) -> Head:
    return Head(row.batch_position, row.slice_position, row.total, row.taken_us)


async def place_batch(connection: AsyncConnection, waiting: Any, head: Head, slices: Sequence[Slice]) -> None:
    """Give a batch the next position, with the ledger's time and the times of its shares."""
    await connection.execute(
        sa.update(batch)
        .where(batch.c.id == waiting.id, batch.c.received_on == waiting.received_on)
        .values(
            position=head.batch_position + 1,
            taken_us=head.taken_us,
            first_us=min((one.first_us for one in slices), default=None),
            last_us=max((one.last_us for one in slices), default=None),
        )
    )


async def append_slices(connection: AsyncConnection, head: Head, slices: Sequence[Slice]) -> Head:
    """Store slices of miners behind the head, by COPY, and count them; where the ledger stands then."""
    totals = await _add_work(connection, slices)
    await _add_days(connection, slices)
    rows = list(_slice_rows(head, slices, totals))
    if rows:
        raw = await connection.get_raw_connection()
        await raw.driver_connection.copy_records_to_table(  # type: ignore[union-attr]
            slice_.name, records=rows, columns=_SLICE_COLUMNS
        )
    moved = Head(
        head.batch_position + 1,
        head.slice_position + len(slices),
        head.total + sum(one.work for one in slices),
        head.taken_us,
    )
    await connection.execute(sa.update(ledger_head).values(moved._asdict()))
    return moved


async def _add_work(connection: AsyncConnection, slices: Sequence[Slice]) -> dict[int, int]:
    """Count each miner's work; its work of all time before these slices."""
    work = _summed((one.miner_id, one.work) for one in slices)
    if not work:
        return {}
    more = _table_of("more", miner_work.c.miner_id, miner_work.c.total)
    statement = upsert(miner_work).from_select(["miner_id", "total"], sa.select(more))
    rows = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[miner_work.c.miner_id],
            set_={"total": miner_work.c.total + statement.excluded.total},
        ).returning(miner_work.c.miner_id, miner_work.c.total),
        {"miner_id": list(work), "total": [Decimal(one) for one in work.values()]},
    )
    return {row.miner_id: row.total - work[row.miner_id] for row in rows}


def _table_of(name: str, *columns: sa.Column[Any]) -> sa.TableValuedAlias:
    """Rows given as one array for each column, named as it: however many, the statement is the same."""
    arrays = (
        sa.bindparam(one.name, type_=postgresql.ARRAY(sa.Numeric if isinstance(one.type, Work) else one.type))
        for one in columns
    )
    return (
        sa.func.unnest(*arrays)
        .table_valued(*(sa.column(one.name, one.type) for one in columns), name=name)
        .render_derived()
    )


async def _add_days(connection: AsyncConnection, slices: Sequence[Slice]) -> None:
    days: dict[tuple[dt.date, int], dict[str, Any]] = {}
    for one in slices:
        row = days.get((one.day, one.miner_id))
        if row is None:
            days[one.day, one.miner_id] = {
                "day": one.day,
                "miner_id": one.miner_id,
                "shares": one.shares,
                "work": one.work,
                "first_us": one.first_us,
                "last_us": one.last_us,
            }
            continue
        row["shares"] += one.shares
        row["work"] += one.work
        row["first_us"] = min(row["first_us"], one.first_us)
        row["last_us"] = max(row["last_us"], one.last_us)
    if not days:
        return
    columns = [*miner_day.columns]
    statement = upsert(miner_day).from_select(
        [one.name for one in columns], sa.select(_table_of("more", *columns))
    )
    more, kept = statement.excluded, miner_day.c
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[kept.day, kept.miner_id],
            set_={
                "shares": kept.shares + more.shares,
                "work": kept.work + more.work,
                "first_us": sa.func.least(kept.first_us, more.first_us),
                "last_us": sa.func.greatest(kept.last_us, more.last_us),
            },
        ),
        {
            one.name: [Decimal(row[one.name]) if one is kept.work else row[one.name] for row in days.values()]
            for one in columns
        },
    )


def _slice_rows(head: Head, slices: Sequence[Slice], before: dict[int, int]) -> Iterator[tuple[Any, ...]]:
    total, of_miner = head.total, dict(before)
    for position, one in enumerate(slices, head.slice_position + 1):
        total += one.work
        of_miner[one.miner_id] += one.work
        yield (
            position,
            head.taken_on,
            head.batch_position + 1,
            one.miner_id,
            one.day,
            Decimal(one.work),
            one.shares,
            one.first_us,
            one.last_us,
            Decimal(total),
            Decimal(of_miner[one.miner_id]),
        )


def _summed(parts: Iterable[tuple[int, int]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for key, amount in parts:
        sums[key] = sums.get(key, 0) + amount
    return sums


async def append_rejects(connection: AsyncConnection, head: Head, rejects: Mapping[RejectKey, int]) -> None:
    """Store how many shares of the batch behind the head were refused, and count them by day."""
    if not rejects:
        return
    placed = {"batch_position": head.batch_position + 1, "taken_on": head.taken_on}
    rows = [{**placed, **key._asdict(), "count": count} for key, count in rejects.items()]
    await connection.execute(sa.insert(reject), rows)
    days: dict[tuple[dt.date, int, str], int] = {}
    for key, count in rejects.items():
        day = (key.day, key.miner_id, key.reason)
        days[day] = days.get(day, 0) + count
    statement = upsert(reject_day).values(
        [
            {"day": day, "miner_id": miner_id, "reason": reason, "count": count}
            for (day, miner_id, reason), count in days.items()
        ]
    )
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[reject_day.c.day, reject_day.c.miner_id, reject_day.c.reason],
            set_={"count": reject_day.c.count + statement.excluded.count},
        )
    )


async def read_window(connection: AsyncConnection, last: int, size: int) -> pplns.Window | None:
    """The window of `size` work that ends with the slice at `last`; None when there is no slice or no size.

    What `payouts.pplns.window` says, found by look-ups in the running totals however long it is: it is the
    stretch of all work from `total - size` to `total`, and what a miner did in it is the difference of its
    own totals. Raises ValueError when it reaches back to slices that are no longer kept.
    """
    if last < 1 or size < 1:
        return None
    columns = (slice_.c.position, slice_.c.miner_id, slice_.c.work, slice_.c.total)
    end = (await connection.execute(sa.select(*columns).where(slice_.c.position == last))).one_or_none()
    if end is None:
        raise ValueError(f"slice {last} is not in the ledger, so that no window can end with it")
    begin = max(end.total - size, 0)
    first = (
        await connection.execute(
            sa.select(*columns).where(slice_.c.total > begin).order_by(slice_.c.total).limit(1)
        )
    ).one()
    if first.total - first.work > begin:
        raise ValueError(
            f"the window of {size} work that ends with slice {last} reaches back before slice "
            f"{first.position}, the oldest that is kept: bring earlier partitions back from a backup"
        )
    by_miner = await _work_between(connection, first.position, last)
    taken = min(first.total - begin, end.total - begin)
    by_miner[first.miner_id] -= first.work - taken
    return pplns.Window(first.position, taken, last, min(size, end.total), by_miner)


async def _work_between(connection: AsyncConnection, first: int, last: int) -> dict[int, int]:
    """The whole work of each miner in the slices of two positions and between."""

    def edge(*, newest: bool) -> sa.sql.selectable.LateralFromClause:
        place = slice_.c.position
        return (
            sa.select(slice_.c.miner_total, slice_.c.work)
            .where(slice_.c.miner_id == miner_work.c.miner_id, place.between(first, last))
            .order_by(place.desc() if newest else place.asc())
            .limit(1)
            .lateral("newest" if newest else "oldest")
        )

    newest, oldest = edge(newest=True), edge(newest=False)
    rows = await connection.execute(
        sa.select(miner_work.c.miner_id, newest.c.miner_total - oldest.c.miner_total + oldest.c.work)
        .select_from(miner_work.join(newest, sa.true()).join(oldest, sa.true()))
        .order_by(miner_work.c.miner_id)
    )
    return {miner_id: int(work) for miner_id, work in rows}


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
            window_multiple=new.terms.window_multiple,
            window_first=window and window.first_order,
            window_first_work=window and window.first_taken_work,
            window_last=window and window.last_order,
            window_work=window.work_total if window else 0,
            commission_bps=new.terms.commission_bps,
            commission_sat=new.split.commission,
            state=State.FOUND.value,
            scheme=new.terms.scheme,
            transaction_fees=new.terms.transaction_fees,
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
                    "commission_sat": new.split.commissions[miner_id],
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


async def mark_submitted(connection: AsyncConnection, block_hash: str, at_us: int, node: str) -> None:
    """A node has taken a block; what became of it since then is not told backwards."""
    found = await connection.execute(
        sa.select(block.c.height, block.c.found_us).where(
            block.c.hash == block_hash, block.c.state == State.FOUND.value
        )
    )
    row = found.one_or_none()
    if row is not None:
        watched = Watched(block_hash, row.height, State.FOUND)
        await set_state(connection, watched, State.SUBMITTED, max(at_us, row.found_us), f"taken by {node}")


async def read_split(connection: AsyncConnection, block_hash: str) -> pplns.Split:
    """The frozen split of a block."""
    commission = await connection.scalar(sa.select(block.c.commission_sat).where(block.c.hash == block_hash))
    rows = (
        await connection.execute(
            sa.select(split.c.miner_id, split.c.amount_sat, split.c.commission_sat)
            .where(split.c.hash == block_hash)
            .order_by(split.c.miner_id)
        )
    ).all()
    return split_of(int(commission or 0), rows)


def split_of(commission_sat: int, parts: Sequence[Any]) -> pplns.Split:
    """A split from its rows: miner_id, amount_sat and commission_sat of each miner."""
    return pplns.Split(
        commission_sat,
        {part.miner_id: part.amount_sat for part in parts},
        {part.miner_id: part.commission_sat for part in parts},
    )


def window_of(row: Any, parts: Sequence[Any]) -> pplns.Window:
    """The window of a block that has one, from its row and those of its split."""
    return pplns.Window(
        row.window_first,
        row.window_first_work,
        row.window_last,
        row.window_work,
        {part.miner_id: part.work for part in parts},
    )


def terms_of(row: Any) -> Terms:
    """The terms that were frozen with a block."""
    return Terms(row.scheme, row.window_multiple, row.commission_bps, row.transaction_fees)


async def _insert_event(
    connection: AsyncConnection, block_hash: str, state: State, at_us: int, note: str
) -> None:
    await connection.execute(
        sa.insert(block_event).values(hash=block_hash, state=state.value, at_us=at_us, note=note)
    )
