"""The life of a key: who may sign when, and every way in which a list of keys can be forged (I7)."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.keyring import Action, Json, KeyRing, RingError, read_ring, signed
from reporting.signing import SigningKey, signature_by
from tests.reporting.keys import (
    ANCHOR,
    BY_ID,
    SECOND,
    START,
    THIEF,
    THIRD,
    event,
    grown,
    hour,
    published,
)

INTRODUCED, ROTATED, REVOKED = Action.INTRODUCED, Action.ROTATED, Action.REVOKED
MICROSECOND = dt.timedelta(microseconds=1)
BEGUN = grown(KeyRing(), (INTRODUCED, ANCHOR, 0, None))
LIFE = grown(
    BEGUN, (ROTATED, SECOND, 10, ANCHOR), (INTRODUCED, THIRD, 20, SECOND), (REVOKED, SECOND, 30, THIRD)
)
"""The anchor for ten hours, then the second for twenty, from the twentieth on the third beside it."""
IDS = {"anchor": ANCHOR.key_id, "second": SECOND.key_id, "third": THIRD.key_id}


def may(ring: KeyRing, at: dt.datetime) -> list[str]:
    names = {key: name for name, key in IDS.items()}
    return [names[key.key_id] for key in ring.in_force(at)]


def test_who_may_sign_when() -> None:
    for hours, names in (
        (-1, []),
        (0, ["anchor"]),
        (9, ["anchor"]),
        (10, ["second"]),
        (20, ["second", "third"]),
        (29, ["second", "third"]),
        (30, ["third"]),
        (1000, ["third"]),
    ):
        assert may(LIFE, hour(hours)) == names, hours
        if hours >= 0:
            assert may(LIFE, hour(hours) + MICROSECOND) == names, hours
    for hours, names in ((10, ["anchor"]), (30, ["second", "third"])):
        assert may(LIFE, hour(hours) - MICROSECOND) == names


def test_why_a_signature_does_not_count() -> None:
    everybody = LIFE.reached_from(ANCHOR.public_key)
    said = {
        (ANCHOR.key_id, -1): "was not in force before 2026-11-24T09:00:00+05:00",
        (ANCHOR.key_id, 10): f"was replaced by {SECOND.key_id} on 2026-11-24T19:00:00+05:00",
        (SECOND.key_id, 30): "was revoked from 2026-11-25T15:00:00+05:00 on: for a test",
        (THIEF.key_id, 5): "is not in the list of keys",
    }
    for (name, hours), words in said.items():
        assert words in str(LIFE.refusal(name, hour(hours), everybody))
    assert LIFE.refusal(SECOND.key_id, hour(29), everybody) is None, "what it signed before stands"
    assert "no key that you trust vouches for it" in str(
        LIFE.refusal(ANCHOR.key_id, hour(1), LIFE.reached_from(SECOND.public_key))
    )


def test_trust_goes_forward_from_the_key_that_is_trusted() -> None:
    assert LIFE.reached_from(ANCHOR.public_key) == set(IDS.values())
    assert LIFE.reached_from(SECOND.public_key.upper()) == {SECOND.key_id, THIRD.key_id}
    assert LIFE.reached_from(THIRD.public_key) == {THIRD.key_id}
    with pytest.raises(RingError, match="does not have the key"):
        LIFE.reached_from(THIEF.public_key)
    with pytest.raises(ValueError, match="64 hex digits"):
        LIFE.reached_from("secret")


def test_a_new_anchor_is_trusted_by_nobody_who_trusts_the_old_one() -> None:
    """When every key is lost: the list can go on, and says that nobody vouches."""
    ring = grown(LIFE, (INTRODUCED, THIEF, 40, None), (REVOKED, THIRD, 41, THIEF))
    assert THIEF.key_id not in ring.reached_from(ANCHOR.public_key)
    assert ring.reached_from(THIEF.public_key) == {THIEF.key_id}
    assert ring.anchor_of(THIRD.public_key) == ANCHOR.public_key
    assert ring.anchor_of(THIEF.public_key) == THIEF.public_key
    assert [key.key_id for key in ring.in_force(hour(42))] == [THIEF.key_id]
    with pytest.raises(RingError, match="does not have the key"):
        LIFE.anchor_of(THIEF.public_key)


def test_the_key_to_show_is_the_first_ones_successor() -> None:
    shown = {hours: LIFE.principal(hour(hours)) for hours in (-1, 5, 15, 25, 35)}
    assert {hours: key and key.key_id for hours, key in shown.items()} == {
        -1: None,
        5: ANCHOR.key_id,
        15: SECOND.key_id,
        25: SECOND.key_id,
        35: THIRD.key_id,
    }
    assert KeyRing().principal(START) is None


def test_the_first_key_may_be_older_than_the_list() -> None:
    """A pool that reported before there was a list goes on with its key."""
    old = event(KeyRing(), INTRODUCED, ANCHOR, hour(0), valid_from=hour(-100))
    ring = KeyRing.of([old])
    assert may(ring, hour(-100)) == ["anchor"]
    assert may(ring, hour(-100) - MICROSECOND) == []


def test_what_is_published_is_read_again() -> None:
    assert read_ring(published(LIFE)) == LIFE
    assert read_ring(json.dumps(LIFE.document(), indent=1).encode()) == LIFE
    (anchor, second, third) = LIFE.document()["keys"]
    assert (anchor["replaced_by"], anchor["valid_to"]) == (SECOND.key_id, second["valid_from"])
    assert (second["revoked_from"], second["revoked_reason"]) == (hour(30).isoformat(), "for a test")
    assert (third["authorised_by"], third["valid_to"], third["revoked_from"]) == (SECOND.key_id, None, None)


def test_a_list_that_was_cut_short_is_an_older_list() -> None:
    """It holds by itself: that it is old is seen by its head, which the log tells."""
    for length in range(len(LIFE.entries) + 1):
        assert KeyRing.of(LIFE.entries[:length]).entries == LIFE.entries[:length]
    assert KeyRing.of(LIFE.entries[:3]).head != LIFE.head
    assert KeyRing().head is None


# What an event may say


@pytest.mark.parametrize(
    ("ring", "entry", "said"),
    [
        (KeyRing(), (ROTATED, ANCHOR, 0, None), "a rotation is authorised by the key it replaces"),
        (KeyRing(), (INTRODUCED, ANCHOR, 0, SECOND), f"key {SECOND.key_id}, which is not in the list"),
        (KeyRing(), (REVOKED, ANCHOR, 0, ANCHOR), "which is not in the list"),
        (BEGUN, (INTRODUCED, ANCHOR, 1, ANCHOR), "a key is introduced once"),
        (BEGUN, (ROTATED, ANCHOR, 1, ANCHOR), "a key is introduced once"),
        (BEGUN, (ROTATED, SECOND, 1, None), "it names none"),
        (BEGUN, (ROTATED, SECOND, 1, THIEF), f"key {THIEF.key_id}, which is not in the list"),
        (BEGUN, (REVOKED, SECOND, 1, ANCHOR), "which is not in the list"),
        (BEGUN, (REVOKED, ANCHOR, 1, None), "it names none"),
        (BEGUN, (INTRODUCED, SECOND, -1, ANCHOR), "before the event before it; check the clock"),
        (LIFE, (INTRODUCED, THIEF, 40, ANCHOR), f"was replaced by {SECOND.key_id}"),
        (LIFE, (ROTATED, THIEF, 40, ANCHOR), f"was replaced by {SECOND.key_id}"),
        (LIFE, (INTRODUCED, THIEF, 40, SECOND), "was revoked from"),
        (LIFE, (REVOKED, THIRD, 40, SECOND), "was revoked from"),
        (LIFE, (REVOKED, SECOND, 40, THIRD), "is revoked already"),
        (LIFE, (INTRODUCED, SECOND, 40, THIRD), "a key is introduced once"),
    ],
)
def test_an_event_that_may_not_be(ring: KeyRing, entry: Any, said: str) -> None:
    with pytest.raises(RingError, match=said):
        grown(ring, entry)


@pytest.mark.parametrize(
    ("since", "at", "said"),
    [
        (hour(51), hour(50), "cannot be revoked from"),
        (hour(19), hour(50), "when it began or last vouched"),
        (hour(9), hour(50), "when it began or last vouched"),
    ],
)
def test_a_revocation_reaches_back_to_what_the_key_vouched_for(
    since: dt.datetime, at: dt.datetime, said: str
) -> None:
    """Else the key that it vouched for would hang in the air."""
    ring = KeyRing.of(LIFE.entries[:3])
    for fine in (hour(20), hour(50)):
        assert may(ring.added(event(ring, REVOKED, SECOND, hour(50), THIRD, valid_to=fine)), fine) == [
            "third"
        ]
    with pytest.raises(RingError, match=said):
        ring.added(event(ring, REVOKED, SECOND, at, THIRD, valid_to=since))


def test_a_key_may_revoke_itself_and_a_replaced_key_may_be_revoked() -> None:
    assert may(grown(BEGUN, (REVOKED, ANCHOR, 1, ANCHOR)), hour(1)) == []
    ring = grown(BEGUN, (ROTATED, SECOND, 10, ANCHOR), (REVOKED, ANCHOR, 11, SECOND))
    assert "was revoked" in str(ring.keys[ANCHOR.key_id].refusal(hour(12)))
    assert ring.keys[ANCHOR.key_id].refusal(hour(9)) is None


def test_a_key_cannot_be_dated_back_or_ahead_once_there_is_a_list() -> None:
    for valid_from in (hour(0), hour(2)):
        with pytest.raises(RingError, match="valid_from"):
            BEGUN.added(event(BEGUN, INTRODUCED, SECOND, hour(1), ANCHOR, valid_from=valid_from))
    with pytest.raises(RingError, match="valid_from"):
        KeyRing().added(event(KeyRing(), INTRODUCED, ANCHOR, hour(1), valid_from=hour(2)))


def test_a_signer_that_is_not_at_hand_is_named() -> None:
    drafted = BEGUN.draft(ROTATED, SECOND.public_key, hour(1), "r", authorised_by=ANCHOR.key_id)
    with pytest.raises(RingError, match=rf"key {ANCHOR.key_id} must sign it and is not at hand"):
        signed(drafted, [SECOND])


@pytest.mark.parametrize("reason", ["", "a\nb", "a\x00", "x" * 501])
def test_a_reason_is_one_line(reason: str) -> None:
    with pytest.raises(RingError, match="the reason must be 1 to 500 characters"):
        KeyRing().added(
            signed(
                KeyRing().draft(INTRODUCED, ANCHOR.public_key, hour(0), reason, authorised_by=None), [ANCHOR]
            )
        )


# Forgeries


def resealed(entry: Json, *signers: SigningKey) -> Json:
    """The entry with the hash of its event, signed anew by those who would do it."""
    digest = hashlib.sha256(rfc8785.dumps(entry["event"])).digest()
    return {
        "event": entry["event"],
        "event_sha256": digest.hex(),
        "signatures": [signature_by(signer, digest) for signer in signers],
    }


CHANGES: dict[str, Any] = {
    "schema": "dmpool-key-event/2",
    "seq": 7,
    "previous": "0" * 64,
    "at": hour(11).isoformat(),
    "action": "introduced",
    "key_id": THIEF.key_id,
    "public_key": THIEF.public_key,
    "algorithm": "rsa",
    "valid_from": hour(11).isoformat(),
    "valid_to": hour(12).isoformat(),
    "authorised_by": None,
    "reason": "another",
}


@pytest.mark.parametrize("member", CHANGES)
def test_i7_no_member_of_an_event_can_be_changed(member: str) -> None:
    """Neither as it is, nor with its hash made anew, nor signed anew by a thief with a key of his own."""
    forged = copy.deepcopy(LIFE.document())
    entry = forged["events"][1]
    assert entry["event"][member] != CHANGES[member]
    entry["event"][member] = CHANGES[member]
    with pytest.raises(RingError):
        KeyRing.of(forged["events"])
    entry["event_sha256"] = hashlib.sha256(rfc8785.dumps(entry["event"])).hexdigest()
    with pytest.raises(RingError):
        KeyRing.of(forged["events"])
    for thieves in ((THIEF,), (THIEF, THIEF), (THIEF, ANCHOR), (SECOND, THIEF)):
        with pytest.raises(RingError):
            KeyRing.of([LIFE.entries[0], resealed(entry, *thieves)])


@pytest.mark.parametrize("member", CHANGES)
@pytest.mark.parametrize("value", [None, 7, True, [], {}, "", "x"])
def test_i10_a_member_of_another_kind_is_refused_in_words(member: str, value: Any) -> None:
    entry = copy.deepcopy(LIFE.entries[1])
    if entry["event"][member] == value or (member, value) == ("reason", "x"):
        return
    entry["event"][member] = value
    with pytest.raises(RingError, match="key event 2"):
        KeyRing.of([LIFE.entries[0], resealed(entry, SECOND, ANCHOR)])


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        pytest.param(lambda e: e[::-1], "names .* as the event before|must be|seq", id="reversed"),
        pytest.param(lambda e: e[1:], "seq is 2; it must be 1", id="the anchor left out"),
        pytest.param(lambda e: [e[0], *e[2:]], "seq is 3; it must be 2", id="the rotation left out"),
        pytest.param(lambda e: [e[0], e[0]], "seq is 1; it must be 2", id="twice"),
        pytest.param(lambda e: [e[0], e[2], e[1], e[3]], "seq is 3; it must be 2", id="swapped"),
    ],
)
def test_i7_no_event_can_be_left_out_moved_or_repeated(
    forge: Callable[[list[Json]], list[Json]], said: str
) -> None:
    with pytest.raises(RingError, match=said):
        KeyRing.of(forge(list(LIFE.entries)))


def test_i7_a_thief_cannot_enter_a_key_of_his_own() -> None:
    """He has no secret of the pool's: whatever he signs with, a signature is missing or is not the key's."""
    drafted = BEGUN.draft(ROTATED, THIEF.public_key, hour(1), "mine", authorised_by=ANCHOR.key_id)
    bare = {"event": drafted, "event_sha256": "", "signatures": []}
    for signers in ((), (THIEF,), (THIEF, THIEF), (THIEF, SECOND)):
        with pytest.raises(RingError, match="must be signed by"):
            BEGUN.added(resealed(bare, *signers))
    entry = resealed(bare, THIEF, THIEF)
    entry["signatures"][1] |= {"key_id": ANCHOR.key_id, "public_key": ANCHOR.public_key}
    with pytest.raises(RingError, match=f"key {ANCHOR.key_id} did not sign it"):
        BEGUN.added(entry)


def test_i7_an_anchor_of_a_thief_leads_nowhere() -> None:
    """He can begin a list of his own, and nobody who trusts the pool's key follows it."""
    his = grown(KeyRing(), (INTRODUCED, THIEF, 0, None), (INTRODUCED, THIRD, 1, THIEF))
    with pytest.raises(RingError, match="does not have the key"):
        his.reached_from(ANCHOR.public_key)
    joined = grown(BEGUN, (INTRODUCED, THIEF, 1, None))
    assert joined.reached_from(ANCHOR.public_key) == {ANCHOR.key_id}


