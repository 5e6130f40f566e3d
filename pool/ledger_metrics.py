"""What the ledger's tables say, as gauges: read every few seconds, never by a scrape.

Every ledger process tells it, active or not, because it is the same everywhere; `dmpool_ledger_active` tells
which one works.
"""

from __future__ import annotations

import asyncio
import logging

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.block_state import State
from pool.database import UNAVAILABLE, batch, block, journal_posting
from pool.metrics import Metrics

log = logging.getLogger(__name__)

READ_SECONDS = 5.0


async def follow(engine: AsyncEngine, metrics: Metrics) -> None:
    """Set the gauges until cancelled; without PostgreSQL they keep their last values."""
    while True:
        try:
            await _read(engine, metrics)
        except UNAVAILABLE as error:
            log.debug("ledger metrics: %s", error)
        await asyncio.sleep(READ_SECONDS)


async def _read(engine: AsyncEngine, metrics: Metrics) -> None:
    async with engine.connect() as connection:
        states: dict[str, int] = dict(
            (await connection.execute(sa.select(block.c.state, sa.func.count()).group_by(block.c.state)))
            .tuples()
            .all()
        )
        for state in State:
            metrics.blocks.labels(state.value).set(states.get(state.value, 0))
        waiting = await connection.scalar(
            sa.select(sa.func.count()).select_from(batch).where(batch.c.position.is_(None))
        )
        metrics.ledger_waiting.set(waiting or 0)
        for maturity in ("immature", "payable"):
            owed = await connection.scalar(
                sa.select(-sa.func.coalesce(sa.func.sum(journal_posting.c.amount), 0)).where(
                    journal_posting.c.account.like(f"miner:%:{maturity}")
                )
            )
            metrics.liability.labels(maturity).set(int(owed or 0))
