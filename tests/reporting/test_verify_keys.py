"""The verifier and the life of keys: several signatures, a list of keys, a replaced key, a revoked one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import rfc8785

from reporting.keyring import Action, KeyRing
from reporting.signing import SigningError, SigningKey, sign
from reporting.verify import verify
from tests.reporting.keys import ANCHOR, SECOND, START, THIEF, THIRD, event, grown, hour, published

RING = grown(
    KeyRing(),
    (Action.INTRODUCED, ANCHOR, 0, None),
    (Action.ROTATED, SECOND, 10, ANCHOR),
    (Action.INTRODUCED, THIRD, 20, SECOND),
    (Action.REVOKED, THIRD, 30, SECOND),
)
SEALED = "the signature is the key's over the report"
NAMED = "a signature names a key that may sign"
KEYS = "the list of keys holds from its first event on and has the key that is trusted"
SHAPE = "the envelope holds a report, its hash and signatures"


def report_of(at: dt.datetime) -> dict[str, Any]:
    """A document that is no daily report: what is looked at here are its seals."""
    return {"generated_at": at.isoformat(), "what": "told"}


def seal(envelope: dict[str, Any], key: SigningKey, ring: KeyRing | None = None) -> tuple[str, str]:
    """The last seal that was looked at, "" when all of them hold, and what was seen there."""
    listed = None if ring is None else published(ring)
    checks = verify(rfc8785.dumps(envelope), key.public_key, listed)
    for check in checks:
        if not check.passed or check.name == SEALED:
            return ("" if check.passed else check.name), check.detail
    raise AssertionError


def test_one_of_several_signatures_is_enough_and_the_others_are_told() -> None:
    envelope = sign(report_of(START), [ANCHOR, SECOND])
    for key, other in ((ANCHOR, SECOND), (SECOND, ANCHOR)):
        assert seal(envelope, key) == ("", f"BIP340; not checked: bip340 of {other.key_id}")
    name, detail = seal(envelope, THIRD)
    assert name == NAMED
    assert f"no signature is of key {THIRD.key_id}; there are: bip340 of {ANCHOR.key_id}" in detail


def test_a_signature_of_another_kind_is_told_as_not_checked() -> None:
    envelope = sign(report_of(START), [ANCHOR])
    envelope["signatures"].append({"type": "cms", "value": "MIIB", "alg": "1.2.398.3.10.1.1.2.3.1"})
    assert seal(envelope, ANCHOR) == ("", "BIP340; not checked: cms of None")
    envelope["signatures"] = envelope["signatures"][1:]
    assert seal(envelope, ANCHOR)[0] == NAMED


def test_i7_a_wrong_signature_beside_a_right_one_of_ours_is_refused() -> None:
    envelope = sign(report_of(hour(25)), [SECOND, THIRD])
    assert seal(envelope, ANCHOR, RING) == ("", "BIP340")
    envelope["signatures"][1]["value"] = envelope["signatures"][0]["value"]
    assert seal(envelope, ANCHOR, RING) == (SEALED, f"the key {THIRD.key_id} did not sign this report")
    assert seal(envelope, SECOND)[0] == "", "who trusts one key alone is told of the other as not checked"


@pytest.mark.parametrize("signatures", [[], [7], None, [{"key_id": "x"}], [{"type": "bip340"}], "twice"])
def test_an_envelope_of_another_shape_is_refused(signatures: Any) -> None:
    envelope = sign(report_of(START), [ANCHOR])
    envelope["signatures"] = envelope["signatures"] * 2 if signatures == "twice" else signatures
    assert seal(envelope, ANCHOR)[0] == SHAPE


def test_from_the_anchor_alone_rotations_are_followed() -> None:
    """O-43: whoever took the first key once can check every report that its successors sign."""
    for key, hours in ((ANCHOR, 0), (ANCHOR, 9), (SECOND, 10), (SECOND, 29), (THIRD, 20), (SECOND, 500)):
        assert seal(sign(report_of(hour(hours)), [key]), ANCHOR, RING) == ("", "BIP340")


@pytest.mark.parametrize(
    ("key", "hours", "said"),
    [
        pytest.param(ANCHOR, 10, f"replaced by {SECOND.key_id}", id="replaced"),
        pytest.param(ANCHOR, 400, f"replaced by {SECOND.key_id}", id="replaced long ago"),
        pytest.param(THIRD, 30, "was revoked from 2026-11-25T15:00:00+05:00 on", id="revoked"),
        pytest.param(SECOND, 9, "was not in force before", id="not yet in force"),
        pytest.param(ANCHOR, -1, "was not in force before", id="before the list"),
    ],
)
def test_i7_a_key_that_was_not_in_force_is_refused(key: SigningKey, hours: float, said: str) -> None:
    name, detail = seal(sign(report_of(hour(hours)), [key]), ANCHOR, RING)
    assert name == NAMED
    assert said in detail
    assert f"signed on {hour(hours).isoformat()}" in detail


def test_i7_a_revoked_key_spoils_a_report_that_another_signs_too() -> None:
    """The pool's builder never does it, so somebody else did."""
    name, detail = seal(sign(report_of(hour(31)), [SECOND, THIRD]), ANCHOR, RING)
    assert (name, "was revoked" in detail) == (NAMED, True)


