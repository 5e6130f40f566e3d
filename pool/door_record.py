"""Every coming through the regulator's door becomes an event of the chain before the answer goes out (O-25).

What `pool.door_auth` noted in a request is written here, with the status of the answer, whichever route gave
it. Where it cannot be written nothing is given: the answer is 503.

Refusals are bounded, or a stranger could fill the disk: of each regulator, and of all strangers together,
some are told one by one; the others are counted, and the next event of anybody tells how many there were.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec
from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pool import door_chain
from pool.door_auth import Door, Visit
from pool.door_chain import Passage, Told
from pool.door_limits import Buckets
from pool.problems import Problem
from pool.reading import DatabaseAway, asking

REFUSALS_TOLD: Final = 30
"""At once; one more each two minutes."""
REFUSAL_SECONDS: Final = 3600.0
PATH_LIMIT: Final = 200
RECORD_SECONDS = 10.0
"""An event that is not written by then is not; nothing is given then."""
_PARTIAL: Final = 206


class DoorRecord:
    """ASGI middleware around all routes; those that do not ask the door pass untouched."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door
        self._told = Buckets(REFUSALS_TOLD, REFUSAL_SECONDS)
        self._unrecorded = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit()
        scope.setdefault("state", {})["visit"] = visit
        away = False

        async def _send(message: Message) -> None:
            nonlocal away
            if message["type"] == "http.response.start" and (visit.regulator or visit.refused):
                try:
                    await self._record(Request(scope), visit, message)
                except DatabaseAway as error:
                    away = True
                    await _unavailable(send, str(error))
            if not away:
                await send(message)

        await self._app(scope, receive, _send)

    async def _record(self, request: Request, visit: Visit, answer: Message) -> None:
        if visit.refused and self._told.take(visit.regulator):
            self._unrecorded += 1
            return
        unrecorded, self._unrecorded = self._unrecorded, 0
        headers = MutableHeaders(raw=answer.get("headers", []))
        passage = Passage(
            path=_path(request.scope),
            status=answer["status"],
            address=self._door.address(request),
            token=visit.token_id,
            given=visit.given,
            sha256=visit.sha256,
            part=headers.get("content-range", "") if answer["status"] == _PARTIAL else "",
            unrecorded=unrecorded,
        )
        told = Told(
            actor=visit.regulator,
            role="regulator" if visit.regulator else "stranger",
            reason=visit.refused,
            kind="refusal" if visit.refused else "access",
            key=visit.regulator,
            action=request.method,
            body=passage,
        )
        try:
            async with asking(RECORD_SECONDS), self._door.engine.begin() as connection:
                await door_chain.append(connection, told, self._door.now_us())
        except BaseException:
            self._unrecorded += unrecorded
            raise


def _path(scope: Scope) -> str:
    """The path as it was asked for, in ASCII; without the query, in which somebody may put a secret."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path = quote(raw.decode("latin-1"), safe="/%-._~:@!$&'()*+,;=")
    return path[:PATH_LIMIT]


async def _unavailable(send: Send, reason: str) -> None:
    body = msgspec.json.encode(Problem(reason))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", b"5"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
