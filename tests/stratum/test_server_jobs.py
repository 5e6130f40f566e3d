"""What goes to all: jobs in slices, jobs to slow readers, fresh jobs for who ramps up, messages, a move."""

import asyncio

import pytest

from stratum.broadcast import SLICE, Broadcast
from stratum.connection import UNREAD_LIMIT
from stratum.server import STAY_SECONDS
from tests.stratum.fakes import TERMS, template
from tests.stratum.server_world import Peer, Run, World

CGMINER = "cgminer/4.12.1"


async def next_job(peer: Peer) -> tuple[int, bool]:
    """Number and cleanness of the next job."""
    while (message := await peer.read_past_blanks()).get("method") != "mining.notify":
        pass
    return int(message["params"][0], 16), message["params"][-1]


def newest(world: World) -> int:
    assert world.book.current is not None
    return world.book.current.number


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


# Slices


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratum.broadcast.SLICE", 2)


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("clean", [False, True])
def test_a_broadcast_in_slices_reaches_everybody_and_says_when_it_is_done(run: Run, clean: bool) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.ready() for _ in range(7)]
        for peer in peers:
            await next_job(peer)
        job, made_clean = world.book.add(template(800_000 + clean), TERMS)
        assert made_clean == clean
        done = asyncio.Event()
        world.server.broadcast(job, clean, done.set)
        assert not done.is_set()
        await asyncio.wait_for(done.wait(), 5)
        for connection in world.server.connections:
            assert connection._transport is not None
            assert connection._transport.get_write_buffer_size() == 0, "all of it is with the kernel"
        assert [await next_job(peer) for peer in peers] == [(job.number, clean)] * 7

    run(scenario)


@pytest.mark.usefixtures("small_slices")
def test_a_newer_job_replaces_a_broadcast_under_way_but_no_clean_one_is_lost(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.ready() for _ in range(7)]
        for peer in peers:
            await next_job(peer)
        told: list[str] = []
        for height, name in ((800_000, "left off"), (800_001, "clean"), (800_001, "newest")):
            job, clean = world.book.add(template(height), TERMS)
            world.server.broadcast(job, clean, lambda name=name: told.append(name))  # type: ignore[misc]
        await world.until(lambda: "newest" in told)
        assert told == ["clean", "newest"]
        for peer in peers:
            jobs = [await next_job(peer)]
            while jobs[-1][0] != newest(world):
                jobs.append(await next_job(peer))
            assert jobs[-2:] == [(newest(world) - 1, True), (newest(world), False)]
            assert jobs == sorted(jobs)

    run(scenario)


@pytest.mark.usefixtures("small_slices")
def test_who_comes_or_goes_during_a_broadcast(run: Run) -> None:
    async def scenario(world: World) -> None:
        gone, stays, comes = (
            [await world.ready() for _ in range(3)],
            await world.ready(),
            await world.connect(),
        )
        await next_job(stays)
        world.job(800_001)
        for peer in gone:
            peer.writer.transport.abort()
        await comes.work()
        assert await next_job(comes) == (newest(world), True)
        assert await next_job(stays) == (newest(world), True)
        world.job(800_001)
        for peer in (comes, stays):
            assert await next_job(peer) == (newest(world), False), "nothing came twice"

    run(scenario)


@pytest.mark.usefixtures("small_slices")
def test_a_stop_during_a_broadcast(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.ready() for _ in range(5)]
        world.job(800_001)
        await world.server.close()
        for peer in peers:
            await peer.rest()
        assert isinstance(world.server._broadcast, Broadcast)
        assert world.server._broadcast._next is None
        assert SLICE > 2

    run(scenario)


# Slow readers


def test_a_slow_reader_gets_the_newest_job_when_it_reads_and_others_do_not_wait(run: Run) -> None:
    async def scenario(world: World) -> None:
        slow, good = await world.ready(), await world.ready()
        await next_job(slow)
        await next_job(good)
        connection = world.served(slow)
        await world.fill_buffers(slow, 70_000)
        assert not connection.reading
        world.job(800_001)
        assert await next_job(good) == (newest(world), True)
        for _ in range(50):
            world.job(800_001)
            assert await next_job(good) == (newest(world), False)
        assert world.server.counts.jobs_skipped == 50
        slow.read_on()
        assert await next_job(slow) == (newest(world), True), "clean, as the first that it missed"
        world.job(800_001)
        assert await next_job(slow) == (newest(world), False)
        assert world.server.counts.closed == {}

    run(scenario)


