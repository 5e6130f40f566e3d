"""The transactions of confirmed payouts, read as the network reads them.

A payout that was confirmed is paid only if its transaction has an output for each of its payments, to that
script and of that amount, and what the journal says of its fee. Two payouts never spend the same coin, so
that no payment is there twice (I5). Whether the chain has these transactions anybody can look up by txid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bitcoin.core import CTransaction, b2lx
from bitcoin.core.serialize import SerializationError

from pool.archive_book import Line, row_of
from pool.audit_compare import Tally
from pool.payout_transaction import WrongTransaction, worth_of
from pool.tables import payment, payout_version

Payouts = Mapping[int, Mapping[str, Sequence[Line]]]
"""By payout, its lines of the books by the names of their tables."""


def check_payments(payouts: Payouts, until_us: int) -> list[Tally]:
    """All payouts that stood confirmed at an instant."""
    paid, coins = Tally("payment in its transaction"), Tally("coin of a payout, spent once")
    spent: dict[str, int] = {}
    for payout_id, of in sorted(payouts.items()):
        version = _confirmed(of, until_us)
        if version is None:
            continue
        if version["purpose"] == "pay":
            _check_outputs(paid, payout_id, version, [row_of(payment, line) for line in of["payment"]])
        for coin in version["inputs"]:
            coins.compare(coin, f"payout {spent.setdefault(coin, payout_id)}", f"payout {payout_id}")
    return [paid, coins]


def _confirmed(of: Mapping[str, Sequence[Line]], until_us: int) -> dict[str, Any] | None:
    """The version in the chain: the last event that names a block, or undoes that, says so."""
    number = None
    for line in of["payout_event"]:
        if line["at_us"] >= until_us:
            break
        if line["state"] in ("confirmed", "final", "abandoned"):
            number = line["version"] if line["version"] is not None else number
        else:
            number = None
    rows = [row_of(payout_version, line) for line in of.get("payout_version", ())]
    return next((row for row in rows if row["number"] == number), None)


def _check_outputs(
    tally: Tally, payout_id: int, version: dict[str, Any], payments: Sequence[dict[str, Any]]
) -> None:
    """Outputs stand in the order of the payments; behind them there may be the pool's change."""
    what = f"payout {payout_id} version {version['number']}"
    try:
        transaction = CTransaction.deserialize(version["raw"] or b"")
        worth = worth_of(version["psbt"])
    except (SerializationError, ValueError, WrongTransaction) as error:
        tally.differs(what, f"no transaction: {error}", f"txid {version['txid']}")
        return
    outputs = [(bytes(one.scriptPubKey), one.nValue) for one in transaction.vout]
    for place, one in enumerate(payments):
        has = outputs[place] if place < len(outputs) else None
        wanted = (one["script"], one["amount_sat"])
        tally.compare(f"{what} payment {one['number']}", _output(has), _output(wanted))
    inputs = [f"{b2lx(one.prevout.hash)}:{one.prevout.n}" for one in transaction.vin]
    tally.compare(
        what,
        f"txid {b2lx(transaction.GetTxid())}, coins {inputs}, fee {worth - sum(one[1] for one in outputs)}",
        f"txid {version['txid']}, coins {list(version['inputs'])}, fee {version['fee_sat']}",
    )


def _output(output: tuple[bytes, int] | None) -> str | None:
    return None if output is None else f"{output[1]} satoshis to {output[0].hex()}"
