"""Checkpoints, and the files that have one inside."""

from __future__ import annotations

import base64

import pytest

from reporting.checkpoint import (
    Checkpoint,
    LoggedProof,
    origin_of,
    parse_checkpoint,
    parse_proof,
    witness_request,
)
from reporting.merkle import ProofError, Tree, leaf_hash
from reporting.note import Ed25519Signer, NoteError, sign_note
from tests.reporting.test_note import PUBLIC_NOTE

ENTRIES = [f'{{"day":{number}}}'.encode() for number in range(11)]
TREE = Tree(map(leaf_hash, ENTRIES))
ORIGIN = origin_of("940140000385", "main")
CHECKPOINT = Checkpoint(ORIGIN, 11, TREE.root())
NOTE = sign_note(CHECKPOINT.text(), [Ed25519Signer(ORIGIN, bytes(32))])
# The example of C2SP tlog-checkpoint.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_the_example_of_the_specification() -> None:
    checkpoint = parse_checkpoint(EXAMPLE)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.text() == EXAMPLE
    assert parse_checkpoint(PUBLIC_NOTE.partition("\n\n")[0] + "\n").size == 1_432_088_532


def test_the_origin_names_the_pool_and_its_chain() -> None:
    assert ORIGIN == "dmpool/940140000385/main"
    assert parse_checkpoint(CHECKPOINT.text()) == CHECKPOINT


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: text + "extension\n",
        lambda text: text.partition("\n")[2],
        lambda text: text.replace("example.com/behind-the-sofa", ""),
        lambda text: text.replace("20852163", "020852163"),
        lambda text: text.replace("20852163", "-1"),
        lambda text: text.replace("20852163", "٢"),
        lambda text: text.replace("20852163", "1" * 20),
        lambda text: text.replace("q2I=", "q2J="),
        lambda text: text.replace("q2I=", "q2I"),
        lambda text: text.replace("CsUY", ""),
    ],
)
def test_what_is_no_checkpoint_is_refused(change: object) -> None:
    with pytest.raises(NoteError, match="checkpoint"):
        parse_checkpoint(change(EXAMPLE))  # type: ignore[operator]


@pytest.mark.parametrize("index", [0, 6, 10])
def test_a_proof_travels_in_a_file(index: int) -> None:
    data = LoggedProof(index, tuple(TREE.inclusion(index)), NOTE).encode()
    lines = data.decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {index}"]
    assert base64.b64decode(lines[2]) == TREE.inclusion(index)[0]
    proof = parse_proof(data)
    assert proof.check(ENTRIES[index]) == CHECKPOINT
    with pytest.raises(ProofError, match=f"inclusion of leaf {index}"):
        proof.check(ENTRIES[index] + b" ")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"proof@v1", b"proof@v2"),
        lambda data: data.replace(b"index 6", b"index 06"),
        lambda data: data.replace(b"index 6\n", b""),
        lambda data: data.replace(b"index 6\n", b"index 6\nabcd\n"),
        lambda data: data.replace(b"index 6\n", b"index 6\n" + 64 * b"AAAA\n"),
        lambda data: data.partition(b"\n\n")[0],
        lambda data: b"",
    ],
)
def test_what_is_no_proof_is_refused(change: object) -> None:
    data = LoggedProof(6, tuple(TREE.inclusion(6)), NOTE).encode()
    with pytest.raises(NoteError, match=r"proof|note"):
        parse_proof(change(data))  # type: ignore[operator]


def test_the_question_to_a_witness() -> None:
    """C2SP tlog-witness: the old size, the proof, a blank line, the note; no hash for a first time."""
    proof = TREE.consistency(5)
    lines = witness_request(5, proof, NOTE.encode()).decode().split("\n")
    assert lines[0] == "old 5"
    assert [base64.b64decode(one) for one in lines[1 : 1 + len(proof)]] == proof
    assert lines[1 + len(proof)] == ""
    assert "\n".join(lines[2 + len(proof) :]).encode() == NOTE.encode()
    assert witness_request(0, [], b"note\n") == b"old 0\n\nnote\n"
