"""Whether the process lives and whether each of its roles can serve, told in words.

Alive means that the event loop turns: who asks is answered from a thread of its own, so that a loop that is
stuck is seen. Ready is a question to each role, answered from what the role knows anyway; nothing is asked of
node or database for it. systemd hears the same: READY when all roles are started, and its watchdog is fed
from the loop, so that a stuck process is started again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 1.0
STUCK_SECONDS: Final = 10.0
STARTING: Final = "is being started"
STOPPING: Final = "the process is stopping"


@dataclass(frozen=True, slots=True)
class Condition:
    """What a role says of itself."""

    reasons: tuple[str, ...] = ()
    """Why it cannot serve; none: it can."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing."""


class Health:
    """Of one process. The loop beats; any thread asks."""

    def __init__(
        self,
        roles: Iterable[str],
        stuck_seconds: float = STUCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks: dict[str, Callable[[], Condition]] = dict.fromkeys(sorted(roles), _starting)
        self._stuck_seconds = stuck_seconds
        self._clock = clock
        self._beaten = clock()
        self._stopping = False

    async def run(self) -> None:
        """Beat until cancelled; as often as it asks, systemd's watchdog hears of it."""
        while True:
            self.beat()
            service.feed()
            await asyncio.sleep(BEAT_SECONDS)

    def beat(self) -> None:
        """The event loop turns."""
        self._beaten = self._clock()

    def watch(self, role: str, check: Callable[[], Condition]) -> None:
        """From now on this role answers for itself. `check` is called on any thread and only looks."""
        self._checks[role] = check

    def stop(self) -> None:
        """The process is about to end: no role is ready any more."""
        self._stopping = True
        service.tell("STOPPING=1")

    def stuck(self) -> str:
        """Why the process must be started again; empty while it lives."""
        silent = self._clock() - self._beaten
        if silent <= self._stuck_seconds:
            return ""
        return f"the event loop has not turned for {silent:.0f} s"

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether all roles can serve, and of each whether and why not."""
        stuck = self.stuck()
        conditions = {role: self._ask(role, check, stuck) for role, check in self._checks.items()}
        roles = {
            role: {"ready": not one.reasons, "reasons": list(one.reasons), "notes": list(one.notes)}
            for role, one in conditions.items()
        }
        ready = not any(one.reasons for one in conditions.values())
        return ready, {"ready": ready, "roles": roles}

    def _ask(self, role: str, check: Callable[[], Condition], stuck: str) -> Condition:
        if stuck or self._stopping:
            return Condition((stuck or STOPPING,))
        try:
            return check()
        except Exception:
            log.exception("health_check_failed", role=role)
            return Condition(("its check failed; see the log",))


def _starting() -> Condition:
    return Condition((STARTING,))


class Service:
    """The service manager, when one started this process: systemd's notify protocol (sd_notify(3))."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Takes its variables out of the environment: they are not for the processes that we start."""
        self._address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        ours = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every = int(microseconds) / 4e6 if ours and microseconds.isdecimal() else None
        """Seconds between two signs of life; None where nobody waits for them."""
        self._fed = float("-inf")

    def feed(self) -> None:
        """A sign of life, when one is due."""
        now = time.monotonic()
        if self._every is not None and now - self._fed >= self._every:
            self._fed = now
            self.tell("WATCHDOG=1")

    def tell(self, *states: str) -> None:
        """Send states, if somebody listens; what cannot be sent is left unsaid."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.debug("service_manager_unheard", reason=str(error))


service = Service(os.environ)
"""One for the process: its environment is read, and cleared, once."""
