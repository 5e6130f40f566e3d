"""What a day's report tells of payments: those that count for the day, and what was booked on it beside them.

`pool.distributions` says which payments count for a day by the dated rule (Q-07). Here each is tied to the
journal's entry that it stands by, and what the journal booked on the day of other payments, or took back,
is told apart, so that nothing that was paid is in no report. Reads only, all within the caller's snapshot.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.journal import EntryKind
from payouts.payout_plan import distribution_day
from pool.distributions import distributions
from pool.payout_days import standing
from pool.payout_facts import credited_days
from pool.tables import journal_entry, journal_posting, payout_event, payout_version
from register.rules import Rules
from reporting.daily_facts import Apart, Paid

_Part = tuple[int, int]
"""Payout and miner."""
_What = Literal["paid", "taken_back"]


async def payments(connection: AsyncConnection, day: dt.date, rules: Rules) -> tuple[list[Paid], list[Apart]]:
    """The payments that count for a day, and what else was booked on it of payments."""
    rows = await distributions(connection, rules, day, day)
    payout_of = await _payouts_of(connection, {row.txid for row in rows})
    credited = {id_: await credited_days(connection, id_) for id_ in sorted(set(payout_of.values()))}
    booked = await _booked_on(connection, set(payout_of.values()))
    paid = [
        Paid(
            row,
            payout_of[row.txid],
            booked[payout_of[row.txid]],
            credited[payout_of[row.txid]].get(row.miner_id),
        )
        for row in rows
    ]
    return paid, await _apart(connection, day, rules, paid)


async def _payouts_of(connection: AsyncConnection, txids: Collection[str]) -> dict[str, int]:
    wanted = sa.select(payout_version.c.txid, payout_version.c.payout_id).where(
        payout_version.c.txid.in_(txids)
    )
    return {row.txid: row.payout_id for row in await connection.execute(wanted)}


async def _booked_on(connection: AsyncConnection, payouts: Collection[int]) -> dict[int, dt.date]:
    """The day of each payout's newest entry that says it is paid."""
    newest = (
        sa.select(journal_entry.c.payout_id, journal_entry.c.day)
        .ext(distinct_on(journal_entry.c.payout_id))
        .where(
            journal_entry.c.payout_id.in_(payouts), journal_entry.c.kind == EntryKind.PAYOUT_CONFIRMED.value
        )
        .order_by(journal_entry.c.payout_id, journal_entry.c.id.desc())
    )
    return {row.payout_id: row.day for row in await connection.execute(newest)}


async def _apart(
    connection: AsyncConnection, day: dt.date, rules: Rules, paid: Sequence[Paid]
) -> list[Apart]:
    left: Counter[_Part] = Counter()
    """Booked as paid on the day, and not among its distributions."""
    amount_of: dict[_Part, int] = {}
    told: Counter[tuple[_What, _Part, dt.date | None]] = Counter()
    for row in await _bookings(connection, day):
        part = row.payout_id, row.miner_id
        if row.amount > 0:
            left[part] += row.amount
            amount_of[part] = row.amount
        elif row.amount < 0:
            told["taken_back", part, await _counted_for(connection, part, row.at_us, rules)] -= row.amount
    for one in paid:
        if one.booked_on == day:
            left[one.payout_id, one.distribution.miner_id] -= one.distribution.quantity_sat
    stand = await _standing(connection, {payout_id for (payout_id, _), amount in left.items() if amount})
    for part, amount in left.items():
        told["paid", part, None] += amount
        if amount and part[0] in stand and stand[part[0]].booked_on == day:
            counts_for = await _day_of(connection, part, stand[part[0]].block_time_us, rules)
            if counts_for != day:
                told["paid", part, None] -= amount_of[part]
                told["paid", part, counts_for] += amount_of[part]
    return [
        Apart(what, *part, amount, counts_for) for (what, part, counts_for), amount in told.items() if amount
    ]


async def _bookings(connection: AsyncConnection, day: dt.date) -> Sequence[Any]:
    """What each entry of a payout on a day took out of what a miner is owed; less than 0: put back."""
    miner_id = sa.cast(sa.func.split_part(journal_posting.c.account, ":", 2), sa.Integer)
    rows = await connection.execute(
        sa.select(
            journal_entry.c.payout_id,
            journal_entry.c.at_us,
            miner_id.label("miner_id"),
            sa.cast(sa.func.sum(journal_posting.c.amount), sa.BigInteger).label("amount"),
        )
        .join(journal_posting, journal_posting.c.entry_id == journal_entry.c.id)
        .where(
            journal_entry.c.day == day,
            journal_entry.c.payout_id.is_not(None),
            journal_posting.c.account.startswith("miner:"),
        )
        .group_by(journal_entry.c.id, miner_id)
        .order_by(journal_entry.c.id, miner_id)
    )
    return rows.all()


class _Stands(NamedTuple):
    """Where a payout that is in the chain is booked, and the time of its block."""

    booked_on: dt.date
    block_time_us: int


async def _standing(connection: AsyncConnection, payouts: Collection[int]) -> dict[int, _Stands]:
    """Those of some payouts that are in the chain."""
    newest = standing().where(payout_event.c.payout_id.in_(payouts))
    booked = await _booked_on(connection, payouts)
    return {
        row.payout_id: _Stands(booked[row.payout_id], row.block_time_us)
        for row in await connection.execute(newest)
    }


async def _counted_for(connection: AsyncConnection, part: _Part, at_us: int, rules: Rules) -> dt.date | None:
    """The day that a payment counted for which was taken back at an instant."""
    before = (
        sa.select(payout_event.c.block_time_us)
        .where(
            payout_event.c.payout_id == part[0],
            payout_event.c.block_time_us.is_not(None),
            payout_event.c.at_us <= at_us,
        )
        .order_by(payout_event.c.id.desc())
        .limit(1)
    )
    block_us = await connection.scalar(before)
    return None if block_us is None else await _day_of(connection, part, block_us, rules)


async def _day_of(connection: AsyncConnection, part: _Part, block_us: int, rules: Rules) -> dt.date:
    payout_id, miner_id = part
    transferred_on = rules.day_of(block_us)
    credited = await credited_days(connection, payout_id)
    return distribution_day(rules, block_us, credited.get(miner_id, transferred_on))
