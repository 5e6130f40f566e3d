"""The control socket: what an operator asks of a running gateway, and what it refuses."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.control import SOCKET, Control, ControlError, ask, wrong_reconnect_host
from stratum.device_class import DeviceClasses
from stratum.extranonce import ExtranonceSource
from stratum.job import JobBook
from stratum.limits import ServerLimits
from stratum.server import Server
from stratum.subscriptions import Subscriptions
from tests.pool.fakes import until
from tests.stratum.fakes import MASK, POLICY, TERMS, FakeGate, FakeRecorder, template

PUBLIC = "kz1.pool.example"


@asynccontextmanager
async def controlled(data_dir: Path, public_host: str | None = PUBLIC) -> AsyncIterator[Server]:
    book = JobBook(1, MASK)
    book.add(template(), TERMS)
    server = Server(
        book=book,
        gate=FakeGate(),
        recorder=FakeRecorder(),
        policy=POLICY,
        subscriptions=Subscriptions(ExtranonceSource(1)),
        devices=DeviceClasses(),
        limits=ServerLimits(offences_burst=2),
    )
    await server.listen("127.0.0.1", 0)
    task = asyncio.create_task(Control(server, data_dir, public_host).run())
    try:
        await until((data_dir / SOCKET).exists)
        yield server
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await server.close()


async def miner(server: Server, agent: str = "cgminer/4.12") -> tuple[asyncio.StreamReader, Any]:
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    writer.write(json.dumps({"id": 1, "method": "mining.subscribe", "params": [agent]}).encode() + b"\n")
    writer.write(b'{"id":2,"method":"mining.authorize","params":["alice.s17","x"]}\n')
    while b"mining.notify" not in await reader.readline() or not server.connections:
        pass
    return reader, writer


async def message_of(reader: asyncio.StreamReader, method: str) -> list[Any]:
    while True:
        message = json.loads(await reader.readline())
        if message.get("method") == method:
            return list(message["params"])


async def test_status_and_a_socket_for_the_owner_alone(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server:
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
        _, writer = await miner(server)
        state = await ask(tmp_path, "GET", "/status")
        assert state["connections"] == 1
        assert state["bans"] == []
        assert state["draining"] is False
        writer.close()


async def test_the_connections_of_an_account_are_named_as_in_the_log(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server:
        _, writer = await miner(server)
        (connection,) = server.connections
        for of in ("alice", "alice.s17"):
            told = await ask(tmp_path, "GET", f"/connections?of={of}")
            assert told["all"] == 1
            assert told["connections"][0]["connection"] == connection.id
            assert told["connections"][0]["worker"] == "alice.s17"
        assert (await ask(tmp_path, "GET", "/connections?of=bob"))["all"] == 0
        writer.close()


async def test_a_long_data_dir_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with controlled(deep):
        assert (await ask(deep, "GET", "/status"))["connections"] == 0


async def test_a_gateway_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no gateway answers there"):
        await ask(tmp_path, "GET", "/status")
    with pytest.raises(ControlError, match="give the one of the gateway"):
        await ask(tmp_path / "none", "GET", "/status")


async def test_a_socket_left_by_a_killed_gateway_is_taken_over(tmp_path: Path) -> None:
    async with controlled(tmp_path):
        (tmp_path / SOCKET).rename(tmp_path / "left")
    (tmp_path / "left").rename(tmp_path / SOCKET)
    async with controlled(tmp_path), asyncio.timeout(10):
        state: dict[str, Any] = {}
        while not state:
            with suppress(ControlError):
                state = await ask(tmp_path, "GET", "/status")
        assert state["connections"] == 0


async def test_a_ban_is_visible_and_can_be_lifted(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server:
        for _ in range(3):
            _, writer = await asyncio.open_connection(*server.addresses[0])
            writer.write(b"garbage\n")
            writer.write_eof()
            await until(lambda: not server.connections)
        await until(lambda: bool(server.bans()))
        (ban,) = (await ask(tmp_path, "GET", "/status"))["bans"]
        assert (ban["address"], ban["reason"]) == ("127.0.0.1", "malformed")
        await ask(tmp_path, "POST", "/unban", b"127.0.0.1")
        assert (await ask(tmp_path, "GET", "/status"))["bans"] == []
        with pytest.raises(ControlError, match="is not banned"):
            await ask(tmp_path, "POST", "/unban", b"127.0.0.1")


async def test_a_message_reaches_the_screens(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server:
        reader, writer = await miner(server)
        await ask(tmp_path, "POST", "/message", b"maintenance at 06:00")
        assert await message_of(reader, "client.show_message") == ["maintenance at 06:00"]
        for wrong in ("", "x" * 201, "two\nlines"):
            with pytest.raises(ControlError, match="printable characters"):
                await ask(tmp_path, "POST", "/message", wrong.encode())
        writer.close()


async def test_q11_a_drain_sends_every_miner_elsewhere_and_takes_no_new_ones(tmp_path: Path) -> None:
    async with controlled(tmp_path) as server:
        (host, port), (reader, writer) = server.addresses[0], await miner(server)
        body = json.dumps({"host": "kz2.pool.example", "port": 3333, "over_seconds": 0.1}).encode()
        await ask(tmp_path, "POST", "/drain", body)
        to, to_port, wait = await message_of(reader, "client.reconnect")
        assert (to, to_port) == ("kz2.pool.example", 3333)
        assert 0 <= wait <= 10
        assert (await ask(tmp_path, "GET", "/status"))["draining"] is True
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        with pytest.raises(ControlError, match="being drained already"):
            await ask(tmp_path, "POST", "/drain", body)
        writer.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"host":"kz2.pool.example"}',
        b'{"host":"kz2.pool.example","port":0,"over_seconds":1}',
        b'{"host":"kz2.pool.example","port":1,"over_seconds":-1}',
        b'{"host":"evil.example","port":1,"over_seconds":1}',
    ],
)
async def test_a_drain_that_cannot_be_is_refused_and_changes_nothing(tmp_path: Path, body: bytes) -> None:
    async with controlled(tmp_path) as server:
        with pytest.raises(ControlError):
            await ask(tmp_path, "POST", "/drain", body)
        assert server.addresses, "it still listens"


@pytest.mark.parametrize(
    ("host", "public", "words"),
    [
        ("kz2.pool.example", PUBLIC, None),
        ("KZ2.Pool.Example", PUBLIC, None),
        ("10.0.0.1", PUBLIC, "is an address"),
        ("::1", PUBLIC, "is an address"),
        ("kz2", PUBLIC, "not of the domain"),
        ("a.kz2.pool.example", PUBLIC, "not of the domain"),
        ("pool.example", PUBLIC, "not of the domain"),
        ("kz2.pool.example", None, "public_host"),
    ],
)
def test_q11_where_firmware_would_not_follow(host: str, public: str | None, words: str | None) -> None:
    verdict = wrong_reconnect_host(host, public)
    assert (verdict is None) if words is None else (words in (verdict or ""))


@given(st.text(max_size=40))
def test_q11_whatever_is_allowed_has_the_suffix_and_a_dot(host: str) -> None:
    if wrong_reconnect_host(host, PUBLIC) is None:
        assert host.lower().partition(".")[2] == "pool.example"
