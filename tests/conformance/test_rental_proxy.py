"""NiceHash, MiningRigRentals and farm proxies against the pool: Q-70 to Q-75."""

from __future__ import annotations

import pytest

from tests.conformance.firmware.nicehash import NiceHash, SignedNiceHash
from tests.conformance.firmware.proxy import FarmProxy
from tests.conformance.firmware.rental import RigRental
from tests.conformance.firmware.wire import Firmware, GivesUp, code
from tests.conformance.pool_world import EASY, PoolWorld

DAY = 86_400.0


@pytest.mark.parametrize("firmware", [NiceHash, SignedNiceHash, RigRental])
async def test_q70_hashrate_of_unknown_origin_is_refused(pool: PoolWorld, firmware: type[Firmware]) -> None:
    with pytest.raises(GivesUp, match=r"\[24, '.*(rent|origin)"):
        await pool.miner(firmware).start()
    assert pool.credited == []


@pytest.mark.parametrize("firmware", [NiceHash, SignedNiceHash])
async def test_q70_nicehash_mines_where_rentals_are_let_in(
    rental_pool: PoolWorld, firmware: type[Firmware]
) -> None:
    miner = await rental_pool.at_work(firmware)
    assert (await miner.mine())["result"] is True


async def test_q71_nicehash_starts_at_half_a_million() -> None:
    world = PoolWorld(real=True, rental="accept")
    async with world.serving():
        miner = await world.at_work(NiceHash)
        assert miner.difficulty == 524_288
        assert miner.extranonce2_size >= 4
        assert len(miner.jobs[-1].coinbase(bytes(8))) <= 500


async def test_q72_job_ids_never_come_again(rental_pool: PoolWorld) -> None:
    miner = await rental_pool.at_work(NiceHash)
    for number in range(300):
        if number % 50:
            rental_pool.publish()
        else:
            rental_pool.new_block()
        await miner.job()
    ids = [int(work.job_id, 16) for work in miner.jobs]
    assert ids == sorted(set(ids))
    assert all(len(work.job_id) <= 8 for work in miner.jobs)


async def test_q72_an_idle_order_is_not_hung_up_on(rental_pool: PoolWorld) -> None:
    miner = await rental_pool.at_work(NiceHash)
    for _ in range(3):
        await rental_pool.time_passes(DAY)
        rental_pool.publish()
        await miner.job()
    assert (await miner.mine())["result"] is True


async def test_q73_a_new_extranonce_comes_with_a_job_of_a_new_id(rental_pool: PoolWorld) -> None:
    """Somebody has resumed its session: it must go on in another search space."""
    miner = await rental_pool.at_work(NiceHash)
    before, old = miner.extranonce1, miner.jobs[-1]
    rival = await rental_pool.miner(NiceHash).connect()
    await rival.subscribe([rival.agent, miner.session_id])
    assert rival.extranonce1 == before
    await rental_pool.time_passes(2)
    work = await miner.job()
    methods = [message.get("method") for message in miner.heard]
    at = methods.index("mining.set_extranonce")
    assert methods[at:] in (
        ["mining.set_extranonce", "mining.notify"],
        ["mining.set_extranonce", "mining.set_difficulty", "mining.notify"],
    )
    assert miner.extranonce1 != before
    assert work.job_id != old.job_id
    assert [(await miner.mine(one))["result"] for one in (work, old)] == [True, True]


async def test_q74_login_without_an_id(rental_pool: PoolWorld) -> None:
    miner = await rental_pool.at_work(RigRental)
    assert all(message["id"] is None for message in miner.heard)
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize("password", ["d=0.000000004", "x,d=0.000000004", "D=0.000000004;x", "x"])
async def test_q74_the_password_is_all_there_is_for_options(rental_pool: PoolWorld, password: str) -> None:
    miner = await rental_pool.at_work(RigRental, "alice.rig", password)
    assert miner.difficulty == 2.0 ** (EASY if password == "x" else -28)
    assert (await miner.mine())["result"] is True


async def test_q75_a_farm_behind_one_socket(pool: PoolWorld) -> None:
    proxy = await pool.at_work(FarmProxy)
    assert proxy.verdicts == [True] * proxy.machines
    work = proxy.jobs[-1]
    for number, user in enumerate(proxy.users[:20]):
        extranonce2 = number.to_bytes(2, "big") + bytes(6)
        answer = await proxy.hand_in(proxy.dig(work, extranonce2=extranonce2), user)
        assert answer["result"] is True
    assert [credit.username for credit in pool.credited] == proxy.users[:20]
    assert code(await proxy.hand_in(proxy.dig(work), "alice.m9999")) == 24


async def test_q75_a_farm_may_be_silent_for_days(pool: PoolWorld) -> None:
    proxy = await pool.at_work(FarmProxy)
    for _ in range(3):
        await pool.time_passes(DAY)
        pool.publish()
        await proxy.job()
    assert (await proxy.hand_in(proxy.dig(proxy.jobs[-1]), proxy.users[7]))["result"] is True
