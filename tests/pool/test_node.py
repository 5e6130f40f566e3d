"""Block templates as a node sends them: exact fields, byte orders, and errors that name the field."""

import hashlib
from typing import Any

import pytest
from bitcoin.core import uint256_from_compact
from hypothesis import given
from hypothesis import strategies as st

from pool.node import NodeError, TipHeader, parse_header, parse_template, target_of

GENESIS_OF_REGTEST = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
RAW = bytes.fromhex("0200000001") + bytes(60)
TXID = hashlib.sha256(hashlib.sha256(RAW).digest()).digest()


def answer(**changes: Any) -> dict[str, Any]:
    """A getblocktemplate result with two transactions; a field set to None is left out."""
    transaction = {"data": RAW.hex(), "txid": TXID[::-1].hex(), "hash": "00" * 32, "depends": [], "fee": 700}
    fields: dict[str, Any] = {
        "capabilities": ["proposal"],
        "version": 0x20000000,
        "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": GENESIS_OF_REGTEST,
        "transactions": [transaction, {**transaction, "fee": 34}],
        "coinbasevalue": 5_000_000_734,
        "longpollid": GENESIS_OF_REGTEST + "1",
        "target": "7fffff" + "00" * 29,
        "mintime": 1296688603,
        "curtime": 1795527562,
        "bits": "207fffff",
        "height": 1,
        "default_witness_commitment": "6a24aa21a9ed" + "ab" * 32,
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def test_fields_and_byte_orders() -> None:
    template = parse_template(answer())
    assert template.previous_block[::-1].hex() == GENESIS_OF_REGTEST
    assert template.target == uint256_from_compact(template.bits)
    assert (template.height, template.version) == (1, 0x20000000)
    assert (template.fees, template.coinbase_value) == (734, 5_000_000_734)
    assert (template.min_time, template.current_time) == (1296688603, 1795527562)
    assert template.transactions == (RAW, RAW)
    assert template.txids == TXID + TXID
    assert template.witness_commitment == bytes.fromhex("6a24aa21a9ed" + "ab" * 32)
    assert template.long_poll_id == GENESIS_OF_REGTEST + "1"


def test_no_commitment_and_no_transactions() -> None:
    template = parse_template(answer(default_witness_commitment=None, transactions=[]))
    assert (template.witness_commitment, template.txids, template.fees) == (b"", b"", 0)


@pytest.mark.parametrize(
    "field",
    [
        "version",
        "previousblockhash",
        "transactions",
        "coinbasevalue",
        "longpollid",
        "target",
        "mintime",
        "curtime",
        "bits",
        "height",
    ],
)
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(NodeError, match=rf"`{field}`"):
        parse_template(answer(**{field: None}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"height": "1"}, "height"),
        ({"height": 0}, "height"),
        ({"coinbasevalue": -1}, "coinbasevalue"),
        ({"coinbasevalue": 50.0}, "coinbasevalue"),
        ({"coinbasevalue": 733}, "fees 734 exceed coinbasevalue 733"),
        ({"bits": "207fff"}, "bits is not 4 bytes"),
        ({"target": "zz" * 32}, "target is not hex"),
        ({"previousblockhash": "00" * 31}, "previousblockhash is not 32 bytes"),
        ({"transactions": [{"data": "00", "txid": "00" * 32}]}, "`fee`"),
        ({"transactions": [{"data": "0", "txid": "00" * 32, "fee": 0}]}, "transactions.data"),
        ({"transactions": [{"data": "00", "txid": "00", "fee": 0}]}, "transactions.txid"),
        ({"rules": ["!segwit", "!covenants"]}, "'covenants'"),
    ],
)
def test_a_bad_value_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(NodeError) as raised:
        parse_template(answer(**changes))
    assert named in str(raised.value)


def header(**changes: Any) -> dict[str, Any]:
    """A getblockheader result; a field set to None is left out."""
    fields: dict[str, Any] = {
        "hash": "ab" * 32,
        "confirmations": 1,
        "height": 7,
        "version": 0x20000000,
        "time": 1296688700,
        "mediantime": 1296688605,
        "bits": "207fffff",
        "previousblockhash": GENESIS_OF_REGTEST,
    } | changes
    return {name: value for name, value in fields.items() if value is not None}


def test_a_header() -> None:
    expected = TipHeader("ab" * 32, GENESIS_OF_REGTEST, 7, 0x207FFFFF, 1296688605)
    assert parse_header(header()) == expected


def test_the_header_of_the_genesis_block_has_no_previous_one() -> None:
    parsed = parse_header(header(height=0, previousblockhash=None))
    assert parsed is not None
    assert parsed.previous == ""


def test_a_header_outside_the_best_chain_is_none() -> None:
    assert parse_header(header(confirmations=-1)) is None


@pytest.mark.parametrize(
    "result", [None, [], "x", header(bits="xy"), header(mediantime=None), header(height=-1)]
)
def test_an_unusable_header_is_an_error(result: Any) -> None:
    with pytest.raises(NodeError, match="unusable block header"):
        parse_header(result)


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x1D00FFFF, 0xFFFF << 208),
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x03123456, 0x123456),
        (0x02123456, 0x1234),
        (0x02008000, 0x80),
        (0x01003456, 0),
        (0x04923456, 0),
        (0xFF00FFFF, 0),
        (0, 0),
    ],
)
def test_compact_targets(bits: int, target: int) -> None:
    """As Bitcoin Core has them (arith_uint256::SetCompact)."""
    assert target_of(bits) == target


@given(st.integers(0, 2**32 - 1))
def test_any_bits_stand_for_a_target_or_for_none(bits: int) -> None:
    assert 0 <= target_of(bits) < 2**256
