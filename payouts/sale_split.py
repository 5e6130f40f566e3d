"""Which part of a payout goes to the miner's exchange: the mandatory sale, exact to the satoshi over time.

In the mode `split_payout` (Q-10) the exchange is to have the dated share of all that the miner was paid under
the rule: the ceiling of the sum of each payout times its share, because the law says "not less" (O-50, O-51).
Each payout gives it what is missing to that, so that no rounding adds up, whatever shares came before. A part
that the network would not relay goes to the other side this time; the next payout makes it good.
"""

from __future__ import annotations

from dataclasses import dataclass

from payouts.pplns import BPS


@dataclass(frozen=True, slots=True)
class Side:
    """What one side gets of a payout, in satoshis, and the least that can be sent to it."""

    amount_sat: int
    dust_sat: int

    @property
    def stuck(self) -> bool:
        """Whether it is something, but too little to be sent."""
        return 0 < self.amount_sat < self.dust_sat


def for_exchange(amount_sat: int, share_bps: int, sale_due: int, exchange_paid_sat: int) -> int:
    """What the exchange is to have of a payout of `amount_sat`, before dust is looked at; 0 to all of it.

    `sale_due` is the sum of satoshis times basis points of the miner's payouts under the rule so far, and
    `exchange_paid_sat` what its exchange had of them. Raises ValueError for a value out of range.
    """
    if amount_sat < 0 or sale_due < 0 or exchange_paid_sat < 0:
        raise ValueError(
            f"sale split of {amount_sat} satoshis after {sale_due} due and {exchange_paid_sat} paid: "
            f"none may be negative"
        )
    if not 0 <= share_bps <= BPS:
        raise ValueError(f"sale share is {share_bps} basis points; it is 0 to {BPS}")
    due = -(-(sale_due + amount_sat * share_bps) // BPS)  # rounded up
    return min(max(due - exchange_paid_sat, 0), amount_sat)


def without_dust(exchange: Side, wallet: Side) -> tuple[int, int] | None:
    """What exchange and wallet are sent, so that neither is dust; None when it has to wait until it is more.

    A stuck part goes to a side that gets something anyway. Where both are stuck the exchange comes first: the
    law says "not less".
    """
    whole = exchange.amount_sat + wallet.amount_sat
    if not exchange.stuck and not wallet.stuck:
        return exchange.amount_sat, wallet.amount_sat
    if wallet.stuck and exchange.amount_sat and whole >= exchange.dust_sat:
        return whole, 0
    if exchange.stuck and wallet.amount_sat and whole >= wallet.dust_sat:
        return 0, whole
    return None
