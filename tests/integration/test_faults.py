"""What must survive: the pool killed at any instant, PostgreSQL away, several gateways at once.

A share counts as acknowledged when its miner has read `true`; it must then be in the ledger, once (I1).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import create_engine
from pool.embedded_postgres import EmbeddedPostgres
from pool.simulate import SimulatedMiner
from tests.campaign import extent
from tests.integration.bitcoind_process import BitcoindProcess, running_bitcoind
from tests.integration.pool_process import SIGNET_ADDRESS, PoolProcess
from tests.integration.recount import recount
from tests.integration.test_river import COMMISSION_BPS, MINERS, nodes_section, scalar, states, until

KILLS = extent(8, 400)


@asynccontextmanager
async def machines(pools: list[PoolProcess], hashrate: float) -> AsyncIterator[set[str]]:
    """A machine of each miner on each pool; yields the hashes of the shares that were answered `true`."""
    acknowledged: set[str] = set()

    def note(header: bytes) -> None:
        acknowledged.add(hashlib.sha256(hashlib.sha256(header).digest()).digest()[::-1].hex())

    miners = [
        SimulatedMiner(pool.stratum_url, f"{name}.rig{number}", hashrate, note)
        for number, pool in enumerate(pools)
        for name in MINERS
    ]
    tasks = [asyncio.create_task(miner.run()) for miner in miners]
    try:
        yield acknowledged
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drained(engine: AsyncEngine, *pools: PoolProcess) -> None:
    """Wait until no share waits in a spool and no batch waits for the ledger."""

    async def done() -> bool:
        depths = [(await asyncio.to_thread(pool.metrics))["dmpool_spool_depth"] for pool in pools]
        waiting = await scalar(engine, "SELECT count(*) FROM batch WHERE position IS NULL")
        return not any(depths) and waiting == 0

    await until(done, "spool and ledger drained")
    await asyncio.sleep(1.0)
    await until(done, "spool and ledger drained")


@pytest.mark.campaign
@pytest.mark.timeout(7200)
async def test_i1_kill_9_at_random_moments(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """I1, I9: kill -9 twenty times while shares arrive; none acknowledged is lost or counted twice."""
    luck = random.Random(KILLS)
    pool = PoolProcess(tmp_path, database_url, start_difficulty=2.0**-22)
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    pool.start()
    try:
        async with machines([pool], 12_000) as acknowledged:
            for _ in range(KILLS):
                await until(partial(_more, acknowledged, len(acknowledged)), "shares after a start")
                await asyncio.sleep(luck.uniform(0.0, 1.5))
                pool.kill()
                await asyncio.to_thread(pool.start)
            before = len(acknowledged)
            await until(lambda: _more(acknowledged, before + 20), "shares after the last start")
        await drained(engine, pool)
        counted = await recount(engine, COMMISSION_BPS, pool.pplns_window)
        assert acknowledged, "no share was acknowledged at all"
        missing = acknowledged - set(counted.hashes)
        assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged shares are not in the ledger"
        await assert_every_block_of_the_chain_is_booked(engine, pool)
    finally:
        assert pool.stop() == 0, pool.log


async def assert_every_block_of_the_chain_is_booked(engine: AsyncEngine, pool: PoolProcess) -> None:
    """I9: the embedded chain has no blocks but the pool's, so each height is one confirmed block."""

    async def settled() -> bool:
        return not {"found", "submitted"} & set((await states(engine)).values())

    await until(settled, "every block confirmed or orphaned")
    height = (await asyncio.to_thread(pool.metrics))["dmpool_job_height"] - 1
    booked = await scalar(engine, "SELECT count(*) FROM block WHERE state IN ('confirmed', 'mature')")
    assert booked == height
    assert (
        await scalar(engine, "SELECT count(DISTINCT height) FROM block WHERE state <> 'orphaned'") == height
    )


