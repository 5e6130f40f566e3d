"""The monthly income form (O-40 to O-42): distributions in, the document that is signed out.

A form has the columns that the dated rule states for it, in its order and with its headings; a row for
each miner, licence, wallet, asset and date of distribution (regulation.md 2.2). It is built from the daily
reports of its month, whose hashes it names: every day must have one, and must tell the same payments, so
that the month is the sum of its days. Where the rule does not say that all columns are known, the document
calls itself not final.

Amounts are decimal strings with 8 places, made of satoshis in integers. Values in tenge are no part of the
form (`reporting.annex`), how it looks is `reporting.income_files`'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple

from payouts.statement import Period
from register.form_columns import parse_columns
from register.pool_data import Accreditation
from register.rules import Row, Rules
from reporting.daily_rows import FORMS, addressees, bitcoin, time
from reporting.distribution import Distribution

SCHEMA: Final = "kz-dmp-income/1"
Json = dict[str, Any]
Output = tuple[str, int]
"""Txid and number of an output."""


class FormError(ValueError):
    """The form cannot be built. The message says why and what to do."""


class Payment(NamedTuple):
    """What a daily report tells of a payment."""

    miner_id: int
    quantity_sat: int
    commission_sat: int


class DailyReport(NamedTuple):
    """The newest report of a day; `payments` is None in reports that do not tell them (schema 1)."""

    day: dt.date
    version: int
    sha256: str
    complete: bool
    payments: Mapping[Output, Payment] | None


@dataclass(frozen=True, slots=True)
class FormEdition:
    """Which version of a period's form this is, from 1, and when and by what it was made."""

    generated_at_us: int
    software_version: str
    version: int = 1
    replaces_sha256: str | None = None
    correction_reason: str | None = None


@dataclass(frozen=True, slots=True)
class FormFacts:
    """All that a form is built from; the register as it stood when the period ended."""

    rule: Row
    """Of the form, as in force on the last day of the period."""
    rules: Rules
    period: Period
    pool_name: str
    pool_bin: str
    accreditation: Accreditation | None
    edition: FormEdition
    distributions: Sequence[Distribution]
    daily: Sequence[DailyReport]


def month(text: str) -> Period:
    """A month like `2026-11`; raises FormError."""
    try:
        period = Period.parse(text)
    except ValueError:
        period = None
    if period is None or not period.of_month:
        raise FormError(f"{text[:20]!r} is no month; write it like 2026-11")
    return period


def forms_of(rules: Rules, period: Period) -> list[Row]:
    """The rules of the forms in force on the last day of a period (Q-09)."""
    rows = (rules.find(rule, period.last) for rule in FORMS)
    return [row for row in rows if row is not None]


def daily_report(envelope: Mapping[str, Any]) -> DailyReport:
    """What a form needs of a signed daily report."""
    report = envelope["report"]
    told = report.get("distributions")
    return DailyReport(
        day=dt.date.fromisoformat(report["report_date"]),
        version=report["version"],
        sha256=envelope["report_sha256"],
        complete=report["day_complete"],
        payments=None
        if told is None
        else {
            (row["txid"], row["vout"]): Payment(row["miner_id"], row["quantity_sat"], row["commission_sat"])
            for row in told
        },
    )


def build(facts: FormFacts) -> Json:
    """The document; raises FormError where a day has no report, or one that tells other payments."""
    _check_days(facts.period, facts.daily)
    _check_payments(facts)
    period, edition, rule = facts.period, facts.edition, facts.rule
    rows = _rows(facts.distributions)
    return {
        "schema": SCHEMA,
        "form": rule.text("form"),
        "form_rule": {
            "rule": rule.rule,
            "effective_from": rule.effective_from.isoformat(),
            "source": rule.source,
            "confidence": rule.confidence,
        },
        "final": rule.truth("complete"),
        "period": period.text,
        "first_day": period.first.isoformat(),
        "last_day": period.last.isoformat(),
        "submission_number": edition.version,
        "version": edition.version,
        "replaces_sha256": edition.replaces_sha256,
        "correction_reason": edition.correction_reason,
        "generated_at": time(facts.rules, edition.generated_at_us),
        "software_version": edition.software_version,
        "pool": {
            "name": facts.pool_name,
            "bin": facts.pool_bin,
            "accreditation_number": facts.accreditation and facts.accreditation.number,
            "accreditation_date": facts.accreditation and facts.accreditation.issued_on.isoformat(),
        },
        "addressees": addressees(facts.rules, period.last),
        "columns": [column._asdict() for column in parse_columns(rule.texts("columns"))],
        "rows": rows,
        "totals": {
            "rows": len(rows),
            "miners": len({one.miner_id for one in facts.distributions}),
            "payments": len(facts.distributions),
            "quantity": bitcoin(sum(one.quantity_sat for one in facts.distributions)),
            "commission_quantity": bitcoin(sum(one.commission_sat for one in facts.distributions)),
        },
        "daily_reports": [
            {"day": one.day.isoformat(), "version": one.version, "sha256": one.sha256}
            for one in sorted(facts.daily, key=lambda one: one.day)
        ],
    }


