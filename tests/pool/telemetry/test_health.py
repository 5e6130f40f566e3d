"""Alive and ready over real sockets: of a loop that is stuck, by slow clients, of roles that cannot serve."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import work
from pool.config import Listen
from pool.database import LEDGER_LOCK
from pool.intake import LedgerError
from pool.ledger import Ledger
from pool.pool_section import PoolSection
from pool.records import Reject
from pool.telemetry import health as module
from pool.telemetry import listener as listener_module
from pool.telemetry import readiness
from pool.telemetry.health import STARTING, STOPPING, Condition, Health, Service
from pool.telemetry.listener import CONNECTIONS, Listener
from pool.telemetry.readiness import AWAY, DEAF, gateway_condition, ledger_condition, web_condition
from tests.pool.fakes import FakeNode, down, until
from tests.pool.test_gateway import serving
from tests.register_world import RULES

TERMS = PoolSection(
    name="Pool", bin="940140000385", chain="regtest", address="bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
).dated_terms


@contextmanager
def listening(health: Health, whole_seconds: float = 15.0, host: str = "127.0.0.1") -> Iterator[Listener]:
    registry = CollectorRegistry()
    Counter("dmpool_test", "A series.", registry=registry).inc(7)
    made = Listener(Listen(host=host, port=0), registry, health, whole_seconds)
    try:
        yield made
    finally:
        made.close()


def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1") -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        asked = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
        with opener.open(asked, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def ready(port: int) -> Any:
    code, body = ask(port, "/readyz")
    told = json.loads(body)
    assert told["ready"] is (code == 200)
    return told


def raw(port: int, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(data)
    return client


def test_what_is_served_and_what_is_not() -> None:
    with listening(Health(["web"])) as server:
        code, body = ask(server.port, "/metrics?name[]=dmpool_test_total")
        assert (code, b"dmpool_test_total 7.0" in body) == (200, True)
        assert ask(server.port, "/healthz") == (200, b'{"status":"alive"}')
        for path in ("/metrics", "/healthz"):
            assert ask(server.port, path, "HEAD") == (200, b"")
        for path in ("/", "/metrics/", "/healthz/x", "/../etc/passwd"):
            assert ask(server.port, path)[0] == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
            assert ask(server.port, "/healthz", method)[0] == 405
        for nonsense in (b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET /healthz HTTP/9.9\r\n\r\n", b"\n" * 9):
            with raw(server.port, nonsense) as client:
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
        assert ask(server.port, "/healthz")[0] == 200
    with listening(Health([]), host="::1") as server:
        assert ask(server.port, "/healthz", host="[::1]")[0] == 200


def test_slow_clients_hold_nobody_up_and_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "CONNECTIONS", 8)
    assert CONNECTIONS > 8
    with listening(Health([]), whole_seconds=1.0) as server:
        slow = [raw(server.port, b"GET /healthz HTTP/1.1\r\nX: ") for _ in range(8)]
        assert ask(server.port, "/healthz") == (200, b'{"status":"alive"}'), "one too many is heard"
        assert closed(slow.pop(0), 5.0), "and the oldest makes room"
        dripping = slow[0]
        deadline = time.monotonic() + 10
        while not closed(slow[-1]) and time.monotonic() < deadline:
            try:
                dripping.sendall(b"x")
            except OSError:
                break
        for client in slow:
            client.close()
        assert answered(lambda: ask(server.port, "/healthz")[0] == 200)


def closed(client: socket.socket, seconds: float = 0.2) -> bool:
    client.settimeout(seconds)
    try:
        return client.recv(100) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def answered(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if true():
                return True
        except OSError:
            time.sleep(0.05)
    return False


async def test_a_stuck_loop_is_seen_and_one_that_turns_again_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    health = Health(["web"], stuck_seconds=0.4)
    health.watch("web", Condition)
    seen: list[tuple[int, Any, Any]] = []
    with listening(health) as server:
        beating = asyncio.create_task(health.run())
        assert (await asyncio.to_thread(ask, server.port, "/healthz"))[0] == 200

        def look() -> bool:
            code, body = ask(server.port, "/healthz")
            if code == 503:
                seen.append((code, json.loads(body), ready(server.port)))
            return bool(seen)

        asker = threading.Thread(target=answered, args=(look,))
        asker.start()
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            time.sleep(0.05)
        asker.join()
        ((_, told, state),) = seen
        assert told["status"] == "stuck"
        assert told["reason"].startswith("the event loop has not turned for ")
        assert state["roles"]["web"]["reasons"][0].startswith("the event loop has not turned")
        await until(lambda: not health.stuck())
        assert (await asyncio.to_thread(ask, server.port, "/healthz"))[0] == 200
        assert (await asyncio.to_thread(ready, server.port))["ready"]
        beating.cancel()


def test_a_role_that_starts_stops_or_cannot_tell_is_not_ready(told: list[EventDict]) -> None:
    health = Health(["web", "gateway"])
    assert health.readiness() == (
        False,
        {
            "ready": False,
            "roles": {
                name: {"ready": False, "reasons": [STARTING], "notes": []} for name in ("gateway", "web")
            },
        },
    )
    health.watch("web", lambda: Condition(notes=("stands by",)))

    def fail() -> Condition:
        raise ValueError("a fault of ours")

    health.watch("gateway", fail)
    fine, state = health.readiness()
    assert not fine
    assert state["roles"]["web"] == {"ready": True, "reasons": [], "notes": ["stands by"]}
    assert state["roles"]["gateway"]["reasons"] == ["its check failed; see the log"]
    assert [one["event"] for one in told] == ["health_check_failed"]
    health.watch("gateway", Condition)
    assert health.readiness()[0]
    health.stop()
    assert health.readiness()[1]["roles"]["web"]["reasons"] == [STOPPING]


async def test_a_gateway_is_ready_with_a_job_a_disk_and_no_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "GIVE_UP_SECONDS", 0.0)
    node = FakeNode("one", fault=down("one"))
    answers: list[bool | None] = [True]
    async with serving(tmp_path, [node], 1.0) as (gateway, _):

        def condition() -> Condition:
            return gateway_condition(gateway, lambda: answers[0])

        assert condition().reasons == ("has no job yet: no node gives work",)
        node.fault = None
        await until(lambda: not condition().reasons)
        answers[0] = False
        assert condition() == Condition(notes=(f"{AWAY}; shares wait in the spool",)), "I1: it serves on"
        node.fault = down("one")
        monkeypatch.setattr(readiness, "JOB_SECONDS", 0.3)
        await until(lambda: bool(condition().reasons))
        assert condition().reasons[0].endswith("s old: no node gives work")
        node.fault = None
        node.advance()
        await until(lambda: not condition().reasons)
        monkeypatch.setattr(readiness, "JOB_SECONDS", timedelta(days=1).total_seconds())
        gateway.spool._writer.execute("PRAGMA max_page_count = 1")  # SQLite says then what a full disk says
        for _ in range(400):
            gateway.spool.append(Reject(1, 1, "x" * 100, "stale"))
        await until(lambda: bool(condition().reasons))
        assert condition().reasons == ("its spool cannot be written: look at the disk of data_dir",)
        gateway.spool._writer.execute("PRAGMA max_page_count = 1000000")
        await until(lambda: not condition().reasons)
        gateway.server.stop_listening()
        assert condition().reasons == ("does not listen",)
        gateway.control._drain = asyncio.create_task(gateway.server.drain("eu2.pool.kz", 3333, 0.1))
        assert condition().reasons == ("drains: miners are sent to another gateway",)
        gateway.control._drain.cancel()


async def test_a_ledger_works_or_stands_by_or_says_why_not(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool | None] = [None]
    ledger = Ledger(engine, [], RULES, TERMS)

    def condition() -> Condition:
        return ledger_condition(ledger, lambda: answers[0])

    assert condition().reasons == ("is not at work: it starts, or the log says why it stopped",)
    async with engine.connect() as other:
        await other.execute(sa.select(sa.func.pg_advisory_lock(LEDGER_LOCK)))
        task = asyncio.create_task(ledger.run())
        await until(lambda: ledger.standing_by)
        assert condition() == Condition(notes=("stands by: another ledger is active",))
        with monkeypatch.context() as refusing:
            refusing.setattr("pool.ledger.LEDGER_LOCK", "no number")
            await asyncio.gather(task, return_exceptions=True)
        assert isinstance(task.exception(), LedgerError)
        assert condition().reasons, "one that stopped does not stand by"
        task = asyncio.create_task(ledger.run())
        await until(lambda: ledger.standing_by)
        await other.execute(sa.select(sa.func.pg_advisory_unlock(LEDGER_LOCK)))
    await until(lambda: condition() == Condition() and ledger.last_ok_at is not None)
    answers[0] = False
    assert condition().reasons == (AWAY,)
    answers[0] = True
    monkeypatch.setattr(readiness, "LEDGER_SECONDS", -1.0)
    assert condition().reasons[0].startswith("has not got on for ")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("answer", "reasons"), [(True, ()), (False, (AWAY,)), (None, (STARTING,))])
def test_the_web_needs_postgresql(answer: bool | None, reasons: tuple[str, ...]) -> None:
    assert web_condition(True, lambda: answer).reasons == reasons
    assert web_condition(False, lambda: answer).reasons == (DEAF,)


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_what_systemd_expects(abstract: bool, tmp_path: Path) -> None:
    address = f"@dmpool-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        manager.settimeout(5)
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "HOME": "/"}
        service = Service(environment)
        assert environment == {"HOME": "/"}, "what this process starts has no business with it"
        for _ in range(3):
            service.feed()
        service.tell("READY=1", "STATUS=fine")
        assert [manager.recv(100) for _ in range(2)] == [b"WATCHDOG=1", b"READY=1\nSTATUS=fine"]
        manager.setblocking(False)
        Service({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}).feed()
        Service({"NOTIFY_SOCKET": address}).feed()
        with pytest.raises(BlockingIOError):
            manager.recv(100)
    service.tell("STOPPING=1")  # nobody hears it, and nothing happens
    Service({}).tell("READY=1")
