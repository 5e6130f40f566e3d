"""The work of each worker over 10 minutes, an hour and a day: counted in memory from the records of shares.

The ledger keeps work by miner; which worker did it stands in the batches alone. They are counted as they
come (`pool.pages.worker_reader`), each share once. Of a worker there are 31 spans of two minutes and 24 clock
hours in two small rings, today's shares and refusals, and its last share: about a kilobyte, whatever it
sends, so 100 MB for 100 000 workers. A worker that was silent for a day is forgotten.

Hashrates are estimates for people and kept as floating numbers; nothing is paid by them (I2). They are told
over spans that are over, and where counting began later than that, over the time since then.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from pool.clock import HOUR_US
from pool.intake import work_of
from pool.records import Record, Reject, Share

SPAN_SECONDS: Final = 120
SPAN_US: Final = SPAN_SECONDS * 1_000_000
SPANS: Final = 31
"""An hour of them, and the one that goes on."""
HOURS: Final = 24
"""The one that goes on, and those before it."""
DAY_US: Final = 24 * HOUR_US
NAMES_LIMIT: Final = 40_000
"""Workers of an account that are counted apart; a miner cannot fill the memory with names."""

Name = tuple[int, str]
"""Miner and worker."""
_COUNTED: Final = (Share, Reject)
_work_of = lru_cache(maxsize=4096)(work_of)


class Rates(NamedTuple):
    """Hashes per second over three times."""

    ten_minutes: int
    hour: int
    day: int


class Ring:
    """Amounts by number, of the newest numbers only."""

    __slots__ = ("newest", "slots")

    def __init__(self, size: int, newest: int) -> None:
        self.slots = array("d", bytes(8 * size))
        self.newest = newest

    def add(self, number: int, amount: int) -> None:
        """Count an amount; what is too old is not kept."""
        size = len(self.slots)
        if number == self.newest:
            pass
        elif number > self.newest:
            for passed in range(max(self.newest, number - size) + 1, number + 1):
                self.slots[passed % size] = 0.0
            self.newest = number
        elif number <= self.newest - size:
            return
        self.slots[number % size] += amount

    def total(self, first: int, last: int) -> float:
        """All from the first number to the last, both included."""
        size = len(self.slots)
        first, last = max(first, self.newest - size + 1), min(last, self.newest)
        if first > last:
            return 0.0
        begin, end = first % size, last % size
        if begin <= end:
            return sum(self.slots[begin : end + 1])
        return sum(self.slots[begin:]) + sum(self.slots[: end + 1])


class Worker:
    """What is known of a worker."""

    __slots__ = ("accepted", "day", "hours", "last_us", "name", "rejected", "spans")

    def __init__(self, name: str, at_us: int) -> None:
        self.name = name
        self.spans = Ring(SPANS, at_us // SPAN_US)
        self.hours = Ring(HOURS, at_us // HOUR_US)
        self.last_us = 0
        """When its last accepted share came; 0 before the first."""
        self.day = 0
        """Which day `accepted` and `rejected` are of."""
        self.accepted = 0
        self.rejected: Counter[str] | None = None

    def accept(self, at_us: int, day: int, work: int) -> None:
        """An accepted share."""
        self.spans.add(at_us // SPAN_US, work)
        self.hours.add(at_us // HOUR_US, work)
        self.last_us = max(self.last_us, at_us)
        if self._is_of(day):
            self.accepted += 1

    def refuse(self, at_us: int, day: int, reason: str) -> None:
        """A refused share."""
        self.spans.add(at_us // SPAN_US, 0)
        if self._is_of(day):
            if self.rejected is None:
                self.rejected = Counter()
            self.rejected[reason] += 1

    def _is_of(self, day: int) -> bool:
        if day > self.day:
            self.day, self.accepted, self.rejected = day, 0, None
        return day == self.day

    def today(self, day: int) -> tuple[int, Counter[str]]:
        """Accepted and refused shares of a day, which is today."""
        return (self.accepted, self.rejected or Counter()) if day == self.day else (0, Counter())

    def over(self, now_us: int, since_us: int, seconds: int) -> int:
        """Hashes per second over the spans of so many seconds, an hour at most."""
        end = now_us // SPAN_US
        begin = max(end - seconds // SPAN_SECONDS, min(since_us // SPAN_US, end - 1))
        return int(self.spans.total(begin, end - 1)) // ((end - begin) * SPAN_SECONDS)

    def over_day(self, now_us: int, since_us: int) -> int:
        """Hashes per second over this hour so far and the 23 before it."""
        hour = now_us // HOUR_US
        begin_us = max((hour - HOURS + 1) * HOUR_US, since_us)
        total = self.hours.total(hour - HOURS + 1, hour)
        return int(total) * 1_000_000 // max(now_us - begin_us, SPAN_US)

    def rates(self, now_us: int, since_us: int) -> Rates:
        """All three; `since_us` is when counting began."""
        return Rates(
            self.over(now_us, since_us, 600),
            self.over(now_us, since_us, 3600),
            self.over_day(now_us, since_us),
        )


class Workers:
    """The workers of all miners. `since_us` is when counting began; None before."""

    def __init__(self) -> None:
        self.since_us: int | None = None
        self._of: dict[int, dict[str, Worker]] = {}

    def of(self, miner_id: int) -> dict[str, Worker]:
        """The workers of a miner by name in small letters."""
        return self._of.get(miner_id, {})

    def find(self, miner_id: int, name: str) -> Worker | None:
        """A worker by its name, whatever the case of its letters."""
        return self.of(miner_id).get(name.lower())

    def count(self, records: Iterable[Record], day_of: Iterable[tuple[int, int]], now_us: int) -> None:
        """Count the records of a batch.

        `day_of` has the days that records may be of: when each begins, ascending, and its number. A gateway
        whose clock is ahead is taken at its word up to `now_us`.
        """
        newest_first = tuple(day_of)[::-1]
        for record in records:
            if not isinstance(record, _COUNTED):
                continue
            at_us = record.at_us if record.at_us < now_us else now_us
            worker = self._worker(record.miner_id, record.worker, at_us)
            if worker is None:
                continue
            day = next((number for begin_us, number in newest_first if at_us >= begin_us), 0)
            if isinstance(record, Share):
                worker.accept(at_us, day, _work_of(record.target))
            else:
                worker.refuse(at_us, day, record.reason)

    def forget(self, now_us: int) -> None:
        """Leave out who has been silent for a day."""
        for miner_id, workers in list(self._of.items()):
            oldest = (now_us - DAY_US) // SPAN_US
            silent = [name for name, one in workers.items() if one.spans.newest < oldest]
            for name in silent:
                del workers[name]
            if not workers:
                del self._of[miner_id]

    def __len__(self) -> int:
        return sum(len(one) for one in self._of.values())

    def all(self) -> Iterator[tuple[int, Worker]]:
        """Each worker with the miner that it is of."""
        for miner_id, workers in self._of.items():
            for one in workers.values():
                yield miner_id, one

    def put(self, miner_id: int, worker: Worker) -> None:
        """Take a worker that was counted before."""
        self._of.setdefault(miner_id, {})[worker.name.lower()] = worker

    def _worker(self, miner_id: int, name: str, at_us: int) -> Worker | None:
        workers = self._of.get(miner_id)
        if workers is None and miner_id == 0:
            return None  # nobody's
        if workers is None:
            workers = self._of[miner_id] = {}
        worker = workers.get(name) or workers.get(name.lower())
        if worker is None and len(workers) < NAMES_LIMIT:
            worker = workers[name.lower()] = Worker(name, at_us)
        return worker
