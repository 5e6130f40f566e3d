"""What must hold of the payments in a daily report: distributions and journal, and the mandatory sale.

The journal books a payment when the ledger hears of its block; the dated rule says which day it is a
distribution of (Q-07). Where both are the same day, it is a row; where not, it is told apart, so that every
satoshi of a day's payments is found, and each miner's `paid_sat` is exactly what its rows and the bookings
apart make.

Each look takes the report and answers with what it saw, or raises `equality.Broken` with both sides.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Final

from payouts.pplns import BPS
from reporting.equality import HEX32, Broken, Look, Object, amount, same, whole

_COIN: Final = 100_000_000
_PURPOSES: Final = ("wallet", "exchange_deposit")
_BOOKINGS: Final = ("paid", "taken_back")
_SUMS: Final = ("mined_sat", "realised_sat", "sold_eligible_sat")


def _rows(report: Object) -> str:
    rows, totals = report["distributions"], report["totals"]
    known = {row["id"]: row for row in report["miners"]}
    same("numbers of the rows", [row["row_no"] for row in rows], list(range(1, len(rows) + 1)))
    places = [(row["miner_id"], row["block_height"], row["txid"], row["vout"]) for row in rows]
    same("rows in their order", places, sorted(set(places)))
    for row in rows:
        what = f"distribution {row['row_no']}"
        if row["miner_id"] not in known:
            raise Broken(f"{what}: the report does not tell of miner {row['miner_id']}")
        same(f"{what}: account", row["account"], known[row["miner_id"]]["account"])
        same(f"{what}: day", row["distribution_date"], report["report_date"])
        for key in ("received_on", "booked_on"):
            dt.date.fromisoformat(row[key])
        if row["purpose"] not in _PURPOSES or not all(
            HEX32.fullmatch(row[key]) for key in ("txid", "block_hash")
        ):
            raise Broken(f"{what}: purpose {row['purpose']!r}, txid or block hash cannot be")
        quantity, commission = amount(row, "quantity_sat"), amount(row, "commission_sat")
        same(f"{what}: gross is quantity and commission", whole(row, "gross_sat"), quantity + commission)
        same(f"{what}: asset of the commission", row["commission_asset"], row["asset"])
        _decimal(what, row["quantity"], quantity)
        _decimal(what, row["commission_quantity"], commission)
    same("number of distributions", whole(totals, "distributions"), len(rows))
    for key, text in (
        ("distributed_sat", "distributed"),
        ("distributed_commission_sat", "distributed_commission"),
    ):
        of = "quantity_sat" if key == "distributed_sat" else "commission_sat"
        same(f"total {key}", whole(totals, key), sum(row[of] for row in rows))
        _decimal("totals", totals[text], totals[key])
    return f"{len(rows)} payments, {totals['distributed']} BTC"


def _decimal(what: str, text: object, satoshis: int) -> None:
    same(f"{what}: decimal amount", text, f"{satoshis // _COIN}.{satoshis % _COIN:08d}")


def _booked(report: Object) -> str:
    """By payout and miner, what the journal booked as paid and took back, and where that is told."""
    day = report["report_date"]
    paid: Counter[tuple[int, int]] = Counter()
    taken: Counter[tuple[int, int]] = Counter()
    for entry in report["journal"]["entries"]:
        for miner_id, moved in _left(entry).items():
            (paid if moved > 0 else taken)[entry["payout_id"], miner_id] += abs(moved)
    told: Counter[tuple[int, int]] = Counter()
    back: Counter[tuple[int, int]] = Counter()
    for row in report["distributions"]:
        if row["booked_on"] == day:
            told[row["payout_id"], row["miner_id"]] += row["quantity_sat"]
    apart = report["bookings_apart"]
    same(
        "bookings apart in their order",
        [_order(row) for row in apart],
        sorted({_order(row) for row in apart}),
    )
    for row in apart:
        if row["what"] not in _BOOKINGS or whole(row, "quantity_sat") < 1:
            raise Broken(f"booking apart of {row['what']!r} over {row['quantity_sat']} satoshis")
        if row["what"] == "paid" and row["counts_for"] == day:
            raise Broken(f"payout {row['payout_id']}: counts for this day, and is told apart")
        (told if row["what"] == "paid" else back)[row["payout_id"], row["miner_id"]] += row["quantity_sat"]
    same("paid by payout and miner: what is told, and the journal", dict(told), dict(paid))
    same("taken back by payout and miner: what is told, and the journal", dict(back), dict(taken))
    for row in report["miners"]:
        mine = sum(moved for (_, id_), moved in told.items() if id_ == row["id"])
        mine -= sum(moved for (_, id_), moved in back.items() if id_ == row["id"])
        same(f"miner {row['account']}: paid, and what is told of it", whole(row, "paid_sat"), mine)
    return (
        f"{sum(told.values()) - sum(back.values())} satoshis were paid, {len(apart)} bookings are told apart"
    )


def _left(entry: Object) -> Counter[int]:
    """By miner, the satoshis that an entry of a payout took out of what it is owed (less than 0: put
    back)."""
    left: Counter[int] = Counter()
    if entry["kind"].startswith("payout_"):
        for posting in entry["postings"]:
            if posting["account"].startswith("miner:"):
                left[int(posting["account"].split(":")[1])] += posting["amount_sat"]
    return Counter({miner_id: moved for miner_id, moved in left.items() if moved})


def _order(row: Object) -> tuple[int, int, str, str]:
    return row["payout_id"], row["miner_id"], row["what"], row["counts_for"] or ""


# The mandatory sale (O-50 to O-52, Q-02)


def _sale(report: Object) -> str:
    rows = report["mandatory_sale"]
    known = {row["id"] for row in report["miners"]}
    places = [(row["miner_id"], row["parts"][0]["from"]) for row in rows]
    same("rows by miner and period", places, sorted(set(places)))
    for row in rows:
        what = f"sale of miner {row['miner_id']} in {row['period']}"
        if row["miner_id"] not in known:
            raise Broken(f"{what}: the report does not tell of that miner")
        _parts(what, row, report["report_date"])
        sold = amount(row, "sold_eligible_sat")
        for base in ("mined", "realised"):
            of = amount(row, f"{base}_sat")
            share = sold * BPS // of if of else None
            same(f"{what}: share of what was {base}", row[f"share_of_{base}_bps"], share)
            due = sum(whole(part, f"{base}_sat") * whole(part, "share_bps") for part in row["parts"])
            short = max(-(-due // BPS) - sold, 0)
            same(f"{what}: shortfall of what was {base}", whole(row, f"shortfall_of_{base}_sat"), short)
        by_base = row[f"shortfall_of_{row['base']}_sat"]
        same(f"{what}: shortfall by the reading in force", whole(row, "shortfall_sat"), by_base)
    return f"{len(rows)} rows"


def _parts(what: str, row: Object, day: str) -> None:
    """The stretches of the period sum to it, and what was sold in each is what the confirmations say."""
    parts = row["parts"]
    for key in _SUMS:
        same(f"{what}: {key} and its stretches", whole(row, key), sum(whole(part, key) for part in parts))
    same(f"{what}: share of the rule", whole(row, "rule_share_bps"), parts[-1]["share_bps"])
    if amount(row, "delivered_sat") > row["mined_sat"]:
        raise Broken(
            f"{what}: {row['delivered_sat']} satoshis went to its exchange, {row['mined_sat']} were paid"
        )
    sold: Counter[tuple[int, str]] = Counter()
    for one in row["confirmations"]:
        place = next(
            (number for number, part in enumerate(parts) if part["from"] <= one["sold_on"] <= part["to"]),
            None,
        )
        if place is None or one["sold_on"] > day:
            raise Broken(f"{what}: sale {one['reference']!r} of {one['sold_on']} is not of this period")
        eligible = bool(one["licence"]) and one["licensor"] in parts[place]["licensors"]
        same(f"{what}: sale {one['reference']!r} counts", one["eligible"], eligible)
        sold[place, "realised_sat"] += whole(one, "quantity_sat")
        sold[place, "sold_eligible_sat"] += one["quantity_sat"] if eligible else 0
    for place, part in enumerate(parts):
        for key in ("realised_sat", "sold_eligible_sat"):
            same(f"{what}: {key} from {part['from']} on, and the sales", part[key], sold[place, key])


PAYMENTS: Final[tuple[tuple[str, Look], ...]] = (
    ("the distributions are of this day, and their amounts agree", _rows),
    ("every payment that the journal booked on this day is told", _booked),
    ("what had to be sold follows from what was mined and sold", _sale),
)
