"""What every process tells of itself, and the web of its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import StreamingResponse
from starlette.types import Message
from structlog.typing import EventDict

from pool.config import DEMO, RULES_FILE, Settings
from pool.database import create_engine
from pool.metrics import Metrics
from pool.telemetry.http import OTHER, HttpMeter, area_of
from pool.telemetry.process import ProcessWatch, Supervisor
from pool.web import create_app
from register.rules import load_rules
from tests.integration.free_port import free_port
from tests.pool.fakes import until


class Told:
    """What one process tells."""

    def __init__(self, *roles: Any) -> None:
        self.metrics = Metrics(roles) if roles else Metrics()

    def __call__(self, name: str, **labels: str) -> float | None:
        list(self.metrics.registry.collect())
        return self.metrics.registry.get_sample_value(f"dmpool_{name}", labels)


async def test_a_task_that_fails_is_told_and_started_again(
    monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    monkeypatch.setattr("pool.telemetry.process.RESTART_SECONDS", 0.05)
    process, failing, runs = Told(), asyncio.Event(), []

    async def work() -> None:
        runs.append(1)
        await failing.wait()
        failing.clear()
        raise RuntimeError("a fault of ours")

    task = Supervisor(process.metrics).start("reports", work)
    await until(lambda: process("task_up", task="reports") == 1 and len(runs) == 1)
    assert process("task_restarts_total", task="reports") == 0
    failing.set()
    await until(lambda: process("task_up", task="reports") == 0)
    await until(lambda: process("task_restarts_total", task="reports") == 1 and len(runs) == 2)
    assert process("task_up", task="reports") == 1
    assert [(one["event"], one["task"]) for one in told] == [("task_failed", "reports")]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_loop_that_is_held_up_is_seen(tmp_path: Path) -> None:
    process = Told()
    engine = create_engine(f"postgresql://u:p@127.0.0.1:{free_port()}/none")
    watching = asyncio.create_task(ProcessWatch(process.metrics, engine, tmp_path).run())
    await until(lambda: (process("event_loop_lag_seconds_count") or 0) > 0)
    time.sleep(0.6)  # this is the fault
    await asyncio.sleep(0)

    def late() -> float:
        return (process("event_loop_lag_seconds_count") or 0) - (
            process("event_loop_lag_seconds_bucket", le="0.25") or 0
        )

    await until(lambda: late() >= 1)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await engine.dispose()


async def test_postgresql_is_up_and_its_clock_compared_while_it_answers(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    process = Told("web")
    watch = ProcessWatch(process.metrics, engine, tmp_path)
    assert process("database_up") == 0
    assert process("clock_offset_seconds", against="postgresql") is None
    await watch.look()
    assert process("database_up") == 1
    offset = process("clock_offset_seconds", against="postgresql")
    assert offset is not None
    assert abs(offset) < 5
    watch._engine = create_engine(f"postgresql://u:p@127.0.0.1:{free_port()}/none")
    await watch.look()
    assert process("database_up") == 0
    assert process("clock_offset_seconds", against="postgresql") is None, "an old offset is no offset"
    await watch._engine.dispose()


async def test_the_clock_is_ours_minus_theirs(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Told()
    monkeypatch.setattr("pool.telemetry.process.time", _Ahead(100))
    await ProcessWatch(process.metrics, engine, tmp_path).look()
    offset = process("clock_offset_seconds", against="postgresql")
    assert offset is not None
    assert 95 < offset < 105


class _Ahead:
    """The module `time` of a machine whose clock is ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.perf_counter = time.perf_counter

    def time(self) -> float:
        return time.time() + self._seconds


async def test_disk_and_build_are_told(tmp_path: Path) -> None:
    process = Told("ledger", "web")
    ProcessWatch(process.metrics, cast("Any", None), tmp_path)
    free = process("disk_free_bytes", path="data_dir")
    size = process("disk_size_bytes", path="data_dir")
    assert free is not None
    assert size is not None
    assert 0 < free <= size
    built = {
        sample.labels["role"]: sample.value
        for family in process.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "dmpool_build_info"
    }
    assert built == {"ledger": 1, "web": 1}


# The web


@pytest.mark.parametrize(
    ("path", "area"),
    [
        ("/", "page"),
        ("/static/site.css", "static"),
        ("/statements/altai", "account"),
        ("/compliance", "register"),
        ("/api/v1/register/miners", "register"),
        ("/api/v1/reports/2026-11-24", "door"),
        ("/api/v1/status", "api"),
        ("/api/v1/", "api"),
        ("/portal/en", "portal"),
        ("/log/checkpoint", "door"),
        ("/healthz", "health"),
        ("/wp-admin.php", "other"),
        ("/..%2f", "other"),
    ],
)
def test_every_path_has_an_area_and_a_made_up_one_makes_no_series(path: str, area: str) -> None:
    assert area_of(path) == area


def test_no_path_of_the_site_is_a_stranger_s() -> None:
    settings = Settings(**{**DEMO, "data_dir": "/nowhere"})
    engine = create_engine("postgresql://u:p@127.0.0.1:1/none")
    app = create_app(engine, settings, load_rules(RULES_FILE))
    paths = list(app.openapi()["paths"])
    assert len(paths) > 40
    assert [path for path in paths if area_of(path) == OTHER] == []


def application(metrics: Metrics) -> FastAPI:
    app = FastAPI()
    app.add_middleware(HttpMeter, metrics=metrics)

    @app.get("/")
    async def _page() -> str:
        return "page"

    @app.get("/api/v1/reports")
    async def _limited() -> None:
        raise HTTPException(429, "slowly")

    @app.get("/compliance")
    async def _fails() -> None:
        raise RuntimeError("a fault of ours")

    @app.get("/live")
    async def _stream() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield f"{metrics.registry.get_sample_value('dmpool_http_streams')}"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


async def ask(app: FastAPI, path: str) -> tuple[int, bytes]:
    """One GET, as a server hands it to the application."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
    }
    sent: list[Message] = []
    asked: list[str] = []

    async def receive() -> Message:
        if asked:
            await asyncio.Event().wait()
        asked.append(path)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    with suppress(RuntimeError):
        await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body


async def test_answers_are_counted_by_area_and_class() -> None:
    told = Told("web")
    app = application(told.metrics)
    paths = ("/", "/", "/api/v1/reports", "/compliance", "/x")
    assert [(await ask(app, path))[0] for path in paths] == [200, 200, 429, 500, 404]
    counted = {
        (area, code): told("http_requests_total", area=area, code=code)
        for area, code in (("page", "2xx"), ("door", "4xx"), ("register", "5xx"), ("other", "4xx"))
    }
    assert counted == {("page", "2xx"): 2, ("door", "4xx"): 1, ("register", "5xx"): 1, ("other", "4xx"): 1}
    assert told("door_limited_total") == 1
    assert told("http_request_seconds_count", area="page") == 2


async def test_an_open_stream_is_counted_and_its_length_is_no_latency() -> None:
    told = Told("web")
    assert await ask(application(told.metrics), "/live") == (200, b"1.0")
    assert told("http_streams") == 0
    assert told("http_requests_total", area="page", code="2xx") == 1
    assert told("http_request_seconds_count", area="page") is None
