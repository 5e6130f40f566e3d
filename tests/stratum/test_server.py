"""The server over real sockets, on asyncio and on uvloop: bad input harms one connection only."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum import server as servers
from stratum.extranonce import ExtranonceSource
from stratum.job import JobBook
from stratum.messages import LINE_LIMIT
from stratum.server import AUTHORISE_SECONDS, LINGER_SECONDS, SILENCE_SECONDS, Server
from tests.stratum.fakes import MASK, NOW, POLICY, TERMS, FakeGate, FakeRecorder, Wire, messages_in, template

Scenario = Callable[["World"], Awaitable[None]]
Run = Callable[[Scenario], None]


class Peer:
    """A client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self) -> dict[str, Any]:
        """The next message."""
        line = await asyncio.wait_for(self.reader.readline(), 5)
        (message,) = messages_in(line)
        return message

    async def call(self, method: str, params: Any = (), request_id: Any = 1) -> dict[str, Any]:
        """The answer to a request; what comes before it is left out."""
        self.write(json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n")
        while (message := await self.read()).get("method") is not None:
            pass
        return message

    async def rest(self) -> list[dict[str, Any]]:
        """Everything until the server closes."""
        with suppress(ConnectionError):
            return list(messages_in(await asyncio.wait_for(self.reader.read(), 5)))
        return []


class World:
    """A server on a free port, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.recorder = FakeRecorder()
        self.gate = FakeGate(refused={"eve": "no licence"})
        self.book = JobBook(0x1000, MASK)
        self.server = Server(
            book=self.book,
            gate=self.gate,
            recorder=self.recorder,
            policy=POLICY,
            extranonces=ExtranonceSource(7),
            clock=lambda: self.now,
        )
        self.address: tuple[str, int] = ("", 0)
        self._peers: list[Peer] = []

    async def connect(self) -> Peer:
        peer = Peer(*await asyncio.open_connection(*self.address))
        self._peers.append(peer)
        return peer

    async def ready(self, username: str = "alice.s17") -> Peer:
        """A connection that is at work."""
        peer = await self.connect()
        await peer.call("mining.subscribe")
        assert (await peer.call("mining.authorize", [username]))["result"] is True
        return peer

    def job(self, height: int = 800_000) -> None:
        job, clean = self.book.add(template(height), TERMS)
        self.server.broadcast(job, clean)

    def sweep(self, seconds: float) -> None:
        """Let time pass, and look at every connection as the server does each second."""
        self.now += seconds
        for connection in list(self.server.connections):
            connection.sweep(self.now)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        ((host, port),) = await self.server.listen("127.0.0.1", 0)
        self.address = (host, port)
        try:
            yield
        finally:
            for peer in self._peers:
                peer.writer.close()
            await self.server.close()
            await self.until(lambda: not self.server.connections)


async def in_world(scenario: Scenario) -> None:
    world = World()
    async with world.serving():
        world.job()
        await scenario(world)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario to its end on each kind of loop."""
    factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def runner(scenario: Scenario) -> None:
        work: Coroutine[Any, Any, None] = in_world(scenario)
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(work)

    return runner


BAD_LINES = {
    "not JSON": b"GET / HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\n",
    "not an object": b"[1,2,3]\n",
    "NUL bytes": b"\x00\x00\x00\x00\n",
    "a text": b'"mining.subscribe"\n',
    "half an object": b'{"id":1,"method":"mining.sub\n',
    "deep": b'{"id":1,"params":' + b"[" * 8000 + b"\n",
    "too long": b'{"id":1,"method":"' + b"x" * LINE_LIMIT + b'"}\n',
    "too long and no end": b"x" * (LINE_LIMIT + 1),
    "endless": b"\x00" * 1_000_000,
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_i10_what_is_no_request_ends_that_connection_after_one_answer(run: Run, name: str) -> None:
    async def scenario(world: World) -> None:
        good, bad = await world.ready(), await world.connect()
        bad.write(BAD_LINES[name])
        answers = await bad.rest()
        if name != "endless":  # there, what is still unread when we close may reset the connection
            assert [(answer["id"], answer["error"][0]) for answer in answers] == [(None, 20)]
        assert (await good.call("mining.ping"))["result"] == "pong"
        assert len(world.server.connections) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"id":1,"method":"mining.nonsense"}', -3),
        (b'{"id":1,"method":5}', 20),
        (b'{"id":1,"method":"mining.submit","params":{"a":1}}', 20),
        (b'{"id":1,"method":"mining.authorize","params":[1e400]}', 20),
        (b'{"id":1,"method":"mining.suggest_difficulty","params":[' + b"9" * 5000 + b"]}", 20),
        (b'{"id":1,"method":"mining.submit","params":["a","b","c","d","\\u0000"]}', 21),
    ],
)
def test_i10_wrong_requests_get_an_error_and_stay_connected(run: Run, line: bytes, code: int) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        await peer.read()  # difficulty
        await peer.read()  # job
        peer.write(line + b"\n")
        answer = await peer.read()
        assert (answer["id"], answer["error"][0]) == (1, code)
        assert (await peer.call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_a_line_of_the_limit_is_still_a_line(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        frame = b'{"id":1,"method":"mining.ping","x":""}'
        peer.write(frame.replace(b'""', b'"%b"' % (b"x" * (LINE_LIMIT - len(frame)))) + b"\n")
        assert (await peer.read())["result"] == "pong"

    run(scenario)


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b"  \n", b"      \r\n", b"\n\n\n\r\n", b"\t\t\t\t\n"])
def test_q57_blank_lines_and_carriage_returns_are_passed_over(run: Run, blank: bytes) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        peer.write(blank)
        await asyncio.sleep(0.02)
        peer.write(blank + b'  {"id":1,"method":"mining.ping"}\r\n' + blank)
        assert (await peer.read())["result"] == "pong"

    run(scenario)


