"""Connections on which nobody may work any more, over real sockets: told, refused, closed, no offence."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from stratum import server as module
from stratum.workers import DISMISS_SECONDS
from tests.stratum.fakes import NOW
from tests.stratum.server_world import Run, World

NOW_US = int(NOW * 1e6)


def review(world: World, seconds: float) -> None:
    """Let time pass, second by second, with the looks that the server takes meanwhile."""
    for _ in range(int(seconds * 10)):
        world.pass_time(0.1)


def test_o09_a_suspension_in_the_middle_of_work_is_told_and_ends_the_connection(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready(agent="cgminer/4.11")
        other = await world.ready("bob.s17")
        world.gate.refuse("alice.s17", "the licence is suspended")
        review(world, 4)
        told = [await peer.read() for _ in range(3)][-1]
        assert (told["method"], told["params"]) == ("client.show_message", ["the licence is suspended"])
        world.job(800_001)
        assert (await peer.read())["method"] == "mining.notify", "jobs go on, so that shares are refused"
        assert world.server.counts.closed == {}
        review(world, DISMISS_SECONDS[1] + 4)
        await peer.rest()
        assert world.server.counts.closed == {"licence": 1}
        assert world.server.bans() == []
        assert (await other.call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_o09_everybody_is_gone_within_sixty_seconds_and_not_all_together(run: Run) -> None:
    async def scenario(world: World) -> None:
        for _ in range(60):
            await world.ready()
        world.gate.spans["alice"] = (0, NOW_US + 500_000)
        world.gate.generation += 1
        left = [60]
        for _ in range(60):
            review(world, 1)
            left.append(60 - world.server.counts.closed["licence"])
        assert left[int(DISMISS_SECONDS[0])] == 60
        assert left[-2] == 0
        assert max(before - after for before, after in pairwise(left)) < 15
        await world.until(lambda: not world.server.connections)

    run(scenario)


def test_a_connection_with_an_account_that_may_work_stays(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready()
        await peer.call("mining.authorize", ["bob.s17"])
        world.gate.refuse("alice.s17", "suspended")
        review(world, 120)
        assert (await peer.call("mining.ping"))["result"] == "pong"
        assert world.server.counts.closed == {}

    run(scenario)


def test_a_suspended_farm_that_comes_back_is_told_why_and_never_banned(run: Run) -> None:
    """Its connections that stay without authorising are closed in time, and are no offence either."""

    async def scenario(world: World) -> None:
        world.gate.refuse("alice.s17", "suspended")
        for _ in range(60):
            peer = await world.connect()
            answer = await peer.call("mining.authorize", ["alice.s17"])
            assert answer["error"] == [24, "suspended", None]
        world.pass_time(16)
        world.server._to_sweep.clear()
        for _ in range(20):
            world.server._keep_up_at(world.ticks())
        await world.until(lambda: not world.server.connections)
        assert world.server.counts.closed == {"not-authorised": 60}
        assert world.server.bans() == []
        await world.ready("bob.s17")

    run(scenario, offences_burst=3)


def test_a_farm_of_strangers_is_banned_as_before(run: Run) -> None:
    async def scenario(world: World) -> None:
        for _ in range(5):
            peer = await world.connect()
            await peer.call("mining.authorize", ["eve"])
        world.pass_time(16)
        for _ in range(20):
            world.server._keep_up_at(world.ticks())
        await world.until(lambda: not world.server.connections)
        assert len(world.server.bans()) == 1

    run(scenario, offences_burst=3)


def test_i10_a_look_at_one_connection_that_fails_ends_that_one(run: Run) -> None:
    async def scenario(world: World) -> None:
        bad, good = await world.ready(), await world.ready("bob.s17")
        world.served(bad).session.workers.by_name["alice.s17"].valid_until_us = None  # type: ignore[assignment]
        review(world, 4)
        await bad.rest()
        assert world.server.counts.closed == {"error": 1}
        assert (await good.call("mining.ping"))["result"] == "pong"

    run(scenario)


def test_a_look_takes_only_so_many_workers_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A farm's proxies with thousands of names are looked at one after the other."""
    monkeypatch.setattr(module, "REVIEW_NAMES", 10)
    monkeypatch.setattr(module, "REVIEWS", 1)

    async def scenario(world: World) -> None:
        for _ in range(6):
            peer = await world.ready("alice.0")
            for number in range(1, 8):
                await peer.call("mining.authorize", [f"alice.{number}"])
        world.gate.spans["alice"] = (0, NOW_US)
        world.gate.generation += 1
        world.server._to_review.clear()
        for looked in (16, 32, 48):
            world.gate.looked.clear()
            world.pass_time(0.1)
            await asyncio.sleep(0)
            assert len(world.gate.looked) == 16, looked

    run(scenario)
