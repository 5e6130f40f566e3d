"""How `dmpool payouts` shows payouts in tables; instants by the clock that the caller gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pool import settlement_store as store
from pool.cli_view import show, show_facts
from pool.settlement_store import Event, Payout, Version
from pool.wallet import bitcoins

Clock = Callable[[int], str]


def row_of(one: Payout, clock: Clock) -> tuple[str, ...]:
    """A payout in the list."""
    version = one.wanted or one.newest
    return (
        str(one.id),
        str(one.run_id),
        clock(one.created_us),
        one.state,
        str(len(one.payments)),
        bitcoins(one.amount_sat),
        bitcoins(version.fee_sat) if version else "",
        _now(one),
    )


def _now(one: Payout) -> str:
    """What a payout waits for, in a few words."""
    newest = one.newest
    if one.state == "confirmed":
        return "paid; final when 100 blocks deep"
    if one.state not in store.LIVE:
        return ""
    if newest is None:
        return "waits for coins or the node"
    taking_back = "to be taken back, " if one.cancelling else ""
    if newest.txid is None:
        how = "given out to be signed" if newest.exported_us else "waits to be signed"
        return f"{taking_back}version {newest.number} {how}"
    if newest.sent_us is None:
        return f"{taking_back}is to be sent"
    return "to be taken back, when 100 blocks deep" if one.cancelling else "waits to be mined"


def show_payout(one: Payout, events: Sequence[Event], clock: Clock) -> None:
    """All about one payout."""
    show_facts(
        [
            ("payout", f"{one.id}, of run {one.run_id}"),
            ("state", one.state),
            ("now", _now(one)),
            ("amount", f"{bitcoins(one.amount_sat)} BTC to {len(one.amounts)} miners"),
        ]
    )
    show(
        ("version", "to", "fee", "sat/vB", "txid or state"),
        ((str(v.number), v.purpose, bitcoins(v.fee_sat), _rate(v.rate), _standing(v)) for v in one.versions),
        "transactions, of which one can be mined",
    )
    show(
        ("miner", "to", "address", "BTC"),
        (
            (str(due.miner_id), due.exchange or "wallet", due.address, bitcoins(due.amount_sat))
            for due in one.payments
        ),
        "payments",
    )
    show(
        ("when", "state", "version", "who", "what"),
        ((clock(e.at_us), e.state, str(e.version or ""), e.actor, e.note) for e in events),
        "events",
    )


def _standing(version: Version) -> str:
    if version.txid is None:
        return "given out to be signed" if version.exported_us else "not signed"
    return version.txid if version.sent_us else f"{version.txid} (not sent yet)"


def _rate(rate: int) -> str:
    return f"{rate // 1000}.{rate % 1000:03}"


def signed(amount_sat: int) -> str:
    """Satoshis as bitcoins, also below zero."""
    return f"-{bitcoins(-amount_sat)}" if amount_sat < 0 else bitcoins(amount_sat)
