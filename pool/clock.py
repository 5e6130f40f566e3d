"""Instants: unix microseconds, the whole hours that they fall into, and what Python has for them."""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

HOUR_US: Final = 3_600_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def unix_microseconds() -> int:
    """Now."""
    return time.time_ns() // 1000


def instant(at_us: int) -> dt.datetime:
    """Unix microseconds as an aware datetime in UTC."""
    return _EPOCH + dt.timedelta(microseconds=at_us)


def microseconds(at: dt.datetime) -> int:
    """An aware datetime as unix microseconds."""
    return (at - _EPOCH) // dt.timedelta(microseconds=1)


def hour_of(at_us: int) -> int:
    """The first microsecond of the clock hour of an instant, in UTC and in Kazakhstan alike."""
    return at_us - at_us % HOUR_US
