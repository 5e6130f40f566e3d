"""PostgreSQL: the engine from a URL, the schema brought up to date, what its errors mean, its lock keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

import pool.tables_daily
import pool.tables_door
import pool.tables_income
import pool.tables_log
import pool.tables_notices
import pool.tables_report_keys
import pool.tables_sale  # noqa: F401 - their tables are part of the schema

CONNECT_SECONDS = 5.0
MIGRATIONS = Path(__file__).resolve().parent / "migrations" / "versions"
MIGRATION_LOCK = 0x646D706F_00000001
"""Advisory lock keys of this program begin with "dmpo"; this one is held while the schema changes."""
LEDGER_LOCK = 0x646D706F_00000002
"""Held by the one active ledger, for as long as its connection lives."""
REGISTER_LOCK = 0x646D706F_00000003
"""Held while the register is written, so that its ids become visible in order."""
GATEWAY_LOCK = 0x646D706F_00000004
"""Held while a gateway is given its number."""
JOURNAL_LOCK = 0x646D706F_00000006
"""Held until its transaction ends by whoever writes the journal."""
AUDIT_LOCK = 0x646D706F_0000000A
"""Held while an audit runs: one at a time."""
DOOR_LOCK = 0x646D706F_0000000B
"""Held by whoever adds an access event, so that its chain does not fork."""
NOTICE_LOCK = 0x646D706F_0000000C
"""Held while notices are added, so that their ids become visible in order."""
SETTLEMENT_LOCK = 0x646D706F_00000005
"""Held by whoever acts as the settler, on the connection that it writes on."""


_KEEPALIVES = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""The server drops a client that vanished within half a minute, and its locks with it."""
UNAVAILABLE: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    sa.exc.SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.TargetServerAttributeNotMatched,  # of several servers none can be written to, in a failover
)
"""What a lost or starting database may raise; asyncpg's own errors come through while connecting."""
_REFUSING_CLASSES = ("22", "23", "42")  # bad data, a violated rule, a schema that is not ours


def reason_of(error: Exception) -> str:
    """What a database error says in one line, for a log or a message."""
    return str(error).split("\n", 1)[0] or type(error).__name__


class DatabaseError(Exception):
    """The database cannot be used. The message says what is wrong and what to do."""


def refused(error: Exception) -> bool:
    """Whether the database is there and will say no again, so that trying once more is of no use."""
    if isinstance(error, asyncpg.PostgresError):  # a COPY speaks past SQLAlchemy
        return (error.sqlstate or "")[:2] in _REFUSING_CLASSES
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    return state[:2] in _REFUSING_CLASSES or isinstance(getattr(error.orig, "__cause__", None), ValueError)


def create_engine(url: str, *, pool_size: int = 5) -> AsyncEngine:
    """An engine for `postgresql://user:password@host/name`, or `postgresql://user@/name?host=/socket/dir`.

    Nothing is connected yet. `sslmode` is understood as libpq has it. Raises DatabaseError for another URL.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise DatabaseError(
            "database url: cannot be read; write postgresql://user:password@host/name"
        ) from None
    if parsed.drivername not in ("postgresql", "postgresql+asyncpg"):
        raise DatabaseError(f"database url: {parsed.drivername!r} is not served; write postgresql://...")
    arguments: dict[str, Any] = {
        "timeout": CONNECT_SECONDS,
        "server_settings": {"application_name": "dmpool", "timezone": "UTC", **_KEEPALIVES},
    }
    if "sslmode" in parsed.query:
        arguments["ssl"] = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"])
    return create_async_engine(
        parsed.set(drivername="postgresql+asyncpg"),
        connect_args=arguments,
        pool_size=pool_size,
        pool_pre_ping=True,
    )


async def settled(engine: AsyncEngine, *locks: int) -> None:
    """Wait for those who write under some locks: what they dated before now can then be read.

    Register and journal are dated and stored under theirs. One lock at a time, so that nobody can wait for us
    in a circle.
    """
    for lock in locks:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(lock)))


async def migrate(engine: AsyncEngine) -> None:
    """Bring the schema up to this program's version, in one transaction and under a lock.

    Processes that start at once wait for the first. Raises DatabaseError when a newer program made it.
    """
    async with engine.begin() as connection:
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        if await _revision(connection) != newest_revision():
            from pool.schema import upgrade  # noqa: PLC0415 - Alembic is large, and seldom has anything to do

            await connection.run_sync(upgrade)


async def _revision(connection: AsyncConnection) -> str | None:
    """Of the schema that is there; None where there is none."""
    if await connection.scalar(sa.select(sa.func.to_regclass("alembic_version"))) is None:
        return None
    return str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))


def newest_revision() -> str:
    """The revision that this program wants: the last of its migrations, whose files begin with their own."""
    return max(file.name for file in MIGRATIONS.glob("[0-9]*_*.py")).partition("_")[0]