def test_half_a_line_and_silence(run: Run) -> None:
    async def scenario(world: World) -> None:
        good, half = await world.ready(), await world.connect()
        half.write(b'{"id":1,"method":"mining.sub')
        await world.until(lambda: any(one._partial for one in world.server.connections))
        world.sweep(AUTHORISE_SECONDS)
        assert len(world.server.connections) == 2
        world.sweep(0.1)
        assert await half.rest() == []
        assert (await good.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {"not-authorised": 1}

    run(scenario)


def test_a_talker_who_never_authorises_is_ended_all_the_same(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        for _ in range(4):
            await peer.call("mining.subscribe")
            world.sweep(AUTHORISE_SECONDS / 3)
        assert await peer.rest() == []

    run(scenario)


def test_a_machine_that_vanished_is_ended_and_one_that_speaks_is_not(run: Run) -> None:
    """A half-open connection: nothing comes any more, and no end either."""

    async def scenario(world: World) -> None:
        gone, speaking = await world.ready(), await world.ready()
        world.sweep(SILENCE_SECONDS - 1)
        await speaking.call("mining.ping")
        world.sweep(2)
        assert "mining.notify" in [message.get("method") for message in await gone.rest()]
        assert (await speaking.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {"silent": 1}

    run(scenario)


def test_a_clock_that_steps_back_ends_nobody(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        world.sweep(-86_400)
        world.job(800_001)
        assert (await peer.call("mining.ping"))["result"] == "pong"

    run(scenario)


def unread(peer: Peer, world: World) -> None:
    """Keep the kernel from buffering much for this client, and stop reading."""
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for connection in world.server.connections:
        sock = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def test_a_slow_reader_is_cut_and_others_get_their_jobs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "UNREAD_LIMIT", 16 * 1024)

    async def scenario(world: World) -> None:
        slow = await world.ready()
        unread(slow, world)
        good = await world.ready()
        for height in range(800_001, 811_000):
            world.job(height)
            if height % 20 == 0:
                await good.call("mining.ping")
            if world.server.counts.closed:
                break
        assert world.server.counts.closed == {"slow-reader": 1}
        await world.until(lambda: len(world.server.connections) == 1)
        assert (await good.call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_an_ended_connection_that_does_not_read_its_answers_is_cut(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        unread(peer, world)
        (connection,) = world.server.connections
        while connection._transport.get_write_buffer_size() < 100_000:  # type: ignore[union-attr]
            world.job(world.book.current.template.height + 1)  # type: ignore[union-attr]
            await asyncio.sleep(0)
        world.sweep(SILENCE_SECONDS + 1)
        await asyncio.sleep(0.02)
        assert world.server.connections, "there is something left to be read"
        world.sweep(LINGER_SECONDS - 1)
        await asyncio.sleep(0.02)
        assert world.server.connections
        world.sweep(2)
        await world.until(lambda: not world.server.connections)
        assert world.server.counts.closed == {"silent": 1}

    run(scenario)


def test_refused_authorisations_end_with_a_close_after_the_answers(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        peer.write(b'{"id":1,"method":"mining.authorize","params":["eve"]}\n' * 50)
        answers = await peer.rest()
        assert [answer["error"] for answer in answers] == [[24, "no licence", None]] * 10

    run(scenario)


def test_a_fault_of_ours_ends_one_connection_only(run: Run) -> None:
    async def scenario(world: World) -> None:
        good, bad = await world.ready(), await world.connect()

        def explode(username: str, now_us: int) -> str:
            raise ZeroDivisionError(username)

        world.gate.admit = explode  # type: ignore[method-assign]
        bad.write(b'{"id":1,"method":"mining.authorize","params":["x"]}\n')
        assert await bad.rest() == []
        assert (await good.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {"error": 1}

    run(scenario)


def share_of(job: list[Any], extranonce1: str) -> list[Any]:
    """The submit parameters of a share, found by the tests' own miner."""
    wire = Wire(extranonce1=bytes.fromhex(extranonce1))
    notify = json.dumps({"id": None, "method": "mining.notify", "params": job}).encode() + b"\n"
    wire.written.append(
        json.dumps({"id": None, "method": "mining.set_difficulty", "params": [2.0**-30]}).encode() + b"\n"
    )
    wire.written.append(notify)
    wire.read()
    return ["alice.s17", *wire.share()[0]]


async def work_of(peer: Peer) -> list[Any]:
    """Subscribe, authorise, and the parameters of a share for the job that came."""
    extranonce1 = (await peer.call("mining.subscribe"))["result"][1]
    await peer.call("mining.authorize", ["alice.s17"])
    await peer.read()
    return share_of((await peer.read())["params"], extranonce1)


def test_i1_a_connection_that_closed_while_its_share_waits_does_not_hold_up_the_others(run: Run) -> None:
    async def scenario(world: World) -> None:
        first, gone, cut, last = [await world.connect() for _ in range(4)]
        shares = [await work_of(peer) for peer in (first, gone, cut, last)]
        world.recorder.at_once = False
        for number, peer in enumerate((first, gone, cut, last)):
            peer.write(
                json.dumps({"id": number, "method": "mining.submit", "params": shares[number]}).encode()
                + b"\n"
            )
            await world.until(lambda number=number: len(world.recorder.waiting) == number + 1)  # type: ignore[misc]
        gone.writer.close()
        cut.writer.transport.abort()
        await world.until(lambda: len(world.server.connections) == 2)
        world.recorder.sync()
        assert await first.read() == {"id": 0, "result": True, "error": None}
        assert await last.read() == {"id": 3, "result": True, "error": None}
        assert len(world.recorder.told("accepted")) == 4

    run(scenario)


def test_extranonce1_is_unique_and_given_back(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.connect() for _ in range(20)]
        values = [(await peer.call("mining.subscribe"))["result"][1] for peer in peers]
        assert len(set(values)) == 20
        assert {value[:3] for value in values} == {"007"}
        for peer in peers[:15]:
            peer.writer.close()
        await world.until(lambda: len(world.server.connections) == 5)
        assert len(world.server._extranonces._in_use) == 5

    run(scenario)


def test_a_job_goes_to_those_at_work_only(run: Run) -> None:
    async def scenario(world: World) -> None:
        idle, subscribed, working = await world.connect(), await world.connect(), await world.ready()
        await subscribed.call("mining.subscribe")
        await working.read()
        assert (await working.read())["params"][-1] is True
        world.job(800_000)
        assert (await working.read())["params"][-1] is False, "not clean, the tip is the same"
        world.job(800_001)
        assert (await working.read())["params"][-1] is True
        for peer in (idle, subscribed):
            assert (await peer.call("mining.ping"))["result"] == "pong"
            assert not peer.reader._buffer  # type: ignore[attr-defined]

    run(scenario)


def test_after_a_close_the_server_can_listen_again(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        await world.server.close()
        await peer.rest()
        ((host, port),) = await world.server.listen("127.0.0.1", 0)
        world.address = (host, port)
        await world.ready()
        assert world.server._sweeper is not None
        assert not world.server._sweeper.done()

    run(scenario)


def test_a_taken_port_is_an_error(run: Run) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await world.server.listen(*world.address)

    run(scenario)


# Lines split anywhere, without a socket: only the cutting is looked at.


class Sink:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        self.data += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_extra_info(self, name: str) -> None: ...


PIPELINE = (
    b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}\r\n'
    b'{"id":2,"method":"mining.subscribe","params":["a"]}\n\n'
    b'   {"id":"three","method":"mining.authorize","params":["alice.s17","x"]}\n'
    b'{"id":4,"method":"mining.submit","params":["alice.s17","dead","00","00","00"]}\n'
    b'{"id":5.50,"method":"mining.ping","params":["\xd2\x9b"]}\n'
)


def cut(chunks: list[bytes]) -> bytes:
    world = World()
    world.job()
    world.server._extranonces._next = 1
    connection = servers.Connection(world.server)
    sink = Sink()
    connection.connection_made(sink)  # type: ignore[arg-type]
    for chunk in chunks:
        connection.data_received(chunk)
    connection.connection_lost(None)
    return sink.data


WHOLE = cut([PIPELINE])


def test_pipelined_lines_split_at_every_byte() -> None:
    assert [message["id"] for message in messages_in(WHOLE) if "method" not in message] == [
        1,
        2,
        "three",
        4,
        5.5,
    ]
    for at in range(1, len(PIPELINE)):
        assert cut([PIPELINE[:at], PIPELINE[at:]]) == WHOLE
    assert cut([PIPELINE[at : at + 1] for at in range(len(PIPELINE))]) == WHOLE


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, len(PIPELINE) - 1), max_size=12, unique=True))
def test_pipelined_lines_split_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(PIPELINE)]
    assert cut([PIPELINE[one:other] for one, other in pairwise(edges)]) == WHOLE


@given(st.lists(st.binary(max_size=40_000), max_size=4))
def test_random_chunks_leave_only_whole_lines(chunks: list[bytes]) -> None:
    list(messages_in(cut(chunks)))
