"""Antminers against the pool: Q-20 to Q-28."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from pool.config import StratumSection
from pool.work import JOB_SECONDS
from tests.conformance.firmware.bmminer import (
    AntminerD9,
    AntminerS21,
    Bmminer,
    BmminerBraiins,
    S21BehindRental,
    StockAntminer,
)
from tests.conformance.firmware.wire import Firmware, code
from tests.conformance.pool_world import EASY, MASK, PoolWorld, crowded


async def test_q20_multi_version_is_never_spoken_back(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bmminer)
    assert (await miner.mine())["result"] is True
    pool.new_block()
    assert (await miner.mine(await miner.job(), bits=0))["result"] is True
    assert not miner.multi_version
    answers = [message for message in miner.heard if message.get("error")]
    assert [answer["error"][0] for answer in answers] in ([], [-3])


@pytest.mark.parametrize("firmware", [Bmminer, StockAntminer, AntminerS21])
async def test_q21_the_coinbase_fits_every_antminer(pool: PoolWorld, firmware: type[Firmware]) -> None:
    miner = await pool.at_work(firmware)
    pool.new_block(**crowded(3000), coinbase_value=21_000_000 * 100_000_000)
    work = await miner.job()
    assert len(work.coinbase(bytes(8))) <= 250
    assert (await miner.mine(work))["result"] is True


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Antminer S21/Wed Nov 8 15:27:18 CST 2023", "antminer-s21"),
        ("Antminer S21 Pro/Mon Jun 3 2024", "antminer-s21"),
        ("Antminer S19/Sat Mar 7 2020", "antminer-s19"),
        ("Antminer S19k Pro/Tue Jan 2 11:42:31 CST 2024", "antminer-s19"),
        ("Antminer S19j Pro+/Fri 2022", "antminer-s19"),
        ("bmminer/2.0.0", "bmminer"),
        ("bmminer/2.0.0-s9", "bmminer"),
    ],
)
async def test_q22_the_class_is_told_from_the_agent(real_pool: PoolWorld, agent: str, name: str) -> None:
    miner = await real_pool.miner(StockAntminer).connect()
    await miner.subscribe([agent])
    session = real_pool.session_of(miner)
    assert session.device.name == name
    assert session.agreed.agent == agent, "with its slash, which tells S21 from S21 Pro"


async def test_q23_no_difficulty_changes_inside_a_job(pool: PoolWorld) -> None:
    """A machine 16 times too fast at first: every share counts, and after the ramp steps are rare."""
    miner = await pool.at_work(StockAntminer)
    loop = asyncio.get_running_loop()
    started, steps = loop.time(), list[float]()
    told = miner.difficulty
    for second in range(5, 900, 5):
        await pool.time_passes(5)
        if second % 25 == 0:
            pool.publish()
        for _ in range(_due(miner, second)):
            assert (await miner.mine())["result"] is True
        assert await miner.alive()
        if miner.difficulty != told:
            told = miner.difficulty
            steps.append(loop.time() - started)
    assert miner.changes_inside_a_job == 0
    assert told > 2.0**EASY
    settled = [step for step in steps if step > 120]
    assert all(later - earlier >= 60 for earlier, later in pairwise(settled)), steps
    assert pool.refusals == []


def _due(miner: Firmware, second: int) -> int:
    """Shares in five seconds of a machine that finds 16 times what is wished at the first difficulty."""
    hashes = 16.0 * 2.0**EASY
    rate = hashes / miner.difficulty
    return int(second / 5 * rate) - int((second / 5 - 1) * rate)


async def test_q24_a_sixth_field_without_configure(pool: PoolWorld) -> None:
    miner = await pool.at_work(S21BehindRental)
    assert (await miner.mine(bits=0x00004000))["result"] is True
    assert (await miner.mine(bits=0))["result"] is True
    assert code(await miner.mine(bits=0x00001000)) == 20


async def test_q25_a_d9_keeps_the_pool_and_its_work(pool: PoolWorld) -> None:
    miner = await pool.at_work(AntminerD9)
    work = miner.jobs[-1]
    for _ in range(10):
        await pool.time_passes(JOB_SECONDS)
        pool.publish()
        assert not (await miner.job()).clean
    assert (await miner.mine(work))["result"] is True, "old work of this height stays good"


async def test_q26_telemetry_is_declined_and_rolling_granted(pool: PoolWorld) -> None:
    miner = await pool.at_work(BmminerBraiins)
    assert miner.configured == {
        "version-rolling": True,
        "version-rolling.mask": f"{MASK:08x}",
        "sp-telemetry": False,
    }
    assert (await miner.mine(bits=0x00002000))["result"] is True


async def test_q27_xnsub_is_answered_at_once(pool: PoolWorld) -> None:
    class Xnsub(Bmminer):
        extranonce_subscribe = True

    miner = await pool.at_work(Xnsub)
    answers = [message for message in miner.heard if "method" not in message]
    assert answers[1] == {"id": 2, "result": True, "error": None}
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize(
    ("firmware", "least"), [(StockAntminer, 16384), (AntminerS21, 16384), (Bmminer, 4096), (Firmware, 16384)]
)
async def test_q28_a_rack_machine_starts_at_tens_of_thousands(
    real_pool: PoolWorld, firmware: type[Firmware], least: int
) -> None:
    assert StratumSection().policy.start == 14, "the world's policy is that of the configuration"
    miner = await real_pool.at_work(firmware)
    assert isinstance(miner.difficulty, int)
    assert least <= miner.difficulty <= 2**18
