"""A real pool, a real Prometheus with the committed configuration, and every question that is asked of it.

Every expression of every panel, annotation and variable of the dashboards, and every expression and every
series of every rule, must give data of the shape that is shown. What rightly gives none here is listed with
its reason; an entry that gives data after all, or that asks for nothing, is an error too.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import math
import re
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from pool.cli import cli
from pool.config import RULES_FILE
from register.rules import load_rules
from reporting.note import COSIGNATURE, verifier_key
from tests.dashboard_panels import (
    Question,
    asked_by_dashboards,
    asked_by_rules,
    dashboards,
    rules,
    selectors,
)
from tests.integration.bitcoind_process import running_bitcoind
from tests.integration.entering import enter_miner
from tests.integration.free_port import free_port
from tests.integration.pool_process import PoolProcess
from tests.integration.prometheus_process import Prometheus, program_or_skip, running_prometheus
from tests.integration.test_river import MINERS, mining, nodes_section, until
from tests.register_world import bin_number

STEP: Final = 5
"""Seconds: the scrape_interval that Grafana is told of."""
VARIABLES: Final = {
    "__rate_interval": f"{4 * STEP}s",
    "__interval": f"{STEP}s",
    "__range": "1h",
    "instance": ".+",
    "account": "altai",
}
WALLET: Final = ("-disablewallet=0", "-keypool=1")
_EMPTY: Final[dict[str, tuple[str, ...]]] = {
    "no share was refused by law: every miner has a licence and every machine is registered": (
        "dmpool-compliance / Shares refused by law / A",
        'dmpool_shares_total{verdict=~"licence|quarantine"}',
    ),
    "nobody was banned": (
        "dmpool-gateways / Bans, by the last offence / A",
        'dmpool_stratum_banned_total{instance=~"$instance"}',
    ),
    "no form is due before the first month is over": (
        "dmpool-compliance / Days to the deadline of a form / A",
        'dmpool_income_deadline_days{instance=~"$instance"}',
    ),
    "the process has built no report itself: its first day is not over": (
        "dmpool-reports / Time to build a report / A",
        'dmpool_report_build_seconds{instance=~"$instance"}',
    ),
    "no key that signs reports has an end": (
        "dmpool-reports / The key that signs reports ends in / A",
        "rule KeyEnds critical",
        "rule KeyEnds warning",
        "dmpool_report_key_end_timestamp_seconds",
        'dmpool_report_key_end_timestamp_seconds{instance=~"$instance"}',
    ),
    "no port has a certificate": (
        "dmpool-reports / Certificates end in / A",
        "rule CertificateEnds critical",
        "rule CertificateEnds warning",
        "rule dmpool:certificate_ends_seconds ",
        "dmpool:certificate_ends_seconds",
        "dmpool_door_certificate_end_timestamp_seconds",
        "dmpool_stratum_certificate_end_timestamp_seconds",
    ),
    "PostgreSQL has no replica": (
        "dmpool-reports / Lag of the replicas / A",
        'dmpool_database_replication_lag_seconds{instance=~"$instance"}',
    ),
    "no node lost a block": (
        "rule BlockNotInChain critical",
        'dmpool_block_checks_total{place="unknown"}',
    ),
    "no request failed": ('dmpool_http_requests_total{code="5xx"}',),
    "a part of all shares is told from a thousand shares on": (
        "rule RejectsHigh critical",
        "rule RejectsHigh warning",
        "dmpool:rejects_ratio",
    ),
    "there was no hour before": ("rule HashrateDrop critical", "rule HashrateDrop warning"),
    "the wallet is told, so it is not unknown": ("rule WalletUnknown warning",),
}
NONE_HERE: Final = {place: reason for reason, places in _EMPTY.items() for place in places}
"""What rightly gives nothing, by where it stands or by the series that is asked for."""
BY_CHANCE: Final = {
    "rule BlockNotInChain warning": "two blocks may be found at once",
    'dmpool_block_checks_total{place=~"off_chain|silent"}': "the same",
    'ALERTS{alertstate="firing",severity="critical"}': "a machine that is slow for a while",
    'ALERTS{alertstate="firing",severity="warning"}': "a block that lost such a race is an orphan",
}
"""What a pool of three machines on a chain without difficulty decides anew each time."""
_COMPARISON: Final = re.compile(r"(==|!=|<=|>=|<|>)(?!\s*bool)(?!~)")


async def test_every_question_of_dashboards_and_rules_is_answered(
    database_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    """With a node that has a wallet, a settler, a log with a witness, and a channel that nobody hears."""
    promtool = program_or_skip("promtool")
    questions = [*asked_by_dashboards(), *map(as_question, asked_by_rules()), *single_series()]
    assert {*NONE_HERE, *BY_CHANCE} <= {one.place for one in questions}
    for name, number in MINERS.items():
        await enter_miner(engine, name, number, workers=("rig1", "rig7"))
    soon = dt.date.today() + dt.timedelta(days=9)
    await enter_miner(engine, "balkhash", bin_number(9), last=soon, workers=())
    async with a_pool_with_everything(database_url, tmp_path) as pool:
        with running_prometheus(tmp_path, pool.metrics_port) as prometheus:
            async with mining(pool, 8_000), visiting(pool):
                await misbehave(pool.stratum_port)
                silent = await answered_in_time(prometheus, questions)
                await until(
                    lambda: asyncio.to_thread(well, prometheus), "a pool that is well by its own word"
                )
            assert_only_what_is_listed(silent)
            told = await asyncio.to_thread(prometheus.rules)
            assert {rule["name"] for rule in told} == {
                rule.get("alert", rule.get("record")) for rule in rules()
            }
            assert [rule for rule in told if rule["health"] != "ok"] == []
            for dashboard in dashboards().values():
                assert_variables_have_values(prometheus, dashboard)
        text = await asyncio.to_thread(pool.metrics_text)
        lint = subprocess.run(
            [promtool, "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert lint.returncode == 0, lint.stdout + lint.stderr


@contextlib.asynccontextmanager
async def a_pool_with_everything(database_url: str, directory: Path) -> AsyncIterator[PoolProcess]:
    """A pool process on a real node, with all that can be told of."""
    async with running_bitcoind("regtest", WALLET) as node:
        await node.rpc("createwallet", "pool")
        address = await node.rpc("getnewaddress", "", "bech32")
        (directory / "secret").write_text("a secret of this test\n")
        (directory / "secret").chmod(0o600)
        witness = verifier_key("witness.example", COSIGNATURE, bytes(range(32)))
        nobody = f"http://127.0.0.1:{free_port()}"
        more = f"""
