"""SeenHashes against Python's own set."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

import native


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=60) | st.integers(min_value=0, max_value=2**64 - 1)))
def test_any_sequence_of_keys(keys: list[int]) -> None:
    seen, reference = native.SeenHashes(), set[int]()
    for key in keys:
        assert seen.add(key.to_bytes(8, "little") + bytes(24)) == (key not in reference)
        reference.add(key)
        assert len(seen) == len(reference)


def test_it_grows_and_forgets_nothing() -> None:
    hashes = [hashlib.sha256(n.to_bytes(4, "little")).digest() for n in range(50_000)]
    seen = native.SeenHashes()
    assert all(seen.add(h) for h in hashes)
    assert not any(seen.add(h) for h in hashes)
    assert len(seen) == len(hashes)


def test_keys_that_collide_in_the_table_stay_apart() -> None:
    keys = [(n << 32).to_bytes(8, "little") + bytes(24) for n in range(1, 2000)]
    seen = native.SeenHashes()
    assert all(seen.add(k) for k in keys)
    assert not any(seen.add(k) for k in keys)


def test_the_zero_key_is_a_key() -> None:
    seen = native.SeenHashes()
    assert seen.add(bytes(32))
    assert not seen.add(bytes(32))
    assert len(seen) == 1


def test_the_zeros_of_the_proof_of_work_are_not_the_key() -> None:
    """A block hash ends in zeros in internal order; two blocks differ in what comes before."""
    seen = native.SeenHashes()
    assert seen.add(b"\x01" * 8 + bytes(24))
    assert seen.add(b"\x02" * 8 + bytes(24))


def test_sets_are_independent() -> None:
    one, two = native.SeenHashes(), native.SeenHashes()
    assert one.add(b"\x01" * 32)
    assert two.add(b"\x01" * 32)
