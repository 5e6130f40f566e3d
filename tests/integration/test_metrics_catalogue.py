"""A real pool tells what the catalogue promises for its roles and nothing else, and its log can be read."""

from __future__ import annotations

import asyncio
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from pool.telemetry.catalogue import CATALOGUE
from tests.integration.pool_process import PoolProcess
from tests.integration.prometheus_process import program_or_skip
from tests.integration.test_faults import machines
from tests.integration.test_process_log import (
    DEBUG,
    HUSH,
    be_hostile,
    events,
    followed,
    strangers_forge_nothing,
)
from tests.integration.test_river import MINERS, until

NOT_HERE = {
    "dmpool_stratum_banned_total": "nobody misbehaves",
    "dmpool_stratum_certificate_end_timestamp_seconds": "Stratum is not served over TLS",
    "dmpool_door_certificate_end_timestamp_seconds": "nor is the door",
    "dmpool_wallet_satoshis": "the embedded chain has no wallet: there is no settlement",
    "dmpool_settler_up": "likewise",
    "dmpool_payout_problems": "likewise",
    "dmpool_database_replication_lag_seconds": "PostgreSQL has no replica",
    "dmpool_report_last_day_timestamp_seconds": "the first day is not over",
    "dmpool_report_verified": "likewise",
    "dmpool_report_verified_timestamp_seconds": "likewise",
    "dmpool_report_build_seconds": "likewise",
    "dmpool_report_key_end_timestamp_seconds": "the key has no end",
    "dmpool_log_witness_behind_entries": "the log has no witness",
    "dmpool_notices_waiting": "there is no channel for notices",
    "dmpool_notices_sent_total": "likewise",
    "dmpool_notices_failed_total": "likewise",
    "dmpool_notice_oldest_seconds": "likewise",
    "dmpool_income_deadline_days": "no form is due of a pool that begins",
}
"""Of the three roles together; the catalogue says of each that it may be absent."""
BY_CHANCE = {
    "dmpool_clock_offset_seconds": "on a chain of many blocks a second the node's time is no clock",
    "dmpool_log_checkpoint_age_seconds": "the first is signed half a minute after the start",
    "dmpool_stratum_refused_total": "who connects and leaves at once may be gone before its turn",
}


def told(pool: PoolProcess, seen: dict[str, str]) -> set[str]:
    """The names of the series with samples; checks kind, help and labels of each against the catalogue."""
    seen["text"] = pool.metrics_text()
    names = set()
    for family in text_string_to_metric_families(seen["text"]):
        if not family.samples:
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name in CATALOGUE, f"{name} is told and not described"
        one = CATALOGUE[name]
        assert family.type == one.kind
        assert family.documentation == one.meaning or not name.startswith("dmpool_")
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(one.labels), sample
        names.add(name)
    return names


def promised(*roles: str) -> set[str]:
    return {name for name, one in CATALOGUE.items() if set(one.roles) & set(roles)}


async def misnamed(pool: PoolProcess) -> None:
    """A worker that nobody knows, and a question that no pool answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pool.stratum_port)
    writer.write(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
    writer.write(b'{"id":2,"method":"mining.moon_phase","params":[]}\n')
    writer.write(b'{"id":3,"method":"mining.authorize","params":["nobody.rig1","x"]}\n')
    for _ in range(3):
        await reader.readline()
    writer.write(b"no request at all\n")  # the pool ends the connection
    await reader.read()
    writer.close()


def ask(pool: PoolProcess, path: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError):  # it may not listen yet
        opener.open(f"http://127.0.0.1:{pool.web_port}{path}", timeout=10).close()


async def test_a_pool_tells_what_is_promised_and_strangers_forge_nothing(
    database_url: str, tmp_path: Path
) -> None:
    """One process, since a start is dear: its series, its log, and beside it a process of one role."""
    promtool = program_or_skip("promtool")
    url = sa.make_url(database_url).set(password=f"{HUSH}/pw").render_as_string(hide_password=False)
    pool = PoolProcess(tmp_path, url, start_difficulty=2.0**-20, nodes=[DEBUG])
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    pool.start()
    seen: dict[str, str] = {}
    wanted = promised("gateway", "ledger", "web") - NOT_HERE.keys() - BY_CHANCE.keys()
    try:
        await misnamed(pool)
        await asyncio.to_thread(ask, pool, "/healthz")
        async with machines([pool], 20_000):
            await be_hostile(pool)
            await tells_its_role_alone(tmp_path, database_url)

            async def whole() -> bool:
                return wanted <= await asyncio.to_thread(told, pool, seen) and bool(followed(events(pool)))

            with suppress(AssertionError):
                await until(whole, "all that is promised", 90)
            missing = sorted(wanted - told(pool, seen))
            status = await asyncio.to_thread(pool.command, "front", "status", "--of", "altai")
        assert missing == [], pool.log[-2000:]
        assert sorted(told(pool, seen) & NOT_HERE.keys()) == []
        lint = subprocess.run(
            [promtool, "check", "metrics"],
            input=seen["text"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert lint.returncode == 0, lint.stdout + lint.stderr
        assert_plausible(pool.metrics())
    finally:
        assert pool.stop() == 0, pool.log
    strangers_forge_nothing(pool, events(pool), status.stdout)


def assert_plausible(told_: dict[str, float]) -> None:
    """Sums and relations that hold in any pool."""
    assert told_["dmpool_database_up"] == told_["dmpool_journal_balanced"] == 1
    assert told_["dmpool_stratum_unknown_methods_total"] >= 1
    assert told_['dmpool_build_info{role="gateway",version="0.1.0"}'] == 1
    assert told_['dmpool_disk_free_bytes{path="data_dir"}'] > 0
    found, expected = told_["dmpool_blocks_found_total"], told_["dmpool_blocks_expected_total"]
    assert expected > 0
    assert found > 0
    assert told_["dmpool_unapplied_oldest_seconds"] < 60
    ratios = [value for name, value in told_.items() if name.startswith("dmpool_account_window_ratio")]
    assert abs(sum(ratios) - 1) < 1e-9
    assert told_["dmpool_share_answer_seconds_count"] >= 1
    assert 'method="getblocktemplate"' in " ".join(told_)


async def tells_its_role_alone(directory: Path, database_url: str) -> None:
    """A web process knows nothing of jobs or the spool, and must not say that they are 0."""
    (directory / "web").mkdir()
    pool = PoolProcess(directory / "web", database_url, role="web")
    await asyncio.to_thread(pool.start)
    seen: dict[str, str] = {}
    wanted = promised("web") - NOT_HERE.keys()
    try:

        async def whole() -> bool:
            await asyncio.to_thread(ask, pool, "/healthz")
            return await asyncio.to_thread(told, pool, seen) == wanted

        await until(whole, "the series of the web role, and no other")
    finally:
        assert pool.stop() == 0, pool.log


def test_what_may_be_absent_says_when() -> None:
    assert [name for name in {**NOT_HERE, **BY_CHANCE} if not CATALOGUE[name].absent] == []
