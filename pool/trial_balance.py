"""The trial balance: every account on its side, and the sides equal; counted from the postings themselves.

The balances that the database keeps for each day are compared with it, so that a difference between what was
booked and what is told shows here before anybody is paid by it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import journal_store
from pool.tables import journal_entry, journal_posting


class Side(NamedTuple):
    """An account's balance in satoshis, on its one side."""

    account: str
    debit: int
    credit: int


class Differs(NamedTuple):
    """An account of which the kept balance is not the sum of its postings, as booked."""

    account: str
    kept: int
    posted: int


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts that are not zero, by name."""

    sides: Sequence[Side]
    differing: Sequence[Differs]

    @property
    def debit(self) -> int:
        """The sum of all debit balances."""
        return sum(one.debit for one in self.sides)

    @property
    def credit(self) -> int:
        """The sum of all credit balances."""
        return sum(one.credit for one in self.sides)

    @property
    def holds(self) -> bool:
        """Whether the sides are equal and every kept balance is that of the postings."""
        return self.debit == self.credit and not self.differing


async def read(connection: AsyncConnection, day: dt.date) -> TrialBalance:
    """The trial balance at the end of a day in Kazakhstan."""
    rows = await connection.execute(
        sa.select(journal_posting.c.account, sa.func.sum(journal_posting.c.amount).label("posted"))
        .join(journal_entry, journal_entry.c.id == journal_posting.c.entry_id)
        .where(journal_entry.c.day <= day)
        .group_by(journal_posting.c.account)
    )
    posted = {row.account: int(row.posted) for row in rows}
    return made_of(posted, await journal_store.balances_until(connection, day))


def made_of(posted: Mapping[str, int], kept: Mapping[str, int]) -> TrialBalance:
    """The trial balance of booked balances, from the postings and as they are kept."""
    accounts = sorted({*posted, *kept})
    return TrialBalance(
        [Side(one, max(posted[one], 0), max(-posted[one], 0)) for one in accounts if posted.get(one, 0)],
        [
            Differs(one, kept.get(one, 0), posted.get(one, 0))
            for one in accounts
            if kept.get(one, 0) != posted.get(one, 0)
        ],
    )