def test_i7_nobody_enters_a_key_that_is_another_s() -> None:
    """The new key signs too, so that a pool cannot take over a key whose secret it does not have."""
    drafted = BEGUN.draft(INTRODUCED, SECOND.public_key, hour(1), "ours", authorised_by=ANCHOR.key_id)
    bare = {"event": drafted, "event_sha256": "", "signatures": []}
    with pytest.raises(RingError, match="must be signed by"):
        BEGUN.added(resealed(bare, ANCHOR))
    entry = resealed(bare, ANCHOR, ANCHOR)
    entry["signatures"][0] |= {"key_id": SECOND.key_id, "public_key": SECOND.public_key}
    with pytest.raises(RingError, match=f"key {SECOND.key_id} did not sign it"):
        BEGUN.added(entry)


@pytest.mark.parametrize(
    ("name", "public_key"),
    [("0" * 16, SECOND.public_key), (SECOND.key_id, SECOND.public_key.upper()), ("", SECOND.public_key)],
)
def test_i7_a_key_is_entered_under_its_own_name(name: str, public_key: str) -> None:
    """Else a pool could give a key the name of one that it has lost."""
    drafted = BEGUN.draft(INTRODUCED, SECOND.public_key, hour(1), "r", authorised_by=ANCHOR.key_id)
    drafted |= {"key_id": name, "public_key": public_key}
    entry = resealed({"event": drafted, "event_sha256": "", "signatures": []}, SECOND, ANCHOR)
    entry["signatures"][0] |= {"key_id": name, "public_key": public_key}
    with pytest.raises(RingError, match=f"that of its public key is {SECOND.key_id}"):
        BEGUN.added(entry)


