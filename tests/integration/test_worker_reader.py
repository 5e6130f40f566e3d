"""Workers counted from the ledger's batches: once each, over restarts, and never from another database."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
import zstandard

from pool.pages import worker_reader
from pool.pages.worker_reader import FILE, WorkerReader
from pool.pages.workers import DAY_US
from pool.reading import DatabaseAway
from pool.records import Record
from tests.integration.ledger_world import RULES, World
from tests.integration.web_world import MINUTE, SHARE

HOUR = 60 * MINUTE


def reader_of(world: World, directory: Path) -> WorkerReader:
    return WorkerReader(world.engine, RULES, directory, lambda: world.now_us)


async def counted(reader: WorkerReader) -> dict[tuple[int, str], tuple[int, int]]:
    """Each worker's work of a day in shares, and its shares today."""
    await reader.advance()
    now_us, today = reader._now_us(), RULES.day_of(reader._now_us()).toordinal()
    return {
        (miner_id, one.name): (one.over_day(now_us, reader.workers.since_us or 0), one.today(today)[0])
        for miner_id, one in reader.workers.all()
    }


async def day_of_work(world: World) -> None:
    noon = world.now_us
    for hours in range(30, -1, -1):
        world.now_us = noon - hours * HOUR - MINUTE
        await world.tell(
            world.share(1, "rig1", target=SHARE), world.share(2, f"rig{hours % 3}", target=SHARE)
        )
        await world.work()
    world.now_us = noon


async def test_each_batch_is_counted_once_and_only_the_last_day(world: World, tmp_path: Path) -> None:
    await day_of_work(world)
    reader = reader_of(world, tmp_path)
    first = await counted(reader)
    assert reader.whole
    assert first == await counted(reader)
    assert reader.workers.since_us == world.now_us - DAY_US
    assert sum(shares for _, shares in first.values()) == 2 * 12, "those of today"
    await world.tell(world.share(3, "rig9", target=SHARE))
    await world.work()
    assert set(await counted(reader)) - set(first) == {(3, "rig9")}


async def test_a_restart_goes_on_where_the_file_ends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await day_of_work(world)
    before = reader_of(world, tmp_path)
    told = await counted(before)
    await before.keep()
    after = reader_of(world, tmp_path)
    read: list[int] = []
    monkeypatch.setattr(after, "_count", lambda payloads: read.append(len(payloads)))
    assert await counted(after) == told
    assert read == [], "nothing was read again"
    await world.tell(world.share(1, "rig1", target=SHARE))
    await world.work()
    assert (await counted(reader_of(world, tmp_path)))[1, "rig1"][1] == told[1, "rig1"][1] + 1


@pytest.mark.parametrize("damage", ["cut", "other rings", "other database"])
async def test_a_file_that_does_not_fit_is_left_alone(world: World, tmp_path: Path, damage: str) -> None:
    await day_of_work(world)
    before = reader_of(world, tmp_path)
    told = await counted(before)
    await before.keep()
    if damage == "cut":
        (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    elif damage == "other rings":
        kept = msgspec.msgpack.decode(zstandard.decompress((tmp_path / FILE).read_bytes()))
        for one in kept[-1]:
            one[3] = one[3][:-3]
        (tmp_path / FILE).write_bytes(zstandard.compress(msgspec.msgpack.encode(kept)))
    else:
        async with world.engine.begin() as connection:
            await connection.execute(sa.text("UPDATE batch SET taken_us = taken_us + 1 WHERE position = 31"))
    assert await counted(reader_of(world, tmp_path)) == told
    assert await counted(before) == told, "who counted on another database counts anew"


async def test_the_first_look_reads_so_many_records_at_most(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await day_of_work(world)
    monkeypatch.setattr(worker_reader, "RECORDS_BACK", 10)
    reader = reader_of(world, tmp_path)
    told = await counted(reader)
    assert told[1, "rig1"][1] == 5
    assert reader.workers.since_us == world.now_us - 5 * HOUR - MINUTE, "as what is told says"


async def test_a_database_that_goes_away_at_the_beginning_is_begun_with_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not read from its first batch on."""
    await day_of_work(world)
    before = reader_of(world, tmp_path)
    told = await counted(before)
    await before.keep()
    reader = reader_of(world, tmp_path)

    async def away(*_: object) -> bool:
        raise DatabaseAway("away")

    with monkeypatch.context() as broken:
        broken.setattr(worker_reader, "_holds", away)
        with pytest.raises(DatabaseAway):
            await reader.advance()
    assert await counted(reader) == told
    assert reader.workers.since_us == world.now_us - DAY_US


async def test_who_leaves_in_the_middle_of_a_look_makes_nothing_counted_twice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream's look is cancelled with the stream; a thread goes on."""
    await day_of_work(world)
    reader = reader_of(world, tmp_path)
    decode, begun, go_on = worker_reader.decode_batch, threading.Event(), threading.Event()

    def slowly(payload: bytes) -> list[Record]:
        begun.set()
        go_on.wait(10)
        return decode(payload)

    monkeypatch.setattr(worker_reader, "decode_batch", slowly)
    look = asyncio.create_task(reader.advance())
    await asyncio.to_thread(begun.wait, 10)
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    again = asyncio.create_task(reader.advance())
    await asyncio.sleep(0.1)
    go_on.set()
    await again
    assert await counted(reader) == await counted(reader_of(world, tmp_path))


async def test_a_pool_that_has_long_been_idle_is_counted_whole(world: World, tmp_path: Path) -> None:
    await day_of_work(world)
    reader = reader_of(world, tmp_path)
    world.now_us += 2 * DAY_US
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM batch"))
    assert await counted(reader) == {}
    assert reader.whole
