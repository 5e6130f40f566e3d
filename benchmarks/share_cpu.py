"""CPU microseconds per accepted share of a gateway process, all threads, durable acknowledgement included.

    python benchmarks/share_cpu.py [--seconds 4] [--rounds 5]

The gateway is the real one (session, C core, spool with fsync, forwarder to a real PostgreSQL), on one core,
with a job of 12 merkle branches. Shares come from another process on another core; they cost no hashing,
since the share target is the whole range. Closed loop: every connection waits for its answer. Fixed rate:
shares are sent by the clock, so that most of them wake the gateway alone.
Rounds are interleaved over the cases; the table gives the 10th percentile, the median and the spread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import uvloop

from pool.app import settle_garbage
from pool.config import Settings
from pool.database import create_engine, migrate
from pool.embedded_postgres import EmbeddedPostgres
from pool.forwarder import Forwarder
from pool.gateway import Gateway
from pool.gateway_store import register_gateway
from pool.metrics import Metrics
from pool.spool import Spool
from register.rules import load_rules
from stratum.job import Template
from tests.register_world import register_of

ROOT = Path(__file__).resolve().parent.parent
CASES = [("closed", 200, 0), ("closed", 1000, 0), ("fixed", 1000, 300), ("fixed", 1000, 2000)]
MACHINES = max(connections for _, connections, _ in CASES)
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
ANY_HASH = 2.0**-33


class StillNode:
    """A node whose chain stands still: one template with 4095 transactions, so 12 merkle branches."""

    name = "still"

    async def check(self) -> None:
        """Always fine."""

    async def header(self, block_hash: str) -> None:
        """Knows no headers."""

    async def propose(self, block: bytes) -> str | None:
        """Has no objection."""
        return None

    async def prefer(self, block_hash: str) -> None:
        """Has nothing to prefer."""

    async def template(self, long_poll_id: str | None = None) -> Template:
        """The same work at every call; a long poll never returns."""
        if long_poll_id is not None:
            await asyncio.Event().wait()
        return Template(
            height=900_000,
            version=0x20000000,
            previous_block=bytes(range(32)),
            bits=0x17023A04,
            target=0x023A04 << (8 * (0x17 - 3)),
            coinbase_value=312_500_000,
            fees=0,
            current_time=int(time.time()),
            min_time=int(time.time()) - 3600,
            transactions=(b"",) * 4095,
            txids=os.urandom(32 * 4095),
            witness_commitment=bytes.fromhex("6a24aa21a9ed") + bytes(32),
            long_poll_id="1",
        )

    async def tip(self) -> str:
        """The block that every template builds on."""
        return bytes(range(32))[::-1].hex()

    async def tips(self) -> AsyncIterator[str]:
        """Nothing ever happens."""
        return
        yield

    async def submit(self, block: bytes) -> str | None:
        """Nothing is found here."""
        return "high-hash"

    async def confirmations(self, block_hash: str) -> int | None:
        """Nothing is known here."""
        return None

    async def height(self) -> int:
        """The height of the standing tip."""
        return 899_999

    async def close(self) -> None:
        """Nothing to let go of."""


async def serve(port: int, directory: Path, database_url: str) -> None:
    """The gateway process."""
    settings = Settings(
        data_dir=directory,
        pool={"name": "b", "bin": "230440000105", "chain": "regtest", "address": ADDRESS},
        stratum={
            "listen": f"127.0.0.1:{port}",
            "start_difficulty": ANY_HASH,
            "min_difficulty": ANY_HASH,
            "max_difficulty": ANY_HASH,
        },
    )
    rules = load_rules(ROOT / "configs" / "rules.toml")
    register = register_of("farm", units={"farm": [f"w{n}" for n in range(MACHINES)]}, rules=rules)
    metrics = Metrics()
    spool = Spool(
        directory / "spool.db",
        asyncio.get_running_loop(),
        lambda seconds, records: metrics.commit_seconds.observe(seconds),
    )
    engine = create_engine(database_url)
    number = await register_gateway(engine, spool.identity, "benchmark")
    settle_garbage()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Forwarder(engine, spool, number).run())
        tasks.create_task(Gateway(settings, [StillNode()], spool, number, register, rules, metrics).run())


class Client(asyncio.Protocol):
    """One machine that submits without hashing."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.number = number
        self.nonce = 0
        self.early = b""
        self.job = b""
        self.ntime = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce the machine."""
        self.transport = transport
        transport.write(  # type: ignore[attr-defined]
            b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}\n'
            b'{"id":2,"method":"mining.subscribe","params":["bench/1"]}\n'
            b'{"id":3,"method":"mining.authorize","params":["farm.w%d","x"]}\n' % self.number
        )

    def data_received(self, data: bytes) -> None:
        """Learn the job; count the answers."""
        if not self.job:
            self.early += data
            notify = self.early.find(b'"mining.notify","params"')
            if notify >= 0 and self.early.endswith(b"\n"):
                fields = self.early[notify:].split(b'"')
                self.job, self.ntime = fields[5], fields[-2]
                self.load.ready += 1
        if self.load.running:
            answers = data.count(b'"result":true')
            self.load.accepted += answers
            if b'"result":null' in data:
                self.load.refused += 1
                self.load.refusal = data
            if self.load.closed:
                for _ in range(answers):
                    self.submit()

    def submit(self) -> None:
        """One share."""
        self.nonce += 1
        self.transport.write(  # type: ignore[attr-defined]
            b'{"id":%d,"method":"mining.submit","params":["farm.w%d","%b","0000000000000000","%b","%08x","00002000"]}\n'
            % (self.nonce + 3, self.number, self.job, self.ntime, self.nonce)
        )


class Load:
    """All machines of the load process."""

    def __init__(self, port: int, connections: int, rate: int) -> None:
        self.port, self.connections, self.rate = port, connections, rate
        self.closed = rate == 0
        self.running = False
        self.ready = self.accepted = self.refused = 0
        self.refusal = b""
        self.feeder: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Open all connections and wait for a job on each."""
        loop = asyncio.get_running_loop()
        self.clients = [
            (await loop.create_connection(lambda n=n: Client(self, n), "127.0.0.1", self.port))[1]  # type: ignore[misc]
            for n in range(self.connections)
        ]
        while self.ready < self.connections:
            await asyncio.sleep(0.05)
        self.running = True
        if self.closed:
            for client in self.clients:
                client.submit()
        else:
            self.feeder = asyncio.create_task(self._feed())

    def stop(self) -> None:
        """Send nothing more and leave."""
        if self.feeder is not None:
            self.feeder.cancel()
        for client in self.clients:
            client.transport.abort()  # type: ignore[attr-defined]

    async def _feed(self) -> None:
        started, sent = time.perf_counter(), 0
        while True:
            due = int((time.perf_counter() - started) * self.rate)
            while sent < due:
                self.clients[sent * 7919 % self.connections].submit()
                sent += 1
            await asyncio.sleep(0.0005)


