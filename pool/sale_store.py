"""The facts of the mandatory sale as PostgreSQL has them, in the shape that `reporting.sale` works on.

Reads only; the caller's transaction must see one moment (REPEATABLE READ). Sales are those that stood in the
book when the day ended, so that a report of that day never changes by what is said later. Distributions are
those that stand in the snapshot and count for days up to it, dated as in forms (`pool.payout_days`); names
are not asked for here, so a year of them is one small query.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import sale_book
from pool.payout_days import PaymentDays, since_us, standing
from pool.tables import payment, payout_event
from pool.tables_sale import sale_confirmation
from register.rules import Rules
from reporting.sale import Got, SaleFacts
from reporting.sale_period import period_before, period_of

_MOVES: Final = ("confirmed", "sent")
"""Of payouts: into the chain, and out of it again."""
_CHUNK: Final = 5000
_EXCHANGE: Final = sa.case((payment.c.purpose == "exchange_deposit", payment.c.exchange), else_="").label(
    "exchange"
)
"""Whose deposit address a payment went to; empty for a wallet."""


async def sale_facts(
    connection: AsyncConnection, rules: Rules, day: dt.date, since: dt.date | None = None
) -> SaleFacts:
    """What a day's report wants: the period that runs, the one before, and what else was heard of that day.

    With `since`, all from that day on as well.
    """
    running = period_of(rules, day)
    if running is None:
        return SaleFacts(day, day, (), (), {}, {}, frozenset())
    start_us, end_us = rules.day_bounds(day)
    moved = await _moved_sales(connection, start_us, end_us)
    moved |= await _moved_payouts(connection, rules, start_us, end_us)
    touched = (period_of(rules, on) for _, on in moved)
    begins = (period_before(rules, running) or running).first
    first = min([begins, since or begins, *(one.first for one in touched if one is not None)])
    got, got_before = await _distributed(connection, rules, first, day)
    return SaleFacts(
        since=first,
        day=day,
        got=got,
        said=await sale_book.read(connection, *sale_book.sold(first), before_us=end_us),
        got_before=got_before,
        said_before=await _sold_before(connection, first, end_us),
        moved=frozenset(moved),
    )


async def _distributed(
    connection: AsyncConnection, rules: Rules, first: dt.date, last: dt.date
) -> tuple[list[Got], dict[tuple[int, str], int]]:
    """What counts for the days from `first` to `last`, and the sums of all before, by miner and exchange."""
    begins_us, stands = since_us(rules, first), standing().subquery("standing")
    older = sa.select(stands.c.payout_id).where(stands.c.block_time_us < begins_us)
    sums = (
        sa.select(payment.c.miner_id, _EXCHANGE, sa.func.sum(payment.c.amount_sat))
        .where(payment.c.payout_id.in_(older))
        .group_by(payment.c.miner_id, _EXCHANGE)
    )
    before = {
        (miner_id, exchange): int(amount) for miner_id, exchange, amount in await connection.execute(sums)
    }
    newer = sa.select(stands).where(stands.c.block_time_us >= begins_us).order_by(stands.c.payout_id)
    days = PaymentDays(connection, rules)
    dated = {row.payout_id: row.block_time_us for row in await connection.execute(newer)}
    wanted = [payout_id for payout_id, at_us in dated.items() if days.may_count(at_us, last)]
    got: list[Got] = []
    for start in range(0, len(wanted), _CHUNK):
        rows = await connection.execute(
            sa.select(payment.c.payout_id, payment.c.miner_id, payment.c.amount_sat, _EXCHANGE)
            .where(payment.c.payout_id.in_(wanted[start : start + _CHUNK]))
            .order_by(payment.c.payout_id, payment.c.number)
        )
        for payout_id, miner_id, amount, exchange in rows.all():
            day = await days.of(payout_id, dated[payout_id], miner_id)
            if day < first:
                before[miner_id, exchange] = before.get((miner_id, exchange), 0) + amount
            elif day <= last:
                got.append(Got(miner_id, day, amount, exchange))
    return got, before


async def _sold_before(
    connection: AsyncConnection, first: dt.date, end_us: int
) -> dict[tuple[int, str], int]:
    """By miner and exchange, what was sold before a day, as the book was before an instant."""
    column = sale_confirmation.c
    sums = (
        sa.select(column.miner_id, column.exchange, sa.func.sum(column.quantity_sat).label("quantity_sat"))
        .where(column.sold_on < first, sale_book.stands(end_us))
        .group_by(column.miner_id, column.exchange)
    )
    return {(row.miner_id, row.exchange): int(row.quantity_sat) for row in await connection.execute(sums)}


async def _moved_sales(connection: AsyncConnection, start_us: int, end_us: int) -> set[tuple[int, dt.date]]:
    """Miner and day of the sales that lines of a day are of, and of those that they replace."""
    column, earlier = sale_confirmation.c, sale_confirmation.alias("earlier")
    of_day = sa.and_(column.at_us >= start_us, column.at_us < end_us)
    replaced = sa.select(earlier.c.miner_id, earlier.c.sold_on).join(
        sale_confirmation, column.replaces == earlier.c.seq
    )
    rows = sa.select(column.miner_id, column.sold_on).where(of_day).union(replaced.where(of_day))
    return {(row.miner_id, row.sold_on) for row in await connection.execute(rows)}


async def _moved_payouts(
    connection: AsyncConnection, rules: Rules, start_us: int, end_us: int
) -> set[tuple[int, dt.date]]:
    """Miner and day of distributions of which something was heard on a day: also of what left the chain."""
    event = payout_event.c
    heard = sa.select(event.payout_id).where(
        event.at_us >= start_us, event.at_us < end_us, event.state.in_(_MOVES)
    )
    rows = await connection.execute(
        sa.select(event.payout_id, event.block_time_us, payment.c.miner_id)
        .join(payment, payment.c.payout_id == event.payout_id)
        .where(event.payout_id.in_(heard), event.block_time_us.is_not(None), event.at_us < end_us)
        .distinct()
    )
    days = PaymentDays(connection, rules)
    return {
        (row.miner_id, await days.of(row.payout_id, row.block_time_us, row.miner_id)) for row in rows.all()
    }
