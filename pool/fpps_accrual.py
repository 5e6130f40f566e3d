"""FPPS in the ledger: each day's work is paid what the chain paid for work on that day.

A day is priced when the chain's own clock (median time past) has passed its end and six blocks are on top, so
that no block of that day can come or go any more: the price is kept for good with the heights that it is of.
Its work is credited when the day is closed as it is for reports; work that arrives later is credited later,
at the same price. What was credited before is read from the database, and one transaction has all of a
credit, so whatever crashes, a second try never pays twice.

A node is asked beside the work. One that cannot answer is asked again; days wait and are not lost.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import fpps, journal
from payouts.fpps import Carried, Paid, Rate
from payouts.terms import DatedTerms, Terms
from pool import journal_store
from pool import ledger_store as store
from pool.clock import instant
from pool.node import ChainBlock, Node, NodeError
from pool.report_facts import waiting_batches
from pool.reports import GRACE_US
from pool.tables import fpps_credit, fpps_rate, ledger_head, miner_day
from register.rules import Rules

log = structlog.get_logger(__name__)

DEPTH: Final = 6
"""Confirmations of the block with which the chain has passed a day."""
LOOK_US: Final = 300_000_000
"""How long the ledger waits before it looks again for work to credit."""
MEDIAN_BLOCKS: Final = 11
_ANSWER_SECONDS: Final = 0.05
_EARLY_SECONDS: Final = 86_400
"""A header's time is at most two hours ahead of the clock: blocks of a day are looked for from so early."""
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ChainDay:
    """The blocks by which a day is priced: from which height to which, how many, and what they paid."""

    first_height: int
    last_height: int
    blocks: int
    paid: Paid


# What the chain paid


