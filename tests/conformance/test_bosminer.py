"""Braiins OS and the Braiins market against the pool: Q-30 to Q-34."""

from __future__ import annotations

import pytest

from tests.conformance.firmware.bosminer import Bosminer, HashpowerProbe, MalformedBosminer
from tests.conformance.firmware.wire import code
from tests.conformance.pool_world import MASK, PoolWorld


@pytest.mark.parametrize("firmware", [Bosminer, MalformedBosminer])
async def test_q30_id_0_and_a_malformed_bit_count(pool: PoolWorld, firmware: type[Bosminer]) -> None:
    miner = await pool.at_work(firmware)
    assert miner.mask == MASK
    assert (await miner.mine(bits=0x1FFFE000))["result"] is True


@pytest.mark.parametrize("count", ["", "ff", -3, 99, None, [2], {}, True, 1.5])
async def test_q30_any_bit_count(pool: PoolWorld, count: object) -> None:
    class Odd(Bosminer):
        min_bit_count = count

    assert (await pool.at_work(Odd)).mask == MASK


@pytest.mark.parametrize(
    "agent",
    ["bosminer-plus-tuner 0.2.0-36c56a93", "BOSminer/0.2", "Antminer S19 (bosminer 22.08)", "x bosminer"],
)
async def test_q31_the_word_may_stand_anywhere(real_pool: PoolWorld, agent: str) -> None:
    miner = await real_pool.miner(Bosminer).connect()
    await miner.subscribe([agent])
    assert real_pool.session_of(miner).device.name == "bosminer"


async def test_q32_duplicates_do_not_close_the_line(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bosminer)
    share = miner.dig(miner.jobs[-1])
    assert (await miner.hand_in(share))["result"] is True
    requests = [miner.submit(share) for _ in range(200)]
    assert {code(await miner.answer(request)) for request in requests} == {22}
    assert (await miner.mine())["result"] is True
    assert len(pool.credited) == 2
    other = await pool.at_work(Bosminer)
    assert (await other.mine())["result"] is True, "nor is the address banned"


async def test_q33_reconnect_has_all_three_fields(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bosminer)
    pool.session_of(miner).reconnect("us.pool.example", 3334, 7)
    assert await miner.alive()
    assert miner.moved_to == ("us.pool.example", 3334, 7)


async def test_q34_the_market_probe_is_content(pool: PoolWorld) -> None:
    miner = await pool.at_work(HashpowerProbe)
    assert miner.extranonce2_size == 8
    assert (await miner.mine())["result"] is True