async def test_two_gateways_on_one_postgresql(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """I1: two gateways and a ledger, each a process: no extranonce1 in common, every share counted once."""
    async with running_bitcoind("signet") as node:
        pools = []
        for role in ("gateway", "gateway", "ledger"):
            directory = tmp_path / f"{role}{len(pools)}"
            directory.mkdir()
            pools.append(
                PoolProcess(
                    directory,
                    database_url,
                    chain="signet",
                    address=SIGNET_ADDRESS,
                    nodes=[nodes_section(node)],
                    start_difficulty=2.0**-19,
                    role=role,
                )
            )
        for name, number in MINERS.items():
            pools[2].add_miner(name, number)
        for pool in pools:
            pool.start()
        try:
            extranonces = [await _extranonces(pool, 50) for pool in pools[:2]]
            assert len(extranonces[0] | extranonces[1]) == 100
            assert "00000000" not in extranonces[0] | extranonces[1]
            async with machines(pools[:2], 120_000) as acknowledged:
                await until(lambda: _more(acknowledged, 300), "shares")
            await drained(engine, *pools[:2])
            counted = await recount(engine, COMMISSION_BPS, 2)
            assert acknowledged <= set(counted.hashes)
            series = 'dmpool_shares_total{device_class="other",verdict="accepted"}'
            accepted = [pool.metrics()[series] for pool in pools[:2]]
            assert len(counted.shares) == sum(accepted)
            assert all(accepted)
            assert await scalar(engine, "SELECT sum(shares) FROM slice") == sum(accepted)
            assert await scalar(engine, "SELECT count(*) FROM gateway") == 2
        finally:
            assert [pool.stop() for pool in pools] == [0, 0, 0], "\n".join(pool.log for pool in pools)


async def test_i1_mining_goes_on_without_postgresql(tmp_path: Path) -> None:
    """I1: PostgreSQL goes away; shares are acknowledged, also over a restart; it returns and has them all."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    url = await asyncio.to_thread(server.start)
    engine = create_engine(url)
    directory = tmp_path / "pool"
    directory.mkdir()
    pool = PoolProcess(directory, url, start_difficulty=2.0**-20)
    try:
        for name, number in MINERS.items():
            pool.add_miner(name, number)
        pool.start()
        async with machines([pool], 20_000) as acknowledged:
            await until(lambda: _more(acknowledged, 20), "shares")
            await engine.dispose()
            await asyncio.to_thread(server.stop)
            stopped = len(acknowledged)
            await until(lambda: _more(acknowledged, stopped + 40), "shares without PostgreSQL")
            pool.kill()
            await asyncio.to_thread(pool.start)
            restarted = len(acknowledged)
            await until(lambda: _more(acknowledged, restarted + 20), "shares after a restart without it")
            await asyncio.to_thread(server.start)
            back = len(acknowledged)
            await until(lambda: _more(acknowledged, back + 20), "shares with PostgreSQL again")
        await drained(engine, pool)
        counted = await recount(engine, COMMISSION_BPS, pool.pplns_window)
        assert acknowledged <= set(counted.hashes)
    finally:
        assert pool.stop() == 0, pool.log
        await engine.dispose()
        await asyncio.to_thread(server.stop)


async def _more(acknowledged: set[str], than: int) -> bool:
    return len(acknowledged) > than


async def _extranonces(pool: PoolProcess, connections: int) -> set[str]:
    """The extranonce1 of some connections that are open at the same time."""
    opened = [await asyncio.open_connection("127.0.0.1", pool.stratum_port) for _ in range(connections)]
    values = set()
    for reader, writer in opened:
        writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
        answer = await reader.readline()
        values.add(json.loads(answer)["result"][1])
    for _, writer in opened:
        writer.close()
    return values


async def test_i9_two_nodes(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """I9: a block goes to both nodes, though they do not know each other; the second serves alone."""
    async with running_bitcoind("regtest") as first, running_bitcoind("regtest") as second:
        pool = PoolProcess(
            tmp_path,
            database_url,
            nodes=[nodes_section(first), nodes_section(second)],
            start_difficulty=2.0**-20,
        )
        for name, number in MINERS.items():
            pool.add_miner(name, number)
        pool.start()
        try:
            async with machines([pool], 3_000):
                await until(partial(_mined, second, 5), "blocks on the second node")
                assert await first.rpc("getblockhash", 5) == await second.rpc("getblockhash", 5)
                first.stop()
                height = await second.rpc("getblockcount")
                assert isinstance(height, int)
                await until(partial(_mined, second, height + 3), "blocks with the first node gone")
                await first.start()
                await until(partial(_caught_up, first, second, pool), "the first node in use again")
            await drained(engine, pool)

            tip = await second.rpc("getblockcount")
            assert isinstance(tip, int)
            chain = {await second.rpc("getblockhash", number) for number in range(1, tip + 1)}

            async def booked() -> bool:
                held = await states(engine)
                return {block_hash for block_hash, state in held.items() if state == "confirmed"} == chain

            await until(booked, "the blocks of the chain booked, and no others")
            await recount(engine, COMMISSION_BPS, pool.pplns_window)
        finally:
            assert pool.stop() == 0, pool.log


async def _mined(node: BitcoindProcess, height: int) -> bool:
    count = await node.rpc("getblockcount")
    return isinstance(count, int) and count >= height


async def _caught_up(first: BitcoindProcess, second: BitcoindProcess, pool: PoolProcess) -> bool:
    """Give the first node the blocks that it missed, in place of a peer; whether the pool uses it again."""
    have, want = await first.rpc("getblockcount"), await second.rpc("getblockcount")
    assert isinstance(have, int)
    assert isinstance(want, int)
    for height in range(have + 1, want + 1):
        block_hash = await second.rpc("getblockhash", height)
        await first.rpc("submitblock", await second.rpc("getblock", block_hash, 0))
    return any("node_works_again" in line and str(first.rpc_port) in line for line in pool.log.splitlines())
