"""One look at the machines: metrics listeners, the control socket of a gateway, PostgreSQL.

Each is asked by itself and bounded in time and size; what does not answer says why in a sentence, and the
rest is shown all the same.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from pool.control import ControlError, ask
from pool.terminal.samples import Samples

ASK_SECONDS: Final = 4.0
ANSWER_LIMIT: Final = 2 * 1024 * 1024


class Target(NamedTuple):
    """A metrics listener."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RoleState(msgspec.Struct, frozen=True):
    """What `/readyz` says of a role."""

    ready: bool
    reasons: list[str] = []
    notes: list[str] = []


class Ready(msgspec.Struct, frozen=True):
    """What `/readyz` says."""

    ready: bool
    roles: dict[str, RoleState] = {}


class Ban(msgspec.Struct, frozen=True):
    """A banned address."""

    address: str
    reason: str
    until: float


class Front(msgspec.Struct, frozen=True):
    """What the control socket says of this machine's gateway."""

    draining: bool = False
    bans: list[Ban] = []


@dataclass(frozen=True, slots=True)
class Told:
    """What a target told; `trouble` says why it did not."""

    target: Target
    at: float
    """Unix seconds."""
    samples: Samples | None = None
    ready: Ready | None = None
    trouble: str = ""


class BlockLine(NamedTuple):
    """A block, as PostgreSQL has it."""

    height: int
    hash: str
    state: str
    finder: str
    found_us: int


class GatewayLine(NamedTuple):
    """A gateway, as it last told PostgreSQL."""

    name: str
    seen_us: int | None
    connections: int | None
    job_height: int | None


@dataclass(frozen=True, slots=True)
class Books:
    """What PostgreSQL was asked."""

    blocks: Sequence[BlockLine] = ()
    gateways: Sequence[GatewayLine] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """All of one look."""

    at: float
    targets: Sequence[Told]
    front: Front | None = None
    books: Books | None = None
    unseen: Sequence[str] = field(default_factory=tuple)
    """What was not looked at, or did not answer, and why."""


async def read_target(http: aiohttp.ClientSession, target: Target) -> Told:
    """What a metrics listener tells; never raises for what it does."""
    at = time.time()
    try:
        async with asyncio.timeout(ASK_SECONDS):
            status, body = await _get(http, f"http://{target}/metrics")
            if status != 200:
                return Told(target, at, trouble=f"/metrics answers with HTTP status {status}")
            # Beside the screen: a target may tell so much that reading it takes a second.
            samples = await asyncio.to_thread(Samples.parse, body.decode("utf-8", "replace"))
            _, body = await _get(http, f"http://{target}/readyz")
            return Told(target, at, samples, _ready(body))
    except TimeoutError:
        return Told(target, at, trouble=f"does not answer within {ASK_SECONDS:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Told(target, at, trouble=f"does not answer: {_why(error)}")


def _why(error: Exception) -> str:
    """What the system says, where it says something."""
    system = getattr(error, "os_error", error)
    number = system.errno if isinstance(system, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error) or type(error).__name__


async def _get(http: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    async with http.get(url, allow_redirects=False) as answer:
        body = bytearray()
        async for piece in answer.content.iter_chunked(64 * 1024):
            body += piece
            if len(body) > ANSWER_LIMIT:
                raise ValueError(f"more than {ANSWER_LIMIT >> 20} MiB of metrics")
        return answer.status, bytes(body)


def _ready(body: bytes) -> Ready | None:
    """None for a listener that does not tell it."""
    try:
        return msgspec.json.decode(body, type=Ready)
    except msgspec.MsgspecError:
        return None


async def read_front(data_dir: Path) -> Front:
    """What the gateway of a data directory says; raises ControlError."""
    async with asyncio.timeout(ASK_SECONDS):
        told: dict[str, Any] = await ask(data_dir, "GET", "/status")
    try:
        return msgspec.convert(told, Front)
    except msgspec.ValidationError as error:
        raise ControlError(f"the gateway's control socket says what is not understood: {error}") from error
