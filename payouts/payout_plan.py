"""Whom to pay, how much, and what is held.

A plan is made of everybody who is owed something at an instant. Each is either paid all of it, in one part
or two (its exchange and its wallet, `payouts.sale_split`), or all of it is held for one stated reason. So
nothing is lost between the two, and nobody is in both. What the law says (listed assets, suspended and ended
licences, the mandatory sale) is asked of the dated rules of that day. No database and no clock is known here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from payouts.output import dust_sat
from payouts.pplns import BPS
from payouts.sale_split import Side, for_exchange, without_dust
from register.address import Chain, InvalidAddress, script_for
from register.licence import COVERING, Status
from register.payout_address import PayoutAddress, Purpose
from register.rules import Rules

ASSET: Final = "Bitcoin"
"""What this pool distributes, as the dated list `digital_assets` spells it."""


class HoldReason(StrEnum):
    """Why a miner is not paid this time. Of several, the first in this order is told."""

    NEGATIVE = "negative"
    ASSET_NOT_LISTED = "asset_not_listed"
    SUSPENDED = "suspended"
    ENDED = "ended"
    NO_WALLET = "no_wallet"
    NO_EXCHANGE_ADDRESS = "no_exchange_address"
    BELOW_THRESHOLD = "below_threshold"
    DUST = "dust"


SENTENCES: Final[Mapping[HoldReason, str]] = {
    HoldReason.NEGATIVE: "More was paid than was owed: what is earned next makes it good first.",
    HoldReason.ASSET_NOT_LISTED: "Bitcoin is not on the list of assets that may be distributed on this day.",
    HoldReason.SUSPENDED: "The licence is suspended, and the rule of this day holds payments during that.",
    HoldReason.ENDED: "No licence is in force, and the rule of this day holds payments until one is.",
    HoldReason.NO_WALLET: "No wallet address to which the payment can go is in effect: register one.",
    HoldReason.NO_EXCHANGE_ADDRESS: (
        "The rule of this day sends a part to an exchange, and no deposit address on an eligible one is in "
        "effect: register one."
    ),
    HoldReason.BELOW_THRESHOLD: "The sum is below the payout threshold: it is paid when it has reached it.",
    HoldReason.DUST: "The sum is less than the Bitcoin network relays: it is paid when it has grown.",
}
"""What the miner is told."""


@dataclass(frozen=True, slots=True)
class Payee:
    """A miner who is owed something, what was paid before, and where it stands; all amounts in satoshis.

    What was "paid" is every payment that was not abandoned, whether it has confirmed or not.
    """

    miner_id: int
    name: str
    payable_sat: int
    threshold_sat: int
    """From which sum it is paid: its own, or else the pool's."""
    wallet: PayoutAddress | None
    """In effect at the instant of the plan, as is `exchange`."""
    exchange: PayoutAddress | None
    licence: str
    """Number of the licence that counts; empty without one."""
    status: Status | None
    """Where that licence stands; None without one."""
    sale_due: int = 0
    """Of all payments under the sale rule, the sum of satoshis times basis points (`payouts.sale_split`)."""
    exchange_paid_sat: int = 0
    """What of these payments went to its exchange."""
    commission_total_sat: int = 0
    """What of the commission of mature blocks falls on this miner."""
    commission_told_sat: int = 0
    """What of that was told with its payments so far."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What the pool decides: the chain it pays on. A transaction's weight is asked for by `batches`."""

    chain: Chain


@dataclass(frozen=True, slots=True)
class Due:
    """One output to pay, and what the form asks of it (O-32)."""

    miner_id: int
    purpose: Purpose
    address: str
    script: bytes
    amount_sat: int
    commission_sat: int
    """What of the pool's commission falls on this payment; the amount is without it."""
    sale_share_bps: int | None
    """By which part of the miner's payouts its exchange is paid; None when the rule is not to split."""
    exchange: str
    """Name of the exchange of a deposit address; empty for a wallet."""
    licence: str
    status: str
    """Where the licence stands (`register.licence.Status`); empty without one."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a miner is owed and is not paid this time (negative where it was paid too much)."""

    miner_id: int
    name: str
    amount_sat: int
    threshold_sat: int
    reason: HoldReason

    @property
    def sentence(self) -> str:
        """The reason in plain words."""
        return SENTENCES[self.reason]


@dataclass(frozen=True, slots=True)
class Plan:
    """Payments and what is held, both by miner id; a miner's exchange comes before its wallet."""

    payments: list[Due]
    held: list[Held]

    @property
    def payments_sat(self) -> int:
        """The sum of all payments."""
        return sum(due.amount_sat for due in self.payments)

    @property
    def held_sat(self) -> int:
        """The sum of all that is held."""
        return sum(one.amount_sat for one in self.held)


@dataclass(frozen=True, slots=True)
class _Law:
    """What the dated rules say on the day of a plan."""

    listed: bool
    suspended_held: bool
    ended_held: bool
    sale_share_bps: int | None
    """None when payouts are not split."""
    licensors: tuple[str, ...]


class _Target(NamedTuple):
    address: PayoutAddress
    script: bytes


_SUSPENDED: Final = frozenset({Status.SUSPENDED, Status.AWAITING_RESUMPTION})


