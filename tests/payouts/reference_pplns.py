"""PPLNS a second time, the slow and obvious way: what `payouts.pplns` is held against.

Nothing of the first implementation is used here. Small windows are counted unit by unit; large ones by where
each slice lies on the line of all work. Money is exact fractions, rounded at the very end, and the satoshis
that are left are handed out one at a time. Written from the definition in docs/pplns.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple


class Worked(NamedTuple):
    """A slice of the ledger; its position is its place in the list, from 1."""

    miner_id: int
    work: int


class Range(NamedTuple):
    """A window: from which slice, how much of that one, to which slice, how much in all, whose."""

    first: int
    first_taken: int
    last: int
    total: int
    by_miner: dict[int, int]


class Parts(NamedTuple):
    """A reward divided."""

    commission: int
    amounts: dict[int, int]
    commissions: dict[int, int]


def window_by_units(ledger: Sequence[Worked], last: int, size: int) -> Range:
    """Every unit of work is written down by itself, and the last `size` of them are counted."""
    units = [
        (position, one.miner_id) for position, one in enumerate(ledger[:last], 1) for _ in range(one.work)
    ]
    taken = units[-size:]
    first = taken[0][0]
    of_first = sum(1 for position, _ in taken if position == first)
    return Range(first, of_first, last, len(taken), dict(Counter(miner for _, miner in taken)))


def window_by_line(ledger: Sequence[Worked], last: int, size: int) -> Range:
    """Every slice is a stretch of the line of all work; the window is the last `size` of that line."""
    end = sum(one.work for one in ledger[:last])
    start = max(0, end - size)
    by_miner: dict[int, int] = {}
    first = first_taken = reached = 0
    for position, one in enumerate(ledger[:last], 1):
        inside = max(0, reached + one.work - max(start, reached))
        reached += one.work
        if inside:
            if not first:
                first, first_taken = position, inside
            by_miner[one.miner_id] = by_miner.get(one.miner_id, 0) + inside
    return Range(first, first_taken, last, end - start, by_miner)


def divided(amount: int, by_miner: Mapping[int, int]) -> dict[int, int]:
    """Whole satoshis of the exact parts; who is owed the most of one more gets it, then the next."""
    total = sum(by_miner.values())
    exact = {miner: Fraction(amount * work, total) for miner, work in by_miner.items()}
    given = {miner: part.numerator // part.denominator for miner, part in exact.items()}
    waiting = sorted(by_miner, key=lambda miner: (given[miner] - exact[miner], miner))
    while sum(given.values()) < amount:
        given[waiting.pop(0)] += 1
    return given


def split_by_fractions(reward: int, bps: int, by_miner: Mapping[int, int], kept: int = 0) -> Parts:
    """The commission of what is shared, rounded down, and the kept fees; the rest to the miners."""
    share = Fraction(bps, 10_000) * (reward - kept)
    commission = kept + share.numerator // share.denominator
    return Parts(commission, divided(reward - commission, by_miner), divided(commission, by_miner))
