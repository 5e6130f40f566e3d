"""The proof of each share from its record alone."""

from __future__ import annotations

from native import sha256d
from pool.archive_rows import ArchivedBatch
from pool.audit_proof import Proof
from pool.records import Found, Record, Reject, Share

EASY = b"\xff" * 32
HARD = b"\x00" * 32


def look(*records: Record) -> Proof:
    proof = Proof()
    proof.look(ArchivedBatch(7, 1, 1, 1, 1, 0, list(records)))
    return proof


def share(target: bytes = EASY, header: bytes = bytes(80)) -> Share:
    return Share(0, 1, "a", 1, target, header)


def found(of: bytes, *, credited: bool = True, target: bytes = EASY) -> Found:
    return Found(0, 1, "a", 5, sha256d(of)[::-1].hex(), "00" * 32, target, 1, 0, "00" * 32, credited)


def test_work_that_was_done_is_proven() -> None:
    """I4: of shares, and of a block by the share before it."""
    proof = look(share(), share(header=bytes([1]) * 80), found(bytes([1]) * 80))
    assert (proof.work.agree, proof.work.different) == (3, 0)


def test_a_share_at_its_target_is_work_and_one_above_is_none() -> None:
    """I4: not above the target, to the last bit."""
    number = int.from_bytes(sha256d(bytes(80)), "little")
    at, above = number.to_bytes(32, "big"), (number - 1).to_bytes(32, "big")
    assert look(share(at)).work.agree == 1
    refused = look(share(above)).work
    assert (refused.different, refused.shown[0].key) == (1, "record 0 of batch 7")
    assert refused.shown[0].kept == f"target {above.hex()}"


def test_what_cannot_be_proven_is_told() -> None:
    """I4: no header, a block that its share does not solve, one without a share, one above the network's."""
    assert look(share(header=b"")).work.shown[0].rebuilt == "no header of 80 bytes"
    for records in (
        [share(), found(bytes([1]) * 80)],
        [found(bytes(80))],
        [share(), found(bytes(80), target=HARD)],
    ):
        assert look(*records).work.different == 1
    assert look(share(), found(bytes(80), credited=False)).work.different == 0


def test_refused_shares_are_told_by_what_their_headers_show() -> None:
    proof = look(
        Reject(0, 1, "a", "stale", 1, EASY, bytes(80)),
        Reject(0, 1, "a", "low-difficulty", 1, HARD, bytes(80)),
        Reject(0, 0, "who", "unauthorized"),
    )
    assert dict(proof.refused) == {
        ("stale", "the work was done"): 1,
        ("low-difficulty", "the work was not done"): 1,
        ("unauthorized", "without a header"): 1,
    }
    assert proof.work.agree == 0
