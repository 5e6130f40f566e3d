"""Tiles (C2SP tlog-tiles): a log cut into small files that never change once they are full.

A tile is up to 256 neighbouring hashes of one level of the tree; at level L each is over 256**L leaves. A
bundle is the entries of one tile of level 0, each behind two bytes of its length. A tile that is not full has
its width in its name, so that a file of one name always has the same bytes.

Pure: which files a log of a size has, under which names, and what is in them. Who writes them is elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reporting.merkle import Tree

WIDTH: Final = 256
HEIGHT: Final = 8
"""Levels of the tree from one level of tiles to the next: 2**8 is 256."""
ENTRY_LIMIT: Final = 0xFFFF
ENTRIES: Final = -1
"""In place of a level: the bundle of entries beside a tile of level 0."""
_PATH: Final = re.compile(r"tile/(entries|0|[1-9]\d?)/((?:x\d{3}/)*)(\d{3})(?:\.p/([1-9]\d{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of a log."""

    level: int
    """From 0, or ENTRIES."""
    index: int
    """From 0, within the level."""
    width: int
    """Hashes or entries in it, 1 to 256."""

    @property
    def full(self) -> bool:
        """Whether it never changes any more."""
        return self.width == WIDTH

    @property
    def path(self) -> str:
        """Where it lies below the log's address."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.full else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{partial}"


def index_path(index: int) -> str:
    """The index of a tile as a path: 1234067 is x001/x234/067."""
    last = f"{index % 1000:03d}"
    while index := index // 1000:
        last = f"x{index % 1000:03d}/{last}"
    return last


def parse_path(path: str) -> Tile:
    """The tile of a path; raises ValueError for what is no path of a tile, written in its one way."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise ValueError(f"{path[:80]!r} is no tile")
    level, above, last, width = found.groups()
    index = int("".join(part[1:4] for part in above.split("/")) + last)
    tile = Tile(ENTRIES if level == "entries" else int(level), index, int(width or WIDTH))
    if tile.path != path or tile.level > 63:
        raise ValueError(f"{path[:80]!r} is no tile")
    return tile


def tiles_of(size: int) -> Iterator[Tile]:
    """All files of a log of `size` leaves but its checkpoint: full tiles and the last of each level."""
    level, count = 0, size
    while count:
        for index in range(count // WIDTH):
            yield from _both(Tile(level, index, WIDTH))
        yield from _last(level, count)
        level, count = level + 1, count // WIDTH


def partial_tiles_of(size: int) -> Iterator[Tile]:
    """Those of them that are not full."""
    level, count = 0, size
    while count:
        yield from _last(level, count)
        level, count = level + 1, count // WIDTH


def _last(level: int, count: int) -> Iterator[Tile]:
    if count % WIDTH:
        yield from _both(Tile(level, count // WIDTH, count % WIDTH))


def _both(tile: Tile) -> Iterator[Tile]:
    yield tile
    if tile.level == 0:
        yield replace(tile, level=ENTRIES)


def served(sizes: Iterable[int]) -> set[Tile]:
    """The files of a log that has signed checkpoints of these sizes.

    All of the largest, and of each other one the partial tiles that are not full by now: whoever still holds
    such a checkpoint finds what belongs to it.
    """
    signed = sorted(sizes)
    if not signed:
        return set()
    newest = signed[-1]
    tiles = set(tiles_of(newest))
    for size in signed[:-1]:
        tiles.update(tile for tile in partial_tiles_of(size) if not _full_by(tile, newest))
    return tiles


def _full_by(tile: Tile, size: int) -> bool:
    leaves: int = WIDTH ** (max(tile.level, 0) + 1)
    return (tile.index + 1) * leaves <= size


def tile_bytes(tree: Tree, tile: Tile) -> bytes:
    """What is in a tile of hashes; ValueError when the tree does not have it."""
    return b"".join(tree.full(tile.level * HEIGHT, tile.index * WIDTH, tile.width))


def bundle_bytes(entries: Sequence[bytes]) -> bytes:
    """What is in a bundle of these entries; ValueError for one that is too long."""
    for one in entries:
        if len(one) > ENTRY_LIMIT:
            raise ValueError(f"log entry of {len(one)} bytes: at most {ENTRY_LIMIT} fit into a bundle")
    return b"".join(len(one).to_bytes(2, "big") + one for one in entries)


def parse_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle; raises ValueError when it does not end with one."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise ValueError(f"bundle of {len(data)} bytes: ends within entry {len(entries)}")
        entries.append(data[at + 2 : end])
        at = end
    return entries
