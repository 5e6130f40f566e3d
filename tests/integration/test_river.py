"""The whole river, from a miner's socket to a verified report, with a `dmpool` process and real nodes."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bitcoin.core import CBlock
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.simulate import SimulatedMiner
from reporting.verify import verify
from tests.integration.bitcoind_process import BitcoindProcess, running_bitcoind
from tests.integration.pool_process import ADDRESS, PROGRAM, SIGNET_ADDRESS, PoolProcess
from tests.integration.recount import recount
from tests.machines import at_work

COMMISSION_BPS = 137
MINERS = {"altai": "940140000385", "ekibastuz": "990140004654", "saryarqa": "061211600012"}


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 180.0) -> None:
    """Wait for a condition; the wait is a bound, not a measure."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:.0f} s in vain: {what}") from None


@asynccontextmanager
async def mining(pool: PoolProcess, hashrate: float) -> AsyncIterator[None]:
    """A machine of each miner at work on a pool."""
    machines = [SimulatedMiner(pool.stratum_url, f"{name}.rig1", hashrate) for name in MINERS]
    async with at_work(*machines):
        yield


def nodes_section(node: BitcoindProcess) -> str:
    """The [[nodes]] section of a test node."""
    return f'[[nodes]]\nurl = "{node.url}"\nzmq = "{node.zmq_url}"\n'


async def scalar(engine: AsyncEngine, query: str) -> int:
    """One number from the database."""
    async with engine.connect() as connection:
        return int(await connection.scalar(sa.text(query)) or 0)


async def states(engine: AsyncEngine) -> dict[str, str]:
    """State of each block in the ledger, by hash."""
    async with engine.connect() as connection:
        rows = await connection.execute(sa.text("SELECT hash, state FROM block"))
        return {row.hash: row.state for row in rows}


async def assert_money_agrees(engine: AsyncEngine, pool: PoolProcess) -> dict[str, Any]:
    """Split, journal and verified report agree to the satoshi with an independent count (I2, I3, I4)."""
    counted = await recount(engine, COMMISSION_BPS, pool.pplns_window)
    async with engine.connect() as connection:
        rows = (await connection.execute(sa.text("SELECT hash, miner_id, amount_sat FROM split"))).all()
        blocks = {
            row.hash: row
            for row in await connection.execute(
                sa.text("SELECT hash, state, reward_sat, commission_sat FROM block")
            )
        }
        balances = {
            row.account: int(row.amount)
            for row in await connection.execute(
                sa.text("SELECT account, sum(amount) AS amount FROM journal_posting GROUP BY account")
            )
        }
    stored: dict[str, dict[int, int]] = {block_hash: {} for block_hash in blocks}
    for row in rows:
        stored[row.hash][row.miner_id] = row.amount_sat
    assert set(blocks) == set(counted.splits)
    expected: dict[str, int] = {}
    for block_hash, (commission, amounts) in counted.splits.items():
        block = blocks[block_hash]
        assert block.commission_sat == commission
        assert stored[block_hash] == amounts
        assert commission + sum(amounts.values()) == block.reward_sat
        if block.state not in ("confirmed", "mature"):
            continue
        ripe = block.state == "mature"
        parts = {f"miner:{miner}:{'payable' if ripe else 'immature'}": a for miner, a in amounts.items()}
        parts[f"pool:commission:{'earned' if ripe else 'immature'}"] = commission
        parts[f"asset:coinbase:{'mature' if ripe else 'immature'}"] = -block.reward_sat
        for account, amount in parts.items():
            expected[account] = expected.get(account, 0) - amount
    assert {a: b for a, b in balances.items() if b} == {a: b for a, b in expected.items() if b}
    assert sum(balances.values()) == 0
    return await assert_report(engine, pool, blocks, balances, len(counted.shares))


