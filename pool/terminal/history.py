"""The last looks, so that a counter becomes a rate: over a minute, or since the process began. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from pool.terminal.reading import Reading, Target, Told
from pool.terminal.samples import Samples

WINDOW_SECONDS: Final = 60.0
LEAST_SECONDS: Final = 8.0
"""Over less a rate says nothing: it is told since the start of the process."""
KEPT_SECONDS: Final = 4.0
"""Between looks that are kept: a look may be large."""
LEAST_SHARES: Final = 50
"""Fewer say nothing of how many are rejected."""


class Rate(NamedTuple):
    """How much came in how long."""

    amount: float
    seconds: float

    @property
    def per_second(self) -> float:
        """The rate."""
        return self.amount / self.seconds


class History:
    """Looks of the last minute, the newest last."""

    def __init__(self) -> None:
        self._looks: deque[Reading] = deque()

    def add(self, look: Reading) -> None:
        """One more, unless the newest is nearly as new; what is too old is forgotten.

        So is what is later than now: the clock was set back.
        """
        while self._looks and not 0 <= look.at - self._looks[0].at <= WINDOW_SECONDS:
            self._looks.popleft()
        if not self._looks or look.at - self._looks[-1].at >= KEPT_SECONDS:
            self._looks.append(look)

    def rate(self, told: Told, count: Callable[[Samples], float | None]) -> Rate | None:
        """How a counter of a target grew; None when it is not told, or nothing can be said yet."""
        newest = None if told.samples is None else count(told.samples)
        if told.samples is None or newest is None:
            return None
        for earlier in self._of(told.target):
            seconds = told.at - earlier.at
            before = None if earlier.samples is None else count(earlier.samples)
            if before is not None and before <= newest and seconds >= LEAST_SECONDS:
                return Rate(newest - before, seconds)
        begun = told.samples.max("process_start_time_seconds")
        return None if begun is None or told.at - begun < 1 else Rate(newest, told.at - begun)

    def mean(self, told: Told, histogram: str) -> float | None:
        """The mean of what a histogram counted of late."""
        total = self.rate(told, lambda samples: samples.sum(f"{histogram}_sum"))
        count = self.rate(told, lambda samples: samples.sum(f"{histogram}_count"))
        return None if total is None or count is None or not count.amount else total.amount / count.amount

    def rejected(self, told: Told) -> float | None:
        """The part of shares that was rejected of late."""
        shares = self.rate(told, lambda samples: samples.sum("dmpool_shares_total"))
        good = self.rate(told, lambda samples: samples.sum("dmpool_shares_total", verdict="accepted"))
        if shares is None or good is None or shares.amount < LEAST_SHARES:
            return None
        return max(1 - good.amount / shares.amount, 0.0)

    def _of(self, target: Target) -> Iterable[Told]:
        """The oldest first."""
        return (told for look in self._looks for told in look.targets if told.target == target)