[settlement]
wallet = "pool"
signer = "node"

[[log.witnesses]]
name = "example"
vkey = "{witness}"
url = "{nobody}"

[[notices.channels]]
kind = "webhook"
name = "desk"
url = "{nobody}"
secret_file = "{directory / "secret"}"
"""
        pool = PoolProcess(
            directory,
            database_url,
            address=str(address),
            nodes=[nodes_section(node), more],
            start_difficulty=2.0**-20,
        )
        await asyncio.to_thread(report_of_yesterday, pool)
        await asyncio.to_thread(pool.start)
        try:
            yield pool
        finally:
            assert await asyncio.to_thread(pool.stop) == 0, pool.log


async def misbehave(port: int) -> None:
    """A worker that nobody knows, a share of no job, and a line that is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = (
        {"id": 1, "method": "mining.subscribe", "params": ["nobody/1.0"]},
        {"id": 2, "method": "mining.authorize", "params": ["altai.unheard-of", "x"]},
        {"id": 3, "method": "mining.authorize", "params": ["altai.rig7", "x"]},
        {
            "id": 4,
            "method": "mining.submit",
            "params": ["altai.rig7", "nojob", "00000000", "00000000", "00000000"],
        },
    )
    for line in lines:
        writer.write(json.dumps(line).encode() + b"\n")
    await writer.drain()
    while b'"id":4' not in (await reader.readline()).replace(b" ", b""):
        pass
    writer.write(b"{" * 64 + b"\n")
    while await reader.readline():
        pass
    writer.close()


