"""The archive's files: what goes in comes out to the byte (I4), and nothing that was changed passes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool import archive_file
from pool.archive_file import (
    ArchivedBatch,
    ArchiveError,
    Contents,
    HourWriter,
    Manifest,
    Worked,
    Written,
    in_version,
    manifest_bytes,
    parse_manifest,
    paths_of,
    read_batches,
    read_manifest,
)
from pool.archive_rows import batches_of, rows_of
from pool.records import Found, Record, Reject, Share, Submitted

HOUR = 1_795_503_600_000_000
EASY = bytes([0x0F]) + b"\xff" * 31
PLAIN = b"\x01" * 72 + (0x1D00FFFF).to_bytes(4, "little") + b"\x01" * 4
WIDE = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=20)
SOME = st.binary(max_size=100)
HEADERS = st.one_of(st.binary(min_size=80, max_size=80), SOME, st.just(b""))
RECORDS = st.one_of(
    st.builds(Share, WIDE, COUNTS, TEXTS, COUNTS, SOME, HEADERS),
    st.builds(Reject, WIDE, COUNTS, TEXTS, TEXTS, COUNTS, SOME, HEADERS),
    st.builds(
        *(Found, WIDE, COUNTS, TEXTS, COUNTS, TEXTS, TEXTS, SOME, COUNTS, COUNTS, TEXTS, st.booleans())
    ),
    st.builds(Submitted, WIDE, TEXTS, TEXTS),
)


def batches(records: Sequence[Sequence[Record]], first: int = 1) -> list[ArchivedBatch]:
    """At consecutive positions."""
    return [
        ArchivedBatch(first + number, 1000 - number, 7, number + 1, number + 4, HOUR + number, list(mine))
        for number, mine in enumerate(records)
    ]


def written(path: Path, given: Sequence[ArchivedBatch]) -> Written:
    with HourWriter(path) as writer:
        for batch in given:
            writer.add(batch)
        return writer.finish()


def share(worker: str = "rig1", miner_id: int = 1, header: bytes = PLAIN) -> Share:
    return Share(HOUR, miner_id, worker, 5, EASY, header)


@given(st.lists(st.lists(RECORDS, max_size=6), max_size=6))
def test_i4_rows_are_the_records_to_the_byte_and_in_their_order(records: list[list[Record]]) -> None:
    given_ = batches(records)
    read = list(batches_of([rows_of(batch) for batch in given_]))
    assert read == given_
    assert [[type(one) for one in batch.records] for batch in read] == [
        [type(one) for one in mine] for mine in records
    ]


@settings(max_examples=20)
@given(st.lists(st.lists(RECORDS, max_size=6), max_size=6))
def test_i4_a_file_gives_back_its_batches(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[Record]]
) -> None:
    path = tmp_path_factory.mktemp("archive") / "2026" / "00.parquet"
    given_ = batches(records)
    result = written(path, given_)
    assert list(read_batches(path)) == given_
    assert result == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_batches_over_many_row_groups_and_reads_come_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_file, "GROUP_ROWS", 50)
    monkeypatch.setattr(archive_file, "_READ_ROWS", 7)
    given_ = batches([[share(f"rig{row}") for row in range(size)] for size in (0, 1, 49, 120, 3, 0, 51, 2)])
    written(tmp_path / "a.parquet", given_)
    assert list(read_batches(tmp_path / "a.parquet")) == given_
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 4


def test_the_same_batches_give_the_same_bytes(tmp_path: Path) -> None:
    given_ = batches([[share(f"rig{row}") for row in range(300)]] * 3)
    assert written(tmp_path / "a", given_) == written(tmp_path / "b", given_)


def test_what_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be archived"):
        written(tmp_path / "a.parquet", batches([[share()], [share(miner_id=2**63)]]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "record", [share(miner_id=2**63), Share(2**63, 1, "a", 1, EASY, b""), Reject(0, 0, "a", "b", 2**64)]
)
def test_a_number_that_no_row_holds_is_named(record: Record) -> None:
    with pytest.raises(ValueError, match="batch at position 1: a record cannot be archived"):
        rows_of(batches([[record]])[0])


def test_a_damaged_file_is_an_archive_error_or_gives_other_records_never_the_same_sha(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    given_ = batches([[share(f"rig{row}", header=row.to_bytes(80, "little")) for row in range(500)]])
    result = written(path, given_)
    content = path.read_bytes()
    told = 0
    for place in range(0, len(content), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        assert archive_file.sha256_of(path) != result.sha256
        try:
            list(read_batches(path))
        except ArchiveError as error:
            assert str(path) in str(error)  # noqa: PT017 - most places are noticed, not all
            told += 1
    assert told > len(content) // 97 * 9 // 10


@pytest.mark.parametrize("content", [b"", b"no parquet at all", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_an_archive_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a\.parquet: cannot be read"):
        list(read_batches(tmp_path / "a.parquet"))


def test_parquet_of_another_kind_and_a_missing_file_are_archive_errors(tmp_path: Path) -> None:
    table = rows_of(batches([[share()]])[0]).select(["position", "at_us"])
    pq.write_table(archive_file.pa.Table.from_batches([table]), tmp_path / "a.parquet")
    with pytest.raises(ArchiveError, match="its columns are not those of the share archive"):
        list(read_batches(tmp_path / "a.parquet"))
    with pytest.raises(ArchiveError, match="cannot be read"):
        list(read_batches(tmp_path / "none.parquet"))


def test_rows_that_do_not_follow_each_other_are_refused() -> None:
    rows = rows_of(batches([[share(), share()]])[0])
    for wrong in ([rows.slice(1)], [rows.slice(0, 1), rows.slice(0, 1)]):
        with pytest.raises(ValueError, match="does not follow the one before"):
            list(batches_of(wrong))


# What an hour holds


def test_contents_are_what_passed() -> None:
    header = bytes(72) + (0x1703A30C).to_bytes(4, "little") + bytes(4)
    refused = [Reject(HOUR, 1, "rig1", "stale"), Reject(HOUR, 0, "x", "unauthorised")]
    found = Found(HOUR, 1, "rig1", 9, "ab", "cd", EASY, 5, 1, "ef", True)
    other = share(miner_id=2, header=header)
    told = batches([[share(), *refused, other], [], [found, refused[0], other]], first=40)
    contents = Contents()
    for batch in told:
        contents.add(batch)
    assert (contents.batches, contents.first_batch, contents.last_batch) == (3, 40, 42)
    assert (contents.shares, contents.founds, contents.submitted) == (3, 1, 0)
    assert contents.rejects == Counter(stale=2, unauthorised=1)
    assert contents.miners == {
        "1": Worked(1, "16", hashlib.sha256(PLAIN + EASY).hexdigest()),
        "2": Worked(2, "32", hashlib.sha256((header + EASY) * 2).hexdigest()),
    }
    assert contents.network_work == 2**256 // (0x03A30C * 2 ** (8 * (0x17 - 3)) + 1)
    with pytest.raises(ValueError, match="position 44 follows that at 42"):
        contents.add(told[2]._replace(position=44))


# Manifests


def manifest(previous: str | None = None) -> Manifest:
    contents = Contents()
    for batch in batches([[share(), share("rig2", 12)], [Reject(HOUR, 1, "rig1", "stale")]]):
        contents.add(batch)
    return contents.manifest(HOUR, Written(10, "ab" * 32), 2, 5, 2**100, previous)


def test_a_manifest_says_where_the_ledger_stood_and_stands() -> None:
    made = manifest("cd" * 32)
    assert (made.hour, made.file) == ("2026-11-24T07:00:00Z", "2026/11/24/07.parquet")
    assert (made.rows, made.work, made.next_slice, made.total_after) == (3, 32, 7, 2**100 + 32)
    assert parse_manifest(manifest_bytes(made)) == made


def test_a_manifest_that_was_changed_is_refused() -> None:
    content = manifest_bytes(manifest())
    for wrong in (
        b"",
        b"{}",
        content[:-1],
        content + b"\n",
        json.dumps(json.loads(content)).encode(),
        content.replace(b'"batches":2', b'"batches":2,"batches":3'),
        content.replace(b'"batches":2', b'"more":1,"batches":2'),
        content.replace(b'"version":2', b'"version":1'),
        content.replace(b'"version":2', b'"version":3'),
        manifest_bytes(in_version(manifest(), 1)).replace(b'"version":1', b'"version":2'),
    ):
        with pytest.raises(ArchiveError, match=r"^here: "):
            parse_manifest(wrong, "here")


def test_i4_manifests_of_version_1_are_read_to_the_byte() -> None:
    first = manifest_bytes(in_version(manifest(), 1))
    assert b"digest" not in first
    assert manifest_bytes(parse_manifest(first)) == first
    assert {id_: one.digest for id_, one in parse_manifest(first).miners.items()} == {"1": "", "12": ""}
    assert in_version(manifest(), 2) == manifest()


def test_hours_are_those_with_a_manifest_in_order(tmp_path: Path) -> None:
    wanted = [HOUR, HOUR + 3_600_000_000, HOUR + 40 * 3_600_000_000]
    for hour_us in reversed(wanted):
        archive_file.write_durably(paths_of(tmp_path, hour_us).manifest, b"x")
    (tmp_path / "2026" / "11" / "24" / "99.json").touch()
    (tmp_path / "2026" / "11" / "24" / ".05.json.part").touch()
    assert archive_file.hours(tmp_path, 0, 2**62) == [paths_of(tmp_path, hour_us) for hour_us in wanted]
    assert archive_file.hours(tmp_path, HOUR + 1, wanted[1]) == [paths_of(tmp_path, wanted[1])]
    assert archive_file.hours(tmp_path / "none", 0, 2**62) == []


def test_a_manifest_is_read_from_its_file_or_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "2026" / "07.json"
    archive_file.write_durably(path, manifest_bytes(manifest()))
    assert read_manifest(path) == manifest()
    assert msgspec.json.decode(path.read_bytes())["previous"] is None
    with pytest.raises(ArchiveError, match=r"08\.json: No such file"):
        read_manifest(path.with_name("08.json"))
    with pytest.raises(ArchiveError, match=r"08\.parquet: No such file"):
        archive_file.sha256_of(path.with_name("08.parquet"))
