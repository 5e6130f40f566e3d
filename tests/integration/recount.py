"""The ledger counted a second time, the slow and obvious way, from the raw records in PostgreSQL.

It shares nothing with the ledger but the records themselves: proof of work by hashlib, order by the batches'
positions, slices and window by hand, a split by fractions.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.records import Found, Share, decode_batch


@dataclass(frozen=True)
class Recount:
    """What the records say."""

    shares: list[Share]
    """In ledger order."""
    hashes: list[str]
    """Display hex of each share's header, in the same order."""
    splits: dict[str, tuple[int, dict[int, int]]]
    """Block hash to commission and amounts by miner."""
    founds: dict[str, Found]


async def recount(engine: AsyncEngine, commission_bps: int, window_multiple: int) -> Recount:
    """Count everything anew; asserts that each share is work and none is there twice (I1)."""
    async with engine.connect() as connection:
        payloads = (
            (await connection.execute(sa.text("SELECT payload FROM batch ORDER BY position"))).scalars().all()
        )
    counted = Recount([], [], {}, {})
    slices: list[tuple[int, int]] = []
    for payload in payloads:
        run: list[Share] = []
        for record in decode_batch(payload):
            if isinstance(record, Share):
                counted.shares.append(record)
                counted.hashes.append(_proven(record))
                run.append(record)
            elif isinstance(record, Found):
                slices += _slices(run, won=record.credited)
                run = []
                if record.block_hash not in counted.founds:
                    assert not record.credited or counted.hashes[-1] == record.block_hash
                    counted.founds[record.block_hash] = record
                    counted.splits[record.block_hash] = _split(
                        slices, record, commission_bps, window_multiple
                    )
        slices += _slices(run, won=False)
    assert len(set(counted.hashes)) == len(counted.hashes), "a share is in the ledger twice"
    return counted


def _proven(share: Share) -> str:
    digest = hashlib.sha256(hashlib.sha256(share.header).digest()).digest()[::-1]
    assert int.from_bytes(digest, "big") <= int.from_bytes(share.target, "big"), "a share without its work"
    return digest.hex()


def _slices(run: Sequence[Share], won: bool) -> list[tuple[int, int]]:
    """Miner and work of each slice: by first share, the winner's last; a day is one in Kazakhstan."""
    work: dict[tuple[int, int], int] = defaultdict(int)
    for share in run:
        work[_key(share)] += 2**256 // (int.from_bytes(share.target, "big") + 1)
    keys = list(work)
    if won:
        keys.remove(_key(run[-1]))
        keys.append(_key(run[-1]))
    return [(key[0], work[key]) for key in keys]


def _key(share: Share) -> tuple[int, int]:
    return share.miner_id, (share.at_us // 1_000_000 + 5 * 3600) // 86400


def _split(
    slices: Sequence[tuple[int, int]], found: Found, commission_bps: int, window_multiple: int
) -> tuple[int, dict[int, int]]:
    network = 2**256 // (int.from_bytes(found.network_target, "big") + 1)
    left = network * window_multiple
    work: dict[int, int] = defaultdict(int)
    for miner, own in reversed(slices):
        work[miner] += min(own, left)
        left -= min(own, left)
        if left == 0:
            break
    commission = found.reward_sat * commission_bps // 10_000
    rest = found.reward_sat - commission
    total = sum(work.values())
    exact = {miner: Fraction(rest * own, total) for miner, own in work.items()}
    amounts = {miner: int(value) for miner, value in exact.items()}
    short = rest - sum(amounts.values())
    order = sorted(exact, key=lambda miner: (-(exact[miner] - amounts[miner]), miner))
    for miner in order[:short]:
        amounts[miner] += 1
    return commission, amounts
