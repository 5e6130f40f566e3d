"""The server over real sockets, on asyncio and on uvloop: bad input harms one connection only."""

import asyncio
import json
from typing import Any

import pytest

from stratum.messages import LINE_LIMIT
from tests.stratum.fakes import Wire
from tests.stratum.server_world import Peer, Run, World

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
        assert world.server.counts.closed == {"malformed": 1}

    run(scenario)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"id":1,"method":"mining.nonsense"}', -3),
        (b'{"id":1,"method":5}', 20),
        (b'{"id":1,"method":"mining.submit","params":{"a":1}}', 20),
        (b'{"id":1,"method":"mining.authorize","params":[1e400]}', 20),
        (b'{"id":1,"method":"mining.suggest_difficulty","params":[' + b"9" * 5000 + b"]}", 20),
        (b'{"id":1,"method":"mining.submit","params":["alice.s17","b","c","d","\\u0000"]}', 21),
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

        world.gate.admit = explode  # type: ignore[assignment, method-assign]
        bad.write(b'{"id":1,"method":"mining.authorize","params":["x"]}\n')
        assert await bad.rest() == []
        assert (await good.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {"error": 1}

    run(scenario)


def share_of(job: list[Any], extranonce1: str) -> list[Any]:
    """The submit parameters of a share, found by the tests' own miner."""
    wire = Wire()
    wire.extranonce1 = bytes.fromhex(extranonce1)
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
        assert len(world.extranonces._in_use) == 5

    run(scenario)


def test_after_a_close_the_server_can_listen_again(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        await world.server.close()
        await peer.rest()
        await world.listen()
        await world.ready()
        assert world.server._upkeep is not None
        assert not world.server._upkeep.done()
        assert world.server.counts.closed == {"shutdown": 1}

    run(scenario)


def test_a_taken_port_is_an_error(run: Run) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(
            OSError, match=r"^\[Errno 98\] cannot listen on 127.0.0.1 port \d+: Address already in use$"
        ):
            await world.server.listen(*world.address)

    run(scenario)
