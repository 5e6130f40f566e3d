"""From a real spool to a real PostgreSQL: every record once, whatever fails in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import forwarder as forwarder_module
from pool.database import UNAVAILABLE, create_engine
from pool.forwarder import Forwarder, ForwarderError
from pool.gateway_store import Beat, beat, register_gateway
from pool.records import Share, decode_batch
from pool.spool import Spool
from pool.tables import batch, gateway

NOWHERE = "postgresql://postgres@/x?host=/nonexistent"


@pytest_asyncio.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    made = open_spool(tmp_path)
    yield made
    await made.close()


def open_spool(directory: Path) -> Spool:
    return Spool(directory / "spool.db", asyncio.get_running_loop(), lambda seconds, records: None)


async def append(spool: Spool, *numbers: int) -> None:
    """One durable row."""
    before = spool.last_seq
    for number in numbers:
        spool.append(Share(number, 1, "a", 1, b"\xff" * 32, bytes(80)))
    async with asyncio.timeout(20):
        while spool.last_seq == before:
            await asyncio.sleep(0.002)


async def arrived(engine: AsyncEngine) -> list[int]:
    """The numbers that PostgreSQL has, in order."""
    async with engine.connect() as connection:
        payloads = await connection.scalars(sa.select(batch.c.payload).order_by(batch.c.id))
        return [record.at_us for payload in payloads for record in decode_batch(payload)]


async def push_all(forwarder: Forwarder) -> None:
    while await forwarder.push():
        pass


async def connect(engine: AsyncEngine, spool: Spool) -> Forwarder:
    return Forwarder(engine, spool, await register_gateway(engine, spool.identity, "test"))


async def test_rows_arrive_in_order_and_leave_the_spool(engine: AsyncEngine, spool: Spool) -> None:
    """I1."""
    forwarder = await connect(engine, spool)
    await append(spool, 1, 2)
    await append(spool, 3)
    await push_all(forwarder)
    assert await arrived(engine) == [1, 2, 3]
    assert spool.depth == 0
    assert forwarder.last_ok_at is not None
    async with engine.connect() as connection:
        rows = (
            await connection.execute(sa.select(batch.c.first_seq, batch.c.last_seq, batch.c.records))
        ).all()
    assert [tuple(row) for row in rows] == [(1, 2, 3)]


async def test_batches_are_bounded(
    engine: AsyncEngine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder_module, "BATCH_BYTES", 300)
    forwarder = await connect(engine, spool)
    for number in range(7):
        await append(spool, number)
    await push_all(forwarder)
    assert await arrived(engine) == list(range(7))
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(batch)) == 4


async def test_crash_between_commit_and_trim_counts_nothing_twice(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    """I1: the cursor in PostgreSQL is the truth."""
    spool = open_spool(tmp_path)
    await append(spool, 1)
    forwarder = await connect(engine, spool)
    spool.trim = lambda seq: None  # type: ignore[method-assign] # the process dies before it is written
    await push_all(forwarder)
    await append(spool, 2)
    await spool.close()
    again = open_spool(tmp_path)
    assert again.depth == 2
    await push_all(await connect(engine, again))
    assert await arrived(engine) == [1, 2]
    assert again.depth == 0
    await again.close()


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
async def test_connection_lost_around_the_commit(engine: AsyncEngine, spool: Spool, moment: str) -> None:
    """I1: nothing is lost and nothing counted twice when nobody knows whether it was committed."""
    forwarder = await connect(engine, spool)
    await append(spool, 1)
    write = forwarder._write

    async def broken(first: int, last: int, records: int, payload: bytes) -> bool:
        if moment == "after the commit":
            await write(first, last, records, payload)
        raise ConnectionResetError

    forwarder._write = broken  # type: ignore[method-assign]
    with pytest.raises(ConnectionResetError):
        await forwarder.push()
    assert spool.depth == 1
    forwarder._write = write  # type: ignore[method-assign]
    await append(spool, 2)
    await push_all(forwarder)
    assert await arrived(engine) == [1, 2]


async def test_random_failures_lose_nothing_and_double_nothing(
    engine: AsyncEngine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I1: two forwarders of one spool, backends killed under them, rows still arriving."""
    monkeypatch.setattr(forwarder_module, "BATCH_BYTES", 500)
    luck = random.Random(2)
    forwarders = [await connect(engine, spool) for _ in range(2)]

    async def keep_pushing(one: Forwarder) -> None:
        while True:
            with suppress(*UNAVAILABLE):
                await one.push()
            await asyncio.sleep(luck.random() / 100)

    pushing = [asyncio.create_task(keep_pushing(one)) for one in forwarders]
    for number in range(60):
        await append(spool, number)
        if number % 6 == 0:
            await kill_backends(engine)
    for task in pushing:
        task.cancel()
    await asyncio.gather(*pushing, return_exceptions=True)
    await push_all(forwarders[0])
    assert await arrived(engine) == list(range(60))