def test_who_leaves_its_answers_unread_is_cut(run: Run) -> None:
    async def scenario(world: World) -> None:
        slow, good = await world.ready(), await world.ready()
        await world.fill_buffers(slow, UNREAD_LIMIT - 8192)
        for _ in range(100):
            slow.write(b'{"id":"' + b"i" * 200 + b'","method":"mining.ping"}\n')
        await world.until(lambda: len(world.server.connections) == 1)
        assert world.server.counts.closed == {"slow-reader": 1}
        assert (await good.call("mining.ping"))["result"] == "pong"

    run(scenario)


# Ramping up


def test_who_wants_another_difficulty_at_once_shares_a_fresh_job(run: Run) -> None:
    async def scenario(world: World) -> None:
        peers = [await world.ready() for _ in range(5)]
        for peer in peers:
            await next_job(peer)
        before = newest(world)
        for peer in peers[:4]:
            session = world.served(peer).session
            session._vardiff.suggest(-20)
            world.server.context.hasten(session)
            world.server.context.hasten(session)
        world.pass_time(1.1)
        for peer in peers[:4]:
            difficulty = await peer.read()
            assert (difficulty["method"], difficulty["params"]) == ("mining.set_difficulty", [2.0**-20])
            assert await next_job(peer) == (before + 1, False)
        assert newest(world) == before + 1
        assert (await peers[4].call("mining.ping"))["result"] == "pong"
        assert world.server._hasty == {}

    run(scenario)


def test_who_does_not_read_ramps_up_later_and_who_is_gone_not_at_all(run: Run) -> None:
    async def scenario(world: World) -> None:
        slow, gone = await world.ready(), await world.ready()
        await next_job(slow)
        connection = world.served(slow)
        sessions = [world.served(peer).session for peer in (slow, gone)]
        gone.writer.close()
        await world.until(lambda: len(world.server.connections) == 1)
        await world.fill_buffers(slow, 70_000)
        before = newest(world)
        for session in sessions:
            session._vardiff.suggest(-20)
            world.server.context.hasten(session)
        world.pass_time(1.1)
        assert list(world.server._hasty) == [connection.session]
        assert newest(world) == before
        slow.read_on()
        reads = asyncio.create_task(next_job(slow))
        await world.until(lambda: connection.reading)
        world.pass_time(1.1)
        assert await reads == (before + 1, False)

    run(scenario)


# Messages, and a move


def test_a_message_goes_to_screens_that_take_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        takes, other = await world.ready(agent=CGMINER), await world.ready()
        await next_job(takes)
        await next_job(other)
        await world.server.show_message("maintenance at noon")
        message = await takes.read()
        assert (message["method"], message["params"]) == ("client.show_message", ["maintenance at noon"])
        assert (await other.call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_accounts_are_reminded_of_what_they_should_know(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready(agent=CGMINER)
        await next_job(peer)
        world.gate.notices["alice"] = "the licence ends soon"
        await world.server.remind()
        assert (await peer.read())["params"] == ["the licence ends soon"]

    run(scenario)


def test_q11_a_drain_sends_miners_elsewhere_and_closes_those_that_stay(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratum.server.STAY_SECONDS", 0.2)

    async def scenario(world: World) -> None:
        peers = [await world.ready() for _ in range(6)]
        idle = await world.connect()
        await idle.call("mining.subscribe")
        for peer in peers:
            await next_job(peer)
        drain = asyncio.create_task(world.server.drain("b.pool.example", 3334, 0.3))
        for peer in peers:
            message = await peer.read()
            assert message["method"] == "client.reconnect"
            host, port, wait = message["params"]
            assert (host, port) == ("b.pool.example", 3334)
            assert 0 <= wait <= 10
        peers[0].writer.close()
        await drain
        for peer in peers[1:]:
            assert await peer.rest() == []
        assert await idle.rest() == [], "it had no work to be sent away with"
        assert world.server.counts.closed == {"drained": 6}
        assert STAY_SECONDS >= 30

    run(scenario)
