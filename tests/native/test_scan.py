"""The nonce scan against brute force with hashlib."""

import hashlib
import signal
import threading
import time
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native

pytestmark = pytest.mark.usefixtures("implementation")

NOTHING_MEETS = bytes(32)


def brute_force(header: bytes, first: int, count: int, target: bytes) -> int | None:
    limit = int.from_bytes(target, "big")
    for nonce in range(first, first + count):
        candidate = header[:76] + nonce.to_bytes(4, "little")
        digest = hashlib.sha256(hashlib.sha256(candidate).digest()).digest()
        if int.from_bytes(digest, "little") <= limit:
            return nonce
    return None


@settings(max_examples=60, deadline=None)
@given(
    header=st.binary(min_size=80, max_size=80),
    first=st.integers(min_value=0, max_value=2**32 - 400) | st.just(2**32 - 400),
    count=st.integers(min_value=0, max_value=400),
    shift=st.integers(min_value=0, max_value=12),
)
def test_any_range(header: bytes, first: int, count: int, shift: int) -> None:
    target = ((1 << 256 - shift) - 1).to_bytes(32, "big")
    assert native.scan(header, first, count, target) == brute_force(header, first, count, target)


def test_a_nonce_beyond_the_first_step_is_found() -> None:
    """A scan works in steps of 2**18, to look at signals in between; this nonce lies in the second step."""
    header = b"\x08" + bytes(79)
    target = ((1 << 238) - 1).to_bytes(32, "big")
    assert native.scan(header, 0, 1 << 20, target) == 309942
    assert native.scan(header, 0, 309942, target) is None
    assert brute_force(header, 309942, 1, target) == 309942


def test_the_genesis_nonce() -> None:
    header = bytes.fromhex(
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
        "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
    )
    target = bytes.fromhex("00000000ffff" + "00" * 26)
    assert native.scan(header, 2083236893 - 1000, 2000, target) == 2083236893


def test_the_last_nonce_of_all_is_scanned() -> None:
    assert native.scan(bytes(80), 2**32 - 1, 1, b"\xff" * 32) == 2**32 - 1
    assert native.scan(bytes(80), 2**32 - 1, 1, NOTHING_MEETS) is None
    assert native.scan(bytes(80), 0, 0, b"\xff" * 32) is None


def test_other_threads_run_during_a_scan() -> None:
    """The scan runs until this thread, which needs the GIL, has stopped it by a signal."""

    class StoppedError(Exception):
        pass

    def stop(signum: int, frame: FrameType | None) -> None:
        raise StoppedError

    def interrupt() -> None:
        time.sleep(0.05)
        signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(StoppedError):
            native.scan(bytes(80), 0, 1 << 32, NOTHING_MEETS)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
