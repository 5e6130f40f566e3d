"""What must hold of the money in a daily report: accounts, entries, and what is owed (invariant 3).

Each look takes the report and answers with what it saw, or raises `equality.Broken` with both sides. What the
day's blocks and the other entries did to every account is derived from the report a second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from payouts.journal import class_of, direction
from reporting.equality import Broken, Look, Object, bounds, moment, same, whole

_POOLS_OWN: Final = ("pool:network_fees", "pool:fpps", "pool:correction")
_SIDES: Final = ("opening_sat", "in_sat", "out_sat", "closing_sat")
OWED: Final = (
    "opening_sat",
    "credited_sat",
    "matured_sat",
    "reversed_sat",
    "per_share_sat",
    "paid_sat",
    "corrected_sat",
    "closing_sat",
)
"""The members of a miner's row that tell what it is owed."""


def _accounts_close(report: Object) -> str:
    for row in report["journal"]["accounts"]:
        closing = whole(row, "opening_sat") + whole(row, "in_sat") - whole(row, "out_sat")
        same(f"account {row['account']}: opening + in - out and closing", closing, whole(row, "closing_sat"))
    return f"{len(report['journal']['accounts'])} accounts"


def _accounts_move(report: Object) -> str:
    accounts = _accounts(report)
    expected = _expected_of_blocks(report)
    for entry in report["journal"]["entries"]:
        what = f"entry {entry['kind']} ({entry['memo']})"
        same(
            f"{what}: the sum of its postings", sum(whole(one, "amount_sat") for one in entry["postings"]), 0
        )
        for posting in entry["postings"]:
            account = posting["account"]
            if account not in expected:
                raise Broken(f"{what}: account {account} belongs to nobody in this report")
            own = posting["amount_sat"] * direction(account)
            expected[account]["in" if own > 0 else "out"] += abs(own)
    for account, row in accounts.items():
        if account not in expected:
            raise Broken(f"account {account} belongs to nobody in this report")
        sides = (expected[account]["in"], expected[account]["out"])
        same(f"account {account}: in and out", (row["in_sat"], row["out_sat"]), sides)
    for account, moves in expected.items():
        if account not in accounts:
            same(f"account {account} is not listed, so it did not move", (moves["in"], moves["out"]), (0, 0))
    return f"every movement is that of a block or of one of {len(report['journal']['entries'])} other entries"


def _expected_of_blocks(report: Object) -> dict[str, Counter[str]]:
    """What goes into and out of every account that may be in the report, by the day's steps of blocks."""
    moved = _movements(report)
    miners = [row["id"] for row in report["miners"]]
    parties: list[tuple[str, str, int | str]] = [
        *(
            (f"miner:{row['id']}:immature", f"miner:{row['id']}:payable", row["id"])
            for row in report["miners"]
        ),
        ("pool:commission:immature", "pool:commission:earned", "commission"),
        ("asset:coinbase:immature", "asset:coinbase:mature", "reward"),
    ]
    expected = {account: Counter[str]() for account in _POOLS_OWN}
    for immature, mature, party in parties:
        at = moved.get(party, Counter())
        expected[immature] = Counter({"in": at["credited"], "out": at["matured"] + at["reversed immature"]})
        expected[mature] = Counter({"in": at["matured"], "out": at["reversed mature"]})
    for id_ in miners:
        at = moved.get(id_, Counter())
        expected[f"miner:{id_}:paying"] = Counter()
        expected[f"pool:orphan_loss:{id_}"] = Counter({"in": at["recovered"], "out": at["borne"]})
    return expected


def _owed(report: Object) -> str:
    accounts, moved = _accounts(report), _movements(report)
    same("miners named once each", len({row["id"] for row in report["miners"]}), len(report["miners"]))
    for row in report["miners"]:
        mine = [account for account in accounts if account.startswith(f"miner:{row['id']}:")]
        given = row["credited_sat"] + row["per_share_sat"] + row["corrected_sat"]
        closing = row["opening_sat"] + given - row["reversed_sat"] - row["paid_sat"]
        what = f"miner {row['account']}"
        same(f"{what}: opening + given - reversed - paid and closing", closing, whole(row, "closing_sat"))
        _party(what, row, [accounts[account] for account in mine], moved.get(row["id"], Counter()))
        booked = _booked(report, f"miner:{row['id']}:")
        same(f"{what}: paid and the entries of payouts", whole(row, "paid_sat"), -booked["payout"])
        same(f"{what}: paid by share and its entries", whole(row, "per_share_sat"), booked["fpps_credited"])
        same(f"{what}: corrected and its entries", whole(row, "corrected_sat"), booked["correction"])
    return f"{len(report['miners'])} miners"


def _commission(report: Object) -> str:
    accounts, row = _accounts(report), report["commission"]
    immature, earned = (accounts.get(f"pool:commission:{kind}") for kind in ("immature", "earned"))
    same("commission immature", row["immature_sat"], immature["closing_sat"] if immature else 0)
    same("commission earned", row["earned_sat"], earned["closing_sat"] if earned else 0)
    closing = row["opening_sat"] + row["credited_sat"] - row["reversed_sat"] + row["corrected_sat"]
    same("commission: opening + credited - reversed and closing", closing, whole(row, "closing_sat"))
    booked = _booked(report, "pool:commission:")
    same("commission: corrected and its entries", whole(row, "corrected_sat"), booked["correction"])
    both = [account for account in (immature, earned) if account]
    _party("commission", row, both, _movements(report).get("commission", Counter()))
    return f"{row['credited_sat']} satoshis credited"


