"""What the transparency log tells of the regulator's door: the newest hash of its chain of access events.

One leaf a day at most, and only when somebody came. So the pool cannot take a coming, or a change of who may
come, out of the chain later: the log has its hash, and witnesses have the log.
"""

from __future__ import annotations

import datetime as dt
import json

from sqlalchemy.ext.asyncio import AsyncConnection

from pool import door_chain, log_store
from register.rules import Rules


async def access_leaf(connection: AsyncConnection, rules: Rules, day: dt.date, at_us: int) -> int | None:
    """Tell the chain as a day left it, unless nothing came since it was told; the leaf's index.

    `events` counts all events until the day's end, `head_sha256` is the hash of the newest.
    """
    await log_store.lock(connection)
    head = await door_chain.head(connection, rules.day_bounds(day)[1])
    told = await log_store.newest_of(connection, "access")
    if head.seq == 0 or (told is not None and json.loads(told)["events"] >= head.seq):
        return None
    body = {"day": day.isoformat(), "events": head.seq, "head_sha256": head.sha256}
    return await log_store.append(connection, "access", body, at_us)
