"""What the split of a block costs when its window holds ten million slices.

    python -m benchmarks.split_window [--slices 10000000] [--miners 84] [--days 3] [--rounds 15]

Slices lie in a real PostgreSQL, the one that comes with the pool, in partitions by day. `read_window` and
`Terms.divide` are what the ledger calls when a block is found. Then the pure function,
`payouts.pplns.window`, goes over the same slices one by one (what an auditor does), and both must agree. The
goal is two seconds for a split over ten million. Memory is by how much this process grew.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import pplns
from payouts.terms import Terms
from pool import ledger_store as store
from pool.database import create_engine, migrate
from pool.embedded_postgres import EmbeddedPostgres
from pool.tables import miner

FIRST_DAY = dt.date(2026, 11, 24)
UNIT = 16384 << 32
"""The work of one share at difficulty 16384."""
REWARD, FEES = 320_154_321, 7_654_321
WINDOWS = (1000, 100_000, 1_000_000)
"""Slices in the smaller windows that are measured too."""


def miner_of(position: int, miners: int) -> int:
    """Whose slice it is; the same in SQL."""
    return 1 + (position * 7919 + position // 97) % miners


def work_of(position: int) -> int:
    """Its work; the same in SQL."""
    return UNIT * (1 + position * 104_729 % 50)


async def fill(engine: AsyncEngine, slices: int, miners: int, days: int) -> None:
    """Partitions, miners, and all slices with their running totals."""
    async with engine.begin() as connection:
        await connection.execute(
            sa.insert(miner), [{"id": number, "name": f"m{number}"} for number in range(1, miners + 1)]
        )
        for number in range(days):
            day = FIRST_DAY + dt.timedelta(number)
            await connection.execute(
                sa.text(
                    f"CREATE TABLE slice_{number} PARTITION OF slice "
                    f"FOR VALUES FROM ('{day}') TO ('{day + dt.timedelta(1)}')"
                )
            )
        # The foreign key of each row is not what is measured.
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await connection.execute(sa.text("SET LOCAL work_mem = '512MB'"))
        await connection.execute(
            sa.text(
                f"""
                INSERT INTO slice SELECT p, date '{FIRST_DAY}' + (p - 1)::int / :daily, p / 50 + 1, m,
                    date '{FIRST_DAY}' + (p - 1)::int / :daily, w, 12, p, p,
                    sum(w) OVER (ORDER BY p), sum(w) OVER (PARTITION BY m ORDER BY p)
                FROM (SELECT p, 1 + (p * 7919 + p / 97) % :miners AS m,
                        {UNIT}::numeric * (1 + p * 104729 % 50) AS w
                    FROM generate_series(1, CAST(:slices AS bigint)) AS p) AS made
                ORDER BY p
                """
            ),
            {"daily": -(-slices // days), "miners": miners, "slices": slices},
        )
        await connection.execute(
            sa.text("INSERT INTO miner_work SELECT miner_id, max(miner_total) FROM slice GROUP BY miner_id")
        )
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text("VACUUM ANALYZE slice"))


def newest_first(slices: int, miners: int) -> Iterator[pplns.Entry]:
    """The same slices for the pure function."""
    for position in range(slices, 0, -1):
        yield pplns.Entry(position, miner_of(position, miners), work_of(position))


async def timed(rounds: int, what: Callable[[], Awaitable[object]]) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        await what()
        taken.append((time.perf_counter() - begin) * 1000)
    return taken


async def measure(connection: AsyncConnection, slices: int, miners: int, rounds: int) -> None:
    """Print the table, and compare with the pure function."""
    terms = Terms("pplns", 2, 100, "shared")
    me = psutil.Process()
    print("| window, slices | first, ms | median, ms | slowest, ms | memory grew, MB |")
    print("|---|---|---|---|---|")
    for length in (*(one for one in WINDOWS if one < slices), slices - 1):
        # Half a unit more than whole slices, so that the oldest is cut.
        size = sum(work_of(position) for position in range(slices - length + 1, slices + 1)) + UNIT // 2

        async def divide(size: int = size) -> pplns.Split:
            window = await store.read_window(connection, slices, size)
            return terms.divide(REWARD, FEES, window)

        before = me.memory_info().rss
        first, *others = await timed(rounds + 1, divide)
        grown = (me.memory_info().rss - before) / 1e6
        median, slowest = statistics.median(others), max(others)
        print(f"| {length:,} | {first:.1f} | {median:.1f} | {slowest:.1f} | {grown:.1f} |")
    before = me.memory_info().rss
    begin = time.perf_counter()
    pure = pplns.window(newest_first(slices, miners), size)
    seconds = time.perf_counter() - begin
    grown = (me.memory_info().rss - before) / 1e6
    assert pure == await store.read_window(connection, slices, size), "the two windows differ"
    begin = time.perf_counter()
    terms.divide(REWARD, FEES, pure)
    print(
        f"\npure function over the same {length:,} slices: {seconds:.1f} s, memory grew {grown:.1f} MB; "
        f"the same window; dividing it among {miners}: {(time.perf_counter() - begin) * 1000:.2f} ms"
    )


async def run(url: str, slices: int, miners: int, days: int, rounds: int) -> None:
    """Fill the database and measure."""
    engine = create_engine(url)
    await migrate(engine)
    begin = time.perf_counter()
    await fill(engine, slices, miners, days)
    leaves = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('slice') WHERE isleaf"
    async with engine.connect() as connection:
        size = await connection.scalar(sa.text(leaves))
        print(
            f"{slices:,} slices of {miners} miners in {days} partitions, made in "
            f"{time.perf_counter() - begin:.0f} s; {int(size) / slices:.0f} bytes a slice on disk\n"
        )
        await measure(connection, slices, miners, rounds)
    await engine.dispose()


def main(slices: int, miners: int, days: int, rounds: int) -> None:
    """Start a server of our own, and throw it away afterwards."""
    with tempfile.TemporaryDirectory(prefix="dmpool-benchmark-") as directory:
        server = EmbeddedPostgres(Path(directory) / "data")
        try:
            asyncio.run(run(server.start(), slices, miners, days, rounds))
        finally:
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", type=int, default=10_000_000)
    parser.add_argument("--miners", type=int, default=84)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    main(chosen.slices, chosen.miners, chosen.days, chosen.rounds)
