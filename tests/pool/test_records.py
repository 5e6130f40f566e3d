"""Records survive the way from the spool to the ledger unchanged, and nothing else passes for one."""

from contextlib import suppress

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.records import Found, Record, Reject, Share, decode_batch, encode_batch, encode_records

TIMES = st.integers(-(2**62), 2**62)
TEXTS = st.text(max_size=30)
HASHES = st.binary(min_size=32, max_size=32)
SHARES = st.builds(
    Share,
    TIMES,
    st.integers(0, 2**62),
    TEXTS,
    st.integers(0, 2**32 - 1),
    HASHES,
    st.binary(min_size=80, max_size=80),
)
REJECTS = st.builds(Reject, TIMES, st.integers(0, 2**62), TEXTS, TEXTS)
SATOSHIS = st.integers(0, 21 * 10**14)
FOUNDS = st.builds(
    *(Found, TIMES, st.integers(0, 2**62), TEXTS, st.integers(0, 2**31), TEXTS, TEXTS, HASHES),
    *(SATOSHIS, SATOSHIS, TEXTS, st.booleans()),
)
ROWS = st.lists(st.lists(st.one_of(SHARES, REJECTS, FOUNDS), max_size=5), max_size=5)


@given(ROWS)
def test_round_trip(rows: list[list[Record]]) -> None:
    payload = encode_batch([encode_records(row) for row in rows])
    records = decode_batch(payload)
    assert records == [record for row in rows for record in row]
    assert [type(one) for one in records] == [type(record) for row in rows for record in row]


@settings(max_examples=300)
@given(ROWS.filter(bool), st.integers(0, 2**16), st.integers(1, 255))
def test_a_damaged_batch_is_a_value_error_that_says_so_or_other_records(
    rows: list[list[Record]], place: int, flips: int
) -> None:
    payload = bytearray(encode_batch([encode_records(row) for row in rows]))
    payload[place % len(payload)] ^= flips
    records: list[Record] = []
    with suppress(UnreadableBatch):
        records = decoded(bytes(payload))
    assert all(isinstance(record, Share | Reject | Found) for record in records)


class UnreadableBatch(Exception):
    """The error that is wished for."""


def decoded(payload: bytes) -> list[Record]:
    try:
        return decode_batch(payload)
    except ValueError as error:
        if "cannot be read" in str(error):
            raise UnreadableBatch from error
        raise


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no zstandard",
        zstandard.compress(b"no msgpack"),
        zstandard.compress(b"\x91\x91\x93\x09\x01\x02"),
        zstandard.compress(b"\x91\x91\x92\x01\xc0"),
    ],
)
def test_what_is_no_batch_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        decode_batch(payload)
