"""The transparency log as plain files under `data_dir/log/`, to be served, mirrored and read by anybody.

The layout is C2SP tlog-tiles: `checkpoint`, and below `tile/` hashes and entries. The database is the source:
a directory that was lost is made again, and the same database gives the same bytes. Tiles come first and the
checkpoint last, each durably, so that whoever reads a checkpoint finds what it speaks of, whatever broke off
in between. A tile that is not full yet is removed once it is.

One process writes at a time; what it writes is read from the database while it holds the lock, so that none
puts an older checkpoint over a newer one.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store
from pool.durable import write_durably
from pool.log_reader import LogReader, require_continued
from pool.log_store import LogError
from pool.reading import reading
from pool.tables_log import log_checkpoint, log_cosignature
from reporting.checkpoint import Checkpoint, parse_checkpoint
from reporting.merkle import Tree, leaf_hash
from reporting.note import Note, NoteError, parse_note
from reporting.tiles import ENTRIES, WIDTH, Tile, bundle_bytes, parse_bundle, parse_path, served, tile_bytes

log = structlog.get_logger(__name__)

CHECKPOINT: Final = "checkpoint"
_LOCK: Final = ".log.lock"


class Written(NamedTuple):
    """What a run changed: paths below the directory."""

    written: list[str]
    removed: list[str]


def read_checkpoint(directory: Path) -> Checkpoint | None:
    """What is published; None when nothing is, or what lies there is no checkpoint."""
    try:
        return parse_checkpoint(parse_note((directory / CHECKPOINT).read_bytes()).text)
    except FileNotFoundError:
        return None
    except NoteError as error:
        log.error(
            "log_checkpoint_damaged",
            path=str(directory / CHECKPOINT),
            reason=str(error),
            explained="it is written anew",
        )
        return None


def missing(directory: Path, tree: Tree, tiles: Iterable[Tile]) -> list[Tile]:
    """Those whose file is not there or not what the tree says; the lowest level first."""
    found = [tile for tile in tiles if not _is_right(directory / tile.path, tree, tile)]
    return sorted(found, key=lambda one: (one.level, one.index, one.width))


def _is_right(place: Path, tree: Tree, tile: Tile) -> bool:
    try:
        data = place.read_bytes()
    except FileNotFoundError:
        return False
    if tile.level == ENTRIES:
        try:
            hashes = [leaf_hash(one) for one in parse_bundle(data)]
        except ValueError:  # cut off, or written by somebody else
            hashes = []
        right = hashes == tree.full(0, tile.index * WIDTH, tile.width)
    else:
        right = data == tile_bytes(tree, tile)
    if not right:
        log.error(
            "log_file_changed",
            path=str(place),
            explained="was changed by somebody else; written anew as the database has it",
        )
    return right


def write_files(
    directory: Path, tree: Tree, bundles: Mapping[Tile, Sequence[bytes]], tiles: Iterable[Tile], note: Note
) -> list[str]:
    """Write tiles, those of `bundles` with these entries, and the checkpoint last; the paths."""
    written = []
    for tile in tiles:
        content = bundle_bytes(bundles[tile]) if tile.level == ENTRIES else tile_bytes(tree, tile)
        write_durably(directory / tile.path, content)
        written.append(tile.path)
    place = directory / CHECKPOINT
    if not place.exists() or place.read_bytes() != note.encode():
        write_durably(place, note.encode())
        written.append(CHECKPOINT)
    return written


def _require_hashes(tree: Tree, tile: Tile, entries: Sequence[bytes]) -> None:
    if [leaf_hash(one) for one in entries] != tree.full(0, tile.index * WIDTH, tile.width):
        raise LogError(
            f"log: the entries of {tile.path} in the database are not those that were signed: they were "
            f"tampered with; restore a backup"
        )


def _remove_outgrown(directory: Path, wanted: set[Tile]) -> list[str]:
    """Partial tiles that are full by now, and what a crash left beside them."""
    removed = []
    for folder in sorted(directory.glob("tile/**/*.p")):
        for place in sorted(folder.iterdir()):
            path = str(place.relative_to(directory))
            if not _is_one_of(path, wanted):
                place.unlink()
                removed.append(path)
        if not any(folder.iterdir()):
            folder.rmdir()
    return removed


def _is_one_of(path: str, wanted: set[Tile]) -> bool:
    try:
        return parse_path(path) in wanted
    except ValueError:
        return False


class LogFiles:
    """The published files of one process's `data_dir`, kept as the database has them."""

    def __init__(self, engine: AsyncEngine, data_dir: Path, reader: LogReader | None = None) -> None:
        """`reader` is one that this process has already."""
        self.directory = data_dir / "log"
        self._engine = engine
        self._reader = reader or LogReader()
        self._lock_file = data_dir / _LOCK
        self._published: tuple[int, int] | None = None
        self._settled: set[Tile] = set()
        """Full tiles that this process wrote or looked through: they do not change any more."""

    async def publish(self) -> Written:
        """Write what is missing; nothing where no checkpoint was signed, or a newer one is published.

        Raises LogError when what is published is not what the database goes on from; DatabaseAway; OSError.
        """
        async with self._alone():
            async with reading(self._engine) as connection:
                newest = await log_store.newest_checkpoint(connection)
                if newest is None:
                    return Written([], [])
                tree = await self._reader.update(connection)
                state = await _state(connection)
                tiles = served(await log_store.signed_sizes(connection))
                note = await log_store.published_note(connection, newest)
            told = await asyncio.to_thread(read_checkpoint, self.directory)
            written = Written([], [])
            if told is None or self._older(told, newest.checkpoint, tree):
                written = await self._write(tree, tiles, note)
        self._published = state
        return written

    async def _write(self, tree: Tree, tiles: set[Tile], note: Note) -> Written:
        self._settled = {tile for tile in self._settled if (self.directory / tile.path).exists()}
        lacking = await asyncio.to_thread(missing, self.directory, tree, tiles - self._settled)
        bundles = {}
        async with reading(self._engine) as connection:
            for tile in lacking:
                if tile.level == ENTRIES:
                    bundles[tile] = await log_store.entries(connection, tile.index * WIDTH, tile.width)
                    _require_hashes(tree, tile, bundles[tile])
        written = await asyncio.to_thread(write_files, self.directory, tree, bundles, lacking, note)
        removed = await asyncio.to_thread(_remove_outgrown, self.directory, tiles)
        self._settled |= {tile for tile in tiles if tile.full}
        return Written(written, removed)

    async def refresh(self) -> None:
        """The same, when the database has what was not published by this process yet."""
        async with reading(self._engine) as connection:
            state = await _state(connection)
        if state != self._published or not (self.directory / CHECKPOINT).exists():
            await self.publish()

    def _older(self, told: Checkpoint, newest: Checkpoint, tree: Tree) -> bool:
        """Whether what is published is not newer than what the database has; raises LogError.

        A database that was restored may have the leaves of what is published and not its checkpoint yet.
        """
        if told.origin != newest.origin:
            raise LogError(
                f"{self.directory}: it holds the log {told.origin}, and this is {newest.origin}; move it away"
            )
        require_continued(tree, told)
        return told.size <= newest.size

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """While this process alone writes files here."""
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("w") as file:
            await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
            yield


async def _state(connection: AsyncConnection) -> tuple[int, int]:
    """The newest checkpoint's size and how many cosignatures it has."""
    newest = sa.select(sa.func.coalesce(sa.func.max(log_checkpoint.c.size), 0)).scalar_subquery()
    lines = (
        sa.select(sa.func.count())
        .select_from(log_cosignature)
        .where(log_cosignature.c.size == newest)
        .scalar_subquery()
    )
    row = (await connection.execute(sa.select(newest, lines))).one()
    return row[0], row[1]
