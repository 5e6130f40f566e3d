"""An hour as text has the ledger's own slices, in the ledger's order (I4)."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.archive_file import ArchivedBatch, ArchiveError, Contents, HourWriter, manifest_bytes
from pool.archive_text import write_text
from pool.intake import sort_records, work_of
from pool.records import Found, Record, Share

HOUR = 1_795_503_600_000_000
DAY = 86_400_000_000
TARGETS = [bytes([0x0F]) + b"\xff" * 31, bytes([0x00, 0x3F]) + b"\xff" * 30]
FIRST_SLICE = 41


def day_of(at_us: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(at_us // DAY)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Shares of three miners around a midnight; some find a block, credited or not, or another's hash."""
    told: list[Record] = []
    for _ in range(draw(st.integers(0, 9))):
        header = draw(st.binary(min_size=80, max_size=80))
        at_us = HOUR // DAY * DAY + draw(st.sampled_from([-1, 1]))
        told.append(
            Share(
                at_us,
                draw(st.integers(1, 3)),
                draw(st.sampled_from("ab")),
                1,
                draw(st.sampled_from(TARGETS)),
                header,
            )
        )
        if draw(st.integers(0, 3)) == 0:
            digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()[::-1].hex()
            found_hash = digest if draw(st.booleans()) else "00" * 32
            told.append(
                Found(
                    at_us, 1, "a", 1, found_hash, "00" * 32, bytes(32), 5, 0, "00" * 32, draw(st.booleans())
                )
            )
    return told


def hour_of(directory: Path, batches: list[list[Record]], slices: int) -> Path:
    """The hour's file, and the manifest that closes it."""
    path = directory / "00.parquet"
    contents = Contents()
    with HourWriter(path) as writer:
        for number, mine in enumerate(batches, 1):
            batch = ArchivedBatch(number, number + 9, 7, number, number, HOUR + number, mine)
            contents.add(batch)
            writer.add(batch)
        written = writer.finish()
    manifest = contents.manifest(HOUR, written, slices, FIRST_SLICE, 0, None)
    path.with_suffix(".json").write_bytes(manifest_bytes(manifest))
    return path


@settings(max_examples=40)
@given(st.lists(records(), min_size=1, max_size=4))
def test_i4_its_slices_are_the_ledgers(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Record]]
) -> None:
    directory = tmp_path_factory.mktemp("hour")
    slices = [one for mine in batches for one in sort_records(mine, day_of).miners]
    path, text = hour_of(directory, batches, len(slices)), directory / "text" / "00.csv.gz"
    write_text(path, text, day_of)
    lines = [line.split(",") for line in gzip.decompress(text.read_bytes()).decode().splitlines()]
    shares = [one for mine in batches for one in mine if isinstance(one, Share)]
    assert [(int(id_), target, header) for _, id_, target, header in lines] == [
        (one.miner_id, one.target.hex(), one.header.hex()) for one in shares
    ]
    work: dict[tuple[int, int], int] = {}
    for number, id_, target, _ in lines:
        key = (int(number), int(id_))
        work[key] = work.get(key, 0) + work_of(bytes.fromhex(target))
    assert sorted((number, id_, done) for (number, id_), done in work.items()) == [
        (FIRST_SLICE + place, one.miner_id, one.work) for place, one in enumerate(slices)
    ]
    for place, one in enumerate(slices):
        if one.wins is not None:
            last = [header for number, _, _, header in lines if int(number) == FIRST_SLICE + place][-1]
            assert (
                hashlib.sha256(hashlib.sha256(bytes.fromhex(last)).digest()).digest()[::-1].hex() == one.wins
            )
    again = directory / "again.csv.gz"
    write_text(path, again, day_of)
    assert again.read_bytes() == text.read_bytes()


def test_a_manifest_of_other_slices_gives_no_text(tmp_path: Path) -> None:
    share = Share(HOUR, 1, "a", 1, TARGETS[0], bytes(80))
    path, text = hour_of(tmp_path, [[share]], 2), tmp_path / "00.csv.gz"
    with pytest.raises(ArchiveError, match="make slices up to 42, the manifest says 43"):
        write_text(path, text, day_of)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["00.json", "00.parquet"]


def test_one_that_was_given_up_and_still_writes_spoils_nothing(tmp_path: Path) -> None:
    share = Share(HOUR, 1, "a", 1, TARGETS[0], bytes(80))
    path, text = hour_of(tmp_path, [[share]], 1), tmp_path / "00.csv.gz"

    def meanwhile(at_us: int) -> dt.date:
        if not text.exists():
            write_text(path, text, day_of)
        return day_of(at_us)

    write_text(path, text, meanwhile)
    assert gzip.decompress(text.read_bytes()).decode().startswith(f"{FIRST_SLICE},1,")
