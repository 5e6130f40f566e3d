"""A miner's proof: it holds, it shows nobody else, and nothing in it can be changed unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import rfc8785

from reporting import miner_proof
from reporting.checkpoint import Checkpoint, LoggedProof, origin_of
from reporting.daily import DayFacts, build
from reporting.daily_first import in_first_schema
from reporting.merkle import Tree, leaf_hash
from reporting.miner_proof import NoProof, check, encode, make
from reporting.note import Bip340Signer, Ed25519Signer, sign_note
from reporting.signing import SigningKey, sign

KEY = SigningKey(b"\x07" * 32)
OTHER = SigningKey(b"\x08" * 32)
ORIGIN = origin_of("940140000385", "regtest")
LOG_KEY = Ed25519Signer(ORIGIN, b"\x09" * 32)


def leaf_of(envelope: Any) -> bytes:
    """The log's leaf of a report, as `docs/log.md` has it."""
    report = envelope["report"]
    told = {"day": report["report_date"], "version": report["version"], "sha256": envelope["report_sha256"]}
    more = {"replaces_sha256": None, "sequence": 1, "commitments": report["commitments"]}
    return rfc8785.dumps({"kind": "report", "at": "2026-11-20T20:00:00+00:00", **told, **more})


def logged(leaf: bytes, origin: str = ORIGIN) -> LoggedProof:
    """The leaf as the fourth of six."""
    entries = [b"a", b"b", b"c", leaf, b"d", b"e"]
    tree = Tree([leaf_hash(one) for one in entries])
    text = Checkpoint(origin, tree.size, tree.root()).text()
    signers = [Ed25519Signer(origin, b"\x09" * 32), Bip340Signer(origin, KEY)]
    return LoggedProof(3, tuple(tree.inclusion(3)), sign_note(text, signers))


def proof_of(facts: DayFacts, miner_id: int = 1) -> dict[str, Any]:
    envelope = sign(build(facts), [KEY])
    leaf = leaf_of(envelope)
    return make(envelope, miner_id, facts.hours, leaf, logged(leaf))


def failed(proof: Any, key: str = KEY.public_key) -> list[str]:
    return [one.name for one in check(encode(proof), key) if not one.passed]


@pytest.mark.parametrize("miner_id", [1, 2, 3])
def test_a_proof_holds_by_the_key_of_reports_and_by_that_of_the_log(facts: DayFacts, miner_id: int) -> None:
    proof = proof_of(facts, miner_id)
    assert failed(proof) == failed(proof, str(LOG_KEY.key)) == []
    assert len(check(encode(proof), KEY.public_key)) == 6
    assert len(proof["hours"]) == (2, 1, 0)[miner_id - 1]
    told = check(encode(proof), KEY.public_key)[-1].detail
    assert told == f"leaf 3 of 6 in {ORIGIN}"


def test_a_proof_shows_no_other_row(facts: DayFacts) -> None:
    text = encode(proof_of(facts, 2)).decode()
    for secret in ("miner1", "miner3", "Қазына 1", "KZ-1", "KZ-3", facts.salts[1], facts.salts[3], "1d" * 32):
        assert secret not in text
    assert facts.salts[2] in text


def test_the_report_itself_is_not_needed_and_a_proof_stays_small(facts: DayFacts) -> None:
    proof = proof_of(facts)
    assert proof["leaf"]["commitments"]["miners"]["leaves"] == 3
    assert len(proof["path"]) <= 2
    assert len(encode(proof)) < 12_000


def leaves_of(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a proof that is neither object nor list."""
    if isinstance(node, dict | list):
        places = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in places:
            yield from leaves_of(value, (*path, key))
    else:
        yield path


def test_i7_no_value_in_it_can_be_changed(facts: DayFacts) -> None:
    """But the name of the pool, which no tree has: its BIN and chain are the log's name."""
    proof = proof_of(facts)
    places = list(leaves_of(proof))
    assert len(places) > 100
    for path in places:
        *way, last = path
        holder: Any = proof
        for step in way:
            holder = holder[step]
        before = holder[last]
        match before:
            case bool():
                holder[last] = not before
            case int():
                holder[last] = before + 1
            case None:
                holder[last] = "x"
            case _:
                holder[last] = ("1" if before[:1] != "1" else "2") + before[1:]
        assert failed(proof) or path == ("pool", "name"), path
        holder[last] = before
    assert failed(proof) == []


def test_another_key_another_log_and_no_log_yet(facts: DayFacts) -> None:
    in_log = "the leaf is in the log, under a checkpoint that the key signed"
    proof = proof_of(facts)
    assert failed(proof, OTHER.public_key) == [in_log]
    assert failed({**proof, "log": None}) == [in_log]
    elsewhere = logged(leaf_of(sign(build(facts), [KEY])), origin_of("940140000385", "main"))
    assert failed({**proof, "log": elsewhere.encode().decode()}) == [in_log]
    with pytest.raises(ValueError, match="public key"):
        check(encode(proof), "12")
    with pytest.raises(ValueError, match="key"):
        check(encode(proof), "a+b+c")


def test_a_proof_of_one_miner_does_not_prove_anothers_row(facts: DayFacts) -> None:
    mine, others = proof_of(facts, 1), proof_of(facts, 2)
    assert "the row is in the totals that the pool committed to" in failed({**mine, "row": others["row"]})
    assert "each hour's work is in the totals of that hour" in failed({**others, "hours": mine["hours"]})


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"schema":"kz-dmp-miner-proof/1"}', b"[" * 9999]
)
def test_what_is_no_proof_is_told_in_words(data: bytes) -> None:
    (only, *rest) = check(data, KEY.public_key)
    assert not only.passed or all(not one.passed for one in rest)
    assert all(one.detail for one in rest)


def test_an_added_byte_is_seen(facts: DayFacts) -> None:
    data = encode(proof_of(facts))
    assert [one.passed for one in check(data + b"\n", KEY.public_key)] == [False]
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(encode(json.loads(data))).hexdigest()


def test_there_is_nothing_to_prove(facts: DayFacts) -> None:
    envelope = sign(build(facts), [KEY])
    with pytest.raises(NoProof, match="no row of miner 9"):
        make(envelope, 9, facts.hours, b"{}", None)
    with pytest.raises(NoProof, match="hour 2026-11-19T19:00:00Z: its manifest is not at hand"):
        make(envelope, 1, facts.hours[1:], b"{}", None)
    first = {**envelope, "report": in_first_schema(envelope["report"])}
    with pytest.raises(NoProof, match="of schema kz-dmp-daily/1, which commits to no rows"):
        make(first, 1, [], b"{}", None)
    assert miner_proof.LARGEST_FILE > 1_000_000