def plan(payees: Sequence[Payee], settings: PlanSettings, at_us: int, rules: Rules) -> Plan:
    """Payments and holds of an instant (unix microseconds) for all that is owed; nothing owed, nothing said.

    The payments of a miner sum to all that it is owed. Raises ValueError when a miner is given twice, and
    RulesError when a rule says nothing of the day.
    """
    by_id = {payee.miner_id: payee for payee in payees}
    if len(by_id) != len(payees):
        raise ValueError("payees: a miner is given twice; each is owed one sum")
    law = _law_of(rules, rules.day_of(at_us))
    made = Plan([], [])
    for _, payee in sorted(by_id.items()):
        if payee.payable_sat == 0:
            continue
        decided = _decide(payee, settings.chain, law)
        if isinstance(decided, HoldReason):
            held = Held(payee.miner_id, payee.name, payee.payable_sat, payee.threshold_sat, decided)
            made.held.append(held)
        else:
            made.payments.extend(decided)
    return made


def distribution_day(rules: Rules, block_us: int, credited_on: dt.date) -> dt.date:
    """The date of distribution of a payment, by the rule of the day on which it was transferred (Q-07).

    `block_us` is the time of the block that confirms it (unix microseconds), `credited_on` the day of the
    newest reward in it.
    """
    transferred_on = rules.day_of(block_us)
    return credited_on if dated_by_credit(rules, transferred_on) else transferred_on


def dated_by_credit(rules: Rules, transferred_on: dt.date) -> bool:
    """Whether a payment transferred on a day is distributed when it was credited, by the rule of that day."""
    return rules.on("distribution", transferred_on).text("date") == "credited"


def _law_of(rules: Rules, day: dt.date) -> _Law:
    sale, mode = rules.find("mandatory_sale", day), rules.find("sale_mode", day)
    splits = sale is not None and mode is not None and mode.text("mode") == "split_payout"
    return _Law(
        listed=ASSET in rules.on("digital_assets", day).texts("listed"),
        suspended_held=rules.on("suspension_payout", day).text("mode") == "hold",
        ended_held=rules.on("ended_payout", day).text("mode") == "hold",
        sale_share_bps=sale.integer("min_share_bps") if sale is not None and splits else None,
        licensors=tuple(sale.texts("licensors")) if sale is not None else (),
    )


def _decide(payee: Payee, chain: Chain, law: _Law) -> list[Due] | HoldReason:
    if payee.payable_sat < 0:
        return HoldReason.NEGATIVE
    if not law.listed:
        return HoldReason.ASSET_NOT_LISTED
    if payee.status in _SUSPENDED:
        if law.suspended_held:
            return HoldReason.SUSPENDED
    elif payee.status not in COVERING and law.ended_held:
        return HoldReason.ENDED
    share = law.sale_share_bps
    wallet = _target(payee.wallet, chain)
    exchange = _target(payee.exchange, chain) if share else None
    if exchange is not None and exchange.address.licensor not in law.licensors:
        exchange = None
    if wallet is None and share != BPS:
        return HoldReason.NO_WALLET
    if exchange is None and share:
        return HoldReason.NO_EXCHANGE_ADDRESS
    if payee.payable_sat < payee.threshold_sat:
        return HoldReason.BELOW_THRESHOLD
    parts = _parts(payee, share, exchange, wallet)
    return HoldReason.DUST if parts is None else _dues(payee, share, parts)


def _target(address: PayoutAddress | None, chain: Chain) -> _Target | None:
    """Where an address pays to; None for one of another chain, which must not stop the others' payments."""
    if address is None:
        return None
    try:
        return _Target(address, script_for(address.address, chain))
    except InvalidAddress:
        return None


def _parts(
    payee: Payee, share: int | None, exchange: _Target | None, wallet: _Target | None
) -> list[tuple[_Target, int]] | None:
    """All that the payee is owed, by where it goes; None when it is too little to be sent."""
    whole = payee.payable_sat
    if exchange is None or wallet is None or share is None:
        return [
            (to, whole) for to in (exchange, wallet) if to is not None and whole >= dust_sat(to.script)
        ] or None
    part = for_exchange(whole, share, payee.sale_due, payee.exchange_paid_sat)
    sent = without_dust(Side(part, dust_sat(exchange.script)), Side(whole - part, dust_sat(wallet.script)))
    return None if sent is None else [pair for pair in zip((exchange, wallet), sent, strict=True) if pair[1]]


def _dues(payee: Payee, share: int | None, parts: list[tuple[_Target, int]]) -> list[Due]:
    """The payments; all of the commission that was not told yet falls on them, by their amounts."""
    commission = max(payee.commission_total_sat - payee.commission_told_sat, 0)
    dues: list[Due] = []
    paid = told = 0
    for to, amount in parts:
        paid += amount
        upto = commission * paid // payee.payable_sat
        dues.append(
            Due(
                miner_id=payee.miner_id,
                purpose=to.address.purpose,
                address=to.address.address,
                script=to.script,
                amount_sat=amount,
                commission_sat=upto - told,
                sale_share_bps=share,
                exchange=to.address.exchange,
                licence=payee.licence,
                status=payee.status or "",
            )
        )
        told = upto
    return dues
