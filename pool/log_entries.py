"""What the log tells beside reports: a change of the rules of law, and the register at the end of each day.

Each is one leaf, and only when there is something new: who calls again adds nothing.
"""

from __future__ import annotations

import datetime as dt
import json

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import log_store
from pool.tables import register_event
from register.event import FIRST
from register.rules import Rules
from reporting.merkle import Tree, leaf_hash


async def rules_leaf(connection: AsyncConnection, rules: Rules, at_us: int) -> int | None:
    """Tell which rules are in use, when they are other ones than were told last; the leaf's index.

    `sha256` is that of their file as it was when they were read, `first_day` the day in Kazakhstan, by these
    rules, on which they were first seen in use.
    """
    await log_store.lock(connection)
    told = await log_store.newest_of(connection, "rules")
    if told is not None and json.loads(told)["sha256"] == rules.sha256:
        return None
    body = {"sha256": rules.sha256, "first_day": rules.day_of(at_us).isoformat()}
    return await log_store.append(connection, "rules", body, at_us)


async def register_leaves(connection: AsyncConnection, rules: Rules, upto: dt.date, at_us: int) -> None:
    """Tell the register of each day until `upto` that was not told: nobody may have been there to do it."""
    await log_store.lock(connection)
    told = await log_store.newest_of(connection, "register")
    day = upto if told is None else dt.date.fromisoformat(json.loads(told)["day"]) + dt.timedelta(days=1)
    while day <= upto:
        await register_leaf(connection, rules, day, at_us)
        day += dt.timedelta(days=1)


async def register_leaf(connection: AsyncConnection, rules: Rules, day: dt.date, at_us: int) -> int | None:
    """Tell the register as a day left it, unless that day or a later one was told; the leaf's index.

    `events` counts all events until the day's end, `head_sha256` is the hash of the newest, `root` that of
    the RFC 9162 tree whose leaves are the 32 bytes of each event's hash. Raises ValueError for a day that is
    not over.
    """
    end_us = rules.day_bounds(day)[1]
    if at_us < end_us:
        raise ValueError(f"the register of {day} cannot be told before that day is over")
    await log_store.lock(connection)
    told = await log_store.newest_of(connection, "register")
    if told is not None and json.loads(told)["day"] >= day.isoformat():
        return None
    hashes = await _hashes_until(connection, end_us)
    body = {
        "day": day.isoformat(),
        "events": len(hashes),
        "head_sha256": hashes[-1] if hashes else FIRST,
        "root": register_root(hashes).hex(),
    }
    return await log_store.append(connection, "register", body, at_us)


def register_root(hashes: list[str]) -> bytes:
    """The root over events of the register, given by their hashes in hex, the oldest first."""
    return Tree(leaf_hash(bytes.fromhex(one)) for one in hashes).root()


async def _hashes_until(connection: AsyncConnection, end_us: int) -> list[str]:
    return list(
        await connection.scalars(
            sa.select(register_event.c.sha256)
            .where(register_event.c.at_us < end_us)
            .order_by(register_event.c.seq)
        )
    )
