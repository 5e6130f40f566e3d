"""Who looks, again and again: keeps the connections that the looks are made over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import Settings
from pool.control import ControlError
from pool.database import DatabaseError
from pool.reading import DatabaseAway
from pool.terminal.books import engine_of, read_books
from pool.terminal.reading import ASK_SECONDS, Books, Front, Reading, Target, read_front, read_target


@dataclass
class Looker:
    """Looks at targets, and with a configuration also at this machine's gateway and at PostgreSQL."""

    targets: Sequence[Target]
    settings: Settings | None
    http: aiohttp.ClientSession
    engine: AsyncEngine | None = None

    async def look(self) -> Reading:
        """One look; never raises for what does not answer."""
        told, (front, no_front), (books, no_books) = await asyncio.gather(
            asyncio.gather(*(read_target(self.http, target) for target in self.targets)),
            self._front(),
            self._books(),
        )
        unseen = tuple(one for one in (no_front, no_books) if one)
        return Reading(time.time(), told, front, books, unseen)

    async def _front(self) -> tuple[Front | None, str]:
        if self.settings is None:
            return None, "bans and drain: no --config names a data_dir on this machine"
        try:
            return await read_front(self.settings.data_dir), ""
        except ControlError as error:
            return None, f"bans and drain: {error}"
        except TimeoutError:
            return None, f"bans and drain: the control socket does not answer within {ASK_SECONDS:g} s"

    async def _books(self) -> tuple[Books | None, str]:
        if self.settings is None:
            return None, "newest blocks: no --config names PostgreSQL"
        try:
            if self.engine is None:
                self.engine = engine_of(self.settings)
            return await read_books(self.engine), ""
        except DatabaseError as error:
            return None, f"newest blocks: {error}"
        except DatabaseAway as error:
            await self.forget_engine()  # an embedded server may come back at another place
            return None, f"newest blocks: {error}"

    async def forget_engine(self) -> None:
        """Let go of PostgreSQL."""
        if self.engine is not None:
            await self.engine.dispose()
        self.engine = None


@asynccontextmanager
async def looking(targets: Sequence[Target], settings: Settings | None) -> AsyncIterator[Looker]:
    """A looker whose connections end with it."""
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
        looker = Looker(targets, settings, http)
        try:
            yield looker
        finally:
            await looker.forget_engine()
