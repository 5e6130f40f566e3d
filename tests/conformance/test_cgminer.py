"""cgminer and bfgminer against the pool: Q-01 to Q-15."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pool.work import JOB_SECONDS
from tests.conformance.firmware.bfgminer import Bfgminer, branches_of
from tests.conformance.firmware.cgminer import BitmainTable, Cgminer, CgminerOnRetry
from tests.conformance.firmware.wire import Firmware, GivesUp, Work, code, words
from tests.conformance.pool_world import EASY, MASK, PoolWorld, crowded


async def test_q01_cgminer_takes_the_first_line_as_the_answer_to_configure(pool: PoolWorld) -> None:
    miner = await pool.miner(Cgminer).connect()
    pool.publish()
    pool.new_block()
    await miner.configure()
    pool.publish()
    await miner.handshake()
    assert not [message for message in miner.heard[:1] if "method" in message]
    assert (await miner.mine(await miner.job()))["result"] is True


@pytest.mark.parametrize(
    "wish", ["ffffffff", "1fffe000", "00002000", "0x1fffe000", "FFFFFFFF", "zz", 7, None]
)
async def test_q02_cgminer_gets_version_rolling_with_a_mask(pool: PoolWorld, wish: Any) -> None:
    miner = await pool.at_work(Cgminer)
    assert miner.mask == MASK
    again = await miner.ask("mining.configure", [["version-rolling"], {"version-rolling.mask": wish}])
    assert again["result"]["version-rolling"] is True
    assert int(again["result"]["version-rolling.mask"], 16) & ~MASK == 0
    assert int(again["result"]["version-rolling.mask"], 16) != 0


@pytest.mark.parametrize(
    "params",
    [
        [["version-rolling"], {"version-rolling.mask": "ffffffff"}],
        [["version-rolling"]],
        [["version-rolling"], None],
        [["version-rolling"], []],
        [["no-such-extension"], {}],
        [[], {}],
        [[]],
        [],
        None,
        [None, None],
        ["version-rolling"],
        {"version-rolling": True},
        [[["version-rolling"]], {}],
    ],
    ids=str,
)
async def test_q03_configure_is_always_answered(pool: PoolWorld, params: Any) -> None:
    miner = await pool.miner(Cgminer).connect()
    answer = await miner.ask("mining.configure", params)
    assert answer["error"] is None or answer["error"][0] == 20
    await miner.configure()


@pytest.mark.parametrize(
    "params",
    [
        [],
        None,
        ["cgminer/4.13.1"],
        ["cgminer/4.13.1", "0010000100112233aabbccdd"],
        ["cgminer/4.13.1", None],
        ["cgminer/4.13.1", None, "pool.example", 3333],
        [None, None],
        ["cgminer/4.13.1", "x" * 500, "pool.example", 3333, "more"],
    ],
    ids=str,
)
async def test_q04_subscribe_takes_any_number_of_fields(pool: PoolWorld, params: Any) -> None:
    miner = await pool.miner(Cgminer).connect()
    await miner.subscribe(params)
    await miner.authorize()
    assert (await miner.mine(await miner.job()))["result"] is True


async def test_q04_cgminer_retries_with_no_field_at_all(pool: PoolWorld) -> None:
    miner = await pool.at_work(CgminerOnRetry)
    assert (await miner.mine())["result"] is True


async def test_q05_nonce1_is_hex_and_nonce2_has_8_bytes(pool: PoolWorld) -> None:
    miner = await pool.at_work(Cgminer)
    assert len(miner.extranonce1) == 4
    assert any(miner.extranonce1)
    assert miner.extranonce2_size == 8


async def test_q05_the_answer_to_subscribe_comes_when_the_pool_is_busy(pool: PoolWorld) -> None:
    miner = await pool.miner(Cgminer).connect()
    request = miner.call("mining.subscribe", [miner.agent])
    for _ in range(5):
        pool.new_block()
    assert (await miner.answer(request))["error"] is None
    assert miner.extranonce2_size == 8


async def test_q06_cgminer_resumes_and_its_stored_shares_count(pool: PoolWorld) -> None:
    miner = await pool.at_work(Cgminer)
    extranonce1, session_id = miner.extranonce1, miner.session_id
    known, in_flight, unsent = (miner.dig(miner.jobs[-1]) for _ in range(3))
    assert (await miner.hand_in(known))["result"] is True
    pool.ledger.held = True
    miner.submit(in_flight)
    await pool.until(lambda: len(pool.credited) == 2)
    miner.stored = [in_flight, unsent]
    miner.close()
    await pool.until(lambda: not pool.server.connections)
    await pool.time_passes(110)
    pool.ledger.sync()

    await miner.again()
    assert (miner.extranonce1, miner.session_id) == (extranonce1, session_id)
    answers = [await miner.answer(request) for request in miner.resubmit()]
    assert [(answer["result"], code(answer)) for answer in answers] == [(None, 22), (True, None)]
    assert len(pool.credited) == 3
    assert (await miner.mine(await miner.job()))["result"] is True, "no ban for duplicates"


async def test_q06_a_resume_while_the_old_line_looks_alive(pool: PoolWorld) -> None:
    """The router lost the old connection; the pool has not heard of it."""
    old = await pool.at_work(Cgminer)
    share = old.dig(old.jobs[-1])
    new = pool.miner(Cgminer)
    new.session_id, new.stored = old.session_id, [share]
    await new.start()
    assert new.extranonce1 == old.extranonce1
    assert (await new.answer(new.resubmit()[0]))["result"] is True
    await old.until_closed()
    assert (await new.mine(await new.job()))["result"] is True


async def test_q06_an_unknown_session_id_is_a_new_session(pool: PoolWorld) -> None:
    miner = pool.miner(Cgminer)
    miner.session_id = "00100001" + "0" * 16
    await miner.start()
    assert miner.session_id != "00100001" + "0" * 16
    assert (await miner.mine(await miner.job()))["result"] is True


async def test_q07_a_notify_comes_before_cgminer_loses_patience(pool: PoolWorld) -> None:
    """The gateway repeats its job when JOB_SECONDS have gone by without another."""
    assert JOB_SECONDS <= 30
    miner = await pool.at_work(Cgminer)
    ids = {miner.jobs[-1].job_id}
    for _ in range(8):
        await pool.time_passes(JOB_SECONDS)
        pool.publish()
        work = await miner.job()
        assert not work.clean
        assert work.job_id not in ids
        ids.add(work.job_id)
    assert (await miner.mine())["result"] is True


async def test_q08_a_new_difficulty_comes_with_a_job_and_old_jobs_keep_theirs(pool: PoolWorld) -> None:
    miner = await pool.at_work(Cgminer)
    old = miner.jobs[-1]
    assert (await miner.ask("mining.suggest_difficulty", [2.0 ** (EASY + 2)]))["result"] is True
    assert await miner.alive()
    told = [message.get("method") for message in miner.heard]
    assert told.count("mining.set_difficulty") == 1, "nothing before the next job"
    pool.publish()
    new = await miner.job()
    assert [message.get("method") for message in miner.heard[-2:]] == [
        "mining.set_difficulty",
        "mining.notify",
    ]
    assert (old.difficulty, new.difficulty) == (2.0**EASY, 2.0 ** (EASY + 2))
    assert [(await miner.mine(work))["result"] for work in (old, new, old)] == [True] * 3
    assert [credit.exponent for credit in pool.credited] == [EASY, EASY + 2, EASY]


async def test_q09_authorize_is_true_or_a_reason(pool: PoolWorld) -> None:
    assert (await (await pool.miner(Cgminer).connect()).authorize())["result"] is True
    pool.gate.refuse("eve", "the licence of eve has ended")
    with pytest.raises(GivesUp, match=r"\[24, 'the licence of eve has ended', None\]"):
        await pool.miner(Cgminer, "eve.s17").start()


async def test_q10_cgminer_suggests_after_it_was_let_in(pool: PoolWorld) -> None:
    class Suggesting(Cgminer):
        suggestion = 1

    miner = await pool.at_work(Suggesting)
    assert (await miner.answer(miner._last_id))["result"] is True


@pytest.mark.parametrize("after", ["connect", "configure", "subscribe", "authorize"])
async def test_q10_a_suggestion_is_taken_at_any_time(pool: PoolWorld, after: str) -> None:
    miner = await pool.miner(Firmware).connect()
    for step in ("connect", "configure", "subscribe", "authorize"):
        if step == "configure":
            await miner.ask("mining.configure", [["version-rolling"], {}])
        elif step == "subscribe":
            await miner.subscribe()
        elif step == "authorize":
            await miner.authorize()
        if step == after:
            assert (await miner.ask("mining.suggest_difficulty", [2.0 ** (EASY + 1)]))["result"] is True
    pool.publish()
    await miner.job()
    if after == "authorize":
        await miner.job()
    assert miner.difficulty == 2.0 ** (EASY + 1)


async def test_q11_cgminer_follows_a_reconnect_inside_the_domain(pool: PoolWorld) -> None:
    miner = await pool.at_work(Cgminer)
    pool.session_of(miner).reconnect("us.pool.example", 3334, 7)
    assert await miner.alive()
    assert miner.moved_to == ("us.pool.example", 3334)


async def test_q11_a_gateway_is_drained_inside_the_domain(pool: PoolWorld) -> None:
    miners = [await pool.at_work(Cgminer, f"alice.m{number}") for number in range(5)]
    drain = asyncio.create_task(pool.server.drain("us.pool.example", 3334, 1.0))
    for _ in range(12):
        await pool.time_passes(0.1)
    for miner in miners:
        assert await miner.alive()
        assert miner.moved_to == ("us.pool.example", 3334)
        assert (await miner.mine())["result"] is True, "until it goes"
    await pool.time_passes(40)
    await drain
    for miner in miners:
        await miner.until_closed()


async def test_q12_a_pong_is_no_request(pool: PoolWorld) -> None:
    miner = await pool.at_work(Cgminer)
    before = len(miner.heard)
    for message_id in (42, None, "ping"):
        miner.hear("mining.ping", [], {"id": message_id}, 0)
    miner.write('{"id":43,"result":null,"error":[20,"no",null]}\n{"id":44}\n')
    assert await miner.alive()
    assert len(miner.heard) == before + 1, "nothing was answered but our question"
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize("bits", BitmainTable.table)
async def test_q13_bits_added_to_the_version_are_counted(pool: PoolWorld, bits: int) -> None:
    masked = await pool.at_work(Cgminer)
    tabled = await pool.at_work(BitmainTable)
    pool.publish(version=0x3FFFFFFF)
    for miner in (masked, tabled):
        work = await miner.job()
        assert work.version & MASK == 0
        assert (await miner.mine(work, bits=bits))["result"] is True
    assert pool.refusals == []


async def test_q14_a_full_block_still_makes_a_short_notify(pool: PoolWorld) -> None:
    miner = await pool.at_work(Cgminer)
    pool.new_block(**crowded(9000))
    work = await miner.job()
    assert len(work.branches) == 14
    assert work.line_length < 4096
    assert (await miner.mine(work))["result"] is True


async def test_q15_bfgminer_ids_are_words(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bfgminer)
    assert miner.authorised is True
    assert (await miner.mine())["result"] is True


async def test_q15_bfgminer_looks_into_the_cards(pool: PoolWorld) -> None:
    """What get_transactions tells is what the branches of the job are made of."""
    miner = await pool.at_work(Bfgminer)
    changes = crowded(5)
    pool.new_block(**changes)
    work: Work = await miner.job()
    answer = await miner.transactions(work.job_id)
    assert answer["id"] == f"txlist{work.job_id}"
    assert [bytes.fromhex(raw) for raw in answer["result"]] == list(changes["transactions"])
    txids = changes["txids"]
    assert work.branches == branches_of([txids[at : at + 32] for at in range(0, len(txids), 32)])


async def test_q15_an_id_comes_back_as_it_was(pool: PoolWorld) -> None:
    miner = await pool.miner(Firmware).connect()
    for text in (
        '"auth"',
        "0",
        "-1",
        "1.50",
        "1e3",
        "18446744073709551616",
        "true",
        "null",
        '"\\u00e9"',
        '""',
    ):
        miner.write('{"id":' + text + ',"method":"mining.ping","params":[]}\n')
        async with asyncio.timeout(5):
            line = (await miner.line()).decode()
        assert line.startswith('{"id":' + text + ","), line
        assert json.loads(line)["result"] == "pong"


async def test_q15_a_wrong_name_is_refused_in_words(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bfgminer)
    answer = await miner.hand_in(miner.dig(miner.jobs[-1]), "somebody.else")
    assert code(answer) == 24
    assert "somebody.else" in words(answer)
