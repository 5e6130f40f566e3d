"""What a day's report costs a pool of 83,000 hardware units, and what keeping its facts costs the ledger.

    python -m benchmarks.report_cost [--miners 84] [--devices 83000] [--blocks 30] [--batches 40]

A day as large as a fifth of the country's licensed mining (regulation.md section 7): every unit worked,
every miner was paid, blocks were credited and matured, each of 24 hours is archived. `build` is
`build_report` as the keeper calls it, from facts to the signed report and its leaf in the log; `again` the
same call when the report is there and still true; `verify` what a stranger does. Then batches of one
second's shares are taken into the ledger with and without the names that worked being kept, in turn.
PostgreSQL is the one that comes with the pool.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil
import sqlalchemy as sa
from bitcoin.core import CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from benchmarks.register_cost import bin_number, bodies_of
from payouts import journal, pplns
from payouts.pplns import Window
from payouts.terms import DatedTerms, Terms
from pool import archive_file, journal_store, register_store
from pool.archive_file import Manifest, Worked
from pool.clock import HOUR_US, instant
from pool.database import create_engine, migrate
from pool.embedded_postgres import EmbeddedPostgres
from pool.gateway_store import register_gateway
from pool.intake import take_batch
from pool.records import Share, encode_batch, encode_records
from pool.reports import Publisher, build_report
from pool.tables import (
    archive_hour,
    batch,
    block,
    block_event,
    miner_day,
    payment,
    payout,
    payout_event,
    payout_run,
    payout_version,
    reject_day,
    split,
)
from pool.tables_daily import worker_seen
from pool.workers_seen import Names, WorkersSeen
from register.event import FIRST as FIRST_HASH
from register.event import Event, sealed
from register.rules import load_rules
from reporting.daily import PoolFacts
from reporting.signing import SigningKey
from reporting.verify import verify

RULES = load_rules(Path(__file__).resolve().parent.parent / "configs" / "rules.toml")
DAY = dt.date(2026, 11, 24)
START_US, END_US = RULES.day_bounds(DAY)
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
REWARD, FEES = 320_154_321, 7_654_321
WORK = 16384 << 32
SCRIPT = b"\x00\x14" + bytes(20)
KEY = SigningKey(b"\x07" * 32)
TARGET = bytes(6) + b"\xff" * 26
_Result = TypeVar("_Result")


async def enter(engine: AsyncEngine, miners: int, devices: int) -> None:
    """The register, as an import some months ago left it."""
    events: list[Event] = []
    before, at_us = FIRST_HASH, RULES.day_bounds(dt.date(2026, 1, 5))[0]
    for seq, (kind, key, body) in enumerate(bodies_of(miners, devices), 1):
        told = Event(seq, at_us + seq, "import", "operator", "list", kind, key, "entered", body, before, "")
        events.append(sealed(told))
        before = events[-1].sha256
    async with engine.begin() as connection:
        await register_store.append(connection, events)


async def work(connection: AsyncConnection, miners: int, devices: int) -> None:
    """What everybody did, hour by hour."""
    ids = range(1, miners + 1)
    shares = devices * 8640 // miners
    day: list[dict[str, Any]] = [
        {
            "day": DAY,
            "miner_id": id_,
            "shares": shares,
            "work": WORK * shares,
            "first_us": START_US,
            "last_us": END_US - 1,
        }
        for id_ in ids
    ]
    await connection.execute(sa.insert(miner_day), day)
    refused = [
        {"day": DAY, "miner_id": id_, "reason": reason, "count": 100 + id_}
        for id_ in ids
        for reason in ("stale", "duplicate", "low-difficulty")
    ]
    await connection.execute(sa.insert(reject_day), refused)
    names = [
        {
            "batch_position": 0,
            "miner_id": id_,
            "day": DAY,
            "workers": [f"rig{serial:06}" for serial in range(id_ - 1, devices, miners)],
        }
        for id_ in ids
    ]
    await connection.execute(sa.insert(worker_seen), names)
    hourly = shares // 24
    previous, total = None, 0
    for hour in range(24):
        manifest = _manifest(START_US + hour * HOUR_US, hour, ids, hourly, total, previous)
        content = archive_file.manifest_bytes(manifest)
        previous, total = hashlib.sha256(content).hexdigest(), manifest.total_after
        await connection.execute(
            sa.insert(archive_hour).values(
                hour_us=manifest.hour_us,
                first_batch=manifest.first_batch,
                last_batch=manifest.last_batch,
                first_slice=manifest.first_slice,
                total_before=int(manifest.total_before),
                rows=manifest.rows,
                bytes=manifest.bytes,
                sha256=manifest.sha256,
                manifest=content.decode(),
                manifest_sha256=previous,
                closed_us=manifest.hour_us + HOUR_US,
            )
        )


def _manifest(hour_us: int, hour: int, ids: range, shares: int, total: int, previous: str | None) -> Manifest:
    return Manifest(
        version=archive_file.VERSION,
        hour_us=hour_us,
        hour=f"{instant(hour_us):%Y-%m-%dT%H:%M:%SZ}",
        file=f"{instant(hour_us):%Y/%m/%d/%H}.parquet",
        bytes=10**9,
        sha256=f"{hour + 1:064x}",
        previous=previous,
        batches=3600,
        first_batch=1 + 3600 * hour,
        last_batch=3600 * (hour + 1),
        slices=3600 * len(ids),
        first_slice=1 + 3600 * len(ids) * hour,
        total_before=str(total),
        shares=shares * len(ids),
        rejects={},
        founds=0,
        submitted=0,
        miners={str(id_): Worked(shares, str(WORK * shares), f"{id_:064x}") for id_ in ids},
        network_work=str(WORK),
    )


async def earn(connection: AsyncConnection, miners: int, blocks: int) -> None:
    """Blocks of the day: found, credited, and matured."""
    works = {id_: WORK * (1000 + id_) for id_ in range(1, miners + 1)}
    window = Window(1, 1, 10**6, sum(works.values()), works)
    parts = pplns.split(REWARD, 150, works)
    for number in range(blocks):
        hash_, at_us = f"{number + 1:064x}", START_US + number * 60_000_000
        await connection.execute(
            sa.insert(block).values(
                hash=hash_,
                height=900_000 + number,
                previous_hash=f"{number:064x}",
                found_us=at_us,
                day=DAY,
                miner_id=1,
                worker="rig000000",
                network_target=(2**256 // window.work_total - 1).to_bytes(32, "big"),
                reward_sat=REWARD,
                fees_sat=FEES,
                coinbase_txid=f"{number + 1:064x}",
                window_multiple=2,
                window_first=window.first_order,
                window_first_work=1,
                window_last=window.last_order,
                window_work=window.work_total,
                commission_bps=150,
                commission_sat=parts.commission,
                state="mature",
            )
        )
        rows = [
            {
                "hash": hash_,
                "miner_id": id_,
                "work": works[id_],
                "amount_sat": amount,
                "commission_sat": parts.commissions[id_],
            }
            for id_, amount in parts.amounts.items()
        ]
        await connection.execute(sa.insert(split), rows)
        for state, later in (("found", 0), ("confirmed", 1), ("mature", 2)):
            await connection.execute(
                sa.insert(block_event).values(hash=hash_, state=state, at_us=at_us + later, note="")
            )
        for entry in (journal.block_confirmed(hash_, parts), journal.block_matured(hash_, parts)):
            await journal_store.book(connection, entry, at_us + 2, DAY)


async def pay(connection: AsyncConnection, miners: int) -> None:
    """One payout to everybody."""
    amounts = {id_: 10_000 + id_ for id_ in range(1, miners + 1)}
    at_us = START_US + 20 * HOUR_US
    run = sa.insert(payout_run).values(at_us=at_us, day=DAY, actor="oleg", reason="Monday")
    run_id = await connection.scalar(run.returning(payout_run.c.id))
    made = sa.insert(payout).values(
        run_id=run_id, number=1, state="confirmed", created_us=at_us, amount_sat=sum(amounts.values())
    )
    number = int(await connection.scalar(made.returning(payout.c.id)) or 0)
    rows = [
        {
            "payout_id": number,
            "number": id_,
            "miner_id": id_,
            "purpose": "wallet",
            "address": ADDRESS,
            "script": SCRIPT,
            "amount_sat": amount,
            "commission_sat": 150,
            "sale_share_bps": None,
            "exchange": "",
            "licence": f"KZ-{id_ - 1}",
            "licence_status": "in_force",
        }
        for id_, amount in amounts.items()
    ]
    await connection.execute(sa.insert(payment), rows)
    outputs = [CTxOut(amount, CScript(SCRIPT)) for amount in amounts.values()]
    await connection.execute(
        sa.insert(payout_version).values(
            payout_id=number,
            number=1,
            purpose="pay",
            created_us=at_us,
            psbt="cHNidP8=",
            inputs=["ab" * 32 + ":0"],
            fee_sat=1234,
            fee_rate_sat_kvb=1000,
            signed_us=at_us,
            txid="cd" * 32,
            raw=CTransaction([CTxIn()], outputs).serialize(),
            sent_us=at_us,
        )
    )
    place = {"block_hash": "ef" * 32, "block_height": 900_100, "block_time_us": at_us}
    told = {"payout_id": number, "at_us": at_us, "state": "confirmed", "version": 1, "actor": "", "note": ""}
    await connection.execute(sa.insert(payout_event).values(**told, **place))
    for entry in (
        journal.payout_reserved(number, amounts),
        journal.payout_confirmed(number, amounts, 1234),
    ):
        await journal_store.book(connection, entry, at_us, DAY)


async def measured(what: str, server: psutil.Process, call: Awaitable[_Result]) -> _Result:
    """The result of a call; what it took is printed."""
    clock, cpu, theirs = time.perf_counter(), time.process_time(), _cpu(server)
    result = await call
    took = f"{time.perf_counter() - clock:6.2f} s on the clock"
    ours = time.process_time() - cpu
    print(f"{what:10} {took}; of CPU {ours:.2f} s here, {_cpu(server) - theirs:.2f} s of PostgreSQL")
    return result


def _cpu(server: psutil.Process) -> float:
    """CPU seconds of a server's processes, user and system."""
    return sum(sum(one.cpu_times()[:2]) for one in server.children())


