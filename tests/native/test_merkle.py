"""Merkle branches and roots against python-bitcoinlib's whole tree."""

import hashlib

import pytest
from bitcoin.core import CBlock
from hypothesis import given, settings
from hypothesis import strategies as st

import native

pytestmark = pytest.mark.usefixtures("implementation")


def leaves(seed: bytes, count: int) -> list[bytes]:
    stream = hashlib.shake_256(seed).digest(32 * count)
    return [stream[i : i + 32] for i in range(0, len(stream), 32)]


def whole_tree_root(txids: list[bytes]) -> bytes:
    return bytes(CBlock.build_merkle_tree_from_txids(txids)[-1])


@pytest.mark.parametrize("count", [*range(1, 40), 63, 64, 65, 127, 128, 129, 1000, 2047, 2048, 2049, 4000])
def test_root_from_branches_is_the_root_of_the_whole_tree(count: int) -> None:
    txids = leaves(b"tree", count)
    branches = native.merkle_branches(b"".join(txids[1:]))
    assert len(branches) == 32 * (count - 1).bit_length()
    assert native.merkle_root(txids[0], branches) == whole_tree_root(txids)


@settings(deadline=None)
@given(st.binary(), st.binary(min_size=32, max_size=32), st.integers(min_value=1, max_value=70))
def test_branches_do_not_depend_on_the_coinbase(seed: bytes, coinbase: bytes, count: int) -> None:
    others = leaves(seed, count)[1:]
    branches = native.merkle_branches(b"".join(others))
    assert native.merkle_root(coinbase, branches) == whole_tree_root([coinbase, *others])


def test_no_other_transactions_means_no_branches() -> None:
    coinbase = bytes(range(32))
    assert native.merkle_branches(b"") == b""
    assert native.merkle_root(coinbase, b"") == coinbase
