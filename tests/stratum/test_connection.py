"""One connection without a socket: cutting bytes into lines, too many lines, slow readers."""

import asyncio
import re
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum.connection import UNREAD_JOBS, UNREAD_LIMIT, Connection
from stratum.messages import LINE_LIMIT
from tests.stratum.fakes import TERMS, messages_in, template
from tests.stratum.server_world import World

SUBSCRIBE = b'{"id":1,"method":"mining.subscribe","params":["a"]}\n'
AUTHORISE = b'{"id":2,"method":"mining.authorize","params":["alice.s17","x"]}\n'
PING = b'{"id":3,"method":"mining.ping","params":[]}\n'
PONG = b'{"id":3,"result":"pong","error":null}\n'


class Sink:
    """A transport that keeps what is written; `unread` of it counts as not read by the client."""

    def __init__(self) -> None:
        self.data = b""
        self.unread = 0
        self.closing = self.aborted = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.closing, "uvloop raises here"
        self.data += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == UNREAD_JOBS

    def take(self) -> bytes:
        """What was written since the last look."""
        data, self.data = self.data, b""
        return data


class Line:
    """A connection that is served over a sink."""

    def __init__(self, **limits: Any) -> None:
        self.world = World(**limits)
        self.ticks = 1000.0
        shared = self.world.server._shared
        shared.ticks = lambda: self.ticks
        self.counts = shared.counts
        assert shared.door.enter("192.0.2.7", self.ticks) is None
        shared.opening = 1
        self.connection = Connection(shared, "192.0.2.7:1", "192.0.2.7", self.ticks)
        self.sink = Sink()
        self.connection.connection_made(cast("asyncio.Transport", self.sink))
        self.job()

    def job(self, height: int = 800_000) -> None:
        """A job for this connection, as a broadcast brings it."""
        job, _ = self.world.book.add(template(height), TERMS)
        self.connection.offer(job, self.ticks)

    def ready(self) -> "Line":
        """At work, and what was said about that is read."""
        self.connection.data_received(SUBSCRIBE + AUTHORISE)
        assert b"mining.notify" in self.sink.take()
        return self

    def told(self) -> list[tuple[int, bool]]:
        """Number and cleanness of the jobs since the last look."""
        return [
            (int(message["params"][0], 16), message["params"][-1])
            for message in messages_in(self.sink.take())
            if message.get("method") == "mining.notify"
        ]


# Lines split anywhere


PIPELINE = (
    b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}\r\n'
    b'{"id":2,"method":"mining.subscribe","params":["a"]}\n\n'
    b'   {"id":"three","method":"mining.authorize","params":["alice.s17","x"]}\n'
    b'{"id":4,"method":"mining.submit","params":["alice.s17","dead","00","00","00"]}\n'
    b'{"id":5.50,"method":"mining.ping","params":["\xd2\x9b"]}\n'
)


def cut(chunks: list[bytes]) -> bytes:
    """What is answered to the chunks, without the random half of the session id."""
    line = Line(stranger_lines_burst=1_000_000)
    line.world.extranonces._next = 1
    for chunk in chunks:
        if not line.sink.closing:
            line.connection.data_received(chunk)
    line.connection.connection_lost(None)
    return re.sub(rb'"[0-9a-f]{24}"', b'"id"', line.sink.data)


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


# Too many lines


async def test_too_many_lines_of_a_stranger_wait_and_none_is_lost() -> None:
    line = Line(stranger_lines_burst=10, stranger_lines_per_second=2.0)
    line.connection.data_received(PING * 25)
    assert line.sink.take() == PONG * 10
    assert not line.sink.reading
    line.connection.data_received(PING[:7])
    line.connection.data_received(PING[7:])
    assert line.sink.take() == b"", "what comes all the same waits too"
    answered = 10
    while answered < 26:
        line.ticks += 1.0
        line.connection._read_on()
        data = line.sink.take()
        assert data == PONG * 2
        answered += 2
    assert line.sink.reading
    assert not line.connection._partial
    assert line.counts.throttled == 8
    line.connection.connection_lost(None)


