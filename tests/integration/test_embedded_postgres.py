"""The embedded PostgreSQL: started, taken over, stopped, and not confused by what a kill leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pool.database import create_engine
from pool.embedded_postgres import EmbeddedPostgres

CHILD = """
import sys, time
from pathlib import Path
from pool.embedded_postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    one = EmbeddedPostgres(tmp_path / "postgres")
    yield one
    one.stop()


def ask(url: str, *statements: str) -> object:
    async def run() -> object:
        engine = create_engine(url)
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(sa.text(statement))
            answer = result.scalar() if result.returns_rows else None
        await engine.dispose()
        return answer

    return asyncio.run(run())


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.directory / "postmaster.pid").read_text().split()[0])


def test_data_outlives_stop_and_start(server: EmbeddedPostgres) -> None:
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 7 AS seven")
    server.stop()
    assert not (server.directory / "postmaster.pid").exists()
    server.stop()
    assert ask(server.start(), "SELECT seven FROM kept") == 7


def test_server_of_a_killed_pool_is_taken_over_and_can_be_stopped(server: EmbeddedPostgres) -> None:
    """I1: `kill -9` of the pool leaves the server running."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(server.directory)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        child.send_signal(signal.SIGKILL)
    pid = postmaster(server)
    assert server.start() == url
    assert postmaster(server) == pid
    assert ask(url, "SELECT 1") == 1
    server.stop()
    with pytest.raises(FileNotFoundError):
        ask(url, "SELECT 1")


def test_killed_server_recovers_what_was_committed(server: EmbeddedPostgres) -> None:
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 7 AS seven")
    os.kill(postmaster(server), signal.SIGKILL)
    assert ask(server.start(), "SELECT seven FROM kept") == 7


@pytest.mark.parametrize(
    "left",
    [f"{os.getpid()}\n/nowhere\n1\n5432\n\n\n1 2\nready\n", "", "garbage"],
    ids=["another process", "empty", "garbage"],
)
def test_stale_pid_file_is_seen_through(server: EmbeddedPostgres, left: str) -> None:
    server.start()
    server.stop()
    (server.directory / "postmaster.pid").write_text(left)
    (server.directory / ".handle_pids.json").write_text("")
    assert ask(server.start(), "SELECT 1") == 1


def test_half_made_directory_is_made_again(server: EmbeddedPostgres) -> None:
    half = server.directory.with_name("postgres.new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    assert ask(server.start(), "SELECT 1") == 1
    assert not half.exists()


def test_long_path_and_odd_characters_are_no_hindrance(tmp_path: Path) -> None:
    one = EmbeddedPostgres(tmp_path / ("long" * 30) / "a b")
    try:
        assert ask(one.start(), "SELECT 1") == 1
    finally:
        one.stop()
