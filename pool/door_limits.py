"""How much one asks for within a time: a bucket of tries for each name, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

NAMES_KEPT: Final = 10_000
_SECOND: Final = 1_000_000_000
_SLACK: Final = 1000
"""More than a clock told in floating seconds is off."""


class Buckets:
    """`size` tries at once, and `size` more in each `seconds`; the name quiet longest is forgotten."""

    def __init__(self, size: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._refill = max(1, int(seconds * _SECOND / size))
        """For one try; times are whole nanoseconds, so that none is lost by rounding."""
        self._burst = (size - 1) * self._refill
        self._clock = clock
        self._full: OrderedDict[str, int] = OrderedDict()
        """When a name has all its tries again."""

    def take(self, name: str) -> int:
        """Take one try: 0 when there was one, else the seconds until there is."""
        now = round(self._clock() * _SECOND)
        full = max(self._full.get(name, now), now)
        missing = full - now - self._burst
        self._full[name] = full + self._refill if missing <= 0 else full
        self._full.move_to_end(name)
        if len(self._full) > NAMES_KEPT:
            self._full.popitem(last=False)
        return 0 if missing <= 0 else -(-(missing + _SLACK) // _SECOND)

    def __len__(self) -> int:
        return len(self._full)
