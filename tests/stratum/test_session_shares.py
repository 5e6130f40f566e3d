"""Shares: judged by their job's difficulty, credited once, under a licence, and never a block lost."""

from typing import Any

import pytest
from bitcoin.core import CBlock

from stratum.messages import Reason
from stratum.vardiff import APART_SECONDS, DifficultyPolicy
from tests.stratum.fakes import (
    ANY_HASH,
    EASY,
    HARD,
    NOW,
    FakeGate,
    FakeRecorder,
    Wire,
    sha256d,
    target_of,
    template,
)

NOW_US = int(NOW * 1_000_000)


@pytest.fixture
def wire() -> Wire:
    """A session at work."""
    made = Wire()
    made.start()
    return made


def code(answer: dict[str, Any]) -> int | None:
    return answer["error"][0] if answer["error"] else None


def refusals(wire: Wire) -> list[Reason]:
    return [reason for _, reason in wire.recorder.told("rejected")]


def test_a_share_is_credited_with_its_header_and_job(wire: Wire) -> None:
    fields, header = wire.share(version_bits=0x1FFFE000, extranonce2=b"\xff" * 8)
    assert wire.submit(fields) == {"id": 7, "result": True, "error": None}
    assert wire.recorder.events == [("accepted", ("alice.s17", fields[0], EASY, header, NOW_US))]


@pytest.mark.parametrize("count", [4, 5])
def test_five_and_six_fields(wire: Wire, count: int) -> None:
    fields, _ = wire.share()
    assert wire.submit(fields[:count])["result"] is True


def test_q24_a_sixth_field_without_configure(wire: Wire) -> None:
    fields, _ = wire.share(version_bits=0x00002000)
    assert wire.submit(fields)["result"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["a"],
        ["a", "b", "c"],
        ["1000", "00" * 8, "x", "y", "z", "t"],
        [1, 2, 3, 4],
        ["a", "b", "c", None],
        ["a"] * 9,
    ],
)
def test_other_counts_and_types_are_malformed(wire: Wire, wrong: list[Any]) -> None:
    assert code(wire.submit(wrong)) == 20
    assert refusals(wire) == [Reason.MALFORMED]


@pytest.mark.parametrize("params", ["null", "{}", '"x"', "5", "[[1],[2],[3],[4],[5]]"])
def test_a_submit_without_a_list_of_strings_is_malformed(wire: Wire, params: str) -> None:
    (answer,) = wire.send('{"id":1,"method":"mining.submit","params":' + params + "}")
    assert code(answer) == 20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (1, bad)
            for bad in ("", "00" * 7, "00" * 9, "0" * 15, "zz" * 8, "\u00e9" * 16, "0" * 9000, "\x00" * 16)
        ),
        *((2, bad) for bad in ("", "6ab13b8", "06ab13b80", "0x6ab13b", "-6ab13b8", " 6ab13b8", "\u0660" * 8)),
        *((3, bad) for bad in ("", "000000000", "g", "-1", "+1", " 1", "1_0")),
        *((4, bad) for bad in ("", "000000000", "0x2000", "-2000", "536870912 ")),
    ],
)
def test_malformed_fields_are_20_and_named(wire: Wire, field: int, value: str) -> None:
    fields, _ = wire.share()
    fields[field] = value
    answer = wire.submit(fields)
    assert code(answer) == 20
    assert ["", "extranonce2", "ntime", "nonce", "version bits"][field] in answer["error"][1]
    assert len(answer["error"][1]) < 200


def test_q59_a_short_nonce_is_padded(wire: Wire) -> None:
    fields, header = wire.share(first=1)
    fields[3] = f"{int(fields[3], 16):x}"
    assert len(fields[3]) < 8
    assert wire.submit(fields)["result"] is True
    assert wire.recorder.told("accepted")[0][3] == header


def test_upper_case_hex(wire: Wire) -> None:
    fields, header = wire.share(extranonce2=b"\xab\xcd\xef\xab\xcd\xef\xab\xcd", version_bits=0x0ABCE000)
    upper = [fields[0], *(field.upper() for field in fields[1:])]
    assert wire.submit(upper)["result"] is True
    assert wire.recorder.told("accepted")[0][3] == header


