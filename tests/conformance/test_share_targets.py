"""How shares are judged and what is answered (peers 1.4), over the socket."""

from __future__ import annotations

from typing import Any

import pytest

from stratum.messages import Reason
from tests.conformance.firmware.bosminer import Bosminer
from tests.conformance.firmware.cgminer import BitmainTable, Cgminer
from tests.conformance.firmware.wire import LARGEST_HASH, Firmware, Share, code, target_of, words
from tests.conformance.pool_world import EASY, EVERY_HASH_A_BLOCK, NOW, PoolWorld

AHEAD = 7200


async def hand_in(miner: Firmware, fields: list[Any]) -> dict[str, Any]:
    """A submit of any shape."""
    return await miner.ask("mining.submit", fields)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ([], 20),
        (["alice.rack1-7"], 20),
        (None, 20),
        ({"worker": "alice"}, 20),
        (["alice.rack1-7", "{job}", "00" * 8, "{ntime}", 5], 20),
        (["alice.rack1-7", "{job}", "00" * 8, "{ntime}", "0", "0", "0"], 20),
        (["alice.rack1-7", "{job}", "00" * 7, "{ntime}", "00000001"], 20),
        (["alice.rack1-7", "{job}", "00" * 9, "{ntime}", "00000001"], 20),
        (["alice.rack1-7", "{job}", "zz" * 8, "{ntime}", "00000001"], 20),
        (["alice.rack1-7", "{job}", "00" * 8, "00", "00000001"], 20),
        (["alice.rack1-7", "{job}", "00" * 8, "{ntime}", "000000001"], 20),
        (["alice.rack1-7", "{job}", "00" * 8, "{ntime}", ""], 20),
        (["alice.rack1-7", "{job}", "00" * 8, "{ntime}", "1", "xyz"], 20),
        (["alice.rack1-7", "ffff", "00" * 8, "{ntime}", "00000001"], 21),
        (["alice.rack1-7", "", "00" * 8, "{ntime}", "00000001"], 21),
        (["nobody", "{job}", "00" * 8, "{ntime}", "00000001"], None),
    ],
    ids=str,
)
async def test_errors_are_a_code_words_and_null(pool: PoolWorld, wrong: Any, expected: int | None) -> None:
    miner = await pool.at_work(Firmware)
    work = miner.jobs[-1]
    if isinstance(wrong, list):
        facts = {"{job}": work.job_id, "{ntime}": f"{work.ntime:08x}"}
        wrong = [facts.get(one, one) if isinstance(one, str) else one for one in wrong]
    answer = await hand_in(miner, wrong)
    number, text, rest = answer["error"]
    assert answer["result"] is None
    assert number in range(20, 26)
    assert number == expected or expected is None
    assert isinstance(text, str)
    assert text
    assert rest is None
    assert (await miner.mine())["result"] is True


async def test_submit_before_subscribe_is_25(pool: PoolWorld) -> None:
    miner = await pool.miner(Firmware).connect()
    await miner.authorize()
    job = pool.publish()
    assert (
        code(await hand_in(miner, ["alice.rack1-7", job.id, "00" * 8, f"{int(NOW):08x}", "00000001"])) == 25
    )


