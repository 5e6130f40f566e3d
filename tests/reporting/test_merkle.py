"""Merkle trees: the published vectors, a second way of computing, and every wrong proof refused (I7)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.merkle import (
    EMPTY_ROOT,
    ProofError,
    Tree,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
)

# The test tree of Certificate Transparency: its leaves, its roots from 0 to 8 leaves, some of its proofs.
DATA = [
    bytes.fromhex(one)
    for one in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = {
    (0, 1): "",
    (0, 8): """
        96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4""",
    (5, 8): """
        bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b
        ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    (2, 3): "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    (1, 5): """
        6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b""",
}
CONSISTENCIES = {
    (1, 1): "",
    (1, 8): """
        96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4""",
    (6, 8): """
        0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a
        ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7""",
    (2, 5): """
        5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e
        bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b""",
}
KNOWN = Tree(map(leaf_hash, DATA))


def hexed(hashes: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in hashes]


def test_the_roots_are_those_of_the_published_tree() -> None:
    assert hexed([KNOWN.root(size) for size in range(9)]) == ROOTS
    assert KNOWN.root() == KNOWN.root(8)
    assert Tree().root() == EMPTY_ROOT


@pytest.mark.parametrize(("index", "size"), INCLUSIONS)
def test_the_inclusion_proofs_are_the_published_ones(index: int, size: int) -> None:
    proof = KNOWN.inclusion(index, size)
    assert hexed(proof) == INCLUSIONS[index, size].split()
    check_inclusion(leaf_hash(DATA[index]), index, size, proof, KNOWN.root(size))


@pytest.mark.parametrize(("old", "new"), CONSISTENCIES)
def test_the_consistency_proofs_are_the_published_ones(old: int, new: int) -> None:
    proof = KNOWN.consistency(old, new)
    assert hexed(proof) == CONSISTENCIES[old, new].split()
    check_consistency(old, KNOWN.root(old), new, KNOWN.root(new), proof)


# A second way: the recursions of RFC 9162 as they stand there, over the leaves themselves.


def slow_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = left_of(len(leaves))
    return hashlib.sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


def left_of(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def slow_inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = left_of(len(leaves))
    if index < k:
        return [*slow_inclusion(index, leaves[:k]), slow_root(leaves[k:])]
    return [*slow_inclusion(index - k, leaves[k:]), slow_root(leaves[:k])]


def slow_consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [slow_root(leaves)]
    k = left_of(len(leaves))
    if old <= k:
        return [*slow_consistency(old, leaves[:k], whole), slow_root(leaves[k:])]
    return [*slow_consistency(old - k, leaves[k:], False), slow_root(leaves[:k])]


@given(st.lists(st.binary(max_size=8), max_size=70), st.data())
def test_roots_and_proofs_are_those_of_the_recursions(entries: list[bytes], data: st.DataObject) -> None:
    leaves = [leaf_hash(one) for one in entries]
    grown = Tree()
    for leaf in leaves:
        grown.append(leaf)
    tree = Tree(leaves)
    new = data.draw(st.integers(0, len(leaves)))
    old = data.draw(st.integers(0, new))
    assert tree.root(new) == grown.root(new) == slow_root(leaves[:new])
    proof = tree.consistency(old, new)
    assert proof == grown.consistency(old, new) == (slow_consistency(old, leaves[:new]) if old else [])
    check_consistency(old, tree.root(old), new, tree.root(new), proof)
    if new:
        index = data.draw(st.integers(0, new - 1))
        path = tree.inclusion(index, new)
        assert path == slow_inclusion(index, leaves[:new])
        check_inclusion(leaves[index], index, new, path, tree.root(new))


def mutations(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """Another proof of nearly the same."""
    at = data.draw(st.integers(0, max(len(proof) - 1, 0)))
    kinds = ["longer"] + (["shorter", "flipped"] if proof else []) + (["swapped"] if len(proof) > 1 else [])
    match data.draw(st.sampled_from(kinds)):
        case "longer":
            changed = [*proof[:at], data.draw(st.binary(min_size=32, max_size=32)), *proof[at:]]
        case "shorter":
            changed = [*proof[:at], *proof[at + 1 :]]
        case "flipped":
            bit = data.draw(st.integers(0, 255))
            flipped = (int.from_bytes(proof[at], "big") ^ (1 << bit)).to_bytes(32, "big")
            changed = [*proof[:at], flipped, *proof[at + 1 :]]
        case _:
            other = data.draw(st.sampled_from([one for one in range(len(proof)) if one != at]))
            changed = list(proof)
            changed[at], changed[other] = changed[other], changed[at]
    return changed


TREE = Tree(leaf_hash(str(number).encode()) for number in range(70))


@settings(max_examples=60)
@given(st.integers(1, 70), st.data())
def test_a_changed_inclusion_proof_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = TREE.full(0, index, 1)[0], TREE.root(size), TREE.inclusion(index, size)
    with pytest.raises(ProofError):
        check_inclusion(leaf, index, size, mutations(proof, data), root)
    other = data.draw(st.integers(0, 70).filter(lambda one: one != index))
    with pytest.raises(ProofError):
        check_inclusion(leaf, other, size, proof, root)
    with pytest.raises(ProofError):
        check_inclusion(TREE.full(0, (index + 1) % 70, 1)[0], index, size, proof, root)


@settings(max_examples=60)
@given(st.integers(1, 70), st.data())
def test_a_changed_consistency_proof_is_refused(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    proof = TREE.consistency(old, new)
    with pytest.raises(ProofError):
        check_consistency(old, TREE.root(old), new, TREE.root(new), mutations(proof, data))
    wrong = data.draw(st.integers(0, 70).filter(lambda one: one != old))
    with pytest.raises(ProofError):
        check_consistency(old, TREE.root(wrong), new, TREE.root(new), proof)
    if old:
        other = data.draw(st.integers(0, 70).filter(lambda one: one != new))
        with pytest.raises(ProofError):
            check_consistency(old, TREE.root(old), new, TREE.root(other), proof)


def test_a_truncated_hash_is_refused() -> None:
    proof = KNOWN.inclusion(5)
    with pytest.raises(ProofError, match="is no SHA-256"):
        check_inclusion(leaf_hash(DATA[5]), 5, 8, [proof[0][:31], *proof[1:]], KNOWN.root())


def test_a_proof_that_ends_below_or_above_the_root_is_refused() -> None:
    """Though its hashes lead to the very root: an inner node for a leaf, or a tree for a smaller one."""
    inner, proof = KNOWN.full(1, 0, 1)[0], KNOWN.inclusion(0)
    with pytest.raises(ProofError, match="too few hashes"):
        check_inclusion(inner, 0, 8, proof[1:], KNOWN.root())
    with pytest.raises(ProofError, match="too many hashes"):
        check_inclusion(leaf_hash(DATA[0]), 0, 4, proof, KNOWN.root())
    steps = KNOWN.consistency(2)
    with pytest.raises(ProofError, match="too many hashes"):
        check_consistency(2, KNOWN.root(2), 4, KNOWN.root(), steps)
    with pytest.raises(ProofError, match="too few hashes"):
        check_consistency(2, KNOWN.root(2), 8, KNOWN.root(4), steps[:1])


def test_a_node_is_not_taken_for_a_leaf() -> None:
    """RFC 9162 2.1.1: the two prefixes keep a proof from ending at an inner node."""
    pair = KNOWN.full(0, 0, 2)
    assert leaf_hash(pair[0] + pair[1]) != node_hash(*pair)


def test_a_tree_that_became_smaller_or_was_rewritten_is_refused() -> None:
    with pytest.raises(ProofError, match="became smaller"):
        check_consistency(8, KNOWN.root(8), 7, KNOWN.root(7), [])
    rewritten = Tree(map(leaf_hash, [*DATA[:3], b"another", *DATA[4:]]))
    for proof in (KNOWN.consistency(5), rewritten.consistency(5)):
        with pytest.raises(ProofError, match="which are"):
            check_consistency(5, KNOWN.root(5), 8, rewritten.root(8), proof)


def test_what_a_tree_does_not_have_is_refused() -> None:
    for question in (
        lambda: KNOWN.root(9),
        lambda: KNOWN.inclusion(8),
        lambda: KNOWN.inclusion(7, 7),
        lambda: KNOWN.consistency(7, 6),
        lambda: KNOWN.consistency(-1),
        lambda: KNOWN.full(0, 7, 2),
        lambda: KNOWN.full(9, 0, 1),
    ):
        with pytest.raises(ValueError, match="a tree of"):
            question()