def test_i7_a_signature_of_a_report_is_none_of_an_event() -> None:
    """What is signed begins with its own schema."""
    moved = copy.deepcopy(LIFE.entries[1])
    moved["signatures"] = [
        signature_by(key, hashlib.sha256(b"a report").digest()) for key in (SECOND, ANCHOR)
    ]
    with pytest.raises(RingError, match="did not sign it"):
        KeyRing.of([LIFE.entries[0], moved])


def test_i7_signatures_neither_more_nor_fewer_nor_in_another_order() -> None:
    for forge in (lambda s: s[::-1], lambda s: s[:1], lambda s: [*s, s[0]], lambda s: []):
        entry = copy.deepcopy(LIFE.entries[1])
        entry["signatures"] = forge(entry["signatures"])
        with pytest.raises(RingError, match="must be signed by"):
            KeyRing.of([LIFE.entries[0], entry])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"schema":"dmpool-keys/1","keys":[]}',
        b'{"schema":"dmpool-keys/2","keys":[],"events":[]}',
        b'{"schema":"dmpool-keys/1","keys":[],"events":7}',
        b'{"schema":"dmpool-keys/1","keys":[],"events":[7]}',
        b'{"schema":"dmpool-keys/1","keys":[{}],"events":[]}',
        b'{"schema":"dmpool-keys/1","keys":[],"events":[{"event":{},"event_sha256":"","signatures":[]}]}',
        b" " * (4 * 1024 * 1024 + 1),
    ],
)
def test_i10_what_is_no_list_of_keys_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(RingError, match="key"):
        read_ring(data)


