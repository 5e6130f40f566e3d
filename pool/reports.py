"""Daily reports: gathers a day's facts from PostgreSQL, has them built and signed, and keeps the bytes.

All facts are read in one snapshot of the database, and while one report is built no other can be, so the
chain of reports does not fork (invariant I7). What a day's report says is the business of `reporting.daily`;
this file decides only which edition it is. The same facts make the same report: building again returns what
exists. Changed facts make the next version, which names the old one and the reason.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.clock import instant, microseconds
from pool.report_facts import Facts, gather, waiting_batches
from pool.tables import report
from register.rules import Rules, RulesError
from reporting import daily, signing
from reporting.daily import DayFacts, Edition, PoolFacts

DEFAULT_REASON = "later data"
GRACE_US = 60_000_000
"""How long after midnight a day closes: what was dated before it may still be on its way into the books."""


class ReportError(Exception):
    """The report cannot be built or found. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who reports: what stays the same from day to day."""

    pool: PoolFacts
    rules: Rules
    key: signing.SigningKey
    software_version: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A report as it is listed; `sha256` is the hash of the report that its envelope carries."""

    sequence: int
    day: dt.date
    version: int
    sha256: str
    built_at: dt.datetime


async def build_report(
    engine: AsyncEngine,
    day: dt.date,
    publisher: Publisher,
    now_us: int,
    *,
    unfinished: bool = False,
    reason: str = DEFAULT_REASON,
) -> bytes:
    """The signed report of a day, byte for byte as it is kept; a new version only when facts have changed.

    `now_us` is the clock. A day that is not over is told only as `unfinished`, and replaced when it is over.
    Raises ReportError, or DoesNotReconcile when the facts contradict each other.
    """
    _check_day(day, publisher.rules, now_us, unfinished)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            # First of all: the snapshot is taken by the next statement, when no other report is being built.
            await connection.execute(sa.text("LOCK TABLE report IN SHARE ROW EXCLUSIVE MODE"))
            if not unfinished:
                await _check_ledger(connection, day, publisher.rules)
            try:
                facts = await gather(connection, day, publisher.rules)
            except ValueError as error:
                raise ReportError(f"report of {day}: what is stored cannot be true: {error}") from error
            kept = await _newest_version(connection, day)
            if kept is not None and _still_true(kept.envelope, facts, publisher, day, now_us):
                return bytes(kept.envelope)
            edition = await _next_edition(connection, kept, reason)
            return await _publish(connection, day, publisher, now_us, edition, facts)


async def list_reports(engine: AsyncEngine) -> list[Listed]:
    """All reports in the order in which they were made."""
    columns = (report.c.sequence, report.c.day, report.c.version, report.c.sha256, report.c.built_at)
    async with engine.connect() as connection:
        rows = await connection.execute(sa.select(*columns).order_by(report.c.sequence))
        return [Listed(*row) for row in rows]


async def get_report(engine: AsyncEngine, day: dt.date, version: int | None = None) -> bytes:
    """The bytes of a day's report, the newest version unless one is named; raises ReportError."""
    wanted = sa.select(report.c.envelope).where(report.c.day == day)
    if version is not None:
        wanted = wanted.where(report.c.version == version)
    async with engine.connect() as connection:
        envelope = await connection.scalar(wanted.order_by(report.c.version.desc()).limit(1))
    if envelope is None:
        what = f"version {version} of the report" if version is not None else "report"
        raise ReportError(f"no {what} of {day} was made; `dmpool reports build --date {day}` makes one")
    return bytes(envelope)


def _check_day(day: dt.date, rules: Rules, now_us: int, unfinished: bool) -> None:
    today = rules.day_of(now_us)
    if day > today:
        raise ReportError(
            f"report of {day}: that day is to come, today is {today}; choose a day that is over"
        )
    try:
        end_us = rules.day_bounds(day)[1]
    except RulesError as error:
        raise ReportError(f"report of {day}: {error}") from error
    closes_us = end_us + GRACE_US
    if now_us < closes_us and not unfinished:
        raise ReportError(
            f"report of {day}: the day is not over; wait until {rules.local(closes_us)} or "
            f"ask for the unfinished day"
        )


async def _check_ledger(connection: AsyncConnection, day: dt.date, rules: Rules) -> None:
    waiting = await waiting_batches(connection, instant(rules.day_bounds(day)[1]))
    if waiting:
        raise ReportError(
            f"report of {day}: {waiting} batches of shares from before its end are not in the ledger yet; "
            f"let `dmpool ledger` work them off first"
        )


async def _newest_version(connection: AsyncConnection, day: dt.date) -> Any | None:
    newest = sa.select(report).where(report.c.day == day).order_by(report.c.version.desc()).limit(1)
    return (await connection.execute(newest)).one_or_none()


def _still_true(envelope: bytes, facts: Facts, publisher: Publisher, day: dt.date, now_us: int) -> bool:
    """Whether the same facts, told at the same moment by the same program, would make the same report."""
    told = json.loads(envelope)["report"]
    if not told["day_complete"] and publisher.rules.day_of(now_us) > day:
        return False
    edition = Edition(
        sequence=told["sequence"],
        previous_sha256=told["previous_report_sha256"],
        version=told["version"],
        replaces_sha256=told["replaces_sha256"],
        correction_reason=told["correction_reason"],
    )
    generated_at_us = microseconds(dt.datetime.fromisoformat(told["generated_at"]))
    again = _day_facts(day, publisher, generated_at_us, told["software_version"], edition, facts)
    return bool(daily.build(again) == told)


async def _next_edition(connection: AsyncConnection, replaced: Any | None, reason: str) -> Edition:
    last = (
        await connection.execute(
            sa.select(report.c.sequence, report.c.sha256).order_by(report.c.sequence.desc()).limit(1)
        )
    ).one_or_none()
    return Edition(
        sequence=last.sequence + 1 if last else 1,
        previous_sha256=last.sha256 if last else None,
        version=replaced.version + 1 if replaced else 1,
        replaces_sha256=replaced.sha256 if replaced else None,
        correction_reason=reason if replaced else None,
    )


async def _publish(
    connection: AsyncConnection,
    day: dt.date,
    publisher: Publisher,
    now_us: int,
    edition: Edition,
    facts: Facts,
) -> bytes:
    document = daily.build(_day_facts(day, publisher, now_us, publisher.software_version, edition, facts))
    envelope = signing.sign(document, publisher.key)
    data = signing.encode(envelope)
    await connection.execute(
        sa.insert(report).values(
            sequence=edition.sequence,
            day=day,
            version=edition.version,
            sha256=envelope["report_sha256"],
            previous_sha256=edition.previous_sha256,
            replaces_sha256=edition.replaces_sha256,
            envelope=data,
            built_at=instant(now_us),
        )
    )
    return data


def _day_facts(
    day: dt.date,
    publisher: Publisher,
    generated_at_us: int,
    software_version: str,
    edition: Edition,
    facts: Facts,
) -> DayFacts:
    return DayFacts(
        day=day,
        generated_at_us=generated_at_us,
        software_version=software_version,
        rules=publisher.rules,
        pool=publisher.pool,
        edition=edition,
        miners=facts.miners,
        blocks=facts.blocks,
        opening=facts.opening,
        entries=facts.entries,
        closing=facts.closing,
    )
