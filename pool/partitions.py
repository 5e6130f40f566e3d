"""The partitions of what grows with the work: made ahead of time, and dropped when nothing needs them.

Batches lie by the UTC day on which they were received; slices and rejects by that of the ledger's clock. A
partition for each day is made two weeks ahead. Rows of a day without one land in the default partition, and
move when theirs is made. Creation attaches a finished table, and stops readers and writers for no longer than
the default partition takes to be looked through and emptied; whoever holds a lock for long makes us try again
later, not others wait.

A partition is dropped when it is older than `HOT_DAYS`, the archive has all of it on this machine's disk, as
it was closed, and no window of a block can reach into it any more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms
from pool.clock import instant
from pool.tables import archive_hour, block, ledger_head
from stratum import difficulty

log = structlog.get_logger(__name__)

AHEAD_DAYS: Final = 14
HOT_DAYS: Final = 14
"""A partition lives at least this long after its day. The watch over devices looks back a week."""
REACHES: Final = 4
"""A partition stays while less than so many of the largest window's work stand behind it."""
WINDOW_DAYS: Final = 30
"""Windows of blocks, and of the network's difficulty, are taken from as far back; terms as far ahead, too."""
LOCK_SECONDS: Final = 5
_DAY_US: Final = 86_400_000_000


class Kind(NamedTuple):
    """A table that is cut by day."""

    name: str
    day: str
    """The column that it is cut by."""
    refers_to: str
    """The table that its rows refer to."""
    position: str
    """The column that has the batch's position."""
    order: str
    """The column with an index in whose order the batches' positions ascend."""


KINDS: Final = (
    Kind("batch", "received_on", "gateway", "position", "position"),
    Kind("slice", "taken_on", "miner", "batch_position", "position"),
    Kind("reject", "taken_on", "miner", "batch_position", "batch_position"),
)


class Partition(NamedTuple):
    """A day's partition of a table."""

    kind: Kind
    day: dt.date

    @property
    def name(self) -> str:
        """Of the table in PostgreSQL."""
        return f"{self.kind.name}_{self.day:%Y%m%d}"


class Span(NamedTuple):
    """Positions of the first and the last batch that a partition holds something of."""

    first: int | None
    last: int | None
    """None where batches have no position yet."""


async def partitions(connection: AsyncConnection, kind: Kind) -> list[Partition]:
    """The partitions of a table, the oldest first, without the default one."""
    rows = await connection.execute(
        sa.text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = CAST(:parent AS regclass) ORDER BY relname"
        ),
        {"parent": kind.name},
    )
    names = [str(row.relname) for row in rows if row.relname != f"{kind.name}_default"]
    return [Partition(kind, dt.datetime.strptime(name, f"{kind.name}_%Y%m%d").date()) for name in names]


# Making


async def make_ahead(engine: AsyncEngine, today: dt.date) -> int:
    """Make what is missing for today and the days ahead, and for rows in the default; how many were made.

    `today` is the UTC day. Raises what the database raises; what was made until then stays.
    """
    made = 0
    for kind in KINDS:
        async with engine.connect() as connection:
            known = {one.day for one in await partitions(connection, kind)}
            stray = await _stray_days(connection, kind)
        wanted = {today + dt.timedelta(days=ahead) for ahead in range(AHEAD_DAYS + 1)}
        for day in sorted(wanted - known) + sorted(stray - known - wanted):
            await make(engine, Partition(kind, day))
            made += 1
    return made


async def _stray_days(connection: AsyncConnection, kind: Kind) -> set[dt.date]:
    wanted = f"SELECT DISTINCT {kind.day} AS day FROM {kind.name}_default"  # noqa: S608 - names of ours
    rows = await connection.execute(sa.text(wanted))
    return {row.day for row in rows}


