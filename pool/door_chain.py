"""The chain of access events in PostgreSQL: who came through the regulator's door, and who was let in.

It only grows, and each event carries the hash of the one before (`register.event`, regulation.md 2.3):
whoever keeps one hash can tell later that nothing older has changed. Changes of regulators and tokens stand
in the same chain; the book of them is read from it.

Everybody who adds an event waits for the others, so that events become visible in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.database import DOOR_LOCK
from pool.door_regulators import Book
from pool.tables_door import regulator_access_event
from register.event import FIRST, Event, canonical, sealed, verify

CHANGES: Final = ("regulator", "token")
_IS_CHANGE: Final = sa.text("kind IN ('regulator', 'token')")
"""In the words of the partial index, which parameters would hide from the planner."""
_CHUNK: Final = 5000
_COLUMN: Final = regulator_access_event.c


class Passage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an event tells of one request, answered or refused."""

    path: str
    status: int
    address: str
    token: str = ""
    """Its id."""
    given: str = ""
    """Which document went out, in words."""
    sha256: str = ""
    """Of that document."""
    part: str = ""
    """The bytes of it, where not all were asked for."""
    unrecorded: int = 0
    """So many more refusals came since the event before, of which none is told one by one."""


class Head(NamedTuple):
    """The newest event."""

    seq: int
    sha256: str
    at_us: int


class Told(NamedTuple):
    """What is to be added; number, time and hashes follow."""

    actor: str
    role: str
    reason: str
    kind: str
    key: str
    action: str
    body: msgspec.Struct


async def lock(connection: AsyncConnection) -> None:
    """Have all others who would add an event wait until this transaction ends; `append` does it too."""
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(DOOR_LOCK)))


async def append(connection: AsyncConnection, told: Told, now_us: int) -> Event:
    """Add one event within the caller's transaction. Its time is later than that of the one before."""
    await lock(connection)
    before = await head(connection)
    event = sealed(
        Event(
            seq=before.seq + 1,
            at_us=max(now_us, before.at_us + 1),
            actor=told.actor,
            role=told.role,
            reason=told.reason,
            kind=told.kind,
            key=told.key,
            action=told.action,
            body=canonical(told.body),
            previous=before.sha256,
            sha256="",
        )
    )
    values = msgspec.structs.asdict(event) | {"previous": before.sha256 if before.seq else None}
    await connection.execute(sa.insert(regulator_access_event).values(values))
    return event


async def head(connection: AsyncConnection, before_us: int | None = None) -> Head:
    """The newest event, or the newest before an instant; number 0 when there is none."""
    last = sa.select(sa.func.max(_COLUMN.at_us))
    if before_us is not None:
        last = last.where(_COLUMN.at_us < before_us)
    columns = (_COLUMN.seq, _COLUMN.sha256, _COLUMN.at_us)
    newest = sa.select(*columns).where(_COLUMN.at_us == last.scalar_subquery())
    row = (await connection.execute(newest)).one_or_none()
    return Head(0, FIRST, 0) if row is None else Head(row.seq, row.sha256, row.at_us)


async def newest_change(connection: AsyncConnection) -> int:
    """The number of the newest change of regulators or tokens; 0 when there is none."""
    newest = sa.select(sa.func.max(_COLUMN.seq)).where(_IS_CHANGE)
    return int(await connection.scalar(newest) or 0)


async def read_book(connection: AsyncConnection) -> Book:
    """All regulators and tokens."""
    wanted = sa.select(regulator_access_event).where(_IS_CHANGE).order_by(_COLUMN.seq)
    return Book(_event(row) for row in await connection.execute(wanted))


async def newest_of(
    connection: AsyncConnection, regulator: str | None, limit: int, before: int | None = None
) -> list[Event]:
    """Events, the newest first; the comings of one regulator where one is named; below number `before`."""
    wanted = sa.select(regulator_access_event).order_by(_COLUMN.seq.desc()).limit(limit)
    if regulator is not None:
        wanted = wanted.where(_COLUMN.actor == regulator, _COLUMN.kind.not_in(CHANGES))
    if before is not None:
        wanted = wanted.where(_COLUMN.seq < before)
    return [_event(row) for row in await connection.execute(wanted)]


async def hash_at(connection: AsyncConnection, seq: int) -> str | None:
    """The hash of an event; None when the chain does not have it."""
    if seq == 0:
        return FIRST
    found: str | None = await connection.scalar(sa.select(_COLUMN.sha256).where(_COLUMN.seq == seq))
    return found


async def verify_chain(engine: AsyncEngine, progress: Callable[[int], object] = lambda seq: None) -> Head:
    """Read the whole chain and check every hash; its newest event. Raises ChainError at one that lies."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with connection.begin():
            last = Head(0, FIRST, 0)
            while chunk := await _after(connection, last.seq):
                last = Head(*verify(chunk, last, "access event"))
                progress(last.seq)
            return last


async def _after(connection: AsyncConnection, seq: int) -> list[Event]:
    wanted = sa.select(regulator_access_event).where(_COLUMN.seq > seq).order_by(_COLUMN.seq).limit(_CHUNK)
    return [_event(row) for row in await connection.execute(wanted)]


def _event(row: Any) -> Event:
    values = dict(row._mapping)
    return Event(**values | {"previous": values["previous"] or FIRST})
