"""The equalities that a daily report, or an income form, must satisfy by itself, whoever reads it.

`reconcile` recomputes, from the report alone, every number that follows from others: each block's
commission and division, what the day's steps of blocks did to every account, what each miner is owed and
was paid, what the report commits to, the sums and the hashrates. Each check is named in plain words and
shows both sides where it fails. The builder refuses a report that would not pass, and the verifier makes
the same checks on a published one, by the schema that it names. Checks of one kind have a file each:
`equalities_blocks` and its neighbours.

It says nothing of signatures (that is `verify`), and does not know whether the facts told are true.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from reporting.dmpool_verify import Check
from reporting.equalities_blocks import BLOCK_TERMS, BLOCKS
from reporting.equalities_income import FORM
from reporting.equalities_journal import ACCOUNTS
from reporting.equalities_payments import PAYMENTS
from reporting.equalities_rows import COMMITMENTS, COMPLIANCE, DEVICES, LICENCES, TOTALS
from reporting.equality import HEX32, MALFORMED, Broken, Look, Object, bounds, moment, run_check, same, whole
from reporting.income import SCHEMA as FORM_SCHEMA

__all__ = [
    "FIRST_SCHEMA",
    "MALFORMED",
    "SCHEMA",
    "SCHEMAS",
    "Broken",
    "Check",
    "reconcile",
    "run_check",
    "same",
]

FIRST_SCHEMA: Final = "kz-dmp-daily/1"
SCHEMA: Final = "kz-dmp-daily/2"
SCHEMAS: Final = (FIRST_SCHEMA, SCHEMA)
"""All that were ever published; each has its checks for good. The last is the one that is built."""


def reconcile(report: Object) -> list[Check]:
    """Checks that a report agrees with itself, whatever its signature."""
    return [run_check(name, look, report) for name, look in _looks(report)]


def _looks(report: Object) -> tuple[tuple[str, Look], ...]:
    schema = report.get("schema") if isinstance(report, dict) else None
    return {FIRST_SCHEMA: _OF_FIRST, FORM_SCHEMA: FORM}.get(str(schema), _EQUALITIES)


def _header(report: Object) -> str:
    if report["schema"] not in SCHEMAS:
        raise Broken(f"schema is {report['schema']!r}; known are {', '.join(SCHEMAS)}")
    first = report["sequence"] == 1
    same("sequence 1 and only it has no report before", report["previous_report_sha256"] is None, first)
    original = report["version"] == 1
    same("version 1 and only it replaces nothing", report["replaces_sha256"] is None, original)
    same("version 1 and only it has no reason of correction", report["correction_reason"] is None, original)
    for key in ("sequence", "version"):
        if whole(report, key) < 1:
            raise Broken(f"{key} is {report[key]}; it begins at 1")
    for key in ("previous_report_sha256", "replaces_sha256"):
        if report[key] is not None and not HEX32.fullmatch(report[key]):
            raise Broken(f"{key} is {report[key]!r}; it must be 64 lower-case hex digits")
    return f"{report['report_date']}, version {report['version']}, report {report['sequence']}"


def _day(report: Object) -> str:
    start, end = bounds(report)
    made = moment(report["generated_at"])
    day = dt.date.fromisoformat(report["report_date"])
    same("date on which the day begins", start.date(), day)
    same("date on which the next begins", end.date(), day + dt.timedelta(days=1))
    if not dt.timedelta(hours=23) <= end - start <= dt.timedelta(hours=25):
        raise Broken(f"the day is {end - start} long")
    same("time zone", report["timezone"], report["day_start"][-6:])
    same("the day is complete", report["day_complete"], made >= end)
    elapsed = (min(made, end) - start) // dt.timedelta(seconds=1)
    same("seconds elapsed", whole(report, "elapsed_seconds"), elapsed)
    if elapsed < 0:
        raise Broken("the report was made before its day began")
    for row in (*report["miners"], report["totals"]):
        same("average hashrate", row["average_hashrate"], str(int(row["work"]) // max(elapsed, 1)))
    return f"{elapsed} seconds"


def _named(report: Object) -> str:
    """What schema 2 has in its header beside that."""
    pool = report["pool"]
    called = f"kz-dmp-daily:{pool['bin']}:{report['report_date']}:{report['version']}"
    same("report_id", report["report_id"], called)
    if not HEX32.fullmatch(report["software_digest"]):
        raise Broken(f"software_digest is {report['software_digest']!r}; it must be 64 lower-case hex digits")
    day = dt.date.fromisoformat(report["report_date"])
    _accredited(pool["accreditation"], day)
    codes = [site["code"] for site in pool["sites"]]
    same("sites in order of their codes", codes, sorted(set(codes)))
    _tested(pool["security_test_protocol"], report, day)
    same("addressees", [one["role"] for one in report["addressees"]], ["authorised_body", "tax_authority"])
    in_force = {row["rule"]: row for row in report["rules_in_force"]}
    for one in report["addressees"]:
        values = in_force[one["role"]]["values"]
        told = {key: one[key] for key in ("name", "name_ru", "name_kk", "names_seen")}
        same(f"{one['role']} and the rule in force", told, dict(values))
    forms = [(one["form"], one["period"], one["complete"]) for one in report["form_versions"]]
    ruled = [
        (row["values"]["form"], row["values"]["period"], row["values"]["complete"])
        for name, row in in_force.items()
        if name.startswith("report_form_")
    ]
    same("forms and the rules in force", sorted(forms), sorted(ruled))
    _register(report["register"])
    return called


def _accredited(accreditation: Object | None, day: dt.date) -> None:
    if accreditation is None:
        return
    last = accreditation["valid_to"]
    if dt.date.fromisoformat(accreditation["issued_on"]) > day or (
        last is not None and dt.date.fromisoformat(last) < day
    ):
        raise Broken(f"accreditation {accreditation['number']} is not in force on {day}")


def _tested(protocol: Object | None, report: Object, day: dt.date) -> None:
    if protocol is None:
        return
    if dt.date.fromisoformat(protocol["on"]) > day:
        raise Broken(f"security test protocol {protocol['number']} is of after {day}")
    covers = protocol["version"] == report["software_version"] and protocol["digest"] in (
        "",
        report["software_digest"],
    )
    same("the running version is the tested one", protocol["covers_running_version"], covers)


def _register(head: Object) -> None:
    seq, events = whole(head, "seq"), whole(head, "events")
    if not 0 <= events <= seq:
        raise Broken(f"the register has {events} events of the day and {seq} in all")
    if not HEX32.fullmatch(head["sha256"]):
        raise Broken(f"hash of the register is {head['sha256']!r}; it must be 64 lower-case hex digits")
    same("no event and 64 zeros", seq == 0, head["sha256"] == "0" * 64)


_OF_FIRST: Final[tuple[tuple[str, Look], ...]] = (
    ("the header gives schema, version and place in the chain of reports", _header),
    ("the hashrates are work over the seconds of the day in Kazakhstan", _day),
    *BLOCKS,
    LICENCES,
    *ACCOUNTS,
    TOTALS,
)
_EQUALITIES: Final[tuple[tuple[str, Look], ...]] = (
    *_OF_FIRST,
    ("the report is called by pool, day and version, and says who the pool is", _named),
    BLOCK_TERMS,
    DEVICES,
    *PAYMENTS,
    COMPLIANCE,
    COMMITMENTS,
)
"""Those of schema 2."""