async def measure(port: int, pid: int, case: tuple[str, int, int], seconds: float) -> tuple[float, float]:
    """CPU microseconds per share, and shares per second."""
    load = Load(port, case[1], case[2])
    await load.connect()
    await asyncio.sleep(0.5)
    process = psutil.Process(pid)
    before, shares, started = process.cpu_times(), load.accepted, time.perf_counter()
    await asyncio.sleep(seconds)
    after, count = process.cpu_times(), load.accepted - shares
    elapsed = time.perf_counter() - started
    if load.refused:
        raise RuntimeError(f"{load.refused} shares were refused, the last with {load.refusal!r}")
    cpu = after.user + after.system - before.user - before.system
    load.stop()
    return cpu * 1e6 / count, count / elapsed


def run_case(port: int, case: tuple[str, int, int], seconds: float, database_url: str) -> tuple[float, float]:
    """One gateway process under one load."""
    directory = Path(tempfile.mkdtemp(prefix="dmpool-benchmark-"))
    arguments = ["--serve", str(directory), "--port", str(port), "--database", database_url]
    server = subprocess.Popen([sys.executable, __file__, *arguments])
    try:
        wait_for(port)
        return uvloop.run(measure(port, server.pid, case, seconds))
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory)


def wait_for(port: int) -> None:
    """Until the gateway listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.1)
    raise TimeoutError(f"the gateway does not listen on port {port}")


def report(results: dict[tuple[str, int, int], list[tuple[float, float]]]) -> None:
    """Print a Markdown table."""
    print("| load | connections | shares/s | CPU µs a share, 10th percentile | median | max |")
    print("|---|---|---|---|---|---|")
    for (kind, connections, _), samples in results.items():
        costs = sorted(cost for cost, _ in samples)
        rate = statistics.median(rate for _, rate in samples)
        low, middle = costs[int(len(costs) * 0.1)], statistics.median(costs)
        print(f"| {kind} | {connections} | {rate:.0f} | {low:.1f} | {middle:.1f} | {costs[-1]:.1f} |")


@contextmanager
def database() -> Iterator[str]:
    """The URL of a PostgreSQL with our schema, for as long as the benchmark runs."""

    async def prepare() -> None:
        engine = create_engine(url)
        await migrate(engine)
        await engine.dispose()

    data = Path(tempfile.mkdtemp(prefix="dmpool-benchmark-postgres-"))
    postgres = EmbeddedPostgres(data / "postgres")
    url = postgres.start()
    try:
        asyncio.run(prepare())
        yield url
    finally:
        postgres.stop()
        shutil.rmtree(data)


def main() -> None:
    """Run all cases, interleaved, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=23333)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        os.sched_setaffinity(0, {0})
        uvloop.run(serve(options.port, options.serve, options.database))
        return
    results: dict[tuple[str, int, int], list[tuple[float, float]]] = {case: [] for case in CASES}
    with database() as database_url:
        os.sched_setaffinity(0, {1})
        for _ in range(options.rounds):
            for case, samples in results.items():
                samples.append(run_case(options.port, case, options.seconds, database_url))
    report(results)


if __name__ == "__main__":
    main()
