"""What the pool sends and when, over the socket: the target column of peers 1.2, and the profile of 3.7."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.conformance.firmware.bmminer import AntminerS21, Bmminer, StockAntminer
from tests.conformance.firmware.bosminer import Bosminer
from tests.conformance.firmware.cgminer import Cgminer
from tests.conformance.firmware.esp_miner import EspMiner
from tests.conformance.firmware.nerdminer import NerdMiner
from tests.conformance.firmware.whatsminer import Whatsminer
from tests.conformance.firmware.wire import Firmware
from tests.conformance.pool_world import EASY, MASK, PoolWorld, crowded

ASICS: Sequence[type[Firmware]] = (
    Cgminer,
    Bmminer,
    StockAntminer,
    AntminerS21,
    Bosminer,
    Whatsminer,
    EspMiner,
)

# 1.2 what the pool sends


async def test_a_difficulty_comes_only_directly_in_front_of_a_job(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    for number in range(12):
        await miner.ask("mining.suggest_difficulty", [2.0 ** (EASY + number % 4)])
        for _ in range(5):
            assert (await miner.mine())["result"] is True
        await pool.time_passes(5)
        if number % 5 == 4:
            pool.new_block()
        else:
            pool.publish()
        await miner.job()
    assert await miner.alive()
    methods = [message.get("method") for message in miner.heard]
    assert methods.count("mining.set_difficulty") > 5
    after = [later for earlier, later in pairwise(methods) if earlier == "mining.set_difficulty"]
    assert set(after) == {"mining.notify"}


@pytest.mark.parametrize("firmware", ASICS)
async def test_an_asic_sees_integers_from_1_up(real_pool: PoolWorld, firmware: type[Firmware]) -> None:
    miner = await real_pool.at_work(firmware)
    for wish in (0.001, 1.5, 100_000.75, 3):
        await miner.ask("mining.suggest_difficulty", [wish])
        real_pool.publish()
        await miner.job()
    told = [one["params"] for one in miner.heard if one.get("method") == "mining.set_difficulty"]
    assert told
    assert all(isinstance(number, int) and number >= 1 for (number,) in told)


async def test_a_version_mask_is_told_only_after_configure(pool: PoolWorld) -> None:
    silent, asking = await pool.at_work(Firmware), await pool.at_work(Bosminer)
    pool.publish()
    await silent.job()
    await asking.job()
    assert silent.mask == 0
    masks = [one["params"] for one in asking.heard if one.get("method") == "mining.set_version_mask"]
    assert masks in ([], [[f"{MASK:08x}"]])


@pytest.mark.parametrize("how", ["mining.extranonce.subscribe", "mining.configure"])
async def test_set_extranonce_goes_to_those_who_asked(pool: PoolWorld, how: str) -> None:
    asked, silent = await pool.at_work(Firmware), await pool.at_work(Firmware)
    params = [["subscribe-extranonce"], {}] if how == "mining.configure" else []
    assert (await asked.ask(how, params))["error"] is None
    for miner in (asked, silent):
        rival = await pool.miner(Firmware).connect()
        await rival.subscribe([rival.agent, miner.session_id])
        assert rival.extranonce1 == miner.extranonce1
    await pool.time_passes(2)
    await asked.job()
    assert "mining.set_extranonce" in [message.get("method") for message in asked.heard]
    assert (await asked.mine())["result"] is True
    assert "mining.set_extranonce" not in [one.get("method") for one in await silent.until_closed()]


@pytest.mark.parametrize(
    ("firmware", "takes"),
    [
        (Cgminer, True),
        (Bmminer, True),
        (Whatsminer, False),
        (NerdMiner, False),
        (EspMiner, False),
        (Bosminer, False),
    ],
)
async def test_messages_go_to_agents_that_show_them(
    pool: PoolWorld, firmware: type[Firmware], takes: bool
) -> None:
    miner = await pool.at_work(firmware)
    pool.session_of(miner).show_message("your licence ends in 7 days")
    assert await miner.alive()
    shown = [one["params"] for one in miner.heard if one.get("method") == "client.show_message"]
    assert shown == ([["your licence ends in 7 days"]] if takes else [])


async def test_a_licence_that_ends_soon_is_shown(pool: PoolWorld) -> None:
    pool.gate.notices["alice"] = "licence KZ-7 ends with 2026-12-31"
    miner = await pool.at_work(Cgminer)
    assert await miner.alive()
    shown = [one["params"] for one in miner.heard if one.get("method") == "client.show_message"]
    assert shown == [["licence KZ-7 ends with 2026-12-31"]]


async def test_nobody_is_pinged(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    for _ in range(20):
        await pool.time_passes(25)
        pool.publish()
        await miner.job()
    assert {one.get("method") for one in miner.heard} <= {None, "mining.notify", "mining.set_difficulty"}


async def test_15_seconds_to_authorise(pool: PoolWorld) -> None:
    working, idle = await pool.at_work(Firmware), await pool.miner(Firmware).connect()
    await idle.subscribe()
    await pool.time_passes(14)
    assert await idle.alive()
    await pool.time_passes(3)
    assert await idle.until_closed() == []
    assert await working.alive()


@pytest.mark.parametrize("firmware", [Firmware, StockAntminer])
async def test_a_machine_that_is_silent_for_its_class_time_is_ended(
    pool: PoolWorld, firmware: type[Firmware]
) -> None:
    miner = await pool.at_work(firmware)
    await pool.time_passes(890)
    assert await miner.alive()
    await pool.time_passes(910)
    await miner.until_closed()


# 3.7 the safe profile


async def test_the_safe_profile_as_every_model_sees_it(pool: PoolWorld) -> None:
    models: list[type[Firmware]] = [*ASICS, NerdMiner]
    miners = [await pool.at_work(firmware, f"alice.m{number}") for number, firmware in enumerate(models)]
    pool.publish()
    pool.new_block(**crowded(9000), version=0x3FFFFFFF)
    for miner in miners:
        repeated, fresh = await miner.job(), await miner.job()
        assert [repeated.clean, fresh.clean] == [False, True]
        assert len(miner.extranonce1) == 4
        assert any(miner.extranonce1)
        assert fresh.version & MASK == 0
        assert len(fresh.job_id) <= 8
        assert int(fresh.job_id, 16) > int(repeated.job_id, 16)
        assert len(fresh.coinbase(bytes(8))) <= 250
        assert len(fresh.branches) <= 14
        assert fresh.line_length < 4096
        assert (await miner.mine(fresh))["result"] is True
    assert len({miner.extranonce1 for miner in miners}) == len(miners)
