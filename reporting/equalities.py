"""The equalities that a daily report must satisfy by itself, whoever reads it.

`reconcile` recomputes, from the report alone, every number that follows from others: each block's commission
and division, what the day's steps of blocks did to every account, what each miner is owed, the sums and the
hashrates. Each check is named in plain words and shows both sides where it fails. The builder refuses a
report that would not pass, and the verifier makes the same checks on a published one.

It says nothing of signatures (that is `verify`), and does not know whether the facts told are true.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from payouts.block_state import NEXT, State
from payouts.journal import class_of, direction
from payouts.pplns import BPS, split
from register.licence import COVERING, Status
from reporting.standing import NO_LICENCE

SCHEMA: Final = "kz-dmp-daily/1"
MALFORMED: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading a document of unknown shape raises."""
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_STATUSES: Final = frozenset({*Status, NO_LICENCE})
_POOLS_OWN: Final = ("pool:network_fees", "pool:fpps", "pool:correction")

Object = Mapping[str, Any]


class Check(NamedTuple):
    """One thing looked at: what it is in plain words, whether it holds, and what was seen."""

    name: str
    passed: bool
    detail: str


class Broken(Exception):
    """A check does not hold; the text shows both sides."""


def reconcile(report: Object) -> list[Check]:
    """Checks that a report agrees with itself, whatever its signature."""
    return [run_check(name, look, report) for name, look in _EQUALITIES]


def run_check(name: str, look: Callable[[Any], str], subject: Any) -> Check:
    """The outcome of one check: `look` answers with what it saw, or raises Broken or one of MALFORMED."""
    try:
        return Check(name, True, look(subject))
    except Broken as broken:
        return Check(name, False, str(broken))
    except MALFORMED as error:
        return Check(name, False, f"a field is missing or malformed: {type(error).__name__}: {error}")


def same(what: str, left: object, right: object) -> None:
    """Raises Broken unless both sides are equal and of one type (in JSON, true is not 1)."""
    if left != right or type(left) is not type(right):
        raise Broken(f"{what}: {left!r} is not {right!r}")


# The content: a report that agrees with itself


def _header(report: Object) -> str:
    same("schema", report["schema"], SCHEMA)
    first = report["sequence"] == 1
    same("sequence 1 and only it has no report before", report["previous_report_sha256"] is None, first)
    original = report["version"] == 1
    same("version 1 and only it replaces nothing", report["replaces_sha256"] is None, original)
    same("version 1 and only it has no reason of correction", report["correction_reason"] is None, original)
    for key in ("sequence", "version"):
        if _int(report, key) < 1:
            raise Broken(f"{key} is {report[key]}; it begins at 1")
    for key in ("previous_report_sha256", "replaces_sha256"):
        if report[key] is not None and not _HEX32.fullmatch(report[key]):
            raise Broken(f"{key} is {report[key]!r}; it must be 64 lower-case hex digits")
    return f"{report['report_date']}, version {report['version']}, report {report['sequence']}"


