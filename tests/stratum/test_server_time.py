"""Time-outs by the monotonic clock: who is ended, who is not, and that the wall clock ends nobody."""

import pytest

from stratum.broadcast import SLICE
from stratum.connection import LINGER_SECONDS
from stratum.device_class import ASIC_SILENCE, PROXY_SILENCE
from stratum.server import SWEEPS
from tests.stratum.server_world import LIMITS, Peer, Run, World

AUTHORISE = LIMITS.authorise_seconds


def test_half_a_line_and_silence(run: Run) -> None:
    async def scenario(world: World) -> None:
        good, half = await world.ready(), await world.connect()
        half.write(b'{"id":1,"method":"mining.sub')
        await world.until(lambda: any(one._partial for one in world.server.connections))
        world.pass_time(AUTHORISE - 0.5)
        assert len(world.server.connections) == 2
        world.pass_time(0.6)
        assert await half.rest() == []
        assert (await good.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {"not-authorised": 1}

    run(scenario)


def test_a_talker_who_never_authorises_is_ended_all_the_same(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        for _ in range(4):
            await peer.call("mining.subscribe")
            world.pass_time(AUTHORISE * 0.3)
        assert await peer.rest() == []

    run(scenario)


def test_a_machine_that_vanished_is_ended_and_one_that_speaks_is_not(run: Run) -> None:
    """A half-open connection: nothing comes any more, and no end either."""

    async def scenario(world: World) -> None:
        gone, speaking = await world.ready(), await world.ready()
        world.pass_time(ASIC_SILENCE - 1)
        await speaking.call("mining.ping")
        world.pass_time(2)
        assert "mining.notify" in [message.get("method") for message in await gone.rest()]
        assert (await speaking.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {"silent": 1}

    run(scenario)


def test_q72_q75_a_farm_proxy_may_be_silent_for_days(run: Run) -> None:
    async def scenario(world: World) -> None:
        proxy = await world.ready(agent="btccom-agent/2.0.0")
        world.pass_time(PROXY_SILENCE - 1)
        assert (await proxy.call("mining.ping"))["result"] == "pong"
        world.pass_time(PROXY_SILENCE + 1)
        await proxy.rest()
        assert world.server.counts.closed == {"silent": 1}

    run(scenario)


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0 * 365])
def test_a_step_of_the_wall_clock_ends_nobody(run: Run, step: float) -> None:
    async def scenario(world: World) -> None:
        working, stranger = await world.ready(), await world.connect()
        await stranger.call("mining.subscribe")
        world.now += step
        world.pass_time(AUTHORISE / 2)
        world.job(800_001)
        for peer in (working, stranger):
            assert (await peer.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {}

    run(scenario)


def test_an_ended_connection_that_does_not_read_its_answers_is_cut(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        await world.fill_buffers(peer)
        world.served(peer).end("test")
        world.pass_time(LINGER_SECONDS - 1)
        assert world.server.connections, "there is something left to be read"
        world.pass_time(2)
        await world.until(lambda: not world.server.connections)
        assert world.server.counts.closed == {"test": 1}

    run(scenario)


def test_every_connection_is_looked_at_within_a_second(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep takes a slice; ten of them are a round, however many connections there are."""
    monkeypatch.setattr("stratum.server.SLICE", 2)

    async def scenario(world: World) -> None:
        peers = [await world.ready() for _ in range(30)]
        world.ahead += ASIC_SILENCE + 1
        await peers[3].call("mining.ping")
        for _ in range(SWEEPS):
            world.server._keep_up_at(world.ticks())
        await world.until(lambda: len(world.server.connections) == 1)
        assert world.server.counts.closed == {"silent": 29}

    run(scenario)
    assert SLICE > 2


def test_a_fault_in_the_upkeep_does_not_end_it(run: Run) -> None:
    async def scenario(world: World) -> None:
        asked: list[float] = []

        def explode(ticks: float) -> None:
            asked.append(ticks)
            raise ZeroDivisionError

        world.server.context.subscriptions.expire = explode  # type: ignore[method-assign]
        await world.until(lambda: len(asked) > 1)
        assert (await (await world.ready()).call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_q06_a_subscription_waits_ten_minutes_for_its_miner(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.connect()
        session_id, extranonce1 = await _subscribe(peer, [])
        await peer.call("mining.authorize", ["alice.s17"])
        peer.writer.close()
        await world.until(lambda: not world.server.connections)
        world.pass_time(599)
        again = await world.connect()
        assert await _subscribe(again, ["firmware/1.0", session_id]) == (session_id, extranonce1)
        again.writer.close()
        await world.until(lambda: not world.server.connections)
        world.pass_time(601)
        assert world.extranonces._in_use == set()

    run(scenario)


async def _subscribe(peer: Peer, params: list[str]) -> tuple[str, str]:
    result = (await peer.call("mining.subscribe", params))["result"]
    return result[0][1][1], result[1]


def test_the_deadline_to_authorise_counts_from_the_gate_on(run: Run) -> None:
    """A miner that the server lets wait does not pay for it."""

    async def scenario(world: World) -> None:
        first, waiting = await world.connect(), await world.connect()
        await first.call("mining.ping")
        await world.until(lambda: world.server.waiting == 1)
        world.ahead += AUTHORISE - 1
        await waiting.call("mining.ping")
        world.pass_time(AUTHORISE - 1)
        assert (await waiting.call("mining.ping"))["result"] == "pong"
        assert await first.rest() == []

    run(scenario, accept_per_second=0.1)
