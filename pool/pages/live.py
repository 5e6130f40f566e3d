"""Live numbers by server-sent events, at a cost that is bounded whoever looks.

A page is made of parts, each an element with an id. A stream sends the parts that differ from what it sent
before, as they stand on the page, and a long one no oftener than its length allows. A look at the database is
shared by all who look at the same thing, and made once a second at most. Streams are limited in all and for
each viewer: an address, or an account. A proxy on this machine is no viewer, so that only the limit of all
counts behind it. Who gets no seat is told so, and the page's script asks for the page now and then instead.

A beat every ten seconds shows that the stream lives; after ten minutes it ends and the browser opens another
one, so that nobody is listened to for longer by a token that has ended. At the end of the server `close`
ends all of them at once.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from fastapi import HTTPException, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from pool.reading import DatabaseAway
from pool.register_auth import address_of

STREAMS = 200
STREAMS_EACH = 10
BEAT_SECONDS: Final = 10
SEND_SECONDS: Final = 10.0
"""A reader that takes nothing for so long is hung up on."""
STREAM_SECONDS: Final = 600.0
PART_BYTES_A_SECOND: Final = 10_000
"""No part takes more of a stream: a long table is sent seldom, the tiles each second."""
RETRY_MS: Final = 2000
_LINE_END: Final = "\n"

HEAD: Final = "dmpool.head"
"""In the scope of a request that is answered as GET and was HEAD: it must not begin a stream."""

Parts = Mapping[str, str]
"""HTML of each part by its id."""


class StreamOverError(Exception):
    """Whoever looks may do so no longer, or there is nothing to see any more."""


class Streams:
    """The open streams of a process; `open` is how many there are."""

    def __init__(self) -> None:
        self.open = 0
        self._total = STREAMS
        self._each = STREAMS_EACH
        self._of: Counter[str] = Counter()
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all streams, and let none begin."""
        self._closing.set()

    def respond(
        self, request: Request, viewer: str | None, make: Callable[[], Awaitable[Parts]], every: float
    ) -> Response:
        """A stream of the parts that `make` makes, every so many seconds.

        `viewer` is whose streams count together; None where only the limit of all does. Raises HTTPException
        503 or 429 when there are too many.
        """
        self._require_seat(viewer)
        if HEAD in request.scope:
            return Response(media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        return _Seated(
            self._seat(viewer),
            self._events(make, every),
            headers={"Cache-Control": "no-store"},
            ping=BEAT_SECONDS,
            ping_message_factory=lambda: ServerSentEvent(event="beat", data="", sep=_LINE_END),
            send_timeout=SEND_SECONDS,
            sep=_LINE_END,
        )

    def _require_seat(self, viewer: str | None) -> None:
        retry = {"Retry-After": "30"}
        if self._closing.is_set() or self.open >= self._total:
            raise HTTPException(503, "there are too many streams; ask for the page now and then", retry)
        if viewer is not None and self._of[viewer] >= self._each:
            raise HTTPException(429, f"{self._each} streams are open for {viewer} already", retry)

    def _seat(self, viewer: str | None) -> Callable[[], None]:
        """Take a seat; what is given back gives it back."""
        self.open += 1
        if viewer is not None:
            self._of[viewer] += 1

        def leave() -> None:
            self.open -= 1
            if viewer is not None:
                self._of[viewer] -= 1
                self._of += Counter()  # leaves out who has none

        return leave

    async def _events(
        self, make: Callable[[], Awaitable[Parts]], every: float
    ) -> AsyncIterator[ServerSentEvent]:
        sent: dict[str, str] = {}
        due: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        until = loop.time() + STREAM_SECONDS
        while loop.time() < until:
            try:
                parts = await make()
            except DatabaseAway:
                yield ServerSentEvent(event="away", data="", sep=_LINE_END)
            except StreamOverError:
                return
            else:
                now = loop.time()
                changed = {
                    name: part
                    for name, part in parts.items()
                    if sent.get(name) != part and due.get(name, now) <= now
                }
                sent.update(changed)
                due.update({name: now + len(part) / PART_BYTES_A_SECOND for name, part in changed.items()})
                if changed:
                    data = msgspec.json.encode(changed).decode()
                    yield ServerSentEvent(event="parts", data=data, retry=RETRY_MS, sep=_LINE_END)
            if await self._closes_within(every):
                return

    async def _closes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return False
        return True


class _Seated(EventSourceResponse):
    """A stream that gives its seat back, however it ends."""

    def __init__(
        self, leave: Callable[[], None], events: AsyncIterator[ServerSentEvent], **options: Any
    ) -> None:
        super().__init__(events, **options)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until it ends."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


def viewer_of(request: Request) -> str | None:
    """Whose streams count together, for a page that is for everybody; None for a proxy on this machine."""
    try:
        if request.client is not None and ipaddress.ip_address(request.client.host).is_loopback:
            return None
    except ValueError:  # no address
        pass
    return address_of(request)
