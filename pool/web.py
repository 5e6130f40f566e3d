"""The web role: the status page, the API under `/api/v1`, and the server for them.

Nobody who mines depends on it. It reads; changes of the register alone are written, behind a token
(`pool.register_api`). What is shown comes from `pool.status`, how it
is worded from `pool.wording`; names and addresses are strangers' text and are escaped wherever they appear.
The page is whole without JavaScript; a small script keeps its numbers fresh. Nothing is loaded from
elsewhere, and the headers forbid it.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pool.compliance_page import compliance_router
from pool.config import Listen, Settings
from pool.door_api import door_router
from pool.door_auth import Door
from pool.door_desk import DoorDesk
from pool.door_record import DoorRecord
from pool.door_tls import DoorCertificate
from pool.door_verifier import verifier_router
from pool.key_api import key_router
from pool.live_register import LiveRegister
from pool.log_api import log_router
from pool.log_files import LogFiles
from pool.metrics import Metrics
from pool.notices.inbox import alarm_router
from pool.pages.live import HEAD
from pool.pages.site import open_pages
from pool.pages.speech import language_for
from pool.portal_identity import identity_router
from pool.portal_site import portal_router
from pool.problems import AWAY, Problem
from pool.reading import DatabaseAway, reading
from pool.register_api import register_router
from pool.register_desk import open_desk
from pool.runbook_pages import runbook_router
from pool.statement_page import statement_router
from pool.status import Status, StatusReader
from pool.tables import gateway
from pool.telemetry.http import HttpMeter
from register.rules import Rules

HERE = Path(__file__).resolve().parent
CONNECTIONS_MAX = 500
REQUEST_HEAD_MAX = 16 * 1024
IDLE_SECONDS = 10
STOP_SECONDS = 2
BACKLOG = 128
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the web role can serve, and why not."""

    ready: bool
    reason: str


def create_app(
    engine: AsyncEngine,
    settings: Settings,
    rules: Rules,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    live: LiveRegister | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """The application; `now_us` is the clock.

    `live` is the register that this process keeps in memory already, if it does; with `metrics` its answers
    are measured.
    """
    app = FastAPI(
        title="dmpool",
        summary="The status, the signed daily reports and the register of an accredited digital mining pool",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    reader = StatusReader(engine, settings, rules, now_us)
    door = Door(engine, settings.door, now_us)
    app.add_middleware(HeadAsGet)
    app.add_middleware(DoorRecord, door=door)
    app.add_middleware(SecurityHeaders)
    if metrics is not None:
        app.add_middleware(HttpMeter, metrics=metrics)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    @app.exception_handler(DatabaseAway)
    async def _away(request: Request, error: DatabaseAway) -> Response:
        later = {"Retry-After": "5"}
        if request.url.path == "/":
            return HTMLResponse(pages.status.away(language_for(request), str(error)), 503, later)
        return Response(msgspec.json.encode(Problem(str(error))), 503, later, "application/json")

    app.include_router(_api(reader), prefix="/api/v1")
    app.include_router(key_router(engine, now_us), prefix="/api/v1")
    app.include_router(door_router(DoorDesk(door, settings, rules)), prefix="/api/v1")
    app.include_router(verifier_router())
    app.include_router(alarm_router(engine, settings.notices, now_us), prefix="/api/v1")
    desk = open_desk(engine, settings, rules, live, now_us, door.register_reader)
    app.include_router(register_router(desk), prefix="/api/v1")
    pages = app.state.pages = open_pages(settings, desk, reader)
    for router in pages.routers():
        app.include_router(router)
    app.include_router(compliance_router(desk, settings))
    app.include_router(statement_router(desk, settings))
    app.include_router(log_router(LogFiles(engine, settings.data_dir)))
    app.include_router(identity_router(engine, settings, rules, now_us))
    app.include_router(portal_router(engine, settings, rules, door, now_us))
    app.include_router(runbook_router(settings))
    _add_health(app, engine)
    return app


def _api(reader: StatusReader) -> APIRouter:
    router = APIRouter()

    @router.get("/status", response_model=Status, responses=AWAY, summary="All that the status page shows")
    async def _status() -> Response:
        return Response(msgspec.json.encode(await reader.current()), media_type="application/json")

    return router


def _add_health(app: FastAPI, engine: AsyncEngine) -> None:
    @app.get("/healthz", tags=["health"], summary="Alive")
    async def _alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        tags=["health"],
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Not able to serve."}},
        summary="Able to serve, or why not",
    )
    async def _ready() -> Response:
        try:
            async with reading(engine) as connection:
                await connection.execute(gateway.select().limit(1))
        except DatabaseAway as error:
            return Response(msgspec.json.encode(Readiness(False, str(error))), 503, None, "application/json")
        return Response(msgspec.json.encode(Readiness(True, "")), media_type="application/json")


class SecurityHeaders:
    """Puts HEADERS on every answer that does not have its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def _send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, _send)


class HeadAsGet:
    """Answers HEAD as GET, which RFC 9110 asks of every server; uvicorn leaves the body away."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", HEAD: True}
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the process's business, not the server's."""
        yield


class _Certified(H11Protocol):
    """uvicorn's, with the SHA-256 of the caller's certificate in the state of each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection whose handshake is done."""
        super().connection_made(transport)
        shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        if shown is not None:
            self.app_state = {**self.app_state, "certificate_sha256": hashlib.sha256(shown).hexdigest()}


class _Config(uvicorn.Config):
    def __init__(self, app: FastAPI, certificate: DoorCertificate | None, **options: Any) -> None:
        super().__init__(app, **options)
        self._certificate = certificate

    def load(self) -> None:
        """uvicorn's settings, with a context that is made already in place of its own."""
        super().load()
        if self._certificate is not None:
            self.ssl = self._certificate.context


class WebServer:
    """Serves an application in a loop that others share; over TLS where a certificate is given."""

    def __init__(self, app: FastAPI, listen: Listen, certificate: DoorCertificate | None = None) -> None:
        self.listening = False
        self._listen = listen
        self._pages = app.state.pages
        self._server = _Server(
            _Config(
                app,
                certificate,
                http="h11" if certificate is None else _Certified,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_MAX,
                h11_max_incomplete_event_size=REQUEST_HEAD_MAX,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )

    async def run(self) -> None:
        """Serve until cancelled; raises OSError when the address cannot be had."""
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        address = (self._listen.host, self._listen.port)
        with socket.create_server(address, family=family, backlog=BACKLOG) as listening:
            self.listening = True
            serving = asyncio.create_task(self._server.serve([listening]))
            try:
                await asyncio.shield(serving)
            finally:
                self.listening = False
                # Answers under way are finished, for STOP_SECONDS at most; streams would go on for ever.
                self._pages.close()
                self._server.should_exit = True
                with suppress(Exception):
                    await serving
