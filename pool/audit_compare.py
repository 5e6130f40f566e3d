"""What was rebuilt against what the live database has, row by row, and where they differ.

Both sides are asked the same question and answer in the same order, so that tables of any length are compared
in one pass. What the live database no longer keeps (days that were dropped after they were archived) is not
compared, and counted as such.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.audit_sources import Period
from pool.tables import (
    account_day,
    batch,
    block,
    block_event,
    fpps_credit,
    journal_entry,
    journal_posting,
    miner_day,
    reject,
    reject_day,
    slice_,
    split,
)

SHOWN: Final = 20
"""Differences of a kind that are told one by one; the rest is counted."""
_CHUNK: Final = 5000


class Difference(NamedTuple):
    """Where the two sides differ; "none" where a side has nothing."""

    key: str
    rebuilt: str
    kept: str


@dataclass(slots=True)
class Tally:
    """How many things of a kind agree, and where they do not."""

    kind: str
    agree: int = 0
    different: int = 0
    only_archived: int = 0
    """Not compared, because the live database keeps them no longer."""
    shown: list[Difference] = field(default_factory=list)

    def compare(self, key: str, rebuilt: object, kept: object) -> None:
        """Count one thing; None is one that a side does not have."""
        if rebuilt == kept:
            self.agree += 1
        else:
            self.differs(
                key, "none" if rebuilt is None else str(rebuilt), "none" if kept is None else str(kept)
            )

    def differs(self, key: str, rebuilt: str, kept: str) -> None:
        """Count a difference."""
        self.different += 1
        if len(self.shown) < SHOWN:
            self.shown.append(Difference(key, rebuilt, kept))


class Range(NamedTuple):
    """What of the ledger's order was replayed: positions of batches and of slices, both ends included."""

    first_batch: int
    last_batch: int
    first_slice: int
    last_slice: int


class Sides(NamedTuple):
    """The two databases."""

    rebuilt: AsyncEngine
    live: AsyncEngine


async def compare_all(sides: Sides, replayed: Range, period: Period, blocks: Sequence[str]) -> list[Tally]:
    """All that can be read off the two databases; `blocks` are those in question."""
    tallies = [
        await _batches(sides, replayed),
        await _slices(sides, replayed),
        await _rejects(sides, replayed),
        *[await _table(sides, *question) for question in _questions(period, blocks)],
    ]
    return tallies


def _questions(period: Period, blocks: Sequence[str]) -> list[tuple[str, sa.Select[Any], tuple[str, ...]]]:
    """Kind, question, and the columns that tell one row from another."""
    entries = (
        sa.select(
            journal_entry.c.at_us,
            journal_entry.c.kind,
            sa.func.coalesce(
                journal_entry.c.block_hash, sa.cast(journal_entry.c.payout_id, sa.Text), ""
            ).label("source"),
            sa.func.coalesce(journal_entry.c.round, 0).label("round"),
            journal_posting.c.account,
            journal_entry.c.day,
            journal_entry.c.memo,
            journal_entry.c.actor,
            journal_posting.c.amount,
        )
        .join(journal_posting, journal_posting.c.entry_id == journal_entry.c.id)
        .where(journal_entry.c.day.between(period.first, period.last))
    )
    frozen = [column for column in block.columns if column.name != "state"]
    return [
        ("block", sa.select(*frozen).where(block.c.hash.in_(blocks)), ("hash",)),
        ("part of a block", sa.select(split).where(split.c.hash.in_(blocks)), ("hash", "miner_id")),
        (
            "step of a block as kept",
            sa.select(block_event.c.hash, block_event.c.at_us, block_event.c.state, block_event.c.note).where(
                block_event.c.hash.in_(blocks), block_event.c.at_us < period.end_us
            ),
            ("hash", "at_us", "state"),
        ),
        ("posting of the journal", entries, ("at_us", "kind", "source", "round", "account")),
        (
            "credit of FPPS as kept",
            sa.select(
                *[column for column in fpps_credit.columns if column.name not in ("id", "entry_id")]
            ).where(fpps_credit.c.at_us >= period.start_us, fpps_credit.c.at_us < period.end_us),
            ("at_us", "day", "miner_id"),
        ),
        (
            "balance of an account and day",
            sa.select(account_day).where(account_day.c.day.between(period.first, period.last)),
            ("account", "day"),
        ),
    ]


