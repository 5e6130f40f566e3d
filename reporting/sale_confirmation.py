"""What was sold, in the words of a miner or an exchange: one sale, and the book of what was said (O-52).

The pool sees what it pays and not what becomes of it; that a miner has sold is always somebody's word, given
with the exchange, its licence and the number of the trade. Sales elsewhere are told too: they are realised,
and no mandatory sale. Nothing in the book is changed: a sale is taken back or put right by a further line,
which names the one it is about and the reason. What stands is what no later line replaces.

Whether an exchange is eligible is not written down here: the dated rule says it of the day of the sale.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from register.fields import FIRST_DAY, text_of

Teller = Literal["miner", "exchange"]
TELLERS: Final = ("miner", "exchange")
LICENSORS: Final = ("AFSA", "NBK")
"""Who licenses exchanges (Q-04): AFSA that of the AIFC, NBK the National Bank; the rules know no others."""
Action = Literal["entered", "corrected", "withdrawn"]
QUANTITY_LIMIT: Final = 21_000_000 * 100_000_000
"""All bitcoin that will ever be, in satoshis."""
_CURRENCY: Final = re.compile(r"[A-Z0-9]{2,12}")
_AMOUNT: Final = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,7}[1-9])?")
"""One way to write each number."""


class SaleError(ValueError):
    """The sale cannot be as given. The message names the sale, what is wrong and the remedy."""


class Sale(msgspec.Struct, frozen=True, gc=False):
    """One sale of bitcoin by a miner."""

    miner_id: int
    told_by: Teller
    """Whose word it is."""
    exchange: str
    """Where it was sold; of a sale without an exchange, to whom."""
    licensor: str
    """Who licensed the exchange; empty for neither of `LICENSORS`."""
    licence: str
    """Number of that licence; empty without one."""
    reference: str
    """How the exchange names the trade: once for each exchange."""
    sold_on: dt.date
    """In Kazakhstan."""
    quantity_sat: int
    currency: str
    """What it was sold for: KZT, USD, USDT."""
    amount: str
    """How much of that, as a decimal number. It is told on and never computed with."""

    @property
    def names(self) -> frozenset[tuple[str, str]]:
        """Of what the exchange is known by: two sales with one in common are of one exchange."""
        names = {("name", folded(self.exchange))}
        if self.licence:
            names.add((self.licensor, folded(self.licence)))
        return frozenset(names)

    def eligible(self, licensors: Iterable[str]) -> bool:
        """Whether it is a mandatory sale by a rule that counts the exchanges of some licensors."""
        return bool(self.licence) and self.licensor in tuple(licensors)

    def check(self, today: dt.date) -> None:
        """Raises SaleError when this cannot be a sale; `today` is the day in Kazakhstan."""
        where = f"sale {self.reference[:60]!r}"
        text_of(where, "reference", self.reference, SaleError, 100)
        text_of(where, "exchange", self.exchange, SaleError, 100)
        text_of(where, "licence", self.licence, SaleError, 100, empty=True)
        if self.told_by not in TELLERS:
            raise SaleError(f"{where}: told_by {self.told_by[:20]!r} must be one of {', '.join(TELLERS)}")
        if self.licensor and self.licensor not in LICENSORS:
            raise SaleError(
                f"{where}: licensor {self.licensor[:20]!r} must be one of {', '.join(LICENSORS)}, or "
                f"empty for an exchange that neither has licensed"
            )
        if bool(self.licensor) != bool(self.licence):
            raise SaleError(f"{where}: give both licensor and licence of the exchange, or neither of them")
        if not FIRST_DAY <= self.sold_on <= today:
            raise SaleError(f"{where}: day {self.sold_on} must be from {FIRST_DAY} to today, {today}")
        if not 1 <= self.quantity_sat <= QUANTITY_LIMIT:
            raise SaleError(
                f"{where}: quantity of {self.quantity_sat} satoshis must be 1 to {QUANTITY_LIMIT}"
            )
        if not _CURRENCY.fullmatch(self.currency):
            raise SaleError(
                f"{where}: currency {self.currency[:20]!r} must be 2 to 12 of A-Z and 0-9, like KZT"
            )
        if not _AMOUNT.fullmatch(self.amount):
            raise SaleError(
                f"{where}: amount {self.amount[:40]!r} must be a number of up to 18 digits and 8 decimals, "
                f"without needless zeros"
            )


class Told(msgspec.Struct, frozen=True, gc=False):
    """A line of the book. One that withdraws has the sale as it stood."""

    seq: int
    at_us: int
    actor: str
    role: str
    reason: str
    action: Action
    replaces: int | None
    """Number of the line that is put right or taken back; None for a new sale."""
    sale: Sale


def folded(name: str) -> str:
    """A name as it is compared: in one case of letters, one form of them, and single blanks."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
