"""The few things that only PostgreSQL knows: the newest blocks, and gateways on other machines.

It is asked where it is configured or runs embedded already; it is never started for this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.clock import microseconds
from pool.config import Settings
from pool.database import DatabaseError, create_engine
from pool.reading import reading
from pool.tables import block, gateway, miner
from pool.terminal.reading import ASK_SECONDS, BlockLine, Books, GatewayLine

BLOCKS: Final = 20
_PORT_LINE, _SOCKET_LINE = 3, 4
"""Of postmaster.pid."""


def engine_of(settings: Settings) -> AsyncEngine:
    """An engine on the pool's database, nothing connected yet; raises DatabaseError where there is none."""
    if settings.database.url is not None:
        return create_engine(settings.database.url.get_secret_value(), pool_size=1)
    return create_engine(_embedded(settings.data_dir / "postgres"), pool_size=1)


def _embedded(directory: Path) -> str:
    try:
        lines = (directory / "postmaster.pid").read_text("utf-8").splitlines()
        port, socket = int(lines[_PORT_LINE]), lines[_SOCKET_LINE]
    except (OSError, ValueError, IndexError):
        raise DatabaseError(f"no embedded PostgreSQL runs in {directory}") from None
    return f"postgresql://postgres@/dmpool?host={quote(socket.strip(), safe='/')}&port={port}"


async def read_books(engine: AsyncEngine) -> Books:
    """The newest blocks first; raises DatabaseAway."""
    async with reading(engine, ASK_SECONDS) as connection:
        blocks = await connection.execute(
            sa.select(block, miner.c.name.label("account"))
            .outerjoin(miner, miner.c.id == block.c.miner_id)
            .order_by(block.c.found_us.desc(), block.c.hash)
            .limit(BLOCKS)
        )
        gateways = await connection.execute(sa.select(gateway).order_by(gateway.c.number))
        return Books(
            [
                BlockLine(
                    row.height,
                    row.hash,
                    row.state,
                    ".".join(part for part in (row.account or "?", row.worker) if part),
                    row.found_us,
                )
                for row in blocks
            ],
            [
                GatewayLine(
                    f"{row.number} {row.name}",
                    None if row.seen_at is None else microseconds(row.seen_at),
                    row.connections,
                    row.job_height,
                )
                for row in gateways
            ],
        )
