"""PPLNS: which work a block's reward is shared over, and how.

The window of a block is the last `size` units of work in ledger order, ending with the slice of the winning
share; the oldest slice is cut so that the window is exactly `size`. It reaches over earlier blocks. While
the pool has not yet seen `size` of work, the window is all there is.

The pool's commission is taken first, floor(shared * bps / 10000); where its terms say that it keeps the
transaction fees, these are commission too and not shared. What is left goes to the miners in proportion to
their work in the window by largest remainder: each gets the floor of its exact part, and the satoshis still
left go one each to the largest remainders, at equal remainders to the lower miner id. What of the commission
falls on each miner is told by the same rule (O-32). So a split sums to its reward exactly (invariant 2), and
whoever has the slices recomputes it bit for bit (invariant 4). Nothing here knows a database or a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

BPS: int = 10_000  # basis points in the whole


class Entry(NamedTuple):
    """A slice as the window sees it: its place in the ledger, whose work, how much."""

    order: int
    miner_id: int
    work: int


@dataclass(frozen=True, slots=True)
class Window:
    """Slices `first_order`..`last_order`, of the first only `first_taken_work`; in all `work_total`."""

    first_order: int
    first_taken_work: int
    last_order: int
    work_total: int
    by_miner: Mapping[int, int]

    def __post_init__(self) -> None:
        if not 1 <= self.first_order <= self.last_order:
            raise ValueError(f"window {self.first_order}..{self.last_order}: orders begin at 1 and ascend")
        if not self.by_miner or min(self.by_miner.values()) < 1:
            raise ValueError(
                f"window {self.first_order}..{self.last_order}: every miner in it has work of at least 1"
            )
        if sum(self.by_miner.values()) != self.work_total:
            raise ValueError(
                f"window {self.first_order}..{self.last_order}: work of its miners is "
                f"{sum(self.by_miner.values())}, its total is {self.work_total}"
            )
        if not 1 <= self.first_taken_work <= self.work_total:
            raise ValueError(
                f"window {self.first_order}..{self.last_order}: takes {self.first_taken_work} of its first "
                f"slice; that is at least 1 and at most its total {self.work_total}"
            )


@dataclass(frozen=True, slots=True)
class Split:
    """A reward divided: satoshis of the pool and of each miner of the window (a tiny part may be 0).

    `commissions` is what of the commission falls on each of the same miners; on nobody where there is none.
    """

    commission: int
    amounts: Mapping[int, int]
    commissions: Mapping[int, int]

    def __post_init__(self) -> None:
        parts = (self.commission, *self.amounts.values(), *self.commissions.values())
        if any(amount < 0 for amount in parts):
            raise ValueError(f"split with commission {self.commission}: no part may be negative")
        if self.amounts.keys() != self.commissions.keys():
            raise ValueError("a split tells amount and part of the commission of the same miners")
        if self.amounts and sum(self.commissions.values()) != self.commission:
            raise ValueError(
                f"split with commission {self.commission}: its parts are {sum(self.commissions.values())}"
            )

    @property
    def reward(self) -> int:
        """The whole that was divided, in satoshis."""
        return self.commission + sum(self.amounts.values())


def window(newest_first: Iterable[Entry], size: int) -> Window:
    """The window of `size` work that ends with the first entry given; consumes only what it needs.

    Raises ValueError when there is no entry, or entries do not descend in order, or one has no work.
    """
    if size < 1:
        raise ValueError(f"window size is {size}; it is a positive amount of work")
    by_miner: dict[int, int] = {}
    missing = size
    first_order = last_order = first_taken = 0
    for entry in newest_first:
        if entry.work < 1:
            raise ValueError(f"slice {entry.order} of miner {entry.miner_id} has work {entry.work}")
        if first_order and entry.order >= first_order:
            raise ValueError(f"slice {entry.order} follows slice {first_order}; give the newest first")
        last_order = last_order or entry.order
        first_order = entry.order
        first_taken = min(entry.work, missing)
        by_miner[entry.miner_id] = by_miner.get(entry.miner_id, 0) + first_taken
        missing -= first_taken
        if not missing:
            break
    if not first_order:
        raise ValueError("a window needs at least the slice of the winning share; no slice was given")
    return Window(first_order, first_taken, last_order, size - missing, by_miner)


def split(reward: int, commission_bps: int, by_miner: Mapping[int, int], kept: int = 0) -> Split:
    """Divides `reward` satoshis by work; `kept` of it are transaction fees that the pool does not share.

    Raises ValueError for an amount or bps out of range, or when nobody has work.
    """
    if not 0 <= kept <= reward:
        raise ValueError(
            f"reward is {reward} satoshis, {kept} of them kept by the pool; 0 <= kept <= reward must hold"
        )
    if not 0 <= commission_bps <= BPS:
        raise ValueError(f"commission is {commission_bps} basis points; it is 0 to {BPS}")
    commission = kept + (reward - kept) * commission_bps // BPS
    return Split(commission, divide(reward - commission, by_miner), divide(commission, by_miner))


def divide(amount: int, by_miner: Mapping[int, int]) -> dict[int, int]:
    """`amount` satoshis by work, by largest remainder, ties to the lower miner id; sums to `amount`."""
    if not by_miner or min(by_miner.values()) < 1:
        raise ValueError("a split needs at least one miner, and every miner in it work of at least 1")
    total = sum(by_miner.values())
    amounts: dict[int, int] = {}
    remainders: list[tuple[int, int]] = []
    for miner_id in sorted(by_miner):
        amounts[miner_id], remainder = divmod(amount * by_miner[miner_id], total)
        remainders.append((-remainder, miner_id))
    left = amount - sum(amounts.values())  # fewer than there are miners
    for _, miner_id in sorted(remainders)[:left]:
        amounts[miner_id] += 1
    return amounts


def nobodys(reward: int) -> Split:
    """A reward that nobody has a claim to: it is the pool's."""
    return Split(reward, {}, {})
