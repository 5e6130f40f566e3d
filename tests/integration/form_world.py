"""A month in which miners were paid, with a daily report for each of its days: what a form is built from.

Reports are written as they would be kept, with the members that a form looks at; what the real ones have
is told by `test_a_form_is_built_from_real_daily_reports`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import income
from pool.clock import instant
from pool.distributions import distributions
from pool.documents import Document
from pool.reports import Publisher
from pool.tables import report
from reporting.daily import PoolFacts
from reporting.distribution import Distribution
from reporting.income import forms_of, month
from reporting.signing import SigningKey
from tests.integration.ledger_world import ADDRESS, RULES, World
from tests.integration.paid_world import confirm, mature, mine, reserve, send

MONTH = month("2026-11")
AFTER_US = RULES.day_bounds(dt.date(2026, 12, 3))[0]
"""When forms are built: the first of them at midnight of 3 December."""
POOL = PoolFacts("ТОО «Пул»", "940140000385", "regtest", ADDRESS, 150)
PUBLISHER = Publisher(pool=POOL, rules=RULES, signers=[SigningKey(b"\x01" * 32)], software_version="0.1.0")
FORM_1, FORM_2 = (row.text("form") for row in forms_of(RULES, MONTH))


async def pay(world: World, amounts: Mapping[int, int], height: int = 200) -> int:
    """A payout that is confirmed by a block of two hours ago; its number."""
    number = await reserve(world, amounts)
    await send(world, number)
    await confirm(world, number, amounts, height)
    return number


async def live(world: World) -> None:
    """Two miners are paid on 24 November, one of them on the day after too."""
    await mine(world, 1, {2: 1})
    await mature(world)
    await pay(world, {1: 1_000_000, 2: 2_000_000})
    world.now_us += 24 * 3_600_000_000
    await pay(world, {1: 3_000_000}, 201)


async def report_days(
    engine: AsyncEngine, days: Iterable[dt.date] = (), *, built_us: int = AFTER_US - 1, complete: bool = True
) -> None:
    """A daily report of each day of the month, or of some, with the payments as they are now."""
    chosen = list(days or MONTH.days())
    async with engine.begin() as connection:
        paid = await distributions(connection, RULES, min(chosen), max(chosen))
        kept = list(await connection.execute(sa.select(report).order_by(report.c.sequence)))
        newest = {row.day: (row.version, row.sha256) for row in kept}
        last, rows = kept[-1].sha256 if kept else None, []
        for sequence, day in enumerate(chosen, len(kept) + 1):
            version, replaced = newest.get(day, (0, None))
            envelope = _envelope(day, version + 1, paid, complete=complete)
            rows.append(
                {
                    "sequence": sequence,
                    "day": day,
                    "version": version + 1,
                    "sha256": envelope["report_sha256"],
                    "previous_sha256": last,
                    "replaces_sha256": replaced,
                    "envelope": rfc8785.dumps(envelope),
                    "built_at": instant(built_us),
                }
            )
            last = envelope["report_sha256"]
        await connection.execute(sa.insert(report), rows)


def _envelope(day: dt.date, version: int, paid: Iterable[Distribution], *, complete: bool) -> dict[str, Any]:
    told = {
        "schema": "kz-dmp-daily/2",
        "report_date": day.isoformat(),
        "version": version,
        "day_complete": complete,
        "distributions": [
            {
                "miner_id": one.miner_id,
                "quantity_sat": one.quantity_sat,
                "commission_sat": one.commission_sat,
                "txid": one.txid,
                "vout": one.vout,
            }
            for one in paid
            if one.distributed_on == day
        ],
    }
    return {
        "report": told,
        "report_sha256": hashlib.sha256(rfc8785.dumps(told)).hexdigest(),
        "signatures": [],
    }


async def build(
    engine: AsyncEngine, form: str = FORM_1, *, now_us: int = AFTER_US, reason: str = "later data"
) -> Document:
    """The form of the month."""
    rule = next(row for row in forms_of(RULES, MONTH) if row.text("form") == form)
    return await income.build_form(engine, MONTH, rule, PUBLISHER, now_us, reason=reason)
