"""The register in the memory of a process that shows it: as it stands, or as it stood before an instant.

Whoever asks for it gets all that PostgreSQL held at that moment: a look at the newest event, and the events
behind the last one that is known. So nobody loads a hundred thousand hardware units for one request, and who
has just written reads what was written.

What `current` gives changes at the next `await`; who works on it for longer holds it. The past does not
change; it is loaded when it is asked for, for one at a time, and the last one asked for is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.reading import READ_SECONDS, DatabaseAway, asking, reading
from pool.register_follower import RegisterFollower
from pool.register_store import STANDING_KINDS
from register.register import Register

LOAD_SECONDS = 60.0
"""For reading the whole of it."""
FAILURE_SECONDS = 1.0
"""What failed is not tried again sooner."""


class LiveRegister:
    """See the head of this file. One for a process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._register = Register()
        self._follower = RegisterFollower(engine, self._register, STANDING_KINDS, lambda changes: None)
        self._following = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._past: tuple[tuple[str, ...], int, Register] | None = None
        self._failure = ""
        self._failed_until = 0.0

    @property
    def age_seconds(self) -> float | None:
        """Since it was last known to be what PostgreSQL holds; None before that."""
        read_at = self._follower.read_at
        return None if read_at is None else max(time.time() - read_at, 0.0)

    async def current(self) -> Register:
        """The register as it stands, until the next `await`; raises DatabaseAway."""
        async with self.held() as register:
            return register

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Register]:
        """The same, and it does not change while it is held: for work that goes to a thread."""
        async with self._following:
            await self._catch_up()
            yield self._register

    async def _catch_up(self) -> None:
        if time.monotonic() < self._failed_until:
            raise DatabaseAway(self._failure)
        try:
            async with asking(LOAD_SECONDS if self._follower.read_at is None else READ_SECONDS):
                await self._follower.catch_up()
        except DatabaseAway as error:
            # Those who wait in line do not each wait for a database that is silent.
            self._failure, self._failed_until = str(error), time.monotonic() + FAILURE_SECONDS
            raise

    async def before(self, before_us: int, kinds: Sequence[str]) -> Register:
        """The records of some kinds as they stood before an instant that is over; raises DatabaseAway."""
        wanted = tuple(kinds)
        async with self._loading:
            if self._past is None or self._past[:2] != (wanted, before_us):
                self._past = None
                async with reading(self._engine, LOAD_SECONDS) as connection:
                    found = await register_store.load(connection, wanted, before_us)
                self._past = (wanted, before_us, found)
            return self._past[2]
