"""The gateways as PostgreSQL knows them: the number that each was given once, and its last sign of life.

A gateway is its spool: the spool's identity gets the number, so a gateway that moves to another machine
with its spool stays the same one. Numbers are never given twice, because shares are filed under them for
good.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import GATEWAY_LOCK, DatabaseError
from pool.tables import gateway

NUMBER_MAX = 4095


@dataclass(frozen=True, slots=True)
class Beat:
    """What a gateway tells of itself."""

    connections: int
    job_height: int | None
    job_at: dt.datetime | None
    shares_accepted: int
    """Since the gateway started; likewise `shares_rejected`."""
    shares_rejected: int


async def register_gateway(engine: AsyncEngine, identity: UUID, name: str) -> int:
    """The number of the gateway with this spool, 1..4095: its own from before, else the smallest free one.

    `name` is how people call it and is kept up to date. Raises DatabaseError when all numbers are taken.
    """
    async with engine.begin() as connection:
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(GATEWAY_LOCK)))
        known = await connection.scalar(
            sa.update(gateway)
            .where(gateway.c.identity == identity)
            .values(name=name)
            .returning(gateway.c.number)
        )
        if known is not None:
            return int(known)
        taken = set(await connection.scalars(sa.select(gateway.c.number)))
        number = next((free for free in range(1, NUMBER_MAX + 1) if free not in taken), None)
        if number is None:
            raise DatabaseError(
                f"gateway {name}: all {NUMBER_MAX} gateway numbers are taken; reuse an old gateway's data_dir"
            )
        await connection.execute(sa.insert(gateway).values(number=number, identity=identity, name=name))
        return number


async def beat(engine: AsyncEngine, number: int, sign: Beat) -> None:
    """Write down a gateway's sign of life."""
    async with engine.begin() as connection:
        await connection.execute(
            sa.update(gateway)
            .where(gateway.c.number == number)
            .values(
                seen_at=sa.func.now(),
                connections=sign.connections,
                job_height=sign.job_height,
                job_at=sign.job_at,
                shares_accepted=sign.shares_accepted,
                shares_rejected=sign.shares_rejected,
            )
        )
