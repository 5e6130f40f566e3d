"""Where a miner is paid: its wallet, and its deposit address on an eligible exchange (O-31, O-52).

The first address of a purpose holds at once. Every later one waits before it takes effect, as long as the
dated rule `address_change` says, and the miner is told; while it waits it can be withdrawn and the old one
stays. Withdrawing the one in effect stops payments: no older one comes back, and a new one waits like any
other, so that nobody who takes addresses away gains time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from register.address import Chain, script_for
from register.fields import text_of

Purpose = Literal["wallet", "exchange_deposit"]
PURPOSES = ("wallet", "exchange_deposit")


class PayoutAddressError(ValueError):
    """The address cannot be as given. The message names miner, address and remedy."""


class PayoutAddress(msgspec.Struct, frozen=True, gc=False):
    """One registered address of a miner, the `number`th."""

    miner_id: int
    number: int
    purpose: Purpose
    address: str
    effective_us: int
    """From this instant payments go to it, unless it was withdrawn before."""
    exchange: str = ""
    """Name of the exchange of a deposit address."""
    licensor: str = ""
    """Who licensed that exchange: AFSA or NBK (Q-04)."""
    exchange_licence: str = ""
    withdrawn_us: int | None = None

    @property
    def key(self) -> str:
        """Which record of the register it is."""
        return f"{self.miner_id}.{self.number}"

    def check(self, chain: Chain, licensors: Iterable[str]) -> None:
        """Raises PayoutAddressError or InvalidAddress when payments cannot go there.

        `licensors` are those whose exchanges count by the rule of the day (O-50).
        """
        script_for(self.address, chain)
        where = f"address {self.address}"
        if self.purpose not in PURPOSES:
            raise PayoutAddressError(
                f"{where}: purpose {self.purpose!r} must be one of {', '.join(PURPOSES)}"
            )
        if self.purpose == "wallet":
            if self.exchange or self.licensor or self.exchange_licence:
                raise PayoutAddressError(
                    f"{where}: a wallet has no exchange; its purpose is exchange_deposit"
                )
            return
        text_of(where, "exchange", self.exchange, PayoutAddressError)
        text_of(where, "exchange licence", self.exchange_licence, PayoutAddressError)
        allowed = tuple(licensors)
        if self.licensor not in allowed:
            raise PayoutAddressError(
                f"{where}: an exchange licensed by {self.licensor[:40]!r} is not eligible; "
                f"licensor must be one of {', '.join(allowed)}"
            )


def address_at(addresses: Iterable[PayoutAddress], purpose: Purpose, at_us: int) -> PayoutAddress | None:
    """Of a miner's addresses, the one that payments of a purpose go to at an instant."""
    taken_effect = (
        one
        for one in addresses
        if one.purpose == purpose
        and one.effective_us <= at_us
        and (one.withdrawn_us is None or one.withdrawn_us > one.effective_us)
    )
    newest = max(taken_effect, key=lambda one: (one.effective_us, one.number), default=None)
    if newest is None or (newest.withdrawn_us is not None and newest.withdrawn_us <= at_us):
        return None
    return newest
