"""What the web role answers, by area of the site: how many, how fast, how many streams are open.

Areas are few and fixed, so that a stranger who asks for made-up paths makes no new series.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pool.metrics import Metrics

API: Final = "/api/v1/"
OTHER: Final = "other"
AREAS: Final = {
    "": "page",
    "charts": "page",
    "live": "page",
    "operate": "page",
    "static": "static",
    "healthz": "health",
    "readyz": "health",
    "statements": "account",
    "miners": "account",
    "compliance": "register",
    "portal": "portal",
    ".well-known": "api",
    "openapi.json": "api",
    "verifier": "door",
    "log": "door",
}
"""By the first part of the path."""
API_AREAS: Final = {
    "register": "register",
    "miners": "account",
    **dict.fromkeys(("reports", "forms", "submissions", "archive", "door", "access"), "door"),
    **dict.fromkeys(("keys", "public-key"), "door"),
}
"""By what follows /api/v1/; anything else there is "api"."""
_TOO_MANY: Final = 429
_STREAM: Final = "text/event-stream"


def area_of(path: str) -> str:
    """Where in the site a path is."""
    if path.startswith(API):
        return API_AREAS.get(path.removeprefix(API).partition("/")[0], "api")
    return AREAS.get(path.removeprefix("/").partition("/")[0], OTHER)


class HttpMeter:
    """The outermost of the application's own layers: it sees every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(self._metrics, area_of(scope["path"]), send)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            answer.failed()
            raise
        finally:
            answer.over()


class _Answer:
    """One answer on its way out."""

    def __init__(self, metrics: Metrics, area: str, send: Send) -> None:
        self._metrics = metrics
        self._area = area
        self._send = send
        self._started = time.perf_counter()
        self._status = 0
        self._stream = False

    async def send(self, message: Message) -> None:
        """Look at the head, and pass everything on."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            kind = Headers(raw=list(message.get("headers", ()))).get("content-type", "")
            self._stream = kind.startswith(_STREAM)
            if self._stream:
                self._metrics.http_streams.inc()
        await self._send(message)

    def failed(self) -> None:
        """Nothing answers but the last resort, with 500."""
        self._status = self._status or 500

    def over(self) -> None:
        """The answer has ended; a caller who left before it began counts for nothing."""
        if self._stream:
            self._metrics.http_streams.dec()
        if not self._status:
            return
        self._metrics.http_requests.labels(self._area, f"{self._status // 100}xx").inc()
        if self._status == _TOO_MANY:
            self._metrics.door_limited.inc()
        if not self._stream:
            self._metrics.http_seconds.labels(self._area).observe(time.perf_counter() - self._started)
