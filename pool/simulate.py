"""Simulated miners: Stratum V1 clients that really hash, at a rate they are given.

They build the header from the wire alone, as firmware does, with no help of the pool's own job code, so they
are also a check of it. Used by the demo, by `dmpool simulate` and by the integration tests. Not a load
generator for benchmarks: those send shares that cost no hashing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import msgspec

import native
from stratum.difficulty import DIFFICULTY_1_TARGET, LARGEST_TARGET

TICK_SECONDS = 0.1
RECONNECT_SECONDS = 1.0
VERSION_MASK = 0x1FFFE000


@dataclass(frozen=True, slots=True)
class _Work:
    """A job as the wire told it, with the target of the difficulty in force when it came."""

    job_id: str
    previous_block: bytes
    coinbase1: bytes
    coinbase2: bytes
    branches: bytes
    version: int
    bits: int
    ntime: int
    target: bytes


@dataclass(slots=True)
class MinerStatus:
    """What a simulated miner has lived through."""

    connected: bool = False
    trouble: str = ""
    """Why there is no connection; empty while there is one."""
    difficulty: float = 0.0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    hashes: int = 0
    refusal: str = ""
    """Why the pool did not let the worker in; empty when it did."""

    @property
    def state(self) -> str:
        """What the machine is at, in a word or two."""
        if not self.connected:
            return f"connecting ({self.trouble})" if self.trouble else "connecting"
        return "mining" if self.difficulty else "waiting for work"


class SimulatedMiner:
    """One machine: connects, hashes, submits, reconnects."""

    def __init__(
        self,
        url: str,
        username: str,
        hashrate: float,
        on_accept: Callable[[bytes], object] | None = None,
    ) -> None:
        """`url` is stratum+tcp://host:port; `hashrate` in hashes per second.

        `on_accept` is told the header of each share that the pool answered `true`.
        """
        self._host, self._port = _endpoint(url)
        if not 0 < hashrate < float("inf"):
            raise ValueError(f"hashrate {hashrate}: give a number of hashes per second")
        self.username = username
        self._on_accept = on_accept
        self._hashrate = hashrate
        self.status = MinerStatus()
        self._reset()

    def _reset(self) -> None:
        self._work: _Work | None = None
        self._target = DIFFICULTY_1_TARGET
        self._extranonce1 = b""
        self._extranonce2_size = 8
        self._extranonce2 = random.getrandbits(32)
        self._version_bits = 0
        self._nonce = 0
        self._asked: dict[int, tuple[str, bytes]] = {}
        """Method, and for a share its header, by the id of what is not answered yet."""
        self._next_id = 1

    async def run(self) -> None:
        """Mine until cancelled."""
        while True:
            try:
                await self._session()
            except* OSError as group:
                error = group.exceptions[0]
                self.status.trouble = str(getattr(error, "strerror", None) or error)
            except* (EOFError, ValueError, KeyError, TypeError, msgspec.MsgspecError):
                self.status.trouble = "what answers there is no Stratum server"
            self.status.connected = False
            self.status.difficulty = 0.0
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _session(self) -> None:
        self._reset()
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self.status.connected, self.status.trouble = True, ""
        try:
            self._send(
                writer, "mining.configure", [["version-rolling"], {"version-rolling.mask": "1fffe000"}]
            )
            self._send(writer, "mining.subscribe", ["dmpool-simulate/1"])
            self._send(writer, "mining.authorize", [self.username, "x"])
            async with asyncio.TaskGroup() as tasks:
                hashing = tasks.create_task(self._hash(writer))
                try:
                    while line := await reader.readline():
                        self._receive(msgspec.json.decode(line))
                finally:
                    hashing.cancel()
        finally:
            writer.close()

    def _send(
        self, writer: asyncio.StreamWriter, method: str, params: list[Any], header: bytes = b""
    ) -> None:
        request = {"id": self._next_id, "method": method, "params": params}
        self._asked[self._next_id] = method, header
        self._next_id += 1
        writer.write(msgspec.json.encode(request) + b"\n")

    def _receive(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "mining.notify":
            self._take_job(message["params"])
        elif method == "mining.set_difficulty":
            value = message["params"][0]
            self.status.difficulty = value
            self._target = min(int(DIFFICULTY_1_TARGET / Fraction(value)), LARGEST_TARGET)
        elif method is None:
            self._take_answer(message)

    def _take_answer(self, message: dict[str, Any]) -> None:
        asked, header = self._asked.pop(message["id"], ("", b""))
        error = message.get("error")
        if asked == "mining.submit":
            if message["result"] is True:
                self.status.accepted += 1
                if self._on_accept is not None:
                    self._on_accept(header)
            else:
                self.status.rejected[error[1] if error else "?"] += 1
        elif asked == "mining.subscribe":
            self._extranonce1 = bytes.fromhex(message["result"][1])
            self._extranonce2_size = message["result"][2]
        elif asked == "mining.authorize":
            self.status.refusal = error[1] if error else ""

    def _take_job(self, params: list[Any]) -> None:
        job_id, previous, coinbase1, coinbase2, branches, version, bits, ntime, _clean = params
        words = bytes.fromhex(previous)
        self._work = _Work(
            job_id=job_id,
            previous_block=b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4)),
            coinbase1=bytes.fromhex(coinbase1),
            coinbase2=bytes.fromhex(coinbase2),
            branches=bytes.fromhex("".join(branches)),
            version=int(version, 16),
            bits=int(bits, 16),
            ntime=int(ntime, 16),
            target=self._target.to_bytes(32, "big"),
        )

    async def _hash(self, writer: asyncio.StreamWriter) -> None:
        due = time.monotonic()
        while True:
            due += TICK_SECONDS
            work = self._work
            if work is not None and self._extranonce1:
                await self._search(writer, work, max(1, int(self._hashrate * TICK_SECONDS)))
                await writer.drain()
            behind = due - time.monotonic()
            due = max(due, time.monotonic() - 1.0)
            await asyncio.sleep(max(behind, 0))

    async def _search(self, writer: asyncio.StreamWriter, work: _Work, count: int) -> None:
        """Try `count` nonces, and submit what meets the target."""
        if self._nonce + count > 2**32:
            self._nonce = 0
            self._extranonce2 += 1
            self._version_bits = (self._version_bits + 0x2000) & VERSION_MASK
        extranonce2 = self._extranonce2.to_bytes(self._extranonce2_size, "little")
        coinbase = b"".join((work.coinbase1, self._extranonce1, extranonce2, work.coinbase2))
        root = native.merkle_root(native.sha256d(coinbase), work.branches)
        header = b"".join(
            (
                (work.version | self._version_bits).to_bytes(4, "little"),
                work.previous_block,
                root,
                work.ntime.to_bytes(4, "little"),
                work.bits.to_bytes(4, "little"),
                bytes(4),
            )
        )
        first, end = self._nonce, self._nonce + count
        self._nonce = end
        self.status.hashes += count
        while first < end:
            nonce = await asyncio.to_thread(native.scan, header, first, end - first, work.target)
            if nonce is None:
                return
            if self._work is None or self._work.previous_block == work.previous_block:
                submit = [
                    self.username,
                    work.job_id,
                    extranonce2.hex(),
                    f"{work.ntime:08x}",
                    f"{nonce:08x}",
                    f"{self._version_bits:08x}",
                ]
                self._send(writer, "mining.submit", submit, header[:76] + nonce.to_bytes(4, "little"))
            first = nonce + 1


def _endpoint(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "stratum+tcp" or not parts.hostname or not port:
        raise ValueError(f"url {url!r}: write it as stratum+tcp://host:port, with a port from 1 to 65535")
    return parts.hostname, port
