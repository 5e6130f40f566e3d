"""The ledger killed at every step: no share is lost or counted twice, no step of a block booked twice.

The story has every step in it: batches with shares and refusals, blocks that are found, submitted, confirmed,
mature, left by the chain and brought back. A ledger takes turns in processes of its own; each turn may die at
a named step, the first time that it is there or a later one. In the end everything is counted from the raw
records a second time. Invariants 1, 3 and 4.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections import Counter

import msgspec
import pytest

from pool.records import Share, Submitted
from tests.campaign import extent
from tests.integration.ledger_process import PLACES, STEPS, Turn, take_turn
from tests.integration.ledger_world import EASY, NETWORK, World, block_hash
from tests.integration.recount import recount

KILLED = -9
KILLED_AT = extent(
    ("book",),
    tuple(STEPS),
)
LONGEST = 12
"""Turns until a story has to have got through."""


def run(order: Turn) -> int:
    """A turn in a process of its own, forked from one that has the program loaded; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.ledger_process"])
    child = context.Process(target=take_turn, args=(msgspec.json.encode(order),))
    child.start()
    child.join()
    return int(child.exitcode or 0)


def proven(world: World, miner_id: int, worker: str = "a", *, target: bytes = EASY) -> Share:
    """A share whose header is the work that it claims."""
    while True:
        share = world.share(miner_id, worker, target=target)
        if bytes.fromhex(block_hash(share.header)) <= target:
            return share


class Deaths:
    """A ledger that dies where it is told, until it is spared; counts how often it did."""

    def __init__(self, world: World, chance: random.Random, steps: list[str]) -> None:
        self.world = world
        self.chance = chance
        self.steps = steps
        self.died: Counter[str] = Counter()

    async def work(self) -> None:
        """Turns until one of them lives to its end."""
        for number in range(LONGEST):
            step = f"{self.chance.choice(PLACES)} {self.chance.choice(self.steps)}"
            order = Turn(
                database=self.world.engine.url.render_as_string(hide_password=False),
                main=self.world.node.main,
                aside=sorted(self.world.node.aside),
                now_us=self.world.now_us,
                die_at=step if number < 2 else "",
                spare=self.chance.choice((0, 0, 0, 1)),
            )
            code = await asyncio.to_thread(run, order)
            assert code in (0, KILLED)
            if code == 0 and not order.die_at:
                return
            self.died[step] += code == KILLED


async def story(world: World, deaths: Deaths) -> None:
    """A few blocks and what becomes of them."""
    for height in range(1, 4):
        solved = proven(world, 1 + height % 3, target=NETWORK)
        found = world.found(solved, height=len(world.node.main))
        crowd = [proven(world, deaths.chance.randint(1, 3), deaths.chance.choice("ab")) for _ in range(5)]
        await world.tell(*crowd, world.reject(2), solved, found, proven(world, 3))
        await world.tell(Submitted(world.now_us, found.block_hash, "node a"), proven(world, 1))
        await deaths.work()
        world.node.main.append(found.block_hash)
        world.now_us += 1_000_000
    await deaths.work()
    kept = list(world.node.main)
    world.node.reorganise(len(kept) - 1)
    world.now_us += 1_000_000
    await deaths.work()
    world.node.aside.update(world.node.main)
    world.node.main = kept
    world.node.grow(100)
    world.now_us += 1_000_000
    await deaths.work()


async def require_exact(world: World) -> None:
    """Everything once: counted anew from the records."""
    counted = await recount(world.engine, 150, 2)
    shares = [record for batch in world.told for record in batch if isinstance(record, Share)]
    assert sorted(share.header for share in counted.shares) == sorted(share.header for share in shares)
    assert await world.rows("SELECT sum(shares)::int, count(*)::int = max(position) FROM slice") == [
        (len(shares), True)
    ]
    for table in ("miner_day", "slice"):
        assert await world.rows(f"SELECT sum(shares)::int FROM {table}") == [(len(shares),)]
    assert await world.rows(
        "SELECT (SELECT sum(count) FROM reject) = (SELECT sum(count) FROM reject_day)"
    ) == [(True,)]
    parts = await world.rows("SELECT hash, miner_id, amount_sat FROM split")
    splits: dict[str, dict[int, int]] = {}
    for block, miner_id, amount in parts:
        splits.setdefault(str(block), {})[int(str(miner_id))] = int(str(amount))
    assert splits == {block: amounts for block, (_, amounts) in counted.splits.items()}
    assert set((await world.states()).values()) == {"mature"}
    rewards = sum(found.reward_sat for found in counted.founds.values())
    owed: Counter[str] = Counter({"asset:coinbase:mature": rewards})
    for commission, amounts in counted.splits.values():
        owed["pool:commission:earned"] -= commission
        for miner_id, amount in amounts.items():
            owed[f"miner:{miner_id}:payable"] -= amount
    assert await world.balances() == dict(owed)
    kept = await world.rows("SELECT account, sum(debit - credit)::bigint FROM account_day GROUP BY account")
    assert {account: amount for account, amount in kept if amount} == dict(owed)


@pytest.mark.campaign
@pytest.mark.parametrize("step", KILLED_AT)
async def test_i1_i3_i4_the_ledger_is_killed_at_a_step(world: World, step: str) -> None:
    deaths = Deaths(world, random.Random(f"{step} 20261129"), [step])
    await story(world, deaths)
    await require_exact(world)
    assert deaths.died.total() >= 2, f"the story came too seldom to {step}"


@pytest.mark.campaign
async def test_i1_i3_i4_many_deaths_at_random_steps(world: World) -> None:
    deaths = Deaths(world, random.Random(5), list(STEPS))
    for _ in range(extent(1, 40)):
        await story(world, deaths)
    await require_exact(world)
