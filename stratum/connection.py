"""One connection of a miner: bytes to lines to the session, and back.

A protocol class and not streams: the benchmark folder shows what a wake-up costs in each. It bounds what a
stranger may send or leave unread. Too many lines are read later, never dropped. A client that reads slowly
gets only the newest job; one that hardly reads is cut. Whatever happens on a connection ends it alone (I10).
"""

from __future__ import annotations

import asyncio
import math
import os
from base64 import b32encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, cast

import structlog

from stratum import messages
from stratum.interfaces import Closed
from stratum.job import Job
from stratum.limits import Doorkeeper, ServerLimits, TokenBucket
from stratum.session import Session
from stratum.session_context import Ramping, SessionContext

log = structlog.get_logger(__name__)

P = ParamSpec("P")

UNREAD_JOBS = 64 * 1024
"""Bytes left unread above which a client gets no further job until it has read them: then the newest."""
UNREAD_LIMIT = 256 * 1024
"""Bytes that a client may leave unread before it is cut."""
UNREAD_SECONDS = 60.0
"""Who has left more than UNREAD_JOBS unread for so long is cut."""
SUPERSEDED_SECONDS = 2.0
"""How long a connection that another one has replaced is still read."""
LINGER_SECONDS = 5.0
"""How long an ended connection may take to read what was written to it before it is cut."""
LINES_AT_ONCE = 64
"""Lines that are counted together."""
THROTTLE_SECONDS = 0.05
"""The shortest pause of one who sends too many lines."""
DISMISSED_SECONDS = 600.0
"""The log is told once in so long that an account's connections end for its licence."""


def new_connection_id() -> str:
    """A short name of a connection in the log, that no other one has, also of another process or day."""
    return b32encode(os.urandom(5)).decode("ascii").lower()


@dataclass(slots=True)
class ServerCounts:
    """What the server has seen, for metrics."""

    connections: int = 0
    """Connections that were served."""
    closed: Counter[str] = field(default_factory=Counter)
    """Connections that we ended, by reason."""
    refused: Counter[str] = field(default_factory=Counter)
    """Connections that were never served, by reason; "vanished": gone before their turn had come."""
    bans: Counter[str] = field(default_factory=Counter)
    """Bans, by the offence that was one too many."""
    throttled: int = 0
    """How often a connection had to wait because it sent too many lines."""
    jobs_skipped: int = 0
    """Jobs that were not sent to a slow reader because a newer one was there."""


@dataclass(slots=True)
class Surroundings:
    """What all connections of a server share."""

    context: SessionContext
    limits: ServerLimits
    door: Doorkeeper
    clock: Callable[[], float]
    """The wall clock."""
    ticks: Callable[[], float]
    """The monotonic one."""
    counts: ServerCounts = field(default_factory=ServerCounts)
    opening: int = 0
    """Connections that were let in and say for whom they come, or shake hands."""
    open: dict[Ramping, Connection] = field(default_factory=dict)
    dismissed: dict[str, float] = field(default_factory=dict)
    """When the log was last told that connections of an account end, in ticks."""

    def tell_dismissal(self, account: str, word: str, ticks: float) -> None:
        """Tell the log that connections of an account end for the licence: the first, and not each."""
        if ticks - self.dismissed.get(account, -math.inf) >= DISMISSED_SECONDS:
            self.dismissed[account] = ticks
            log.info("account_dismissed", account=account, reason=word, explained="its connections end")


