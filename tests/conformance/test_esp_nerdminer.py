"""Bitaxe, NerdQAxe, NerdMiner and mujina against the pool: Q-50 to Q-63."""

from __future__ import annotations

import asyncio
import json

import pytest
from structlog.typing import EventDict

from tests.conformance.firmware.esp_miner import EspMiner, NerdQAxe, reason_of
from tests.conformance.firmware.mujina import Mujina
from tests.conformance.firmware.nerdminer import KEEP_ALIVE_DIFFICULTY, NerdMiner
from tests.conformance.firmware.wire import Firmware, code
from tests.conformance.pool_world import EASY, MASK, NOW, PoolWorld, crowded


async def test_q50_three_requests_at_once_are_answered_in_order(pool: PoolWorld) -> None:
    miner = await pool.at_work(EspMiner)
    assert await miner.alive()
    answers = [message["id"] for message in miner.heard if "method" not in message]
    assert answers == [1, 2, 3, 4, 5, "are you there"]
    assert all(message["error"] is None for message in miner.heard if "method" not in message)
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize(
    "order", [("authorize", "subscribe", "configure"), ("authorize", "configure", "subscribe")]
)
async def test_q50_no_state_is_required_between_them(pool: PoolWorld, order: tuple[str, ...]) -> None:
    miner = await pool.miner(EspMiner).connect()
    params = {
        "configure": [["version-rolling"], {"version-rolling.mask": "ffffffff"}],
        "subscribe": [miner.agent],
        "authorize": [miner.user, "x"],
    }
    requests = {name: miner.call(f"mining.{name}", params[name]) for name in order}
    miner.mask = int((await miner.answer(requests["configure"]))["result"]["version-rolling.mask"], 16)
    await miner.answer(requests["subscribe"])
    assert (await miner.answer(requests["authorize"]))["result"] is True
    pool.publish()
    await miner.job()
    assert (await miner.mine(bits=0x2000))["result"] is True


async def test_q51_configure_grants_rolling_and_tells_the_mask(pool: PoolWorld) -> None:
    assert (await pool.at_work(EspMiner)).mask == MASK


@pytest.mark.parametrize("bits", [0x00002000, 0x10000000, 0x1FFFE000, 0])
async def test_q52_xor_or_and_replacing_agree(pool: PoolWorld, bits: int) -> None:
    miner = await pool.at_work(EspMiner)
    pool.publish(version=0x3FFFFFFF)
    work = await miner.job()
    version, field = miner.rolled(work, bits)
    assert field == f"{bits:08x}"
    assert version == work.version | bits == work.version ^ bits
    assert (await miner.mine(work, bits=bits))["result"] is True


async def test_q53_no_job_is_passed_over(pool: PoolWorld) -> None:
    miner = await pool.at_work(EspMiner)
    for round_ in range(6):
        await miner.ask("mining.suggest_difficulty", [2.0 ** (EASY + round_ % 3)])
        pool.publish()
        await miner.job()
    pool.new_block()
    await miner.job()
    assert miner.ignored == 0
    assert len({work.job_id for work in miner.jobs}) == len(miner.jobs)
    assert (await miner.mine())["result"] is True


async def test_q53_a_ramp_between_two_jobs_comes_with_a_job_of_its_own(pool: PoolWorld) -> None:
    """Sixteen shares at once: the pool does not wait for the next regular job, nor repeat an id."""

    class WithoutWish(EspMiner):
        suggestion = None

    miner = await pool.at_work(WithoutWish)
    first = miner.jobs[-1]
    for _ in range(16):
        assert (await miner.mine(first))["result"] is True
    await pool.time_passes(2)
    faster = await miner.job()
    assert faster.job_id != first.job_id
    assert not faster.clean
    assert faster.difficulty > first.difficulty
    assert [(await miner.mine(work))["result"] for work in (first, faster)] == [True, True]
    assert pool.refusals == []


async def test_q54_a_pong_by_method_is_swallowed(pool: PoolWorld) -> None:
    miner = await pool.at_work(EspMiner)
    assert await miner.alive()
    before = len(miner.heard)
    miner.hear("mining.ping", [], {"id": 42}, 0)
    assert await miner.alive()
    assert len(miner.heard) == before + 1
    assert (await miner.mine())["result"] is True


async def test_q55_esp_miner_can_say_why_a_share_was_refused(pool: PoolWorld) -> None:
    miner = await pool.at_work(EspMiner)
    share = miner.dig(miner.jobs[-1])
    assert (await miner.hand_in(share))["result"] is True
    answer = await miner.hand_in(share)
    assert answer == {"id": answer["id"], "result": None, "error": [22, reason_of(answer), None]}
    assert "duplicate" in reason_of(answer)


async def test_q56_a_storm_of_devices_is_let_in(pool: PoolWorld) -> None:
    """None is reset, none has to try again, and none waits for the patience of its firmware, 5 s."""
    miners = [pool.miner(EspMiner, f"alice.axe{number}") for number in range(300)]
    await asyncio.gather(*(miner.start() for miner in miners))
    assert len(pool.server.connections) == 300
    answers = await asyncio.gather(*(_first_share(miner) for miner in miners))
    assert answers == [True] * 300


