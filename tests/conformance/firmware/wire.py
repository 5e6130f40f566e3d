"""What every model of a firmware stands on: a socket, lines, jobs as they are read from the wire, hashing.

Nothing here is taken from the pool's code: a header is built with `hashlib` and `struct` from what the notify
line says, so that whatever firmware and pool agree on was computed twice. A model overrides what its firmware
does differently, and raises `GivesUp` where the real one would leave the pool.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

PATIENCE = 5.0
"""Seconds of the test's loop that a model waits for a line."""
LARGEST_HASH = 2**256 - 1


class GivesUp(Exception):
    """The firmware drops this pool, for the reason given."""


class PoolGone(Exception):
    """The pool has closed the connection."""


def sha256d(data: bytes) -> bytes:
    """Bitcoin's double SHA-256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def target_of(difficulty: float) -> int:
    """The target of a pool difficulty, by its definition, in integers."""
    numerator, denominator = difficulty.as_integer_ratio()
    return min((0xFFFF << 208) * denominator // numerator, LARGEST_HASH)


@dataclass(frozen=True)
class Work:
    """A job as read from its notify line, with the terms that were in force when it came."""

    job_id: str
    previous: bytes
    coinbase1: bytes
    coinbase2: bytes
    branches: list[bytes]
    version: int
    bits: int
    ntime: int
    clean: bool
    extranonce1: bytes
    extranonce2_size: int
    difficulty: float
    line_length: int

    def coinbase(self, extranonce2: bytes) -> bytes:
        """The coinbase transaction."""
        return self.coinbase1 + self.extranonce1 + extranonce2 + self.coinbase2

    def header(self, extranonce2: bytes, ntime: int, nonce: int, version: int) -> bytes:
        """The 80 bytes that are hashed."""
        root = sha256d(self.coinbase(extranonce2))
        for branch in self.branches:
            root = sha256d(root + branch)
        return (
            struct.pack("<L", version) + self.previous + root + struct.pack("<LLL", ntime, self.bits, nonce)
        )


@dataclass(frozen=True)
class Share:
    """The fields of a submit, the worker's name left out."""

    job_id: str
    extranonce2: str
    ntime: str
    nonce: str
    version: str | None

    def fields(self) -> list[str]:
        """In the order of the wire; five or six with the name."""
        first = [self.job_id, self.extranonce2, self.ntime, self.nonce]
        return first if self.version is None else [*first, self.version]


