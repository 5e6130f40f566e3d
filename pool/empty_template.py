"""The template of a block with nothing but its coinbase, from the header of a new tip alone.

A node needs up to a second to choose transactions for a new tip; until then miners would hash on a block
that is history. All that such a template says follows from the tip's header and from the template that was
mined until now, provided that the tip extends exactly the block which that template builds on.

It is not made where the header does not tell the next target: at a retarget, and on testnet4, where a block
that took 20 minutes has another one. It carries the witness commitment that is right for a lone coinbase:
optional in general, but a signet block has its signature there.

Sources: Bitcoin Core `src/validation.cpp` (GetBlockSubsidy), `src/pow.cpp`, `src/kernel/chainparams.cpp`;
BIP113 (median time), BIP141 (commitment), BIP325 (signet).
"""

from __future__ import annotations

from dataclasses import replace

import native
from pool.node import TipHeader
from stratum.job import Template

FIRST_SUBSIDY = 50 * 100_000_000
HALVING_BLOCKS = {"main": 210_000, "testnet4": 210_000, "signet": 210_000, "regtest": 150}
RETARGET_BLOCKS = {"main": 2016, "signet": 2016}
"""Chains that set a new target every so many blocks, and only then; regtest never does."""
ONE_TARGET_FOR_EVER = frozenset({"regtest"})

COINBASE_ONLY_COMMITMENT = b"\x6a\x24\xaa\x21\xa9\xed" + native.sha256d(bytes(64))
"""BIP141 for a block with only a coinbase: witness root and reserved value are 32 zero bytes each."""


def subsidy(chain: str, height: int) -> int:
    """The satoshis that a block of this height creates."""
    return FIRST_SUBSIDY >> (height // HALVING_BLOCKS[chain])


def empty_template(chain: str, tip: TipHeader, mined: Template, now: int) -> Template | None:
    """What to mine on `tip` before a node has said it; `mined` is the template in use, `now` unix seconds.

    None when the tip is not the next block of the chain that was mined, or its successor's target is open.
    """
    height = tip.height + 1
    follows = tip.height == mined.height and tip.previous == mined.previous_block[::-1].hex()
    if not follows or tip.bits != mined.bits or not _keeps_target(chain, height):
        return None
    min_time = tip.median_time + 1
    return replace(
        mined,
        height=height,
        previous_block=bytes.fromhex(tip.block_hash)[::-1],
        coinbase_value=subsidy(chain, height),
        fees=0,
        current_time=max(now, min_time, mined.current_time),
        min_time=min_time,
        transactions=(),
        txids=b"",
        witness_commitment=COINBASE_ONLY_COMMITMENT,
        long_poll_id="",
    )


def _keeps_target(chain: str, height: int) -> bool:
    if chain in ONE_TARGET_FOR_EVER:
        return True
    return chain in RETARGET_BLOCKS and height % RETARGET_BLOCKS[chain] != 0
