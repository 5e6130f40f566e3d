"""What a session lives through: resume, displacement, ramp, wishes, messages, and what it may ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stratum.device_class import DeviceClasses
from stratum.job import JOBS_LIMIT, RENEW_SECONDS
from stratum.session_context import TRANSACTIONS_BURST
from stratum.subscriptions import RESUME_SECONDS
from stratum.transactions import TRANSACTIONS_SECONDS
from stratum.vardiff import DifficultyPolicy
from tests.stratum.fakes import EASY, POLICY, FakeGate, FakeRecorder, Wire, context, template

SET, NOTIFY, EXTRANONCE = "mining.set_difficulty", "mining.notify", "mining.set_extranonce"


def methods(messages: list[dict[str, Any]]) -> list[str]:
    return [message["method"] for message in messages if "method" in message]


def back_again(wire: Wire, session_id: str | None = None) -> Wire:
    """The same miner on a new connection, with the session id that it was given."""
    again = Wire(shared=wire.context)
    again.recorder, again.now, again.ticks = wire.recorder, wire.now, wire.ticks
    again.difficulty = 0.0
    again.call("mining.subscribe", ["firmware/1.0", wire.session_id if session_id is None else session_id])
    return again


# Resume


def test_q06_shares_in_flight_survive_a_reconnect() -> None:
    wire = Wire()
    wire.start()
    fields, _ = wire.share()
    wire.session.lost(wire.ticks)
    wire.pass_time(RESUME_SECONDS - 1)
    again = back_again(wire)
    assert (again.extranonce1, again.session_id) == (wire.extranonce1, wire.session_id)
    again.call("mining.authorize", ["alice.s17", "x"])
    assert again.submit(fields)["result"] is True
    assert again.submit(fields)["error"][0] == 22, "a share that was sent twice is a duplicate, no more"


def test_who_resumes_goes_on_at_its_difficulty_with_a_job_that_it_does_not_know() -> None:
    """The same id again would let the machine search again what it has searched (Q-53)."""
    wire = Wire()
    wire.start()
    wire.call("mining.suggest_difficulty", [2.0**-20])
    wire.new_job()
    wire.read()
    assert wire.difficulty == 2.0**-20
    wire.session.lost(wire.ticks)
    again = back_again(wire)
    again.call("mining.authorize", ["alice.s17"])
    assert again.difficulty == 2.0**-20
    assert again.jobs[0].job_id not in {job.job_id for job in wire.jobs}
    again.session.lost(again.ticks)
    third = back_again(again)
    third.call("mining.authorize", ["alice.s17"])
    assert third.jobs == [], "the next job of this kind is made a second later"
    third.pass_time(RENEW_SECONDS)
    third.session.ramp(third.ticks)
    third.read()
    assert third.jobs[0].job_id not in {job.job_id for job in [*wire.jobs, *again.jobs]}


def test_i10_one_that_comes_and_goes_does_not_push_out_the_jobs_of_others() -> None:
    honest = Wire()
    honest.start()
    fields, _ = honest.share()
    flapping = Wire(shared=honest.context)
    flapping.start("mallory.x")
    for _ in range(JOBS_LIMIT + 10):
        flapping.session.lost(flapping.ticks)
        flapping.pass_time(0.01)
        flapping = back_again(flapping)
        flapping.call("mining.authorize", ["mallory.x"])
    assert honest.submit(fields)["result"] is True


def test_after_ten_minutes_the_search_space_is_given_up() -> None:
    wire = Wire()
    wire.start()
    wire.session.lost(wire.ticks)
    wire.context.subscriptions.expire(wire.ticks + RESUME_SECONDS - 1)
    assert wire.context.subscriptions.parked == 1
    wire.context.subscriptions.expire(wire.ticks + RESUME_SECONDS)
    assert wire.context.subscriptions.parked == 0
    again = back_again(wire)
    assert again.session_id != wire.session_id


@pytest.mark.parametrize("damage", ["guess", "short", "letters", "empty", "foreign"])
def test_a_session_id_that_was_not_given_out_resumes_nothing(damage: str) -> None:
    wire = Wire()
    wire.start()
    wire.session.lost(wire.ticks)
    given = wire.session_id
    wrong = {
        "guess": given[:8] + "0" * (len(given) - 8), "short": given[:8], "letters": "ж" * len(given),
        "empty": "", "foreign": "deadbeef",
    }[damage]  # fmt: skip
    again = back_again(wire, wrong)
    assert again.session_id != given
    assert again.extranonce1 != wire.extranonce1


def test_who_never_worked_leaves_nothing_behind() -> None:
    wire = Wire()
    wire.call("mining.subscribe", ["a"])
    wire.session.lost(wire.ticks)
    assert wire.context.subscriptions.parked == 0
    assert back_again(wire).session_id != wire.session_id


def test_who_comes_back_before_its_old_connection_is_known_dead_ends_that_one() -> None:
    wire = Wire()
    wire.start()
    again = back_again(wire)
    assert again.extranonce1 == wire.extranonce1
    assert wire.ended == ["superseded"]
    wire.session.lost(wire.ticks)
    assert wire.context.subscriptions.parked == 0, "the old connection has nothing left to park"


def test_q73_who_takes_set_extranonce_is_moved_and_not_ended() -> None:
    """Two machines with one copied session id: the first goes on in a search space of its own."""
    wire = Wire()
    wire.start()
    wire.call("mining.extranonce.subscribe")
    before = wire.extranonce1
    fields, _ = wire.share()
    again = back_again(wire)
    assert wire.ended == []
    assert wire.hastened == [wire.session]
    wire.session.ramp(wire.ticks)
    messages = wire.read()
    assert methods(messages) == [EXTRANONCE, SET, NOTIFY]
    assert messages[0]["params"] == [wire.extranonce1.hex(), 8]
    assert wire.extranonce1 != before == again.extranonce1
    assert messages[2]["params"][8] is False
    assert wire.submit(fields)["result"] is True, "a share in flight was found in the old space"
    assert wire.submit(wire.share()[0])["result"] is True


def test_set_extranonce_is_not_sent_to_who_did_not_ask() -> None:
    wire = Wire()
    wire.start()
    wire.new_job()
    assert EXTRANONCE not in methods(wire.read())


def test_a_share_that_becomes_durable_after_the_connection_is_gone_harms_nobody() -> None:
    wire = Wire(recorder=FakeRecorder(at_once=False))
    wire.start()
    wire.call("mining.submit", ["alice.s17", *wire.share()[0]])
    wire.session.lost(wire.ticks)
    wire.recorder.sync()
    assert wire.read() == []


# Difficulty between two regular jobs


def test_a_machine_that_is_too_fast_gets_a_fresh_job_with_its_difficulty() -> None:
    wire = Wire(policy=DifficultyPolicy(EASY, EASY, 20, 12))
    wire.start()
    shares = 0
    while not wire.hastened:
        assert wire.submit(wire.share(first=shares * 1000)[0])["result"] is True
        shares += 1
        assert shares < 100
    wire.pass_time(1.0)
    wire.session.ramp(wire.ticks)
    messages = wire.read()
    assert methods(messages) == [SET, NOTIFY]
    assert messages[1]["params"][8] is False
    assert wire.jobs[-1].job_id != wire.jobs[-2].job_id
    assert wire.difficulty > 2.0**EASY
    assert wire.submit(wire.share(job=wire.jobs[-2], first=900_000)[0])["result"] is True, "the job before"


def test_a_wish_is_met_without_waiting_for_the_next_regular_job() -> None:
    wire = Wire()
    wire.start()
    wire.call("mining.suggest_difficulty", [2.0**-20])
    assert wire.hastened == [wire.session]
    wire.session.ramp(wire.ticks)
    assert methods(wire.read()) == [SET, NOTIFY]
    wire.call("mining.suggest_difficulty", [2.0**-20])  # repeated as a keep-alive
    wire.session.ramp(wire.ticks)
    assert wire.read() == []


def test_all_who_ramp_in_one_tick_share_a_job() -> None:
    one = Wire()
    one.start()
    two = Wire(shared=one.context)
    two.start("bob.s9")
    for wire in (one, two):
        wire.call("mining.suggest_difficulty", [2.0**-20])
        wire.session.ramp(wire.ticks)
        wire.read()
    assert one.jobs[-1].job_id == two.jobs[-1].job_id


def test_a_suggested_target_is_a_suggested_difficulty() -> None:
    wire = Wire()
    wire.start()
    target = (0xFFFF << 208) * 2**20
    (answer,) = wire.call("mining.suggest_target", [f"{target:064x}"])
    assert answer["result"] is True
    wire.new_job()
    wire.read()
    assert wire.difficulty == 2.0**-20
    for wrong in ([], [0], ["0" * 64], ["xyz"], ["0" * 65], [None]):
        (answer,) = wire.call("mining.suggest_target", wrong)
        assert answer["error"][0] == 20


@pytest.mark.parametrize(
    ("password", "difficulty"),
    [
        ("d=8", 8.0),
        ("x,d=9.5", 8.0),
        ("md=4", 4.0),
        ("FD=16; worker", 16.0),
        ("d=1e3", 2.0**-2),
        ("x", 2.0**-2),
    ],
)
def test_q74_the_password_sets_the_difficulty(password: str, difficulty: float) -> None:
    wire = Wire(policy=DifficultyPolicy(-2, -4, 10, 12))
    wire.new_job()
    wire.call("mining.subscribe")
    wire.call("mining.authorize", ["alice.s17", password])
    assert wire.difficulty == difficulty


# Classes


def test_q28_a_known_firmware_starts_at_its_class() -> None:
    wire = Wire(policy=DifficultyPolicy(14, 10, 40, 12))
    wire.new_job(template(target=1 << 160))
    wire.call("mining.subscribe", ["Antminer S19k Pro/2023"])
    wire.call("mining.authorize", ["alice.s19"])
    assert wire.session.device.name == "antminer-s19"
    assert wire.difficulty == 65536


def test_i9_a_class_floor_does_not_go_above_the_network() -> None:
    wire = Wire(policy=DifficultyPolicy(EASY, EASY, 40, 12))
    wire.new_job(template(target=(0xFFFF << 208) // 64))
    wire.call("mining.subscribe", ["Antminer S21/2024"])
    wire.call("mining.authorize", ["alice.s21"])
    assert wire.difficulty == 64


def test_q70_rented_hashrate_is_refused_unless_the_pool_takes_it() -> None:
    for rental, code in (("refuse", 24), ("accept", None)):
        devices = DeviceClasses(rental=rental)  # type: ignore[arg-type]
        wire = Wire(shared=context(devices=devices))
        wire.new_job()
        wire.call("mining.subscribe", ["NiceHash/1.0.0", None, "1700000000", "ab" * 32])
        answer = wire.call("mining.authorize", ["alice.rig", "x"])[0]
        assert (answer["error"][0] if answer["error"] else None) == code


# What the miner is told


def test_a_licence_that_ends_soon_is_shown_to_those_who_can_show_it() -> None:
    text = "licence 7 of account alice ends with 2026-12-01"
    for agent, shown in (("cgminer/4.12", [text]), ("whatsminer/v1.0", [])):
        wire = Wire(gate=FakeGate(notices={"alice": text}))
        wire.new_job()
        wire.call("mining.authorize", ["alice.one"])
        wire.call("mining.authorize", ["alice.two"])
        messages = wire.call("mining.subscribe", [agent])
        said = [one["params"][0] for one in messages if one.get("method") == "client.show_message"]
        assert said == shown
        assert "result" in messages[0], "nothing before the answer to subscribe"
        wire.session.remind(wire.now)
        assert len(wire.read()) == len(shown)


def test_q11_q33_reconnect_names_host_port_and_wait() -> None:
    wire = Wire()
    wire.session.reconnect("eu.pool.kz", 3333, 5)
    assert wire.read() == [], "not before it works"
    wire.start()
    wire.session.reconnect("eu.pool.kz", 3333, 5)
    (message,) = wire.read()
    assert (message["method"], message["params"]) == ("client.reconnect", ["eu.pool.kz", 3333, 5])


def test_the_version_is_asked_once_and_kept() -> None:
    shared = context(ask_version=True)
    wire = Wire(shared=shared)
    wire.new_job()
    wire.call("mining.subscribe", ["cgminer/4"])
    wire.session.receive(b'{"id":1,"method":"mining.authorize","params":["alice.s17"]}', wire.now, wire.ticks)
    sent = b"".join(wire.written)
    assert sent.count(b"client.get_version") == 1
    wire.written.clear()
    wire.send('{"id":0,"result":"cgminer/4.12.1","error":null}')
    assert wire.session.agreed.info == {"version": "cgminer/4.12.1"}
    wire.call("mining.authorize", ["alice.two"])
    assert b"get_version" not in b"".join(wire.written)


def test_bip310_info_is_kept_with_the_session() -> None:
    wire = Wire()
    options = {"info.hw-version": "S19j", "info.sw-version": "x" * 500, "info.hw-id": 7, "other": "y"}
    (answer,) = wire.call("mining.configure", [["info", "version-rolling"], options])
    assert answer["result"]["info"] is True
    assert wire.session.agreed.info == {"hw-version": "S19j", "sw-version": "x" * 128}


# What the miner may ask for


def test_the_transactions_of_a_job_may_be_asked_for_now_and_then() -> None:
    wire = Wire()
    wire.new_job(template(transactions=(b"\x01" * 60, b"\x02" * 60), txids=bytes(64)))
    (early,) = wire.call("mining.get_transactions", ["1000"])
    assert early["error"][0] == 25
    wire.start()
    (answer,) = wire.call("mining.get_transactions", [wire.jobs[0].job_id], "txlist1000")
    assert answer["result"] == ["01" * 60, "02" * 60]
    assert answer["id"] == "txlist1000"
    assert wire.session.allowance == len(json.dumps(answer, separators=(",", ":"))) + 1
    (again,) = wire.call("mining.get_transactions", [wire.jobs[0].job_id])
    assert again["error"][0] == 20
    assert "30 s" in again["error"][1]
    wire.pass_time(TRANSACTIONS_SECONDS)
    assert wire.call("mining.get_transactions", [wire.jobs[0].job_id])[0]["error"] is None
    wire.pass_time(TRANSACTIONS_SECONDS)
    (unknown,) = wire.call("mining.get_transactions", ["77"])
    assert unknown["error"][0] == 21


def test_all_sessions_together_may_not_ask_for_transactions_without_end() -> None:
    shared = context()
    answers = []
    for _ in range(TRANSACTIONS_BURST + 1):
        wire = Wire(shared=shared)
        wire.start()
        answers += wire.call("mining.get_transactions", [wire.jobs[0].job_id])
    assert [answer["error"] is None for answer in answers] == [True] * TRANSACTIONS_BURST + [False]


# Rejects that can be disputed


def test_a_refused_share_is_recorded_with_what_decides_a_dispute() -> None:
    recorder = FakeRecorder()
    wire = Wire(recorder=recorder, policy=POLICY)
    wire.start()
    fields, header = wire.find(lambda value: value > (0xFFFF << 208) << 30)
    wire.submit(fields)
    wire.submit(fields, "mallory.x")
    wire.submit(["7777", *fields[1:]])
    low, stranger, unknown = recorder.refused
    assert low.worker is not None
    assert low.job is wire.book.current is stranger.job
    assert low.share_difficulty is not None
    assert (low.share_difficulty.exponent, low.header) == (EASY, header)
    assert (stranger.username, stranger.worker) == ("mallory.x", None)
    assert (unknown.job, unknown.share_difficulty, unknown.header) == (None, None, b"")
    assert [refused.reason.code for refused in recorder.refused] == [23, 24, 21]
