"""Everything at once for 200 machines: difficulty changes, new blocks, broken connections, keep-alive jobs.

A real `dmpool run` with its embedded chain, spool and ledger. The machines differ in hashrate by three
decades and in what their firmware does when a new job comes; they hash, break off, come back, and submit
again what was not answered. Not one share may be refused but as stale after a new block, or as a duplicate of
itself, resubmitted; what was acknowledged is in the ledger once, at the difficulty of its job (I1).

Blocks come when the test wants one: a machine that solves a block keeps it unless one is due.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.campaign import extent
from tests.integration.pool_process import PoolProcess
from tests.integration.recount import recount
from tests.integration.stratum_client import (
    DIFFICULTY_1_TARGET,
    Farm,
    Firmware,
    Machine,
    Refusal,
    Share,
    at_work,
)
from tests.integration.test_faults import drained
from tests.integration.test_river import COMMISSION_BPS, MINERS, until

MACHINES = 200
SLOWEST, FASTEST = 50.0, 50_000.0
"""Hashes per second."""
ROUNDS = extent(1, 30)
STORMY_SECONDS = 22.0
"""How long blocks come in each half of a round; a spell without one, for a keep-alive job, is between."""
BLOCK_SECONDS = 2.5
START = 2.0**-19
BLOCK_TARGET = (int(DIFFICULTY_1_TARGET / START)) // 30
"""What the embedded chain asks of a block."""
AWAY_SECONDS = 5.0
STALE, DUPLICATE = 21, 22


@pytest.mark.alone
@pytest.mark.campaign
@pytest.mark.timeout(3600)
async def test_no_honest_share_is_refused_but_as_stale(
    database_url: str, engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1, Q-06, Q-08: 200 machines while difficulty, blocks, connections and jobs change together."""
    monkeypatch.setenv("DMPOOL_STRATUM__MIN_DIFFICULTY", repr(2.0**-32))
    monkeypatch.setenv("DMPOOL_STRATUM__SHARES_PER_MINUTE", "120")
    luck = random.Random(MACHINES)
    pool = PoolProcess(tmp_path, database_url, start_difficulty=START)
    for name, number in MINERS.items():
        pool.add_miner(name, number)
    pool.start()
    try:
        farm = Farm("127.0.0.1", pool.stratum_port, BLOCK_TARGET)
        machines = [_machine(farm, number, luck) for number in range(MACHINES)]
        async with at_work(machines):
            async with _troubled(machines, luck):
                for _ in range(ROUNDS):
                    await _blocks(farm)
                    await _keep_alive(farm)
                    await _blocks(farm)
            await until(lambda: _all(machines, lambda machine: machine.working), "every machine back at work")
        await until(lambda: _all(machines, lambda machine: not machine.unanswered), "every share answered")
        await drained(engine, pool)
        _assert_refusals_are_just(farm, machines)
        _assert_everything_happened(farm, machines)
        await _assert_ledger_agrees(engine, pool, machines)
    finally:
        assert pool.stop() == 0, pool.log


def _machine(farm: Farm, number: int, luck: random.Random) -> Machine:
    account = list(MINERS)[number % len(MINERS)]
    hashrate = SLOWEST * (FASTEST / SLOWEST) ** (number / (MACHINES - 1))
    return Machine(farm, f"{account}.rig{number}", hashrate, luck.choice(list(Firmware)))


@asynccontextmanager
async def _troubled(machines: list[Machine], luck: random.Random) -> AsyncIterator[None]:
    """Machines lose their connection, and change their hashrate, at random moments."""
    tasks = [asyncio.create_task(_trouble(machine, random.Random(luck.random()))) for machine in machines]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for machine in machines:
        machine.on_submit = None
        if not machine.working:
            await machine.connect()


async def _trouble(machine: Machine, luck: random.Random) -> None:
    rated = machine.hashrate
    while True:
        await asyncio.sleep(luck.expovariate(1 / 12.0))
        if luck.random() < 0.35:
            machine.hashrate = rated * luck.choice((0.1, 0.3, 1.0, 1.0))
        elif luck.random() < 0.5:
            await _cut_behind_a_share(machine, luck)
        else:
            await _cut(machine, luck)


async def _cut_behind_a_share(machine: Machine, luck: random.Random) -> None:
    """The connection breaks when a share is on its way; half the time it is one of an earlier difficulty."""
    written = asyncio.Event()
    late = luck.random() < 0.5
    transports: list[asyncio.Transport | None] = []

    def forget(share: Share) -> None:
        newest = machine.newest
        if newest is not None and late <= (share.work.target != newest.target):
            machine.on_submit = None
            share.outlived = late
            transports.append(machine.disconnect())
            written.set()

    machine.on_submit = forget
    try:
        async with asyncio.timeout(15.0):
            await written.wait()
    except TimeoutError:
        machine.on_submit = None
        return
    await _come_back(machine, transports[0], luck)


async def _cut(machine: Machine, luck: random.Random) -> None:
    await _come_back(machine, machine.disconnect(), luck)


