"""The Stratum V1 server: connections on asyncio, each with its session, and the jobs that go to all of them.

A protocol class and not streams: the benchmark folder shows what a wake-up costs in each. It splits lines,
enforces the limits on what a stranger may send or leave unread, and ends connections that never authorise or
fall silent. One bad connection ends alone (I10).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from stratum import messages
from stratum.extranonce import ExtranonceSource
from stratum.interfaces import Gatekeeper, Recorder
from stratum.job import Job, JobBook
from stratum.session import Closed, Session
from stratum.vardiff import DifficultyPolicy

log = logging.getLogger(__name__)

AUTHORISE_SECONDS = 15.0
"""A connection without an authorised worker is closed after this."""
SILENCE_SECONDS = 900.0
"""An authorised connection that sends nothing at all is closed after this."""
UNREAD_LIMIT = 256 * 1024
"""Bytes that a client may leave unread before it is cut."""
LINGER_SECONDS = 5.0
"""How long an ended connection may take to read what was written to it before it is cut."""


@dataclass(slots=True)
class ServerCounts:
    """What the server has seen, for metrics."""

    connections: int = 0
    closed: Counter[str] = field(default_factory=Counter)
    """Connections that we ended, by reason."""


class Server:
    """All Stratum connections of one gateway."""

    def __init__(
        self,
        *,
        book: JobBook,
        gate: Gatekeeper,
        recorder: Recorder,
        policy: DifficultyPolicy,
        extranonces: ExtranonceSource,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.book = book
        self.gate = gate
        self.recorder = recorder
        self.policy = policy
        self.clock = clock
        self.counts = ServerCounts()
        self.connections: set[Connection] = set()
        self._extranonces = extranonces
        self._listeners: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int) -> list[tuple[str, int]]:
        """Bind and serve; returns the addresses bound. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: Connection(self), host, port, backlog=4096)
        self._listeners.append(listener)
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        return [socket.getsockname()[:2] for socket in listener.sockets]

    def broadcast(self, job: Job, clean: bool) -> None:
        """Send a job to every working session."""
        now = self.clock()
        for connection in list(self.connections):
            if connection.session.working:
                connection.session.offer(job, clean, now)

    def stop_listening(self) -> None:
        """Take no further connections; those that are open stay."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.stop_listening()
        for connection in list(self.connections):
            connection.end("shutdown")

    def new_session(self, write: Callable[[bytes], object]) -> Session:
        """A session with an extranonce1 of its own."""
        return Session(
            extranonce1=self._extranonces.take(),
            book=self.book,
            gate=self.gate,
            recorder=self.recorder,
            policy=self.policy,
            write=write,
            now=self.clock(),
        )

    def forget(self, connection: Connection) -> None:
        """The connection is gone; its extranonce1 may be used again."""
        self.connections.discard(connection)
        self._extranonces.give_back(connection.session.extranonce1)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = self.clock()
            for connection in list(self.connections):
                connection.sweep(now)


class Connection(asyncio.Protocol):
    """One TCP connection: bytes to lines to the session, and back."""

    __slots__ = (
        "_ended_at",
        "_heard_at",
        "_partial",
        "_server",
        "_transport",
        "opened_at",
        "peer",
        "session",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._partial = b""
        self._transport: asyncio.Transport | None = None
        self.peer = "?"
        self.opened_at = self._heard_at = server.clock()
        self._ended_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the session; nothing is sent before the miner has asked (peers: Q-01, Q-58)."""
        self._transport = stream = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour only
        stream.set_write_buffer_limits(high=UNREAD_LIMIT)
        name = stream.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if name else "?"
        self.session = self._server.new_session(self.write)
        self._server.connections.add(self)
        self._server.counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the session. What it had proven is with the recorder already."""
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        """Cut the bytes into lines. One whole line is the usual case and takes the short way."""
        now = self._heard_at = self._server.clock()
        if self._partial:
            data = self._partial + data
            self._partial = b""
        end = data.find(b"\n")
        if 2 < end == len(data) - 1 and end <= messages.LINE_LIMIT:
            self._line(data, now)
            return
        lines = data.split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            if len(line) > messages.LINE_LIMIT:
                break
            if line and not line.isspace() and not self._line(line, now):
                return
        else:
            if len(self._partial) <= messages.LINE_LIMIT:
                return
        text = f"line longer than {messages.LINE_LIMIT} bytes"
        self.write(messages.refused(b"null", messages.Reason.MALFORMED, text))
        self.end("line-too-long")

    def write(self, data: bytes) -> None:
        """Send, unless the connection has ended meanwhile (an answer may come late from the disk)."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def pause_writing(self) -> None:
        """The client has left too much unread: cut it, it will come back for the newest job."""
        self._server.counts.closed["slow-reader"] += 1
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """End the connection if it has not authorised in time or has gone silent; cut it if it lingers."""
        if self._ended_at is not None:
            if now - self._ended_at > LINGER_SECONDS and self._transport is not None:
                self._transport.abort()
        elif not self.session.authorised:
            if now - self.opened_at > AUTHORISE_SECONDS:
                self.end("not-authorised")
        elif now - self._heard_at > SILENCE_SECONDS:
            self.end("silent")

    def end(self, reason: str) -> None:
        """Close once what was written has left."""
        if self._transport is not None and not self._transport.is_closing():
            self._server.counts.closed[reason] += 1
            self._ended_at = self._server.clock()
            self._transport.close()

    def _line(self, line: bytes, now: float) -> bool:
        """Hand a line to the session; False when the connection is being closed."""
        try:
            self.session.receive(line, now)
        except Closed as closed:
            log.info("closing %s: %s", self.peer, closed.__cause__ or closed)
            self.end("protocol")
            return False
        except Exception:
            log.exception("closing %s: the session failed on a line of %d bytes", self.peer, len(line))
            self.end("error")
            return False
        return True
