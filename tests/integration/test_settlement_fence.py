"""Two settlers at once, and a PostgreSQL that goes away in the middle: harmless (invariant 5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import settlement_store as store
from pool.database import UNAVAILABLE
from pool.settlement_store import BusyError, Fenced, Tenure
from tests.integration.settlement_world import SettlementWorld, settlement_world

OWED = {1: 50_000_000, 2: 70_000_000}


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[SettlementWorld]:
    async with settlement_world(engine, miners=2) as made:
        yield made


async def test_the_second_settler_is_kept_out(engine: AsyncEngine) -> None:
    async with store.tenure(engine):
        with pytest.raises(BusyError):
            async with store.tenure(engine):
                pass


async def test_a_settler_that_lost_its_lock_can_write_nothing(engine: AsyncEngine) -> None:
    """The fence: its connection lives, its lock does not, and another one has begun."""
    async with engine.connect() as connection:
        async with store.tenure(engine) as first:
            stale = Tenure(connection, first.token)
            async with stale.write():
                pass
        async with store.tenure(engine):
            with pytest.raises(Fenced):
                async with stale.write():
                    pass


async def test_a_new_settler_waits_for_what_the_old_one_is_writing(engine: AsyncEngine) -> None:
    """The fence: nobody begins between the look at the token and the end of the transaction."""
    async with engine.connect() as connection:
        async with store.tenure(engine) as first:
            token = first.token
        writing = Tenure(connection, token).write()
        await writing.__aenter__()
        beginning = asyncio.ensure_future(_begin(engine))
        await asyncio.wait([beginning], timeout=0.5)
        assert not beginning.done()
        await writing.__aexit__(None, None, None)
        assert await beginning == token + 1


async def _begin(engine: AsyncEngine) -> int:
    async with store.tenure(engine) as tenure:
        return tenure.token


async def test_many_settlers_at_once_pay_once(world: SettlementWorld) -> None:
    """I5: four of them, each told to pay everybody, while blocks come."""
    await world.owe(OWED)

    async def one() -> None:
        settler = world.settler()
        for _ in range(5):
            try:
                async with store.tenure(world.engine, 30) as tenure:
                    for payout_id in await settler.reserve(tenure, None, "tester", "a test"):
                        await settler.advance(tenure, payout_id)
                await world.tick(settler)
            except BusyError:
                continue

    await asyncio.gather(*(one() for _ in range(4)))
    await world.mine()
    await world.tick(world.settler())
    await world.require_books_true(OWED)


async def test_connections_cut_in_the_middle_lose_nothing(world: SettlementWorld) -> None:
    """I5: PostgreSQL ends every connection of the settler again and again, as a restart does."""
    await world.owe(OWED)
    settler = world.settler()
    done = asyncio.Event()

    async def cut() -> None:
        async with world.engine.connect() as connection:
            while not done.is_set():
                await connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
                await connection.commit()
                await asyncio.sleep(0.15)

    cutting = asyncio.ensure_future(cut())
    cuts = 0
    for turn in range(12):
        try:
            async with store.tenure(world.engine, 5) as tenure:
                for payout_id in await settler.reserve(tenure, None, "tester", "a test"):
                    await settler.advance(tenure, payout_id)
            await world.tick(settler)
        except (*UNAVAILABLE, BusyError):
            cuts += 1
        if turn > 8:
            done.set()
            await cutting
    await world.tick(settler)
    await world.mine()
    await world.tick(settler)
    assert cuts > 0
    await world.require_books_true(OWED)