async def _first_share(miner: EspMiner) -> bool:
    await miner.job()
    return (await miner.mine())["result"] is True


async def test_q57_nerdqaxe_and_its_carriage_returns(pool: PoolWorld) -> None:
    miner = await pool.at_work(NerdQAxe)
    assert miner.mask == MASK
    assert (await miner.mine(bits=0x4000))["result"] is True


async def test_q57_a_device_that_reconnects_each_10_seconds_is_let_in_again(pool: PoolWorld) -> None:
    miner = pool.miner(NerdQAxe)
    for _ in range(40):
        await miner.start()
        assert (await miner.mine(await miner.job()))["result"] is True
        miner.close()
        await pool.time_passes(10)
        miner = pool.miner(NerdQAxe)
    assert len(pool.credited) == 40


async def test_q58_the_first_line_is_the_subscription(pool: PoolWorld) -> None:
    miner = await pool.miner(NerdMiner).connect()
    pool.publish()
    pool.new_block()
    miner.call("mining.subscribe", [miner.agent])
    pool.publish()
    first = json.loads(await miner.line())
    assert first["result"][0][0][1]
    assert first["result"][2] == 8
    assert (await (await pool.at_work(NerdMiner)).mine())["result"] is True


@pytest.mark.parametrize("first", [0, 1, 0x10, 0xABC, 0x00FFFFF0])
async def test_q59_a_nonce_without_its_zeros(pool: PoolWorld, first: int) -> None:
    miner = await pool.at_work(NerdMiner)
    share = miner.dig(miner.jobs[-1], nonce=first)
    assert len(share.nonce) < 8
    assert (await miner.hand_in(share))["result"] is True
    assert (await miner.mine())["result"] is True, "the eight digits of another share"


async def test_q59_padding_does_not_make_a_new_share(pool: PoolWorld) -> None:
    miner = await pool.at_work(NerdMiner)
    share = miner.dig(miner.jobs[-1], nonce=1)
    assert (await miner.hand_in(share))["result"] is True
    padded = [miner.user, share.job_id, share.extranonce2, share.ntime, share.nonce.zfill(8)]
    assert code(await miner.ask("mining.submit", padded)) == 22


async def test_q60_everything_fits_into_a_nerdminer(pool: PoolWorld) -> None:
    miner = await pool.at_work(NerdMiner)
    pool.new_block(**crowded(9000), coinbase_value=21_000_000 * 100_000_000)
    work = await miner.job()
    assert len(work.coinbase(bytes(8))) <= 250
    assert work.line_length <= 4096
    share = miner.dig(work)
    assert share.extranonce2 == "0000000000000001"
    assert (await miner.hand_in(share))["result"] is True


async def test_q61_the_keep_alive_is_answered_and_changes_nothing(
    real_pool: PoolWorld, told: list[EventDict]
) -> None:
    miner = await real_pool.at_work(NerdMiner)
    for _ in range(20):
        await real_pool.time_passes(30)
        assert (await miner.answer(miner.keep_alive()))["result"] is True
        real_pool.publish()
        assert (await miner.job()).difficulty == 2.0**-13, "the step at or under the wish"
    assert told == []


async def test_q61_the_floor_of_the_class_holds(real_pool: PoolWorld) -> None:
    miner = await real_pool.at_work(Firmware)
    for _ in range(3):
        assert (await miner.ask("mining.suggest_difficulty", [KEEP_ALIVE_DIFFICULTY]))["result"] is True
        real_pool.publish()
        await miner.job()
    assert miner.difficulty >= 2.0**-13


@pytest.mark.parametrize("request_id", [None, 4, "suggest"])
async def test_q62_a_suggestion_with_and_without_an_id(pool: PoolWorld, request_id: object) -> None:
    miner = await pool.at_work(Mujina)
    answer = await miner.ask("mining.suggest_difficulty", [2.0 ** (EASY + 1)], request_id)
    assert answer == {"id": request_id, "result": True, "error": None}
    pool.publish()
    assert (await miner.mine(await miner.job(), bits=0x2000))["result"] is True


async def test_q63_seven_bits_of_ntime_are_search_space(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    work = miner.jobs[-1]
    first = miner.dig(work)
    assert (await miner.hand_in(first))["result"] is True
    for ahead in (1, 64, 127):
        assert (await miner.mine(work, ntime=work.ntime + ahead))["result"] is True


async def test_q63_ntime_is_part_of_what_makes_a_duplicate(pool: PoolWorld) -> None:
    """The same nonce at another time is another header."""
    miner = await pool.at_work(Firmware)
    work = miner.jobs[-1]
    nonce = 0x20000000
    for ahead in range(128):
        share = miner.dig(work, ntime=int(NOW) + ahead, nonce=nonce, wanted=lambda value: True)
        assert code(await miner.hand_in(share)) in (None, 23)
    assert len(pool.credited) > 10
