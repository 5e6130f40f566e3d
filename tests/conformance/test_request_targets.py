"""What the pool takes from a miner, over the socket: the target column of peers 1.1."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stratum.messages import LINE_LIMIT
from tests.conformance.firmware.bmminer import AntminerS21
from tests.conformance.firmware.bosminer import Bosminer
from tests.conformance.firmware.wire import Firmware, code, target_of, words
from tests.conformance.pool_world import EASY, MASK, TEST_POLICY, PoolWorld, crowded

# 1.1 mining.subscribe, resume, authorize


@pytest.mark.parametrize("count", range(5))
async def test_subscribe_with_0_to_4_params_twice_gets_the_same_answer(pool: PoolWorld, count: int) -> None:
    miner = await pool.miner(Firmware).connect()
    params = ["firmware/1.0", "an old session", "pool.example", 3333][:count]
    first = await miner.subscribe(params)
    second = await miner.subscribe(params)
    assert first["result"] == second["result"]
    await miner.authorize()
    await miner.job()
    third = await miner.subscribe(params)
    assert third["result"] == first["result"]
    assert (await miner.mine())["result"] is True


async def test_the_session_id_is_16_hex_digits_behind_extranonce1(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    assert miner.session_id is not None
    assert miner.session_id[:8] == miner.extranonce1.hex()
    assert len(bytes.fromhex(miner.session_id)) == 12


async def come_back(pool: PoolWorld, seconds: float) -> tuple[Firmware, Firmware]:
    """A miner with an unsent share hangs up, and comes back after a while: it before, and after."""
    before = await pool.at_work(Firmware)
    before.close()
    await pool.until(lambda: not pool.server.connections)
    await pool.time_passes(seconds)
    after = await pool.miner(Firmware).connect()
    await after.subscribe([after.agent, before.session_id])
    await after.authorize()
    return before, after


@pytest.mark.parametrize("seconds", [0, 60, 590])
async def test_resume_within_ten_minutes_keeps_extranonce1_and_shares_in_flight(
    pool: PoolWorld, seconds: float
) -> None:
    before, after = await come_back(pool, seconds)
    assert after.extranonce1 == before.extranonce1
    assert (await after.hand_in(before.dig(before.jobs[-1])))["result"] is True
    work = await after.job()
    assert work.job_id != before.jobs[-1].job_id, "not searched twice"
    assert (await after.mine(work))["result"] is True


async def test_after_ten_minutes_the_session_is_a_new_one(pool: PoolWorld) -> None:
    before, after = await come_back(pool, 610)
    assert after.session_id != before.session_id
    assert (await after.mine(await after.job()))["result"] is True


async def test_a_resumed_miner_keeps_its_difficulty(pool: PoolWorld) -> None:
    before = await pool.at_work(Firmware)
    await before.ask("mining.suggest_difficulty", [2.0**-26])
    pool.publish()
    old = await before.job()
    before.close()
    await pool.until(lambda: not pool.server.connections)
    after = await pool.miner(Firmware).connect()
    await after.subscribe([after.agent, before.session_id])
    await after.authorize()
    assert (await after.job()).difficulty == old.difficulty == 2.0**-26


@pytest.mark.parametrize("params", [["alice.w"], ["alice.w", "x"], ["alice.w", ""], ["alice.w", None, 5, {}]])
async def test_authorize_takes_1_or_2_params_and_any_more(pool: PoolWorld, params: list[Any]) -> None:
    miner = await pool.miner(Firmware).connect()
    await miner.subscribe()
    line = {"id": 9, "jsonrpc": "2.0", "ttl": 30, "method": "mining.authorize", "params": params, "x": [{}]}
    miner.write(json.dumps(line) + "\n")
    assert await miner.answer(9) == {"id": 9, "result": True, "error": None}


@pytest.mark.parametrize("params", [[], None, [None], [5, "x"], [["alice"], "x"], ["a" * 129, "x"]], ids=str)
async def test_authorize_without_a_name_is_an_error_and_no_end(pool: PoolWorld, params: Any) -> None:
    miner = await pool.miner(Firmware).connect()
    assert code(await miner.ask("mining.authorize", params)) == 20
    assert (await miner.authorize())["result"] is True


async def test_several_workers_on_one_connection(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    pool.gate.refuse("eve", "no licence")
    await miner.authorize("alice.second")
    await miner.authorize("bob.first")
    assert code(await miner.ask("mining.authorize", ["eve.x", "x"])) == 24
    for user in ("alice.rack1-7", "alice.second", "bob.first"):
        assert (await miner.hand_in(miner.dig(miner.jobs[-1]), user))["result"] is True
    assert [one.username for one in pool.credited] == ["alice.rack1-7", "alice.second", "bob.first"]
    refused = await miner.hand_in(miner.dig(miner.jobs[-1]), "eve.x")
    assert code(refused) == 24


async def test_a_refusal_carries_the_reason(pool: PoolWorld) -> None:
    pool.gate.refuse("eve", "the licence of eve ended with 2026-01-01")
    miner = await pool.miner(Firmware).connect()
    answer = await miner.ask("mining.authorize", ["eve.s19", "x"])
    assert answer["error"] == [24, "the licence of eve ended with 2026-01-01", None]


# 1.1 mining.configure


async def test_every_extension_that_was_asked_for_has_an_answer(pool: PoolWorld) -> None:
    miner = await pool.miner(Firmware).connect()
    answer = await miner.ask(
        "mining.configure",
        [
            [
                "version-rolling",
                "minimum-difficulty",
                "subscribe-extranonce",
                "info",
                "sp-telemetry",
                "other",
            ],
            {
                "version-rolling.mask": "00fff000",
                "version-rolling.min-bit-count": 2,
                "minimum-difficulty.value": 2**-20,
                "info.hw-id": "0a1b",
            },
        ],
    )
    assert answer["result"] == {
        "version-rolling": True,
        "version-rolling.mask": f"{0x00FFF000 & MASK:08x}",
        "minimum-difficulty": True,
        "subscribe-extranonce": True,
        "info": True,
        "sp-telemetry": False,
        "other": False,
    }


async def test_no_mask_is_every_mask(pool: PoolWorld) -> None:
    miner = await pool.miner(Firmware).connect()
    answer = await miner.ask("mining.configure", [["version-rolling"], {}])
    assert answer["result"] == {"version-rolling": True, "version-rolling.mask": f"{MASK:08x}"}


async def test_configure_again_changes_the_mask(pool: PoolWorld) -> None:
    miner = await pool.at_work(Bosminer)
    narrow = await miner.ask("mining.configure", [["version-rolling"], {"version-rolling.mask": "00006000"}])
    assert narrow["result"]["version-rolling.mask"] == "00006000"
    pool.publish()
    work = await miner.job()
    assert miner.mask == 0x6000, "set_version_mask came with the job"
    assert (await miner.mine(work, bits=0x6000))["result"] is True
    assert code(await miner.mine(work, bits=0x8000)) == 20


async def test_minimum_difficulty_holds_and_may_be_asked_again(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    for exponent in (-25, -27):
        wish = {"minimum-difficulty.value": 2.0**exponent}
        answer = await miner.ask("mining.configure", [["minimum-difficulty"], wish])
        assert answer["result"] == {"minimum-difficulty": True}
        await miner.ask("mining.suggest_difficulty", [2.0 ** (exponent - 3)])
        pool.publish()
        assert (await miner.job()).difficulty >= 2.0**exponent


async def test_what_a_device_says_of_itself_is_kept(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    info = {
        "info.connection-url": "stratum+tcp://pool.example:3333",
        "info.hw-version": "2.1.2",
        "info.sw-version": "1.0",
        "info.hw-id": "0a1b2c",
    }
    assert (await miner.ask("mining.configure", [["info"], info]))["result"] == {"info": True}
    kept = pool.session_of(miner).agreed.info
    assert {f"info.{name}": text for name, text in kept.items()} == info


# 1.1 the other requests


@pytest.mark.parametrize("wish", [2**-26, 2.0**-26, "1.4901161193847656e-08", 1.6e-8])
async def test_suggest_difficulty_takes_numbers_and_numerals(pool: PoolWorld, wish: Any) -> None:
    miner = await pool.at_work(Firmware)
    assert (await miner.ask("mining.suggest_difficulty", [wish]))["result"] is True
    pool.publish()
    assert (await miner.job()).difficulty == 2.0**-26


@pytest.mark.parametrize("wish", [0, -5, "x", None, True, [], {}, 1e400, "nan", "inf", "-1", ""], ids=str)
async def test_suggest_difficulty_answers_nonsense_too(pool: PoolWorld, wish: Any) -> None:
    miner = await pool.at_work(Firmware)
    miner.write(f'{{"id":5,"method":"mining.suggest_difficulty","params":[{_json(wish)}]}}\n')
    assert code(await miner.answer(5)) == 20
    assert (await miner.mine())["result"] is True


def _json(value: Any) -> str:
    return "1e400" if value == 1e400 else json.dumps(value)


@pytest.mark.parametrize("wish", [10**30, "1e300", 1e-300, 1])
async def test_a_suggestion_is_bounded(pool: PoolWorld, wish: Any) -> None:
    miner = await pool.at_work(Firmware)
    assert (await miner.ask("mining.suggest_difficulty", [wish]))["result"] is True
    pool.publish()
    edge = TEST_POLICY.minimum if wish == 1e-300 else TEST_POLICY.maximum
    assert (await miner.job()).difficulty == 2.0**edge
    pool.new_block(target=target_of(2.0**-27))
    assert (await miner.job()).difficulty <= 2.0**-27, "never harder than a block"


async def test_suggest_target(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    assert (await miner.ask("mining.suggest_target", [f"{target_of(2.0**-26):064x}"]))["result"] is True
    pool.publish()
    assert (await miner.job()).difficulty == 2.0**-26
    for nonsense in ("", "zz", 5, None, "0" * 64, "f" * 65):
        assert code(await miner.ask("mining.suggest_target", [nonsense])) == 20


async def test_get_transactions_is_rate_limited(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    changes = crowded(3)
    pool.new_block(**changes)
    work = await miner.job()
    first = await miner.ask("mining.get_transactions", [work.job_id])
    assert first["result"] == [raw.hex() for raw in changes["transactions"]]
    second = await miner.ask("mining.get_transactions", [work.job_id])
    assert code(second) == 20
    assert "again" in words(second)
    await pool.time_passes(60)
    third = await miner.ask("mining.get_transactions", [work.job_id])
    assert third["result"] == first["result"]
    await pool.time_passes(60)
    assert code(await miner.ask("mining.get_transactions", ["ffff"])) == 21


async def test_get_transactions_of_a_full_block(pool: PoolWorld) -> None:
    """Megabytes in one line: the pool does not take the reader for a slow one."""
    miner = pool.miner(Firmware)
    miner.read_limit = 16 * 2**20
    await miner.start()
    raw = tuple(bytes([number]) * 400_000 for number in range(4))
    pool.new_block(transactions=raw, txids=crowded(4)["txids"])
    await miner.job()
    work = await miner.job()
    answer = await miner.ask("mining.get_transactions", [work.job_id])
    assert [len(one) for one in answer["result"]] == [800_000] * 4
    assert (await miner.mine())["result"] is True


async def test_login_is_authorize(pool: PoolWorld) -> None:
    miner = await pool.miner(Firmware).connect()
    await miner.subscribe()
    assert (await miner.ask("login", ["alice.rack1-7", "x"]))["result"] is True
    assert (await miner.mine(await miner.job()))["result"] is True


@pytest.mark.parametrize(
    ("password", "exponent"),
    [
        ("x", EASY),
        ("d=0.000000015", -26),
        ("md=0.000000007", -27),
        ("fd=0.00000003", -25),
        (f"th={2**-26 * 2**32 * 12 / 60 / 1e12 * 1.1:.15f}", -26),
        ("x;d=0.000000015,md=0.000000003", -26),
        ("d=0.000000000000001", EASY),
        ("d=abc,md=,fd=-1", EASY),
    ],
)
async def test_difficulty_in_the_password(pool: PoolWorld, password: str, exponent: int) -> None:
    miner = await pool.at_work(Firmware, "alice.w", password)
    assert miner.difficulty == 2.0**exponent
    assert (await miner.mine())["result"] is True


async def test_a_fixed_difficulty_stays(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware, "alice.w", "fd=0.000000004")
    for _ in range(10):
        for _ in range(30):
            assert (await miner.mine())["result"] is True
        await pool.time_passes(20)
        pool.publish()
        assert (await miner.job()).difficulty == 2.0**-28


@pytest.mark.parametrize("option", ["d", "md", "fd", "th"])
async def test_the_class_clamps_the_password(real_pool: PoolWorld, option: str) -> None:
    """A machine of the rack cannot ask for a flood."""
    miner = await real_pool.at_work(AntminerS21, "alice.w", f"{option}=0.000001")
    assert miner.difficulty >= 4096


@pytest.mark.parametrize(
    "method", ["mining.nonsense", "eth_submitLogin", "getwork", "mining.capabilities", "x" * 1000, "", " "]
)
async def test_an_unknown_method_is_minus_3_and_no_end(pool: PoolWorld, method: str) -> None:
    miner = await pool.at_work(Firmware)
    for request_id in (1, "one", None):
        answer = await miner.ask(method, [], request_id)
        assert (answer["id"], code(answer)) == (request_id, -3)
    assert (await miner.mine())["result"] is True


async def test_a_hundred_unknown_methods_are_no_end_either(pool: PoolWorld) -> None:
    miner = await pool.at_work(Firmware)
    for _ in range(100):
        assert code(await miner.ask("mining.nonsense")) == -3
    assert (await miner.mine())["result"] is True


async def test_a_missing_id_is_answered_as_null(pool: PoolWorld) -> None:
    miner = await pool.miner(Firmware).connect()
    miner.write('{"method":"mining.subscribe","params":[]}\n')
    answer = await miner.answer(None)
    assert answer["id"] is None
    assert answer["error"] is None
    miner.take_subscription(answer)
    miner.write('{"method":"mining.authorize","params":["alice.w"]}\n')
    assert (await miner.answer(None))["result"] is True


@pytest.mark.parametrize("form", ["{}\r\n", "   {}\n", "\t{}  \r\n", "\r\n\n{}\n", "{}\n\n"], ids=repr)
async def test_carriage_returns_spaces_and_blank_lines(pool: PoolWorld, form: str) -> None:
    miner = await pool.miner(Firmware).connect()
    for request_id in (1, 2):
        miner.write(form.replace("{}", miner.frame("mining.ping", [], request_id).rstrip()))
        assert (await miner.answer(request_id))["result"] == "pong"


async def test_lines_of_16_kib(pool: PoolWorld) -> None:
    assert LINE_LIMIT == 16 * 1024
    miner = await pool.at_work(Firmware)
    text = '{"id":1,"method":"mining.ping","x":""}'
    miner.write(text.replace('""', '"' + "x" * (LINE_LIMIT - len(text)) + '"') + "\n")
    assert (await miner.answer(1))["result"] == "pong"
    miner.write(text.replace('""', '"' + "x" * (LINE_LIMIT - len(text) + 1) + '"') + "\n")
    last = await miner.until_closed()
    assert code(last[-1]) == 20
    assert "16384" in words(last[-1])
