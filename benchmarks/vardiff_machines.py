"""Machines of 1 GH/s to 300 TH/s against four difficulty controllers: convergence, spread, lost work, floods.

Event-driven and seeded; a share comes by a Poisson process at the machine's hashrate and difficulty. Messages
take 50 to 200 ms, a machine finishes up to two seconds of old work after a job that is not clean, and half of
the machines apply a difficulty at once instead of with the next job. vardiff_simulation.py runs it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from math import inf, log2

from vardiff_peers import HASHES, POOLS, Message, Pool

SIZES = 12
SMALLEST, LARGEST = 1e9, 300e12
FAR = 1.0
"""log2 of the share rate over the goal, beyond which a machine is not converged."""
KEEPS = 600.0
"""Seconds that it must stay within to count as converged."""
BIN = 10.0
WINDOW = 300.0
"""Seconds of the windows whose shares are counted for the spread."""


class Run:
    """One machine on one pool, and everything measured of it."""

    def __init__(
        self, pool: Pool, hashrate: Callable[[float], float], seed: int, seconds: float, rate_steps: float
    ) -> None:
        self.pool = pool
        self.hashrate = hashrate
        self.seconds = seconds
        self.rate_steps = rate_steps
        """The hashrate may change each so many seconds."""
        self.firmware_waits = seed % 2 == 0
        """It applies a difficulty with the next job, and not at once."""
        self.levels: list[tuple[float, float]] = []
        """(time, log2 of the true share rate over the goal) from each change on."""
        self.bins = [0] * (int(seconds / BIN) + 2)
        self.changes: list[float] = []
        self.work = self.lost = self.refused = 0.0
        self.submitted = 0
        self._chance = random.Random(seed)
        self._latency = self._chance.uniform(0.05, 0.2)
        self._drain = self._chance.uniform(0.0, 2.0)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = 0
        self._now = 0.0
        self._rate = hashrate(0.0)
        self._job = 0
        self._asked = self._told = inf
        """The difficulty in use, and the one that waits for its job."""
        self._next_share = inf

    def run(self) -> Run:
        """Let the time pass."""
        self._at(0.0, self._regular)
        self._at(self._chance.expovariate(1 / 600.0), self._block)
        if self.rate_steps < inf:
            self._at(self.rate_steps, self._change_rate)
        while True:
            self._now = min(self._next_share, self._events[0][0], self.pool.wake)
            if self._now >= self.seconds:
                return self
            if self._now == self._next_share:
                self._find_shares()
            elif self._now == self.pool.wake:
                self._post(self.pool.woken(self._now))
            else:
                _, _, handler, arguments = heapq.heappop(self._events)
                handler(*arguments)

    def _at(self, when: float, handler: Callable[..., None], *arguments: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, handler, arguments))

    # The pool

    def _post(self, message: Message | None) -> None:
        if message is not None:
            if message.difficulty is not None:
                self.changes.append(self._now)
            self._at(self._now + self._latency, self._deliver, message)

    def _regular(self) -> None:
        self._post(self.pool.regular(self._now, False))
        self._at(self._now + self._chance.uniform(25.0, 30.0), self._regular)

    def _block(self) -> None:
        self._post(self.pool.regular(self._now, True))
        self._at(self._now + self._chance.expovariate(1 / 600.0), self._block)

    def _arrive(self, job: int, met: float, count: int) -> None:
        """A share that met one difficulty is judged by that of its job."""
        judged = self.pool.judge(job)
        self.submitted += count
        self.bins[int(self._now / BIN)] += count
        self.work += count * met
        self.lost += count * max(met - judged, 0.0)
        if judged > met:
            accepted = self._some_of(count, met / judged)
            self.refused += count - accepted
            count = accepted
        if count:
            self._post(self.pool.share(self._now, job, count))

    def _some_of(self, count: int, part: float) -> int:
        if count < 50:
            return sum(self._chance.random() < part for _ in range(count))
        return round(count * part)

    # The machine

    def _deliver(self, message: Message) -> None:
        if message.difficulty is not None:
            self._told = message.difficulty
            if not self.firmware_waits:
                self._work(self._job, self._told)
        if message.job is not None:
            begins = self._now if message.clean or self._job == 0 else self._now + self._drain
            self._at(begins, self._begin, message.job, self._told)

    def _begin(self, job: int, told: float) -> None:
        self._work(job, told if self.firmware_waits else self._asked)

    def _change_rate(self) -> None:
        self._rate = self.hashrate(self._now)
        self._work(self._job, self._asked, changed=True)
        self._at(self._now + self.rate_steps, self._change_rate)

    def _work(self, job: int, asked: float, changed: bool = False) -> None:
        """Go on with this job and difficulty. The next share has no memory, it may be drawn anew."""
        changed = changed or asked != self._asked or self._job == 0
        self._job, self._asked = job, asked
        if changed and job:
            per_second = self._rate / (HASHES * asked)
            level = log2(per_second * 60.0 / self.pool.goal) if per_second > 0 else -inf
            self.levels.append((self._now, level))
            self._next_share = self._now + self._chance.expovariate(per_second) if per_second > 0 else inf

    def _find_shares(self) -> None:
        """One share, or in a flood those of 50 ms at once."""
        per_second = self._rate / (HASHES * self._asked)
        flood = 0.05 if per_second > 100.0 else 0.0
        count = 1 + (
            round(self._chance.gauss(per_second * flood, (per_second * flood) ** 0.5)) if flood else 0
        )
        self._at(self._now + self._latency, self._arrive, self._job, self._asked, max(count, 1))
        self._next_share = self._now + flood + self._chance.expovariate(per_second)

    def pieces(self, since: float, until: float) -> list[tuple[float, float, float]]:
        """(from, to, level) between two times."""
        ends = [when for when, _ in self.levels[1:]] + [until]
        return [
            (max(begin, since), min(end, until), level)
            for (begin, level), end in zip(self.levels, ends, strict=True)
            if min(end, until) > max(begin, since)
        ]

    def converged_after(self, since: float, until: float) -> float:
        """Seconds from `since` until the true rate is within a factor of two and stays there for KEEPS."""
        start = None
        for begin, end, level in self.pieces(since, until):
            if abs(level) > FAR:
                start = None
                continue
            start = begin if start is None else start
            if end - start >= KEEPS:
                break
        return (until if start is None else start) - since

    def counted(self, since: float, until: float) -> list[float]:
        """Shares over the goal in windows of WINDOW seconds."""
        width = int(WINDOW / BIN)
        first, last = int(since / BIN), int(until / BIN)
        goal = self.pool.goal * WINDOW / 60.0
        return [sum(self.bins[at : at + width]) / goal for at in range(first, last - width + 1, width)]

    def peak(self, since: float, until: float) -> int:
        """Most shares in one minute."""
        first, last = int(since / BIN), int(until / BIN)
        return max(sum(self.bins[at : at + 6]) for at in range(first, last - 5))


def machines(seeds: int) -> list[tuple[float, int]]:
    """(hashrate, seed): sizes spread evenly over the logarithm, so that no power of two is favoured."""
    chance = random.Random(20_261_124)
    step = log2(LARGEST / SMALLEST) / SIZES
    return [
        (SMALLEST * 2.0 ** (step * (size + chance.random())), size * 1000 + seed)
        for size in range(SIZES)
        for seed in range(seeds)
    ]


def steady(hashrate: float, seed: int) -> Callable[[float], float]:
    return lambda now: hashrate


def noisy(hashrate: float, seed: int) -> Callable[[float], float]:
    """It wanders by up to 20 % up and down, with a memory of about ten minutes."""
    chance, level = random.Random(seed + 1), 0.0

    def at(now: float) -> float:
        nonlocal level
        level = min(max(0.95 * level + chance.gauss(0.0, 0.035), -0.2), 0.2)
        return hashrate * (1.0 + level)

    return at


def sleeping(to: float) -> Callable[[float, int], Callable[[float], float]]:
    """Half an hour at work, an hour at `to` of it, half an hour at work."""
    return lambda hashrate, seed: lambda now: hashrate * (to if 1800 <= now < 5400 else 1.0)


SCENARIOS: dict[str, tuple[Callable[[float, int], Callable[[float], float]], float, float]] = {
    "steady": (steady, 7200.0, inf),
    "noise": (noisy, 7200.0, 30.0),
    "asleep": (sleeping(0.0), 7200.0, 30.0),
    "curtailed": (sleeping(0.3), 7200.0, 30.0),
}


def simulate(seeds: int) -> dict[str, dict[str, list[Run]]]:
    """All runs, by scenario and pool."""
    results: dict[str, dict[str, list[Run]]] = {}
    for scenario, (shape, seconds, steps) in SCENARIOS.items():
        for kind in POOLS:
            results.setdefault(scenario, {})[kind.name] = [
                Run(kind(), shape(hashrate, seed), seed, seconds, steps).run()
                for hashrate, seed in machines(seeds)
            ]
    return results
