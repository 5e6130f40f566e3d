"""Daily reports: gathers a day's facts from PostgreSQL, has them built and signed, and keeps the bytes.

All facts are read in one snapshot of the database, and while one report is built no other can be, so the
chain of reports does not fork (invariant I7). What a day's report says is the business of `reporting.daily`;
this file decides only which edition it is. The same facts make the same report: building again returns what
exists. Changed facts make the next version, which names the old one and the reason.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store, report_keys
from pool.clock import instant, microseconds
from pool.database import JOURNAL_LOCK, REGISTER_LOCK, settled
from pool.report_facts import Facts, gather, waiting_batches
from pool.report_facts_register import salt_secret
from pool.software import software_digest
from pool.tables import report
from register.rules import Rules, RulesError
from reporting import daily, signing
from reporting.commitment import row_salt
from reporting.daily import DayFacts, Edition, PoolFacts
from reporting.daily_facts import Software
from reporting.daily_first import in_first_schema
from reporting.equalities import FIRST_SCHEMA

DEFAULT_REASON = "later data"
LONGEST_REASON = 500
GRACE_US = 60_000_000
"""How long after midnight a day closes: what was dated before it may still be on its way into the books."""


class ReportError(Exception):
    """The report cannot be built or found. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who reports: what stays the same from day to day."""

    pool: PoolFacts
    rules: Rules
    signers: Sequence[signing.Signer]
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

    `now_us` is the clock, read after `settle`. A day that is not over is told only as `unfinished`, and
    replaced when it is over; one that is over is told whole, whatever was asked for. Raises ReportError, or
    DoesNotReconcile when the facts contradict each other.
    """
    over = _check_day(day, publisher.rules, now_us, unfinished)
    if not 1 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise ReportError(f"reason: write it in one line of 1 to {LONGEST_REASON} characters")
    await settle(engine)
    with _signing(day):
        await report_keys.introduce_first(engine, publisher.rules, publisher.signers, lambda: now_us)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            # First of all: the snapshot is taken by the next statement, when no other report is being built.
            await log_store.lock(connection)
            await connection.execute(sa.text("LOCK TABLE report IN SHARE ROW EXCLUSIVE MODE"))
            if over:
                await _check_ledger(connection, day, publisher.rules)
            try:
                facts = await gather(connection, day, publisher.rules)
            except (ValueError, LookupError) as error:
                raise ReportError(f"report of {day}: what is stored cannot be true: {error}") from error
            desk = _Desk(day, publisher, facts, await salt_secret(connection))
            kept = await _newest_version(connection, day)
            if kept is not None and await asyncio.to_thread(desk.still_true, kept.envelope, now_us):
                with _signing(day):
                    revoked = await report_keys.spoiled(connection, kept.envelope)
                if not revoked:
                    return bytes(kept.envelope)
            edition = await _next_edition(connection, kept, reason)
            return await _publish(connection, desk, now_us, edition)


async def settle(engine: AsyncEngine) -> None:
    """Wait for all who write now: what they dated can be read then, by a clock that is read behind it."""
    await settled(engine, REGISTER_LOCK, JOURNAL_LOCK)
    async with engine.begin() as connection:
        await log_store.lock(connection)


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


def _check_day(day: dt.date, rules: Rules, now_us: int, unfinished: bool) -> bool:
    """Whether the day is over; raises ReportError for one that cannot be told now."""
    today = rules.day_of(now_us)
    if day > today:
        raise ReportError(
            f"report of {day}: that day is to come, today is {today}; choose a day that is over"
        )
    try:
        end_us = rules.day_bounds(day)[1]
    except RulesError as error:
        raise ReportError(f"report of {day}: {error}") from error
    over, closes_us = now_us >= end_us, end_us + GRACE_US
    if now_us < closes_us and (over or not unfinished):
        instead = "" if over else " or ask for the unfinished day"
        what = "is not over in the books" if over else "is not over"
        raise ReportError(f"report of {day}: the day {what}; wait until {rules.local(closes_us)}{instead}")
    return over


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


@dataclass(frozen=True, slots=True)
class _Desk:
    """Makes the report of a day of what was gathered, in this edition or another."""

    day: dt.date
    publisher: Publisher
    facts: Facts
    secret: bytes

    def still_true(self, envelope: bytes, now_us: int) -> bool:
        """Whether the same facts, told at the same moment by the same program, would make the same report."""
        told = json.loads(envelope)["report"]
        if not told["day_complete"] and self.publisher.rules.day_of(now_us) > self.day:
            return False
        edition = Edition(
            sequence=told["sequence"],
            previous_sha256=told["previous_report_sha256"],
            version=told["version"],
            replaces_sha256=told["replaces_sha256"],
            correction_reason=told["correction_reason"],
        )
        generated_at_us = microseconds(dt.datetime.fromisoformat(told["generated_at"]))
        software = Software(told["software_version"], told.get("software_digest", software_digest()))
        return bool(as_told(self.build(generated_at_us, software, edition), told) == told)

    def build(self, generated_at_us: int, software: Software, edition: Edition) -> dict[str, Any]:
        """The report; raises DoesNotReconcile."""
        ids = [one.held.miner.id for one in self.facts.miners]
        return daily.build(
            DayFacts(
                day=self.day,
                generated_at_us=generated_at_us,
                software=software,
                rules=self.publisher.rules,
                pool=self.publisher.pool,
                edition=edition,
                salts={id_: row_salt(self.secret, self.day, id_) for id_ in ids},
                **{one.name: getattr(self.facts, one.name) for one in fields(self.facts)},
            )
        )


def as_told(report: dict[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """A report in the schema of another one."""
    return in_first_schema(report) if told["schema"] == FIRST_SCHEMA else report


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


@contextmanager
def _signing(day: dt.date) -> Iterator[None]:
    try:
        yield
    except (signing.SigningError, ValueError) as error:  # of the list of keys; of too large a number
        raise ReportError(f"report of {day}: cannot be signed: {error}") from error


async def _publish(connection: AsyncConnection, desk: _Desk, now_us: int, edition: Edition) -> bytes:
    software = Software(desk.publisher.software_version, software_digest())
    document = await asyncio.to_thread(desk.build, now_us, software, edition)
    with _signing(desk.day):
        envelope = await report_keys.sign_report(connection, document, desk.publisher.signers)
    data = signing.encode(envelope)
    await connection.execute(
        sa.insert(report).values(
            sequence=edition.sequence,
            day=desk.day,
            version=edition.version,
            sha256=envelope["report_sha256"],
            previous_sha256=edition.previous_sha256,
            replaces_sha256=edition.replaces_sha256,
            envelope=data,
            built_at=instant(now_us),
        )
    )
    await log_store.append(connection, "report", leaf_of(envelope), now_us)
    return data


def leaf_of(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """What the transparency log tells of a report."""
    document = envelope["report"]
    return {
        "day": document["report_date"],
        "version": document["version"],
        "sha256": envelope["report_sha256"],
        "replaces_sha256": document["replaces_sha256"],
        "sequence": document["sequence"],
        "commitments": document.get("commitments"),
    }