async def assert_report(
    engine: AsyncEngine, pool: PoolProcess, blocks: dict[str, Any], balances: dict[str, int], shares: int
) -> dict[str, Any]:
    """The signed report of today says what journal and blocks say, and verifies with the key alone."""
    today = dt.datetime.now(dt.timezone(dt.timedelta(hours=5))).date()
    file = pool.directory / "report.json"
    built = await asyncio.to_thread(
        pool.command, "reports", "build", "--date", str(today), "--unfinished", "--out", str(file)
    )
    assert built.returncode == 0, built.stderr
    key = (await asyncio.to_thread(pool.command, "reports", "key")).stdout.strip()
    checks = verify(file.read_bytes(), key)
    assert all(check.passed for check in checks), [check for check in checks if not check.passed]
    report: dict[str, Any] = json.loads(file.read_bytes())["report"]
    assert {block["hash"]: block["reward_sat"] for block in report["blocks"]} == {
        block_hash: block.reward_sat for block_hash, block in blocks.items()
    }
    accepted = sum(miner["accepted_shares"] for miner in report["miners"])
    assert accepted == shares
    closing = {row["account"]: row["closing_sat"] for row in report["journal"]["accounts"]}
    for account, amount in closing.items():
        assert abs(balances.get(account, 0)) == amount, account
    tampered = bytearray(file.read_bytes())
    tampered[len(tampered) // 2] ^= 1
    (pool.directory / "tampered.json").write_bytes(tampered)
    refused = await asyncio.to_thread(_verify_command, pool.directory / "tampered.json", key)
    assert refused == 1
    assert await asyncio.to_thread(_verify_command, file, key) == 0
    return report


def _verify_command(file: Path, key: str) -> int:
    done = subprocess.run(
        [PROGRAM, "reports", "verify", str(file), "--key", key], capture_output=True, timeout=60, check=False
    )
    return done.returncode


async def test_a_real_node_on_regtest(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """Miner to mature reward over a real bitcoind: the node's best block is the pool's (I2 to I4, I9)."""
    async with running_bitcoind("regtest") as node:
        pool = PoolProcess(tmp_path, database_url, nodes=[nodes_section(node)], start_difficulty=2.0**-20)
        for name, number in MINERS.items():
            pool.add_miner(name, number)
        pool.start()
        try:
            async with mining(pool, 6_000):
                await until(lambda: _reached(node, 12), "12 blocks on the node")
            await until(lambda: _settled(engine, 12), "12 blocks confirmed in the ledger")
            await assert_best_block_is_the_pools(node, engine)
            await node.rpc("generatetoaddress", 101, ADDRESS)
            await until(lambda: _all_in(engine, {"mature", "orphaned"}), "every block mature or orphaned")
            report = await assert_money_agrees(engine, pool)
            assert any(miner["matured_sat"] for miner in report["miners"])
        finally:
            assert pool.stop() == 0, pool.log


async def test_a_private_signet(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """On a network of real difficulty a share need not be a block, and the window holds many shares (I4)."""
    async with running_bitcoind("signet") as node:
        pool = PoolProcess(
            tmp_path,
            database_url,
            chain="signet",
            address=SIGNET_ADDRESS,
            nodes=[nodes_section(node)],
            start_difficulty=2.0**-15,
        )
        for name, number in MINERS.items():
            pool.add_miner(name, number)
        pool.start()
        try:
            async with mining(pool, 800_000):
                await until(lambda: _reached(node, 5), "5 blocks on the node", 400)
            await until(lambda: _settled(engine, 5), "5 blocks confirmed in the ledger")
            await assert_best_block_is_the_pools(node, engine)
            await assert_money_agrees(engine, pool)
            assert await scalar(engine, "SELECT sum(shares) FROM slice") > 5 * await scalar(
                engine, "SELECT count(*) FROM block"
            )
            sharing = "SELECT max(n) FROM (SELECT count(*) n FROM split GROUP BY hash) t"
            assert await scalar(engine, sharing) == len(MINERS)
        finally:
            assert pool.stop() == 0, pool.log


async def test_the_embedded_chain(database_url: str, engine: AsyncEngine, tmp_path: Path) -> None:
    """The same river on the chain of the demo, over a restart, to the first mature block (I1 to I4)."""
    pool = PoolProcess(tmp_path, database_url, start_difficulty=2.0**-22, pplns_window=1)
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    pool.start()
    try:
        async with mining(pool, 30_000):
            await until(lambda: _settled(engine, 20), "20 blocks confirmed")
        assert pool.stop() == 0, pool.log
        shares = await scalar(engine, "SELECT sum(shares) FROM slice")
        pool.start()
        async with mining(pool, 60_000):
            await until(
                lambda: _at_least(engine, "SELECT count(*) FROM block WHERE state = 'mature'", 3),
                "3 mature blocks",
                400,
            )
        assert await scalar(engine, "SELECT sum(shares) FROM slice") > shares
        report = await assert_money_agrees_when_quiet(engine, pool)
        assert any(miner["matured_sat"] for miner in report["miners"])
    finally:
        assert pool.stop() == 0, pool.log


async def assert_money_agrees_when_quiet(engine: AsyncEngine, pool: PoolProcess) -> dict[str, Any]:
    """Wait until spool and ledger have taken everything, then compare."""

    async def drained() -> bool:
        samples = await asyncio.to_thread(pool.metrics)
        waiting = await scalar(engine, "SELECT count(*) FROM batch WHERE position IS NULL")
        unsettled = await scalar(engine, "SELECT count(*) FROM block WHERE state IN ('found', 'submitted')")
        return samples["dmpool_spool_depth"] == 0 and waiting == 0 and unsettled == 0

    await until(drained, "everything taken")
    await asyncio.sleep(1.0)
    return await assert_money_agrees(engine, pool)


async def assert_best_block_is_the_pools(node: BitcoindProcess, engine: AsyncEngine) -> None:
    """The tip is in the ledger, and its coinbase pays the pool and carries its tag."""
    tip = await node.rpc("getbestblockhash")
    assert isinstance(tip, str)

    async def confirmed() -> bool:
        return (await states(engine)).get(tip) == "confirmed"

    await until(confirmed, "the node's best block confirmed in the ledger")
    raw = await node.rpc("getblock", tip, 0)
    assert isinstance(raw, str)
    block = CBlock.deserialize(bytes.fromhex(raw))
    coinbase = block.vtx[0]
    assert b"/dmpool/" in bytes(coinbase.vin[0].scriptSig)
    assert len(coinbase.vout) == 2
    assert re.fullmatch("0014[0-9a-f]{40}", coinbase.vout[0].scriptPubKey.hex())
    async with engine.connect() as connection:
        row = (
            await connection.execute(
                sa.text("SELECT coinbase_txid, reward_sat FROM block WHERE hash = :hash"), {"hash": tip}
            )
        ).one()
    assert coinbase.GetTxid()[::-1].hex() == row.coinbase_txid
    assert coinbase.vout[0].nValue == row.reward_sat


async def _reached(node: BitcoindProcess, height: int) -> bool:
    count = await node.rpc("getblockcount")
    return isinstance(count, int) and count >= height


async def _at_least(engine: AsyncEngine, query: str, number: int) -> bool:
    return await scalar(engine, query) >= number


async def _settled(engine: AsyncEngine, blocks: int) -> bool:
    waiting = await scalar(engine, "SELECT count(*) FROM batch WHERE position IS NULL")
    return waiting == 0 and await _at_least(
        engine, "SELECT count(*) FROM block WHERE state IN ('confirmed', 'mature')", blocks
    )


async def _all_in(engine: AsyncEngine, wanted: set[str]) -> bool:
    return set((await states(engine)).values()) <= wanted


@pytest.mark.parametrize("missing", ["/dmpool-no-such-file.toml"])
def test_a_missing_configuration_is_one_line(missing: str) -> None:
    """Exit code 2, one line, the remedy."""
    done = subprocess.run(
        [PROGRAM, "run", "--config", missing], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert missing in done.stderr
