"""A miner's statement out of PostgreSQL: the facts of one account over a day or a month, in one snapshot.

Shares are told by their own day, entries of the journal and steps of blocks by the ledger's. Nothing is read
that is dropped with old partitions, but for the preview of a block found now, which reads what is hot.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.block_state import State
from payouts.journal import EntryKind
from payouts.payout_plan import distribution_day
from payouts.statement import (
    DayOfWork,
    Facts,
    Movement,
    Owed,
    Payment,
    Period,
    SharedBlock,
    Statement,
    Step,
    make,
)
from pool import journal_store
from pool import ledger_store as store
from pool.intake import work_of
from pool.payout_facts import credited_days
from pool.settlement_store import UNPAID
from pool.statement_now import Office, held_of, preview_of
from pool.tables import (
    account_day,
    block,
    block_event,
    journal_entry,
    journal_posting,
    miner_day,
    payment,
    payout,
    payout_event,
    payout_version,
    reject_day,
    split,
)
from register.miner import Miner
from register.register import Register
from register.rules import Rules

KINDS: Final = ("miner", "licence", "address")
"""What a statement needs of the register."""
_CONFIRMED: Final = ("confirmed", "final")


async def statement(
    connection: AsyncConnection, office: Office, register: Register, miner: Miner, period: Period, now_us: int
) -> Statement:
    """The statement of a miner as of now; raises StatementError where the ledger contradicts itself.

    Raises ValueError for a period that has not begun, or is before the rules know the calendar.
    """
    rules = office.rules
    start_us, end_us = rules.day_bounds(period.first)[0], rules.day_bounds(period.last)[1]
    if now_us < start_us:
        raise ValueError(f"{period.text} has not begun: it is {rules.day_of(now_us)} in Kazakhstan")
    goes_on = now_us < end_us
    return make(
        Facts(
            miner_id=miner.id,
            account=miner.name,
            title=miner.title,
            bin=miner.bin,
            period=period,
            complete=not goes_on,
            until_us=min(now_us, end_us),
            opening=await _owed(connection, miner.id, account_day.c.day < period.first),
            closing=await _owed(connection, miner.id, account_day.c.day <= period.last),
            movements=await _movements(connection, miner.id, period),
            days=await _days(connection, miner.id, period),
            blocks=await _blocks(connection, miner.id, start_us, end_us),
            payments=await _payments(connection, miner.id, period, end_us, rules),
            held=await held_of(connection, office, register, miner.id, now_us) if goes_on else None,
            preview=await preview_of(connection, office, miner.id, now_us) if goes_on else None,
        )
    )


async def _owed(connection: AsyncConnection, miner_id: int, when: sa.ColumnElement[bool]) -> Owed:
    accounts = _accounts(miner_id)
    found = await journal_store.balances(connection, account_day.c.account.in_(accounts), when)
    return Owed(*(-found.get(account, 0) for account in accounts))


def _accounts(miner_id: int) -> tuple[str, str, str]:
    return journal.miner_immature(miner_id), journal.miner_payable(miner_id), journal.miner_paying(miner_id)


async def _movements(connection: AsyncConnection, miner_id: int, period: Period) -> list[Movement]:
    accounts = _accounts(miner_id)
    rows = await connection.execute(
        sa.select(journal_entry, journal_posting.c.account, journal_posting.c.amount)
        .join(journal_posting, journal_posting.c.entry_id == journal_entry.c.id)
        .where(
            journal_entry.c.day.between(period.first, period.last), journal_posting.c.account.in_(accounts)
        )
        .order_by(journal_entry.c.id)
    )
    heads: dict[int, Any] = {}
    moved: dict[int, Owed] = defaultdict(Owed)
    for row in rows:
        heads[row.id] = row
        moved[row.id] = moved[row.id].plus(
            Owed(*(-row.amount if one == row.account else 0 for one in accounts))
        )
    return [
        Movement(
            row.at_us,
            row.day,
            EntryKind(row.kind),
            row.block_hash,
            row.payout_id,
            row.memo,
            moved[entry_id],
        )
        for entry_id, row in heads.items()
    ]


async def _days(connection: AsyncConnection, miner_id: int, period: Period) -> list[DayOfWork]:
    rejected: dict[dt.date, dict[str, int]] = defaultdict(dict)
    refused = sa.select(reject_day.c.day, reject_day.c.reason, reject_day.c["count"].label("shares")).where(
        reject_day.c.miner_id == miner_id, reject_day.c.day.between(period.first, period.last)
    )
    for row in await connection.execute(refused.order_by(reject_day.c.reason)):
        rejected[row.day][row.reason] = row.shares
    accepted = sa.select(miner_day).where(
        miner_day.c.miner_id == miner_id, miner_day.c.day.between(period.first, period.last)
    )
    worked = {row.day: row for row in await connection.execute(accepted)}
    return [
        DayOfWork(
            day,
            worked[day].shares if day in worked else 0,
            rejected.get(day, {}),
            worked[day].work if day in worked else 0,
        )
        for day in sorted({*worked, *rejected})
    ]


async def _blocks(
    connection: AsyncConnection, miner_id: int, start_us: int, end_us: int
) -> list[SharedBlock]:
    """The blocks with a part for the miner that took a step in the period, as they stood at its end."""
    stepped = (
        sa.select(block_event.c.hash)
        .join(split, sa.and_(split.c.hash == block_event.c.hash, split.c.miner_id == miner_id))
        .where(block_event.c.at_us >= start_us, block_event.c.at_us < end_us)
    )
    parts: dict[str, list[Any]] = defaultdict(list)
    for row in await connection.execute(
        sa.select(split).where(split.c.hash.in_(stepped)).order_by(split.c.miner_id)
    ):
        parts[row.hash].append(row)
    history: dict[str, list[Step]] = defaultdict(list)
    for row in await connection.execute(
        sa.select(block_event)
        .where(block_event.c.hash.in_(stepped), block_event.c.at_us < end_us)
        .order_by(block_event.c.id)
    ):
        history[row.hash].append(Step(State(row.state), row.at_us))
    rows = await connection.execute(
        sa.select(block).where(block.c.hash.in_(stepped)).order_by(block.c.height, block.c.hash)
    )
    return [_shared(row, parts[row.hash], history[row.hash]) for row in rows]


def _shared(row: Any, parts: Sequence[Any], history: Sequence[Step]) -> SharedBlock:
    return SharedBlock(
        height=row.height,
        hash=row.hash,
        coinbase_txid=row.coinbase_txid,
        found_us=row.found_us,
        network_work=work_of(row.network_target),
        reward_sat=row.reward_sat,
        fees_sat=row.fees_sat,
        terms=store.terms_of(row),
        window=store.window_of(row, parts),
        split=store.split_of(row.commission_sat, parts),
        history=history,
    )


async def _payments(
    connection: AsyncConnection, miner_id: int, period: Period, end_us: int, rules: Rules
) -> list[Payment]:
    """Payments of payouts that were booked in the period, or under way in it; as they stood at its end."""
    booked = sa.select(journal_entry.c.payout_id).where(
        journal_entry.c.day.between(period.first, period.last), journal_entry.c.payout_id.is_not(None)
    )
    settled = sa.select(journal_entry.c.payout_id).where(
        journal_entry.c.payout_id == payout.c.id,
        journal_entry.c.kind.in_([EntryKind.PAYOUT_CONFIRMED.value, EntryKind.PAYOUT_RELEASED.value]),
        journal_entry.c.day < period.first,
    )
    wanted = (
        sa.select(payment)
        .join(payout, payout.c.id == payment.c.payout_id)
        .where(
            payment.c.miner_id == miner_id,
            payout.c.created_us < end_us,
            sa.or_(payout.c.id.in_(booked), payout.c.state.in_(UNPAID), ~settled.exists()),
        )
        .order_by(payment.c.payout_id, payment.c.number)
    )
    rows = (await connection.execute(wanted)).all()
    became = await _became(connection, {row.payout_id for row in rows}, end_us)
    made: list[Payment] = []
    for row in rows:
        one = became[row.payout_id]
        day = None
        if one.confirmed is not None:
            block_us = one.confirmed.block_time_us
            credited = await credited_days(connection, row.payout_id)
            day = distribution_day(rules, block_us, credited.get(miner_id, rules.day_of(block_us)))
        made.append(_payment(row, one, day))
    return made


@dataclass(slots=True)
class _Became:
    """What had become of a payout by an instant."""

    state: str = "reserved"
    confirmed: Any = None
    """The event that told the block which confirms it, while one does."""
    txids: dict[int, str] = field(default_factory=dict)
    """Of the versions that pay and were signed by then, by number."""


async def _became(connection: AsyncConnection, payouts: set[int], end_us: int) -> dict[int, _Became]:
    became = {number: _Became() for number in payouts}
    events = sa.select(payout_event).where(
        payout_event.c.payout_id.in_(payouts), payout_event.c.at_us < end_us
    )
    for event in await connection.execute(events.order_by(payout_event.c.id)):
        one = became[event.payout_id]
        one.state = event.state
        if event.state not in _CONFIRMED:
            one.confirmed = None
        elif event.block_hash is not None:
            one.confirmed = event
    signed = sa.select(payout_version).where(
        payout_version.c.payout_id.in_(payouts),
        payout_version.c.purpose == "pay",
        payout_version.c.signed_us < end_us,
    )
    for version in await connection.execute(signed.order_by(payout_version.c.number)):
        became[version.payout_id].txids[version.number] = version.txid
    return became


def _payment(row: Any, became: _Became, distributed_on: dt.date | None) -> Payment:
    confirmed = became.confirmed
    newest = became.txids[max(became.txids)] if became.txids else None
    return Payment(
        payout_id=row.payout_id,
        number=row.number,
        state=became.state,
        purpose=row.purpose,
        address=row.address,
        exchange=row.exchange,
        amount_sat=row.amount_sat,
        commission_sat=row.commission_sat,
        sale_share_bps=row.sale_share_bps,
        txid=became.txids.get(confirmed.version, newest) if confirmed else newest,
        block_hash=confirmed.block_hash if confirmed else None,
        block_height=confirmed.block_height if confirmed else None,
        distributed_on=distributed_on,
    )
