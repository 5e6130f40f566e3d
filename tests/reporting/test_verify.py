"""The verifier: a signed report passes, and no byte of its file can change (I7)."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from payouts.pplns import split
from reporting.daily import DayFacts, build
from reporting.signing import SigningKey, encode, sign
from reporting.verify import LARGEST_FILE, read_report, verify
from tests.campaign import extent

KEY = SigningKey(bytes.fromhex("b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef"))
OTHER = SigningKey(bytes(31) + b"\x03")


def nobody(facts: DayFacts) -> DayFacts:
    """The same day without miners."""
    register = replace(facts.register, addresses=[], events=[], units={})
    return replace(facts, miners=[], sale=[], seen=[], hours=[], register=register)


def passes(data: bytes, key: SigningKey = KEY) -> bool:
    return all(check.passed for check in verify(data, key.public_key))


@pytest.fixture
def signed(facts: DayFacts) -> bytes:
    return encode(sign(build(facts), [KEY]))


@pytest.fixture(scope="session")
def small(world: Any) -> bytes:
    """A signed report of a quiet day with nobody in it."""
    return encode(sign(build(nobody(world().facts())), [KEY]))


def test_build_sign_verify(signed: bytes) -> None:
    checks = verify(signed, KEY.public_key)
    assert len(checks) == 26
    assert [check for check in checks if not check.passed] == []
    assert len({check.name for check in checks}) == len(checks)
    assert verify(signed, KEY.public_key.upper()) == checks


@pytest.mark.campaign
def test_i7_a_flipped_bit_in_any_byte_fails(small: bytes) -> None:
    for place in range(0, len(small), extent(13, 1)):
        changed = bytearray(small)
        changed[place] ^= 1 << place % 8
        assert not passes(bytes(changed)), place


@pytest.mark.parametrize("added", [b" ", b"\n", b"\r\n", b"\t", b"\x00", b"\xef\xbb\xbf"])
def test_i7_bytes_that_mean_nothing_before_or_after_fail(small: bytes, added: bytes) -> None:
    assert passes(small)
    assert not passes(small + added)
    assert not passes(added + small)


def test_i7_the_same_content_in_another_encoding_or_layout_fails(small: bytes) -> None:
    assert not passes(small.decode().encode("utf-16"))
    assert not passes(json.dumps(json.loads(small), indent=1).encode())
    assert not passes(json.dumps(json.loads(small), sort_keys=True, separators=(",", ":")).encode())


@given(st.data())
def test_i7_any_other_byte_anywhere_fails(small: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(small) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != small[place]))
    assert not passes(small[:place] + bytes([byte]) + small[place + 1 :])


@given(st.data())
def test_i7_bytes_put_in_or_taken_out_fail(small: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(small)))
    inserted = data.draw(
        st.binary(min_size=1, max_size=4) | st.sampled_from([b" ", b"\n", b"0", b"\xef\xbb\xbf"])
    )
    assert not passes(small[:place] + inserted + small[place:])
    end = data.draw(st.integers(0, len(small)))
    if place != end:
        assert not passes(small[: min(place, end)] + small[max(place, end) :])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "the file is JSON"),
        (b"\xff\xfe", "the file is JSON"),
        (b"[" * 200_000, "the file is JSON"),
        (b"9" * 10_000, "the file is JSON"),
        (b"NaN", "canonical form"),
        (b'{"a": 1}', "canonical form"),
        (b'{"a":1.0}', "canonical form"),
        (b'{"a":1,"a":1}', "canonical form"),
        (b'"\\ud800"', "canonical form"),
        (b"{}", "the envelope holds"),
        (b"[]", "the envelope holds"),
        (b"null", "the envelope holds"),
        (b'{"report":1,"report_sha256":2,"signatures":3}', "the envelope holds"),
        (b'{"report":1,"report_sha256":2,"signatures":[3]}', "the envelope holds"),
    ],
)
def test_what_is_no_report_fails_by_name(data: bytes, name: str) -> None:
    last = verify(data, KEY.public_key)[-1]
    assert not last.passed
    assert name in last.name


def failed_on(envelope: dict[str, Any], key: SigningKey = KEY) -> list[str]:
    return [check.name for check in verify(rfc8785.dumps(envelope), key.public_key) if not check.passed]


def test_a_seal_broken_with_care_is_still_seen(signed: bytes) -> None:
    def envelope() -> Any:
        return json.loads(signed)

    changed = envelope()
    changed["report"]["totals"]["miners"] += 1
    assert failed_on(changed) == ["the hash is that of the report"]
    changed["report_sha256"] = hashlib.sha256(rfc8785.dumps(changed["report"])).hexdigest()
    assert failed_on(changed) == ["the signature is the key's over the report"]
    for field, value in (
        ("type", "cms"),
        ("key_id", "0" * 16),
        ("public_key", OTHER.public_key),
        ("signed_at", "2026-11-21T01:00:00.000001+05:00"),
    ):
        changed = envelope()
        changed["signatures"][0][field] = value
        assert failed_on(changed) == ["a signature names a key that may sign"], field
    changed = envelope()
    changed["signatures"][0]["value"] = changed["signatures"][0]["value"].upper()
    assert failed_on(changed) == ["the signature is the key's over the report"]
    changes: list[dict[str, Any]] = [
        {"extra": 1},
        {"signatures": []},
        {"signatures": envelope()["signatures"] * 2},
    ]
    for change in changes:
        assert failed_on({**envelope(), **change}) == ["the envelope holds a report, its hash and signatures"]


def test_another_key_fails(signed: bytes, facts: DayFacts) -> None:
    assert failed_on(json.loads(signed), OTHER) == ["a signature names a key that may sign"]
    assert passes(encode(sign(build(facts), [OTHER])), OTHER)
    forged = json.loads(signed)
    forged["signatures"][0]["value"] = (
        PrivateKey(OTHER.secret).sign_schnorr(bytes.fromhex(forged["report_sha256"])).hex()
    )
    assert failed_on(forged) == ["the signature is the key's over the report"]


def test_a_pool_that_signs_a_wrong_sum_is_caught(facts: DayFacts) -> None:
    """The key is right and the report lies: a satoshi moved from one miner to another, all sums kept."""
    report = build(facts)
    rows = report["blocks"][0]["miners"]
    rows[0]["amount_sat"] -= 1
    rows[1]["amount_sat"] += 1
    names = failed_on(sign(report, [KEY]))
    assert "each block's division is that of the work in its window" in names
    assert "every account moved as the day's blocks and other entries did" in names


def test_a_pool_that_takes_more_commission_is_caught(facts: DayFacts) -> None:
    report = build(facts)
    block = report["blocks"][0]
    block["commission_sat"] += 1
    block["miners"][0]["amount_sat"] -= 1
    assert "each block's reward is subsidy and fees, and is wholly divided" in failed_on(sign(report, [KEY]))


@pytest.mark.parametrize(
    "lost", ["miners", "blocks", "journal", "day_start", "schema", "totals", "commission"]
)
def test_a_signed_report_without_a_part_fails_and_does_not_crash(facts: DayFacts, lost: str) -> None:
    report = build(facts)
    del report[lost]
    assert failed_on(sign(report, [KEY]))


@pytest.mark.parametrize("key", ["", "zz" * 32, "ab" * 31, "ff" * 32, "қ" * 64])
def test_what_is_no_public_key_is_refused(small: bytes, key: str) -> None:
    with pytest.raises(ValueError, match="public key"):
        verify(small, key)


def test_reading_is_bounded(tmp_path: Path, small: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(small)
    assert read_report(path) == small
    with path.open("r+b") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(ValueError, match="this is no daily report"):
        read_report(path)


def test_the_amounts_can_be_recomputed_by_anyone_from_the_report(signed: bytes) -> None:
    for block in json.loads(signed)["report"]["blocks"]:
        work = {row["miner_id"]: int(row["work"]) for row in block["miners"]}
        amounts = {row["miner_id"]: row["amount_sat"] for row in block["miners"]}
        assert split(block["reward_sat"], block["commission_bps"], work).amounts == amounts
