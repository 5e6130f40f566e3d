"""What an operator meets: mistakes told in one line before anything is bound, and nodes that come later."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.bitcoind_process import BitcoindProcess, bitcoind_or_skip, running_bitcoind
from tests.integration.pool_process import PROGRAM, PoolProcess
from tests.integration.test_faults import machines
from tests.integration.test_river import MINERS, nodes_section, until


def refused(config: Path, *arguments: str, environment: dict[str, str] | None = None) -> str:
    """The one line with which a start is refused; asserts exit code 2 and that it is one line."""
    done = subprocess.run(
        [PROGRAM, *(arguments or ("run",)), "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def edited(pool: PoolProcess, old: str, new: str) -> Path:
    """The pool's configuration with one thing changed."""
    path = pool.config
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.fixture
def pool(tmp_path: Path) -> PoolProcess:
    """A pool that could run, but for what each test spoils; its database does not exist."""
    return PoolProcess(tmp_path, "postgresql://dmpool:secretword@127.0.0.1:9/dmpool")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("commission_bps", "comission_bps", ["pool.comission_bps", "no such key"]),
        ("[web]", "[webb]", ["webb", "no such key"]),
        ('address = "bcrt1q', 'address = "bcrt1p', ["address", "bcrt1p"]),
        ('address = "bcrt1q', 'address = "bc1q', ["address", "bc1q"]),
        ('chain = "regtest"', 'chain = "main"', ["address", "is an address for regtest", "'bc1'"]),
        ('chain = "regtest"', 'chain = "mainnet"', ["pool.chain", "mainnet", "'main'"]),
        ('bin = "230440000105"', 'bin = "230440000106"', ["pool.bin", "230440000106", "check digit"]),
        ("commission_bps = 137", "commission_bps = 10001", ["pool.commission_bps", "10001", "10000"]),
        ("shares_per_minute = 600", "shares_per_minute = 0", ["stratum.shares_per_minute", "greater than 0"]),
        ('url = "postgresql', 'url = "mysql', ["database.url", "postgresql://"]),
        ("[pool]", "[pool", ["not TOML"]),
    ],
)
def test_a_bad_configuration_is_one_line(pool: PoolProcess, old: str, new: str, words: list[str]) -> None:
    """Key, value and remedy; exit code 2; no secret."""
    line = refused(edited(pool, old, new))
    for word in words:
        assert word in line
    assert "secretword" not in line


def test_an_unknown_environment_key_is_one_line(pool: PoolProcess) -> None:
    """The environment is held to the same."""
    line = refused(pool.config, environment={"DMPOOL_STRATUM__LISTN": "0.0.0.0:1"})
    assert "DMPOOL_STRATUM__LISTN" in line
    assert "no such key" in line


def test_the_environment_overrides_the_file(pool: PoolProcess) -> None:
    """The same value is checked as if it stood in the file."""
    line = refused(pool.config, environment={"DMPOOL_STRATUM__LISTEN": "nowhere"})
    assert "stratum.listen" in line
    assert "'nowhere'" in line


@pytest.mark.parametrize("key", ["stratum", "web", "metrics"])
def test_a_taken_port_is_one_line(pool: PoolProcess, key: str) -> None:
    """Named by its key, and nothing else is bound meanwhile."""
    port = getattr(pool, f"{key}_port")
    with socket.create_server(("127.0.0.1", port)):
        line = refused(pool.config)
    assert f'{key}.listen: "127.0.0.1:{port}"' in line
    assert "Address already in use" in line
    assert "choose another port" in line


def test_the_same_port_twice_is_one_line(pool: PoolProcess) -> None:
    """Two of our own servers cannot share a port."""
    pool.web_port = pool.stratum_port
    line = refused(pool.config)
    assert f'web.listen: "127.0.0.1:{pool.web_port}"' in line
    assert "stratum.listen" in line
    assert "choose another port" in line