def test_i7_the_summary_cannot_say_something_else() -> None:
    for name, value in (("valid_to", None), ("public_key", THIEF.public_key), ("revoked_from", None)):
        forged = LIFE.document()
        for key in forged["keys"]:
            key[name] = value
        with pytest.raises(RingError, match="sums up wrongly"):
            read_ring(rfc8785.dumps(forged))


DATA = published(LIFE)


@settings(max_examples=150)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_i7_no_byte_of_a_published_list_can_change_what_it_says(place: int, change: int) -> None:
    forged = bytearray(DATA)
    forged[place] ^= change
    try:
        ring = read_ring(bytes(forged))
    except RingError:
        return
    assert ring == LIFE


# The rules once more, in another way


@settings(max_examples=25)
@given(st.data())
def test_a_life_of_any_length_is_what_its_intervals_say(data: st.DataObject) -> None:
    """Each key is good in one half-open interval, told here by adding and cutting intervals."""
    keys = [SigningKey(bytes([number]) * 32) for number in range(10, 18)]
    BY_ID.update({key.key_id: key for key in keys})
    ring, spans, now = KeyRing(), dict[str, list[float]](), 0.0
    fresh = iter(keys)
    for _ in range(data.draw(st.integers(1, 7))):
        alive = [name for name, (begin, end) in spans.items() if begin <= now < end]
        action = data.draw(st.sampled_from(list(Action))) if alive else INTRODUCED
        by = BY_ID[data.draw(st.sampled_from(alive))] if alive else None
        if action is REVOKED:
            key = BY_ID[data.draw(st.sampled_from(alive))]
            spans[key.key_id][1] = now
        else:
            key = next(fresh)
            if action is ROTATED and by is not None:
                spans[by.key_id][1] = now
            spans[key.key_id] = [now, float("inf")]
        ring = grown(ring, (action, key, now, by))
        now += data.draw(st.integers(0, 3))
    for hours in range(-1, int(now) + 2):
        expected = [name for name, (begin, end) in spans.items() if begin <= hours < end]
        assert [key.key_id for key in ring.in_force(hour(hours))] == expected
    assert read_ring(published(ring)) == ring