async def _come_back(machine: Machine, transport: asyncio.Transport | None, luck: random.Random) -> None:
    """Close, reset, or leave the old connection open as a lost network does; then connect again."""
    how = luck.randrange(3)
    if transport is not None and how == 0:
        transport.close()
    elif transport is not None and how == 1:
        transport.abort()
    await asyncio.sleep(luck.choice((0.0, luck.uniform(0.0, AWAY_SECONDS))))
    await machine.connect()


async def _blocks(farm: Farm) -> None:
    """A new block every few seconds, for a while."""
    for _ in range(int(STORMY_SECONDS / BLOCK_SECONDS)):
        known = len(farm.tips)
        farm.block_wanted = True
        await until(lambda known=known: _true(len(farm.tips) > known), "a new block")  # type: ignore[misc]
        await asyncio.sleep(BLOCK_SECONDS)


async def _keep_alive(farm: Farm) -> None:
    """Without a block, every machine gets a job that is not clean before half a minute has passed."""
    farm.heard.clear()
    await until(lambda: _true(max(farm.heard.values(), default=0) > MACHINES // 2), "a keep-alive job", 45.0)


async def _true(value: bool) -> bool:
    return value


async def _all(machines: list[Machine], condition: Callable[[Machine], bool]) -> bool:
    return all(map(condition, machines))


def _assert_refusals_are_just(farm: Farm, machines: list[Machine]) -> None:
    assert not farm.broken, farm.broken[:10]
    for machine in machines:
        unjust = [refusal for refusal in machine.refused if not _just(farm, refusal)]
        assert not unjust, (machine.username, machine.firmware, unjust[:3])


def _just(farm: Farm, refusal: Refusal) -> bool:
    """Stale after a new block, of which the machine knew or was told next; or a duplicate, resubmitted.

    A job is found as long as its height is one of the last two.
    """
    share = refusal.share
    age = farm.tips.get(refusal.tip, -1) - farm.tips[share.work.tip]
    if refusal.code == STALE:
        return age >= (2 if "not found" in refusal.text else 1)
    return refusal.code == DUPLICATE and share.resubmitted


def _assert_everything_happened(farm: Farm, machines: list[Machine]) -> None:
    """None of the rest means anything if nothing happened."""
    accepted = [len(machine.accepted) for machine in machines]
    changes = [len(machine.difficulties) - 1 for machine in machines]
    refused = [refusal for machine in machines for refusal in machine.refused]
    answered = [share for machine in machines for share in machine.accepted]
    answered += [refusal.share for refusal in refused]
    outlived = sum(share.outlived for share in answered)
    print(f"{sum(accepted)} shares accepted, {len(farm.tips)} tips, {sum(changes)} changes of difficulty")
    print(f"{sum(machine.resumes for machine in machines)} resumes, {outlived} behind an outlived share")
    for code in (STALE, DUPLICATE):
        print(f"{sum(refusal.code == code for refusal in refused)} refused with {code}")
    assert min(accepted) > 0
    assert sum(accepted) > 20 * MACHINES * ROUNDS
    assert sum(count >= 2 for count in changes) > MACHINES // 2
    assert len(farm.tips) >= 2 * ROUNDS * int(STORMY_SECONDS / BLOCK_SECONDS)
    assert sum(machine.resumes for machine in machines) > MACHINES * ROUNDS
    assert sum(bool(machine.resumes) for machine in machines) > MACHINES * 0.8
    assert outlived >= 3
    assert sum(refusal.code == STALE for refusal in refused) >= 20
    assert sum(refusal.code == DUPLICATE for refusal in refused) >= 20
    told = {difficulty for machine in machines for difficulty in machine.difficulties}
    assert math.log2(max(told) / min(told)) >= 9


async def _assert_ledger_agrees(engine: AsyncEngine, pool: PoolProcess, machines: list[Machine]) -> None:
    """I1: what was acknowledged is in the ledger once, at its job's difficulty.

    Beside it is what was recorded while the answer was lost: resubmitted, such a share was a duplicate, or
    stale if a block came between.
    """
    counted = await recount(engine, COMMISSION_BPS, pool.pplns_window)
    held = dict(zip(counted.hashes, counted.shares, strict=True))
    acknowledged = {share.hash: (share, machine) for machine in machines for share in machine.accepted}
    assert len(acknowledged) == sum(len(machine.accepted) for machine in machines), "acknowledged twice"
    refused = [refusal for machine in machines for refusal in machine.refused]
    duplicates = {refusal.share.hash for refusal in refused if refusal.code == DUPLICATE}
    resubmitted = {refusal.share.hash for refusal in refused if refusal.share.resubmitted}
    assert not acknowledged.keys() - held.keys()
    assert not duplicates - held.keys()
    assert held.keys() - acknowledged.keys() <= resubmitted
    for share_hash, (share, machine) in acknowledged.items():
        record = held[share_hash]
        assert int.from_bytes(record.target, "big") == share.work.target
        assert record.job == int(share.work.job_id, 16)
        assert record.worker == machine.username.partition(".")[2]
        assert record.header == share.header