class Firmware:
    """A miner's side of a connection: the part in which all firmwares agree."""

    agent = "firmware/1.0"
    read_limit = 65_536
    """Bytes of the receive buffer."""

    def __init__(self, address: tuple[str, int], user: str = "alice.rack1-7", password: str = "x") -> None:
        self.address, self.user, self.password = address, user, password
        self.extranonce1, self.extranonce2_size = b"", 0
        self.session_id: str | None = None
        self.difficulty = 1.0
        """The newest that was told; a job keeps the one it came with."""
        self.mask = 0
        self.heard: list[dict[str, Any]] = []
        """Every message of the pool, in order."""
        self.jobs: list[Work] = []
        self._fresh: deque[Work] = deque()
        self._answers: dict[str, dict[str, Any]] = {}
        self._last_id = 0
        self._subscribing: Any = ...
        """The id of the subscription that is under way."""
        self._next_nonce = 0x10000000

    # The line

    async def connect(self) -> Self:
        """Open the socket; nothing is said yet."""
        self._reader, self._writer = await asyncio.open_connection(*self.address, limit=self.read_limit)
        return self

    def close(self) -> None:
        """Hang up."""
        if hasattr(self, "_writer"):
            self._writer.close()

    def write(self, text: str | bytes) -> None:
        """Send these very bytes."""
        self._writer.write(text.encode() if isinstance(text, str) else text)

    async def line(self) -> bytes:
        """The next line as it came, newline included."""
        async with asyncio.timeout(PATIENCE):
            try:
                line = await self._reader.readline()
            except ConnectionError:
                line = b""
        if not line.endswith(b"\n"):
            raise PoolGone(f"{self.agent}: closed by the pool after {len(self.heard)} messages")
        return line

    async def read(self) -> dict[str, Any]:
        """The next message, taken to heart."""
        line = await self.line()
        message: dict[str, Any] = json.loads(line)
        self.heard.append(message)
        if message.get("method") is None:
            self._answers[json.dumps(message["id"])] = message
            if message["id"] == self._subscribing:
                self._subscribing = ...
                self.take_subscription(message)
        else:
            self.hear(message["method"], message["params"], message, len(line))
        return message

    async def until_closed(self) -> list[dict[str, Any]]:
        """What still comes before the pool hangs up."""
        before = len(self.heard)
        try:
            while True:
                await self.read()
        except PoolGone:
            return self.heard[before:]

    # Requests and answers

    def next_id(self) -> Any:
        """The id of the next request."""
        self._last_id += 1
        return self._last_id

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        """The text of a request."""
        return json.dumps({"id": request_id, "method": method, "params": params}) + "\n"

    def call(self, method: str, params: Any = (), request_id: Any = ...) -> Any:
        """Send a request and go on; returns its id."""
        request_id = self.next_id() if request_id is ... else request_id
        if method == "mining.subscribe":
            self._subscribing = request_id
        self.write(self.frame(method, params, request_id))
        return request_id

    async def answer(self, request_id: Any) -> dict[str, Any]:
        """The answer to a request, whatever comes before it."""
        key = json.dumps(request_id)
        while key not in self._answers:
            await self.read()
        return self._answers.pop(key)

    async def ask(self, method: str, params: Any = (), request_id: Any = ...) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        return await self.answer(self.call(method, params, request_id))

    async def alive(self) -> bool:
        """True when the pool still answers, after everything that it sent meanwhile was read."""
        answer = await self.ask("mining.ping", request_id="are you there")
        return bool(answer["result"] == "pong")

    # What the pool says by itself

    def hear(self, method: str, params: list[Any], message: dict[str, Any], size: int) -> None:
        """A message of the pool that is no answer."""
        if method == "mining.notify":
            self.take_job(self.read_job(params, size))
        elif method == "mining.set_difficulty":
            self.set_difficulty(params[0])
        elif method == "mining.set_version_mask":
            self.mask = int(params[0], 16)
        elif method == "mining.set_extranonce":
            self.extranonce1, self.extranonce2_size = bytes.fromhex(params[0]), params[1]

    def set_difficulty(self, number: float) -> None:
        """A new difficulty, for the jobs that follow (Q-08)."""
        self.difficulty = number

    def read_job(self, params: list[Any], size: int) -> Work:
        """The job in a notify message."""
        job_id, previous, coinbase1, coinbase2, branches, version, bits, ntime, clean = params
        return Work(
            job_id=job_id,
            previous=struct.pack("<8L", *struct.unpack(">8L", bytes.fromhex(previous))),
            coinbase1=bytes.fromhex(coinbase1),
            coinbase2=bytes.fromhex(coinbase2),
            branches=[bytes.fromhex(branch) for branch in branches],
            version=int(version, 16),
            bits=int(bits, 16),
            ntime=int(ntime, 16),
            clean=clean,
            extranonce1=self.extranonce1,
            extranonce2_size=self.extranonce2_size,
            difficulty=self.difficulty,
            line_length=size,
        )

    def take_job(self, work: Work) -> None:
        """Work that is now worked on."""
        self.jobs.append(work)
        self._fresh.append(work)

    async def job(self) -> Work:
        """The next job that was not asked for yet, waiting for one if need be."""
        while not self._fresh:
            await self.read()
        return self._fresh.popleft()

    # The handshake, in its plainest form

    async def subscribe(self, params: Any = ...) -> dict[str, Any]:
        """Subscribe, and wait for the answer."""
        return await self.ask("mining.subscribe", [self.agent] if params is ... else params)

    def take_subscription(self, answer: dict[str, Any]) -> None:
        """The search space, and the session id of the mining.notify subscription."""
        if answer["error"] is not None:
            raise GivesUp(f"subscribe: {answer['error']}")
        subscriptions, extranonce1, self.extranonce2_size = answer["result"]
        self.extranonce1 = bytes.fromhex(extranonce1)
        self.session_id = next((one[1] for one in subscriptions if one[0] == "mining.notify"), None)

    async def authorize(self, user: str | None = None) -> dict[str, Any]:
        """Authorise a worker; GivesUp unless the answer is true (Q-09)."""
        answer = await self.ask("mining.authorize", [user or self.user, self.password])
        if answer["result"] is not True:
            raise GivesUp(f"authorize: {answer['error']}")
        return answer

    async def start(self) -> Self:
        """From nothing to being at work."""
        await self.connect()
        await self.subscribe()
        await self.authorize()
        return self

    # Shares

    def rolled(self, work: Work, bits: int) -> tuple[int, str | None]:
        """The version to hash with these bits rolled, and the sixth field; none when nothing is rolled."""
        return work.version | bits, f"{bits:08x}" if self.mask else None

    def next_extranonce2(self, work: Work) -> bytes:
        """This firmware's choice."""
        return bytes(work.extranonce2_size)

    def nonce_text(self, nonce: int) -> str:
        """How this firmware writes a nonce."""
        return f"{nonce:08x}"

    def dig(
        self,
        work: Work,
        *,
        bits: int = 0,
        ntime: int | None = None,
        extranonce2: bytes | None = None,
        wanted: Callable[[int], bool] | None = None,
        nonce: int | None = None,
    ) -> Share:
        """Hash until the job's difficulty is met, or the hash is as wanted; no nonce is tried twice."""
        goal = target_of(work.difficulty)
        second = self.next_extranonce2(work) if extranonce2 is None else extranonce2
        at = work.ntime if ntime is None else ntime
        version, field = self.rolled(work, bits)
        first = self._next_nonce if nonce is None else nonce
        for tried in range(first, first + 100_000):
            value = int.from_bytes(sha256d(work.header(second, at, tried, version)), "little")
            if wanted(value) if wanted else value <= goal:
                self._next_nonce = tried + 1
                return Share(work.job_id, second.hex(), f"{at:08x}", self.nonce_text(tried), field)
        raise AssertionError("no nonce gives such a hash")

    def submit(self, share: Share, user: str | None = None) -> Any:
        """Send a share and go on; returns the request's id."""
        return self.call("mining.submit", [user or self.user, *share.fields()])

    async def hand_in(self, share: Share, user: str | None = None) -> dict[str, Any]:
        """Send a share; its answer."""
        return await self.answer(self.submit(share, user))

    async def mine(self, work: Work | None = None, **how: Any) -> dict[str, Any]:
        """Find a share, of the newest job unless told otherwise, and send it; its answer."""
        return await self.hand_in(self.dig(work or self.jobs[-1], **how))


def code(answer: dict[str, Any]) -> int | None:
    """The error code of an answer; None when it is a good one."""
    return answer["error"][0] if answer["error"] else None


def words(answer: dict[str, Any]) -> str:
    """The reason in words."""
    return str(answer["error"][1])
