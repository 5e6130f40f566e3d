"""Sum trees: one hash that commits to many rows and to the sums of their numbers.

A daily report commits to its miners' rows, and to each hour of the share archive that lies in its day, so
that a miner can be shown that its own row is in the published totals, with nobody else's row beside it. A
node is a hash and a tuple of sums, and an inner node hashes the sums of both its children with them: who
follows its own leaf to the root has seen every number that was added on the way, and that none was
negative. So no row can be counted twice, or left out of a total that it is in, without its miner's proof
failing.

The layout is written down in `docs/report-schema.md`, for those who compute it again. Pure; what is proved
to a miner is put together by `reporting.miner_proof`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import rfc8785

ALGORITHM: Final = "dmpool-sum-tree/1"
MINER_SUMS: Final = ("accepted_shares", "work", "credited_sat", "per_share_sat", "closing_sat")
"""The members of a miner's row whose sums its tree carries."""
HOUR_SUMS: Final = ("shares", "work")
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
_WORK: Final = "work"
"""Told as a decimal string: it outgrows what JSON numbers carry."""
_SUM_BYTES: Final = 32
_LEAF: Final = b"\x00"
_INNER: Final = b"\x01"

Json = dict[str, Any]
Object = Mapping[str, Any]
Side = Literal["left", "right"]


class Node(NamedTuple):
    """A place in a tree; all nodes of one tree have as many sums."""

    hash: bytes
    sums: tuple[int, ...]


class Step(NamedTuple):
    """On the way from a leaf to the root: the sibling, and on which side of us it stands."""

    side: Side
    sibling: Node


def leaf(salt: bytes, row: Object, sums: Sequence[int]) -> Node:
    """The leaf of a row; `sums` are the numbers of it that are added up. Raises ValueError."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"salt of {len(salt)} bytes; it has {SALT_BYTES}")
    digest = hashlib.sha256(_LEAF + salt + rfc8785.dumps(dict(row))).digest()
    return Node(digest, _checked(sums))


def join(left: Node, right: Node) -> Node:
    """The node above two; raises ValueError for sums that are negative, too large, or not as many."""
    if len(left.sums) != len(right.sums):
        raise ValueError(f"{len(left.sums)} sums on the left, {len(right.sums)} on the right")
    parts = (_INNER, left.hash, _encoded(left.sums), right.hash, _encoded(right.sums))
    sums = tuple(one + other for one, other in zip(left.sums, right.sums, strict=True))
    return Node(hashlib.sha256(b"".join(parts)).digest(), _checked(sums))


def empty(sums: int) -> Node:
    """The root of a tree without leaves."""
    return Node(hashlib.sha256(b"").digest(), (0,) * sums)


class Tree:
    """A tree over leaves, in the order of their hashes."""

    def __init__(self, leaves: Sequence[Node], sums: int) -> None:
        """`sums` is how many each node has. Raises ValueError for two leaves of one hash."""
        self.leaves = sorted(leaves)
        if any(one.hash == other.hash for one, other in zip(self.leaves, self.leaves[1:], strict=False)):
            raise ValueError("two leaves of one hash: each row is in the tree once")
        self.root = _root(self.leaves) if self.leaves else empty(sums)

    def path(self, of: Node) -> list[Step]:
        """The way from one of its leaves to the root; raises ValueError for another."""
        return _path(self.leaves, self.leaves.index(of))


def follow(start: Node, path: Sequence[Step]) -> Node:
    """Where a path leads from a leaf; raises ValueError for a sum that no tree has."""
    node = start
    for side, sibling in path:
        node = join(sibling, node) if side == "left" else join(node, sibling)
    return node


def _root(leaves: Sequence[Node]) -> Node:
    if len(leaves) == 1:
        return leaves[0]
    cut = _cut(len(leaves))
    return join(_root(leaves[:cut]), _root(leaves[cut:]))


def _path(leaves: Sequence[Node], place: int) -> list[Step]:
    if len(leaves) == 1:
        return []
    cut = _cut(len(leaves))
    if place < cut:
        return [*_path(leaves[:cut], place), Step("right", _root(leaves[cut:]))]
    return [*_path(leaves[cut:], place - cut), Step("left", _root(leaves[:cut]))]


def _cut(count: int) -> int:
    """The largest power of two below a count of at least 2 (RFC 9162)."""
    return 1 << (count - 1).bit_length() - 1


def _checked(sums: Sequence[int]) -> tuple[int, ...]:
    for one in sums:
        if type(one) is not int or not 0 <= one < 1 << 8 * _SUM_BYTES:
            raise ValueError(f"{one!r} in a sum tree: sums are whole numbers from 0 to 2^256 - 1")
    return tuple(sums)


def _encoded(sums: Sequence[int]) -> bytes:
    return b"".join(one.to_bytes(_SUM_BYTES, "big") for one in _checked(sums))


# The trees of a report


def row_salt(secret: bytes, day: dt.date, miner_id: int) -> str:
    """The salt of a miner's row in hex: who does not have the row cannot try out what it says."""
    message = f"dmpool row {day.isoformat()} {miner_id}".encode()
    return hmac.digest(secret, message, "sha256")[:SALT_BYTES].hex()


def miner_leaf(row: Object) -> Node:
    """The leaf of a miner's row as the report has it; raises ValueError or KeyError for no such row."""
    told = {key: value for key, value in row.items() if key != "salt"}
    return leaf(bytes.fromhex(row["salt"]), told, sums_of(row, MINER_SUMS))


def miners_tree(rows: Sequence[Object]) -> Tree:
    """The tree over a report's rows of miners."""
    return Tree([miner_leaf(row) for row in rows], len(MINER_SUMS))


def hour_row(hour: str, miner_id: int, shares: int, work: str, digest: str | None) -> Json:
    """What a closed hour of the archive says of a miner, as its leaf hashes it; `hour` as manifests spell
    it."""
    return {"hour": hour, "miner_id": miner_id, "shares": shares, "work": work, "digest": digest}


def hour_leaf(row: Object, salt: str) -> Node:
    """The leaf of such a row; `salt` is that of the miner's row in the report."""
    message = row["hour"].encode()
    salted = hmac.digest(bytes.fromhex(salt), message, "sha256")[:SALT_BYTES]
    return leaf(salted, row, sums_of(row, HOUR_SUMS))


def hour_tree(rows: Sequence[Object], salts: Mapping[int, str]) -> Tree:
    """The tree over an hour's rows; `salts` are those of the report, by miner id. Raises KeyError."""
    return Tree([hour_leaf(row, salts[row["miner_id"]]) for row in rows], len(HOUR_SUMS))


def sums_of(row: Object, names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of a row that a tree adds up; raises ValueError for one that is none."""
    return _checked([_decimal(row[name]) if name == _WORK else row[name] for name in names])


def _decimal(text: str) -> int:
    value = int(text)
    if str(value) != text:
        raise ValueError(f"work is spelt {text!r}; that is {value}")
    return value


def told_sums(names: Sequence[str], sums: Sequence[int]) -> Json:
    """Sums as JSON has them, by name."""
    return {name: str(one) if name == _WORK else one for name, one in zip(names, sums, strict=True)}
