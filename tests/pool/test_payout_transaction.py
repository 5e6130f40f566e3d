"""No draft and no signed transaction passes that is not the payout's, byte for byte (invariant 5)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from embit import ec, finalizer, script
from embit.psbt import PSBT
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput
from hypothesis import given
from hypothesis import strategies as st

from pool.payout_transaction import (
    WrongTransaction,
    check_signed,
    pays_none_of,
    read_draft,
    stripped,
    txid_signed,
    txid_unsigned,
    unsigned,
    worth_of,
)

KEY = ec.PrivateKey(bytes(31) + b"\x01")
POOL = script.p2wpkh(KEY)
MINERS = [script.p2wpkh(ec.PrivateKey(bytes(31) + bytes([number]))) for number in range(2, 6)]
PAYMENTS = [(one.data, 100_000 * number) for number, one in enumerate(MINERS, 1)]
CHANGE = (POOL.data, 7_000)
FEE = 321


def draft(
    outputs: list[tuple[bytes, int]] | None = None, coins: int = 2, fee: int = FEE, pool: script.Script = POOL
) -> str:
    """A PSBT like the node's."""
    paid = [*PAYMENTS, CHANGE] if outputs is None else outputs
    inputs = [
        TransactionInput(bytes([number]) * 32, number, sequence=0xFFFFFFFD) for number in range(1, coins + 1)
    ]
    psbt = PSBT(Transaction(2, inputs, [TransactionOutput(sat, script.Script(to)) for to, sat in paid], 0))
    worth = sum(sat for _, sat in paid) + fee
    for number, one in enumerate(psbt.inputs):
        part = worth // coins if number else worth - worth // coins * (coins - 1)
        one.witness_utxo = TransactionOutput(part, pool)
    return str(psbt.to_string())


def signed(psbt: str, sighash: int = SIGHASH.ALL) -> bytes:
    """The transaction of a PSBT with signatures."""
    parsed = PSBT.from_string(psbt)
    for one in parsed.inputs:
        one.sighash_type = sighash
    assert parsed.sign_with(KEY, sighash) == len(parsed.inputs)
    return bytes(finalizer.finalize_psbt(parsed).serialize())


def test_a_draft_is_read_with_its_coins_and_fee() -> None:
    read = read_draft(draft(), PAYMENTS, CHANGE[0], 1000)
    assert read.fee_sat == FEE
    assert read.inputs == (f"{'01' * 32}:1", f"{'02' * 32}:2")
    assert worth_of(read.psbt) == sum(amount for _, amount in (*PAYMENTS, CHANGE)) + FEE


def test_a_draft_without_change_is_fine() -> None:
    assert read_draft(draft(PAYMENTS), PAYMENTS, CHANGE[0], 1000).fee_sat == FEE


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        PAYMENTS[:-1],
        [*PAYMENTS[:-1], CHANGE],
        [*PAYMENTS[:-1], (PAYMENTS[-1][0], PAYMENTS[-1][1] - 1), CHANGE],
        [*reversed(PAYMENTS), CHANGE],
        [CHANGE, *PAYMENTS],
        [*PAYMENTS, PAYMENTS[0]],
        [*PAYMENTS, CHANGE, CHANGE],
        [*PAYMENTS, CHANGE, (b"\x51", 1)],
    ],
)
def test_a_draft_that_pays_otherwise_is_refused(outputs: list[tuple[bytes, int]]) -> None:
    with pytest.raises(WrongTransaction):
        read_draft(draft(outputs), PAYMENTS, CHANGE[0], 1000)


def test_a_draft_that_spends_more_than_it_has_is_refused() -> None:
    with pytest.raises(WrongTransaction, match="more than its coins"):
        read_draft(draft(fee=-5), PAYMENTS, CHANGE[0], 1000)


@pytest.mark.parametrize(
    "pool", [script.p2pkh(KEY), script.p2sh(script.p2wpkh(KEY))], ids=["legacy", "nested segwit"]
)
def test_a_draft_on_a_coin_that_is_not_native_segwit_is_refused(pool: script.Script) -> None:
    """I5: the txid that a draft has once signed would not be known before."""
    with pytest.raises(WrongTransaction, match="not native segwit"):
        read_draft(draft(pool=pool), PAYMENTS, CHANGE[0], 1000)


@pytest.mark.parametrize("pool", [script.p2wsh(POOL), script.p2tr(KEY)], ids=["script", "taproot"])
def test_a_draft_on_any_native_segwit_coin_is_fine(pool: script.Script) -> None:
    assert read_draft(draft(pool=pool), PAYMENTS, CHANGE[0], 1000).fee_sat == FEE


