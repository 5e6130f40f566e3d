"""When payouts are due: once a day or once a week, at a minute of Kazakhstan's clock.

A date that was missed (the pool was down) is made up for once, however many were missed: only the last one
counts. Its text stands with the run in the database, where no date can stand twice.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, NamedTuple

from register.rules import Rules

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_FORM: Final = re.compile(rf"(?:daily|weekly ({'|'.join(_WEEKDAYS)})) ([01][0-9]|2[0-3]):([0-5][0-9])")
_MINUTE_US: Final = 60_000_000


class ScheduleError(ValueError):
    """A schedule that cannot be read. The message says how to write it."""


class Schedule(NamedTuple):
    """`weekday` is 0 for Monday, None for every day; `minute` counts from 00:00."""

    weekday: int | None
    minute: int

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read "daily 12:00" or "weekly monday 12:00"; raises ScheduleError."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise ScheduleError('write it as "daily 12:00" or "weekly monday 12:00", by Kazakhstan\'s clock')
        weekday, hours, minutes = form.groups()
        return cls(_WEEKDAYS.index(weekday) if weekday else None, 60 * int(hours) + int(minutes))

    def last_due(self, now_us: int, rules: Rules) -> str:
        """The newest date that has come, such as "2026-11-24 12:00"; `now_us` in unix microseconds."""
        day = rules.day_of(now_us)
        while not (self._on(day) and rules.day_bounds(day)[0] + self.minute * _MINUTE_US <= now_us):
            day -= dt.timedelta(days=1)
        return f"{day} {self.minute // 60:02}:{self.minute % 60:02}"

    def _on(self, day: dt.date) -> bool:
        return self.weekday is None or day.weekday() == self.weekday
