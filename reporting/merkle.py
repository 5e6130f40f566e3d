"""Merkle trees as RFC 9162 section 2.1 (and RFC 6962) has them: roots, proofs, and their checks.

`Tree` keeps the hash of every full subtree, so that adding a leaf costs one or two hashes, and a root or a
proof at any size that the tree ever had costs a few look-ups; the same hashes are what tiles are made of
(`reporting.tiles`). The checks need no tree: a root, a proof, and what it is about.

All hashes are 32 bytes of SHA-256. Indexes count from 0. Nothing here knows what a leaf says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256().digest()
"""The root of a tree without leaves."""
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


class ProofError(ValueError):
    """A proof does not prove what it should. The message says which and why."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two subtrees."""
    return hashlib.sha256(_NODE + left + right).digest()


class Tree:
    """A tree that only grows; all that it answers is of any size from 0 to its own."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """`leaves` are the hashes of leaves, in order."""
        hashes = list(leaves)
        self._levels = [hashes]
        """At level k the hashes of the full subtrees of 2**k leaves, from the left."""
        while len(hashes) > 1:
            hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=False)]
            self._levels.append(hashes)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add the hash of one leaf."""
        level, node = 0, leaf
        while True:
            hashes = self._levels[level]
            hashes.append(node)
            if len(hashes) % 2:
                return
            node = node_hash(hashes[-2], hashes[-1])
            level += 1
            if level == len(self._levels):
                self._levels.append([])

    def full(self, level: int, first: int, count: int) -> list[bytes]:
        """The hashes of `count` full subtrees of 2**level leaves, from the one numbered `first`.

        Raises ValueError for what the tree does not have.
        """
        hashes = self._levels[level] if level < len(self._levels) else []
        if not 0 <= first <= first + count <= len(hashes):
            raise ValueError(
                f"a tree of {self.size} leaves has {len(hashes)} full subtrees at level {level}, "
                f"and not those from {first} to {first + count}"
            )
        return hashes[first : first + count]

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves, of all unless given; ValueError beyond the tree."""
        size = self._size(size)
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """The proof that the leaf at `index` is in the tree of `size` leaves (RFC 9162 2.1.3.1)."""
        size = self._size(size)
        if not 0 <= index < size:
            raise ValueError(f"a tree of {size} leaves has none at index {index}")
        proof = []
        start, width = 0, size
        while width > 1:
            left = _split(width)
            if index < start + left:
                proof.append(self._hash(start + left, width - left))
                width = left
            else:
                proof.append(self._hash(start, left))
                start, width = start + left, width - left
        return proof[::-1]

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """The proof that the first `old` leaves of the tree of `new` are as they were (RFC 9162 2.1.4.1).

        Empty for trees of the same size, and from the empty tree.
        """
        new = self._size(new)
        if not 0 <= old <= new:
            raise ValueError(f"a tree of {new} leaves does not go on from one of {old}")
        if old in (0, new):
            return []
        proof = []
        start, width, whole = 0, new, True
        while old != start + width:
            left = _split(width)
            if old <= start + left:
                proof.append(self._hash(start + left, width - left))
                width = left
            else:
                proof.append(self._hash(start, left))
                start, width, whole = start + left, width - left, False
        if not whole:
            proof.append(self._hash(start, width))
        return proof[::-1]

    def _size(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise ValueError(f"a tree of {self.size} leaves has no root of {size}")
        return size

    def _hash(self, start: int, width: int) -> bytes:
        """The hash of `width` leaves from `start`, which is a multiple of the power of two above `width`."""
        parts = []
        while width:
            level = width.bit_length() - 1
            parts.append(self._levels[level][start >> level])
            start, width = start + (1 << level), width - (1 << level)
        node = parts.pop()
        while parts:
            node = node_hash(parts.pop(), node)
        return node


def _split(width: int) -> int:
    """The largest power of two below `width`: how many leaves the left side has."""
    return 1 << ((width - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """That the leaf hash `leaf` stands at `index` of the tree with this root; raises ProofError.

    RFC 9162 2.1.3.2.
    """
    what = f"inclusion of leaf {index} in the tree of {size}"
    if not 0 <= index < size:
        raise ProofError(f"{what}: there is no such leaf")
    _hashes(what, (leaf, root, *proof))
    node = leaf
    for one, on_the_left in _climb(what, index, size - 1, proof):
        node = node_hash(one, node) if on_the_left else node_hash(node, one)
    if node != root:
        raise ProofError(f"{what}: the proof leads to root {node.hex()}, which is {root.hex()}")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """That the tree of `new` leaves begins with the whole tree of `old`; raises ProofError.

    RFC 9162 2.1.4.2; every tree goes on from the empty one.
    """
    what = f"consistency of the trees of {old} and {new} leaves"
    if not 0 <= old <= new:
        raise ProofError(f"{what}: the tree became smaller")
    _hashes(what, (old_root, new_root, *proof))
    if old in (0, new):
        if proof:
            raise ProofError(f"{what}: the proof must be empty")
        if old_root != (new_root if old else EMPTY_ROOT) or (new == 0 and new_root != EMPTY_ROOT):
            raise ProofError(f"{what}: the roots {old_root.hex()} and {new_root.hex()} do not fit")
        return
    # A full tree is itself the first hash, and the proof leaves it out.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise ProofError(f"{what}: the proof has too few hashes")
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    before = after = path[0]
    for one, on_the_left in _climb(what, number, last, path[1:]):
        if on_the_left:
            before, after = node_hash(one, before), node_hash(one, after)
        else:
            after = node_hash(after, one)
    if (before, after) != (old_root, new_root):
        raise ProofError(
            f"{what}: the proof leads to roots {before.hex()} and {after.hex()}, "
            f"which are {old_root.hex()} and {new_root.hex()}"
        )


def _climb(what: str, number: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of a proof from the node `number` of a level up, and whether it stands on the left.

    `last` is the number of that level's last node. Raises ProofError when the proof does not end at the root.
    """
    for one in proof:
        if last == 0:
            raise ProofError(f"{what}: the proof has too many hashes")
        on_the_left = bool(number & 1) or number == last
        yield one, on_the_left
        if on_the_left:
            # The last node of a level with an odd number of them is carried up as it is.
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        number, last = number >> 1, last >> 1
    if last:
        raise ProofError(f"{what}: the proof has too few hashes")


def _hashes(what: str, hashes: Iterable[bytes]) -> None:
    for one in hashes:
        if len(one) != HASH_SIZE:
            raise ProofError(f"{what}: {one.hex()} is no SHA-256")
