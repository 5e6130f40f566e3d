"""What must hold of a signed income form by itself (`kz-dmp-income/1`): header, rows, sums, named days.

Whether the rows are the payments of the daily reports is seen with these reports at hand: `of_days` finds
each payment of the form in the report of its day, and each payment of these reports in the form.

Each look takes the form and answers with what it saw, or raises `equality.Broken` with both sides.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, Final

from payouts.statement import Period
from register.form_columns import WHOLE, parse_columns
from reporting.equality import HEX32, Broken, Look, Object, same, whole
from reporting.income import SCHEMA as FORM_SCHEMA

_COIN: Final = 100_000_000
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,7})\.([0-9]{8})")
_PAYMENT: Final = re.compile(r"[0-9a-f]{64}:(0|[1-9][0-9]{0,9})")
_BODIES: Final = ["authorised_body", "tax_authority"]


def _header(form: Object) -> str:
    same("schema", form["schema"], FORM_SCHEMA)
    period = _period(form)
    days = [form["first_day"], form["last_day"]]
    same("first and last day", days, [period.first.isoformat(), period.last.isoformat()])
    version = whole(form, "version")
    same("submission number and version", whole(form, "submission_number"), version)
    if version < 1:
        raise Broken(f"version is {version}; it begins at 1")
    original = version == 1
    same("version 1 and only it replaces nothing", form["replaces_sha256"] is None, original)
    same("version 1 and only it has no reason of correction", form["correction_reason"] is None, original)
    if not original and not (HEX32.fullmatch(form["replaces_sha256"]) and form["correction_reason"]):
        raise Broken("a correction names the hash that it replaces, and a reason")
    same("addressees", [one["role"] for one in form["addressees"]], _BODIES)
    columns = [f"{one['number']} {one['field']} {one['heading']}" for one in form["columns"]]
    fields = {column.field for column in parse_columns(columns)}
    missing = [field for field in WHOLE if field not in fields]
    if form["final"] is not False and missing:
        raise Broken(f"the form calls itself final and has no column {missing[0]}")
    return f"{form['form']} of {period.text}, version {version}" + ("" if form["final"] else ", NOT FINAL")


def _rows(form: Object) -> str:
    period, rows = _period(form), form["rows"]
    same("numbers of the rows", [row["row_no"] for row in rows], list(range(1, len(rows) + 1)))
    keys = [_key(row) for row in rows]
    same("rows in the order of day, miner, licence, wallet, each once", keys, sorted(set(keys)))
    seen: set[str] = set()
    for row in rows:
        what = f"row {row['row_no']}"
        if not period.first <= dt.date.fromisoformat(row["distributed_on"]) <= period.last:
            raise Broken(f"{what}: {row['distributed_on']} is not of {period.text}")
        days = [part["on"] for part in row["received"]]
        same(f"{what}: days of receipt", days, sorted(set(map(_day, days))))
        for key in ("quantity", "commission_quantity"):
            parts = sum(_satoshis(part[key]) for part in row["received"])
            same(f"{what}: {key} and what was received", _satoshis(row[key]), parts)
        same(f"{what}: asset of the commission", row["commission_asset"], row["asset"])
        for payment in row["payments"]:
            if not _PAYMENT.fullmatch(payment) or payment in seen:
                raise Broken(f"{what}: payment {payment!r} cannot be, or stands there twice")
            seen.add(payment)
        if not row["payments"]:
            raise Broken(f"{what}: has no payment")
    return f"{len(rows)} rows, {len(seen)} payments"


def _totals(form: Object) -> str:
    rows, totals = form["rows"], form["totals"]
    same("rows", whole(totals, "rows"), len(rows))
    same("miners", whole(totals, "miners"), len({row["miner_id"] for row in rows}))
    same("payments", whole(totals, "payments"), sum(len(row["payments"]) for row in rows))
    for key in ("quantity", "commission_quantity"):
        same(f"total {key}", _satoshis(totals[key]), sum(_satoshis(row[key]) for row in rows))
    return f"{totals['quantity']} BTC and {totals['commission_quantity']} of commission"


def _days(form: Object) -> str:
    told = form["daily_reports"]
    days = [day.isoformat() for day in _period(form).days()]
    same("days of the month", [one["day"] for one in told], days)
    for one in told:
        if whole(one, "version") < 1 or not HEX32.fullmatch(one["sha256"]):
            raise Broken(f"report of {one['day']}: version or hash cannot be")
    return f"{len(days)} daily reports"


FORM: Final[tuple[tuple[str, Look], ...]] = (
    ("the form is of a month, and says which version it is and to whom it goes", _header),
    ("each row is what was received of it, and no payment stands in two", _rows),
    ("the totals are the sums of the rows", _totals),
    ("it is built of a report of each day of the month", _days),
)


def of_days(form: Object, envelopes: Iterable[Object]) -> str:
    """Raises Broken unless the form has just the payments of the daily reports that it names.

    `envelopes` are those of its days, each verified by itself; one that the form does not name is another
    version.
    """
    reports = {one["report"]["report_date"]: one for one in envelopes}
    left: dict[str, tuple[Any, ...]] = {}
    for named in form["daily_reports"]:
        envelope = reports.get(named["day"])
        if envelope is None:
            raise Broken(f"the report of {named['day']} is not at hand")
        same(f"report of {named['day']}", envelope["report_sha256"], named["sha256"])
        for paid in envelope["report"]["distributions"]:
            place = f"{paid['txid']}:{paid['vout']}"
            left[place] = (named["day"], paid["miner_id"], paid["quantity_sat"], paid["commission_sat"])
    found = len(left)
    for row in form["rows"]:
        parts = [left.pop(place, None) for place in row["payments"]]
        known = [part for part in parts if part is not None]
        same(f"row {row['row_no']}: payments in the daily reports", len(known), len(parts))
        for part in known:
            same(f"row {row['row_no']}: day and miner", part[:2], (row["distributed_on"], row["miner_id"]))
        sums = [sum(part[number] for part in known) for number in (2, 3)]
        told = [_satoshis(row["quantity"]), _satoshis(row["commission_quantity"])]
        same(f"row {row['row_no']}: quantity and commission, and the payments", told, sums)
    if left:
        raise Broken(f"payment {min(left)} of {left[min(left)][0]} is in no row")
    return f"{found} payments"


def _period(form: Object) -> Period:
    period = Period.parse(form["period"])
    if not period.of_month:
        raise Broken(f"period {form['period']!r} is no month")
    return period


def _key(row: Object) -> tuple[str, int, str, str, str]:
    day = _day(row["distributed_on"])
    return day, whole(row, "miner_id"), row["licence_number"], row["wallet_address"], row["asset"]


def _day(text: str) -> str:
    return dt.date.fromisoformat(text).isoformat()


def _satoshis(text: str) -> int:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise Broken(f"{text!r} is no amount with 8 decimals")
    return int(match[1]) * _COIN + int(match[2])