class Connection(asyncio.Protocol):
    """One TCP connection, from the moment that it is let in (and has shaken hands)."""

    __slots__ = (
        "_address",
        "_bucket",
        "_ended_at",
        "_heard_at",
        "_held",
        "_known",
        "_lines",
        "_opened_at",
        "_partial",
        "_paused",
        "_paused_at",
        "_shared",
        "_throttle",
        "_transport",
        "id",
        "peer",
        "session",
    )

    def __init__(
        self,
        shared: Surroundings,
        peer: str,
        address: str | None,
        opened_at: float,
        read: bytes = b"",
        number: str = "",
    ) -> None:
        """`address`: what the door counted it under, None for a listed proxy's own; `read`: what was read."""
        self.id = number or new_connection_id()
        self.peer = peer
        self.session = Session(shared.context, self.write, self._superseded)
        self._shared = shared
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._opened_at = self._heard_at = opened_at
        self._ended_at: float | None = None
        self._partial = read
        self._known = False
        limits = shared.limits
        self._bucket = TokenBucket(limits.stranger_lines_per_second, limits.stranger_lines_burst)
        self._lines = 0
        """Lines that it may send before the bucket is asked again."""
        self._throttle: asyncio.TimerHandle | None = None
        self._paused = False
        self._paused_at = 0.0
        self._held: Job | None = None
        """The newest job, while earlier ones are unread."""

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is sent before the miner has asked (peers: Q-01, Q-58)."""
        self._transport = stream = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour only
        stream.set_write_buffer_limits(high=UNREAD_JOBS)
        self._shared.opening -= 1
        self._shared.open[self.session] = self
        self._shared.counts.connections += 1
        log.debug("connection_opened", connection=self.id, peer=self.peer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the session. What it had proven is with the recorder already."""
        shared = self._shared
        if self._throttle is not None:
            self._throttle.cancel()
        del shared.open[self.session]
        if self._address is not None:
            shared.door.leave(self._address, self._known)
        self.session.lost(shared.ticks())
        log.debug("connection_lost", connection=self.id, peer=self.peer)

    def data_received(self, data: bytes) -> None:
        """Cut the bytes into lines. One whole line is the usual case and takes the short way."""
        shared = self._shared
        ticks = self._heard_at = shared.ticks()
        if self._partial:
            self._cut(self._partial + data, ticks)
            return
        end = data.find(b"\n")
        if 2 < end == len(data) - 1 and end <= messages.LINE_LIMIT and self._lines:
            self._lines -= 1
            self._line(data, shared.clock(), ticks)
        else:
            self._cut(data, ticks)

    def pause_writing(self) -> None:
        """The client leaves much unread: jobs are held back."""
        self._paused = True
        self._paused_at = self._shared.ticks()

    def resume_writing(self) -> None:
        """The client has read: it gets the newest job, if it missed one."""
        self._paused = False
        if self._held is not None:
            job, self._held = self._held, None
            self.offer(job, self._shared.ticks())

    # What the server calls

    @property
    def served(self) -> bool:
        """True from the handshake on: what the door counted is given back when the connection is lost."""
        return self._transport is not None

    @property
    def reading(self) -> bool:
        """False while the client leaves so much unread that it is to get no jobs."""
        return not self._paused

    def write(self, data: bytes) -> None:
        """Send, unless the connection has ended meanwhile (an answer may come late from the disk)."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._paused:
            unread = transport.get_write_buffer_size() + len(data)
            if unread > UNREAD_LIMIT + self.session.allowance:
                self._cut_slow_reader()
                return
        transport.write(data)
        if self._ended_at is not None and not self.session.waiting:
            transport.close()

    def offer(self, job: Job, ticks: float) -> None:
        """Send a job to a working session that has none as new; to a slow reader later."""
        session = self.session
        subscription = session.subscription
        if subscription is None or subscription.last_job >= job.number or not session.working:
            return
        if self._paused:
            if self._held is not None:
                self._shared.counts.jobs_skipped += 1
            self._held = job
            return
        try:
            session.offer(job, ticks)
        except Exception:
            self._failed()

    def guard(
        self, act: Callable[Concatenate[Session, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Do something with the session; if that fails, it ends this connection and no other (I10)."""
        try:
            act(self.session, *args, **kwargs)
        except Exception:
            self._failed()

    def sweep(self, ticks: float) -> None:
        """End the connection if it has not authorised in time or has gone silent; cut it if it lingers."""
        if self._ended_at is not None:
            if ticks - self._ended_at > LINGER_SECONDS and self._transport is not None:
                self._transport.abort()
        elif self._paused and ticks - self._paused_at > UNREAD_SECONDS:
            self._cut_slow_reader()
        elif not self._known:
            if ticks - self._opened_at > self._shared.limits.authorise_seconds:
                self._offence("not-authorised", ticks)
                self.end("not-authorised")
        elif ticks - self._heard_at > self.session.device.silence_seconds:
            self.end("silent")

    def review(self, ticks: float) -> int:
        """Tell a miner when nobody here may work any more, and end the connection a while later.

        One whose machine left the register and works on is told that. Returns how many names were asked for.
        """
        workers = self.session.workers
        try:
            reason, over = workers.dismissal(int(self._shared.clock() * 1_000_000), ticks)
        except Exception:
            self._failed()
            return workers.looked
        if reason is not None:
            self.guard(Session.show_message, reason)
        if over:
            self._shared.tell_dismissal(*workers.refused, ticks)
            self.end("licence")
        if workers.lost_unit:
            workers.lost_unit = False
            self.guard(Session.remind, self._shared.clock())
        return workers.looked

    def _superseded(self) -> None:
        """What the miner had sent here before it came back elsewhere is still read."""
        asyncio.get_running_loop().call_later(SUPERSEDED_SECONDS, self.end, "superseded")

    def _cut_slow_reader(self) -> None:
        """It will come back for the newest job."""
        self._shared.counts.closed["slow-reader"] += 1
        if self._transport is not None:
            self._transport.abort()

    def end(self, reason: str) -> None:
        """Close once what was written, and what still waits for the disk, has left."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and self._ended_at is None:
            self._shared.counts.closed[reason] += 1
            self._ended_at = self._shared.ticks()
            if self.session.waiting:
                transport.pause_reading()
            else:
                transport.close()

    # Lines

    def _cut(self, data: bytes, ticks: float) -> None:
        """Hand over the whole lines in `data`, as many as may come now; keep the rest."""
        self._partial = b""
        start = 0
        while True:
            end = data.find(b"\n", start)
            if (len(data) if end < 0 else end) - start > messages.LINE_LIMIT:
                self._overlong(ticks)
                return
            if end < 0:
                self._partial = data[start:]
                return
            if not self._lines and not self._more_lines(ticks):
                self._partial = data[start:]
                return
            self._lines -= 1
            line = data[start:end]
            start = end + 1
            if line and not line.isspace() and not self._line(line, self._shared.clock(), ticks):
                return

    def _more_lines(self, ticks: float) -> bool:
        """Count lines against the bucket; when it is empty nothing is read until it fills."""
        if self._throttle is None:
            self._lines = self._bucket.draw(ticks, LINES_AT_ONCE)
            transport = self._transport
            if not self._lines and transport is not None and not transport.is_closing():
                self._shared.counts.throttled += 1
                if transport.is_reading():
                    transport.pause_reading()
                wait = max(self._bucket.wait(ticks), THROTTLE_SECONDS)
                self._throttle = asyncio.get_running_loop().call_later(wait, self._read_on)
        return self._lines > 0

    def _read_on(self) -> None:
        self._throttle = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        ticks = self._heard_at = self._shared.ticks()
        self._cut(self._partial, ticks)
        if self._throttle is None and not transport.is_closing():
            transport.resume_reading()

    def _line(self, line: bytes, now: float, ticks: float) -> bool:
        """Hand a line to the session; False when the connection is being closed."""
        try:
            self.session.receive(line, now, ticks)
        except Closed as closed:
            self._closed(closed, ticks)
            return False
        except Exception:
            self._failed()
            return False
        if not self._known and self.session.authorised:
            self._become_known()
        return True

    def _become_known(self) -> None:
        self._known = True
        limits = self._shared.limits
        self._bucket = TokenBucket(limits.lines_per_second, limits.lines_burst)
        if self._address is not None:
            self._shared.door.authorised(self._address)

    def _overlong(self, ticks: float) -> None:
        try:
            self.session.overlong(messages.LINE_LIMIT)
        except Closed as closed:
            self._closed(closed, ticks)

    def _closed(self, closed: Closed, ticks: float) -> None:
        """The session is over: by the miner's doing, which counts against its address, or by ours."""
        log.info(
            "connection_closed", connection=self.id, peer=self.peer, kind=closed.kind, reason=str(closed)
        )
        if closed.kind in ("malformed", "refused"):
            self._offence(closed.kind, ticks)
        self.end(closed.kind)

    def _failed(self) -> None:
        log.exception("session_failed", connection=self.id, peer=self.peer)
        self.end("error")

    def _offence(self, reason: str, ticks: float) -> None:
        shared, workers = self._shared, self.session.workers
        if self._address is None:
            return
        if reason != "malformed" and (
            workers.excused
            or (workers.misnamed and shared.door.excuse_misnamed(self._address, workers.misnamed, ticks))
        ):
            return
        if shared.door.offence(self._address, reason, ticks):
            shared.counts.bans[reason] += 1
            log.warning("address_banned", connection=self.id, address=self._address, reason=reason)
