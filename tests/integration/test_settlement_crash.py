"""The settler killed at every step: nothing is paid twice, nothing is lost, the journal balances.

The story is always the same and has every step in it: a run, a payment, a higher fee, a reorganisation that
takes it back, 100 blocks; a payout that is taken back. The settler dies at the step, before it or after it
is done, and another one goes on. At the end the chain is asked what each miner has received.

Invariants 3 and 5. At each step dies a process of its own, killed with SIGKILL; in the many random stories
it dies by an exception that nothing catches, which is quicker and forgets as much.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import settlement_desk as desk
from pool import settlement_store as store
from pool.settler import Settler
from tests.campaign import extent
from tests.integration.settlement_world import MATURE, SettlementWorld, settlement_world
from tests.integration.settler_process import PLACES, STEPS, Order, armed_with, look_once
from tests.integration.test_settlement import cold, signing_program

KILLED = -9
STORIES = extent(1, 60)
"""Random ones; each has some five deaths."""
KILLED_AT = extent(
    ("broadcast",),
    STEPS,
)
"""Where the processes die: a miss at one of these would pay twice, or never."""


class Killed(BaseException):
    """Nothing in the program catches it."""


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[SettlementWorld]:
    async with settlement_world(engine, coins=8) as made:
        yield made


class Story:
    """What is done to the pool, by settlers that may die; `look` is one look of one of them."""

    def __init__(self, world: SettlementWorld, look: Callable[..., Awaitable[bool]]) -> None:
        self.world = world
        self.look = look
        self.paid = {1: 0, 2: 0, 3: 0}

    async def tell(self) -> None:
        """One payout that is paid after all, and one that is taken back."""
        world = self.world
        await world.owe({1: 30_000_000, 2: 20_000_000})
        (payout_id,) = await self.until(self.live, run=True)
        await self.until(lambda: self.state(payout_id, "sent"))
        await self.look(bump=payout_id)
        await self.until(lambda: self.state(payout_id, "sent"))
        await world.mine(2)
        await self.until(lambda: self.state(payout_id, "confirmed"))
        await world.reorganise(2)
        await self.until(lambda: self.state(payout_id, "sent"))
        await world.mine()
        await self.until(lambda: self.state(payout_id, "confirmed"))
        self.paid = {1: self.paid[1] + 30_000_000, 2: self.paid[2] + 20_000_000, 3: self.paid[3]}
        await world.require_books_true(self.paid)
        await world.mine(MATURE - 1)
        await self.until(lambda: self.state(payout_id, "final"))

        await world.owe({3: 10_000_000})
        (taken_back,) = await self.until(self.live, run=True)
        await self.until(lambda: self.state(taken_back, "sent"))
        await self.until(lambda: self.cancelled(taken_back), abandon=taken_back)
        await self.until(lambda: self.empty_but_cancelled(taken_back))
        await world.mine(MATURE)
        await self.until(lambda: self.state(taken_back, "abandoned"))
        await world.require_books_true(self.paid)
        (again,) = await self.until(self.live, run=True)
        await self.until(lambda: self.state(again, "sent"))
        await world.mine(MATURE)
        await self.until(lambda: self.state(again, "final"))
        self.paid[3] += 10_000_000
        await world.require_books_true(self.paid)

    async def until(self, ready: Callable[[], Awaitable[object]], **orders: object) -> list[int]:
        """Let settlers look, and die, until something is so; a run is asked for again if none was made."""
        for _ in range(6):
            if found := await ready():
                return found if isinstance(found, list) else []
            await self.look(**orders)
        found = await ready()
        assert found, orders
        return found if isinstance(found, list) else []

    async def live(self) -> list[int]:
        async with self.world.engine.connect() as connection:
            return await store.live_ids(connection)

    async def state(self, payout_id: int, state: str) -> bool:
        return (await self.world.payout(payout_id)).state == state

    async def cancelled(self, payout_id: int) -> bool:
        return (await self.world.payout(payout_id)).cancelling

    async def empty_but_cancelled(self, payout_id: int) -> bool:
        payout = await self.world.payout(payout_id)
        mempool = await self.world.rpc("getrawmempool", wallet=None)
        return payout.newest is not None and mempool == [payout.newest.txid]


@pytest.mark.campaign
@pytest.mark.parametrize("step", KILLED_AT)
async def test_killed_at_a_step(world: SettlementWorld, tmp_path: Path, step: str) -> None:
    """I3, I5: SIGKILL before and after the step, in a process of its own."""
    deaths = {f"{place} {step}": 0 for place in PLACES}
    if step == "hand_out":
        await cold(world)
        world.settings |= {"signer": "command", "command": signing_program(world, tmp_path)}

    async def look(**orders: object) -> bool:
        die_at = min(deaths, key=lambda one: deaths[one])
        order = Order(
            database=world.engine.url.render_as_string(hide_password=False),
            node=world.process.url,
            address=world.address,
            now_us=world.now_us,
            settings=world.settings,
            die_at=die_at if deaths[die_at] < 2 else "",
            **orders,  # type: ignore[arg-type]
        )
        code = await asyncio.to_thread(process, order)
        deaths[die_at] += code == KILLED
        assert code in (0, KILLED)
        return code == 0

    await Story(world, look).tell()
    assert min(deaths.values()) >= 1, f"the story never came to {step}"


def process(order: Order) -> int:
    """A look in a process of its own, forked from one that has the program loaded; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.settler_process"])
    child = context.Process(target=look_once, args=(msgspec.json.encode(order),))
    child.start()
    child.join()
    return int(child.exitcode or 0)


@pytest.mark.campaign
async def test_random_stories_with_many_deaths(world: SettlementWorld) -> None:
    """I3, I5: each look dies at a random step, half of the time."""
    await random_stories(world, STORIES, random.Random(20261124))


async def random_stories(world: SettlementWorld, count: int, chance: random.Random) -> int:
    """Tell stories; how often a settler died."""
    died = 0

    async def look(run: bool = False, bump: int | None = None, abandon: int | None = None) -> bool:
        nonlocal died
        kind = Settler
        if chance.random() < 0.5:
            kind = armed_with(_die, chance.choice(PLACES), chance.choice(STEPS))
        settler = world.settler(kind)
        try:
            async with world.acting() as tenure:
                if run:
                    await settler.reserve(tenure, None, "tester", "a test")
                if bump:
                    await desk.bump(settler, tenure, bump, None, "tester", "a test")
                if abandon:
                    await desk.abandon(settler, tenure, abandon, "tester", "a test")
            await world.tick(settler)
        except Killed:
            died += 1
            return False
        return True

    story = Story(world, look)
    for _ in range(count):
        await story.tell()
        await world.fill(2)
    return died


def _die() -> None:
    raise Killed