def test_i7_a_key_that_the_trusted_one_does_not_lead_to_is_refused() -> None:
    stranger = RING.added(event(RING, Action.INTRODUCED, THIEF, hour(40)))
    envelope = sign(report_of(hour(41)), [THIEF])
    name, detail = seal(envelope, ANCHOR, stranger)
    assert (name, "of a key of the list that is trusted" in detail) == (NAMED, True)
    assert seal(envelope, THIEF, stranger) == ("", "BIP340")
    name, _ = seal(sign(report_of(hour(5)), [ANCHOR]), SECOND, RING)
    assert name == NAMED, "trust goes forward, not back"


def test_i7_a_list_that_does_not_hold_ends_it() -> None:
    envelope = sign(report_of(hour(1)), [ANCHOR])
    assert seal(envelope, THIEF, RING)[0] == KEYS
    for listed in (b"", b"{}", published(RING).replace(b"for a test", b"for a tost")):
        (check,) = verify(rfc8785.dumps(envelope), ANCHOR.public_key, listed)
        assert (check.name, check.passed) == (KEYS, False)


def test_i7_the_time_of_signing_is_that_of_the_report() -> None:
    """What stands beside the signature is not signed, so it may say nothing of its own."""
    envelope = sign(report_of(hour(25)), [THIRD])
    assert seal(envelope, ANCHOR, RING)[0] == ""
    envelope["signatures"][0]["signed_at"] = hour(26).isoformat()
    assert seal(envelope, ANCHOR, RING)[0] == NAMED
    for at in ("2026-11-25T15:00:00", "today", 7):
        assert seal(sign({"generated_at": at}, [THIRD]), ANCHOR, RING)[0] == NAMED


# The signers


class Liar:
    """Says that it is a key, and signs something else, or with another key, or nothing."""

    algorithm = "bip340"
    public_key = ANCHOR.public_key
    key_id = ANCHOR.key_id

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def sign(self, digest: bytes) -> bytes:
        answer = self._answer(digest)
        assert isinstance(answer, bytes)
        return answer


@pytest.mark.parametrize(
    "answer",
    [
        SECOND.sign,
        lambda digest: ANCHOR.sign(bytes(32)),
        lambda digest: bytes(64),
        lambda digest: b"",
        lambda digest: ANCHOR.sign(digest) + b"\0",
    ],
)
def test_what_a_signer_answers_is_checked_before_it_is_used(answer: Any) -> None:
    with pytest.raises(SigningError, match=f"key {ANCHOR.key_id}: what came back is not its signature"):
        sign(report_of(START), [SECOND, Liar(answer)])
    assert sign(report_of(START), [Liar(ANCHOR.sign)]) == sign(report_of(START), [ANCHOR])


def test_nobody_a_key_twice_and_an_unknown_kind_do_not_sign() -> None:
    with pytest.raises(SigningError, match="there is no key to sign with"):
        sign(report_of(START), [])
    with pytest.raises(SigningError, match="a key would sign twice"):
        sign(report_of(START), [ANCHOR, ANCHOR])
    strange = Liar(ANCHOR.sign)
    strange.algorithm = "gost"
    with pytest.raises(SigningError, match="signatures of kind 'gost' cannot be checked here"):
        sign(report_of(START), [strange])
