"""What a share costs in the archive and in PostgreSQL: bytes, and seconds of one core.

    python benchmarks/archive_size.py [--devices 83000] [--shares-per-minute 12] [--rows 2000000] [--columns]

Makes shares as a pool of that size has them and writes them with the archive's own writer, batch by batch, as
the forwarder cuts them. What decides the size is real: each share has a random merkle root, a random nonce
and a rolled version; each device its own target, a power of two, so that it sends about its shares a minute;
times are random and ascend; jobs change each 30 seconds, blocks each ten minutes. Devices belong to 84
accounts of unequal size. One share in a hundred is rejected; then all of them, to tell what a rejected one
costs. PostgreSQL is the embedded one, with our schema: a batch of each gateway each second, slices of each
miner in each batch, sizes with indexes after VACUUM. Two million rows tell a year: sizes are linear.
Seconds are those of the processor, not of the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pyarrow.parquet as pq

from pool import archive_rows
from pool.archive import close_next
from pool.archive_file import ArchivedBatch, HourWriter, read_batches
from pool.database import create_engine, migrate
from pool.embedded_postgres import EmbeddedPostgres
from pool.intake import sort_records
from pool.records import Record, Reject, Share, encode_batch, encode_records
from register.rules import load_rules
from stratum.difficulty import difficulty

RULES = load_rules(Path(__file__).resolve().parent.parent / "configs" / "rules.toml")

HOUR_US = 1_795_503_600_000_000
ACCOUNTS = 84
GATEWAYS = 4
JOB_US = 30_000_000
BLOCK_US = 600_000_000
REJECTED = 0.01
REASONS = ("stale",) * 7 + ("low difficulty",) * 2 + ("duplicate",)
BATCH_SECONDS = 1.0
MOST_RECORDS = 6000
"""Some 1 MiB of spool, where the forwarder cuts."""
BITS = 0x1701D936
MODELS = (56e12, 95e12, 110e12, 140e12, 200e12, 234e12)
"""Hashes a second."""


class Device(NamedTuple):
    """A machine that mines."""

    miner_id: int
    worker: str
    target: bytes


def fleet(count: int, shares_per_minute: float, chance: random.Random) -> list[Device]:
    """Devices of accounts of unequal size, each with the difficulty that vardiff gives it."""
    weights = [1 / (number + 1) ** 0.7 for number in range(ACCOUNTS)]
    devices = []
    for number, account in enumerate(chance.choices(range(1, ACCOUNTS + 1), weights, k=count)):
        per_share = chance.choice(MODELS) * chance.uniform(0.9, 1.05) * 60 / shares_per_minute
        exponent = max(0, int(per_share / 2**32 * chance.uniform(0.75, 1.4)).bit_length() - 1)
        devices.append(Device(account, f"rig{number:06}", difficulty(exponent).target.to_bytes(32, "big")))
    return devices


def batches(
    devices: Sequence[Device], rows: int, per_minute: float, rejected: float
) -> Iterator[ArchivedBatch]:
    """A batch of each gateway each second in the ledger's order, until there are so many rows."""
    chance = random.Random(1)
    per_gateway = [devices[number::GATEWAYS] for number in range(GATEWAYS)]
    count = int(len(devices) * per_minute / 60 / GATEWAYS)
    at_us, made, position = HOUR_US, 0, 0
    while made < rows:
        for gateway, mine in enumerate(per_gateway, 1):
            times = sorted(int(chance.random() * 1e6) for _ in range(count))
            records = [record(chance.choice(mine), at_us + one, rejected, chance) for one in times]
            for start in range(0, count, MOST_RECORDS):
                position += 1
                seq, taken_us = position * 100, at_us + 1_000_000 + position % 1000
                part = records[start : start + MOST_RECORDS]
                yield ArchivedBatch(position, position, gateway, seq, seq + 99, taken_us, part)
            made += count
        at_us += 1_000_000