async def report(engine: AsyncEngine, server: psutil.Process, miners: int, devices: int, blocks: int) -> None:
    """Build the day, ask for it again, verify it."""
    await enter(engine, miners, devices)
    async with engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await work(connection, miners, devices)
    async with engine.begin() as connection:
        await earn(connection, miners, blocks)
        await pay(connection, miners)
    async with engine.connect() as connection:
        postings = await connection.scalar(sa.text("SELECT count(*) FROM journal_posting"))
        kept = await connection.scalar(sa.text("SELECT pg_total_relation_size('worker_seen')"))
    pool = PoolFacts("Example DMP LLP", bin_number(900), "regtest", ADDRESS, 150)
    publisher = Publisher(pool, RULES, (KEY,), "0.1.0")
    at_us = END_US + HOUR_US
    envelope = await measured("build", server, build_report(engine, DAY, publisher, at_us))
    again = await measured("again", server, build_report(engine, DAY, publisher, at_us + HOUR_US))
    assert again == envelope
    clock = time.process_time()
    assert all(check.passed for check in verify(envelope, KEY.public_key))
    told = json.loads(envelope)["report"]
    print(f"verify     {time.process_time() - clock:7.2f} s of CPU")
    print(
        f"{len(told['miners'])} miners, {told['totals']['devices_active']} units at work, {blocks} blocks, "
        f"{postings} postings, {len(told['distributions'])} payments: {len(envelope) // 1024} KiB; "
        f"names that worked: {int(kept or 0) // 1024} KiB"
    )


