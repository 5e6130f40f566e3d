"""Blocks for tests, built by python-bitcoinlib from a template: a second way beside the pool's own job."""

from __future__ import annotations

from bitcoin.core import (
    CBlock,
    CMutableTransaction,
    CMutableTxIn,
    CMutableTxOut,
    COutPoint,
    CTransaction,
    CTxInWitness,
    CTxWitness,
)
from bitcoin.core.script import OP_TRUE, CScript, CScriptWitness

import native
from stratum.job import Template

SCAN = 1 << 22


def coinbase(
    template: Template, mark: bytes, value: int | None = None, height: int | None = None
) -> CTransaction:
    """A coinbase that pays OP_TRUE; `mark` makes it unlike others of the same height."""
    outputs = [CMutableTxOut(template.coinbase_value if value is None else value, CScript([OP_TRUE]))]
    witness = CTxWitness()
    if template.witness_commitment:
        outputs.append(CMutableTxOut(0, CScript(template.witness_commitment)))
        witness = CTxWitness([CTxInWitness(CScriptWitness([bytes(32)]))])
    script = CScript([template.height if height is None else height, b"mark" + mark])
    spend = CMutableTxIn(COutPoint(), script)
    return CTransaction.from_tx(CMutableTransaction([spend], outputs, nVersion=2, witness=witness))


def solve(
    template: Template,
    mark: bytes = b"",
    *,
    value: int | None = None,
    height: int | None = None,
    previous: bytes | None = None,
    at: int | None = None,
    target: int | None = None,
) -> bytes:
    """A whole block for `template`, solved; the keywords make it wrong on purpose."""
    transactions = [coinbase(template, mark, value, height)]
    transactions += [CTransaction.deserialize(raw) for raw in template.transactions]
    unsolved = CBlock(
        nVersion=template.version,
        hashPrevBlock=template.previous_block if previous is None else previous,
        nTime=template.current_time if at is None else at,
        nBits=template.bits,
        vtx=transactions,
    )
    header = unsolved.get_header().serialize()
    goal = (template.target if target is None else target).to_bytes(32, "big")
    for first in range(0, 1 << 32, SCAN):
        nonce = native.scan(header, first, SCAN, goal)
        if nonce is not None:
            return bytes(header[:76] + nonce.to_bytes(4, "little") + unsolved.serialize()[80:])
    raise AssertionError("no nonce solves this header")


def block_hash(block: bytes) -> str:
    """The display hex of a serialised block's hash."""
    return str(native.sha256d(block[:80])[::-1].hex())


def transaction_ids(template: Template) -> bytes:
    """The txids of the template's transactions, computed from their bytes."""
    return b"".join(CTransaction.deserialize(raw).GetTxid() for raw in template.transactions)
