"""Job.check against an independent reference in Python that knows nothing of midstates or of C."""

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native
from tests.campaign import extent

pytestmark = pytest.mark.usefixtures("implementation")

HEX = re.compile(r"[0-9a-fA-F]*")
HEX8 = re.compile(r"[0-9a-fA-F]{8}")
HEX1_TO_8 = re.compile(r"[0-9a-fA-F]{1,8}")
HARDEST = bytes(32)
EASIEST = b"\xff" * 32


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@dataclass(frozen=True)
class Submit:
    extranonce1: bytes
    extranonce2: str
    ntime: str
    nonce: str
    version_bits: str | None
    target: bytes


def reference(job: dict[str, Any], submit: Submit) -> tuple[int, bytes, bytes]:
    """The contract of Job.check, from its words."""
    if len(submit.extranonce2) != 2 * job["extranonce2_size"] or not HEX.fullmatch(submit.extranonce2):
        return -1, b"", b""
    if not HEX8.fullmatch(submit.ntime):
        return -2, b"", b""
    if not HEX1_TO_8.fullmatch(submit.nonce):
        return -3, b"", b""
    if submit.version_bits is not None and not HEX1_TO_8.fullmatch(submit.version_bits):
        return -4, b"", b""

    version, mask = job["version"], job["version_mask"]
    bits = 0 if submit.version_bits is None else int(submit.version_bits, 16)
    if submit.version_bits is not None:
        version = (version & ~mask) | bits
    root = sha256d(
        job["coinbase1"] + submit.extranonce1 + bytes.fromhex(submit.extranonce2) + job["coinbase2"]
    )
    for at in range(0, len(job["branches"]), 32):
        root = sha256d(root + job["branches"][at : at + 32])
    ntime = int(submit.ntime, 16)
    header = struct.pack(
        "<I32s32sIII", version, job["previous_block"], root, ntime, job["bits"], int(submit.nonce, 16)
    )
    number = int.from_bytes(sha256d(header), "little")
    flags = 0
    if number <= int.from_bytes(submit.target, "big"):
        flags |= 1
    if number <= int.from_bytes(job["network_target"], "big"):
        flags |= 2
    if not job["ntime_min"] <= ntime <= job["ntime_max"]:
        flags |= 4
    if bits & ~mask:
        flags |= 8
    return flags, header, number.to_bytes(32, "little")


def check(job: dict[str, Any], submit: Submit) -> tuple[int, bytes, bytes]:
    return native.Job(**job).check(
        submit.extranonce1,
        submit.extranonce2,
        submit.ntime,
        submit.nonce,
        submit.version_bits,
        submit.target,
    )


u32 = st.integers(min_value=0, max_value=0xFFFFFFFF)
hash32 = st.binary(min_size=32, max_size=32)
# A random hash is far below most random targets; these are near the middle of all hashes, or at the ends.
targets = st.sampled_from([HARDEST, EASIEST, b"\x7f" + b"\xff" * 31, b"\x80" + bytes(31)]) | hash32


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    ntime_min, ntime_max = sorted((draw(u32), draw(u32)))
    return {
        "coinbase1": draw(st.binary(max_size=200)),
        "coinbase2": draw(st.binary(max_size=200)),
        "extranonce2_size": draw(st.integers(min_value=1, max_value=16)),
        "branches": b"".join(draw(st.lists(hash32, max_size=5))),
        "previous_block": draw(hash32),
        "version": draw(u32),
        "bits": draw(u32),
        "network_target": draw(targets),
        "version_mask": draw(st.sampled_from([0, 0x1FFFE000, 0xFFFFFFFF]) | u32),
        "ntime_min": ntime_min,
        "ntime_max": ntime_max,
    }


