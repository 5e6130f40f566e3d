"""Tiles: the examples of C2SP tlog-tiles, and a log put together again from its files alone."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.merkle import Tree, leaf_hash
from reporting.tiles import (
    ENTRIES,
    Tile,
    bundle_bytes,
    parse_bundle,
    parse_path,
    partial_tiles_of,
    served,
    tile_bytes,
    tiles_of,
)
from tests.reporting.test_merkle import slow_root


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0, 256), "tile/0/000"),
        (Tile(0, 1234067, 256), "tile/0/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(63, 1000, 1), "tile/63/x001/000.p/1"),
        (Tile(ENTRIES, 999, 256), "tile/entries/999"),
        (Tile(ENTRIES, 1234067, 8), "tile/entries/x001/x234/067.p/8"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("tile", "tile/", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000"),
        *("tile/64/000", "tile/-1/000", "tile/a/000", "tile/0/x000/001", "tile/0/001/002", "tile/0/x01/002"),
        *("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p/1/"),
        *("tile/0/000\n", "/tile/0/000", "tile/0/٠٠١", "tile/../0/000", "checkpoint", "tile/0/000.p/1.part"),
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no tile"):
        parse_path(path)


def test_the_tiles_of_the_examples() -> None:
    counted = Counter((tile.level, tile.width) for tile in tiles_of(70_000))
    hashes = {key: count for key, count in counted.items() if key[0] != ENTRIES}
    assert hashes == {(0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1}
    assert (counted[ENTRIES, 256], counted[ENTRIES, 112]) == (273, 1)
    paths = [tile.path for tile in tiles_of(256)]
    assert paths == ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"]
    assert list(tiles_of(0)) == []


def test_partial_tiles_of_older_checkpoints_are_kept_until_they_are_full() -> None:
    new = {tile.path for tile in served([255, 300, 301])} - {tile.path for tile in tiles_of(301)}
    assert new == {"tile/0/001.p/44", "tile/entries/001.p/44"}
    both = served([300, 512])
    assert both == set(tiles_of(512)) | {Tile(1, 0, 1)}
    assert served([]) == set()


@settings(max_examples=25)
@given(st.integers(0, 1200), st.integers(0, 1200))
def test_a_log_is_put_together_from_its_files(size: int, old: int) -> None:
    """Of every size: entries hash to tiles of level 0, full tiles to those above, and all to the root."""
    old, size = sorted((old, size))
    entries = [f"entry {number}".encode() * (number % 3) for number in range(size)]
    tree = Tree(map(leaf_hash, entries))
    files = {}
    for tile in served([old, size]):
        if tile.level == ENTRIES:
            first = tile.index * 256
            files[tile.path] = bundle_bytes(entries[first : first + tile.width])
        else:
            files[tile.path] = tile_bytes(tree, tile)
    assert read_root(files, size) == tree.root()
    assert read_root(files, old) == tree.root(old)


def read_root(files: dict[str, bytes], size: int) -> bytes:
    """The root by the words of the specification, from the files that a client would ask for."""
    hashes: list[bytes] = []
    entries: list[bytes] = []
    for tile in [tile for tile in tiles_of(size) if tile.level in (0, ENTRIES)]:
        full = tile.path.partition(".p/")[0]
        data = files.get(tile.path) or files[full]
        if tile.level == 0:
            hashes += [data[at : at + 32] for at in range(0, 32 * tile.width, 32)]
        else:
            entries += parse_bundle(data)[: tile.width]
    assert hashes == [hashlib.sha256(b"\0" + one).digest() for one in entries]
    for tile in [tile for tile in tiles_of(size) if tile.level == 1]:
        first = tile.index * 256
        below = [slow_root(hashes[256 * (first + at) : 256 * (first + at + 1)]) for at in range(tile.width)]
        data = files.get(tile.path) or files[tile.path.partition(".p/")[0]]
        assert data[: 32 * tile.width] == b"".join(below)
    return slow_root(hashes)


def test_every_partial_tile_is_among_all() -> None:
    for size in (1, 255, 256, 257, 65_536, 70_000):
        assert set(partial_tiles_of(size)) == {tile for tile in tiles_of(size) if not tile.full}


def test_bundles_carry_entries_of_any_length_and_no_broken_ones() -> None:
    entries = [b"", b"a", bytes(300), bytes(65_535)]
    data = bundle_bytes(entries)
    assert data[:7].hex() == "0000000161012c"
    assert parse_bundle(data) == entries
    for cut in (data[:-1], data[:1], data + b"\0"):
        with pytest.raises(ValueError, match="ends within entry"):
            parse_bundle(cut)
    with pytest.raises(ValueError, match="at most 65535"):
        bundle_bytes([bytes(65_536)])
