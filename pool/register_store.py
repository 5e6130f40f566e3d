"""The register in PostgreSQL: its log of events, read as it stands or stood, and written under one lock.

What may be written is decided by `register.clerk`; here it is stored all together or not at all. Everybody
who writes waits for the register's lock, so that events become visible in the order of their numbers and a
follower that asks for what comes after one misses none.

Sightings are counted in a table of their own by whoever sees them; the ledger makes one event of each.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.clock import unix_microseconds
from pool.database import REGISTER_LOCK
from pool.register_replica import Version
from pool.tables import miner, register_event, sighting
from register.clerk import Clerk, Terms
from register.event import FIRST, Event, verify
from register.person import Actor, Role, require_current
from register.records import KINDS, decode
from register.register import Register
from register.sighting import Seen, Sighting, SightingKind

STANDING_KINDS: Final = tuple(kind for kind in KINDS if kind != "sighting")
"""Sightings only grow in number; who wants them asks for days of them."""
_COLUMNS: Final = tuple(column.name for column in register_event.columns)
_CHUNK: Final = 5000
PORTION: Final = 200
"""Records taken in before the loop may turn."""
LOCK_SECONDS: Final = 20
"""So long a change waits for another one."""
_LOCK_NOT_AVAILABLE: Final = "55P03"
CLOCK_SECONDS: Final = 60
"""So much may the clock of who writes be ahead of PostgreSQL's."""
LEDGER: Final = Actor("ledger", Role.SYSTEM)
"""Who makes events of sightings."""


class BusyError(ValueError):
    """Another change holds the register's lock. The message is for whoever asked."""


class ClockError(ValueError):
    """A clock that cannot be right. The message says by how much."""


class Head(NamedTuple):
    """The newest event of the log."""

    seq: int
    sha256: str
    at_us: int


# Reading


async def load(
    connection: AsyncConnection, kinds: Sequence[str] = STANDING_KINDS, before_us: int | None = None
) -> Register:
    """The register of some kinds of record, now or as it stood just before an instant.

    The caller's transaction must see one moment (REPEATABLE READ), or hold the lock.
    """
    register = Register()
    newest = await head(connection, before_us)
    register.seq, register.sha256, register.at_us = newest
    async for portion in newest_versions(connection, kinds, 0, newest.seq):
        for kind, key, body in portion:
            register.put(kind, key, decode(kind, body))
    return register


async def newest_versions(
    connection: AsyncConnection, kinds: Sequence[str], after: int, upto: int
) -> AsyncIterator[list[Version]]:
    """The newest version of each record that an event behind `after`, up to `upto`, wrote.

    In portions: a hundred thousand at once would hold up all others of this loop for a second.
    """
    versions = (
        sa.select(register_event.c.kind, register_event.c.key, register_event.c.body)
        .ext(distinct_on(register_event.c.kind, register_event.c.key))
        .where(
            register_event.c.seq > after,
            register_event.c.seq <= upto,
            register_event.c.kind.in_(kinds),
        )
        .order_by(register_event.c.kind, register_event.c.key, register_event.c.seq.desc())
    )
    async for portion in (await connection.stream(versions)).partitions(PORTION):
        yield [(row.kind, row.key, row.body) for row in portion]
        await asyncio.sleep(0)