def _booked(report: Object, accounts: str) -> Counter[str]:
    """What entries of no block did to accounts that begin like this, in their own direction, by kind."""
    booked: Counter[str] = Counter()
    for entry in report["journal"]["entries"]:
        kind = "payout" if entry["kind"].startswith("payout_") else entry["kind"]
        for posting in entry["postings"]:
            if posting["account"].startswith(accounts):
                booked[kind] += posting["amount_sat"] * direction(posting["account"])
    return booked


def _party(what: str, row: Object, accounts: list[Object], moved: Counter[str]) -> None:
    """A party's totals against its accounts and against the day's blocks."""
    for side in ("opening_sat", "closing_sat"):
        same(
            f"{what}: {side} and that of its accounts", whole(row, side), sum(each[side] for each in accounts)
        )
    reversed_sat = moved["reversed immature"] + moved["reversed mature"]
    same(f"{what}: credited and its parts of the blocks", whole(row, "credited_sat"), moved["credited"])
    same(f"{what}: matured and its parts of the blocks", whole(row, "matured_sat"), moved["matured"])
    same(f"{what}: reversed and its parts of the blocks", whole(row, "reversed_sat"), reversed_sat)


def _classes(report: Object) -> str:
    sums: dict[str, Counter[str]] = {}
    for account, row in _accounts(report).items():
        side = "assets" if direction(account) == 1 else "liabilities"
        for name in (class_of(account), side):
            sums.setdefault(name, Counter()).update({key: whole(row, key) for key in _SIDES})
    journal = report["journal"]
    told = {row["class"]: row for row in journal["classes"]} | journal["totals"]
    same("classes and totals of accounts", sorted(told), sorted({*sums, "assets", "liabilities"}))
    for name, row in told.items():
        found = sums.get(name, Counter())
        for key in _SIDES:
            same(f"{key} of {name} and the sum of its accounts", whole(row, key), found[key])
    for key in ("opening_sat", "closing_sat"):
        assets, owed = (journal["totals"][side][key] for side in ("assets", "liabilities"))
        same(f"{key} of assets and of liabilities", assets, owed)
    return f"{journal['totals']['assets']['closing_sat']} satoshis on both sides"


def _accounts(report: Object) -> dict[str, Object]:
    rows = report["journal"]["accounts"]
    accounts = {row["account"]: row for row in rows}
    same("accounts named once each", len(accounts), len(rows))
    return accounts


def _movements(report: Object) -> dict[int | str, Counter[str]]:
    """Satoshis of each party (a miner id, "commission", "reward") by what the day's steps of blocks did."""
    moved: dict[int | str, Counter[str]] = {}
    for block in report["blocks"]:
        parts: dict[int | str, int] = {row["miner_id"]: row["amount_sat"] for row in block["miners"]}
        parts |= {"commission": block["commission_sat"], "reward": block["reward_sat"]}
        for did, borne in _steps(report, block):
            for party, amount in parts.items():
                lost = borne.get(party, 0)
                moved.setdefault(party, Counter())[did] += amount - lost
                if lost and did != "matured":
                    moved[party]["recovered" if did == "credited" else "borne"] += lost
    return moved


def _steps(report: Object, block: Object) -> Iterator[tuple[str, dict[int | str, int]]]:
    """What the steps of a block on this day did to its money; and by miner, what of it the pool bore."""
    start, end = bounds(report)
    before, bears = "", dict[int | str, int]()
    for event in block["history"]:
        borne = {row["miner_id"]: whole(row, "amount_sat") for row in event.get("borne_by_pool", ())}
        bears = _borne(block, event, bears, borne, grows=(before, event["state"]) == ("mature", "orphaned"))
        if start <= moment(event["at"]) < end:
            match before, event["state"]:
                case _, "confirmed":
                    yield "credited", borne
                case _, "mature":
                    yield "matured", borne
                case "confirmed", "orphaned":
                    yield "reversed immature", borne
                case "mature", "orphaned":
                    yield "reversed mature", borne
        before = event["state"]


def _borne(
    block: Object, event: Object, before: dict[int | str, int], told: dict[int | str, int], *, grows: bool
) -> dict[int | str, int]:
    """What the pool bears of a block's parts: more only when it leaves the chain after it was mature."""
    parts = {row["miner_id"]: row["amount_sat"] for row in block["miners"]}
    if grows and all(before.get(one, 0) <= told.get(one, 0) <= parts.get(one, 0) for one in before | told):
        return told
    same(f"block {block['hash']}: what the pool bears of it on {event['at']}", told, before)
    return before


ACCOUNTS: Final[tuple[tuple[str, Look], ...]] = (
    ("opening + in - out = closing for every account", _accounts_close),
    ("every account moved as the day's blocks and other entries did", _accounts_move),
    ("what each miner is owed agrees with its accounts and the blocks", _owed),
    ("the pool's commission agrees with its accounts and the blocks", _commission),
    ("the accounts add up, and assets are what is owed", _classes),
)
