"""How the web role reads PostgreSQL: one read-only snapshot at a time, bounded in time.

All that a page shows together comes from one snapshot, so its numbers agree. A database that is away, too
slow or of another schema becomes one exception with a sentence that a stranger may read; what the driver
said, with its addresses and names, goes to the log alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.database import UNAVAILABLE, refused

log = structlog.get_logger(__name__)

READ_SECONDS = 10.0
AWAY = "The database does not answer."
REFUSED = "The database is there but refuses what this program asks: its schema may be of another version."


class DatabaseAway(Exception):
    """The database cannot be read now. The message is for whoever asked."""


@asynccontextmanager
async def asking(seconds: float = READ_SECONDS) -> AsyncIterator[None]:
    """What is asked of PostgreSQL inside ends in time; raises DatabaseAway."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except UNAVAILABLE as error:
        log.debug("database_unread", kind=type(error).__name__, reason=str(error))
        raise DatabaseAway(REFUSED if refused(error) else AWAY) from error


@asynccontextmanager
async def reading(engine: AsyncEngine, seconds: float = READ_SECONDS) -> AsyncIterator[AsyncConnection]:
    """A connection in a read-only transaction that sees one moment; raises DatabaseAway."""
    async with asking(seconds), engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with connection.begin():
            yield connection


async def keep_reading(
    read: Callable[[], Awaitable[None]], seconds: float, what: str, done: Callable[[], object] = lambda: None
) -> None:
    """Read now and then until cancelled, and call `done` after each time; what was read last stays else."""
    failing = False
    while True:
        try:
            await read()
        except DatabaseAway as error:
            if not failing:
                log.warning("metrics_unread", part=what, reason=str(error))
            failing = True
        else:
            if failing:
                log.info("metrics_read_again", part=what)
            failing = False
            done()
        await asyncio.sleep(seconds)
