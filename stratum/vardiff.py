"""Variable difficulty: keeps a machine near the wished number of shares a minute.

Pure: it counts shares and is asked for a verdict when a job is about to be sent, because a difficulty changes
only together with a job (peers: Q-08, Q-23). Being asked by jobs and not by shares, it also lowers the
difficulty of a machine that has fallen silent. One step up is at most 8 times, one step down at most 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

STEP_UP = 3
STEP_DOWN = 4
"""Largest change of the exponent at one retarget."""
SETTLE_SECONDS = 15.0
"""No verdict on less time than this, unless ENOUGH_SHARES came."""
ENOUGH_SHARES = 24
WINDOW_SECONDS = 180.0
WINDOW_SHARES = 40.0
"""Counting starts anew after so long and so many expected shares, so that old behaviour is forgotten; with
fewer expected shares a machine at half the wished rate, or silent, could never be told from bad luck."""


@dataclass(frozen=True, slots=True)
class DifficultyPolicy:
    """The pool's wishes, exponents of two: where a machine starts, and the bounds it stays in."""

    start: int
    minimum: int
    maximum: int
    shares_per_minute: float

    def bounded(self, exponent: int, ceiling: int) -> int:
        """`exponent` inside the policy and not above `ceiling`, the difficulty of a block."""
        return max(min(exponent, self.maximum, ceiling), self.minimum)


class Vardiff:
    """Counts the shares of one connection and proposes its difficulty."""

    __slots__ = ("_counted_from", "_policy", "_shares", "_suggested", "_wished_minimum", "exponent")

    def __init__(self, policy: DifficultyPolicy, now: float) -> None:
        self._policy = policy
        self.exponent = policy.start
        self._shares = 0
        self._counted_from = now
        self._suggested: int | None = None
        self._wished_minimum = policy.minimum

    def suggest(self, exponent: int, now: float) -> None:
        """The miner's own wish; the bounds are applied when the next job goes out.

        The same wish again, which some firmware sends as a keep-alive (peers: Q-61), changes nothing.
        """
        if exponent != self._suggested:
            self._suggested = self.exponent = exponent
            self._restart(now)

    def wish_at_least(self, exponent: int) -> None:
        """The miner wants nothing easier (BIP310 minimum-difficulty); the pool's own bounds go before it."""
        self._wished_minimum = exponent

    def count(self) -> None:
        """One accepted share at the present difficulty."""
        self._shares += 1

    def retarget(self, now: float, ceiling: int) -> int:
        """The exponent for the job that is about to be sent."""
        elapsed = now - self._counted_from
        if elapsed < 0:
            self._restart(now)
        elif elapsed >= SETTLE_SECONDS or self._shares >= ENOUGH_SHARES:
            expected = self._policy.shares_per_minute * max(elapsed, 0.5) / 60.0
            step = self._step(expected)
            if step or (elapsed >= WINDOW_SECONDS and expected >= WINDOW_SHARES):
                self.exponent += step
                self._restart(now)
        self.exponent = self._policy.bounded(max(self.exponent, self._wished_minimum), ceiling)
        return self.exponent

    def _step(self, expected: float) -> int:
        # A Poisson count strays by its root: within three roots and less than twice off, nothing is proven.
        deviation = abs(self._shares - expected)
        if deviation * deviation <= 9.0 * max(expected, 1.0):
            return 0
        ratio = log2(max(self._shares, 0.5) / expected)
        return max(min(round(ratio), STEP_UP), -STEP_DOWN)

    def _restart(self, now: float) -> None:
        self._shares = 0
        self._counted_from = now
