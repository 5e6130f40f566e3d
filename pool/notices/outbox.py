"""The outbox: which notices wait for which channel, in PostgreSQL, so that none is lost whatever is killed.

A channel gets what was made since it was first seen in the configuration: what is critical first, else in the
order of ids. `notice_place` holds how far that went. What could not be sent within a day is given up, and can
be tried again by a person.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.notices import store
from pool.notices.notice import SEVERITIES, Message
from pool.notices.section import ChannelSection
from pool.notices.words import told
from pool.tables_notices import notice, notice_delivery, notice_place
from register.miner import Language

DAY_US: Final = 86_400_000_000
_ERROR_LIMIT: Final = 500
_TROUBLES: Final = ("channel_failed", "notice_refused")
_WAITS: Final = notice_delivery.c.state == sa.literal_column("'waiting'")
"""Written out: a prepared statement that asks for any state cannot use the index of what waits."""


class Head(NamedTuple):
    """The delivery that is next."""

    notice_id: int
    created_us: int
    attempts: int
    message: Message


class Waiting(NamedTuple):
    """How a channel stands."""

    waiting: int
    oldest_us: int | None


def place_of(channel: str) -> str:
    """The source by which a channel's place is kept."""
    return f"channel:{channel}"


async def welcome(connection: AsyncConnection, names: Collection[str]) -> None:
    """A channel that is new gets what is made from now on."""
    newest = await connection.scalar(sa.select(sa.func.max(notice.c.id))) or 0
    for name in names:
        if await store.reached(connection, place_of(name)) is None:
            await store.reach(connection, place_of(name), newest)


async def hand_out(connection: AsyncConnection, channel: ChannelSection, now_us: int) -> None:
    """What was made since goes into the channel's box; what is older than a day does not."""
    reached = await store.reached(connection, place_of(channel.name)) or 0
    newest = await connection.scalar(sa.select(sa.func.max(notice.c.id))) or 0
    if newest <= reached:
        return
    heavy = SEVERITIES[SEVERITIES.index(channel.min_severity) :]
    wanted = sa.select(notice.c.id, sa.literal(channel.name), sa.literal(now_us)).where(
        notice.c.id > reached,
        notice.c.id <= newest,
        notice.c.made_us > now_us - DAY_US,
        notice.c.audience != "miner",
        notice.c.kind.in_(sorted(channel.kinds)),
        notice.c.severity.in_(heavy),
        # That a channel does not work is told by the others.
        sa.or_(notice.c.event.not_in(_TROUBLES), notice.c.data["channel"].astext != channel.name),
    )
    row = insert(notice_delivery).from_select(["notice_id", "channel", "created_us"], wanted)
    await connection.execute(row.on_conflict_do_nothing())
    await store.reach(connection, place_of(channel.name), newest)


async def head(connection: AsyncConnection, channel: str, language: Language) -> Head | None:
    """What waits for a channel: the oldest critical notice, else the oldest; in its language."""
    delivery = notice_delivery.c
    wanted = (
        sa.select(notice, delivery.notice_id, delivery.created_us, delivery.attempts)
        .join(notice, notice.c.id == delivery.notice_id)
        .where(delivery.channel == channel, _WAITS)
        .order_by(notice.c.severity != "critical", delivery.notice_id)
        .limit(1)
    )
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        return None
    subject, text = told(row.event, row.data, language, (row.subject, row.text))
    message = Message(
        key=row.key,
        at_us=row.at_us,
        kind=row.kind,
        event=row.event,
        severity=row.severity,
        data=row.data,
        subject=subject,
        text=text,
    )
    return Head(row.notice_id, row.created_us, row.attempts, message)


async def sent(connection: AsyncConnection, channel: str, notice_id: int, now_us: int) -> None:
    """The channel has it."""
    await _tried(connection, channel, notice_id, now_us, state="sent", error="")


async def failed(
    connection: AsyncConnection, channel: str, notice_id: int, now_us: int, error: str, *, over: bool
) -> int:
    """It was not taken; `over`: and will not be. How many deliveries were given up for their age."""
    state = "given_up" if over else "waiting"
    await _tried(connection, channel, notice_id, now_us, state=state, error=error[:_ERROR_LIMIT])
    delivery = notice_delivery.c
    old = (
        sa.update(notice_delivery)
        .where(delivery.channel == channel, _WAITS, delivery.created_us <= now_us - DAY_US)
        .values(state="given_up", error=error[:_ERROR_LIMIT])
        .returning(delivery.notice_id)
    )
    return len((await connection.execute(old)).all())


async def _tried(
    connection: AsyncConnection, channel: str, notice_id: int, now_us: int, *, state: str, error: str
) -> None:
    delivery = notice_delivery.c
    await connection.execute(
        sa.update(notice_delivery)
        .where(delivery.notice_id == notice_id, delivery.channel == channel, delivery.state != "sent")
        .values(state=state, attempts=delivery.attempts + 1, tried_us=now_us, error=error)
    )


async def retry(connection: AsyncConnection, now_us: int, channel: str | None) -> int:
    """What was given up waits again, with a day of its own; how many. A courier that rests is woken."""
    delivery = notice_delivery.c
    wanted = sa.update(notice_delivery).where(delivery.state == "given_up")
    if channel is not None:
        wanted = wanted.where(delivery.channel == channel)
    again = wanted.values(state="waiting", created_us=now_us, attempts=0).returning(delivery.notice_id)
    revived = len((await connection.execute(again)).all())
    waits = sa.select(delivery.channel).where(_WAITS).distinct()
    if channel is not None:
        waits = waits.where(delivery.channel == channel)
    for name in (await connection.scalars(waits)).all():
        asked = insert(notice_place).values(source=_asked_of(name), reached=1)
        once_more = {"reached": notice_place.c.reached + 1}
        await connection.execute(asked.on_conflict_do_update(index_elements=["source"], set_=once_more))
    return revived


async def asked(connection: AsyncConnection, channel: str) -> int:
    """How often a person asked for a channel to be tried again."""
    return await store.reached(connection, _asked_of(channel)) or 0


def _asked_of(channel: str) -> str:
    return f"retry:{channel}"


async def waiting(connection: AsyncConnection, channels: Sequence[str]) -> dict[str, Waiting]:
    """How each channel stands."""
    delivery = notice_delivery.c
    rows = await connection.execute(
        sa.select(delivery.channel, sa.func.count(), sa.func.min(delivery.created_us))
        .where(_WAITS)
        .group_by(delivery.channel)
    )
    found = {name: Waiting(count, oldest_us) for name, count, oldest_us in rows}
    return {name: found.get(name, Waiting(0, None)) for name in channels}
