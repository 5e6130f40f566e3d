"""Double SHA-256 against hashlib (OpenSSL), at every length and with every implementation."""

import hashlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native


def reference(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def test_every_length_to_several_blocks(implementation: str) -> None:
    assert native.implementation() == implementation
    data = hashlib.shake_256(b"every length").digest(700)
    for length in range(len(data) + 1):
        assert native.sha256d(data[:length]) == reference(data[:length]), length


@pytest.mark.usefixtures("implementation")
@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_any_bytes(data: bytes) -> None:
    assert native.sha256d(data) == reference(data)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("length", [65535, 65536, 65537, 1 << 20])
def test_around_the_length_where_the_gil_is_released(length: int) -> None:
    data = hashlib.shake_256(b"long").digest(length)
    assert native.sha256d(data) == reference(data)


@pytest.mark.usefixtures("implementation")
def test_threads_do_not_disturb_each_other() -> None:
    inputs = [bytes([n]) * (100_000 + n) for n in range(8)]
    wrong: list[int] = []

    def work(n: int) -> None:
        expected = reference(inputs[n])
        wrong.extend(n for _ in range(20) if native.sha256d(inputs[n]) != expected)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["", "avx", "Portable", "portable\0", "портативный", "\ud800"])
def test_an_unknown_implementation_is_refused_and_changes_nothing(name: str) -> None:
    before = native.implementation()
    with pytest.raises(ValueError, match=r'give "portable"'):
        native.use_implementation(name)
    assert native.implementation() == before
