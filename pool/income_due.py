"""Which forms are due (`reporting.deadlines`), as the database has it: what was reported, built, submitted.

A pool that reported before this program made forms had others for the months until then: what was due before
its first start with forms is not told as missing. That start is when its list of report keys began, which
came with the forms; a report that is older shows that there was a pool before.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.clock import microseconds
from pool.tables import journal_entry, report
from pool.tables_income import form, submission
from pool.tables_report_keys import report_key_event
from register.rules import Rules
from reporting.deadlines import Due, dues


async def read_dues(connection: AsyncConnection, rules: Rules, today: dt.date) -> list[Due]:
    """Every form of every month that is over, from the first of which the books or a report tell."""
    begun = sa.func.least(
        sa.select(sa.func.min(report.c.day)).scalar_subquery(),
        sa.select(sa.func.min(journal_entry.c.day)).scalar_subquery(),
    )
    first: dt.date | None = await connection.scalar(sa.select(begun))
    if first is None:
        return []
    sent = await connection.execute(
        sa.select(
            form.c.form, form.c.period, submission.c.addressee, sa.func.max(form.c.version).label("version")
        )
        .join(submission, submission.c.form_sha256 == form.c.sha256)
        .group_by(form.c.form, form.c.period, submission.c.addressee)
    )
    submitted = {(row.form, row.period, row.addressee): row.version for row in sent}
    built = (await connection.execute(_built())).all()
    return dues(
        rules,
        first,
        today,
        {(row.form, row.period): row.version for row in built},
        submitted,
        stale={(row.form, row.period) for row in built if row.stale},
        begun_on=await _begun_on(connection, rules, today),
    )


def _built() -> sa.Select[tuple[str, str, int, bool]]:
    """The newest version by form and month, and whether a day of the month was reported anew after it."""
    month = sa.func.to_char(report.c.day, "YYYY-MM").label("period")
    reported = (
        sa.select(month, sa.func.max(report.c.built_at).label("built_at"))
        .group_by(month)
        .subquery("reported")
    )
    newest = sa.func.max(form.c.version)
    stale = sa.func.coalesce(sa.func.max(reported.c.built_at) > sa.func.max(form.c.built_at), False)
    return (
        sa.select(form.c.form, form.c.period, newest.label("version"), stale.label("stale"))
        .outerjoin(reported, reported.c.period == form.c.period)
        .group_by(form.c.form, form.c.period)
    )


async def _begun_on(connection: AsyncConnection, rules: Rules, today: dt.date) -> dt.date:
    """The day on which a pool that had reported before began to make forms; the first of days for another."""
    oldest = await connection.scalar(sa.select(sa.func.min(report.c.built_at)))
    listed_us = await connection.scalar(sa.select(sa.func.min(report_key_event.c.at_us)))
    if oldest is None or (listed_us is not None and microseconds(oldest) >= listed_us):
        return dt.date.min
    return today if listed_us is None else rules.day_of(listed_us)