def report_of_yesterday(pool: PoolProcess) -> None:
    """By hand: the first day of this pool is not over, and reports come by themselves from then on."""
    yesterday = load_rules(RULES_FILE).day_of(time.time_ns() // 1000) - dt.timedelta(days=1)
    out = str(pool.directory / "report.json")
    for words in (["reports", "build", "--date", str(yesterday), "--out", out], ["log", "publish"]):
        done = CliRunner().invoke(cli, [*words, "--config", str(pool.config)])
        assert done.exit_code == 0, (done.output, done.exception)


@contextlib.asynccontextmanager
async def visiting(pool: PoolProcess) -> AsyncIterator[None]:
    """Somebody asks the web role again and again."""

    async def ask() -> None:
        while True:
            with contextlib.suppress(OSError):  # it begins to listen after the others
                await asyncio.to_thread(pool.status)
            await asyncio.sleep(1.0)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def as_question(rule: Question) -> Question:
    """A condition as values: each comparison gives 0 or 1 instead of what is true, or nothing."""
    strings: list[str] = []

    def hide(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f"\0{len(strings) - 1}\0"

    hidden = re.sub(r"\{[^{}]*\}", hide, rule.expr)
    told = _COMPARISON.sub(r"\1 bool", hidden)
    expr = re.sub("\0([0-9]+)\0", lambda one: strings[int(one[1])], told)
    return Question(rule.place, expr, rule.legend)


def single_series() -> list[Question]:
    """Each series that is asked for anywhere, alone: `or` and `vector(0)` must hide nothing."""
    asked = (*asked_by_dashboards(), *asked_by_rules())
    return [Question(one, one) for one in sorted({one for each in asked for one in selectors(each.expr)})]


async def answered_in_time(prometheus: Prometheus, questions: list[Question]) -> dict[str, str]:
    """Ask until all but the listed ones are answered, and those then; what is wrong with which."""
    listed = [one for one in questions if one.place in NONE_HERE]
    waiting = {one: "not asked" for one in questions if one.place not in {*NONE_HERE, *BY_CHANCE}}

    async def asked() -> bool:
        nonlocal waiting
        if await asyncio.to_thread(prometheus.ready):
            waiting = await asyncio.to_thread(complaints, prometheus, list(waiting))
        return not waiting

    with contextlib.suppress(AssertionError):  # the caller says what is wrong with which
        await until(asked, "answers", 90.0)
    silent = waiting | await asyncio.to_thread(complaints, prometheus, listed)
    return {one.place: wrong for one, wrong in silent.items()}


def well(prometheus: Prometheus) -> bool:
    """The overview says that no work is lost and that the law is kept; and the node's pushes are heard.

    Of money it may say anything: with a block each second the wallet is never asked when the journal is.
    """
    panels = {one.panel: one.filled_in(VARIABLES) for one in asked_by_dashboards()}
    wanted = {
        panels["dmpool-overview / Work lost?"]: 0,
        panels["dmpool-overview / Law kept?"]: 0,
        "min(dmpool_node_push_connected)": 1,
    }
    return all(float(prometheus.query(expr)[0]["value"][1]) == value for expr, value in wanted.items())


def complaints(prometheus: Prometheus, questions: list[Question]) -> dict[Question, str]:
    """Those that have no right answer yet, and what is wrong."""
    time.sleep(0.5)
    found = ((one, complaint(prometheus, one)) for one in questions)
    return {one: wrong for one, wrong in found if wrong}


def complaint(prometheus: Prometheus, question: Question) -> str:
    """Empty when the answer is what the panel shows."""
    expr = question.filled_in(VARIABLES)
    if question.instant:
        series = [(one["metric"], [one["value"]]) for one in prometheus.query(expr)]
    else:
        now = time.time()
        series = [(one["metric"], one["values"]) for one in prometheus.query_range(expr, now - 60, now, STEP)]
    told = [metric for metric, values in series if any(not math.isnan(float(value)) for _, value in values)]
    if not told:
        return "nothing"
    wanted = question.columns or question.labels
    unnamed = [metric for metric in told if not set(wanted) <= metric.keys()]
    if unnamed and not question.table:
        return f"{unnamed[0]} has not every label of {question.legend!r}"
    names = {tuple(metric.get(label) for label in wanted) for metric in told}
    if question.place.startswith("dmpool-") and len(names) < len(told):
        return f"{len(told)} series, of which {len(names)} can be told apart by {question.legend!r}"
    return ""


def assert_only_what_is_listed(silent: Mapping[str, str]) -> None:
    """Neither more nor less than `NONE_HERE`; and a panel that is empty says why."""
    more = {place: wrong for place, wrong in silent.items() if place not in NONE_HERE}
    assert not more, "\n".join(f"{place}: {wrong}" for place, wrong in more.items())
    less = NONE_HERE.keys() - silent.keys()
    assert not less, f"listed as rightly empty, but answered or asked no more: {sorted(less)}"
    asked = asked_by_dashboards()
    shown = {one.panel for one in asked if one.place not in NONE_HERE}
    mute = {one.panel for one in asked if one.panel not in shown and not one.none}
    assert not mute, f"empty panels that do not say why: {mute}"


def assert_variables_have_values(prometheus: Prometheus, dashboard: Mapping[str, Any]) -> None:
    """Each list of choices has one."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert found, variable["query"]
            values = {one["metric"].get(found[2]) for one in prometheus.query(found[1])}
            assert values - {None}, f"{dashboard['uid']}: nothing to choose for {variable['name']}"
