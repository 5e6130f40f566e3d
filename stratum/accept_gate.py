"""The accept gate: a storm of connections is let in at a steady rate, each address in its order of arrival.

After an outage a whole pool reconnects within a second. Every connection is accepted at once, so that no
miner's connect times out (peers: Q-56), and then waits here, unread, until it is let in. Pure: what waits may
be anything, the time comes in. One that vanished while it waited costs nobody a turn. Addresses take turns,
so that a crowd behind one of them does not hold up the others.
"""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from stratum.limits import TokenBucket

Arrival = TypeVar("Arrival")

BURST_SECONDS = 0.05
"""What the rate gives in this time may be let in together: more than passes between two looks."""
VANISHED_AT_ONCE = 1000
"""Of those that vanished, so many are passed over at a time."""
FILES_RESERVED = 512
"""Open files that are left for everything that is not a miner's connection."""
FILES_MAX = 1 << 20
"""What Linux allows a process whose own limit is infinite (fs.nr_open)."""


class AcceptGate(Generic[Arrival]):
    """A line of arrivals for each address; the addresses take turns."""

    def __init__(
        self,
        per_second: float,
        present: Callable[[Arrival], bool],
        forget: Callable[[Arrival], object],
    ) -> None:
        """`present`: False for an arrival that has gone; it is then forgotten."""
        self._bucket = TokenBucket(per_second, max(1.0, per_second * BURST_SECONDS))
        self._present = present
        self._forget = forget
        self._lines: dict[str, deque[Arrival]] = {}
        self._turns: deque[str] = deque()
        """The addresses that have a line, the one whose turn it is in front."""
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def arrive(self, arrival: Arrival, address: str) -> None:
        """To the end of its address's line."""
        line = self._lines.get(address)
        if line is None:
            line = self._lines[address] = deque()
            self._turns.append(address)
        line.append(arrival)
        self._waiting += 1

    def let_in(self, ticks: float) -> Iterator[Arrival]:
        """Those whose turn it is."""
        passed_over = 0
        while self._turns and passed_over < VANISHED_AT_ONCE:
            if not self._present(self._lines[self._turns[0]][0]):
                self._forget(self._take())
                passed_over += 1
            elif self._bucket.take(ticks):
                yield self._take()
            else:
                return

    def empty(self) -> Iterator[Arrival]:
        """Everybody, because the server closes."""
        while self._turns:
            yield self._take()

    def _take(self) -> Arrival:
        address = self._turns.popleft()
        line = self._lines[address]
        arrival = line.popleft()
        self._waiting -= 1
        if line:
            self._turns.append(address)
        else:
            del self._lines[address]
        return arrival


def room_for_connections(wanted: int | None) -> int:
    """How many connections the process can have; raises its limit of open files as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = hard if hard != resource.RLIM_INFINITY else FILES_MAX
    if soft != files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    room = max(files - FILES_RESERVED, files // 2)
    return room if wanted is None else min(wanted, room)
