"""A miner's machine on the wire: it really hashes, keeps what it has not had answered, and comes back for it.

It knows Stratum V1 and nothing of the pool's code; `native` is its hash board. Unlike the simulated miners of
`pool.simulate` it keeps its session id and resubmits after a break (peers: Q-06), and it may behave as one of
several firmwares do when a new job comes. One protocol object and no task for each machine, so that hundreds
of them fit into a test; the test calls `hash` by the clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any, cast

import native

DIFFICULTY_1_TARGET = 0xFFFF << 208
VERSION_MASK = 0x1FFFE000
LOOK_SECONDS = 0.2
"""How often a hash board has its turn."""


class Firmware(Enum):
    """What a machine does with the work that it has when a new job comes."""

    PROMPT = (0.0, 0.0)
    """Drops it."""
    QUEUED = (5.0, 0.0)
    """Uses up its queue, unless the new job is clean."""
    LATE = (2.0, 0.5)
    """Its chips go on with what they have, even past a clean job; such shares are stale."""

    @property
    def goes_on(self) -> tuple[float, float]:
        """Seconds of hashing on the old job after a new one, and after a clean one."""
        return self.value


@dataclass(slots=True, eq=False)
class Work:
    """A job as the wire told it, in one search space, with the difficulty in force when it came."""

    job_id: str
    tip: bytes
    """The previous block."""
    target: int
    header: bytes
    """The first 76 bytes."""
    extranonce2: str
    version_bits: int
    nonce: int = 0


@dataclass(slots=True, eq=False)
class Share:
    """What a machine found and submits until it is answered."""

    work: Work
    header: bytes
    resubmitted: bool = False
    outlived: bool = False
    """Its connection was cut behind it when its job's difficulty was no longer the newest."""

    @property
    def hash(self) -> str:
        """Display hex."""
        return sha256d(self.header)[::-1].hex()


@dataclass(slots=True)
class Refusal:
    """A share that the pool said no to."""

    share: Share
    code: int
    text: str
    tip: bytes
    """The tip that the machine knew when the answer came, or that its next job told of; b"" before that."""


@dataclass(slots=True)
class Farm:
    """What all machines of a test have in common, and what they have seen together."""

    host: str
    port: int
    block_target: int
    """A hash under it is a block, and is submitted only when `block_wanted`."""
    tips: dict[bytes, int] = field(default_factory=dict)
    """Number of each tip in the order in which the first machine heard of it."""
    heard: dict[str, int] = field(default_factory=Counter)
    """How many machines got a job that was not clean, by its id."""
    block_wanted: bool = False
    broken: list[str] = field(default_factory=list)
    """What no pool may do: an answer to nothing, another extranonce1 after a resume, a connection closed."""


