"""PostgreSQL stopped and started in the middle of a payout's steps: it goes on, and pays once (I3, I5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_asyncio

from pool.database import UNAVAILABLE, create_engine, migrate
from pool.embedded_postgres import EmbeddedPostgres
from pool.settler import Settler
from tests.campaign import extent
from tests.integration.settlement_world import MATURE, SettlementWorld, settlement_world
from tests.integration.settler_process import armed_with

STEPS = extent(
    ("broadcast",),
    (
        *(
            "reserve",
            "lock_coins",
            "fund",
            "store_version",
            "sign",
            "store_signed",
            "broadcast",
            "store_sent",
        ),
        *("look", "store_confirmed", "store_final"),
    ),
)


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(tmp_path / "postgres")


@pytest_asyncio.fixture
async def world(server: EmbeddedPostgres) -> AsyncIterator[SettlementWorld]:
    engine = create_engine(await asyncio.to_thread(server.start))
    try:
        await migrate(engine)
        async with settlement_world(engine) as made:
            yield made
        await engine.dispose()
    finally:
        server.stop()


@pytest.mark.campaign
@pytest.mark.parametrize("place", extent(("after",), ("before", "after")))
@pytest.mark.parametrize("step", STEPS)
async def test_i5_postgresql_is_restarted_at_a_step(
    world: SettlementWorld, server: EmbeddedPostgres, step: str, place: str
) -> None:
    restarts = 0

    def restart() -> None:
        nonlocal restarts
        if restarts == 0:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(server.stop).result()
                thread.submit(server.start).result()
            restarts += 1

    unlucky, paid = armed_with(restart, place, step), {1: 30_000_000, 2: 20_000_000}

    async def look(kind: type[Settler]) -> None:
        settler = world.settler(kind)
        try:
            async with world.acting() as tenure:
                if not await world.rows_of_payouts():
                    await settler.reserve(tenure, None, "tester", "a test")
            await world.tick(settler)
        except UNAVAILABLE:
            return

    await world.owe(paid)
    for _ in range(3):
        await look(unlucky)
    await world.mine(MATURE)
    for _ in range(3):
        await look(unlucky)
    assert restarts == 1
    assert await world.rows_of_payouts() == [(1, "final", 50_000_000)]
    await world.require_books_true(paid)
