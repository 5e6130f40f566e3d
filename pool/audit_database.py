"""A database of an audit's own, on the same server as the pool's, that is gone when the audit ends.

Whoever audits holds a lock: so it knows that any other database of that name was left behind by an audit that
was killed, and drops it first.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.audit_sources import AuditError
from pool.database import AUDIT_LOCK, create_engine, migrate, reason_of

PREFIX: Final = "dmpool_audit_"
"""Behind it stands which database is audited: another pool on this server has a lock of its own."""


@asynccontextmanager
async def separate_database(live: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """An engine on a fresh database with our schema; raises AuditError when there can be none now."""
    async with live.connect() as lock:
        if not await lock.scalar(sa.select(sa.func.pg_try_advisory_lock(AUDIT_LOCK))):
            raise AuditError("another audit is at work on this server; wait until it is done")
        await lock.commit()
        try:
            async with _made(live) as engine:
                yield engine
        finally:
            await lock.invalidate()  # closing the connection gives back the lock


@asynccontextmanager
async def _made(live: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    ours = f"{PREFIX}{hashlib.sha256(str(live.url.database).encode()).hexdigest()[:8]}_"
    name = f"{ours}{secrets.token_hex(4)}"
    try:
        for left in await _administer(live, "SELECT datname FROM pg_database"):
            if left.startswith(ours):
                await _administer(live, f'DROP DATABASE IF EXISTS "{left}" WITH (FORCE)')
        # Nothing that is in it has to outlive a power cut.
        await _administer(
            live, f'CREATE DATABASE "{name}"', f'ALTER DATABASE "{name}" SET synchronous_commit = off'
        )
    except sa.exc.DBAPIError as error:
        raise AuditError(
            f"a database for the audit cannot be made: {reason_of(error)}; the pool's user of PostgreSQL "
            f"needs the right to: ALTER ROLE ... CREATEDB"
        ) from error
    url = live.url.set(database=name, drivername="postgresql")
    engine = create_engine(url.render_as_string(hide_password=False))
    try:
        await migrate(engine)
        yield engine
    finally:
        await engine.dispose()
        await _administer(live, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _administer(live: AsyncEngine, *statements: str) -> list[Any]:
    """Statements that want no transaction; the first column of what the last one answers."""
    found: list[Any] = []
    async with live.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            result = await connection.execute(sa.text(statement))
            found = list(result.scalars()) if result.returns_rows else []
    return found