def _day(report: Object) -> str:
    start, end = _bounds(report)
    made = _time(report["generated_at"])
    day = dt.date.fromisoformat(report["report_date"])
    same("date on which the day begins", start.date(), day)
    same("date on which the next begins", end.date(), day + dt.timedelta(days=1))
    same("time zone", report["timezone"], report["day_start"][-6:])
    same("the day is complete", report["day_complete"], made >= end)
    elapsed = (min(made, end) - start) // dt.timedelta(seconds=1)
    same("seconds elapsed", _int(report, "elapsed_seconds"), elapsed)
    if elapsed < 0:
        raise Broken("the report was made before its day began")
    for row in (*report["miners"], report["totals"]):
        same("average hashrate", row["average_hashrate"], str(int(row["work"]) // max(elapsed, 1)))
    return f"{elapsed} seconds"


def _rewards(report: Object) -> str:
    for block in report["blocks"]:
        reward, commission = _int(block, "reward_sat"), _int(block, "commission_sat")
        what = f"block {block['hash']}"
        same(
            f"{what}: subsidy + fees and reward", _int(block, "subsidy_sat") + _int(block, "fees_sat"), reward
        )
        parts = sum(_int(row, "amount_sat") for row in block["miners"])
        same(f"{what}: miners + commission and reward", parts + commission, reward)
        if block["window"] is not None:
            kept = _kept(block)
            rate = kept + (reward - kept) * _int(block, "commission_bps") // BPS
            same(f"{what}: commission and its rate of the reward", commission, rate)
            borne = sum(_int(row, "commission_sat") for row in block["miners"])
            same(f"{what}: commission and what of it falls on the miners", commission, borne)
    return f"{len(report['blocks'])} blocks"


def _kept(block: Object) -> int:
    """Transaction fees that the pool does not share, by the terms of the block."""
    if block["transaction_fees"] not in ("shared", "pool"):
        raise Broken(f"transaction fees are {block['transaction_fees']!r}; they are shared or the pool's")
    return _int(block, "fees_sat") if block["transaction_fees"] == "pool" else 0


def _splits(report: Object) -> str:
    known = {miner["id"] for miner in report["miners"]}
    for block in report["blocks"]:
        window, what = block["window"], f"block {block['hash']}"
        work = {_int(row, "miner_id"): int(row["work"]) for row in block["miners"]}
        same(f"{what}: miners named once each", len(work), len(block["miners"]))
        strangers = {*work, block["finder_miner_id"]} - {*known, None}
        same(f"{what}: miners that the report does not tell of", sorted(strangers), [])
        if window is None:
            same(f"{what}: nobody had worked, so nobody is in its split", work, {})
            continue
        size, total = int(window["size"]), int(window["work"])
        same(f"{what}: work of the window", sum(work.values()), total)
        if total > size or (window["first_slice"] > 1 and total != size):
            raise Broken(f"{what}: the window holds {total} of work and its size is {size}")
        recomputed = split(block["reward_sat"], block["commission_bps"], work, _kept(block))
        for row in block["miners"]:
            id_ = row["miner_id"]
            same(f"{what}: amount of miner {id_}", _int(row, "amount_sat"), recomputed.amounts[id_])
            same(f"{what}: commission of miner {id_}", row["commission_sat"], recomputed.commissions[id_])
    return "recomputed by largest remainder"


def _histories(report: Object) -> str:
    start, end = _bounds(report)
    same("blocks named once each", len({block["hash"] for block in report["blocks"]}), len(report["blocks"]))
    for block in report["blocks"]:
        what = f"block {block['hash']}"
        states = [State(event["state"]) for event in block["history"]]
        times = [_time(event["at"]) for event in block["history"]]
        same(f"{what}: first state", str(states[0]), "found")
        same(f"{what}: time of finding", block["history"][0]["at"], block["found_at"])
        same(f"{what}: state", block["state"], str(states[-1]))
        for before, after in itertools.pairwise(states):
            if after not in NEXT[before]:
                raise Broken(f"{what}: from {before} to {after} is no step a block can take")
        if times != sorted(times) or times[-1] >= end or times[-1] < start:
            raise Broken(f"{what}: its history must run forward, and its last step be on this day")
    return "every step is allowed"


def _licences(report: Object) -> str:
    told: list[str] = []
    for miner in report["miners"]:
        licence, what = miner["licence"], f"miner {miner['account']}"
        statuses = []
        if licence is not None:
            _standing(licence, report, what)
            statuses = [one["status"] for one in licence["standing"]]
        uncovered = _int(miner, "accepted_shares") > 0 and COVERING.isdisjoint(statuses)
        stood = ", then ".join(statuses) or "none"
        told_of = miner["worked_without_licence"]
        same(f"{what}: worked, its licence {stood}, and what the report says", uncovered, told_of)
        if uncovered:
            told.append(str(miner["account"]))
    if told:
        return f"worked without a licence, as the report says: {', '.join(told)}"
    return "whoever worked had a licence that covered work in some part of the day"


def _standing(licence: Object, report: Object, what: str) -> None:
    """How a miner stood, from the beginning of the day to its end, and under which of its licences."""
    standing = licence["standing"]
    for one in standing:
        if one["status"] not in _STATUSES:
            raise Broken(f"{what}: {one['status']!r} is no status of a licence")
        same(f"{what}: has no licence", one["licence"] is None, one["status"] == NO_LICENCE)
    edges = [_time(report["day_start"]), *(_time(one["until"]) for one in standing)]
    if [_time(one["from"]) for one in standing] != edges[:-1] or edges != sorted(set(edges)):
        raise Broken(f"{what}: the standing of its licence does not run forward without gaps")
    if edges[-1] != _time(report["day_end"]):
        raise Broken(f"{what}: the standing of its licence does not reach to the end of the day")
    covering = [one["licence"] for one in standing if one["status"] in COVERING]
    named = covering or [one["licence"] for one in standing if one["licence"] is not None]
    same(f"{what}: licence told of and the last of its standing", licence["number"], named[-1])


def _accounts_close(report: Object) -> str:
    for row in report["journal"]["accounts"]:
        closing = _int(row, "opening_sat") + _int(row, "in_sat") - _int(row, "out_sat")
        same(f"account {row['account']}: opening + in - out and closing", closing, _int(row, "closing_sat"))
    return f"{len(report['journal']['accounts'])} accounts"


def _accounts_move(report: Object) -> str:
    accounts = _accounts(report)
    expected = _expected_of_blocks(report)
    for entry in report["journal"]["entries"]:
        what = f"entry {entry['kind']} ({entry['memo']})"
        same(f"{what}: the sum of its postings", sum(_int(one, "amount_sat") for one in entry["postings"]), 0)
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
        same(f"{what}: opening + given - reversed - paid and closing", closing, _int(row, "closing_sat"))
        _party(what, row, [accounts[account] for account in mine], moved.get(row["id"], Counter()))
        booked = _booked(report, f"miner:{row['id']}:")
        same(f"{what}: paid and the entries of payouts", _int(row, "paid_sat"), -booked["payout"])
        same(f"{what}: paid by share and its entries", _int(row, "per_share_sat"), booked["fpps_credited"])
        same(f"{what}: corrected and its entries", _int(row, "corrected_sat"), booked["correction"])
    return f"{len(report['miners'])} miners"


def _commission(report: Object) -> str:
    accounts, row = _accounts(report), report["commission"]
    immature, earned = (accounts.get(f"pool:commission:{kind}") for kind in ("immature", "earned"))
    same("commission immature", row["immature_sat"], immature["closing_sat"] if immature else 0)
    same("commission earned", row["earned_sat"], earned["closing_sat"] if earned else 0)
    closing = row["opening_sat"] + row["credited_sat"] - row["reversed_sat"] + row["corrected_sat"]
    same("commission: opening + credited - reversed and closing", closing, _int(row, "closing_sat"))
    booked = _booked(report, "pool:commission:")
    same("commission: corrected and its entries", _int(row, "corrected_sat"), booked["correction"])
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
            f"{what}: {side} and that of its accounts", _int(row, side), sum(each[side] for each in accounts)
        )
    reversed_sat = moved["reversed immature"] + moved["reversed mature"]
    same(f"{what}: credited and its parts of the blocks", _int(row, "credited_sat"), moved["credited"])
    same(f"{what}: matured and its parts of the blocks", _int(row, "matured_sat"), moved["matured"])
    same(f"{what}: reversed and its parts of the blocks", _int(row, "reversed_sat"), reversed_sat)


def _classes(report: Object) -> str:
    sums: dict[str, Counter[str]] = {}
    for account, row in _accounts(report).items():
        side = "assets" if direction(account) == 1 else "liabilities"
        for name in (class_of(account), side):
            sums.setdefault(name, Counter()).update({key: _int(row, key) for key in _SIDES})
    journal = report["journal"]
    told = {row["class"]: row for row in journal["classes"]} | journal["totals"]
    same("classes and totals of accounts", sorted(told), sorted({*sums, "assets", "liabilities"}))
    for name, row in told.items():
        found = sums.get(name, Counter())
        for key in _SIDES:
            same(f"{key} of {name} and the sum of its accounts", _int(row, key), found[key])
    for key in ("opening_sat", "closing_sat"):
        assets, owed = (journal["totals"][side][key] for side in ("assets", "liabilities"))
        same(f"{key} of assets and of liabilities", assets, owed)
    return f"{journal['totals']['assets']['closing_sat']} satoshis on both sides"


def _totals(report: Object) -> str:
    totals, miners, blocks = report["totals"], report["miners"], report["blocks"]
    start, _ = _bounds(report)
    same("number of miners", totals["miners"], len(miners))
    same("blocks found", totals["blocks_found"], sum(_time(block["found_at"]) >= start for block in blocks))
    same("work", totals["work"], str(sum(int(row["work"]) for row in miners)))
    for key in ("accepted_shares", "rejected_shares", *OWED):
        same(f"total {key}", _int(totals, key), sum(_int(row, key) for row in miners))
    for row in miners:
        by_reason = sum(row["rejected_by_reason"].values())
        same(f"miner {row['account']}: rejected shares by reason", by_reason, row["rejected_shares"])
        same(
            f"miner {row['account']}: has work and has shares", row["work"] != "0", row["accepted_shares"] > 0
        )
    return f"{len(miners)} miners, {totals['accepted_shares']} shares"


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
_EQUALITIES: Final[tuple[tuple[str, Callable[[Object], str]], ...]] = (
    ("the header gives schema, version and place in the chain of reports", _header),
    ("the hashrates are work over the seconds of the day in Kazakhstan", _day),
    ("each block's reward is subsidy and fees, and is wholly divided", _rewards),
    ("each block's division is that of the work in its window", _splits),
    ("each block's history is possible", _histories),
    ("work without a licence is told", _licences),
    ("opening + in - out = closing for every account", _accounts_close),
    ("every account moved as the day's blocks and other entries did", _accounts_move),
    ("what each miner is owed agrees with its accounts and the blocks", _owed),
    ("the pool's commission agrees with its accounts and the blocks", _commission),
    ("the accounts add up, and assets are what is owed", _classes),
    ("the totals are the sums of the rows", _totals),
)


# Reading the report


def _int(row: Object, key: str) -> int:
    if type(row[key]) is not int:
        raise Broken(f"{key} is {row[key]!r}; it must be an integer")
    return int(row[key])


def _time(text: str) -> dt.datetime:
    at = dt.datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise Broken(f"time {text} has no offset")
    return at


def _bounds(report: Object) -> tuple[dt.datetime, dt.datetime]:
    return _time(report["day_start"]), _time(report["day_end"])


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
    start, end = _bounds(report)
    before = ""
    for event in block["history"]:
        if start <= _time(event["at"]) < end:
            borne = {row["miner_id"]: _int(row, "amount_sat") for row in event.get("borne_by_pool", ())}
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