def test_a_role_of_its_own_stops_the_embedded_server_it_started(tmp_path: Path) -> None:
    """With nobody else at work in the directory, nothing is left running."""
    pool = PoolProcess(tmp_path, "", role="web")
    config = pool.config.read_text().replace('url = ""', "")
    (tmp_path / "web.toml").write_text(config)
    process = subprocess.Popen([PROGRAM, "web", "--config", str(tmp_path / "web.toml")])
    try:
        pidfile = tmp_path / "data" / "postgres" / "postmaster.pid"
        deadline = time.monotonic() + 60
        while not (pidfile.exists() and _listens(pool.web_port)):
            assert time.monotonic() < deadline, "the web role did not start"
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 0
    assert not pidfile.exists()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_commands_do_not_make_up_a_demo(tmp_path: Path) -> None:
    """Without --config, in a folder where no demo ever ran: told, and nothing is made."""
    for arguments in (["miners", "list"], ["reports", "list"], ["reports", "key"]):
        done = subprocess.run(
            [PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert done.returncode in (1, 2)
        assert done.stderr.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_a_report_is_not_published_into_nowhere(tmp_path: Path) -> None:
    """--out is tried before the report is built."""
    pool = PoolProcess(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    done = pool.command("reports", "build", "--date", "2026-01-01", "--out", "/no/such/folder/r.json")
    assert done.returncode == 2
    assert "--out /no/such/folder/r.json" in done.stderr


async def test_a_node_on_another_chain_is_one_line(tmp_path: Path) -> None:
    """The node says that it is on another chain than pool.chain: exit code 2, before anything is bound."""
    async with running_bitcoind("signet") as node:
        pool = PoolProcess(tmp_path, "postgresql://nobody@127.0.0.1:9/none", nodes=[nodes_section(node)])
        line = await asyncio.to_thread(refused, pool.config)
    assert "nodes.0.url" in line
    assert "signet" in line
    assert "regtest" in line
    assert "word" not in line


async def test_a_database_of_a_newer_dmpool_is_one_line(
    database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    """A gateway that has no number yet needs the database; what it cannot use it says, and ends."""
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    line = await asyncio.to_thread(refused, PoolProcess(tmp_path, database_url).config)
    assert "newer dmpool" in line


async def test_two_pools_in_one_directory_are_refused(database_url: str, tmp_path: Path) -> None:
    """A spool has one owner."""
    pool = PoolProcess(tmp_path, database_url)
    await asyncio.to_thread(pool.start)
    try:
        other = PoolProcess(tmp_path, database_url)
        line = await asyncio.to_thread(refused, other.config)
        assert "data_dir" in line
        assert "another dmpool" in line
    finally:
        assert pool.stop() == 0, pool.log


async def test_a_node_that_is_down_is_waited_for(
    database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    """The log says which node and why; work begins when it comes, and again after it was away."""
    directory = tmp_path / "node"
    directory.mkdir()
    node = BitcoindProcess(bitcoind_or_skip(), directory, "regtest")
    pool = PoolProcess(tmp_path, database_url, nodes=[nodes_section(node)], start_difficulty=2.0**-20)
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    await asyncio.to_thread(pool.start)
    try:
        async with machines([pool], 4_000) as acknowledged:
            assert str(node.rpc_port) in pool.log
            assert "waiting for it" in pool.log
            assert not acknowledged
            await node.start()
            await until(lambda: _height_above(node, 2), "blocks when the node has come")
            node.stop()
            await asyncio.sleep(1.5)
            await node.start()
            height = await node.rpc("getblockcount")
            assert isinstance(height, int)
            await until(lambda: _height_above(node, height + 2), "blocks when the node is back")
    finally:
        assert pool.stop() == 0, pool.log
        node.stop()


async def _height_above(node: BitcoindProcess, height: int) -> bool:
    now = await node.rpc("getblockcount")
    return isinstance(now, int) and now > height
