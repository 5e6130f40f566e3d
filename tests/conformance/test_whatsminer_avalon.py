"""Whatsminer, Avalon, Apollo, ePIC and vnish against the pool: Q-40 to Q-49."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import islice

import pytest

from pool.gatekeeper import RegisterGatekeeper
from pool.sightings import Sightings
from register.gate import Gate
from tests.conformance.firmware.avalon import Avalon, AvalonNano, crc_of
from tests.conformance.firmware.bmminer import Bmminer
from tests.conformance.firmware.nerdminer import NerdMiner
from tests.conformance.firmware.whatsminer import Apollo, StrictWhatsminer, Whatsminer
from tests.conformance.firmware.wire import Firmware, GivesUp, code, words
from tests.conformance.pool_world import PoolWorld, crowded
from tests.register_world import RULES, register_of


@pytest.fixture
def registered(pool: PoolWorld) -> PoolWorld:
    """The pool with the real register in front: one licensed account, `altai`."""
    register = register_of("altai", units={"altai": ["w" * 57, "rack7-12", "rack7_12"]})
    sightings = Sightings(register, RULES)
    pool.server.context.gate = RegisterGatekeeper(Gate(register, RULES), Counter(), sightings, RULES)
    return pool


async def test_q40_whatsminer_with_its_ttl_and_without_a_password(pool: PoolWorld) -> None:
    miner = await pool.at_work(Whatsminer)
    assert (await miner.mine())["result"] is True
    extranonce1 = miner.extranonce1
    miner.close()
    await pool.until(lambda: not pool.server.connections)
    await miner.start()
    assert miner.extranonce1 == extranonce1, "its second field is the session id"
    assert (await miner.mine(await miner.job()))["result"] is True


async def test_q41_extranonce2_fits_a_whatsminer(pool: PoolWorld) -> None:
    assert (await pool.at_work(Whatsminer)).extranonce2_size == 8


async def test_q42_extranonce2_survives_the_submit_of_an_s9(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bmminer)
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize("firmware", [Avalon, NerdMiner, Whatsminer])
async def test_q43_a_name_at_the_limit_of_its_firmware_works(
    registered: PoolWorld, firmware: type[Firmware]
) -> None:
    name = "altai." + "w" * 57
    miner = await registered.at_work(firmware, name)
    assert (await miner.mine())["result"] is True
    assert registered.credited[-1].username == name


@pytest.mark.parametrize(
    ("firmware", "length"), [(Avalon, 63), (NerdMiner, 80), (Whatsminer, 127)], ids=["63", "80", "127"]
)
async def test_q43_a_name_that_was_cut_is_refused_and_told_so(
    registered: PoolWorld, firmware: type[Firmware], length: int
) -> None:
    """An account's name so long that nothing but its beginning arrives."""
    miner = registered.miner(firmware, ("altai-mining-" * 10)[:127])
    with suppress(GivesUp):
        await miner.start()
    (refusal,) = (message for message in miner.heard if message.get("error"))
    assert code(refusal) == 24
    assert f"cut the name at {length} characters" in words(refusal)


@pytest.mark.parametrize("name", ["altai%2Erack7-12", "altai.rack7%2D12", "altai%2erack7%5f12"])
async def test_q43_a_name_in_hex_codes_is_understood(registered: PoolWorld, name: str) -> None:
    miner = await registered.at_work(Whatsminer, name)
    assert (await miner.mine())["result"] is True
    assert registered.credited[-1].username == name


async def test_q44_a_whatsminer_never_sees_a_difficulty_below_1(real_pool: PoolWorld) -> None:
    miner = await real_pool.at_work(StrictWhatsminer)
    for wish in (0.0001, 0.5, 1e-30):
        assert (await miner.ask("mining.suggest_difficulty", [wish]))["result"] is True
        real_pool.publish()
        await miner.job()
    for _ in range(60):
        await real_pool.time_passes(60)
        assert await miner.alive()
        real_pool.publish()
        await miner.job()
    assert miner.difficulty >= 1


@pytest.mark.parametrize("count", [0, 1, 5000, 16000])
async def test_q45_avalon_at_a_full_block(pool: PoolWorld, count: int) -> None:
    miner = await pool.at_work(Avalon)
    pool.new_block(**crowded(count))
    work = await miner.job()
    assert len(work.branches) <= 14
    for _ in range(3):
        share = miner.dig(work)
        assert share.extranonce2.endswith("00000000")
        assert (await miner.hand_in(share))["result"] is True


async def test_q46_results_find_their_job_by_16_bits_of_its_id(pool: PoolWorld) -> None:
    miner = await pool.at_work(Avalon)
    for _ in range(40):
        pool.publish()
        await miner.job()
        for work in miner.loaded:
            share = miner.dig(work)
            assert miner.result(share) == share
    assert (await miner.hand_in(miner.result(miner.dig(miner.loaded[0]))))["result"] is True
    ids = [work.job_id for work in miner.jobs]
    assert max(map(len, ids)) <= 8
    assert len({crc_of(one) for one in ids}) == len(ids)


async def test_q46_ids_stay_distinct_over_a_day() -> None:
    """Job ids count up in hex, as a miner at this pool sees them; no three neighbours share a CRC."""
    crcs = [crc_of(f"{number:x}") for number in range(0x1000, 0x1000 + 20_000)]
    neighbours = zip(crcs, islice(crcs, 1, None), islice(crcs, 2, None), strict=False)
    assert all(len(set(three)) == 3 for three in neighbours)


async def test_q47_the_coinbase_has_one_or_two_outputs(pool: PoolWorld) -> None:
    miner = await pool.at_work(AvalonNano)
    pool.new_block(witness_commitment=b"")
    bare = await miner.job()
    assert [bare.coinbase2[4], miner.jobs[0].coinbase2[4]] == [1, 2]
    assert (await miner.mine(bare))["result"] is True


async def test_q48_extranonce1_fits_an_apollo(pool: PoolWorld) -> None:
    miner = await pool.at_work(Apollo)
    assert len(miner.extranonce1) == 4
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize(("agent", "name"), [("PowerPlay-BM/1.9", "epic"), ("xminer-1.2.6", "vnish")])
async def test_q49_epic_and_vnish_get_the_same_small_coinbase(pool: PoolWorld, agent: str, name: str) -> None:
    miner = await pool.miner(Firmware).connect()
    await miner.subscribe([agent])
    await miner.authorize()
    assert pool.session_of(miner).device.name == name
    assert len((await miner.job()).coinbase(bytes(8))) <= 250
    assert (await miner.mine())["result"] is True
