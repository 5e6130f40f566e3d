"""Something for every connection, in slices, so that the loop is never held for long.

A slice of jobs is given to its sockets before the next is begun. A clean job goes on without a pause, since
everybody mines on the old tip until it comes; any other leaves time for what else waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from stratum.connection import Connection
from stratum.job import Job

SLICE = 250
"""Connections that are dealt with before others have their turn on the loop."""
SLICE_PAUSE = 0.005
"""Seconds between the slices of what is not urgent."""


class Broadcast:
    """One job on its way to all who work."""

    def __init__(
        self,
        connections: Sequence[Connection],
        job: Job,
        clean: bool,
        ticks: Callable[[], float],
        done: Callable[[], object] | None,
    ) -> None:
        self._left = deque(connections)
        self._job = job
        self._clean = clean
        self._ticks = ticks
        self._done = done
        self._next: asyncio.Handle | None = None

    def go_on(self) -> None:
        """The next slice."""
        self._offer(SLICE)
        loop = asyncio.get_running_loop()
        if not self._left:
            self._finish(loop)
        elif self._clean:
            self._next = loop.call_soon(self.go_on)
        else:
            self._next = loop.call_later(SLICE_PAUSE, self.go_on)

    def make_way(self) -> None:
        """A newer job is there: a clean one still reaches everybody first, any other is left off."""
        if self._next is not None:
            self.stop()
            if self._clean:
                self._offer(len(self._left))
                self._finish(asyncio.get_running_loop())

    def stop(self) -> None:
        """Send nothing more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _offer(self, most: int) -> None:
        ticks, job, left = self._ticks(), self._job, self._left
        for _ in range(min(most, len(left))):
            left.popleft().offer(job, ticks)

    def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = None
        if self._done is not None:
            loop.call_soon(self._done)  # uvloop writes when the callbacks of this round have run


async def in_slices(connections: Sequence[Connection]) -> AsyncIterator[Connection]:
    """Each of the connections, with pauses."""
    for at, connection in enumerate(connections, 1):
        yield connection
        if at % SLICE == 0:
            await asyncio.sleep(SLICE_PAUSE)
