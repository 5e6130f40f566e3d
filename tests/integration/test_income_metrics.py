"""The series of the income forms: what they count, and what they say without PostgreSQL (Q-03)."""

from __future__ import annotations

import datetime as dt

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pool import submissions
from pool.database import create_engine
from pool.income_metrics import IncomeMetrics
from pool.reading import DatabaseAway
from pool.submissions import BY_HAND, Sending
from tests.integration.entering import TESTER
from tests.integration.form_world import AFTER_US, FORM_1, FORM_2, build, live, report_days
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.paid_world import lose


def lines(metrics: IncomeMetrics) -> set[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    return {line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")}


def counts(reminders: int, late: int, outdated: int) -> set[str]:
    return {
        f"dmpool_income_reminders {reminders}.0",
        f"dmpool_income_late {late}.0",
        f"dmpool_income_outdated {outdated}.0",
    }


def days(form: str, to: str, left: int) -> str:
    return f'dmpool_income_deadline_days{{addressee="{to}",form="{form}"}} {left}.0'


async def test_the_series_follow_what_is_due_submitted_and_corrected(world: World) -> None:
    now = [AFTER_US]
    metrics = IncomeMetrics(world.engine, RULES, lambda: now[0])
    assert lines(metrics) == set()
    await metrics.read()
    assert lines(metrics) == counts(0, 0, 0)  # nothing was booked or reported yet
    await live(world)
    await report_days(world.engine)
    await metrics.read()
    bodies = ("authorised_body", "tax_authority")
    all_due = {days(form, to, 12) for form in (FORM_1, FORM_2) for to in bodies}
    assert lines(metrics) == all_due | counts(0, 0, 0)
    now[0] = RULES.day_bounds(dt.date(2026, 12, 5))[0]
    assert counts(4, 0, 0) < lines(metrics)

    made = await build(world.engine)
    async with world.engine.begin() as connection:
        for to in bodies:
            await submissions.record(
                connection, Sending(made, to, now[0], ""), BY_HAND, RULES, TESTER, now[0]
            )
    (_, (number,)) = await world.rows("SELECT id FROM payout ORDER BY id")
    await lose(world, int(str(number)))
    await report_days(world.engine, [DAY + dt.timedelta(days=1)])
    await build(world.engine, now_us=now[0])
    now[0] = RULES.day_bounds(dt.date(2026, 12, 16))[0]
    await metrics.read()
    assert lines(metrics) == {days(FORM_2, to, -1) for to in bodies} | counts(2, 2, 2)

    away = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    lost = IncomeMetrics(away, RULES, lambda: now[0])
    with pytest.raises(DatabaseAway):
        await lost.read()
    await away.dispose()