def record(device: Device, at_us: int, rejected: float, chance: random.Random) -> Record:
    """A share, or now and then a rejected one."""
    header = archive_rows.HEADER.pack(
        0x20000000 | chance.getrandbits(16) << 13,
        previous_block(at_us // BLOCK_US),
        chance.randbytes(32),
        at_us // 1_000_000 - int(chance.random() * 30),
        BITS,
        chance.getrandbits(32),
    )
    job = at_us // JOB_US
    if chance.random() < rejected:
        reason = chance.choice(REASONS)
        return Reject(at_us, device.miner_id, device.worker, reason, job, device.target, header)
    return Share(at_us, device.miner_id, device.worker, job, device.target, header)


@cache
def previous_block(number: int) -> bytes:
    """The hash of a block."""
    return random.Random(number).randbytes(32)


class Cost(NamedTuple):
    """Of records in the archive and in batches, bytes and microseconds each."""

    archived: float
    batched: float
    write_us: float
    read_us: float


def measure(path: Path, given: Iterator[ArchivedBatch]) -> Cost:
    """Write the batches, read them back, and say what each record cost."""
    rows = batched = 0
    seconds = 0.0
    with HourWriter(path) as writer:
        for batch in given:
            rows += len(batch.records)
            batched += len(encode_batch([encode_records(batch.records)]))
            start = time.process_time()
            writer.add(batch)
            seconds += time.process_time() - start
        start = time.process_time()
        size = writer.finish().bytes
        seconds += time.process_time() - start
    start = time.process_time()
    read = sum(len(batch.records) for batch in read_batches(path))
    reading = time.process_time() - start
    assert read == rows
    return Cost(size / rows, batched / rows, seconds / rows * 1e6, reading / rows * 1e6)


def columns(path: Path) -> list[tuple[str, float, str]]:
    """Bytes a record of each column on disk, the greatest first, with its encodings."""
    metadata = pq.ParquetFile(path).metadata
    found = []
    for number in range(metadata.num_columns):
        chunks = [metadata.row_group(group).column(number) for group in range(metadata.num_row_groups)]
        size = sum(chunk.total_compressed_size for chunk in chunks) / metadata.num_rows
        found.append((chunks[0].path_in_schema, size, " ".join(chunks[0].encodings)))
    return sorted(found, key=lambda one: -one[1])


async def close(url: str, directory: Path) -> tuple[float, float]:
    """The archivist closes the hour that `hot` put there: seconds of this process, and of the clock."""
    engine = create_engine(url)
    cpu, clock = time.process_time(), time.monotonic()
    assert await close_next(engine, directory, HOUR_US + 2 * 3_600_000_000)
    taken = time.process_time() - cpu, time.monotonic() - clock
    await engine.dispose()
    return taken


async def hot(url: str, given: Iterator[ArchivedBatch]) -> list[tuple[str, int, int]]:
    """What tables cost in PostgreSQL with their indexes: name, rows, bytes."""
    engine = create_engine(url)
    await migrate(engine)
    await engine.dispose()
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.executemany(
        "INSERT INTO miner VALUES ($1, $2)", [(one, f"miner{one}") for one in range(1, ACCOUNTS + 1)]
    )
    await connection.executemany(
        "INSERT INTO gateway (number, identity, name) VALUES ($1, gen_random_uuid(), 'g')",
        [(one,) for one in range(1, GATEWAYS + 1)],
    )
    position, total, mine = 0, 0, dict.fromkeys(range(1, ACCOUNTS + 1), 0)
    for batch in given:
        await connection.execute(
            "INSERT INTO batch (gateway_number, first_seq, last_seq, records, payload, position, taken_us, "
            "first_us, last_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            *(batch.gateway_number, batch.first_seq, batch.last_seq, len(batch.records)),
            *(encode_batch([encode_records(batch.records)]), batch.position, batch.taken_us),
            *(batch.records[0].at_us, batch.records[-1].at_us),
        )
        rows = []
        kept = sort_records(batch.records, RULES.day_of)
        for one in kept.miners:
            position += 1
            total += one.work
            mine[one.miner_id] += one.work
            rows.append(
                (
                    position,
                    one.day,
                    batch.position,
                    one.miner_id,
                    one.day,
                    one.work,
                    one.shares,
                    one.first_us,
                    one.last_us,
                    total,
                    mine[one.miner_id],
                )
            )
        await connection.copy_records_to_table("slice", records=rows)
        await connection.copy_records_to_table(
            "reject",
            columns=["batch_position", "miner_id", "worker", "day", "reason", "taken_on", "count"],
            records=[(batch.position, *key[:3], key.reason, key.day, n) for key, n in kept.rejects.items()],
        )
    await connection.execute("UPDATE ledger_head SET batch_position = (SELECT max(position) FROM batch)")
    found = []
    for table in ("batch", "slice", "reject"):
        await connection.execute(f"VACUUM ANALYZE {table}")
        row = await connection.fetchrow(
            f"SELECT count(*), (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
            f"WHERE inhparent = '{table}'::regclass) FROM {table}"
        )
        found.append((table, int(row[0]), int(row[1])))
    await connection.close()
    return found


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=83_000)
    parser.add_argument("--shares-per-minute", type=float, default=12)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", action="store_true", help="Also the bytes of each column.")
    options = parser.parse_args()
    per_minute = options.shares_per_minute
    devices = fleet(options.devices, per_minute, random.Random(0))
    print(f"{options.devices} devices, {per_minute:g} shares a minute each, {options.rows} records")
    print("| records | bytes in the archive | in a batch | µs to write | µs to read |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for what, rejected, rows in (
            ("accepted", 0.0, options.rows),
            ("1 % rejected", REJECTED, options.rows),
            ("all rejected", 1.0, options.rows // 4),
        ):
            path = Path(directory) / f"{what}.parquet"
            cost = measure(path, batches(devices, rows, per_minute, rejected))
            print(
                f"| {what} | {cost.archived:.2f} | {cost.batched:.1f} "
                f"| {cost.write_us:.2f} | {cost.read_us:.2f} |",
                flush=True,
            )
        if options.columns:
            for name, size, encodings in columns(Path(directory) / "1 % rejected.parquet"):
                print(f"| {name} | {size:.3f} | {encodings} |")
        server = EmbeddedPostgres(Path(directory) / "postgres")
        try:
            given = batches(devices, options.rows // 4, per_minute, REJECTED)
            print("| table | rows | bytes a row |\n|---|---|---|")
            url = server.start()
            for table, rows, size in asyncio.run(hot(url, given)):
                print(f"| {table} | {rows} | {size / max(rows, 1):.1f} |", flush=True)
            cpu, clock = asyncio.run(close(url, Path(directory) / "archive"))
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(
                f"closing {options.rows // 4} records: {cpu:.1f} s of CPU, {clock:.1f} s, {most} MiB at most"
            )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
