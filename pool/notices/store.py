"""The notices in PostgreSQL: each is there once, by its key, and never changes.

Several processes add to them (the ledger, web roles that take alarms). Ids are given under one lock, so that
they become visible in order and whoever reads on from an id misses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.database import NOTICE_LOCK
from pool.notices.notice import Draft, Notice
from pool.notices.words import subject_of, text_of, told
from pool.tables_notices import notice, notice_place
from register.miner import Language

_TEXT_LIMIT: Final = 2000
"""Letters; below what the table takes, in any alphabet."""
_OPERATOR: Final[sa.ColumnClause[str]] = sa.literal_column("'operator'")
"""Written out: a prepared statement that asks for any audience cannot use the index of miners."""


async def for_miner(
    connection: AsyncConnection, miner_id: int, limit: int, language: Language = "en"
) -> tuple[Notice, ...]:
    """The newest notices of a miner, the newest first, in the language that it reads."""
    wanted = (
        sa.select(notice)
        .where(notice.c.miner_id == miner_id, notice.c.audience != _OPERATOR)
        .order_by(notice.c.id.desc())
        .limit(limit)
    )
    return tuple(
        Notice(
            row.at_us,
            row.kind,
            row.severity,
            *told(row.event, row.data, language, (row.subject, row.text)),
        )
        for row in await connection.execute(wanted)
    )


async def add(connection: AsyncConnection, drafts: Sequence[Draft], now_us: int) -> int:
    """Keep those that are not there yet, in their order, inside the caller's transaction; how many."""
    if not drafts:
        return 0
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(NOTICE_LOCK)))
    # One array: a payout to all miners, many times, has more keys than a statement takes values.
    keys = sa.bindparam("keys", [one.key for one in drafts], ARRAY(sa.Text))
    known = sa.select(notice.c.key).where(notice.c.key == sa.func.any(keys))
    there = set(await connection.scalars(known))
    new: dict[str, Draft] = {}
    for one in drafts:
        if one.key not in there:
            new.setdefault(one.key, one)
    for one in new.values():
        row = insert(notice).values(**_row(one, now_us)).on_conflict_do_nothing(index_elements=["key"])
        await connection.execute(row)
    return len(new)


def _row(draft: Draft, now_us: int) -> dict[str, Any]:
    return {
        "at_us": draft.at_us,
        "made_us": now_us,
        "kind": draft.kind,
        "event": draft.event,
        "severity": draft.severity,
        "audience": draft.audience,
        "key": draft.key,
        "subject": subject_of(draft.event, draft.data)[:_TEXT_LIMIT],
        "text": text_of(draft.event, draft.data)[:_TEXT_LIMIT],
        "miner_id": draft.miner_id,
        "data": dict(draft.data),
    }


async def reached(connection: AsyncConnection, source: str) -> int | None:
    """How far a source was read; None for one that was never looked at."""
    return await connection.scalar(sa.select(notice_place.c.reached).where(notice_place.c.source == source))


async def reach(connection: AsyncConnection, source: str, place: int) -> None:
    """A source was read as far as `place`, inside the caller's transaction; it never goes back."""
    row = insert(notice_place).values(source=source, reached=place)
    further = sa.func.greatest(notice_place.c.reached, place)
    await connection.execute(row.on_conflict_do_update(index_elements=["source"], set_={"reached": further}))