class _Blind(WorkersSeen):
    """A ledger that does not keep names."""

    def fresh(self, slices: Any) -> Names:
        return {}


async def intake(engine: AsyncEngine, devices: int, miners: int, batches: int) -> None:
    """Take batches of a second's shares, with and without the names, in turn."""
    number = await register_gateway(engine, uuid4(), "bench")
    each = devices // 10
    terms = DatedTerms(Terms("pplns", 2, 150, "shared"))
    costs: dict[str, list[float]] = {"kept": [], "not kept": []}
    desks = {"kept": WorkersSeen(), "not kept": _Blind()}
    async with engine.connect() as connection:
        for turn in range(batches):
            for name, seen in desks.items():
                seq = 1 + turn * 2 + (name == "kept")
                await _tell(engine, number, seq, _shares(turn * each, each, devices, miners))
                cpu = time.process_time()
                taken = await take_batch(connection, terms, RULES.day_of, START_US + HOUR_US, seen)
                costs[name].append(time.process_time() - cpu)
                assert taken is not None
    for name, mine in costs.items():
        first, later = mine[: devices // each], mine[devices // each :]
        print(
            f"{name:10} {statistics.mean(first) * 1000:6.1f} ms of CPU a batch of {each} shares while names "
            f"are new, {statistics.mean(later) * 1000:6.1f} ms after that"
        )


def _shares(first: int, count: int, devices: int, miners: int) -> list[Any]:
    serials = (serial % devices for serial in range(first, first + count))
    return [
        Share(START_US, 1 + serial % miners, f"rig{serial:06}", 5, TARGET, serial.to_bytes(80, "big"))
        for serial in serials
    ]


async def _tell(engine: AsyncEngine, number: int, seq: int, records: list[Any]) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            sa.insert(batch).values(
                gateway_number=number,
                first_seq=seq,
                last_seq=seq,
                records=len(records),
                payload=encode_batch([encode_records(records)]),
            )
        )


@asynccontextmanager
async def database() -> AsyncIterator[tuple[AsyncEngine, psutil.Process]]:
    """A fresh one on a server of its own, and that server."""
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedPostgres(Path(directory) / "data")
        engine = create_engine(await asyncio.to_thread(server.start))
        try:
            await migrate(engine)
            pid = int((Path(directory) / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
            yield engine, psutil.Process(pid)
        finally:
            await engine.dispose()
            await asyncio.to_thread(server.stop)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--miners", type=int, default=84)
    parser.add_argument("--devices", type=int, default=83_000)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--batches", type=int, default=40)
    given = parser.parse_args()
    async with database() as (engine, server):
        await report(engine, server, given.miners, given.devices, given.blocks)
        await intake(engine, given.devices, given.miners, given.batches)


if __name__ == "__main__":
    asyncio.run(main())
