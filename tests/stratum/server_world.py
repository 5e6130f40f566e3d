"""What the server's tests stand on: a server on loopback, clients of it, and time that the test moves.

Ticks are the loop's time plus `ahead`, the wall clock is `now`: a test moves either alone, or both.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from stratum.connection import Connection
from stratum.device_class import DeviceClasses
from stratum.extranonce import ExtranonceSource
from stratum.job import JobBook
from stratum.limits import ServerLimits
from stratum.server import Server
from stratum.subscriptions import Subscriptions
from stratum.tls import TlsCertificate
from tests.stratum.fakes import MASK, NOW, POLICY, TERMS, FakeGate, FakeRecorder, messages_in, template

LIMITS = ServerLimits()
LONG = 5.0
"""Seconds after which a test that waits has failed."""
Scenario = Callable[["World"], Awaitable[None]]
Run = Callable[..., None]
"""Runs a scenario on each kind of loop, in a world with these limits."""
Loop = Callable[[], asyncio.AbstractEventLoop]


class Peer:
    """A client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(LONG):
            line = await self.reader.readline()
        (message,) = messages_in(line)
        return message

    async def read_past_blanks(self) -> dict[str, Any]:
        """The next message; the blank lines that filled a buffer are passed over."""
        async with asyncio.timeout(LONG):
            while not (line := await self.reader.readline()).strip():
                assert line, "the server has closed"
        (message,) = messages_in(line)
        return message

    async def call(self, method: str, params: Any = (), request_id: Any = 1) -> dict[str, Any]:
        """The answer to a request; what comes before it is left out."""
        self.write(json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n")
        while (message := await self.read()).get("method") is not None:
            pass
        return message

    async def work(self, username: str = "alice.s17", agent: str = "firmware/1.0") -> Peer:
        """Subscribe and authorise."""
        await self.call("mining.subscribe", [agent])
        assert (await self.call("mining.authorize", [username]))["result"] is True
        return self

    async def rest(self) -> list[dict[str, Any]]:
        """Everything until the server closes."""
        with suppress(ConnectionError):
            async with asyncio.timeout(LONG):
                return list(messages_in(await self.reader.read()))
        return []

    def stop_reading(self) -> None:
        """Leave unread what comes."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def read_on(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]


class World:
    """A server on a free port of loopback."""

    def __init__(self, **limits: Any) -> None:
        self.now = NOW
        self.ahead = 0.0
        self.recorder = FakeRecorder()
        self.gate = FakeGate(refused={"eve": "no licence"})
        self.book = JobBook(0x1000, MASK)
        self.extranonces = ExtranonceSource(7)
        self.server = Server(
            book=self.book,
            gate=self.gate,
            recorder=self.recorder,
            policy=POLICY,
            subscriptions=Subscriptions(self.extranonces),
            devices=DeviceClasses(),
            limits=replace(LIMITS, **limits),
            clock=lambda: self.now,
        )
        self.address: tuple[str, int] = ("", 0)
        self._peers: list[Peer] = []

    async def connect(self, first: bytes = b"", *, context: ssl.SSLContext | None = None) -> Peer:
        """A client; `first` is said before a TLS handshake, if there is to be one."""
        client = socket.create_connection(self.address)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, first)
        name = None if context is None else "pool.example"
        peer = Peer(*await asyncio.open_connection(sock=client, ssl=context, server_hostname=name))
        self._peers.append(peer)
        return peer

    async def ready(self, username: str = "alice.s17", agent: str = "firmware/1.0") -> Peer:
        """A connection that is at work."""
        return await (await self.connect()).work(username, agent)

    def served(self, peer: Peer) -> Connection:
        """The server's side of a client."""
        host, port = peer.writer.get_extra_info("sockname")[:2]
        (found,) = (one for one in self.server.connections if one.peer == f"{host}:{port}")
        return found

    async def fill_buffers(self, peer: Peer, size: int = 1) -> None:
        """Let the client read nothing, until `size` bytes wait for it here beside those in the kernel."""
        peer.stop_reading()
        connection = self.served(peer)
        transport = connection._transport
        assert transport is not None
        while transport.get_write_buffer_size() < size:
            connection.write(b" " * 4095 + b"\n")
            await asyncio.sleep(0)

    def job(self, height: int = 800_000) -> None:
        job, clean = self.book.add(template(height), TERMS)
        self.server.broadcast(job, clean)

    def ticks(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look after everything as the server does from time to time."""
        self.ahead += seconds
        self.now += seconds
        self.server._to_sweep.clear()
        self.server._keep_up_at(self.ticks())

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(LONG):
            while not true():
                await asyncio.sleep(0.005)

    async def listen(self, host: str = "127.0.0.1", *, tls: TlsCertificate | None = None) -> None:
        """Serve on a port, and go to that one from now on."""
        (self.address, *_) = await self.server.listen(host, 0, tls=tls)
        self.server._shared.ticks = self.ticks

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        await self.listen()
        try:
            yield
        finally:
            for peer in self._peers:
                peer.writer.close()
            await self.server.close()
            await self.until(lambda: not self.server.connections)


def run_scenario(factory: Loop, scenario: Scenario, limits: dict[str, Any]) -> None:
    """Run a scenario to its end on a loop of its own; whatever the loop reports as an error fails it."""
    reported: list[dict[str, Any]] = []

    async def in_world() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))
        world = World(**limits)
        async with world.serving():
            world.job()
            await scenario(world)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(in_world())
    assert reported == []
