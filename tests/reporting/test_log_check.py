"""A stranger's look at a copy of the log: all in order, and every single change caught (I7)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.checkpoint import Checkpoint, LoggedProof, parse_proof
from reporting.dmpool_verify import Check
from reporting.log_check import check_log, check_proof
from reporting.merkle import Tree, leaf_hash
from reporting.note import (
    COSIGNATURE,
    Bip340Signer,
    Ed25519Signer,
    Note,
    Signature,
    cosigned_message,
    sign_note,
    verifier_key,
)
from reporting.signing import SigningKey
from reporting.tiles import ENTRIES, bundle_bytes, tile_bytes, tiles_of

ORIGIN = "dmpool/940140000385/main"
LOG = Ed25519Signer(ORIGIN, bytes(32))
REPORTS = Bip340Signer(ORIGIN, SigningKey(bytes(31) + b"\x07"))
DATA = [f'{{"n":{number}}}'.encode() for number in range(300)]


def note_of(entries: list[bytes], signer: Any = LOG) -> Note:
    tree = Tree(map(leaf_hash, entries))
    return sign_note(Checkpoint(ORIGIN, tree.size, tree.root()).text(), [signer])


def copy_of(entries: list[bytes]) -> dict[str, bytes]:
    """All files of a log."""
    tree = Tree(map(leaf_hash, entries))
    files = {"checkpoint": note_of(entries).encode()}
    for tile in tiles_of(tree.size):
        first = tile.index * 256
        files[tile.path] = (
            bundle_bytes(entries[first : first + tile.width])
            if tile.level == ENTRIES
            else tile_bytes(tree, tile)
        )
    return files


FILES = copy_of(DATA)


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_a_whole_copy_passes_and_goes_on_from_what_was_kept() -> None:
    checks = check_log(FILES.get, [LOG.key], note_of(DATA[:77]))
    assert failed(checks) == []
    assert [check.detail for check in checks[1:3]] == ["300 entries", "3 tiles"]
    assert checks[-1].detail == "from 77 entries to 300"
    for size in (0, 300):
        assert failed(check_log(FILES.get, [LOG.key], note_of(DATA[:size]))) == []


def test_full_tiles_stand_in_for_partial_ones_that_are_gone() -> None:
    later = copy_of(DATA + [b"more"] * 300)
    mixed = {path: data for path, data in later.items() if ".p/" not in path} | {
        "checkpoint": FILES["checkpoint"]
    }
    mixed["tile/1/000.p/1"] = FILES["tile/1/000.p/1"]
    assert failed(check_log(mixed.get, [LOG.key])) == []


@settings(max_examples=40)
@given(st.data())
def test_every_changed_byte_is_caught(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(FILES)))
    content = FILES[path]
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != content[at]))
    changed = FILES | {path: content[:at] + bytes([byte]) + content[at + 1 :]}
    assert failed(check_log(changed.get, [LOG.key]))


@pytest.mark.parametrize("path", sorted(FILES))
def test_a_missing_file_is_named(path: str) -> None:
    left = {name: data for name, data in FILES.items() if name != path}
    [check] = [one for one in check_log(left.get, [LOG.key]) if not one.passed]
    assert path in check.detail


def test_a_past_that_was_rewritten_is_caught_by_one_old_checkpoint() -> None:
    """The copy is in order in itself, and signed."""
    rewritten = [*DATA[:5], b'{"n":6}', *DATA[6:]]
    files = copy_of(rewritten)
    assert failed(check_log(files.get, [LOG.key])) == []
    for kept in (6, 77, 300):
        checks = check_log(files.get, [LOG.key], note_of(DATA[:kept]))
        assert failed(checks) == ["the log goes on from the old checkpoint"]
        assert "Keep both checkpoints" in checks[-1].detail
    assert failed(check_log(files.get, [LOG.key], note_of(DATA[:5]))) == []


def test_a_log_that_became_shorter_or_another_is_caught() -> None:
    short = copy_of(DATA[:100])
    checks = check_log(short.get, [LOG.key], note_of(DATA))
    assert failed(checks) == ["the log goes on from the old checkpoint"]
    assert "became smaller" in checks[-1].detail
    other = Ed25519Signer("dmpool/940140000385/regtest", bytes(32))
    note = sign_note(Checkpoint(other.key.name, 2, bytes(32)).text(), [other])
    checks = check_log(FILES.get, [LOG.key, other.key], note)
    assert "is of another log" in checks[-1].detail


def test_an_unsigned_old_checkpoint_is_told() -> None:
    stranger = Ed25519Signer(ORIGIN, bytes([5]) * 32)
    checks = check_log(FILES.get, [LOG.key], note_of(DATA[:5], stranger))
    assert failed(checks) == ["the old checkpoint is signed by the log"]


def test_a_checkpoint_of_another_key_ends_the_checks() -> None:
    for key in (
        Ed25519Signer(ORIGIN, bytes([5]) * 32).key,
        Ed25519Signer("another", bytes(32)).key,
        REPORTS.key,
    ):
        assert failed(check_log(FILES.get, [key])) == ["the checkpoint is signed by the log"]
    assert failed(check_log(FILES.get, [])) == ["the checkpoint is signed by the log"]


def test_a_key_of_another_name_does_not_sign_this_log() -> None:
    """A key that is trusted for its own log says nothing of this one."""
    other = Ed25519Signer("dmpool/other/main", bytes(32))
    files = FILES | {"checkpoint": note_of(DATA, other).encode()}
    [check] = check_log(files.get, [other.key])
    assert (check.passed, "and signed by dmpool/other/main" in check.detail) == (False, True)


def test_entries_and_tiles_that_were_changed_together_do_not_have_the_root() -> None:
    files = copy_of([*DATA[:5], b'{"n":6}', *DATA[6:]]) | {"checkpoint": FILES["checkpoint"]}
    assert failed(check_log(files.get, [LOG.key])) == ["the root is that of the entries"]


def test_a_witness_that_is_asked_for_must_have_cosigned_the_newest_alone() -> None:
    secret = Ed25519PrivateKey.from_private_bytes(bytes(32))
    witness = verifier_key("w", COSIGNATURE, secret.public_key().public_bytes_raw())
    note, old = note_of(DATA), note_of(DATA[:5])
    value = (7).to_bytes(8, "big") + secret.sign(cosigned_message(note.text, 7))
    cosigned = Note(note.text, (*note.signatures, Signature("w", witness.key_id, value)))
    files = FILES | {"checkpoint": cosigned.encode()}
    checks = check_log(files.get, [LOG.key, witness], old)
    assert failed(checks) == []
    assert checks[1] == Check("the checkpoint is cosigned by w", True, "at unix time 7")
    assert failed(check_log(FILES.get, [LOG.key, witness])) == ["the checkpoint is cosigned by w"]
    # A witness's word alone is not the log's.
    assert failed(check_log(files.get, [witness])) == ["the checkpoint is signed by the log"]


def test_who_has_the_report_key_alone_checks_the_same() -> None:
    files = FILES | {"checkpoint": note_of(DATA, REPORTS).encode()}
    assert failed(check_log(files.get, [REPORTS.key])) == []


@pytest.mark.parametrize("index", [0, 255, 299])
def test_a_proof_is_checked_with_its_entry(index: int) -> None:
    tree = Tree(map(leaf_hash, DATA))
    proof = LoggedProof(index, tuple(tree.inclusion(index)), note_of(DATA), DATA[index])
    read = parse_proof(proof.encode())
    assert read == proof
    checks = check_proof(read, [LOG.key])
    assert failed(checks) == []
    assert checks[-1].detail == f"entry {index} of 300: {DATA[index].decode()}"
    assert failed(check_proof(read, [REPORTS.key])) == ["the checkpoint is signed by the log"]
    for changed in (b"{}", None):
        wrong = LoggedProof(index, proof.hashes, proof.note, changed)
        assert failed(check_proof(wrong, [LOG.key])) == ["the entry is in the log"]
