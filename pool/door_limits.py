"""How much one asks for within a time: a bucket of tries for each name, in bounded memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

NAMES_KEPT: Final = 10_000


class Buckets:
    """`size` tries at once, and `size` more in each `seconds`; the name quiet longest is forgotten."""

    def __init__(self, size: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._refill = seconds / size
        """Seconds for one."""
        self._clock = clock
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> int:
        """Take one try: 0 when there was one, else the seconds until there is."""
        now = self._clock()
        used, since = self._used.get(name, (0.0, now))
        used = max(used - (now - since) / self._refill, 0.0)
        taken = used <= self._size - 1
        self._used[name] = (used + 1 if taken else used), now
        self._used.move_to_end(name)
        if len(self._used) > NAMES_KEPT:
            self._used.popitem(last=False)
        return 0 if taken else max(1, math.ceil((used - (self._size - 1)) * self._refill))

    def __len__(self) -> int:
        return len(self._used)
