"""The audit: the archive alone gives what the ledger has, byte for byte, and says where it does not."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.audit_world import Days, told
from tests.integration.ledger_world import DAY

NEXT, THIRD = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)


@pytest_asyncio.fixture
async def days(engine: AsyncEngine, tmp_path: Path) -> Days:
    made = Days(engine, tmp_path / "archive")
    await made.settle_in()
    await made.live_three_days()
    return made


@pytest.mark.parametrize(("first", "last"), [(DAY, DAY), (DAY, THIRD), (NEXT, NEXT), (THIRD, THIRD)])
async def test_the_archive_gives_what_the_ledger_has(days: Days, first: dt.date, last: dt.date) -> None:
    """I2, I3, I4, I7."""
    outcome = await days.audit(first, last)
    assert told(outcome) == []
    assert outcome.agrees
    counted = {one.kind: one.agree for one in outcome.tallies}
    print(counted, outcome.notes, outcome.hours)
    assert counted["daily report"] > 0
