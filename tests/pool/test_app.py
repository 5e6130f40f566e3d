"""A process as a whole: what may go wrong while it starts, works or stops, and must not spread."""

from __future__ import annotations

import asyncio
import fcntl
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.typing import EventDict

from pool import app, ledger_role, register_follower, resources
from pool.config import DEMO, ConfigError, Settings
from pool.embedded_postgres import EmbeddedPostgres
from pool.forwarder import Forwarder, ForwarderError
from pool.metrics import Metrics
from pool.preflight import ALL_ROLES, Role
from pool.process import Process
from pool.register_follower import RegisterFollower
from register.register import Register
from tests.integration.free_port import free_port
from tests.pool.fakes import until


def settings_in(directory: Path) -> Settings:
    ports = {name: {"listen": f"127.0.0.1:{free_port()}"} for name in ("stratum", "web", "metrics")}
    return Settings(**{**DEMO, **ports, "data_dir": directory, "demo_miners": 0})


@pytest.mark.parametrize(
    "fault",
    [ForwarderError("the spool and the database do not belong together"), OSError("away"), ValueError("bug")],
)
async def test_i1_a_last_push_that_fails_is_no_failure_of_the_stop(
    fault: Exception, told: list[EventDict]
) -> None:
    """What could not travel is still in the spool; the stop goes on, and the log says why."""

    async def push() -> bool:
        raise fault

    await app._last_push(cast("Forwarder", SimpleNamespace(push=push)))
    assert [(one["event"], one["reason"]) for one in told] == [("last_shares_kept", str(fault))]


async def test_a_spool_that_cannot_be_opened_is_the_operators_mistake(tmp_path: Path) -> None:
    (tmp_path / "spool.db").mkdir()
    with pytest.raises(ConfigError, match=r"spool\.db.*writable directory"):
        await app.run(settings_in(tmp_path), frozenset({Role.GATEWAY, Role.LEDGER, Role.WEB}), print)


async def test_i6_a_silent_database_is_asked_again_for_the_register(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that never answers (its host vanished) must not keep the register's changes out."""
    asked = 0

    class Silent(RegisterFollower):
        async def catch_up(self) -> bool:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(register_follower, "QUERY_SECONDS", 0.01)
    monkeypatch.setattr(register_follower, "POLL_SECONDS", 0.01)
    silent = Silent(cast("Any", None), Register(), (), lambda changes: None)
    following = asyncio.create_task(silent.run())
    try:
        await until(lambda: asked > 2, 5)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the embedded PostgreSQL; nothing is really started."""
    did: list[str] = []

    class Server:
        def __init__(self, directory: Path) -> None: ...

        def start(self) -> str:
            did.append("start")
            return "postgresql://nobody@/none?host=/nonexistent"

        def stop(self) -> None:
            did.append("stop")

    async def migrate(engine: object) -> None: ...

    monkeypatch.setattr(resources, "EmbeddedPostgres", Server)
    monkeypatch.setattr(resources, "migrate", migrate)
    return did


async def test_a_command_alone_stops_the_server_that_it_started(embedded: list[str], tmp_path: Path) -> None:
    async with resources.command_database(settings_in(tmp_path)):
        pass
    assert embedded == ["start", "stop"]


async def test_a_command_leaves_the_server_to_a_pool_that_started_meanwhile(
    embedded: list[str], tmp_path: Path
) -> None:
    """Or the pool would be without its database until it is started again."""
    with (tmp_path / "gateway.lock").open("w") as file:
        async with resources.command_database(settings_in(tmp_path)):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert embedded == ["start"]


async def test_a_stop_while_the_server_still_starts_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C in the first seconds of a first start, while the database is being made."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    begun = threading.Event()

    def slowly(self: EmbeddedPostgres) -> str:
        begun.set()
        time.sleep(0.2)
        return _start(self)

    _start = EmbeddedPostgres._start
    monkeypatch.setattr(EmbeddedPostgres, "_start", slowly)

    async def serve() -> None:
        async with resources.serving_database(settings_in(tmp_path), alone=lambda: True):
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    try:
        await until(begun.is_set)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with server._alone():
            assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_stop_does_not_wait_for_a_database_that_fell_silent(
    embedded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "DISPOSE_SECONDS", 0.01, raising=False)

    async def dispose(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("sqlalchemy.ext.asyncio.AsyncEngine.dispose", dispose)
    async with asyncio.timeout(5):
        async with resources.command_database(settings_in(tmp_path)):
            pass
    assert embedded == ["start", "stop"]


async def test_a_role_that_fails_again_and_again_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: list[EventDict]
) -> None:
    """The ledger is started anew after each failure; the metrics do not grow with it."""
    tries = 0

    async def fail(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise ValueError("a batch that cannot be true")

    monkeypatch.setattr("pool.telemetry.process.RESTART_SECONDS", 0)
    monkeypatch.setattr(ledger_role, "migrate", fail)
    metrics = Metrics()
    process = Process(
        settings_in(tmp_path), ALL_ROLES, cast("Any", None), cast("Any", None), [], metrics, None, None
    )
    ledger, _ = ledger_role.new_ledger(process)
    reads = len(metrics._reader.reads)
    task = process.supervise("ledger", lambda: ledger_role.run_ledger(process, ledger))
    try:
        await until(lambda: tries > 5, 5)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert len(metrics._reader.reads) == reads


@pytest.mark.parametrize(
    ("role", "noted"), [(Role.LEDGER, [1]), (Role.WEB, [1]), (Role.GATEWAY, [])], ids=str
)
async def test_o23_who_tells_of_the_program_notes_at_its_start_what_runs(
    role: Role, noted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    @asynccontextmanager
    async def database(*_: object, **__: object) -> AsyncIterator[None]:
        yield None

    monkeypatch.setattr(app, "note_software", lambda: calls.append(1))
    monkeypatch.setattr(app, "serving_database", database)
    monkeypatch.setattr(app, "open_nodes", lambda settings, roles, meter: [])
    async with AsyncExitStack() as stack:
        await app._prepare(settings_in(tmp_path), frozenset({role}), stack)
    assert calls == noted
