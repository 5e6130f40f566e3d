"""The Stratum V1 server: what is sent to all connections of a gateway, and what is looked at now and then.

How a connection comes in is told in `entrance`, what happens on it in `connection`. Here is what concerns all
of them: jobs, sessions that ramp up, time-outs, a move to another address. It is done in slices, so that the
loop is never held for long. Durations are measured in ticks: a step of the wall clock ends nobody.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, ValuesView
from itertools import islice

import structlog

from stratum.broadcast import SLICE, Broadcast, in_slices
from stratum.connection import Connection, ServerCounts, Surroundings
from stratum.device_class import DeviceClasses
from stratum.entrance import Entrance
from stratum.interfaces import Gatekeeper, Recorder
from stratum.job import Job, JobBook
from stratum.limits import AccountLimits, Ban, Doorkeeper, ServerLimits
from stratum.session import Session
from stratum.session_context import Ramping, SessionContext
from stratum.subscriptions import Subscriptions
from stratum.tls import TlsCertificate
from stratum.vardiff import DifficultyPolicy

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 0.1
SWEEPS = 10
"""So many sweeps look at every connection once."""
REVIEWS = 40
"""In so many sweeps every connection is looked at once: may anybody on it still work?"""
REVIEW_NAMES = 1000
"""When so many names beyond the first of a connection were asked for, the rest waits for the next sweep."""
RAMP_SECONDS = 1.0
"""Sessions that want another difficulty at once share the fresh jobs of such a span."""
RELOAD_SECONDS = 10.0
"""How often the certificates' files are looked at."""
RECONNECT_WAIT_SECONDS = 10
"""The longest wait that a miner is asked for when it is sent elsewhere."""
STAY_SECONDS = 30.0
"""Who was sent elsewhere and is still here after this is closed."""