@pytest.mark.parametrize(
    ("ahead", "refused"), [(-3600, False), (-3601, True), (127, False), (7200, False), (7201, True)]
)
def test_q63_ntime_window(wire: Wire, ahead: int, refused: bool) -> None:
    fields, _ = wire.share(ntime=int(NOW) + ahead)
    answer = wire.submit(fields)
    assert code(answer) == (20 if refused else None)
    assert refusals(wire) == ([Reason.NTIME] if refused else [])


def test_q63_ntime_is_part_of_what_makes_a_share_another(wire: Wire) -> None:
    for ahead in range(5):
        fields, _ = wire.share(ntime=int(NOW) + ahead)
        assert wire.submit(fields)["result"] is True


@pytest.mark.parametrize("bits", [0x20000000, 0x00001000, 0xFFFFFFFF])
def test_version_bits_outside_the_mask(wire: Wire, bits: int) -> None:
    fields, _ = wire.share()
    fields[4] = f"{bits:08x}"
    answer = wire.submit(fields)
    assert code(answer) in {20, 23}
    assert refusals(wire)[0] in {Reason.VERSION, Reason.LOW_DIFFICULTY}
    assert not wire.recorder.told("accepted")


def test_version_bits_outside_the_mask_that_was_granted(wire: Wire) -> None:
    wire.call("mining.configure", [["version-rolling"], {"version-rolling.mask": "00006000"}])
    inside, _ = wire.share(version_bits=0x00004000)
    outside, _ = wire.share(version_bits=0x00008000)
    assert code(wire.submit(inside)) is None
    assert code(wire.submit(outside)) == 20
    assert refusals(wire) == [Reason.VERSION]


def test_low_difficulty_is_23_without_tolerance(wire: Wire) -> None:
    goal = target_of(wire.difficulty)
    fields, _ = wire.find(lambda value: goal < value)
    assert code(wire.submit(fields)) == 23
    assert refusals(wire) == [Reason.LOW_DIFFICULTY]


def test_a_duplicate_is_22_and_may_come_often(wire: Wire) -> None:
    """Q-06, Q-32: no ban and no close for duplicates."""
    fields, _ = wire.share()
    assert wire.submit(fields)["result"] is True
    assert [code(wire.submit(fields)) for _ in range(50)] == [22] * 50
    fields[4] = "0"  # the same header in other letters
    assert code(wire.submit(fields[:4])) == 22
    assert len(wire.recorder.told("accepted")) == 1


def test_a_share_of_another_extranonce1_is_no_duplicate(wire: Wire) -> None:
    other = Wire(shared=wire.context)
    other.recorder = wire.recorder
    other.start()
    assert wire.submit(wire.share()[0])["result"] is True
    assert other.submit(other.share()[0])["result"] is True
    headers = {accepted[3] for accepted in wire.recorder.told("accepted")}
    assert len(headers) == 2


def test_unknown_and_stale_are_both_21_in_other_words(wire: Wire) -> None:
    fields, _ = wire.share()
    wire.new_job(template(800_001))
    wire.read()
    stale, unknown = wire.submit(fields), wire.submit(["ffff", *fields[1:]])
    assert (code(stale), code(unknown)) == (21, 21)
    assert stale["error"][1] != unknown["error"][1]
    assert refusals(wire) == [Reason.STALE, Reason.UNKNOWN_JOB]


def test_an_older_job_of_the_same_height_is_good(wire: Wire) -> None:
    fields, _ = wire.share()
    wire.new_job(template(coinbase_value=312_600_000))
    wire.read()
    assert wire.submit(fields)["result"] is True