async def test_unknown_and_stale_are_both_21_in_different_words(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    old = miner.jobs[-1]
    pool.new_block()
    await miner.job()
    stale = await miner.mine(old)
    unknown = await hand_in(miner, [miner.user, "abcdef", "00" * 8, f"{old.ntime:08x}", "00000001"])
    assert [code(stale), code(unknown)] == [21, 21]
    assert "stale" in words(stale)
    assert "not found" in words(unknown)
    assert pool.refusals == [Reason.STALE, Reason.UNKNOWN_JOB]


async def test_a_stale_share_that_solves_a_block_is_submitted_first(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    pool.publish(target=EVERY_HASH_A_BLOCK)
    old = await miner.job()
    pool.new_block()
    await miner.job()
    assert code(await miner.mine(old)) == 21
    assert pool.ledger.verdicts == ["solved", "rejected"]
    header = pool.ledger.blocks[0][:80]
    assert header[4:36] == old.previous


@pytest.mark.parametrize("wrong", ["worker", "duplicate", "version", "licence"])
async def test_a_block_is_submitted_whatever_else_is_wrong(pool: PoolWorld, wrong: str) -> None:
    miner = await pool.at_work(BitmainTable)
    pool.publish(target=EVERY_HASH_A_BLOCK)
    work = await miner.job()
    if wrong == "version":
        await miner.ask("mining.configure", [["version-rolling"], {"version-rolling.mask": "00006000"}])
        pool.publish(target=EVERY_HASH_A_BLOCK)
        work = await miner.job()
    share = miner.dig(work, bits=0x8000 if wrong == "version" else 0)
    if wrong == "duplicate":
        await miner.hand_in(share)
    if wrong == "licence":
        pool.gate.refuse("alice", "the licence has ended")
    answer = await miner.hand_in(share, "nobody.at-all" if wrong == "worker" else None)
    assert answer["error"]
    assert pool.ledger.verdicts[-2:] == ["solved", "rejected"]


async def test_a_sibling_of_the_same_height_costs_no_share(pool: PoolWorld) -> None:
    """Grace only while the height is the same."""
    miner = await pool.at_work(Firmware)
    old = miner.jobs[-1]
    pool.sibling_block()
    sibling = await miner.job()
    assert sibling.clean
    assert sibling.previous != old.previous
    assert [(await miner.mine(work))["result"] for work in (old, sibling)] == [True, True]
    pool.new_block()
    await miner.job()
    assert [code(await miner.mine(work)) for work in (old, sibling)] == [21, 21]


async def test_all_jobs_of_a_height_stay_good(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    for _ in range(30):
        await pool.time_passes(25)
        pool.publish()
        await miner.job()
    assert [(await miner.mine(work))["result"] for work in miner.jobs] == [True] * 31


async def test_a_duplicate_is_22_also_when_other_jobs_came_between(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    shares = [miner.dig(work) for work in [miner.jobs[-1]] * 3]
    for share in shares:
        assert (await miner.hand_in(share))["result"] is True
    pool.publish()
    await miner.job()
    pool.sibling_block()
    await miner.job()
    assert [code(await miner.hand_in(share)) for share in shares] == [22] * 3
    assert len(pool.credited) == 3


async def test_a_duplicate_through_another_connection_is_22(pool: PoolWorld) -> None:
    first = await pool.at_work(Firmware)
    share = first.dig(first.jobs[-1])
    assert (await first.hand_in(share))["result"] is True
    second = await pool.miner(Firmware).connect()
    await second.subscribe([second.agent, first.session_id])
    await second.authorize()
    assert code(await second.hand_in(share)) == 22


async def test_the_target_is_exact(pool: PoolWorld) -> None:
    """No tolerance: a hash just above the target is 23, and each job has its own."""
    miner = await pool.at_work(Firmware)
    await miner.ask("mining.suggest_difficulty", [2.0 ** (EASY + 3)])
    pool.publish()
    work = await miner.job()
    goal = target_of(work.difficulty)
    near = miner.dig(work, wanted=lambda value: goal < value <= goal + goal // 4)
    met = miner.dig(work, wanted=lambda value: goal - goal // 4 < value <= goal)
    assert [code(await miner.hand_in(share)) for share in (near, met)] == [23, None]
    assert (await miner.mine(miner.jobs[0], wanted=lambda value: goal < value <= target_of(2.0**EASY)))[
        "result"
    ]
    assert [credit.exponent for credit in pool.credited] == [EASY + 3, EASY]


@pytest.mark.parametrize(
    ("offset", "good"),
    [(-3601, False), (-3600, True), (0, True), (600, True), (AHEAD, True), (AHEAD + 1, False)],
)
async def test_ntime_from_mintime_to_two_hours_ahead(pool: PoolWorld, offset: int, good: bool) -> None:
    miner = await pool.at_work(Firmware)
    answer = await miner.mine(ntime=int(NOW) + offset)
    assert code(answer) == (None if good else 20)
    assert good or "ntime" in words(answer)


async def test_ntime_runs_with_the_clock(pool: PoolWorld) -> None:
    """now + 7200, and not the template's time + 7200: an old job may be rolled as far as a new one."""
    miner = await pool.at_work(Firmware)
    await pool.time_passes(600)
    assert code(await miner.mine(ntime=int(NOW) + 600 + AHEAD)) is None
    assert code(await miner.mine(ntime=int(NOW) + 600 + AHEAD + 1)) == 20


@pytest.mark.parametrize("bits", [0x00001000, 0x20000000, 0x80000000, 0xFFFFFFFF])
async def test_version_bits_outside_the_mask_are_20(pool: PoolWorld, bits: int) -> None:
    miner = await pool.at_work(BitmainTable)
    share = miner.dig(miner.jobs[-1], bits=bits)
    answer = await miner.hand_in(share)
    assert code(answer) == 20
    assert "mask" in words(answer)
    assert pool.refusals == [Reason.VERSION]


@pytest.mark.parametrize("firmware", [Cgminer, Bosminer])
async def test_five_fields_are_fine_with_version_rolling_too(
    pool: PoolWorld, firmware: type[Firmware]
) -> None:
    miner = await pool.at_work(firmware)
    share = miner.dig(miner.jobs[-1], bits=0)
    assert (await hand_in(miner, [miner.user, *share.fields()[:4]]))["result"] is True


async def test_a_sixth_field_inside_the_mask_needs_no_configure(pool: PoolWorld) -> None:
    class Rolling(Firmware):
        def rolled(self, work: Any, bits: int) -> tuple[int, str]:
            return work.version | bits, f"{bits:08x}"

    miner = await pool.at_work(Rolling)
    assert (await miner.mine(bits=0x1FFFE000))["result"] is True


async def test_upper_case_hex_is_the_same_share(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bosminer)
    extranonce2 = bytes.fromhex("abcdefabcdefabcd")
    share = miner.dig(miner.jobs[-1], bits=0x0ABCC000 & miner.mask, extranonce2=extranonce2, nonce=0xABCDEF00)
    upper = Share(share.job_id, *(field.upper() for field in share.fields()[1:]))
    assert (await miner.hand_in(upper))["result"] is True
    assert code(await miner.hand_in(share)) == 22


async def test_a_licence_that_ended_a_second_ago_is_24(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    pool.gate.refuse("alice", "the licence of alice ended with 2026-01-01")
    answer = await miner.mine()
    assert answer["error"] == [24, "the licence of alice ended with 2026-01-01", None]
    assert pool.refusals == [Reason.LICENCE]


async def test_every_refused_share_is_written_down_with_its_facts(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    work = miner.jobs[-1]
    share = miner.dig(work, wanted=lambda value: target_of(work.difficulty) < value <= LARGEST_HASH)
    assert code(await miner.hand_in(share)) == 23
    (refused,) = pool.ledger.refused_shares
    assert refused.username == miner.user
    assert refused.job is not None
    assert refused.job.id == work.job_id
    assert refused.share_difficulty is not None
    assert refused.share_difficulty.exponent == EASY
    assert refused.header == work.header(
        bytes.fromhex(share.extranonce2), work.ntime, int(share.nonce, 16), work.version
    )


async def test_answers_leave_in_the_order_of_the_requests(pool: PoolWorld) -> None:
    """A share waits for the disk; what was asked after it waits behind it."""
    miner = await pool.at_work(Firmware)
    pool.ledger.held = True
    shares = [miner.dig(miner.jobs[-1]) for _ in range(3)]
    requests = [miner.submit(share) for share in shares]
    ping = miner.call("mining.ping")
    await pool.until(lambda: len(pool.ledger.waiting) == 4)
    pool.ledger.sync()
    for request in (*requests, ping):
        await miner.answer(request)
    answered = [message["id"] for message in miner.heard if "method" not in message]
    assert answered[-4:] == [*requests, ping]
