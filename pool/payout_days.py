"""For which day a payment of a payout counts (Q-07), and which payouts stand in the chain (O-32).

Both the distributions that forms and reports tell and the mandatory sale go by this: what one of them counts,
and for which day, the other does as well. A payout stands where the newest block that had it is in the chain;
one that was taken back does not, until another block has it.

Reads only.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.payout_plan import dated_by_credit, distribution_day
from pool.payout_facts import credited_days
from pool.tables import payout, payout_event
from register.fields import FIRST_DAY
from register.rules import Rules

_STATES: Final = ("confirmed", "final")


def standing() -> sa.Select[Any]:
    """Every payout that stands: the event by which the block that has it was heard of, by payout."""
    return (
        sa.select(payout_event)
        .ext(distinct_on(payout_event.c.payout_id))
        .join(payout, payout.c.id == payout_event.c.payout_id)
        .where(payout.c.state.in_(_STATES), payout_event.c.block_hash.is_not(None))
        .order_by(payout_event.c.payout_id, payout_event.c.id.desc())
    )


def since_us(rules: Rules, first: dt.date) -> int:
    """From when on a block may have what counts for a day or a later one.

    A reward may be credited, by our clock, on the day after that of the block that pays it, by the block's.
    """
    return rules.day_bounds(max(first - dt.timedelta(days=1), FIRST_DAY))[0]


class PaymentDays:
    """For which day a payment counts; when the rewards of a payout were credited is asked for once."""

    def __init__(self, connection: AsyncConnection, rules: Rules) -> None:
        self._connection = connection
        self._rules = rules
        self._known: dict[int, dict[int, dt.date]] = {}

    def may_count(self, block_time_us: int, last: dt.date, first: dt.date = dt.date.min) -> bool:
        """Whether anything in a block of that time may count for a day from `first` to `last`."""
        transferred_on = self._rules.day_of(block_time_us)
        return first <= transferred_on <= last or dated_by_credit(self._rules, transferred_on)

    async def of(self, payout_id: int, block_time_us: int, miner_id: int) -> dt.date:
        """The day of a miner's part of a payout in a block of that time."""
        transferred_on = self._rules.day_of(block_time_us)
        credited = await self._credited(payout_id) if dated_by_credit(self._rules, transferred_on) else {}
        return distribution_day(self._rules, block_time_us, credited.get(miner_id, transferred_on))

    async def _credited(self, payout_id: int) -> dict[int, dt.date]:
        if payout_id not in self._known:
            self._known[payout_id] = await credited_days(self._connection, payout_id)
        return self._known[payout_id]
