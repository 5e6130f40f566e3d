"""The listener of every process: /metrics, /healthz and /readyz, from threads beside the event loop.

It answers when the loop is stuck, which is what /healthz is for. A stranger in its network keeps nobody out:
connections are counted, and of too many the oldest ends; each has a limit of time as a whole; few scrapes are
made at once; only GET and HEAD are answered, and nothing that comes is written down.
"""

from __future__ import annotations

import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import msgspec
import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from pool.config import Listen
from pool.telemetry.health import Health

log = structlog.get_logger(__name__)

CONNECTIONS: Final = 32
"""At once, each with a thread while it lasts; for one more the oldest is closed."""
SCRAPES: Final = 2
"""Made at once: each takes time from the event loop."""
SCRAPE_WAIT_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 5.0
"""How long nothing may come."""
WHOLE_SECONDS: Final = 15.0
"""How long a request may take as a whole, whatever comes meanwhile; a large scrape takes one."""

Start = Callable[..., Any]
Answer = tuple[str, str, bytes]


class Listener:
    """Serves until it is closed."""

    def __init__(
        self,
        listen: Listen,
        registry: CollectorRegistry,
        health: Health,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        """Raises OSError when the port is taken."""
        self._server = _Server(listen, whole_seconds)
        self._server.set_app(_App(registry, health))
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="listener", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End all connections."""
        self._server.shutdown()
        self._server.server_close()


class _App:
    """The paths."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        self._metrics = make_wsgi_app(registry)
        self._health = health
        self._scrapes = threading.Semaphore(SCRAPES)

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        head = environ["REQUEST_METHOD"] == "HEAD"
        if not head and environ["REQUEST_METHOD"] != "GET":
            start("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return []
        try:
            if environ["PATH_INFO"] == "/metrics" and not head:
                return self._scrape(environ, start)
            status, kind, body = self._answer(environ["PATH_INFO"])
        except Exception:
            log.exception("listener_failed")
            status, kind, body = "500 Internal Server Error", "text/plain", b"this failed; see the log\n"
        length = ("Content-Length", str(len(body)))
        start(status, [("Content-Type", kind), length, ("Cache-Control", "no-store")])
        return [] if head else [body]

    def _scrape(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if not self._scrapes.acquire(timeout=SCRAPE_WAIT_SECONDS):
            start("503 Service Unavailable", [("Content-Length", "0"), ("Retry-After", "1")])
            return []
        try:
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        finally:
            self._scrapes.release()

    def _answer(self, path: str) -> Answer:
        match path:
            case "/healthz":
                stuck = self._health.stuck()
                if stuck:
                    return _json(False, {"status": "stuck", "reason": stuck})
                return _json(True, {"status": "alive"})
            case "/readyz":
                return _json(*self._health.readiness())
            case "/metrics":
                return "200 OK", "text/plain", b""
        return "404 Not Found", "text/plain", b"there are /metrics, /healthz and /readyz\n"


def _json(fine: bool, told: dict[str, Any]) -> Answer:
    return "200 OK" if fine else "503 Service Unavailable", "application/json", msgspec.json.encode(told)


class _Handler(WSGIRequestHandler):
    """One request, and nothing of it in the log."""

    timeout = SILENT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def get_stderr(self) -> Any:
        """Where wsgiref would write tracebacks; ours are in the log."""
        return io.StringIO()


class _Server(WSGIServer):
    """Counts its connections and cuts those that take too long."""

    allow_reuse_address = True
    request_queue_size = 2 * CONNECTIONS

    def __init__(self, listen: Listen, whole_seconds: float) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._whole_seconds = whole_seconds
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(CONNECTIONS, "listener")
        super().__init__((listen.host, listen.port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of the host's name, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection to a thread; where there are too many, end the one that came first."""
        oldest = None
        with self._lock:
            if len(self._open) >= CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
            self._open[request] = time.monotonic()
        if oldest is not None:
            _end(oldest)
        self._workers.submit(self._work, request, client_address)

    def _work(self, request: socket.socket, client_address: Any) -> None:
        try:
            with suppress(OSError, ValueError):  # the client broke off, or was cut
                self.finish_request(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called between two connections and a few times a second."""
        self._cut(time.monotonic() - self._whole_seconds)

    def server_close(self) -> None:
        """End what is open as well."""
        super().server_close()
        self._cut(float("inf"))
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _cut(self, before: float) -> None:
        with self._lock:
            late = [request for request, since in self._open.items() if since < before]
        for request in late:
            _end(request)


def _end(request: socket.socket) -> None:
    """Its thread hears of it, and closes it."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
