"""When a payout run is due, by Kazakhstan's clock."""

from __future__ import annotations

import datetime as dt

import pytest

from pool.payout_schedule import Schedule, ScheduleError
from tests.integration.ledger_world import RULES

HOUR_US = 3_600_000_000


def at(text: str) -> int:
    """An instant of Kazakhstan's clock."""
    day, _, clock = text.partition(" ")
    start, _ = RULES.day_bounds(dt.date.fromisoformat(day))
    hours, minutes = clock.split(":")
    return start + int(hours) * HOUR_US + int(minutes) * HOUR_US // 60


@pytest.mark.parametrize(
    ("schedule", "now", "due"),
    [
        ("daily 12:00", "2026-11-24 11:59", "2026-11-23 12:00"),
        ("daily 12:00", "2026-11-24 12:00", "2026-11-24 12:00"),
        ("daily 00:00", "2026-11-24 00:00", "2026-11-24 00:00"),
        ("daily 23:59", "2026-11-24 23:58", "2026-11-23 23:59"),
        ("weekly monday 12:00", "2026-11-24 09:00", "2026-11-23 12:00"),
        ("weekly tuesday 12:00", "2026-11-24 09:00", "2026-11-17 12:00"),
        ("weekly tuesday 12:00", "2026-11-24 12:00", "2026-11-24 12:00"),
    ],
)
def test_the_newest_date_that_has_come(schedule: str, now: str, due: str) -> None:
    assert Schedule.parse(schedule).last_due(at(now), RULES) == due


@pytest.mark.parametrize(
    "text", ["", "daily", "daily 24:00", "hourly", "weekly 12:00", "weekly Monday 12:00", "daily 9:00"]
)
def test_what_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(ScheduleError, match="daily 12:00"):
        Schedule.parse(text)
