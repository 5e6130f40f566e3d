"""Which worker names had accepted shares on a day: kept by the ledger, for the daily report.

A pool's ledger keeps work by miner, since splits ask for no more. That a hardware unit worked on a day is
written once, by the batch that brings its first share of that day; what was written is remembered, so that
a batch of thousands of workers costs a look at a set each. Nothing is remembered that is not committed: a
ledger that starts, or becomes the active one again, writes names a second time, and whoever reads takes
each name once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.slices import Slice
from pool.tables_daily import worker_seen

DAYS_KEPT: Final = 4
"""Days whose names are remembered, those that came last: today, and what gateways that were cut off bring."""

Key = tuple[dt.date, int]
"""Day and miner."""
Names = Mapping[Key, Sequence[str]]


class WorkersSeen:
    """What the ledger of this process has written."""

    def __init__(self) -> None:
        self._known: dict[dt.date, dict[int, set[str]]] = {}

    def fresh(self, slices: Iterable[Slice]) -> Names:
        """The names in slices of workers that are not known to be written."""
        found: dict[Key, dict[str, None]] = {}
        last: dt.date | None = None
        for one in slices:
            known = self._known.get(one.day)
            if known is not None and one.day != last:
                self._known[one.day] = self._known.pop(one.day)
            last = one.day
            if known is None or one.worker not in known.get(one.miner_id, ()):
                found.setdefault((one.day, one.miner_id), {})[one.worker] = None
        return {key: list(names) for key, names in found.items()}

    def written(self, fresh: Names) -> None:
        """The transaction that wrote these was committed."""
        for (day, miner_id), names in fresh.items():
            self._known.setdefault(day, {}).setdefault(miner_id, set()).update(names)
        for day in list(self._known)[:-DAYS_KEPT]:
            del self._known[day]

    def forget(self) -> None:
        """Another ledger may have written since, or the database be another one."""
        self._known.clear()


async def write(connection: AsyncConnection, batch_position: int, fresh: Names) -> None:
    """Store names that a batch brought, within the transaction that takes it."""
    if fresh:
        await connection.execute(
            sa.insert(worker_seen),
            [
                {"batch_position": batch_position, "miner_id": miner_id, "day": day, "workers": list(names)}
                for (day, miner_id), names in fresh.items()
            ],
        )