def test_difficulty_belongs_to_the_job() -> None:
    """A share of an older job is judged and credited by that job's difficulty, whatever came since."""
    wire = Wire(policy=DifficultyPolicy(EASY, EASY, 20, 12))
    wire.start()
    told = []
    for suggestion in (2.0**-26, 2.0**-28, 2.0**-24, 2.0**-30):
        wire.pass_time(APART_SECONDS)
        wire.call("mining.suggest_difficulty", [suggestion])
        wire.new_job(template(target=HARD))
        wire.read()
        told.append(wire.difficulty)
    assert told == [2.0**-26, 2.0**-28, 2.0**-24, 2.0**-30]
    for job in wire.jobs:
        goal = target_of(job.difficulty)
        fields, _ = wire.find(lambda value, goal=goal: goal // 2 < value <= goal, job=job)  # type: ignore[misc]
        assert wire.submit(fields)["result"] is True
        fields, _ = wire.find(lambda value, goal=goal: goal < value, job=job, first=77)  # type: ignore[misc]
        assert code(wire.submit(fields)) == 23
    credited = [(job, 2.0**exponent) for _, job, exponent, _, _ in wire.recorder.told("accepted")]
    assert credited == [(job.job_id, job.difficulty) for job in wire.jobs]


def test_difficulty_belongs_to_the_job_after_many_changes() -> None:
    wire = Wire(policy=DifficultyPolicy(EASY, EASY, 20, 12))
    wire.start()
    first = wire.jobs[0]
    for step in range(100):
        wire.pass_time(APART_SECONDS)
        wire.call("mining.suggest_difficulty", [2.0 ** (-20 - step % 2)])
        wire.new_job()
    wire.read()
    fields, _ = wire.share(job=first)
    assert wire.submit(fields)["result"] is True
    assert wire.recorder.told("accepted")[0][2] == EASY
    for height in (800_001, 800_002):
        wire.pass_time(APART_SECONDS)
        wire.call("mining.suggest_difficulty", [2.0**-22 if height % 2 else 2.0**-23])
        wire.new_job(template(height))
    subscription = wire.session.subscription
    assert subscription is not None
    assert len(subscription._earlier) <= 2, "what no living job needs is forgotten"


# Who


def test_submit_before_subscribe_is_25() -> None:
    wire = Wire()
    job = wire.new_job()
    wire.call("mining.authorize", ["alice.s17"])
    answers = [wire.submit([name, "00" * 8, f"{int(NOW):08x}", "0"]) for name in (job.id, "none")]
    assert [code(answer) for answer in answers if code(answer) != 23] in ([25], [25, 25])
    assert not wire.recorder.told("accepted")


def test_submit_before_authorize_is_24() -> None:
    ready = Wire()
    ready.start()
    wire = Wire(book=ready.book)
    wire.call("mining.subscribe")
    fields, _ = wire.share(job=ready.jobs[-1])
    assert code(wire.submit(fields)) == 24
    assert wire.recorder.told("rejected") == [(None, Reason.UNAUTHORISED)]
    wire.call("mining.authorize", ["alice.s17"])
    assert wire.submit(fields)["result"] is True, "what was refused before is no duplicate now"


def test_several_workers_each_with_their_own_share(wire: Wire) -> None:
    wire.call("mining.authorize", ["bob.1", "x"])
    for nonce, name in enumerate(("alice.s17", "bob.1", "alice.s17")):
        assert wire.submit(wire.share(first=nonce << 20)[0], name)["result"] is True
    assert [name for name, *_ in wire.recorder.told("accepted")] == ["alice.s17", "bob.1", "alice.s17"]
    assert code(wire.submit(wire.share(first=9 << 20)[0], "carol.1")) == 24


def test_i6_a_licence_that_ends_between_two_shares() -> None:
    wire = Wire(gate=FakeGate(spans={"alice": (0, NOW_US + 1_000_000)}))
    wire.start()
    first, second = wire.share()[0], wire.share(first=1 << 20)[0]
    wire.now = NOW + 0.999999
    assert wire.submit(first)["result"] is True
    wire.now = NOW + 1.0
    answer = wire.submit(second)
    assert answer["error"] == [24, "licence of alice is not in force", None]
    assert refusals(wire) == [Reason.LICENCE]


def test_i6_a_change_of_the_register_is_seen_at_the_next_share(wire: Wire) -> None:
    wire.call("mining.authorize", ["bob.1", "x"])
    asked = len(wire.gate.asked)
    assert wire.submit(wire.share()[0])["result"] is True
    assert len(wire.gate.asked) == asked, "the gate is not asked for each share"
    wire.gate.refused["alice.s17"] = "licence revoked"
    wire.gate.generation += 1
    share = wire.share(first=1 << 20)[0]
    assert wire.submit(share)["error"] == [24, "licence revoked", None]
    assert wire.submit(wire.share(first=2 << 20)[0], "bob.1")["result"] is True
    del wire.gate.refused["alice.s17"]
    wire.gate.generation += 1
    assert wire.submit(share)["result"] is True, "let in again without a reconnect"


# Blocks


def solved(wire: Wire) -> list[CBlock]:
    return [CBlock.deserialize(raw) for raw in wire.recorder.told("solved")]


def with_blocks() -> Wire:
    """A session whose every share is a block."""
    wire = Wire()
    wire.new_job(template(target=ANY_HASH))
    wire.start()
    return wire


def test_i9_a_block_is_told_before_its_share_is_credited() -> None:
    wire = with_blocks()
    fields, header = wire.share()
    assert wire.submit(fields)["result"] is True
    assert [kind for kind, _ in wire.recorder.events] == ["solved", "accepted"]
    (block,) = solved(wire)
    assert block.get_header().serialize() == header
    assert block.calc_merkle_root() == block.hashMerkleRoot
    assert sha256d(header)[::-1].hex() == block.GetHash()[::-1].hex()


@pytest.mark.parametrize("why", ["stale", "duplicate", "unauthorised", "licence", "ntime", "version", "low"])
def test_i9_a_block_is_told_before_any_other_verdict(why: str) -> None:
    wire = with_blocks()
    user, how = "alice.s17", {}
    if why == "ntime":
        how = {"ntime": int(NOW) + 9000}
    fields, header = wire.share(**how)
    if why == "stale":
        wire.new_job(template(800_001))
        wire.read()
    elif why == "duplicate":
        wire.submit(fields)
        wire.recorder.events.clear()
    elif why == "unauthorised":
        user = "mallory"
    elif why == "licence":
        wire.gate.refused["alice.s17"] = "revoked"
        wire.gate.generation += 1
    elif why == "version":
        job = wire.jobs[-1]
        header = job.header(wire.extranonce1, bytes(8), job.ntime, 5, 0x00000001)
        fields = [job.job_id, "00" * 8, f"{job.ntime:08x}", "5", "00000001"]
    elif why == "low":
        fields, header = wire.find(lambda value: value > target_of(2.0**EASY))
    answer = wire.submit(fields, user)
    expected = {
        "stale": 21, "duplicate": 22, "unauthorised": 24,
        "licence": 24, "ntime": 20, "version": 20, "low": 23,
    }  # fmt: skip
    assert code(answer) in ({expected[why], 23} if why in {"version", "ntime"} else {expected[why]})
    assert [kind for kind, _ in wire.recorder.events] == ["solved", "rejected"]
    (block,) = solved(wire)
    assert block.get_header().serialize() == header


# Answers and the disk


def test_i1_no_answer_before_the_disk_has_spoken() -> None:
    wire = Wire(recorder=FakeRecorder(at_once=False))
    wire.start()
    assert wire.call("mining.submit", ["alice.s17", *wire.share()[0]]) == []
    wire.recorder.sync()
    assert wire.read() == [{"id": 7, "result": True, "error": None}]


def test_i1_answers_stay_in_the_order_of_the_requests_while_a_share_waits() -> None:
    wire = Wire(recorder=FakeRecorder(at_once=False))
    wire.start()
    share, other = wire.share()[0], wire.share(first=1 << 20)[0]
    assert wire.call("mining.ping", [], 0)[0]["id"] == 0, "nothing waits, nothing is held back"
    requests = [
        ("mining.submit", ["alice.s17", *share]),
        ("mining.ping", []),
        ("mining.submit", ["alice.s17", *share]),
        ("mining.suggest_difficulty", [1]),
        ("mining.submit", ["alice.s17", *other]),
        ("mining.nonsense", []),
        ("mining.authorize", ["bob"]),
        ("mining.configure", []),
        ("mining.extranonce.subscribe", []),
        ("mining.subscribe", []),
        ("mining.submit", []),
    ]
    for number, (method, params) in enumerate(requests, 1):
        assert wire.call(method, params, number) == []
    wire.new_job()
    assert [message.get("method") for message in wire.read()][-1] == "mining.notify", "work does not wait"
    wire.recorder.sync()
    assert [answer["id"] for answer in wire.read()] == list(range(1, len(requests) + 1))
    assert wire.call("mining.ping", [], 99)[0]["id"] == 99
    assert wire.session.waiting == 0
