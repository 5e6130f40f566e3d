"""The archive on a real PostgreSQL: every record once and for good (I1), in the order of the ledger (I4)."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import archive, partitions
from pool.archive import Archive
from pool.archive_file import ArchiveError, hours, manifest_bytes, paths_of, read_batches, read_manifest
from pool.archive_rows import HEADER
from pool.clock import HOUR_US
from pool.compliance import read_hour
from pool.database import create_engine
from pool.ledger_store import read_head, read_window
from pool.records import Record, Share, Submitted
from pool.tables import archive_hour, batch
from tests.integration.ledger_world import EASY, NOON, RULES, World

MINUTE_US = 60_000_000
DAY_US = 24 * HOUR_US
TODAY = dt.date(2026, 11, 24)
EVERYTHING = (0, 2**62)
NETWORK_BITS = 0x2000FFFF
"""What the headers of `mined` are for: a block of 256 hashes."""


class Archivist:
    """A ledger's world, and the archivist beside its ledger."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.active = True
        self.start()

    def start(self) -> None:
        """The ledger's process starts anew."""
        self.task = Archive(
            *(self.world.engine, self.directory, self.world.terms, RULES),
            active=lambda: self.active,
            now_us=lambda: self.world.now_us,
        )

    async def take(self, minute: int, *records: Record) -> None:
        """The ledger takes a batch so many minutes after 12:00."""
        self.world.now_us = NOON + minute * MINUTE_US
        await self.world.tell(*records)
        await self.world.work()

    async def step(self, minute: int) -> None:
        """The archivist has its turn so many minutes after 12:00."""
        self.world.now_us = NOON + minute * MINUTE_US
        await self.task.step()

    def closed(self) -> list[int]:
        """Hours on disk, counted from 12:00."""
        return [(one.hour_us - NOON) // HOUR_US for one in hours(self.directory, *EVERYTHING)]

    def records(self) -> list[list[Record]]:
        """All batches of the archive, in order."""
        found = [one for hour in hours(self.directory, *EVERYTHING) for one in read_batches(hour.file)]
        assert [one.position for one in found] == list(range(1, len(found) + 1))
        return [one.records for one in found]

    async def rows(self) -> list[int]:
        """Hours that PostgreSQL says are closed, counted from 12:00."""
        found = await self.world.rows("SELECT hour_us FROM archive_hour ORDER BY hour_us")
        return [(int(str(hour_us)) - NOON) // HOUR_US for (hour_us,) in found]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Archivist:
    return Archivist(world, tmp_path / "archive")


def mined(world: World, miner_id: int = 1) -> Share:
    """A share whose header names the network's difficulty."""
    plain = world.share(miner_id)
    fields = list(HEADER.unpack(plain.header))
    fields[4] = NETWORK_BITS
    return Share(plain.at_us, miner_id, plain.worker, 1, EASY, HEADER.pack(*fields))


async def test_i1_i4_every_record_is_in_the_archive_once_in_the_order_of_the_ledger(desk: Archivist) -> None:
    world = desk.world
    won = world.share(2)
    await desk.take(1, world.share(1), world.reject(1), world.reject(0, "unauthorised"))
    await desk.take(30, world.share(2, "b"), won, world.found(won), world.share(3))
    await desk.take(59, Submitted(world.now_us, "ab" * 32, "node 1"))
    await desk.take(61, world.reject(3))
    await desk.take(200, world.share(1))
    assert desk.closed() == []
    await desk.step(201)
    assert desk.closed() == await desk.rows() == [0, 1]
    await desk.step(239)
    assert desk.closed() == [0, 1]
    await desk.step(245)
    assert desk.closed() == await desk.rows() == [0, 1, 3]
    assert desk.records() == world.told


async def test_i4_manifests_are_a_chain_and_say_where_the_ledger_stood(desk: Archivist) -> None:
    world = desk.world
    await desk.take(1, mined(world, 1), world.share(1, "b"), world.share(2))
    await desk.take(2, world.share(2), world.reject(1), world.reject(0, "unauthorised"))
    await desk.take(62, world.reject(3))
    await desk.take(122, world.share(3), world.found())
    await desk.step(185)
    first, second, third = (read_manifest(one.manifest) for one in hours(desk.directory, *EVERYTHING))
    assert (first.previous, first.first_batch, first.last_batch) == (None, 1, 2)
    assert (first.slices, first.first_slice, first.total_before) == (3, 1, "0")
    assert (first.shares, first.rejects) == (4, {"stale": 1, "unauthorised": 1})
    assert {name: (one.shares, one.work) for name, one in first.miners.items()} == {
        "1": (2, "32"),
        "2": (2, "32"),
    }
    assert first.network_work == "256"
    assert second.previous == hashlib.sha256(manifest_bytes(first)).hexdigest()
    assert (second.slices, second.first_slice, second.total_before, second.miners) == (0, 4, "64", {})
    assert third.previous == hashlib.sha256(manifest_bytes(second)).hexdigest()
    assert (third.slices, third.first_slice, third.total_before, third.founds) == (1, 4, "64", 1)
    async with world.engine.connect() as connection:
        head = await read_head(connection)
        rows = (await connection.execute(sa.select(archive_hour).order_by(archive_hour.c.hour_us))).all()
    assert (third.next_slice, third.total_after, third.last_batch) == (
        head.slice_position + 1,
        head.total,
        head.batch_position,
    )
    for row, hour in zip(rows, hours(desk.directory, *EVERYTHING), strict=True):
        assert row.manifest.encode() == hour.manifest.read_bytes()
        assert row.sha256 == hashlib.sha256(hour.file.read_bytes()).hexdigest()


async def test_an_hour_without_batches_has_no_file_and_the_archive_waits_for_work(desk: Archivist) -> None:
    await desk.step(1000)
    assert desk.closed() == []


async def test_i4_no_batch_enters_a_closed_hour_whatever_the_ledgers_clock_says(desk: Archivist) -> None:
    await desk.take(10, desk.world.share(1))
    await desk.step(65)
    await desk.take(20, desk.world.share(1))
    assert await desk.world.rows(f"SELECT (taken_us - {NOON}) / {HOUR_US} FROM batch ORDER BY position") == [
        (0,),
        (1,),
    ]
    await desk.step(125)
    assert desk.records() == desk.world.told
    assert desk.closed() == [0, 1]


async def test_while_another_ledger_is_active_nothing_is_closed(desk: Archivist) -> None:
    await desk.take(10, desk.world.share(1))
    desk.active = False
    await desk.step(100)
    assert desk.closed() == []


STEPS = ("seal", "write", "compare", "counted", "write_durably", "enter")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", STEPS)
async def test_i1_a_crash_at_any_step_is_repeated_to_the_same_bytes(
    desk: Archivist, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    await desk.take(10, desk.world.share(1), desk.world.reject(2))
    await desk.take(70, desk.world.share(2))
    real = getattr(archive, name)
    with monkeypatch.context() as patch:
        patch.setattr(archive, name, crashing(real, after=after))
        with pytest.raises(ZeroDivisionError):
            await desk.step(125)
    done = name == "enter" and after
    assert await desk.rows() == ([0] if done else [])
    desk.start()
    await desk.take(127, desk.world.share(3))
    await desk.step(190)
    assert await desk.rows() == desk.closed() == [0, 1, 2]
    assert desk.records() == desk.world.told
    assert not [one for one in desk.directory.rglob("*") if one.name.endswith(".part")]


def crashing(real: Callable[..., object], *, after: bool) -> Callable[..., object]:
    """The process ends here."""

    def plain(*given: object) -> object:
        if after:
            real(*given)
        raise ZeroDivisionError

    async def waited(*given: object) -> object:
        if after:
            made = real(*given)
            assert isinstance(made, Awaitable)
            await made
        raise ZeroDivisionError

    return plain if real is archive.write_durably else waited


async def test_what_does_not_come_back_as_it_was_closes_nothing(
    desk: Archivist, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.take(10, desk.world.share(1))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "read_batches", lambda path: iter(()))
        with pytest.raises(ArchiveError, match="position 1 does not come back"):
            await desk.step(65)
    whole = list(read_batches(paths_of(desk.directory, NOON).file))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "read_batches", lambda path: iter([*whole, *whole]))
        with pytest.raises(ArchiveError, match="holds more than PostgreSQL has"):
            await desk.step(65)
    assert await desk.rows() == []
    await desk.step(65)
    assert await desk.rows() == [0]


@pytest.mark.parametrize(
    "change", ["work = work - 1", "shares = shares + 1", "miner_id = 2", "total = total + 1"]
)
async def test_i4_slices_that_are_not_the_work_of_the_batches_close_nothing(
    desk: Archivist, change: str
) -> None:
    await desk.take(10, desk.world.share(1), desk.world.share(1))
    async with desk.world.engine.begin() as connection:
        await connection.execute(sa.text(f"UPDATE slice SET {change}"))
    with pytest.raises(ArchiveError, match="have it looked at"):
        await desk.step(65)
    assert await desk.rows() == []


async def test_a_batch_that_is_gone_is_never_skipped(desk: Archivist) -> None:
    await desk.take(10, desk.world.share(1))
    await desk.take(11, desk.world.share(1))
    async with desk.world.engine.begin() as connection:
        await connection.execute(sa.delete(batch).where(batch.c.position == 1))
    with pytest.raises(ArchiveError, match="position 1 is neither archived nor in PostgreSQL"):
        await desk.step(65)


async def test_a_disk_that_takes_nothing_is_told_and_closes_nothing(desk: Archivist) -> None:
    await desk.take(10, desk.world.share(1))
    desk.directory.parent.joinpath("archive").write_text("in the way")
    with pytest.raises(ArchiveError, match="cannot be written"):
        await desk.step(65)
    assert await desk.rows() == []


async def test_files_of_another_machine_are_made_again_or_asked_for(desk: Archivist, tmp_path: Path) -> None:
    for minute in (10, 70):
        await desk.take(minute, desk.world.share(1))
    await desk.step(130)
    before = {one.hour_us: one.file.read_bytes() for one in hours(desk.directory, *EVERYTHING)}
    desk.directory = tmp_path / "other"
    desk.start()
    await desk.step(131)
    assert {one.hour_us: one.file.read_bytes() for one in hours(desk.directory, *EVERYTHING)} == before
    assert desk.records() == desk.world.told
    desk.directory = tmp_path / "third"
    desk.start()
    async with desk.world.engine.begin() as connection:
        await connection.execute(sa.delete(batch).where(batch.c.position == 1))
    with pytest.raises(
        ArchiveError, match=r"1 closed hours are not in .*/third, the first is 2026/11/24/07\.par"
    ):
        await desk.step(132)
    assert desk.closed() == [1]


# Partitions


async def names(engine: AsyncEngine, kind: partitions.Kind) -> list[str]:
    async with engine.connect() as connection:
        return [one.name for one in await partitions.partitions(connection, kind)]


async def place_of(world: World, table: str) -> list[str]:
    """In which partitions the rows of a table are."""
    found = await world.rows(f"SELECT DISTINCT tableoid::regclass::text FROM {table} ORDER BY 1")
    return [str(name) for (name,) in found]


async def test_partitions_are_made_two_weeks_ahead_and_once(world: World) -> None:
    assert await partitions.make_ahead(world.engine, TODAY) == 45
    assert await partitions.make_ahead(world.engine, TODAY) == 0
    assert await partitions.make_ahead(world.engine, TODAY + dt.timedelta(days=1)) == 3
    for kind in partitions.KINDS:
        made = await names(world.engine, kind)
        assert (made[0], made[-1], len(made)) == (f"{kind.name}_20261124", f"{kind.name}_20261209", 16)


async def test_rows_move_from_the_default_to_their_day_and_new_ones_go_there(desk: Archivist) -> None:
    world = desk.world
    await desk.take(1, world.share(1), world.reject(1))
    async with world.engine.begin() as connection:
        await connection.execute(sa.update(batch).values(received_on=TODAY - dt.timedelta(days=40)))
    before = [await world.rows(f"SELECT * FROM {kind.name}") for kind in partitions.KINDS]
    assert await place_of(world, "slice") == ["slice_default"]
    await partitions.make_ahead(world.engine, TODAY)
    assert [await world.rows(f"SELECT * FROM {kind.name}") for kind in partitions.KINDS] == before
    assert await place_of(world, "batch") == ["batch_20261015"]
    await desk.take(2, world.share(1), world.reject(1))
    assert await place_of(world, "slice") == ["slice_20261124"]
    assert await place_of(world, "reject") == ["reject_20261124"]
    assert {name for name, _ in await world.rows("SELECT id, position FROM batch")} == {1, 2}


async def test_a_partition_has_the_rules_of_its_table(world: World) -> None:
    """Constraints, references and indexes are those of the table, or its rows would be less sure."""
    await partitions.make_ahead(world.engine, TODAY)
    statement = (
        "SELECT count(*) FILTER (WHERE contype = 'c'), count(*) FILTER (WHERE contype = 'f'), "
        "count(*) FILTER (WHERE contype = 'p'), count(*) FILTER (WHERE contype = 'u'), "
        "(SELECT count(*) FROM pg_index WHERE indrelid = CAST('{0}' AS regclass)) "
        "FROM pg_constraint WHERE conrelid = CAST('{0}' AS regclass)"
    )
    for kind in partitions.KINDS:
        whole = await world.rows(statement.format(kind.name))
        assert await world.rows(statement.format(f"{kind.name}_20261124")) == whole


async def test_who_holds_a_lock_for_long_is_not_waited_for(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "LOCK_SECONDS", 1)
    other = create_engine(database_url)
    async with other.begin() as connection:
        await connection.execute(sa.text("SELECT * FROM slice"))
        with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
            await partitions.make_ahead(world.engine, TODAY)
    await other.dispose()
    assert await partitions.make_ahead(world.engine, TODAY) == 30
    assert len(await names(world.engine, partitions.KINDS[1])) == 15


async def test_old_partitions_go_when_nothing_needs_them_and_the_ledger_goes_on(desk: Archivist) -> None:
    """I1, I4: what is dropped is in the archive; windows, the watch and the order do without it."""
    world, kinds = desk.world, [kind.name for kind in partitions.KINDS]
    await desk.take(0, mined(world, 1), world.reject(1))
    async with world.engine.begin() as connection:
        await connection.execute(sa.update(batch).values(received_on=TODAY))

    async def present() -> list[str]:
        return [name for name in kinds if await exists(world, f"{name}_20261124")]

    fifteen = 15 * 24 * 60
    world.now_us = NOON
    await world.tell(mined(world, 2))
    async with world.engine.begin() as connection:
        await connection.execute(sa.update(batch).where(batch.c.id == 2).values(received_on=TODAY))
    await desk.step(fifteen)
    assert await present() == ["batch", "slice"]  # a batch waits; a window of 512 hashes reaches back
    await world.work()
    await desk.step(fifteen + 10)
    assert await present() == ["batch", "slice"]  # and is not archived yet
    await desk.step(fifteen + 65)
    assert await present() == ["slice"]
    size = world.terms.on(TODAY).window_multiple * 256
    shares = partitions.REACHES * size // 16
    await desk.take(fifteen + 70, *(mined(world, 1 + number % 3) for number in range(shares)))
    await desk.step(fifteen + 71)
    assert await present() == []
    assert await world.rows("SELECT min(batch_position), count(*) FROM slice") == [(2, 4)]
    async with world.engine.connect() as connection:
        head = await read_head(connection)
        window = await read_window(connection, head.slice_position, size)
    assert window is not None
    assert window.work_total == size
    won = world.share(2)
    await desk.take(fifteen + 75, won, world.found(won))
    assert await world.rows("SELECT window_work::bigint FROM block") == [(size,)]
    assert (await read_hour(world.engine, RULES.day_of, NOON)).rates == {}
    await desk.step(fifteen + 200)
    assert desk.records() == world.told


async def exists(world: World, name: str) -> bool:
    return (await world.rows(f"SELECT to_regclass('{name}') IS NOT NULL")) == [(True,)]


async def test_i1_a_partition_stays_while_the_disk_does_not_have_its_hours_as_they_were_closed(
    desk: Archivist,
) -> None:
    world = desk.world
    await desk.take(0, world.reject(1))
    await desk.step(65)
    place = paths_of(desk.directory, NOON)
    late = 16 * 24 * 60
    for path in (place.file, place.manifest):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"\0")
        with pytest.raises(ArchiveError, match=r"07\.\w+: is not the \w+ that was closed"):
            await desk.step(late)
        assert await exists(world, "reject_20261124")
        path.write_bytes(content)
    await desk.step(late)
    assert not await exists(world, "reject_20261124")


async def test_without_any_word_of_the_networks_difficulty_slices_stay(desk: Archivist) -> None:
    await desk.take(0, desk.world.share(1))
    await desk.take(61, desk.world.share(1))
    await desk.step(16 * 24 * 60)
    assert await exists(desk.world, "slice_20261124")
