"""Nodes that do what a test tells them, and the parts of a gateway around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from pool.node import NodeDown, NodeError, TipHeader
from stratum.job import Template
from tests.stratum.fakes import NOW, sha256d, template


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something has become true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.002)


@dataclass
class FakeNode:
    """A node at a height; `fault` is raised by every call while it is set."""

    name: str = "node"
    height_now: int = 100
    fault: NodeError | None = None
    value: int = 5_000_000_000
    verdicts: list[str | Exception | None] = field(default_factory=list)
    """Answers to `submit`, in order; afterwards None."""
    submitted: list[bytes] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    tip_polls: bool = True
    long_polls: bool = True
    pushes: asyncio.Queue[str] | None = None
    tips_fault: NodeError | None = None
    asked: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    branch: int = 0
    frozen_tip: str | None = None
    thinks: asyncio.Event | None = None
    """While set to an event, templates wait for it: what they say is decided afterwards."""
    header_thinks: asyncio.Event | None = None
    objections: list[str | Exception | None] = field(default_factory=list)
    """Answers to `propose`, in order; afterwards None."""
    proposed: list[bytes] = field(default_factory=list)
    preferred: list[str] = field(default_factory=list)

    def ask(self, what: str) -> None:
        self.asked.append(what)
        if self.fault is not None:
            raise self.fault

    def now(self) -> Template:
        height = self.height_now
        return template(height + 1 + self.branch * 1_000_000, coinbase_value=self.value)

    def best(self) -> str:
        return self.now().previous_block[::-1].hex()

    def advance(self) -> None:
        """A new block, told by every means that this node has."""
        self.height_now += 1
        self.changed.set()
        self.changed = asyncio.Event()
        if self.pushes is not None:
            self.pushes.put_nowait(self.best())

    async def check(self) -> None:
        self.ask("check")

    async def template(self, long_poll_id: str | None = None) -> Template:
        self.ask("template" if long_poll_id is None else "long poll")
        if long_poll_id is not None:
            while long_poll_id == self.now().long_poll_id or not self.long_polls:
                await self.changed.wait()
            self.ask("long poll answered")
        if self.thinks is not None:
            await self.thinks.wait()
            self.ask("template is ready")
        return self.now()

    async def tip(self) -> str:
        self.ask("tip")
        if not self.tip_polls:
            if self.frozen_tip is None:
                self.frozen_tip = self.best()
            return self.frozen_tip
        return self.best()

    async def tips(self) -> AsyncIterator[str]:
        if self.tips_fault is not None:
            raise self.tips_fault
        if self.pushes is not None:
            while True:
                yield await self.pushes.get()

    async def submit(self, block: bytes) -> str | None:
        self.submitted.append(block)
        self.ask("submit")
        verdict = self.verdicts.pop(0) if self.verdicts else None
        if isinstance(verdict, Exception):
            raise verdict
        if verdict is None:
            self.known.setdefault(sha256d(block[:80])[::-1].hex(), 1)
        return verdict

    async def confirmations(self, block_hash: str) -> int | None:
        self.ask("confirmations")
        return self.known.get(block_hash)

    async def header(self, block_hash: str) -> TipHeader | None:
        self.ask("header")
        if self.header_thinks is not None:
            await self.header_thinks.wait()
        if block_hash != self.best():
            return None
        height = self.now().height - 1
        previous = template(height).previous_block[::-1].hex()
        return TipHeader(block_hash, previous, height, self.now().bits, int(NOW) - 3600)

    async def propose(self, block: bytes) -> str | None:
        self.ask("propose")
        self.proposed.append(block)
        objection = self.objections.pop(0) if self.objections else None
        if isinstance(objection, Exception):
            raise objection
        return objection

    async def prefer(self, block_hash: str) -> None:
        self.ask("prefer")
        self.preferred.append(block_hash)

    async def height(self) -> int:
        self.ask("height")
        return self.height_now

    async def close(self) -> None: ...


def down(name: str = "node") -> NodeDown:
    return NodeDown(f"{name} does not answer: start it")
