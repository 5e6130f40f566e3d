"""A storm of connections: how fast they are let in, what they cost, when a new block's job has reached all.

    .venv/bin/python -m benchmarks.storm [--connections 20000] [--rounds 3]

Real gateways (as many as the limit of open files asks for) on a regtest bitcoind, and as many crowds as are
needed (tests/integration/crowd.py), on the same machine. Each round connects all, lets a block be found, cuts
all (a third stays half-open) and lets them come back. Times from the crowd's side hold the crowd's own lag.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.share_cpu import database
from tests.integration.bitcoind_process import BitcoindProcess, running_bitcoind
from tests.integration.pool_process import ADDRESS, PoolProcess
from tests.integration.storm import RemoteCrowd, all_do, crowds, processes_for
from tests.integration.test_river import nodes_section

REST_SECONDS = 3.0
HISTOGRAM = "dmpool_job_broadcast_seconds"
STORM_HEAD = """
| storm | connections | let in a second | median wait, s | longest | longest connect | CPU µs each | faults |
|---|---|---|---|---|---|---|---|"""
BLOCK_HEAD = """
| a block's job reached | histogram of each gateway, ms | median arrival | last arrival | RPC | CPU µs each |
|---|---|---|---|---|---|"""


class Gateways:
    """The processes under load, and what they use."""

    def __init__(self, pools: Sequence[PoolProcess]) -> None:
        self._pools = pools
        self._processes = [psutil.Process(pool.process.pid) for pool in pools if pool.process is not None]

    @property
    def cpu(self) -> float:
        """CPU seconds of all together."""
        times = [process.cpu_times() for process in self._processes]
        return sum(one.user + one.system for one in times)

    @property
    def resident(self) -> int:
        """Bytes of all together."""
        return sum(process.memory_info().rss for process in self._processes)

    def broadcasts(self) -> list[tuple[float, float]]:
        """How many clean jobs each has sent, and the seconds of all of them."""
        samples = [pool.metrics() for pool in self._pools]
        return [(one[f"{HISTOGRAM}_count"], one[f"{HISTOGRAM}_sum"]) for one in samples]


def print_storm(name: str, reports: Sequence[dict[str, Any]], cpu: float) -> None:
    """One row: how a storm went."""
    waits = sorted(wait for report in reports for wait in report["waits"])
    faults = {what: count for report in reports for what, count in report["faults"].items()}
    tenth, last_tenth = waits[len(waits) // 10], waits[len(waits) * 9 // 10]
    rate = (len(waits) * 0.8) / (last_tenth - tenth)
    connect = max(report["slowest_connect"] for report in reports)
    print(
        f"| {name} | {len(waits)} | {rate:.0f} | {waits[len(waits) // 2]:.2f} | {waits[-1]:.2f} "
        f"| {connect:.2f} | {cpu * 1e6 / len(waits):.0f} | {faults or 'none'} |",
        flush=True,
    )


async def measure_block(node: BitcoindProcess, crowd: Sequence[RemoteCrowd], gateways: Gateways) -> str:
    """Seconds until the job of a new block has reached everybody."""
    befores = gateways.broadcasts()
    known = {tip for report in await all_do(crowd, "report") for tip in report["tips"]}
    cpu, started = gateways.cpu, time.monotonic()
    await node.rpc("generatetoaddress", 1, ADDRESS)
    returned = time.monotonic()
    await asyncio.sleep(REST_SECONDS)
    arrivals: list[float] = []
    for report in await all_do(crowd, "report"):
        arrivals += [at for tip, times in report["tips"].items() if tip not in known for at in times]
    arrivals.sort()
    spans = [
        (after[1] - before[1]) / (after[0] - before[0])
        for before, after in zip(befores, gateways.broadcasts(), strict=True)
    ]
    return (
        f"| {len(arrivals)} | {', '.join(f'{span * 1e3:.0f}' for span in spans)} "
        f"| {(arrivals[len(arrivals) // 2] - returned) * 1e3:.0f} | {(arrivals[-1] - returned) * 1e3:.0f} "
        f"| {(returned - started) * 1e3:.0f} | {(gateways.cpu - cpu) * 1e6 / len(arrivals):.0f} |"
    )


async def measure(node: BitcoindProcess, pools: Sequence[PoolProcess], connections: int, rounds: int) -> None:
    """All rounds; prints Markdown."""
    gateways = Gateways(pools)
    memory, blocks = [], []
    print(STORM_HEAD)
    for _ in range(rounds):
        before = gateways.resident
        async with crowds([pool.stratum_port for pool in pools], connections, "altai.crowd") as crowd:
            cpu = gateways.cpu
            reports = await all_do(crowd, "connect")
            print_storm("new", reports, gateways.cpu - cpu)
            await asyncio.sleep(REST_SECONDS)
            memory.append((before, gateways.resident))
            blocks.append(await measure_block(node, crowd, gateways))
            await all_do(crowd, "cut")
            cpu = gateways.cpu
            reports = await all_do(crowd, "connect")
            print_storm("back after a cut", reports, gateways.cpu - cpu)
            assert sum(report["resumed"] for report in reports) == connections
        await asyncio.sleep(REST_SECONDS)
    print("\n".join([BLOCK_HEAD, *blocks]))
    for number, (before, after) in enumerate(memory, 1):
        print(
            f"\nround {number}: gateways {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after: "
            f"{(after - before) / connections / 1024:.1f} KiB a connection"
        )


@contextmanager
def running(pools: Sequence[PoolProcess]) -> Iterator[None]:
    """Gateways with a miner in their register."""
    pools[0].add_miner("altai", "940140000385")
    try:
        for pool in pools:
            pool.start()
        yield
    finally:
        for pool in pools:
            pool.stop()


async def run(database_url: str, directory: Path, connections: int, rounds: int) -> None:
    """Start everything, measure, stop."""
    async with running_bitcoind("regtest") as node:
        pools = []
        for number in range(processes_for(connections)):
            place = directory / str(number)
            place.mkdir()
            section = nodes_section(node)
            pools.append(
                PoolProcess(place, database_url, nodes=[section], start_difficulty=1.0, role="gateway")
            )
        with running(pools):
            await measure(node, pools, connections, rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with database() as url, tempfile.TemporaryDirectory(prefix="dmpool-storm-") as directory:
        asyncio.run(run(url, Path(directory), options.connections, options.rounds))


if __name__ == "__main__":
    main()
