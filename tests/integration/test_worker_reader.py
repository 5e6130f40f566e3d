"""Workers counted from the ledger's batches: once each, over restarts, and never from another database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from pool.pages import worker_reader
from pool.pages.worker_reader import FILE, WorkerReader
from pool.pages.workers import DAY_US
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


@pytest.mark.parametrize("damage", ["cut", "other database"])
async def test_a_file_that_does_not_fit_is_left_alone(world: World, tmp_path: Path, damage: str) -> None:
    await day_of_work(world)
    before = reader_of(world, tmp_path)
    told = await counted(before)
    await before.keep()
    if damage == "cut":
        (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
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
