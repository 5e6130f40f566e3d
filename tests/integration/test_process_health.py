"""The health of a whole process as its operator and systemd see it, while things fail for real."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from pool import cli_health
from pool.embedded_postgres import EmbeddedPostgres
from pool.telemetry.health import STARTING
from pool.telemetry.readiness import AWAY
from tests.integration.pool_process import PoolProcess
from tests.integration.test_river import until

READY: dict[str, list[str]] = {"gateway": [], "ledger": [], "web": []}


def reasons(pool: PoolProcess, key: str = "reasons") -> dict[str, list[str]]:
    """What /readyz says of each role; nothing while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{pool.metrics_port}/readyz", timeout=5) as answer:
            told: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as refused:
        told = json.load(refused)
    except OSError:
        return {}
    return {role: one[key] for role, one in told["roles"].items()}


async def health(pool: PoolProcess, *options: str) -> Result:
    """`dmpool health`, in this process: it only asks."""
    return await asyncio.to_thread(
        CliRunner().invoke, cli_health_app(), [*options, "--config", str(pool.config)]
    )


def cli_health_app() -> Typer:
    app = Typer()
    app.command()(cli_health.command)
    return app


async def told(pool: PoolProcess, wanted: dict[str, list[str]]) -> None:
    async def so() -> bool:
        return await asyncio.to_thread(reasons, pool) == wanted

    await until(so, f"readiness: {wanted}", 40)


async def test_readiness_follows_what_happens_to_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000000")
        monkeypatch.setenv("DMPOOL_STRATUM__PUBLIC_HOST", "kz1.pool.example")
        server = EmbeddedPostgres(tmp_path / "postgres")
        url = await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.stop)
        pool = PoolProcess(tmp_path, url)
        starting = asyncio.create_task(asyncio.to_thread(pool.start))
        try:
            await told(pool, {"gateway": [STARTING], "ledger": [STARTING], "web": [STARTING]})
            assert manager.recv(100) == b"WATCHDOG=1"
            await asyncio.to_thread(server.start)
            await starting
            assert manager.recv(100) == b"READY=1"
            await told(pool, READY)
            well = await health(pool)
            assert (well.exit_code, well.stdout.count("│ ready")) == (0, 3)

            await asyncio.to_thread(server.stop)
            await told(pool, {"gateway": [], "ledger": [AWAY], "web": [AWAY]})
            notes = await asyncio.to_thread(reasons, pool, "notes")
            assert notes["gateway"] == [f"{AWAY}; shares wait in the spool"]
            unwell = await health(pool)
            assert (unwell.exit_code, AWAY in unwell.stdout) == (1, True)
            assert (await health(pool, "--alive")).exit_code == 0
            await asyncio.to_thread(server.start)
            await told(pool, READY)

            drain = ("front", "drain", "--to", "kz2.pool.example:3333", "--over", "1")
            assert (await asyncio.to_thread(pool.command, *drain)).returncode == 0
            await told(pool, {**READY, "gateway": ["drains: miners are sent to another gateway"]})
        finally:
            assert pool.stop() == 0, pool.log
            await asyncio.to_thread(server.stop)
        assert manager.recv(100) == b"STOPPING=1"
        gone = await asyncio.to_thread(pool.command, "health")
        assert (gone.returncode, "is the process running?" in gone.stderr) == (1, True)