class Machine:
    """One machine, over all its connections."""

    def __init__(self, farm: Farm, username: str, hashrate: float, firmware: Firmware) -> None:
        self.farm = farm
        self.username = username
        self.hashrate = hashrate
        self.firmware = firmware
        self.accepted: list[Share] = []
        self.refused: list[Refusal] = []
        self.unanswered: list[Share] = []
        self.difficulties: list[Fraction] = []
        """Each that a job came with, when it differed from the one before."""
        self.resumes = 0
        self.extranonce1 = b""
        self.on_submit: Callable[[Share], object] | None = None
        """Called when a share has just been written."""
        self.newest: Work | None = None
        """The newest job; None without a connection."""
        self._luck = random.Random(username)
        self._session_id: str | None = None
        self._session_worked = False
        """Whether a job came in this session: one that never had any is not kept for us."""
        self._link: _Link | None = None
        self._puzzling: list[Refusal] = []
        """Those that came before the first job of their connection."""
        self._work: Work | None = None
        self._goes_on = 0.0
        """Seconds that the board still spends on `_work` before it takes the newest."""
        self._owed = 0.0
        """Hashes that are due."""

    @property
    def working(self) -> bool:
        """Whether it is connected and has a job."""
        return self._link is not None and self.newest is not None

    async def connect(self) -> None:
        """Open a connection and introduce itself; an earlier connection is forgotten, open or not."""
        self.newest = self._work = None
        link = self._link = _Link(self)
        await asyncio.get_running_loop().create_connection(lambda: link, self.farm.host, self.farm.port)
        link.call("mining.configure", [["version-rolling"], {"version-rolling.mask": f"{VERSION_MASK:08x}"}])
        link.call("mining.subscribe", ["firmware/1.0", *([self._session_id] if self._session_id else [])])
        link.call("mining.authorize", [self.username, "x"])

    def disconnect(self) -> asyncio.Transport | None:
        """Forget the connection and return it, still open."""
        link, self._link = self._link, None
        self.newest = self._work = None
        return link.transport if link is not None else None

    def hash(self, seconds: float) -> None:
        """Work for so long."""
        self._goes_on -= seconds
        if self._goes_on <= 0:
            self._work = self.newest
        self._owed = min(self._owed + seconds * self.hashrate, self.hashrate)
        work, count = self._work, int(self._owed)
        if work is None or not count:
            return
        self._owed -= count
        end = work.nonce + count
        while work.nonce < end:
            nonce = native.scan(work.header + bytes(4), work.nonce, end - work.nonce, _bytes(work.target))
            if nonce is None:
                work.nonce = end
                return
            work.nonce = nonce + 1
            header = work.header + nonce.to_bytes(4, "little")
            if int.from_bytes(sha256d(header), "little") > self.farm.block_target:
                self._submit(Share(work, header))
            elif self.farm.block_wanted:
                self.farm.block_wanted = False
                self._submit(Share(work, header))
            if self._link is None:
                return

    def _submit(self, share: Share) -> None:
        if share not in self.unanswered:
            self.unanswered.append(share)
        work, header = share.work, share.header
        ntime, nonce = header[68:72][::-1].hex(), header[76:80][::-1].hex()
        params = [self.username, work.job_id, work.extranonce2, ntime, nonce, f"{work.version_bits:08x}"]
        cast("_Link", self._link).call("mining.submit", params, share)
        if self.on_submit is not None:
            self.on_submit(share)

    # What the link tells

    def subscribed(self, session_id: str, extranonce1: bytes) -> None:
        """The pool has answered mining.subscribe."""
        if self._session_id is not None:
            if extranonce1 == self.extranonce1 and session_id == self._session_id:
                self.resumes += 1
            elif self._session_worked:
                self.farm.broken.append(f"{self.username}: the session was not resumed")
                self._session_worked = False
        self._session_id, self.extranonce1 = session_id, extranonce1

    def authorised(self) -> None:
        """The pool has let the worker in: what was not answered is submitted again."""
        for share in self.unanswered:
            share.resubmitted = True
            if self._link is not None:
                self._submit(share)

    def take_job(self, params: list[Any], difficulty: Fraction) -> None:
        """A job came, and with it counts the difficulty told before."""
        self._session_worked = True
        job_id, previous, coinbase1, coinbase2, branches, version, bits, ntime, clean = params
        words = bytes.fromhex(previous)
        tip = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
        extranonce2 = self._luck.randbytes(8).hex()
        root = sha256d(bytes.fromhex(coinbase1 + self.extranonce1.hex() + extranonce2 + coinbase2))
        for branch in branches:
            root = sha256d(root + bytes.fromhex(branch))
        version_bits = self._luck.getrandbits(32) & VERSION_MASK
        rolled = (int(version, 16) | version_bits).to_bytes(4, "little")
        header = rolled + tip + root + bytes.fromhex(ntime)[::-1] + bytes.fromhex(bits)[::-1]
        target = min(int(DIFFICULTY_1_TARGET / difficulty), 2**256 - 1)
        self.newest = Work(job_id, tip, target, header, extranonce2, version_bits)
        if self._goes_on <= 0:
            self._goes_on = self.firmware.goes_on[clean]
        elif clean:
            self._goes_on = min(self._goes_on, self.firmware.goes_on[1])
        if not self.difficulties or self.difficulties[-1] != difficulty:
            self.difficulties.append(difficulty)
        self.farm.tips.setdefault(tip, len(self.farm.tips))
        for refusal in self._puzzling:
            refusal.tip = tip
        self._puzzling.clear()
        if not clean:
            self.farm.heard[job_id] += 1

    def answered(self, share: Share, error: list[Any] | None) -> None:
        """The verdict on a share."""
        self.unanswered.remove(share)
        if error is None:
            self.accepted.append(share)
        else:
            tip = self.newest.tip if self.newest is not None else b""
            refusal = Refusal(share, error[0], error[1], tip)
            self.refused.append(refusal)
            if self.newest is None:
                self._puzzling.append(refusal)

    def sent_elsewhere(self, host: str, port: int, wait: int) -> None:
        """The pool asks it to reconnect to another gateway; this firmware does not follow."""

    def closed(self) -> None:
        """The pool has ended the connection that the machine was working on."""
        self._link = None
        self.farm.broken.append(f"{self.username}: the pool closed the connection")