async def read(
    engine: AsyncEngine, kinds: Sequence[str] = STANDING_KINDS, before_us: int | None = None
) -> Register:
    """The same, in a transaction of its own."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            return await load(connection, kinds, before_us)


async def head(connection: AsyncConnection, before_us: int | None = None) -> Head:
    """The newest event, or the newest before an instant; number 0 when there is none."""
    newest = sa.select(register_event.c.seq, register_event.c.sha256, register_event.c.at_us)
    if before_us is not None:
        newest = newest.where(register_event.c.at_us < before_us)
    row = (await connection.execute(newest.order_by(register_event.c.seq.desc()).limit(1))).one_or_none()
    return Head(0, FIRST, 0) if row is None else Head(row.seq, row.sha256, row.at_us)


async def hash_at(connection: AsyncConnection, seq: int) -> str | None:
    """The hash of an event; None when the log does not have it."""
    if seq == 0:
        return FIRST
    found: str | None = await connection.scalar(
        sa.select(register_event.c.sha256).where(register_event.c.seq == seq)
    )
    return found


async def events(
    engine: AsyncEngine, after: int = 0, limit: int = _CHUNK, kinds: Sequence[str] | None = None
) -> list[Event]:
    """Events behind number `after`, in order."""
    async with engine.connect() as connection:
        return await read_events(connection, after, limit, kinds)


async def read_events(
    connection: AsyncConnection, after: int, limit: int, kinds: Sequence[str] | None = None
) -> list[Event]:
    """The same within a transaction."""
    wanted = sa.select(register_event).where(register_event.c.seq > after)
    if kinds is not None:
        wanted = wanted.where(register_event.c.kind.in_(kinds))
    rows = await connection.execute(wanted.order_by(register_event.c.seq).limit(limit))
    return [_event(row) for row in rows]


async def history(engine: AsyncEngine, kind: str, key: str) -> list[Event]:
    """All versions of one record, the oldest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(
            sa.select(register_event)
            .where(register_event.c.kind == kind, register_event.c.key == key)
            .order_by(register_event.c.seq)
        )
        return [_event(row) for row in rows]