async def kill_backends(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


async def test_outage_is_told_once_and_ends(
    engine: AsyncEngine, spool: Spool, monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    monkeypatch.setattr(forwarder_module, "IDLE_SECONDS", 0.01)
    away = create_engine(NOWHERE)
    forwarder = await connect(engine, spool)
    forwarder._engine = away
    await append(spool, 1)
    task = asyncio.create_task(forwarder.run())
    await asyncio.sleep(0.3)
    assert forwarder.outage
    assert spool.depth == 1
    forwarder._engine = engine
    for _ in range(400):
        if spool.depth == 0:
            break
        await asyncio.sleep(0.05)
    assert not forwarder.outage
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [(one["event"], one["log_level"]) for one in told] == [
        ("database_away", "warning"),
        ("database_back", "info"),
    ]
    await away.dispose()


async def test_database_that_was_set_back_is_refused(engine: AsyncEngine, tmp_path: Path) -> None:
    """I1: a gap is never papered over."""
    spool = open_spool(tmp_path)
    await append(spool, 1)
    await push_all(await connect(engine, spool))
    await append(spool, 2)
    await spool.close()  # what was trimmed is gone from the disk
    again = open_spool(tmp_path)
    async with engine.begin() as connection:
        await connection.execute(sa.delete(batch))
        await connection.execute(sa.update(gateway).values(last_seq=0))
    with pytest.raises(ForwarderError, match="restored from an older backup"):
        await push_all(await connect(engine, again))
    await again.close()


async def test_old_copy_of_a_spool_is_refused(engine: AsyncEngine, spool: Spool) -> None:
    forwarder = await connect(engine, spool)
    async with engine.begin() as connection:
        await connection.execute(sa.update(gateway).values(last_seq=7))
    with pytest.raises(ForwarderError, match="rows up to 7, but the spool ends with 0"):
        await forwarder.push()


async def test_number_of_another_spool_is_refused(engine: AsyncEngine, spool: Spool) -> None:
    number = await register_gateway(engine, uuid4(), "other")
    with pytest.raises(ForwarderError, match=r"does not know it by its spool's identity"):
        await Forwarder(engine, spool, number).push()


async def test_gateways_that_start_at_once_get_numbers_of_their_own(database_url: str) -> None:
    engines = [create_engine(database_url) for _ in range(8)]
    identities = [uuid4() for _ in engines]
    numbers = await asyncio.gather(
        *(register_gateway(one, name, "x") for one, name in zip(engines, identities, strict=True))
    )
    assert sorted(numbers) == list(range(1, 9))
    again = await asyncio.gather(
        *(register_gateway(one, name, "y") for one, name in zip(engines, identities, strict=True))
    )
    assert again == numbers
    for one in engines:
        await one.dispose()


async def test_smallest_free_number_is_given(engine: AsyncEngine) -> None:
    for _ in range(3):
        await register_gateway(engine, uuid4(), "x")
    async with engine.begin() as connection:
        await connection.execute(sa.delete(gateway).where(gateway.c.number == 2))
    assert await register_gateway(engine, uuid4(), "x") == 2


async def test_sign_of_life_is_kept(engine: AsyncEngine) -> None:
    number = await register_gateway(engine, uuid4(), "x")
    await beat(engine, number, Beat(17, 840_000, None, 100, 3))
    async with engine.connect() as connection:
        row = (await connection.execute(sa.select(gateway))).one()
    assert (row.connections, row.job_height, row.shares_accepted, row.shares_rejected) == (
        17,
        840_000,
        100,
        3,
    )
    assert row.seen_at is not None


async def test_what_is_pushed_is_timed_and_what_fails_is_counted(
    engine: AsyncEngine, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The series of the way to PostgreSQL: a batch that could not be given is a failure and no time."""
    monkeypatch.setattr(forwarder_module, "IDLE_SECONDS", 0.01)
    took: list[float] = []
    number = await register_gateway(engine, spool.identity, "test")
    forwarder = Forwarder(engine, spool, number, took.append)
    await append(spool, 1)
    oldest = spool.oldest_us()
    forwarder._engine = create_engine(NOWHERE)
    running = asyncio.create_task(forwarder.run())
    async with asyncio.timeout(20):
        while forwarder.failures < 2:
            await asyncio.sleep(0.002)
        assert took == []
        assert spool.oldest_us() == oldest == 1
        forwarder._engine = engine
        while spool.oldest_us() is not None:
            await asyncio.sleep(0.002)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(took) == forwarder.batches == 1
    assert 0 < took[0] < 20
