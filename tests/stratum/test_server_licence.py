"""Connections on which nobody may work any more, over real sockets: told, refused, closed, no offence."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
from structlog.typing import EventDict

from stratum import limits
from stratum import server as module
from stratum.connection import LINGER_SECONDS, Connection
from stratum.interfaces import Unit, Worker
from stratum.limits import AccountLimits
from stratum.server import SWEEP_SECONDS
from stratum.workers import DISMISS_SECONDS, Workers
from tests.stratum.fakes import NOW
from tests.stratum.server_world import Run, World

NOW_US = int(NOW * 1e6)
POLLING_SECONDS = 2.0
"""Until a gateway has heard of an act, at most."""
SLOW = 1.25
"""A busy gateway's sweeps come so many times later than they should."""


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


def test_a_farm_of_misnamed_machines_is_not_banned_and_a_flood_of_made_up_names_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reviewed: who knew an account was never banned, whatever names he made up."""
    monkeypatch.setattr(limits, "MISNAMED_BURST", 100)
    monkeypatch.setattr(limits, "MISNAMED_PER_SECOND", 0.0)

    async def scenario(world: World) -> None:
        world.gate.refused["alice.x"] = "no such unit"
        world.gate.misnamed.add("alice.x")

        async def flood(times: int) -> None:
            for _ in range(times):
                peer = await world.connect(
                    b'{"id":1,"method":"mining.authorize","params":["alice.x"]}\n' * 10
                )
                assert len(await peer.rest()) == 10

        await flood(10)
        assert world.server.bans() == []
        await flood(4)
        (ban,) = world.server.bans()
        assert ban.reason == "refused"

    run(scenario, offences_burst=3, offences_per_second=0.0)


def test_o09_the_log_tells_once_that_an_accounts_connections_end(run: Run, told: list[EventDict]) -> None:
    async def scenario(world: World) -> None:
        for name in ("alice.s17", "alice.s18", "bob.s17"):
            await world.ready(name)
            world.gate.refuse(name, "licence_suspended")
        review(world, DISMISS_SECONDS[1] + 10)
        assert world.server.counts.closed == {"licence": 3}
        dismissed = [(one["account"], one["reason"]) for one in told if one["event"] == "account_dismissed"]
        assert sorted(dismissed) == [("alice", "licence_suspended"), ("bob", "licence_suspended")]

    run(scenario)


def test_o07_who_leaves_the_register_and_works_on_is_shown_the_notice(run: Run) -> None:
    async def scenario(world: World) -> None:
        peer = await world.ready(agent="cgminer/4.11")
        (worker,) = world.served(peer).session.workers.by_name.values()
        worker.unit = Unit("A-1")
        world.gate.notices["alice"] = "s17 is no unit"
        world.gate.generation += 1
        review(world, 10)
        told = [await peer.read() for _ in range(3)]
        assert [one["params"] for one in told if one["method"] == "client.show_message"] == [
            ["s17 is no unit"]
        ]
        assert (await peer.call("mining.ping"))["result"] == "pong"
        assert world.gate.asked == ["alice.s17"] * 2, "noted once"

    run(scenario)


class Stub:
    """A connection of one name, as the server's rounds see it."""

    def __init__(self, world: World, accounts: AccountLimits) -> None:
        self.session: Any = self
        self.ended_at = self.swept_at = 0.0
        self._open = world.server._shared.open
        self._workers = Workers(world.gate, accounts)
        assert isinstance(self._workers.authorise("alice.s17", NOW, 0.0), Worker)
        self._open[self.session] = cast("Connection", self)

    def sweep(self, ticks: float) -> None:
        assert ticks - self.swept_at < 3
        self.swept_at = ticks

    def review(self, ticks: float) -> int:
        if self._workers.dismissal(NOW_US, ticks)[1]:
            self.ended_at = ticks
            self.leave()
        return self._workers.looked

    def leave(self) -> None:
        del self._open[self.session]


@pytest.mark.parametrize("leave", [0.0, 0.99])
def test_o09_a_large_gateway_has_sent_everybody_away_in_time(leave: float) -> None:
    """Reviewed: with 83,000 connections a round took over eight seconds, and minutes when most had left."""
    world = World()
    server = world.server
    accounts = AccountLimits(10**6, 1e6, 10**6)
    stubs = [Stub(world, accounts) for _ in range(83_000)]
    server._review(0.0)  # the round that has just begun has seen the first ones already
    world.gate.refuse("alice.s17", "suspended")
    left = False
    ticks = SWEEP_SECONDS
    while server._shared.open and ticks < 60:
        server._review(ticks)
        server._sweep(ticks)
        if ticks >= 5 and not left:
            left = True
            for stub in stubs[: int(len(stubs) * leave)]:
                stub.leave()
        ticks += SWEEP_SECONDS * SLOW
    assert not server._shared.open
    assert max(stub.ended_at for stub in stubs) + POLLING_SECONDS + LINGER_SECONDS + 1 < 60


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
        for _ in range(3):
            world.gate.looked.clear()
            world.pass_time(0.1)
            await asyncio.sleep(0)
            # Of two connections; the first name of any may be looked at besides, when its second is over.
            assert [world.gate.looked.count(f"alice.{number}") for number in range(1, 8)] == [2] * 7
            assert len(world.gate.looked) - 14 == world.gate.looked.count("alice.0") >= 2

    run(scenario)