async def verify_chain(engine: AsyncEngine, progress: Callable[[int], object] = lambda seq: None) -> Head:
    """Read the whole log and check every hash; its newest event. Raises ChainError at the first that lies."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            last = Head(0, FIRST, 0)
            while chunk := await read_events(connection, last.seq, _CHUNK):
                last = Head(*verify(chunk, last))
                progress(last.seq)
            return last


def _event(row: Any) -> Event:
    values = dict(row._mapping)
    return Event(**values | {"previous": values["previous"] or FIRST})


# Writing


@asynccontextmanager
async def writing(
    engine: AsyncEngine,
    terms: Terms,
    actor: Actor,
    reason: str,
    kinds: Sequence[str] = STANDING_KINDS,
    now_us: Callable[[], int] = unix_microseconds,
) -> AsyncIterator[Clerk]:
    """A clerk for one change; what it wrote is stored when the block ends without an exception.

    `kinds` must hold all that the clerk's checks look at, and `person`: an actor may have been revoked since
    it showed its token. Raises PersonError for that, ClockError, and BusyError while another change goes on.
    """
    async with engine.begin() as connection:
        await _lock(connection)
        await _require_right_clock(connection, now_us())
        register = await load(connection, kinds)
        require_current(actor, register.people)
        clerk = Clerk(register, terms, actor, reason, now_us())
        yield clerk
        await append(connection, clerk.events)


async def _lock(connection: AsyncConnection) -> None:
    await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
    try:
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(REGISTER_LOCK)))
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise BusyError("another change of the register is at work; try again") from error


async def _require_right_clock(connection: AsyncConnection, now_us: int) -> None:
    """One event of the future would hide all later ones from questions about the past."""
    theirs = await connection.scalar(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp())))
    ahead = now_us // 1_000_000 - int(theirs or 0)
    if ahead > CLOCK_SECONDS:
        raise ClockError(f"this machine's clock is {ahead} s ahead of PostgreSQL's; set it right")


async def append(connection: AsyncConnection, new: Sequence[Event]) -> None:
    """Store events; the caller holds the lock. By COPY: an import brings a hundred thousand."""
    entered = [
        {"id": int(event.key), "name": decode("miner", event.body).name}  # type: ignore[attr-defined]
        for event in new
        if event.kind == "miner" and event.action == "entered"
    ]
    if entered:
        await connection.execute(sa.insert(miner), entered)
    if new:
        raw = await connection.get_raw_connection()
        await raw.driver_connection.copy_records_to_table(  # type: ignore[union-attr]
            register_event.name, records=map(_row, new), columns=_COLUMNS
        )


def _row(event: Event) -> tuple[Any, ...]:
    values = [getattr(event, name) for name in _COLUMNS]
    if event.seq == 1:
        values[_COLUMNS.index("previous")] = None
    return tuple(values)


# Sightings


async def add_sightings(engine: AsyncEngine, seen: Sequence[Seen]) -> None:
    """Count what was seen; those of one day, kind, miner and worker add up."""
    if not seen:
        return
    rows: dict[str, dict[str, Any]] = {}
    for one in seen:
        row = rows.setdefault(one.sighting.key, _sighting_row(one) | {"count": 0})
        row["count"] += one.count
        row["last_us"] = max(row["last_us"], one.last_us)
    statement = insert(sighting)
    statement = statement.on_conflict_do_update(
        index_elements=list(sighting.primary_key),
        set_={
            "count": sighting.c.count + statement.excluded.count,
            "last_us": sa.func.greatest(sighting.c.last_us, statement.excluded.last_us),
        },
    )
    async with engine.begin() as connection:
        # A backup that was restored may not have a miner that a gateway still knows.
        known = set(await connection.scalars(sa.select(miner.c.id)))
        rows = {key: row for key, row in rows.items() if row["miner_id"] in known}
        if not rows:
            return
        # In one order, so that two who count at once do not wait for each other in a circle.
        await connection.execute(statement, [rows[key] for key in sorted(rows)])


def _sighting_row(one: Seen) -> dict[str, Any]:
    seen = one.sighting
    return {
        "day": seen.day,
        "kind": seen.kind.value,
        "miner_id": seen.miner_id,
        "worker": seen.worker,
        "first_us": seen.first_us,
        "last_us": one.last_us,
        "count": one.count,
        "detail": seen.detail,
    }


async def unrecorded_sightings(connection: AsyncConnection, limit: int) -> list[Sighting]:
    """Those that have not become an event yet, the oldest first."""
    rows = await connection.execute(
        sa.select(sighting).where(sa.not_(sighting.c.recorded)).order_by(sighting.c.first_us).limit(limit)
    )
    return [_sighting(row) for row in rows]


async def mark_recorded(connection: AsyncConnection, sightings: Iterable[Sighting]) -> None:
    """They have become events."""
    keys = [(one.day, one.kind.value, one.miner_id, one.worker) for one in sightings]
    primary = sa.tuple_(sighting.c.day, sighting.c.kind, sighting.c.miner_id, sighting.c.worker)
    for start in range(0, len(keys), 500):
        await connection.execute(
            sa.update(sighting).where(primary.in_(keys[start : start + 500])).values(recorded=True)
        )


async def record_sightings(engine: AsyncEngine, terms: Terms, limit: int = 1000) -> int:
    """Make events of sightings that have none, each once; how many. Done by the ledger."""
    async with engine.begin() as connection:
        if not await unrecorded_sightings(connection, 1):
            return 0
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(REGISTER_LOCK)))
        new = await unrecorded_sightings(connection, limit)
        register = await load(connection, ())
        clerk = Clerk(register, terms, LEDGER, "seen at work", unix_microseconds())
        for one in new:
            clerk.sight(one)
        await append(connection, clerk.events)
        await mark_recorded(connection, new)
    return len(new)


async def read_sightings(engine: AsyncEngine, first: dt.date, last: dt.date) -> list[Seen]:
    """What was seen on some days, both included."""
    async with engine.connect() as connection:
        return await sightings_of(connection, first, last)


async def sightings_of(connection: AsyncConnection, first: dt.date, last: dt.date) -> list[Seen]:
    """The same, in the caller's transaction."""
    rows = await connection.execute(
        sa.select(sighting)
        .where(sighting.c.day.between(first, last))
        .order_by(sighting.c.day, sighting.c.kind, sighting.c.miner_id, sighting.c.worker)
    )
    return [Seen(_sighting(row), row.last_us, row._mapping["count"]) for row in rows]


def _sighting(row: Any) -> Sighting:
    return Sighting(SightingKind(row.kind), row.day, row.miner_id, row.worker, row.first_us, row.detail)
