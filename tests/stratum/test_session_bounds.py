"""What one miner does to another, and what it may not lose: bounds of a session, each found by a review."""

from __future__ import annotations

import pytest

from stratum import subscriptions
from stratum.interfaces import Closed
from stratum.rejects import REJECTS_BURST
from stratum.vardiff import DifficultyPolicy, Vardiff
from tests.stratum.fakes import TERMS, FakeGate, FakeRecorder, Wire, template
from tests.stratum.test_session_life import back_again, methods


def test_who_resumes_and_breaks_off_before_it_authorises_keeps_its_search_space() -> None:
    wire = Wire()
    wire.start()
    wire.session.lost(wire.ticks)
    again = back_again(wire)
    again.session.lost(again.ticks)
    third = back_again(again)
    assert third.session_id == wire.session_id


def test_one_that_comes_and_goes_does_not_push_out_the_parked_sessions_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriptions, "PARKED_LIMIT", 3)
    farm = Wire()
    farm.start()
    farm.session.lost(farm.ticks)
    flapping = Wire(shared=farm.context)
    flapping.start("mallory.x")
    for _ in range(10):
        flapping.session.lost(flapping.ticks)
        flapping = back_again(flapping)
    assert back_again(farm).session_id == farm.session_id


def test_i9_what_a_displaced_connection_had_sent_is_still_judged() -> None:
    wire = Wire()
    wire.start()
    fields, _ = wire.share()
    again = back_again(wire)
    assert wire.submit(fields)["result"] is True
    again.call("mining.authorize", ["alice.s17"])
    wire.new_job()
    assert methods(wire.read()) == [], "no further work for it"
    wire.session.lost(wire.ticks)
    assert again.submit(again.share()[0])["result"] is True


def test_a_ramp_in_the_middle_of_a_clean_broadcast_is_clean() -> None:
    wire = Wire()
    wire.start()
    wire.book.add(template(800_001), TERMS)
    wire.call("mining.suggest_difficulty", [2.0**-20])
    wire.session.ramp(wire.ticks)
    assert wire.read()[-1]["params"][8] is True


def test_refusals_do_not_end_a_connection_on_which_others_work() -> None:
    wire = Wire(gate=FakeGate(refused={"eve": "no"}))
    wire.start()
    for _ in range(50):
        assert wire.call("mining.authorize", ["eve"])[0]["error"][0] == 24


def test_o07_rented_hashrate_that_authorises_first_is_refused_too() -> None:
    wire = Wire()
    wire.new_job()
    wire.call("mining.authorize", ["alice.rig"])
    with pytest.raises(Closed) as closed:
        wire.call("mining.subscribe", ["NiceHash/1.0.0"])
    assert closed.value.kind == "refused"
    assert [message["error"][0] for message in wire.read()] == [24]


def test_work_of_a_wider_mask_is_still_work_after_a_narrower_one_was_agreed() -> None:
    wire = Wire()
    wire.call("mining.configure", [["version-rolling"], {"version-rolling.mask": "1fffe000"}])
    wire.start()
    old = wire.jobs[-1]
    wire.call("mining.configure", [["version-rolling"], {"version-rolling.mask": "00006000"}])
    assert wire.submit(wire.share(job=old, version_bits=0x8000)[0])["result"] is True
    wire.new_job()
    wire.read()
    assert wire.submit(wire.share(job=old, version_bits=0x10000)[0])["result"] is True
    assert wire.submit(wire.share(version_bits=0x8000)[0])["error"][0] == 20


def test_a_share_that_found_no_room_is_no_duplicate_when_it_comes_again() -> None:
    class FullOnce(FakeRecorder):
        full = True

        def require_room(self) -> None:
            if self.full:
                self.full = False
                raise Closed("full", "spool")

    wire = Wire(recorder=FullOnce())
    wire.start()
    fields, _ = wire.share()
    with pytest.raises(Closed):
        wire.call("mining.submit", ["alice.s17", *fields])
    assert wire.submit(fields)["result"] is True


def test_refused_shares_are_kept_only_so_fast() -> None:
    wire = Wire()
    wire.start()
    for _ in range(REJECTS_BURST + 50):
        wire.call("mining.submit", ["alice.s17", "7777", "00" * 8, "00000000", "00000000"])
    assert sum(refused.kept for refused in wire.recorder.refused) == REJECTS_BURST
    assert len(wire.recorder.refused) == REJECTS_BURST + 50


def test_wishes_that_alternate_do_not_keep_a_fast_machine_at_the_floor() -> None:
    vardiff, floor = Vardiff(DifficultyPolicy(0, 0, 40, 12)), 0
    vardiff.retarget(0.0, 60)
    for second in range(1, 121):
        vardiff.suggest(second % 2)
        for _ in range(min(2000, int(2000 / 2.0**vardiff.exponent))):
            vardiff.count()
        floor += vardiff.retarget(float(second), 60) <= 1
    assert floor < 20