class _Link(asyncio.Protocol):
    """One connection of a machine; deaf once the machine has forgotten it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.transport: asyncio.Transport | None = None
        self._asked: dict[int, tuple[str, Share | None]] = {}
        self._partial = b""
        self._difficulty = Fraction(1)
        self._last_id = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.machine._link is self:
            self.machine.closed()

    def call(self, method: str, params: list[Any], share: Share | None = None) -> None:
        """Send a request."""
        self._last_id += 1
        self._asked[self._last_id] = method, share
        line = json.dumps({"id": self._last_id, "method": method, "params": params}) + "\n"
        cast("asyncio.Transport", self.transport).write(line.encode())

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if self.machine._link is self:
                self._message(json.loads(line))

    def _message(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "mining.set_difficulty":
            self._difficulty = Fraction(message["params"][0])
        elif method == "mining.notify":
            self.machine.take_job(message["params"], self._difficulty)
        elif method == "client.reconnect":
            self.machine.sent_elsewhere(*message["params"])
        elif method is None:
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        asked, share = self._asked.pop(message["id"], ("", None))
        result, error = message["result"], message["error"]
        if share is not None:
            self.machine.answered(share, error)
        elif error is not None or not asked:
            self.machine.farm.broken.append(f"{self.machine.username}: {message} to {asked or 'nothing'}")
        elif asked == "mining.subscribe":
            self.machine.subscribed(result[0][0][1], bytes.fromhex(result[1]))
        elif asked == "mining.authorize":
            self.machine.authorised()


@asynccontextmanager
async def at_work(machines: list[Machine]) -> AsyncIterator[None]:
    """All machines connected, and hashing by the clock."""
    for machine in machines:
        await machine.connect()
    boards = asyncio.create_task(_hash(machines))
    try:
        yield
        assert not boards.done(), boards.exception()
    finally:
        boards.cancel()
        await asyncio.gather(boards, return_exceptions=True)


async def _hash(machines: list[Machine]) -> None:
    loop = asyncio.get_running_loop()
    before = dict.fromkeys(machines, loop.time())
    while True:
        started = loop.time()
        for machine in machines:
            now = loop.time()
            machine.hash(min(now - before[machine], 1.0))
            before[machine] = now
            await asyncio.sleep(0)
        await asyncio.sleep(max(started + LOOK_SECONDS - loop.time(), 0.0))


def sha256d(data: bytes) -> bytes:
    """Double SHA-256, header order."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def _bytes(target: int) -> bytes:
    return target.to_bytes(32, "big")