def test_whether_a_transaction_makes_any_of_some_payments() -> None:
    """I5: one payment is enough, and it is the script and the sum together that make it."""
    raw = signed(draft([PAYMENTS[2], CHANGE]))
    assert not pays_none_of(raw, PAYMENTS)
    assert pays_none_of(raw, [*PAYMENTS[:2], (PAYMENTS[2][0], PAYMENTS[2][1] - 1)])
    assert pays_none_of(raw, [])


def test_the_signed_draft_passes_and_keeps_the_txid_that_was_foreseen() -> None:
    psbt = draft()
    raw = signed(psbt)
    check_signed(psbt, raw)
    assert txid_signed(psbt, raw) == txid_unsigned(psbt) == Transaction.parse(raw).txid().hex()
    assert stripped(raw) == unsigned(psbt)


@pytest.mark.parametrize(
    "change",
    [
        lambda tx: setattr(tx.vout[0], "value", tx.vout[0].value + 1),
        lambda tx: tx.vout.append(TransactionOutput(1, POOL)),
        lambda tx: tx.vout.pop(),
        lambda tx: tx.vout.reverse(),
        lambda tx: tx.vin.reverse(),
        lambda tx: tx.vin.pop(),
        lambda tx: setattr(tx.vin[0], "sequence", 0),
        lambda tx: setattr(tx.vin[0], "vout", 9),
        lambda tx: setattr(tx, "locktime", 1),
        lambda tx: setattr(tx, "version", 1),
    ],
)
def test_anything_else_that_was_signed_is_refused(change: Callable[[Transaction], object]) -> None:
    psbt = draft()
    altered = Transaction.parse(signed(psbt))
    change(altered)
    with pytest.raises(WrongTransaction):
        txid_signed(psbt, altered.serialize())


@pytest.mark.parametrize(
    "sighash",
    [SIGHASH.NONE, SIGHASH.SINGLE, SIGHASH.ALL | SIGHASH.ANYONECANPAY, SIGHASH.NONE | SIGHASH.ANYONECANPAY],
)
def test_a_signature_that_leaves_something_open_is_refused(sighash: int) -> None:
    psbt = draft()
    with pytest.raises(WrongTransaction, match="SIGHASH_ALL"):
        check_signed(psbt, signed(psbt, sighash))


def test_a_schnorr_signature_that_leaves_something_open_is_refused() -> None:
    psbt = draft(coins=1)
    open_ended = Transaction.parse(signed(psbt))
    open_ended.vin[0].witness.items = [bytes(64) + b"\x83"]
    with pytest.raises(WrongTransaction, match="SIGHASH_ALL"):
        check_signed(psbt, open_ended.serialize())
    open_ended.vin[0].witness.items = [bytes(64)]
    check_signed(psbt, open_ended.serialize())


SCRIPT, CONTROL = b"\x20" + bytes(32) + b"\xac" + bytes(31), b"\xc0" + bytes(64)
"""As long as a Schnorr signature that names what it is over, both."""


@pytest.mark.parametrize("kind", [b"\x02", b"\x03", b"\x81", b"\x82", b"\x83"])
def test_a_schnorr_signature_in_a_script_path_that_leaves_something_open_is_refused(kind: bytes) -> None:
    """I5: so that nobody changes a payout on its way, BIP342's signatures included."""
    psbt = draft(coins=1)
    open_ended = Transaction.parse(signed(psbt))
    for stack in ([bytes(64) + kind], [bytes(64), bytes(64) + kind], [b"", bytes(64) + kind, bytes(64)]):
        open_ended.vin[0].witness.items = [*stack, SCRIPT, CONTROL]
        with pytest.raises(WrongTransaction, match="SIGHASH_ALL"):
            check_signed(psbt, open_ended.serialize())


def test_script_and_control_block_are_no_signatures_however_long() -> None:
    psbt = draft(coins=1)
    spent = Transaction.parse(signed(psbt))
    assert len(SCRIPT) == len(CONTROL) == len(bytes(64) + b"\x01") == 65
    spent.vin[0].witness.items = [bytes(64), bytes(64) + b"\x01", SCRIPT, CONTROL]
    check_signed(psbt, spent.serialize())


@given(st.binary(max_size=200))
def test_garbage_is_told_and_nothing_else(garbage: bytes) -> None:
    for read in (stripped, lambda one: unsigned(one.hex()), lambda one: unsigned(one.decode("latin-1"))):
        with contextlib.suppress(WrongTransaction):
            read(garbage)


@given(st.data())
def test_one_flipped_bit_outside_the_signatures_is_seen(data: st.DataObject) -> None:
    psbt = draft()
    bare = unsigned(psbt)
    place = data.draw(st.integers(0, len(bare) * 8 - 1))
    flipped = bytearray(bare)
    flipped[place // 8] ^= 1 << (place % 8)
    with pytest.raises(WrongTransaction):
        txid_signed(psbt, bytes(flipped))
