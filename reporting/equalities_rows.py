"""What must hold of a daily report's rows beside money: licences, hardware, compliance, commitments, sums.

Each look takes the report and answers with what it saw, or raises `equality.Broken` with both sides.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import rfc8785

from register.licence import COVERING, Status
from reporting import commitment
from reporting.equalities_journal import OWED
from reporting.equality import HEX32, Broken, Look, Object, amount, bounds, moment, number, same, whole
from reporting.standing import NO_LICENCE

_STATUSES: Final = frozenset({*Status, NO_LICENCE})
_SEEN: Final = (
    "authorisation_refused",
    "unregistered_device",
    "foreign_device",
    "duplicate_device",
    "overrate_device",
)
_KINDS: Final = (*_SEEN, "shares_refused", "licence_act", "licence_turn", "address", "devices")
_REFUSED_BY_LAW: Final = ("licence", "quarantine", "unauthorised")


def _licences(report: Object) -> str:
    told: list[str] = []
    for miner in report["miners"]:
        licence, what = miner["licence"], f"miner {miner['account']}"
        statuses = []
        if licence is not None:
            _standing(licence, report, what)
            statuses = [one["status"] for one in licence["standing"]]
        uncovered = whole(miner, "accepted_shares") > 0 and COVERING.isdisjoint(statuses)
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
    edges = [moment(report["day_start"]), *(moment(one["until"]) for one in standing)]
    if [moment(one["from"]) for one in standing] != edges[:-1] or edges != sorted(set(edges)):
        raise Broken(f"{what}: the standing of its licence does not run forward without gaps")
    if edges[-1] != moment(report["day_end"]):
        raise Broken(f"{what}: the standing of its licence does not reach to the end of the day")
    covering = [one["licence"] for one in standing if one["status"] in COVERING]
    named = covering or [one["licence"] for one in standing if one["licence"] is not None]
    same(f"{what}: licence told of and the last of its standing", licence["number"], named[-1])


def _totals(report: Object) -> str:
    totals, miners, blocks = report["totals"], report["miners"], report["blocks"]
    start, _ = bounds(report)
    same("number of miners", totals["miners"], len(miners))
    same("blocks found", totals["blocks_found"], sum(moment(block["found_at"]) >= start for block in blocks))
    same("work", totals["work"], str(sum(int(row["work"]) for row in miners)))
    for key in ("accepted_shares", "rejected_shares", *OWED):
        same(f"total {key}", whole(totals, key), sum(whole(row, key) for row in miners))
    for row in miners:
        by_reason = sum(amount(row["rejected_by_reason"], reason) for reason in row["rejected_by_reason"])
        same(f"miner {row['account']}: rejected shares by reason", by_reason, row["rejected_shares"])
        same(
            f"miner {row['account']}: has work and has shares", row["work"] != "0", row["accepted_shares"] > 0
        )
    return f"{len(miners)} miners, {totals['accepted_shares']} shares"


def _devices(report: Object) -> str:
    start, end = bounds(report)
    miners, totals = report["miners"], report["totals"]
    for row in miners:
        what, registered = f"miner {row['account']}", amount(row, "devices_registered")
        centres = row["data_centre_ids"]
        same(f"{what}: data centres named once each and in order", centres, sorted(set(centres)))
        same(f"{what}: has units and has them somewhere", registered > 0, bool(centres))
        worked = row["accepted_shares"] > 0
        times = [row["first_share_at"], row["last_share_at"]]
        same(f"{what}: has shares and times of them", [one is not None for one in times], [worked, worked])
        if worked and not start <= moment(times[0]) <= moment(times[1]) < end:
            raise Broken(f"{what}: shares from {times[0]} to {times[1]} are not of this day")
        if row["devices_active"] is None:
            same(
                f"{what}: names without units, where active units are not known",
                row["workers_unmatched"],
                None,
            )
            continue
        active, unmatched = amount(row, "devices_active"), amount(row, "workers_unmatched")
        same(f"{what}: has shares and somebody who found them", worked, active + unmatched > 0)
        if active > registered:
            raise Broken(f"{what}: {active} units worked, {registered} are registered")
    same("total devices_registered", whole(totals, "devices_registered"), _sum(miners, "devices_registered"))
    unknown = any(row["devices_active"] is None for row in miners)
    same(
        "total devices_active", totals["devices_active"], None if unknown else _sum(miners, "devices_active")
    )
    return f"{totals['devices_registered']} registered units, {totals['devices_active']} active"


def _sum(rows: Iterable[Object], key: str) -> int:
    return sum(whole(row, key) for row in rows)


# What the law wants to know


def _compliance(report: Object) -> str:
    rows = report["compliance"]
    known = {row["id"]: row for row in report["miners"]}
    same("rows in their order", [_order(row) for row in rows], sorted(_order(row) for row in rows))
    for row in rows:
        if row["kind"] not in _KINDS:
            raise Broken(f"compliance row of kind {row['kind']!r}; known are {', '.join(_KINDS)}")
        miner = known.get(row["miner_id"])
        if miner is not None:
            same(f"{row['kind']}: account of miner {row['miner_id']}", row["account"], miner["account"])
        if row["kind"] in _SEEN:
            _check_seen(row)
        elif row["kind"] == "licence_turn":
            _check_turn(row, miner, report)
    counted = {
        (row["miner_id"], row["reason"]): whole(row, "count")
        for row in rows
        if row["kind"] == "shares_refused"
    }
    refused = {
        (row["id"], reason): row["rejected_by_reason"][reason]
        for row in report["miners"]
        for reason in _REFUSED_BY_LAW
        if row["rejected_by_reason"].get(reason)
    }
    same("shares refused by law and those of the miners' rows", counted, refused)
    told = Counter(row["kind"] for row in rows)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(told.items())) or "nothing to tell"


def _order(row: Object) -> tuple[str, str, int, bytes]:
    return row["kind"], row["at"] or "", row["miner_id"] or 0, rfc8785.dumps(dict(row))


def _check_seen(row: Object) -> None:
    if amount(row, "workers") < 1 or amount(row, "count") < row["workers"]:
        raise Broken(f"{row['kind']}: {row['workers']} names were seen {row['count']} times")
    if moment(row["at"]) > moment(row["last_at"]):
        raise Broken(f"{row['kind']}: seen first at {row['at']} and last at {row['last_at']}")


def _check_turn(row: Object, miner: Object | None, report: Object) -> None:
    """A licence that turned stands so in the miner's row, as far as it is the one that counts there."""
    start, end = bounds(report)
    at = moment(row["at"])
    what = f"licence {row['licence']} turned at {row['at']}"
    if not start <= at < end or row["status"] not in _STATUSES:
        raise Broken(f"{what} to {row['status']!r}; that is not of this day, or no status")
    licence = miner and miner["licence"]
    for one in licence["standing"] if licence else ():
        if moment(one["from"]) <= at < moment(one["until"]) and one["licence"] == row["licence"]:
            same(f"{what}: status, and that of the standing", row["status"], one["status"])


