"""Files that strangers made to hurt who reads them: they are refused in words, at once, and prove nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reporting.checkpoint import Checkpoint, LoggedProof, origin_of
from reporting.cms_shape import LARGEST_CMS, NotCms, described
from reporting.daily import DayFacts
from reporting.keyring import Action, KeyRing, RingError, read_ring
from reporting.merkle import Tree, leaf_hash
from reporting.miner_proof import check, encode
from reporting.note import COSIGNATURE, Ed25519Signer, Note, Signature, sign_note, verifier_key
from tests.reporting.keys import ANCHOR, grown
from tests.reporting.test_miner_proof import LOG_KEY, ORIGIN, logged, proof_of


@pytest.mark.parametrize("member", ["key_id", "public_key"])
@pytest.mark.parametrize("value", [5, None, [], {}, True])
def test_a_list_of_keys_whose_signatures_name_no_key(member: str, value: Any) -> None:
    """It ended the verifier instead of being refused."""
    document = json.loads(json.dumps(grown(KeyRing(), (Action.INTRODUCED, ANCHOR, 0, None)).document()))
    document["events"][0]["signatures"][0][member] = value
    with pytest.raises(RingError, match="key event 1: a signature names its key by two texts"):
        read_ring(json.dumps(document).encode())


@pytest.mark.parametrize("size", [65, 3000, LARGEST_CMS - 20])
def test_a_cms_with_an_identifier_that_takes_minutes_to_read(size: int) -> None:
    """And that Python refuses to write out once it is read."""
    identifier = b"\x06\x84" + size.to_bytes(4, "big") + b"\xff" * (size - 1) + b"\x01"
    whole = b"\x30\x84" + (len(identifier) + 2).to_bytes(4, "big") + identifier + b"\xa0\x00"
    with pytest.raises(NotCms, match=f"an object identifier has {size} bytes; 64 are the most"):
        described(whole, bytes(32))


def test_a_witness_does_not_say_whose_a_log_is(facts: DayFacts) -> None:
    """It cosigns any log that only grows; who takes its key for the pool's would believe anybody's log."""
    proof = proof_of(facts)
    witness = verifier_key("witness.example/w1", COSIGNATURE, LOG_KEY.key.public_key)
    with pytest.raises(ValueError, match="is a witness's key; take the log's own, or the pool's public key"):
        check(encode(proof), str(witness))


def test_a_key_of_one_log_says_nothing_of_another(facts: DayFacts) -> None:
    proof = proof_of(facts)
    other = Ed25519Signer(origin_of("230440000105", "main"), b"\x0a" * 32)
    place = logged(encode_leaf(proof))
    text = place.note.text
    line: Signature = other.sign(text)
    forged = LoggedProof(place.index, place.hashes, Note(text, (*place.note.signatures, line)))
    proof["log"] = forged.encode().decode()
    (last,) = [one for one in check(encode(proof), str(other.key)) if not one.passed]
    assert last.detail.startswith("name of the key, and of the log: 'dmpool/230440000105/main' is not")
    assert all(one.passed for one in check(encode(proof), str(LOG_KEY.key)))


def encode_leaf(proof: dict[str, Any]) -> bytes:
    return encode(proof["leaf"])


def test_a_checkpoint_of_a_tree_that_has_the_leaf_elsewhere(facts: DayFacts) -> None:
    """A place is proven, not that the leaf is somewhere."""
    proof = proof_of(facts)
    entries = [encode_leaf(proof), b"b", b"c"]
    tree = Tree([leaf_hash(one) for one in entries])
    note = sign_note(Checkpoint(ORIGIN, 3, tree.root()).text(), [LOG_KEY])
    proof["log"] = LoggedProof(1, tuple(tree.inclusion(0)), note).encode().decode()
    assert [one.passed for one in check(encode(proof), str(LOG_KEY.key))][-1] is False