async def make(engine: AsyncEngine, partition: Partition) -> None:
    """Make a partition, with the rows of its day that lie in the default one."""
    kind, name, day = partition.kind, partition.name, partition.day
    default = f"{kind.name}_default"
    async with _locking(engine) as connection:
        # In the order in which a gateway's forwarder takes them, so that nobody waits in a circle.
        await connection.execute(sa.text(f"LOCK TABLE {kind.refers_to} IN SHARE ROW EXCLUSIVE MODE"))
        # Of the parent too: who has looked up where rows lie would miss those that move, or write past them.
        await connection.execute(sa.text(f"LOCK TABLE ONLY {kind.name} IN ACCESS EXCLUSIVE MODE"))
        await connection.execute(sa.text(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE"))
        await connection.execute(
            sa.text(
                f"CREATE TABLE {name} "
                f"(LIKE {kind.name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
            )
        )
        mine = f"FROM {default} WHERE {kind.day} = :day"
        moved = await connection.execute(sa.text(f"INSERT INTO {name} SELECT * {mine}"), {"day": day})
        if moved.rowcount:
            await connection.execute(sa.text(f"DELETE {mine}"), {"day": day})
            log.info("partition_filled", partition=name, rows=moved.rowcount, source=default)
        after = day + dt.timedelta(days=1)
        await connection.execute(
            sa.text(
                f"ALTER TABLE {kind.name} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{after}')"
            )
        )


# Dropping


async def old(connection: AsyncConnection, today: dt.date) -> list[Partition]:
    """The partitions that are old enough to go, the oldest first."""
    hot = today - dt.timedelta(days=HOT_DAYS)
    found = [one for kind in KINDS for one in await partitions(connection, kind) if one.day < hot]
    return sorted(found, key=lambda one: (one.day, one.kind.name))


async def span(connection: AsyncConnection, partition: Partition) -> Span | None:
    """Which batches a partition holds something of, by its index; None when it is empty."""
    kind, name = partition.kind, partition.name
    row = (
        await connection.execute(
            sa.text(f"""
                SELECT EXISTS (SELECT FROM {name}) AS some,
                    (SELECT {kind.position} FROM {name} ORDER BY {kind.order} LIMIT 1) AS first,
                    (SELECT {kind.position} FROM {name} ORDER BY {kind.order} DESC LIMIT 1) AS last
            """)  # noqa: S608 - names of ours
        )
    ).one()
    return Span(row.first, row.last) if row.some else None


async def needed_for(
    connection: AsyncConnection, partition: Partition, held: Span | None, terms: DatedTerms, now_us: int
) -> str | None:
    """Why a partition must stay, whatever of the archive is on disk; None when nothing needs it."""
    if held is None:
        return None
    if held.last is None:
        return "it holds batches that the ledger has not taken"
    archived = await connection.scalar(sa.select(sa.func.max(archive_hour.c.last_batch))) or 0
    if held.last > archived:
        return f"the archive ends with batch {archived}, it goes on to batch {held.last}"
    if partition.kind.name != "slice":
        return None
    largest = await largest_window(connection, terms, now_us)
    if largest is None:
        return "no share and no block has told yet how hard the network is"
    last = await connection.scalar(sa.text(f"SELECT max(total) FROM {partition.name}"))  # noqa: S608
    total = await connection.scalar(sa.select(ledger_head.c.total)) or 0
    behind = total - int(last or 0)
    if behind < REACHES * largest:
        return f"work of {behind} stands behind it, and windows may reach over {REACHES * largest}"
    return None


async def largest_window(connection: AsyncConnection, terms: DatedTerms, now_us: int) -> int | None:
    """The largest window that a block of these weeks has or would have, in hashes; None when unknown.

    From the blocks of the pool, and from the network's difficulty in the headers of archived shares: a pool
    may wait long for its next block.
    """
    since_us = now_us - WINDOW_DAYS * _DAY_US
    rows = await connection.execute(
        sa.select(block.c.window_multiple, block.c.network_target)
        .where(block.c.found_us >= since_us)
        .distinct()
    )
    sizes = [
        row.window_multiple * difficulty.work_of(int.from_bytes(row.network_target, "big")) for row in rows
    ]
    hardest = sa.func.max(
        sa.cast(sa.cast(archive_hour.c.manifest, sa.JSON)["network_work"].as_string(), sa.Numeric)
    )
    network = int(await connection.scalar(sa.select(hardest).where(archive_hour.c.hour_us >= since_us)) or 0)
    today = instant(now_us).date()
    days = (today + dt.timedelta(days=days) for days in range(-WINDOW_DAYS, WINDOW_DAYS + 1))
    sizes.append(network * max(terms.on(day).window_multiple for day in days))
    return max(sizes) or None


async def drop(engine: AsyncEngine, partition: Partition) -> None:
    """Drop a partition. Nothing comes into one of a past day, so that what was looked at is what goes."""
    async with _locking(engine) as connection:
        await connection.execute(sa.text(f"DROP TABLE {partition.name}"))
    log.info(
        "partition_dropped",
        partition=partition.name,
        explained="the archive has it, and nothing needs it any more",
    )


@asynccontextmanager
async def _locking(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that does not wait long for others, since still others would wait behind it."""
    async with engine.begin() as connection:
        await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        yield connection