class Server:
    """All Stratum connections of one gateway."""

    def __init__(
        self,
        *,
        book: JobBook,
        gate: Gatekeeper,
        recorder: Recorder,
        policy: DifficultyPolicy,
        subscriptions: Subscriptions,
        devices: DeviceClasses,
        limits: ServerLimits,
        clock: Callable[[], float] = time.time,
        ask_version: bool = False,
    ) -> None:
        self.context = SessionContext(
            book=book,
            gate=gate,
            recorder=recorder,
            policy=policy,
            subscriptions=subscriptions,
            devices=devices,
            accounts=AccountLimits(
                limits.connections_per_account, limits.authorisations_per_second, limits.authorisations_burst
            ),
            hasten=self._hasten,
            ask_version=ask_version,
        )
        self._shared = Surroundings(self.context, limits, Doorkeeper(limits), clock, time.monotonic)
        self._entrance = Entrance(self._shared)
        self._hasty: dict[Ramping, None] = {}
        self._ramp_at = self._reload_at = 0.0
        self._to_sweep: deque[Connection] = deque()
        self._to_review: deque[Connection] = deque()
        self._sweep_pace = self._review_pace = 0
        """Connections looked at in one sweep, fixed when a round begins: those that are gone count."""
        self._upkeep: asyncio.Task[None] | None = None
        self._broadcast: Broadcast | None = None

    @property
    def connections(self) -> ValuesView[Connection]:
        """Those that are served."""
        return self._shared.open.values()

    @property
    def counts(self) -> ServerCounts:
        """What was seen so far."""
        return self._shared.counts

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [address for listener in self._entrance.listeners for address in listener.addresses]

    @property
    def waiting(self) -> int:
        """Connections that wait to be let in."""
        return self._entrance.waiting

    def bans(self) -> list[Ban]:
        """The bans in force, `until` in seconds of the wall clock."""
        ticks = self._shared.ticks()
        ahead = self._shared.clock() - ticks
        return [Ban(ban.address, ban.reason, ban.until + ahead) for ban in self._shared.door.bans(ticks)]

    def unban(self, address: str) -> bool:
        """Let an address in again; False when it was not banned."""
        return self._shared.door.unban(address)

    async def listen(
        self, host: str, port: int, *, tls: TlsCertificate | None = None
    ) -> list[tuple[str, int]]:
        """Bind and serve; returns the addresses bound. Raises OSError when the port is taken."""
        self._shared.ticks = asyncio.get_running_loop().time
        addresses = await self._entrance.listen(host, port, tls)
        if self._upkeep is None:
            self._upkeep = asyncio.create_task(self._keep_up())
        return addresses

    def stop_listening(self) -> None:
        """Take no further connections; those that are open stay."""
        self._entrance.stop_listening()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            self._upkeep = None
        if self._broadcast is not None:
            self._broadcast.stop()
        await self._entrance.close()
        for connection in list(self.connections):
            connection.end("shutdown")

    # To all

    def broadcast(self, job: Job, clean: bool, done: Callable[[], object] | None = None) -> None:
        """Send a job to every working session; `done` is called after the last was given to its socket.

        It replaces a broadcast that is under way; a clean one first reaches those that it has not yet.
        """
        if self._broadcast is not None:
            self._broadcast.make_way()
        self._broadcast = Broadcast(list(self.connections), job, clean, self._shared.ticks, done)
        self._broadcast.go_on()

    async def show_message(self, text: str) -> None:
        """Put a message on the screen of every miner that is known to take one."""
        async for connection in in_slices(list(self.connections)):
            connection.guard(Session.show_message, text)

    async def remind(self) -> None:
        """Tell every miner what its accounts should be told."""
        async for connection in in_slices(list(self.connections)):
            connection.guard(Session.remind, self._shared.clock())

    async def drain(self, host: str, port: int, over_seconds: float) -> None:
        """Send every miner at work to another address, over some time; close those that stay.

        They are asked in random order, each to wait for a time of its own, so that the other side sees no
        storm. The host must be of the domain that miners know us by; firmware goes nowhere else (Q-11).
        """
        asked = [one for one in self.connections if one.session.working]
        random.shuffle(asked)
        steps = max(1, round(over_seconds / SWEEP_SECONDS))
        for step in range(steps):
            for connection in asked[len(asked) * step // steps : len(asked) * (step + 1) // steps]:
                wait = random.randint(0, RECONNECT_WAIT_SECONDS)  # noqa: S311 - spreads load, hides nothing
                connection.guard(Session.reconnect, host, port, wait)
            await asyncio.sleep(over_seconds / steps)
        await asyncio.sleep(STAY_SECONDS)
        async for connection in in_slices(list(self.connections)):
            connection.end("drained")

    # From time to time

    def _hasten(self, session: Ramping) -> None:
        self._hasty[session] = None

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self._keep_up_at(self._shared.ticks())
            except Exception:
                log.exception("upkeep_failed", explained="it goes on")

    def _keep_up_at(self, ticks: float) -> None:
        self._sweep(ticks)
        self._review(ticks)
        self.context.subscriptions.expire(ticks)
        self._shared.door.expire(ticks)
        if ticks >= self._ramp_at:
            self._ramp(ticks)
        if ticks >= self._reload_at:
            self._reload_at = ticks + RELOAD_SECONDS
            self._entrance.reload_certificates()

    def _sweep(self, ticks: float) -> None:
        if not self._to_sweep:
            self._to_sweep.extend(self.connections)
            self._sweep_pace = len(self._to_sweep) // SWEEPS + 1
        for _ in range(min(len(self._to_sweep), self._sweep_pace)):
            connection = self._to_sweep.popleft()
            if connection.session in self._shared.open:
                connection.sweep(ticks)

    def _review(self, ticks: float) -> None:
        """Find the connections on which nobody may work any more."""
        if not self._to_review:
            self._to_review.extend(self.connections)
            self._review_pace = len(self._to_review) // REVIEWS + 1
        names = 0
        for _ in range(min(len(self._to_review), self._review_pace)):
            connection = self._to_review.popleft()
            if connection.session in self._shared.open:
                names += max(connection.review(ticks) - 1, 0)
                if names >= REVIEW_NAMES:
                    break

    def _ramp(self, ticks: float) -> None:
        """Let sessions change their difficulty; who does not read what it has been sent waits for that."""
        waiting: list[Ramping] = []
        for session in list(islice(self._hasty, SLICE)):
            del self._hasty[session]
            connection = self._shared.open.get(session)
            if connection is None:
                continue
            if connection.reading:
                connection.guard(Session.ramp, ticks)
            else:
                waiting.append(session)
        if not self._hasty:
            self._ramp_at = ticks + RAMP_SECONDS
        self._hasty.update(dict.fromkeys(waiting))