def cased(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return text | text.map(str.upper) | text.map(str.swapcase)


@st.composite
def good_submits(draw: st.DrawFn, job: dict[str, Any]) -> Submit:
    size = job["extranonce2_size"]
    ntimes = st.sampled_from([job["ntime_min"], job["ntime_max"]]) | u32
    bits = u32 | u32.map(lambda value: value & int(job["version_mask"]))
    return Submit(
        extranonce1=draw(st.binary(max_size=16)),
        extranonce2=draw(cased(st.binary(min_size=size, max_size=size).map(bytes.hex))),
        ntime=draw(cased(ntimes.map("{:08x}".format))),
        nonce=draw(cased(u32.map("{:08x}".format) | u32.map("{:x}".format))),
        version_bits=draw(st.none() | cased(bits.map("{:08x}".format) | bits.map("{:x}".format))),
        target=draw(targets),
    )


# Almost hex: what firmware with a fault sends, and what somebody with a plan sends.
characters = [*"0123456789abcdefABCDEF" * 3, *"gGxX-+_ /:@`\0\n\x80é\u0661\ud800\U0001f600"]
rotten = st.lists(st.sampled_from(characters), max_size=40).map("".join) | st.binary(max_size=40).map(
    lambda noise: noise.decode("latin-1")
)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@settings(max_examples=extent(200, 100_000), deadline=None)
@given(st.data())
def test_every_well_formed_submit(data: st.DataObject) -> None:
    job = data.draw(jobs())
    submit = data.draw(good_submits(job))
    result = check(job, submit)
    assert result[0] >= 0
    assert result == reference(job, submit)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@settings(max_examples=extent(200, 100_000), deadline=None)
@given(st.data())
def test_every_malformed_submit(data: st.DataObject) -> None:
    """I10: any text in any field gives a number, never an exception."""
    job = data.draw(jobs())
    good = data.draw(good_submits(job))
    submit = Submit(
        extranonce1=good.extranonce1,
        extranonce2=data.draw(st.just(good.extranonce2) | rotten),
        ntime=data.draw(st.just(good.ntime) | rotten),
        nonce=data.draw(st.just(good.nonce) | rotten),
        version_bits=data.draw(st.just(good.version_bits) | rotten),
        target=good.target,
    )
    assert check(job, submit) == reference(job, submit)


JOB: dict[str, Any] = {
    "coinbase1": bytes(range(70)),
    "coinbase2": bytes(range(100)),
    "extranonce2_size": 4,
    "branches": bytes(range(96)),
    "previous_block": bytes(range(32)),
    "version": 0x20000000,
    "bits": 0x1D00FFFF,
    "network_target": HARDEST,
    "version_mask": 0x1FFFE000,
    "ntime_min": 0x65000000,
    "ntime_max": 0x65000E10,
}
SUBMIT = Submit(b"\x01\x02\x03\x04", "00000001", "65000010", "deadbeef", None, HARDEST)


def changed(**fields: Any) -> Submit:
    return Submit(**{**SUBMIT.__dict__, **fields})


@pytest.mark.parametrize("which", ["share", "network"])
@pytest.mark.parametrize("distance", [-1, 0, 1])
def test_a_hash_equal_to_the_target_meets_it_and_one_more_does_not(which: str, distance: int) -> None:
    """For many hashes, so that carries run through every byte of the comparison."""
    for nonce in range(200):
        submit = changed(nonce=f"{nonce:x}")
        _, _, hash_ = check(JOB, submit)
        target = (int.from_bytes(hash_, "little") + distance).to_bytes(32, "big")
        if which == "share":
            flags, _, _ = check(JOB, changed(nonce=f"{nonce:x}", target=target))
            expected = native.MEETS_SHARE
        else:
            flags, _, _ = check({**JOB, "network_target": target}, submit)
            expected = native.MEETS_NETWORK
        assert flags == (expected if distance >= 0 else 0)


@pytest.mark.parametrize("at", range(32))
@pytest.mark.parametrize("up", [True, False])
def test_every_byte_of_a_target_counts(at: int, up: bool) -> None:
    for nonce in range(20):
        submit = changed(nonce=f"{nonce:x}")
        target = bytearray(check(JOB, submit)[2][::-1])
        if 0 < target[at] < 255:
            break
    target[at] = 255 if up else 0
    flags, _, _ = check(JOB, changed(nonce=submit.nonce, target=bytes(target)))
    assert flags == (native.MEETS_SHARE if up else 0)


@pytest.mark.parametrize(
    ("ntime", "outside"),
    [("64ffffff", True), ("65000000", False), ("65000E10", False), ("65000e11", True), ("ffffffff", True)],
)
def test_the_ntime_window_is_closed_at_both_ends(ntime: str, outside: bool) -> None:
    flags, header, _ = check(JOB, changed(ntime=ntime))
    assert flags == (native.NTIME_OUTSIDE if outside else 0)
    assert header[68:72] == bytes.fromhex(ntime)[::-1]


@pytest.mark.parametrize(
    ("bits", "version", "flags"),
    [
        (None, 0x20000000, 0),
        ("0", 0x20000000, 0),
        ("00002000", 0x20002000, 0),
        ("1fffe000", 0x3FFFE000, 0),
        ("1", 0x20000001, native.VERSION_OUTSIDE),
        ("20000000", 0x20000000, native.VERSION_OUTSIDE),
        ("FFFFFFFF", 0xFFFFFFFF, native.VERSION_OUTSIDE),
    ],
)
def test_version_bits_and_the_mask(bits: str | None, version: int, flags: int) -> None:
    found, header, _ = check(JOB, changed(version_bits=bits))
    assert found == flags
    assert int.from_bytes(header[:4], "little") == version


def test_a_block_is_known_whatever_else_is_wrong() -> None:
    """I9: outside the ntime window and outside the mask, and still reported as meeting both targets."""
    job = {**JOB, "network_target": EASIEST}
    flags, header, hash_ = check(job, changed(ntime="ffffffff", version_bits="1", target=EASIEST))
    assert flags == 15
    assert sha256d(header) == hash_


def test_a_short_nonce_is_padded_on_the_left() -> None:
    assert check(JOB, changed(nonce="beef")) == check(JOB, changed(nonce="0000beef"))


@pytest.mark.parametrize("bad", ["", "g", "0x1", " 1", "1 ", "-1", "+1", "1_0", "\0", "١", "é", "\ud800"])
def test_malformed_fields_by_name(bad: str) -> None:
    assert check(JOB, changed(extranonce2=bad)) == (native.BAD_EXTRANONCE2, b"", b"")
    assert check(JOB, changed(ntime=bad)) == (native.BAD_NTIME, b"", b"")
    assert check(JOB, changed(nonce=bad)) == (native.BAD_NONCE, b"", b"")
    assert check(JOB, changed(version_bits=bad)) == (native.BAD_VERSION, b"", b"")


def test_lengths_one_off() -> None:
    assert check(JOB, changed(extranonce2="0000001"))[0] == native.BAD_EXTRANONCE2
    assert check(JOB, changed(extranonce2="000000001"))[0] == native.BAD_EXTRANONCE2
    assert check(JOB, changed(ntime="6500001"))[0] == native.BAD_NTIME
    assert check(JOB, changed(ntime="650000100"))[0] == native.BAD_NTIME
    assert check(JOB, changed(nonce="000000001"))[0] == native.BAD_NONCE
    assert check(JOB, changed(version_bits="000000001"))[0] == native.BAD_VERSION


def test_the_first_malformed_field_is_named() -> None:
    all_bad = changed(extranonce2="x", ntime="x", nonce="x", version_bits="x")
    assert check(JOB, all_bad)[0] == native.BAD_EXTRANONCE2
    assert check(JOB, changed(ntime="x", nonce="x", version_bits="x"))[0] == native.BAD_NTIME
    assert check(JOB, changed(nonce="x", version_bits="x"))[0] == native.BAD_NONCE


def test_a_subclass_of_str_is_read_like_a_str() -> None:
    class Text(str):
        __slots__ = ()

    assert check(JOB, changed(nonce=Text("deadbeef"))) == check(JOB, SUBMIT)
    assert check(JOB, changed(nonce=Text("\ud800")))[0] == native.BAD_NONCE


@pytest.mark.parametrize("length", [0, 1, 31, 63, 64, 65, 127, 128, 129, 2000, 4064])
def test_every_split_of_the_largest_coinbase(length: int) -> None:
    job = {
        **JOB,
        "coinbase1": b"\x5a" * length,
        "coinbase2": b"\xa5" * (4064 - length),
        "extranonce2_size": 16,
        "branches": bytes(range(256)) * 4,
    }
    submit = changed(extranonce1=b"\x01" * 16, extranonce2="02" * 16)
    assert check(job, submit) == reference(job, submit)
