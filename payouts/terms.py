"""On what terms a block's reward is divided: the scheme, its window, the commission, the transaction fees.

Terms are dated: the ones that hold on the day on which a block is found are frozen with it. A scheme says one
thing, how much work before a block its reward is divided over:

    pplns   the last `window_multiple` times the network's work for a block
    solo    the last hash of work, so that it is the finder's
    fpps    none: shares are paid for as they come (`payouts.fpps`), and the block is the pool's

Everything else (commission, largest remainder, the journal) is the same for all of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from payouts.pplns import BPS, Split, Window, nobodys, split

Scheme = Literal["pplns", "solo", "fpps"]
TransactionFees = Literal["shared", "pool"]
LONGEST_WINDOW: Final = 1000


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds on a day."""

    scheme: Scheme
    window_multiple: int
    """The PPLNS window in units of the found block's network difficulty."""
    commission_bps: int
    transaction_fees: TransactionFees
    """Whether they are divided like the subsidy, or kept by the pool."""

    def __post_init__(self) -> None:
        if not 1 <= self.window_multiple <= LONGEST_WINDOW:
            raise ValueError(f"window multiple is {self.window_multiple}; it is 1 to {LONGEST_WINDOW}")
        if not 0 <= self.commission_bps <= BPS:
            raise ValueError(f"commission is {self.commission_bps} basis points; it is 0 to {BPS}")

    def window_size(self, network_work: int, credited: bool) -> int:
        """How much work a block is divided over, in hashes; 0 for none.

        `network_work` is the expected work of a block, `credited` whether its share is in the ledger: a solo
        block of a stranger is nobody's.
        """
        match self.scheme:
            case "pplns":
                return self.window_multiple * network_work
            case "solo":
                return int(credited)
            case "fpps":
                return 0

    def divide(self, reward: int, fees: int, window: Window | None) -> Split:
        """The split of a block of `reward` satoshis, `fees` of them transaction fees."""
        if window is None:
            return nobodys(reward)
        kept = fees if self.transaction_fees == "pool" else 0
        return split(reward, self.commission_bps, window.by_miner, kept)


class TermsFrom(NamedTuple):
    """Terms, and the first day in Kazakhstan on which they hold."""

    effective_from: dt.date
    terms: Terms


class DatedTerms:
    """Which terms hold on which day."""

    def __init__(self, first: Terms, later: Sequence[TermsFrom] = ()) -> None:
        """`first` holds until the first of `later`; raises ValueError unless those are in order of days."""
        days = [one.effective_from for one in later]
        if days != sorted(set(days)):
            raise ValueError("terms must be given in the order of their days, one for each day")
        self._first = first
        self._later = tuple(later)

    def ever(self, scheme: Scheme) -> bool:
        """Whether any day has a scheme."""
        return scheme in (self._first.scheme, *(one.terms.scheme for one in self._later))

    def on(self, day: dt.date) -> Terms:
        """The terms of a day in Kazakhstan."""
        held = [one.terms for one in self._later if one.effective_from <= day]
        return held[-1] if held else self._first