def _check_days(period: Period, daily: Iterable[DailyReport]) -> None:
    reported = {one.day: one for one in daily}
    missing = [day for day in period.days() if day not in reported]
    if missing:
        raise FormError(
            f"{period.text}: a form is built from the daily reports of its month, and there is none of "
            f"{_listed(missing)}; `dmpool reports build --date {missing[0]}` makes one"
        )
    unfinished = [day for day, one in sorted(reported.items()) if not one.complete]
    if unfinished:
        raise FormError(
            f"{period.text}: the report of {_listed(unfinished)} was made before the day was over; "
            f"`dmpool reports build --date {unfinished[0]}` makes the next version"
        )


def _listed(days: Sequence[dt.date]) -> str:
    shown = ", ".join(day.isoformat() for day in days[:31])
    return shown if len(days) <= 31 else f"{shown} and {len(days) - 31} more"


def _check_payments(facts: FormFacts) -> None:
    """The days sum to the month: each report has just the payments that stand for its day."""
    standing: dict[dt.date, dict[Output, Payment]] = {day: {} for day in facts.period.days()}
    for one in facts.distributions:
        told = Payment(one.miner_id, one.quantity_sat, one.commission_sat)
        standing[one.distributed_on][one.txid, one.vout] = told
    for report in facts.daily:
        if report.payments is None or report.payments == standing[report.day]:
            continue
        now = standing[report.day]
        outputs = now.keys() | report.payments.keys()
        differs = min(output for output in outputs if now.get(output) != report.payments.get(output))
        raise FormError(
            f"{facts.period.text}: the report of {report.day}, version {report.version}, tells of "
            f"output {differs[0]}:{differs[1]} {_payment(report.payments.get(differs))}, and the books now "
            f'tell {_payment(now.get(differs))}; `dmpool reports build --date {report.day} --reason "..."` '
            f"makes its next version"
        )


def _payment(one: Payment | None) -> str:
    if one is None:
        return "nothing"
    return (
        f"{bitcoin(one.quantity_sat)} and {bitcoin(one.commission_sat)} of commission to miner {one.miner_id}"
    )


# Rows


def _key(one: Distribution) -> tuple[dt.date, int, str, str, str]:
    return one.distributed_on, one.miner_id, one.licence_number, one.wallet_address, one.asset


def _rows(distributions: Iterable[Distribution]) -> list[Json]:
    """One row for all that a miner got on a day in a wallet, in the order of day, miner, licence, wallet."""
    ordered = sorted(distributions, key=lambda one: (_key(one), one.received_on, one.txid, one.vout))
    groups = groupby(ordered, key=_key)
    return [_row(number, list(group)) for number, (_, group) in enumerate(groups, 1)]


def _row(number: int, group: Sequence[Distribution]) -> Json:
    first = group[0]
    return {
        "row_no": number,
        "miner_id": first.miner_id,
        "account": first.account,
        "miner_name": first.name,
        "miner_bin": first.bin,
        "licence_number": first.licence_number,
        "licence_issued_on": first.licence_issued_on and first.licence_issued_on.isoformat(),
        "wallet_address": first.wallet_address,
        "purpose": first.purpose,
        "exchange": first.exchange,
        "distributed_on": first.distributed_on.isoformat(),
        "asset": first.asset,
        "quantity": bitcoin(sum(one.quantity_sat for one in group)),
        "commission_asset": first.asset,
        "commission_quantity": bitcoin(sum(one.commission_sat for one in group)),
        "received": [
            _received(on, list(part)) for on, part in groupby(group, key=lambda one: one.received_on)
        ],
        "payments": [f"{one.txid}:{one.vout}" for one in group],
    }


def _received(on: dt.date, part: Sequence[Distribution]) -> Json:
    """What of a row was received on a day, by which its value is taken (O-62)."""
    return {
        "on": on.isoformat(),
        "quantity": bitcoin(sum(one.quantity_sat for one in part)),
        "commission_quantity": bitcoin(sum(one.commission_sat for one in part)),
    }