async def test_authorising_lifts_the_limit_in_the_midst_of_a_chunk() -> None:
    """A farm's proxy authorises thousands of workers in one go."""
    line = Line(stranger_lines_burst=70, lines_burst=3000)
    workers = b"".join(AUTHORISE.replace(b"s17", b"%d" % number) for number in range(2500))
    line.connection.data_received(SUBSCRIBE + workers)
    assert line.sink.take().count(b'"result":true') == 2500
    line.connection.data_received(PING * 1000)
    assert not line.sink.reading
    line.connection.connection_lost(None)


async def test_blank_lines_count_as_lines() -> None:
    line = Line(stranger_lines_burst=10)
    line.connection.data_received(b"\n" * 100 + PING)
    assert not line.sink.reading
    line.connection.connection_lost(None)


async def test_a_wait_ends_with_the_connection() -> None:
    for end in ("end", "lost"):
        line = Line(stranger_lines_burst=1)
        line.connection.data_received(PING * 5)
        timer = line.connection._throttle
        assert timer is not None
        if end == "end":
            line.connection.end("test")
            line.connection._read_on()
            assert line.sink.take() == PONG, "nothing is answered after the end"
        line.connection.connection_lost(None)
        assert timer.cancelled() == (end == "lost")


async def test_a_line_too_long_behind_a_wait_still_ends_it() -> None:
    line = Line(stranger_lines_burst=1)
    line.connection.data_received(PING * 2)
    line.connection.data_received(b"x" * (LINE_LIMIT + 1))
    assert not line.sink.closing, "the lines before it come first"
    line.ticks += 1.0
    line.connection._read_on()
    assert line.sink.take() != PONG * 2
    assert line.sink.closing
    assert line.counts.closed == {"malformed": 1}


# Slow readers


def test_a_slow_reader_gets_the_newest_job_when_it_has_read() -> None:
    line = Line().ready()
    line.connection.pause_writing()
    for height in (800_001, 800_001, 800_001):
        line.job(height)
    assert line.told() == []
    assert line.counts.jobs_skipped == 2
    newest = line.world.book.current
    assert newest is not None
    line.connection.resume_writing()
    assert line.told() == [(newest.number, True)], "clean, since one that was left out was"
    line.job(800_001)
    line.connection.pause_writing()
    line.job(800_001)
    line.connection.resume_writing()
    assert [clean for _, clean in line.told()] == [False, False]
    assert line.counts.jobs_skipped == 2


def test_answers_are_written_to_a_slow_reader_until_the_limit() -> None:
    line = Line().ready()
    line.connection.pause_writing()
    line.sink.unread = UNREAD_LIMIT - len(PONG)
    line.connection.data_received(PING)
    assert line.sink.take() == PONG
    line.sink.unread += 1
    line.connection.data_received(PING)
    assert line.sink.aborted
    assert line.counts.closed == {"slow-reader": 1}
    line.connection.write(PONG)
    assert line.sink.take() == b""


def test_one_large_answer_does_not_count_against_its_reader() -> None:
    line = Line().ready()
    line.connection.session.allowance = 5_000_000
    line.connection.pause_writing()
    line.sink.unread = UNREAD_LIMIT + 5_000_000 - len(PONG)
    line.connection.data_received(PING)
    assert not line.sink.aborted
    line.sink.unread += 1
    line.connection.data_received(PING)
    assert line.sink.aborted


def test_a_job_that_the_session_has_already_is_not_sent_again() -> None:
    line = Line().ready()
    current = line.world.book.current
    assert current is not None
    line.connection.offer(current, line.ticks)
    fresh = line.world.book.fresh(current.number, 0.0)
    line.connection.offer(fresh, line.ticks)
    line.connection.offer(current, line.ticks)
    assert line.told() == [(fresh.number, False)], "numbers only grow"


# One bad connection ends alone


@pytest.mark.parametrize("fails", ["offer", "ramp", "receive"])
def test_i10_a_fault_in_the_session_is_kept_to_its_connection(
    fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line().ready()

    def explode(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"stratum.session.Session.{fails}", explode)
    if fails == "offer":
        line.job(800_001)
    elif fails == "ramp":
        line.connection.guard(line.connection.session.__class__.ramp, line.ticks)
    else:
        line.connection.data_received(PING + PING)
    assert line.sink.closing
    assert line.counts.closed == {"error": 1}