async def chain_day(node: Node, start_us: int, end_us: int) -> ChainDay | None:
    """What the chain paid on a day, by the times in the headers; None while its end can still change.

    A day without a block has the newest block before it. Raises NodeError.
    """
    await node.check()
    start, end = -(-start_us // _SECOND_US), -(-end_us // _SECOND_US)
    deep = await node.height() - DEPTH + 1
    if deep < 0 or (await node.block_at(deep)).median_time < end:
        return None
    # Behind a block whose median time is `end` no block can be earlier.
    last = await _first_past(node, end, deep)
    first = max(await _first_past(node, start - _EARLY_SECONDS, last) - MEDIAN_BLOCKS, 0)
    seen = [await node.block_at(height) for height in range(first, last + 1)]
    chosen = [one for one in seen if start <= one.time < end] or [
        one for one in seen[:-1] if one.time < start
    ][-1:]
    if not chosen:
        raise NodeError(
            f"{node.name}: its chain begins after {instant(start_us):%Y-%m-%d %H:%M} UTC; ask another"
        )
    paid = await _paid(node, chosen)
    if await node.block_at(last) != seen[-1]:
        raise NodeError(f"{node.name}: its chain changed {DEPTH} blocks deep while it was read; asking again")
    return ChainDay(chosen[0].height, chosen[-1].height, len(chosen), paid)


async def _first_past(node: Node, time: int, highest: int) -> int:
    """The first height whose median time is not before `time` (unix seconds), or `highest`."""
    low, high = 0, highest
    while low < high:
        middle = (low + high) // 2
        if (await node.block_at(middle)).median_time < time:
            low = middle + 1
        else:
            high = middle
    return low


async def _paid(node: Node, blocks: Sequence[ChainBlock]) -> Paid:
    reward = fees = 0
    for one in blocks:
        earned = await node.earned(one.block_hash)
        reward += earned.subsidy + earned.fees
        fees += earned.fees
    return Paid(reward, fees, sum(one.work for one in blocks))


# What is credited for it


async def open_days(connection: AsyncConnection, upto: dt.date) -> dict[dt.date, bool]:
    """Days until `upto` with work that was not credited, in order, and whether they have their price."""
    worked = (
        sa.select(miner_day.c.day, sa.func.sum(miner_day.c.work).label("work"))
        .where(miner_day.c.day <= upto)
        .group_by(miner_day.c.day)
        .subquery("worked")
    )
    credited = (
        sa.select(fpps_credit.c.day, sa.func.sum(fpps_credit.c.work).label("work"))
        .group_by(fpps_credit.c.day)
        .subquery("credited")
    )
    rows = await connection.execute(
        sa.select(worked.c.day, fpps_rate.c.day.is_not(None).label("priced"))
        .select_from(
            worked.outerjoin(credited, credited.c.day == worked.c.day).outerjoin(
                fpps_rate, fpps_rate.c.day == worked.c.day
            )
        )
        .where(worked.c.work > sa.func.coalesce(credited.c.work, 0))
        .order_by(worked.c.day)
    )
    return {row.day: row.priced for row in rows}


async def set_price(connection: AsyncConnection, day: dt.date, chain: ChainDay, terms: Terms) -> None:
    """Keep the price of a day for good; a second one for the same day changes nothing."""
    rate = fpps.rate(chain.paid, terms)
    await connection.execute(
        upsert(fpps_rate)
        .values(
            day=day,
            first_height=chain.first_height,
            last_height=chain.last_height,
            blocks=chain.blocks,
            reward_sat=chain.paid.reward_sat,
            fees_sat=chain.paid.fees_sat,
            network_work=chain.paid.network_work,
            transaction_fees=terms.transaction_fees,
            price=rate.price,
            commission_bps=rate.commission_bps,
        )
        .on_conflict_do_nothing(index_elements=[fpps_rate.c.day])
    )


async def accrue(connection: AsyncConnection, day: dt.date) -> tuple[journal.Entry, list[dict[str, Any]]]:
    """All work of a priced day that was not credited yet: what it is worth, as an entry and as rows.

    Under the journal's lock. The entry has no postings when nobody's work comes to a satoshi. Raises
    LookupError for a day without a price.
    """
    row = (await connection.execute(sa.select(fpps_rate).where(fpps_rate.c.day == day))).one_or_none()
    if row is None:
        raise LookupError(f"work of {day}: has no price yet; set it first")
    work = await _uncredited(connection, day)
    found = fpps.accrue(await _carried(connection, work), work, Rate(row.price, row.commission_bps))
    memo = f"work of {day}, by what the blocks {row.first_height} to {row.last_height} paid"
    rows = [
        {
            "day": day,
            "miner_id": miner_id,
            "work": work[miner_id],
            "amount_sat": found.amounts[miner_id],
            "commission_sat": found.commissions[miner_id],
            "miner_left": found.carried[miner_id].miner,
            "commission_left": found.carried[miner_id].commission,
        }
        for miner_id in sorted(work)
    ]
    return journal.fpps_credited(found.amounts, memo), rows


async def _uncredited(connection: AsyncConnection, day: dt.date) -> dict[int, int]:
    credited = (
        sa.select(fpps_credit.c.miner_id, sa.func.sum(fpps_credit.c.work).label("work"))
        .where(fpps_credit.c.day == day)
        .group_by(fpps_credit.c.miner_id)
        .subquery("credited")
    )
    more = miner_day.c.work - sa.func.coalesce(credited.c.work, 0)
    rows = await connection.execute(
        sa.select(miner_day.c.miner_id, more.label("more"))
        .select_from(miner_day.outerjoin(credited, credited.c.miner_id == miner_day.c.miner_id))
        .where(miner_day.c.day == day, more > 0)
    )
    return {row.miner_id: int(row.more) for row in rows}


async def _carried(connection: AsyncConnection, miner_ids: dict[int, int]) -> dict[int, Carried]:
    rows = await connection.execute(
        sa.select(fpps_credit.c.miner_id, fpps_credit.c.miner_left, fpps_credit.c.commission_left)
        .ext(distinct_on(fpps_credit.c.miner_id))
        .where(fpps_credit.c.miner_id.in_(list(miner_ids)))
        .order_by(fpps_credit.c.miner_id, fpps_credit.c.id.desc())
    )
    return {row.miner_id: Carried(row.miner_left, row.commission_left) for row in rows}


async def credit_day(
    connection: AsyncConnection,
    day: dt.date,
    terms: Terms,
    chain: ChainDay | None,
    day_of: Callable[[int], dt.date],
    now_us: int,
) -> None:
    """Credit the work of a day, in the caller's transaction; `chain` prices it if it has no price yet.

    The ledger's clock moves on with it: a batch is before a credit or behind it by their instants alone, so
    that an audit finds the same work.
    """
    at_us = await journal_store.next_instant(connection, now_us)
    at_us = (await store.move_head(connection, at_us)).taken_us
    await connection.execute(sa.update(ledger_head).values(taken_us=at_us + 1))
    if chain is not None:
        await set_price(connection, day, chain, terms)
    entry, rows = await accrue(connection, day)
    await book(connection, entry, rows, at_us, day_of(at_us))


async def book(
    connection: AsyncConnection,
    entry: journal.Entry,
    rows: list[dict[str, Any]],
    at_us: int,
    booked_on: dt.date,
) -> None:
    """Book what `accrue` found, at an instant and on its day."""
    if not rows:
        return
    entry_id = await journal_store.book(connection, entry, at_us, booked_on)
    placed = [{**row, "at_us": at_us, "entry_id": entry_id} for row in rows]
    await connection.execute(sa.insert(fpps_credit), placed)
    given = sum(row["amount_sat"] for row in rows)
    log.info("fpps_credited", memo=entry.memo, amount_sat=given, miners=len(rows))


# The ledger's part


class Accrual:
    """What the ledger does for FPPS in its ticks; `stop` ends a question that is still open."""

    def __init__(
        self, nodes: Sequence[Node], rules: Rules, terms: DatedTerms, now_us: Callable[[], int]
    ) -> None:
        """Nodes are asked in this order; the first that answers counts."""
        self._nodes = nodes
        self._rules = rules
        self._terms = terms
        self._now_us = now_us
        self._look_us = 0
        self._asking: asyncio.Task[dict[dt.date, ChainDay]] | None = None
        self._said: set[str] = set()

    async def follow(self, connection: AsyncConnection) -> None:
        """Credit what can be, and have a node asked for prices; the prices come with a later call."""
        if self._asking is None:
            if self._now_us() < self._look_us:
                return
            self._look_us = self._now_us() + LOOK_US
            unpriced = await self._credit_priced(connection)
            if not unpriced:
                return
            self._asking = asyncio.create_task(self._ask(unpriced))
            await asyncio.wait([self._asking], timeout=_ANSWER_SECONDS)
        if self._asking.done():
            prices, self._asking = self._asking.result(), None
            for day, chain in prices.items():
                await self._credit(connection, day, chain)

    async def stop(self) -> None:
        """Let go of the question to a node."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._asking
            self._asking = None

    async def _credit_priced(self, connection: AsyncConnection) -> list[dt.date]:
        """Credit late work of days that have a price; the closed days that have none."""
        now_us = self._now_us()
        async with connection.begin():
            ever = self._terms.ever("fpps") or await connection.scalar(
                sa.select(sa.exists(sa.select(fpps_rate)))
            )
            if not ever:  # most pools: the look below reads every day of every miner
                return []
            days = await open_days(connection, self._rules.day_of(now_us - GRACE_US) - dt.timedelta(days=1))
            due = {
                day: priced
                for day, priced in days.items()
                if priced or (self._terms.on(day).scheme == "fpps" and await self._closed(connection, day))
            }
        for day, priced in due.items():
            if priced:
                await self._credit(connection, day, None)
        return [day for day, priced in due.items() if not priced]

    async def _closed(self, connection: AsyncConnection, day: dt.date) -> bool:
        end_us = self._rules.day_bounds(day)[1]
        return not await waiting_batches(connection, instant(end_us))

    async def _credit(self, connection: AsyncConnection, day: dt.date, chain: ChainDay | None) -> None:
        async with connection.begin():
            await credit_day(connection, day, self._terms.on(day), chain, self._rules.day_of, self._now_us())

    async def _ask(self, days: Sequence[dt.date]) -> dict[dt.date, ChainDay]:
        prices: dict[dt.date, ChainDay] = {}
        for day in days:
            chain = await self._first_answer(day)
            if chain is not None:
                prices[day] = chain
        return prices

    async def _first_answer(self, day: dt.date) -> ChainDay | None:
        for node in self._nodes:
            try:
                return await chain_day(node, *self._rules.day_bounds(day))
            except NodeError as error:
                said = f"{day}: {error}"
                if said not in self._said:
                    log.warning("fpps_price_missing", day=str(day), reason=str(error))
                self._said.add(said)
        return None
