"""docs/operate/alarms.md as a program: whoever is woken at night must be able to type what stands there.

Every dmpool command with its options is one that exists; those that only read are run against a real pool;
every query is one that Prometheus or PostgreSQL takes, of series and tables that there are; every event is
one that the log tells.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
import typer.main
import yaml
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from pool.cli import cli
from pool.telemetry.catalogue import CATALOGUE
from tests.integration.pool_process import PoolProcess
from tests.integration.prometheus_process import program_or_skip
from tests.integration.runbook import OPERATE, Block, blocks
from tests.integration.test_alerts import RECORDS
from tests.integration.test_river import MINERS, until

PAGE: Final = (OPERATE / "alarms.md").read_text("utf-8")
BLOCKS: Final = blocks("alarms")
CONFIG: Final = "/etc/dmpool/dmpool.toml"
DATA: Final = "/var/lib/dmpool"
WANTS_SETTLEMENT: Final = "payouts "
"""Commands that say, with exit code 1, that this pool has no [settlement]; test_settlement_cli runs them."""


def typed(block: Block) -> list[str]:
    """The commands of a block, one a line."""
    return [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]


def inline() -> set[str]:
    """Commands within the prose, which may be the beginning of one."""
    return set(re.findall(r"`(dmpool [a-z][^`]*)`", PAGE))


SHELL: Final = [one for one in BLOCKS if one.language == "sh"]
READING: Final = sorted({line for one in SHELL if one.tried and one.host == "pool" for line in typed(one)})
CHANGING: Final = sorted({line for one in SHELL if one.host == "changes" for line in typed(one)})


def words_of(line: str) -> list[str]:
    words = shlex.split(re.sub(r"\$\(.*\)", "KEY", line))
    assert words[0] == "dmpool"
    return words[1:]


def found(words: list[str]) -> tuple[Any, list[str]]:
    """The command that some words name, and the words that are left for it."""
    command: Any = typer.main.get_command(cli)
    context = typer.Context(command)
    rest = words
    while rest and hasattr(command, "get_command"):
        below = command.get_command(context, rest[0])
        if below is None:
            break
        command, rest = below, rest[1:]
    assert rest != words, f"{words[0]} is no command"
    return command, rest


def test_every_block_is_fenced_on_lines_of_its_own() -> None:
    assert "```" not in re.sub(r"^```.*$", "", PAGE, flags=re.M)
    assert len(re.findall(r"^```", PAGE, re.M)) == 2 * len(BLOCKS)


@pytest.mark.parametrize(
    "line", sorted({line for one in SHELL for line in typed(one) if line.startswith("dmpool")})
)
def test_every_command_and_option_exists(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in re.findall(r"\S+\.(?:json|psbt|csv)\b", line):
        Path(file).touch()
    command, rest = found(words_of(line))
    command.make_context("dmpool", list(rest))  # parses, and does nothing


def test_commands_in_the_prose_exist() -> None:
    for line in inline():
        command, rest = found(line.split()[1:])
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line
        assert not (rest and hasattr(command, "get_command") and not rest[0].startswith("-")), line


async def test_what_only_reads_runs_against_a_real_pool(database_url: str, tmp_path: Path) -> None:
    pool = PoolProcess(tmp_path, database_url)
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    pool.start()

    async def at_work() -> bool:
        return (await asyncio.to_thread(pool.command, "health")).returncode == 0

    try:
        await until(at_work, "every role ready")
        assert READING
        for line in READING:
            here = line.replace(CONFIG, str(pool.config)).replace(DATA + "/archive", DATA)
            await asyncio.to_thread(_run, here.replace(DATA, str(tmp_path / "data")))
    finally:
        assert pool.stop() == 0, pool.log


def _run(line: str) -> None:
    if not line.startswith("dmpool "):
        ran = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, line + ran.stderr
        return
    words = words_of(line)
    done = CliRunner().invoke(cli, words)
    without = line.startswith(f"dmpool {WANTS_SETTLEMENT}") and "settlement" in done.output
    assert done.exit_code == 0 or without, f"{line}: {done.exit_code}\n{done.output}\n{done.exception!r}"


def test_every_query_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    queries = [line for one in BLOCKS if one.language == "promql" for line in typed(one)]
    assert len(queries) > 50
    rules = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
    ran = subprocess.run(
        [program_or_skip("promtool"), "check", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for query in queries:
        for name in re.findall(r"\bdmpool[_:][a-z_]+", query):
            assert name in RECORDS or name.removesuffix("_bucket") in CATALOGUE, query


async def test_every_query_is_one_that_postgresql_takes(engine: AsyncEngine) -> None:
    queries = [one.text for one in BLOCKS if one.language == "sql"]
    assert queries
    async with engine.connect() as connection:
        for query in queries:
            await connection.execute(sa.text(query))


def test_every_event_is_one_that_the_log_tells() -> None:
    told = set(re.findall(r"^\| `([a-z_]+)` \|", (OPERATE / "logs.md").read_text("utf-8"), re.M))
    paragraphs = re.findall(r"\*Log:\* (.+?)\n\n", PAGE, re.S)
    named = {name for one in paragraphs for name in re.findall(r"`([a-z]+_[a-z_]+|started|stopping)`", one)}
    assert len(named) > 25
    assert named <= told, named - told
    assert re.findall(r'\.event == "([a-z_]+)"', PAGE) == ["node_failed"]
