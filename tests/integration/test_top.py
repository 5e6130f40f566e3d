"""`dmpool top` beside a real pool: on a screen of 80x24, in a real terminal, and once for a script."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from textual.widgets import Static
from typer.testing import CliRunner

from pool.cli import cli
from pool.config import load
from pool.simulate import SimulatedMiner
from pool.terminal.app import KEYS, Top
from pool.terminal.looker import looking
from pool.terminal.reading import Target
from tests.integration.free_port import free_port
from tests.integration.pool_process import PROGRAM, PoolProcess

BIN = "230440000105"


@pytest_asyncio.fixture
async def pool(tmp_path: Path, database_url: str) -> AsyncIterator[PoolProcess]:
    """A pool that found a block."""
    made = PoolProcess(tmp_path, database_url, start_difficulty=2.0**-20)
    made.add_miner("altai", BIN)
    await asyncio.to_thread(made.start)
    machine = SimulatedMiner(made.stratum_url, "altai.rig7", 100_000)
    mining = asyncio.create_task(machine.run())
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(confirmed, made):
                await asyncio.sleep(0.2)
        yield made
    finally:
        mining.cancel()
        await asyncio.gather(mining, return_exceptions=True)
        await asyncio.to_thread(made.stop)


def confirmed(pool: PoolProcess) -> float:
    return pool.metrics().get('dmpool_blocks{state="confirmed"}', 0)


def text_of(app: Top) -> str:
    return "\n".join(str(app.query_one(f"#{name}", Static).render()) for name in ("head", "lines", "keys"))


async def shows(app: Top, pilot: Any, pattern: str) -> str:
    """What is shown, once it has this."""
    async with asyncio.timeout(20):
        while not re.search(pattern, text := text_of(app)):
            await pilot.pause(0.05)
    return text


async def in_a_terminal(config: Path, keys: bytes, wanted: bytes, **environment: str) -> tuple[bytes, int]:
    """What the command wrote to a terminal of 80x24 until it showed something, and how it ended by keys."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "top", "--interval", "0.5", "--config", str(config)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(terminal)
    written = b""
    async with asyncio.timeout(40):
        while wanted not in written:
            written += await asyncio.to_thread(os.read, screen, 65536)
        os.write(screen, keys)
        draining = asyncio.create_task(asyncio.to_thread(_drain, screen))
        code = await process.wait()
        written += await draining
    os.close(screen)
    return written, code


def _drain(screen: int) -> bytes:
    rest = b""
    try:
        while piece := os.read(screen, 65536):
            rest += piece
    except OSError:  # the other side is closed
        pass
    return rest


async def test_a_pool_is_looked_at_and_then_gone(pool: PoolProcess) -> None:
    settings = load(pool.config)
    own, nobody = Target("127.0.0.1", pool.metrics_port), Target("127.0.0.1", free_port())
    async with looking([own], settings) as looker:
        app = Top(looker, 0.5)
        async with app.run_test(size=(80, 24)) as pilot:
            text = await shows(app, pilot, r"OK        nothing is wrong")
            assert re.search(
                r"LEDGER    active, lag \S+ s, \d+ batches wait; journal balances; PostgreSQL up", text
            )
            assert re.search(r"NODE      embedded demo chain \(reg\.\.: up, in use, height \d+", text)
            assert re.search(r"\d+ confirmed +\S+ (s|min) ago  altai\.rig7 ", text)
            assert "1 open, 1 authorised" in text
            assert max(map(len, text.splitlines())) <= 80
            assert KEYS in text
            await pilot.press("g")
            assert "GATEWAYS AS POSTGRESQL KNOWS THEM" in await shows(app, pilot, "page: gateways")
            await pilot.press("n")
            assert "getblocktemplate" in await shows(app, pilot, "page: nodes")
            await pilot.press("b")
            assert "confirmed" in await shows(app, pilot, "page: blocks")
            await pilot.press("w")
            assert "nothing, as far as can be seen" in await shows(app, pilot, "page: wrong")
            await pilot.press("plus", "minus", "minus", "minus")
            await shows(app, pilot, "every 10 s")
            await pilot.press("p")
            await shows(app, pilot, "paused")
            await pilot.resize_terminal(50, 10)
            await pilot.press("q")
        assert app.return_code == 0
    await _in_a_real_terminal(pool.config)
    await _once(pool, own, nobody)


async def _in_a_real_terminal(config: Path) -> None:
    plain, code = await in_a_terminal(config, b"q", b"HASHRATE", NO_COLOR="1")
    assert code == 0
    assert re.findall(rb"\x1b\[[0-9;]*\b3[0-7]\b[0-9;]*m", plain) == []
    assert b"\x1b[?1049l" in plain, "the terminal is given back as it was"


async def _once(pool: PoolProcess, own: Target, nobody: Target) -> None:
    line = ["top", "--once", "--config", str(pool.config)]
    once = await asyncio.to_thread(CliRunner().invoke, cli, line)
    assert once.exit_code == 0, once.stdout
    assert "nothing is wrong" in once.stdout
    assert once.stderr == ""
    async with looking([own, nobody], None) as looker:
        reading = await looker.look()
        assert [bool(told.samples) for told in reading.targets] == [True, False]
        assert reading.targets[1].trouble == "does not answer: Connection refused"
        assert len(reading.unseen) == 2
    await asyncio.to_thread(pool.kill)
    once = await asyncio.to_thread(CliRunner().invoke, cli, line)
    assert once.exit_code == 1
    assert "TargetDown" in once.stdout
    assert "NOT SEEN  bans and drain: data_dir" in once.stdout
    assert "altai.rig7" in once.stdout, "PostgreSQL is asked all the same"
