"""FPPS: a share is paid what the chain paid for work on its day, found block or not; blocks are the pool's.

On a day in Kazakhstan the blocks of the best chain brought their subsidies and transaction fees, and took the
work that their targets say. So a hash of that day is worth

    price = floor(sum of (subsidy + fees) * 2**128 / sum of network work)      in parts of 2**-128 satoshi

which everybody can recompute from the public chain, and work is worth price * work. Only the price is ever
rounded, and nobody will notice: 10**27 hashes, what 1500 blocks took in 2025, lose less than a billionth of
a satoshi. Of that worth the commission of the day's terms is the pool's and the rest the miner's. Each is
counted in whole satoshis, and what is below one is carried to the next credit, through changes of price and
of commission too. So it does not matter into how many credits work is cut, and what is credited differs from
the worth of all work by less than a satoshi, for ever (invariant 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from payouts.pplns import BPS
from payouts.terms import Terms

PRICE_UNIT: Final = 1 << 128
"""Parts of a satoshi that a price is told in."""
PARTS: Final = BPS * PRICE_UNIT
"""Parts of a satoshi that credits are counted in, so that a basis point of a price is whole."""


class Carried(NamedTuple):
    """What is below a satoshi and not yet credited, in `PARTS`: the miner's, and the pool's commission."""

    miner: int
    commission: int


NOTHING: Final = Carried(0, 0)


class Paid(NamedTuple):
    """What the chain paid for work on a day: the sums over the day's blocks, in satoshis and hashes."""

    reward_sat: int
    """Subsidies and fees."""
    fees_sat: int
    """What of the reward is transaction fees."""
    network_work: int
    """The expected work of all those blocks."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a hash is worth (in 2**-128 satoshi), and what the pool takes of it."""

    price: int
    commission_bps: int

    def __post_init__(self) -> None:
        if self.price < 0:
            raise ValueError(f"price of a hash is {self.price}; it is 0 or more")
        if not 0 <= self.commission_bps <= BPS:
            raise ValueError(f"commission is {self.commission_bps} basis points; it is 0 to {BPS}")


@dataclass(frozen=True, slots=True)
class Accrual:
    """Work credited: satoshis of each miner and of the pool's commission on it, and what is carried on.

    `carried` holds everybody who was carried before or worked now, and replaces what was carried before.
    """

    amounts: Mapping[int, int]
    commissions: Mapping[int, int]
    carried: Mapping[int, Carried]

    @property
    def total(self) -> int:
        """What the pool gives for the work, in satoshis; the commission is its own again."""
        return sum(self.amounts.values()) + sum(self.commissions.values())


def rate(paid: Paid, terms: Terms) -> Rate:
    """The rate of a day by what the chain paid on it and by the terms of that day.

    Transaction fees count unless the terms leave them to the pool (then it is PPS). Raises ValueError for a
    number that cannot be.
    """
    if paid.network_work < 1:
        raise ValueError(f"network work is {paid.network_work}; a block takes at least 1 hash")
    if not 0 <= paid.fees_sat <= paid.reward_sat:
        raise ValueError(f"fees are {paid.fees_sat} of a reward of {paid.reward_sat}; they are a part of it")
    kept = paid.fees_sat if terms.transaction_fees == "pool" else 0
    return Rate((paid.reward_sat - kept) * PRICE_UNIT // paid.network_work, terms.commission_bps)


def credit(carried: Carried, work: int, at: Rate) -> tuple[int, int, Carried]:
    """Satoshis of the miner and of the commission for `work` hashes of one miner, and what is carried on."""
    if work < 0:
        raise ValueError(f"work is {work}; it is 0 or more")
    worth = at.price * work
    mine, mine_left = divmod(carried.miner + worth * (BPS - at.commission_bps), PARTS)
    taken, taken_left = divmod(carried.commission + worth * at.commission_bps, PARTS)
    return mine, taken, Carried(mine_left, taken_left)


def accrue(carried: Mapping[int, Carried], by_miner: Mapping[int, int], at: Rate) -> Accrual:
    """Credits everybody's work at one rate; miners who get nothing whole are only carried."""
    amounts: dict[int, int] = {}
    commissions: dict[int, int] = {}
    left = dict(carried)
    for miner_id in sorted(by_miner):
        amounts[miner_id], commissions[miner_id], left[miner_id] = credit(
            carried.get(miner_id, NOTHING), by_miner[miner_id], at
        )
    return Accrual(amounts, commissions, left)
