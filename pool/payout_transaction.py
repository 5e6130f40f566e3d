"""What a payout's transaction must be: the payments it was stored with, and not a byte else.

A draft comes from the node, a signature from wherever the keys are, and neither is trusted: a draft has
exactly the payments in their order and at most one more output, the pool's own change; a signed transaction
is its draft and nothing but signatures, each over all of it, so that nobody can change it on its way.

Sources: BIP174 (PSBT), BIP141 (witness), BIP341 (Schnorr signatures), BIP66 (DER signatures).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bitcoin.core import CMutableTransaction, CMutableTxIn, CTransaction
from bitcoin.core.script import CScript, CScriptInvalidError
from bitcoin.core.serialize import SerializationError
from embit.psbt import PSBT

from payouts.output import is_witness_program

SIGHASH_ALL: Final = 1
_DER: Final = range(9, 74)
_SCHNORR_WITH_TYPE: Final = 65


class WrongTransaction(ValueError):
    """A transaction that is not the payout's. The message says what differs."""


class Draft(NamedTuple):
    """An unsigned transaction: its PSBT, its coins as "txid:output", its fee in satoshis."""

    psbt: str
    inputs: tuple[str, ...]
    fee_sat: int
    rate: int
    """Satoshis for 1000 virtual bytes that were asked of the node."""


def read_draft(psbt: str, payments: Sequence[tuple[bytes, int]], change: bytes, rate: int) -> Draft:
    """Read and check a draft that pays (script, satoshis) in this order; raises WrongTransaction."""
    parsed = _parse(psbt)
    outputs = [(bytes(one.script_pubkey.data), int(one.value)) for one in parsed.tx.vout]
    if outputs[: len(payments)] != list(payments):
        raise WrongTransaction("the draft's payments are not those of the payout; the node's answer is wrong")
    rest = outputs[len(payments) :]
    if len(rest) > 1 or any(script != change for script, _ in rest):
        raise WrongTransaction("the draft pays somebody else than the payout's miners and the pool")
    for one in parsed.inputs:
        if not is_witness_program(bytes(one.utxo.script_pubkey.data)):
            raise WrongTransaction(
                "the draft spends a coin that is not native segwit: the txid is not known before "
                "it is signed, so that a payment sent elsewhere would not be recognised; move that coin to a "
                "bc1 address"
            )
    worth = worth_of(psbt)
    inputs = tuple(f"{one.txid.hex()}:{one.vout}" for one in parsed.tx.vin)
    fee = worth - sum(amount for _, amount in outputs)
    if fee < 0:
        raise WrongTransaction(f"the draft spends {-fee} satoshis more than its coins are worth")
    return Draft(psbt, inputs, fee, rate)


def pays_none_of(raw: bytes, payments: Sequence[tuple[bytes, int]]) -> bool:
    """Whether a transaction makes none of some payments (script, satoshis)."""
    return set(outputs_of(raw)).isdisjoint(payments)


def outputs_of(raw: bytes) -> list[tuple[bytes, int]]:
    """The outputs (script, satoshis) of a transaction, in order; raises WrongTransaction."""
    return [(bytes(one.scriptPubKey), int(one.nValue)) for one in _signed(raw).vout]


def txid_unsigned(psbt: str) -> str:
    """The txid that a draft has once it is signed, where all its coins are segwit."""
    return str(_parse(psbt).tx.txid().hex())


def unsigned(psbt: str) -> bytes:
    """The bytes of a PSBT's transaction without signatures; raises WrongTransaction."""
    return bytes(_parse(psbt).tx.serialize())


def stripped(raw: bytes) -> bytes:
    """The bytes of a signed transaction without its signatures; raises WrongTransaction."""
    signed = _signed(raw)
    bare = CMutableTransaction(
        [CMutableTxIn(one.prevout, CScript(), one.nSequence) for one in signed.vin],
        list(signed.vout),
        signed.nLockTime,
        signed.nVersion,
    )
    return bytes(bare.serialize())


def worth_of(psbt: str) -> int:
    """What the coins of a draft are worth, in satoshis."""
    coins = [one.utxo for one in _parse(psbt).inputs]
    if None in coins:
        raise WrongTransaction("the PSBT does not say what its coins are worth; it is not one of ours")
    return sum(int(one.value) for one in coins)


def txid_signed(psbt: str, raw: bytes) -> str:
    """The txid of a signed transaction that is the draft's; raises WrongTransaction when it is not."""
    if stripped(raw) != unsigned(psbt):
        raise WrongTransaction(
            "the signed transaction is not the one that was to be signed: its coins, payments, sequence or "
            "lock time differ; sign the exported PSBT as it is"
        )
    return str(_signed(raw).GetTxid()[::-1].hex())


def check_signed(psbt: str, raw: bytes) -> None:
    """The same, and that every signature is over all of it."""
    txid_signed(psbt, raw)
    signed = _signed(raw)
    for number in range(len(signed.vin)):
        if any(kind != SIGHASH_ALL for kind in _kinds_of_signatures(signed, number)):
            raise WrongTransaction(
                f"input {number} has a signature that is not over the whole transaction (SIGHASH_ALL), so "
                f"others could change it; sign it again with the default"
            )


def _kinds_of_signatures(signed: CTransaction, number: int) -> Iterator[int]:
    """What each signature of an input is over; a Schnorr signature that names nothing is over all."""
    try:
        items = [bytes(part) for part in signed.vin[number].scriptSig if isinstance(part, bytes)]
    except CScriptInvalidError as error:
        raise WrongTransaction(f"the script of input {number} cannot be read ({error})") from None
    if signed.wit.vtxinwit:
        stack = [bytes(item) for item in signed.wit.vtxinwit[number].scriptWitness.stack]
        # In a script path the last two are the script and its control block, which may be as long.
        schnorr = stack if len(stack) == 1 else stack[:-2]
        yield from (one[-1] for one in schnorr if len(one) == _SCHNORR_WITH_TYPE)
        items += stack
    yield from (one[-1] for one in items if len(one) in _DER and one[0] == 0x30 and one[1] + 3 == len(one))


def _parse(psbt: str) -> PSBT:
    try:
        return PSBT.from_string(psbt)
    except Exception as error:  # embit raises whatever its reading stumbles over
        raise WrongTransaction(f"this is no PSBT ({error}); give it in base64, or as a .psbt file") from None


def _signed(raw: bytes) -> CTransaction:
    try:
        return CTransaction.deserialize(raw)
    except (SerializationError, ValueError, IndexError) as error:
        raise WrongTransaction(f"this is no transaction ({error})") from None