async def _table(
    sides: Sides,
    kind: str,
    question: sa.Select[Any],
    key: tuple[str, ...],
    ignore: frozenset[str] = frozenset(),
) -> Tally:
    """Both sides' answers to a question, merged by their keys."""
    tally = Tally(kind)
    asked = question.subquery()
    order = [_as_python_orders(asked.c[name]) for name in key]
    ordered = sa.select(asked).order_by(*order)
    async with sides.rebuilt.connect() as first, sides.live.connect() as second:
        await _merge(tally, key, _rows(first, ordered), _rows(second, ordered), ignore)
    return tally


def _as_python_orders(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.collate(column, "C") if isinstance(column.type, sa.String) else column


async def _rows(connection: AsyncConnection, question: sa.Select[Any]) -> AsyncIterator[Mapping[str, Any]]:
    result = await connection.stream(question)
    async for rows in result.partitions(_CHUNK):
        for row in rows:
            yield row._mapping


async def _merge(
    tally: Tally,
    key: tuple[str, ...],
    rebuilt: AsyncIterator[Mapping[str, Any]],
    kept: AsyncIterator[Mapping[str, Any]],
    ignore: frozenset[str] = frozenset(),
) -> None:
    one, other = await anext(rebuilt, None), await anext(kept, None)
    while one is not None or other is not None:
        keys = [None if row is None else tuple(row[name] for name in key) for row in (one, other)]
        if keys[1] is None or (keys[0] is not None and keys[0] < keys[1]):
            tally.differs(_key(key, one), _told(one, key), "none")
            one = await anext(rebuilt, None)
        elif keys[0] is None or keys[1] < keys[0]:
            tally.differs(_key(key, other), "none", _told(other, key))
            other = await anext(kept, None)
        else:
            _compare(tally, key, one, other, ignore)
            one, other = await anext(rebuilt, None), await anext(kept, None)


def _compare(tally: Tally, key: tuple[str, ...], one: Any, other: Any, ignore: frozenset[str]) -> None:
    """Only the columns that differ are told."""
    apart = [name for name in one if name not in ignore and one[name] != other[name]]
    if not apart:
        tally.agree += 1
        return
    tally.differs(
        _key(key, one), *(", ".join(f"{name} {_shown(row[name])}" for name in apart) for row in (one, other))
    )


def _key(key: tuple[str, ...], row: Any) -> str:
    return " ".join(f"{name} {row[name]}" for name in key)


def _told(row: Any, key: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in row.items() if name not in key)


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


# The order of all work: what is hot is compared


async def _batches(sides: Sides, replayed: Range) -> Tally:
    """Place, source and time of each batch that the live database still has; their records are told apart."""
    question = sa.select(
        batch.c.position,
        batch.c.gateway_number,
        batch.c.first_seq,
        batch.c.last_seq,
        batch.c.records,
        batch.c.taken_us,
        batch.c.first_us,
        batch.c.last_us,
    )
    return await _of_order(sides, "batch", question, batch.c.position, ("position",), replayed[:2])


async def _slices(sides: Sides, replayed: Range) -> Tally:
    """A miner's running total begins anew in the replay: the difference must stay the same."""
    question = sa.select(slice_)
    tally = await _of_order(
        sides, "slice", question, slice_.c.position, ("position",), replayed[2:], frozenset({"miner_total"})
    )
    async with sides.rebuilt.connect() as first, sides.live.connect() as second:
        spread = [await _spread(one, replayed) for one in (first, second)]
    for miner_id in sorted(spread[0].keys() & spread[1].keys()):
        if spread[0][miner_id][0] == spread[1][miner_id][0]:
            totals = [one[miner_id][1] for one in spread]
            if totals[0] != totals[1]:
                tally.differs(f"running total of miner {miner_id}", str(totals[0]), str(totals[1]))
    return tally


async def _spread(connection: AsyncConnection, replayed: Range) -> dict[int, tuple[int, int]]:
    """By miner: where its slices of the range begin, and how far its own total stands from its own work."""
    rows = await connection.execute(
        sa.select(
            slice_.c.miner_id,
            sa.func.min(slice_.c.position).label("first"),
            (sa.func.max(slice_.c.miner_total) - sa.func.min(slice_.c.miner_total - slice_.c.work)).label(
                "grown"
            ),
        )
        .where(slice_.c.position.between(*replayed[2:]))
        .group_by(slice_.c.miner_id)
    )
    return {row.miner_id: (row.first, int(row.grown)) for row in rows}


async def _rejects(sides: Sides, replayed: Range) -> Tally:
    question = sa.select(reject)
    key = ("batch_position", "miner_id", "worker", "day", "reason")
    return await _of_order(sides, "refused shares", question, reject.c.batch_position, key, replayed[:2])


async def _of_order(
    sides: Sides,
    kind: str,
    question: sa.Select[Any],
    position: sa.Column[int],
    key: tuple[str, ...],
    bounds: tuple[int, ...],
    ignore: frozenset[str] = frozenset(),
) -> Tally:
    """Rows of a partitioned table from the first one that is still kept; older ones are in the archive."""
    first, last = bounds
    within = position.between(first, last)
    async with sides.live.connect() as live, sides.rebuilt.connect() as rebuilt:
        oldest = await live.scalar(sa.select(sa.func.min(position)).where(within))
        begin = last + 1 if oldest is None else oldest
        dropped = sa.select(sa.func.count()).where(position >= first, position < begin)
        only_archived = int(await rebuilt.scalar(dropped) or 0)
    tally = await _table(sides, kind, question.where(position.between(begin, last)), key, ignore)
    tally.only_archived = only_archived
    return tally


async def compare_days(sides: Sides, period: Period, days: Mapping[str, Mapping[Any, Any]]) -> list[Tally]:
    """Work and refused shares by day, with what came in later than the replay went (`days`, by table)."""
    return [
        await _days(sides, "work of a miner and day", miner_day, ("shares", "work"), period, days),
        await _days(sides, "refused shares by day", reject_day, ("count",), period, days),
    ]


async def _days(
    sides: Sides,
    kind: str,
    table: sa.Table,
    values: tuple[str, ...],
    period: Period,
    later: Mapping[str, Mapping[Any, Any]],
) -> Tally:
    tally = Tally(kind)
    key = tuple(column.name for column in table.primary_key)
    found: list[dict[tuple[Any, ...], tuple[int, ...]]] = []
    for engine in sides:
        async with engine.connect() as connection:
            rows = await connection.execute(
                sa.select(table).where(_between(table, period.first, period.last))
            )
            found.append(
                {
                    tuple(row[name] for name in key): tuple(int(row[name]) for name in values)
                    for row in rows.mappings()
                }
            )
    rebuilt = dict(found[0])
    for where, more in later.get(table.name, {}).items():
        rebuilt[where] = tuple(a + b for a, b in zip(rebuilt.get(where, (0,) * len(more)), more, strict=True))
    for where in sorted(rebuilt.keys() | found[1].keys()):
        told = " ".join(f"{name} {value}" for name, value in zip(key, where, strict=True))
        tally.compare(told, _labelled(values, rebuilt.get(where)), _labelled(values, found[1].get(where)))
    return tally


def _between(table: sa.Table, first: dt.date, last: dt.date) -> sa.ColumnElement[bool]:
    return table.c.day.between(first, last)


def _labelled(names: tuple[str, ...], values: tuple[int, ...] | None) -> str | None:
    if values is None:
        return None
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))