# What the report commits to


def _commitments(report: Object) -> str:
    told, miners = report["commitments"], report["miners"]
    root = commitment.miners_tree(miners).root
    same("algorithm", told["algorithm"], commitment.ALGORITHM)
    expected = {
        "root": root.hash.hex(),
        "leaves": len(miners),
        **commitment.told_sums(commitment.MINER_SUMS, root.sums),
    }
    same("tree of the miners' rows", dict(told["miners"]), expected)
    for name in commitment.MINER_SUMS:
        same(f"sum {name} of the tree and the total", told["miners"][name], report["totals"][name])
    if type(told["hours_complete"]) is not bool:
        raise Broken(f"hours_complete is {told['hours_complete']!r}; it is true or false")
    _hours(told["hours"], report)
    return f"{len(miners)} rows and {len(told['hours'])} hours of the archive"


def _hours(hours: list[Any], report: Object) -> None:
    start, end = bounds(report)
    before: Object | None = None
    for hour in hours:
        what = f"hour {hour['hour']}"
        at = dt.datetime.fromisoformat(hour["hour"])
        same(f"{what}: spelling", hour["hour"], f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:00:00Z}")
        if not start <= at < end:
            raise Broken(f"{what}: does not begin in this day")
        for key in ("root", "file_sha256", "manifest_sha256"):
            if not HEX32.fullmatch(hour[key]):
                raise Broken(f"{what}: {key} is {hour[key]!r}; it must be 64 lower-case hex digits")
        first, last = whole(hour, "first_batch"), whole(hour, "last_batch")
        shares, work, leaves = amount(hour, "shares"), number(hour, "work"), amount(hour, "leaves")
        if (
            not 1 <= first <= last
            or leaves > shares
            or (work > 0) != (shares > 0)
            or number(hour, "work_before") < 0
        ):
            raise Broken(f"{what}: {leaves} miners, {shares} shares, batches {first} to {last} cannot be")
        if before is not None:
            if hour["hour"] <= before["hour"]:
                raise Broken(f"{what}: stands behind {before['hour']}")
            same(f"{what}: first batch, behind the hour before", first, before["last_batch"] + 1)
            carried = int(before["work_before"]) + int(before["work"])
            same(f"{what}: work before it", int(hour["work_before"]), carried)
        elif first == 1:
            same(f"{what}: work before the first batch", hour["work_before"], "0")
        before = hour


LICENCES: Final[tuple[str, Look]] = ("work without a licence is told", _licences)
TOTALS: Final[tuple[str, Look]] = ("the totals are the sums of the rows", _totals)
DEVICES: Final[tuple[str, Look]] = ("shares were found by somebody, on this day", _devices)
COMPLIANCE: Final[tuple[str, Look]] = (
    "what is told of refusals and acts agrees with the miners",
    _compliance,
)
COMMITMENTS: Final[tuple[str, Look]] = ("what the report commits to are its rows and sums", _commitments)
