"""Monthly income forms: gathers a month's distributions and daily reports, has the form built, signed and
kept.

The same facts make the same form: building again returns what exists. Changed facts make the next version,
which names the old one and the reason (invariant 7), and so does a revoked key that signed it; each is a leaf
of the log. What a form says is the business of `reporting.income`; this file decides only which edition it
is. All facts are read in one snapshot.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.statement import Period
from pool import log_store, register_store, report_keys
from pool.clock import instant, microseconds
from pool.distributions import distributions
from pool.documents import Document
from pool.reports import DEFAULT_REASON, GRACE_US, Publisher
from pool.tables import report
from pool.tables_income import form
from register.fields import text_of
from register.pool_data import Accreditation
from register.rules import Row
from reporting import income
from reporting.income import DailyReport, FormEdition, FormError, FormFacts
from reporting.keyring import RingError
from reporting.signing import SigningError, encode

REASON_LIMIT: Final = 500
_COLUMNS: Final = (form.c.form, form.c.period, form.c.version, form.c.sha256, form.c.built_at)


@dataclass(frozen=True, slots=True)
class Listed:
    """A form as it is listed; `sha256` is the hash of the document in its envelope."""

    form: str
    period: str
    version: int
    sha256: str
    built_at: dt.datetime


async def build_form(
    engine: AsyncEngine,
    period: Period,
    rule: Row,
    publisher: Publisher,
    now_us: int,
    *,
    reason: str = DEFAULT_REASON,
) -> Document:
    """The signed form of a month, byte for byte as it is kept; a new version only when facts have changed.

    `rule` is one of `reporting.income.forms_of`, `now_us` the clock. Raises FormError.
    """
    _require_over(period, publisher, now_us)
    text_of(f"form of {period.text}", "reason", reason, FormError, REASON_LIMIT)
    try:
        await report_keys.introduce_first(engine, publisher.rules, publisher.signers, lambda: now_us)
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                # First: the snapshot is taken by the next statement, when nobody else builds anything.
                await log_store.lock(connection)
                return await _build(connection, period, rule, publisher, now_us, reason)
    except (SigningError, RingError) as error:
        raise FormError(f"form of {period.text}: cannot be signed: {error}") from error


async def list_forms(engine: AsyncEngine) -> list[Listed]:
    """All forms in the order in which they were made."""
    async with engine.connect() as connection:
        return [Listed(*row) for row in await connection.execute(sa.select(*_COLUMNS).order_by(form.c.id))]


def _require_over(period: Period, publisher: Publisher, now_us: int) -> None:
    rules = publisher.rules
    closes_us = rules.day_bounds(period.last)[1] + GRACE_US
    if now_us < closes_us:
        raise FormError(
            f"form of {period.text}: the month is not over; wait until {rules.local(closes_us)}, or choose "
            f"an earlier one"
        )


async def _build(
    connection: AsyncConnection, period: Period, rule: Row, publisher: Publisher, now_us: int, reason: str
) -> Document:
    columns = [form.c[name] for name in Document._fields]
    newest = (
        sa.select(*columns)
        .where(form.c.form == rule.text("form"), form.c.period == period.text)
        .order_by(form.c.version.desc())
        .limit(1)
    )
    kept = (await connection.execute(newest)).one_or_none()
    try:
        facts = await _facts(connection, period, rule, publisher, _edition(kept, publisher, now_us, reason))
    except (LookupError, ValueError) as error:
        raise FormError(f"form of {period.text}: what is stored cannot be true: {error}") from error
    same = kept is not None and _still_true(kept.envelope, facts)
    if kept is not None and same and not await report_keys.spoiled(connection, kept.envelope):
        return Document(*kept)
    document = income.build(facts)
    envelope = await report_keys.sign_report(connection, document, publisher.signers)
    data, sha256, edition = encode(envelope), envelope["report_sha256"], facts.edition
    told = {"form": document["form"], "period": period.text, "version": edition.version}
    told |= {"sha256": sha256, "replaces_sha256": edition.replaces_sha256}
    await connection.execute(sa.insert(form).values(**told, envelope=data, built_at=instant(now_us)))
    await log_store.append(connection, "form", told, now_us)
    return Document(sha256, document["form"], period.text, edition.version, instant(now_us), data)


def _edition(kept: Any | None, publisher: Publisher, now_us: int, reason: str) -> FormEdition:
    if kept is None:
        return FormEdition(now_us, publisher.software_version)
    return FormEdition(now_us, publisher.software_version, kept.version + 1, kept.sha256, reason)


async def _facts(
    connection: AsyncConnection, period: Period, rule: Row, publisher: Publisher, edition: FormEdition
) -> FormFacts:
    rules = publisher.rules
    register = await register_store.load(connection, ("accreditation",), rules.day_bounds(period.last)[1])
    return FormFacts(
        rule=rule,
        rules=rules,
        period=period,
        pool_name=publisher.pool.name,
        pool_bin=publisher.pool.bin,
        accreditation=_newest(register.accreditations.values(), period.last),
        edition=edition,
        distributions=await distributions(connection, rules, period.first, period.last),
        daily=await _daily(connection, period),
    )


def _newest(accreditations: Iterable[Accreditation], day: dt.date) -> Accreditation | None:
    """The accreditation in force on a day, the last issued of several."""
    in_force = [one for one in accreditations if one.covers(day)]
    return max(in_force, key=lambda one: (one.issued_on, one.number), default=None)


async def _daily(connection: AsyncConnection, period: Period) -> list[DailyReport]:
    """The newest report of each day that has one."""
    newest = (
        sa.select(report.c.day, report.c.envelope)
        .ext(distinct_on(report.c.day))
        .where(report.c.day.between(period.first, period.last))
        .order_by(report.c.day, report.c.version.desc())
    )
    return [income.daily_report(json.loads(row.envelope)) for row in await connection.execute(newest)]


def _still_true(envelope: bytes, facts: FormFacts) -> bool:
    """Whether the same facts, told at the same moment by the same program, would make the same form."""
    told = json.loads(envelope)["report"]
    edition = FormEdition(
        generated_at_us=microseconds(dt.datetime.fromisoformat(told["generated_at"])),
        software_version=told["software_version"],
        version=told["version"],
        replaces_sha256=told["replaces_sha256"],
        correction_reason=told["correction_reason"],
    )
    return bool(income.build(replace(facts, edition=edition)) == told)
