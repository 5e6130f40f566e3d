"""What the ledger's tables say, as gauges: read every few seconds, never by a scrape.

Every ledger process tells it, active or not, because it is the same everywhere; `dmpool_ledger_active` tells
which one works. The journal's accounts are told by class, never by miner: of each account the newest kept
balance is looked up, however many days there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import journal
from payouts.block_state import State
from payouts.payout_plan import HoldReason, PlanSettings, plan
from pool import journal_store
from pool.clock import HOUR_US, hour_of
from pool.live_register import LiveRegister
from pool.metrics import Metrics
from pool.payout_facts import payees
from pool.reading import reading
from pool.settlement_store import UNPAID
from pool.statement_now import Office
from pool.tables import archive_hour, batch, block, payout, payout_version

READ_SECONDS = 5.0
HELD_SECONDS = 60.0
"""Who is held, and why, is asked as often."""
MATURITIES: Final = ("immature", "payable", "paying")
PAYOUT_STATES: Final = ("reserved", "signed", "sent", "confirmed", "final", "abandoned")
CLASSES: Final = (
    *(journal.COINBASE_IMMATURE, journal.COINBASE_MATURE),
    *(f"miner:{one}" for one in MATURITIES),
    *(journal.COMMISSION_IMMATURE, journal.COMMISSION_EARNED, journal.NETWORK_FEES),
    *("pool:orphan_loss", journal.FPPS, journal.CORRECTION),
)
"""What the accounts of the journal are told by."""


async def read(engine: AsyncEngine, metrics: Metrics, now_us: int) -> None:
    """One look at blocks, journal, payouts and archive, in one snapshot; raises DatabaseAway."""
    async with reading(engine) as connection:
        await _blocks(connection, metrics)
        await _journal(connection, metrics)
        await _payouts(connection, metrics, now_us)
        metrics.archive_behind.set(await archive_behind_seconds(connection, now_us))


async def _blocks(connection: AsyncConnection, metrics: Metrics) -> None:
    counted = sa.select(block.c.state, sa.func.count().label("blocks")).group_by(block.c.state)
    states: dict[str, int] = {row.state: row.blocks for row in await connection.execute(counted)}
    for state in State:
        metrics.blocks.labels(state.value).set(states.get(state.value, 0))
    waiting = await connection.scalar(
        sa.select(sa.func.count()).select_from(batch).where(batch.c.position.is_(None))
    )
    metrics.ledger_waiting.set(waiting or 0)
    oldest = sa.select(batch.c.received_at).where(batch.c.position.is_(None)).order_by(batch.c.id).limit(1)
    metrics.backlog.heard(await connection.scalar(oldest))


async def _journal(connection: AsyncConnection, metrics: Metrics) -> None:
    balances = await journal_store.balances_now(connection)
    classes = by_class(balances)
    for name in CLASSES:
        metrics.journal.labels(name).set(classes.get(name, 0))
    for maturity in MATURITIES:
        metrics.liability.labels(maturity).set(classes.get(f"miner:{maturity}", 0))
    metrics.journal_balanced.set(sum(balances.values()) == 0)


def by_class(balances: Mapping[str, int]) -> Mapping[str, int]:
    """Booked balances added up over all miners, each in its account's own direction."""
    classes: Counter[str] = Counter()
    for account, amount in balances.items():
        classes[journal.class_of(account)] += amount * journal.direction(account)
    return classes


async def _payouts(connection: AsyncConnection, metrics: Metrics, now_us: int) -> None:
    grouped = sa.select(
        payout.c.state,
        sa.func.count().label("payouts"),
        sa.func.sum(payout.c.amount_sat).label("amount_sat"),
        sa.func.min(payout.c.created_us).label("oldest_us"),
    ).group_by(payout.c.state)
    found: dict[str, Any] = {row.state: row for row in await connection.execute(grouped)}
    for state in PAYOUT_STATES:
        row = found.get(state)
        metrics.payouts.labels(state).set(row.payouts if row else 0)
        metrics.payouts_sat.labels(state).set(int(row.amount_sat) if row else 0)
    for state in UNPAID:
        row = found.get(state)
        metrics.payout_oldest.labels(state).set(max(now_us - row.oldest_us, 0) // 1_000_000 if row else 0)
    metrics.payouts_in_flight.set(await in_flight_sat(connection))


async def in_flight_sat(connection: AsyncConnection) -> int:
    """What has left the wallet and is still in the journal: by the newest transaction of each payout sent.

    One that pays takes the amounts and its fee; one that cancels takes its fee.
    """
    newest = (
        sa.select(payout_version.c.purpose, payout_version.c.fee_sat, payout.c.amount_sat)
        .ext(distinct_on(payout.c.id))
        .join(payout, payout.c.id == payout_version.c.payout_id)
        .where(payout.c.state == "sent", payout_version.c.sent_us.is_not(None))
        .order_by(payout.c.id, payout_version.c.number.desc())
    )
    rows = (await connection.execute(newest)).all()
    return sum(row.fee_sat + (row.amount_sat if row.purpose == "pay" else 0) for row in rows)


async def archive_behind_seconds(connection: AsyncConnection, now_us: int) -> int:
    """Since the end of the oldest hour with work in it that is not in the archive."""
    last = sa.select(sa.func.coalesce(sa.func.max(archive_hour.c.last_batch), 0)).scalar_subquery()
    taken_us = await connection.scalar(sa.select(batch.c.taken_us).where(batch.c.position == last + 1))
    if taken_us is None:
        return 0
    return int(max(now_us - hour_of(taken_us) - HOUR_US, 0) // 1_000_000)


async def read_held(
    engine: AsyncEngine, metrics: Metrics, live: LiveRegister, office: Office, now_us: int
) -> None:
    """What a payout run at this moment would not pay, by reason; raises DatabaseAway."""
    async with live.held() as register, reading(engine) as connection:
        owed = await payees(connection, register, office.rules, now_us, office.threshold_sat)
    held = plan(owed, PlanSettings(office.chain), now_us, office.rules).held
    for reason in HoldReason:
        mine = [one.amount_sat for one in held if one.reason is reason]
        metrics.held_miners.labels(reason.value).set(len(mine))
        metrics.held_sat.labels(reason.value).set(sum(mine))
