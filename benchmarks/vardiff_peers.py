"""The four difficulty controllers of the simulation: ours, and ckpool's, DATUM's and SRI's from descriptions.

Each decides from accepted shares, judges a share by its job, and says what it sends; none knows the machine.
Ours is the real stratum.vardiff. The others are our own words for what their documents, issues and
changelogs state; the simplifications are named in docs/vardiff.md. Many shares at one moment come as one
call, so that a flood costs the simulation no more than a trickle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import exp, floor, inf, log2

from stratum.vardiff import DifficultyPolicy, Vardiff

HASHES = 2.0**32
"""Hashes of a share of difficulty 1."""
FLOOR = 1.0
"""Smallest difficulty, for everybody."""


@dataclass(frozen=True)
class Message:
    """What goes to the machine: a difficulty, a job, or a difficulty and its job."""

    difficulty: float | None
    job: int | None
    clean: bool = False


class Pool(ABC):
    """A difficulty controller with its way of delivery. Judging by the job is what all four do today."""

    name: str
    goal: float
    """Shares a minute that it aims at."""

    def __init__(self) -> None:
        self.wake = inf
        """When it wants to be called without a share."""
        self.difficulty = FLOOR
        """The newest that the machine was told."""
        self.job = 0
        self._by_job: dict[int, float] = {}

    def send(self, difficulty: float, clean: bool = False) -> Message:
        """A job, and its difficulty when that is new."""
        told = None if self._by_job and difficulty == self.difficulty else difficulty
        self.job += 1
        self.difficulty = self._by_job[self.job] = difficulty
        return Message(told, self.job, clean)

    def judge(self, job: int) -> float:
        """The difficulty that a share of this job must meet, and is credited with."""
        return self._by_job[job]

    @abstractmethod
    def regular(self, now: float, clean: bool) -> Message:
        """The job that everybody gets; the first one opens the connection."""

    @abstractmethod
    def share(self, now: float, job: int, count: int) -> Message | None:
        """Accepted shares came."""

    def woken(self, now: float) -> Message | None:
        """`wake` is reached."""
        return None


class Ours(Pool):
    """stratum.vardiff, with the server's look each second at the sessions that rang.

    The start is that of an agent which the pool does not know.
    """

    name = "dmpool"
    goal = 12.0

    def __init__(self, start: int = 10) -> None:
        super().__init__()
        self._vardiff = Vardiff(
            DifficultyPolicy(start=start, minimum=0, maximum=50, shares_per_minute=self.goal)
        )

    def regular(self, now: float, clean: bool) -> Message:
        return self.send(2.0 ** self._vardiff.retarget(now, 64), clean)

    def share(self, now: float, job: int, count: int) -> Message | None:
        if self._vardiff.count(count * self.judge(job) / self.difficulty):
            self.wake = min(self.wake, floor(now) + 1.0)
        return None

    def woken(self, now: float) -> Message | None:
        self.wake = inf
        difficulty = 2.0 ** self._vardiff.retarget(now, 64)
        return None if difficulty == self.difficulty else self.send(difficulty)


class Ckpool(Pool):
    """One share in 3.33 seconds; a decaying mean of 300 seconds, looked at after 72 shares or 240 seconds.

    The difficulty is sent at once, without a job. Up to the next job the lower of both is asked (2025).
    """

    name = "ckpool"
    goal = 18.0
    _MEMORY = 300.0

    def __init__(self) -> None:
        super().__init__()
        self._rate = 0.0
        self._rated_at = self._first_at = self._changed_at = 0.0
        self._shares = 0
        self._seen = False
        self._old = self._now = 42.0
        self._new_from = 0

    def regular(self, now: float, clean: bool) -> Message:
        message = self.send(self._now, clean)
        return Message(message.difficulty if self.job == 1 else None, message.job, clean)

    def judge(self, job: int) -> float:
        return min(self._old, self._now) if job < self._new_from else self._now

    def share(self, now: float, job: int, count: int) -> Message | None:
        asked = self.judge(job)
        if not self._seen:
            self._seen, self._first_at, self._changed_at, self._rated_at = True, now, now, now
        fresh = 1.0 - exp(-max(now - self._rated_at, 1e-3) / self._MEMORY)
        self._rate += fresh * (asked * count / max(now - self._rated_at, 1e-3) - self._rate)
        self._rated_at = now
        self._shares += count
        if self._shares < 72 and now - self._changed_at < 240.0:
            return None
        if asked != self._now:
            self._shares = 0
            return None
        known = 1.0 - exp(-min(max(now - self._first_at, 1e-3) / self._MEMORY, 36.0))
        rate = self._rate / known
        if 0.15 < rate / self._now < 0.4:
            return None
        wanted = max(float(round(rate * 3.33)), FLOOR)
        if wanted == self._now:
            return None
        if wanted < self._now and self._shares == 1:
            self._changed_at = now
            return None
        self._shares, self._changed_at = 0, now
        self._old, self._now, self._new_from = self._now, wanted, self.job + 1
        return Message(wanted, None)


class Datum(Pool):
    """8 a minute, powers of two: halved or doubled beyond a factor of two, with a job; 8 shares at more than
    8 times the goal jump at once by the measured factor, with a job of their own."""

    name = "DATUM"
    goal = 8.0

    def __init__(self) -> None:
        super().__init__()
        self._wanted = 16384.0
        self._since = 0.0
        self._shares = 0
        self._quick = False

    def _restart(self, now: float) -> None:
        self._since, self._shares = now, 0

    def _adjust(self, now: float) -> None:
        if self._shares == 0 or now - self._since < 1.0:
            return
        pace = self._shares * 60.0 / (now - self._since) / self.goal
        if pace < 0.5:
            self._wanted = max(self._wanted / 2, FLOOR)
            self._restart(now)
        elif pace > 2.0 and self._shares >= 16:
            self._wanted *= 2
            self._restart(now)

    def regular(self, now: float, clean: bool) -> Message:
        if self.job == 0:
            self._restart(now)
        elif self._wanted == self.difficulty:
            if self._shares:
                self._adjust(now)
            elif now - self._since > 60.0:
                self._wanted = max(self._wanted / 2, FLOOR)
                self._restart(now)
        self._quick = False
        return self.send(self._wanted, clean)

    def share(self, now: float, job: int, count: int) -> Message | None:
        self._shares += count
        if self._wanted != self.difficulty or self._shares < 8 or now - self._since < 1.0:
            return None
        pace = self._shares * 60.0 / (now - self._since) / self.goal
        if pace <= 8.0 or self._quick:
            self._adjust(now)
            return None
        self._quick = True
        self._wanted *= 2.0 ** max(floor(log2(pace)), 2)
        self._restart(now)
        return self.send(self._wanted)


class Sri(Pool):
    """6 a minute, looked at each minute: the longer since the last change, the smaller a deviation counts.

    Any difficulty; it goes out in front of the next job, and each job keeps its own.
    """

    name = "SRI"
    goal = 6.0
    _PERIOD = 60.0
    _START_HASHRATE = 10e12

    def __init__(self) -> None:
        super().__init__()
        self._hashrate = self._START_HASHRATE
        self._since = 0.0
        self._shares = 0

    def _of(self, hashrate: float) -> float:
        return max(hashrate * 60.0 / self.goal / HASHES, FLOOR)

    def regular(self, now: float, clean: bool) -> Message:
        if self.job == 0:
            self._since, self.wake = now, now + self._PERIOD
        return self.send(self._of(self._hashrate), clean)

    def share(self, now: float, job: int, count: int) -> Message | None:
        self._shares += count
        return None

    def woken(self, now: float) -> Message | None:
        self.wake = now + self._PERIOD
        elapsed = now - self._since
        if elapsed <= 15.0:
            return None
        pace = self._shares * 60.0 / elapsed / self.goal
        deviation = abs(pace - 1.0)
        steps = [(300, 0.15), (240, 0.3), (180, 0.45), (120, 0.5), (60, 0.6), (0, 1.0)]
        if deviation < next(least for seconds, least in steps if elapsed >= seconds):
            return None
        young = 0 if elapsed <= 30 else 1 if elapsed < 60 else 2
        if self._shares == 0:
            factor = 1 / (1.5, 2.0, 3.0)[young]
        else:
            factor = min(pace, (10.0, 5.0, 3.0)[young]) if pace > 10 else pace
        self._hashrate = max(self._hashrate * factor, HASHES * self.goal / 60.0)
        self._since, self._shares = now, 0
        return None


POOLS: tuple[type[Pool], ...] = (Ours, Ckpool, Datum, Sri)
