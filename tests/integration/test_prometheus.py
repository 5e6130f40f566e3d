"""A real Prometheus scrapes a real pool with the committed configuration."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.bitcoind_process import REPOSITORY
from tests.integration.free_port import free_port
from tests.integration.pool_process import PoolProcess
from tests.integration.test_faults import machines
from tests.integration.test_river import MINERS, until


def program_or_skip(name: str) -> str:
    """prometheus or promtool; skips the test with the remedy where there is none."""
    cached = REPOSITORY / ".cache" / "prometheus" / "usr" / "bin" / name
    found = str(cached) if cached.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: run tests/integration/install_prometheus.sh")
    return found


async def test_a_real_prometheus_scrapes_the_pool(database_url: str, tmp_path: Path) -> None:
    """Every metric that exists so far arrives, and promtool finds nothing to complain of in their names."""
    prometheus, promtool = program_or_skip("prometheus"), program_or_skip("promtool")
    pool = PoolProcess(tmp_path, database_url, start_difficulty=2.0**-20)
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    pool.start()
    port = free_port()
    config = tmp_path / "prometheus.yml"
    committed = (REPOSITORY / "configs" / "prometheus.yml").read_text()
    config.write_text(committed.replace("127.0.0.1:9090", f"127.0.0.1:{pool.metrics_port}"))
    server = subprocess.Popen(
        [
            prometheus,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with machines([pool], 20_000) as acknowledged:

            async def scraped() -> bool:
                series = await asyncio.to_thread(query, port, 'dmpool_shares_total{verdict="accepted"}')
                return bool(series) and float(series[0]["value"][1]) > 0 and len(acknowledged) > 0

            await until(scraped, "shares in Prometheus")
        names = {series["metric"]["__name__"] for series in query(port, '{__name__=~"dmpool_.*"}')}
        assert {
            "dmpool_stratum_connections",
            "dmpool_shares_total",
            "dmpool_work_hashes_total",
            "dmpool_jobs_total",
            "dmpool_job_age_seconds",
            "dmpool_job_height",
            "dmpool_template_seconds_bucket",
            "dmpool_job_broadcast_seconds_bucket",
            "dmpool_spool_depth",
            "dmpool_spool_commit_seconds_bucket",
            "dmpool_batches_forwarded_total",
            "dmpool_database_up",
            "dmpool_node_up",
            "dmpool_blocks_found_total",
            "dmpool_blocks",
            "dmpool_ledger_active",
            "dmpool_liability_satoshis",
        } <= names
        text = subprocess.run(
            [promtool, "check", "metrics"],
            input=await asyncio.to_thread(pool.metrics_text),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert text.returncode == 0, text.stdout + text.stderr
    finally:
        server.terminate()
        server.wait(30)
        assert pool.stop() == 0, pool.log


def query(port: int, expression: str) -> list[dict[str, Any]]:
    """An instant query; empty while Prometheus starts."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.request.quote(expression)}"
    try:
        with opener.open(address, timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except OSError:
        return []
