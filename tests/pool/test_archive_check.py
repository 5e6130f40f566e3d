"""The archive says of itself whether it is whole: each way to break it is told, and nothing else is."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from pool import cli_archive
from pool.archive_check import check, kept_until, sha256
from pool.archive_file import (
    ArchivedBatch,
    Contents,
    HourWriter,
    Manifest,
    in_version,
    manifest_bytes,
    paths_of,
    read_manifest,
    write_durably,
)
from pool.clock import HOUR_US
from pool.config import RULES_FILE
from pool.records import Record, Reject, Share
from register.rules import load_rules

RULES = load_rules(RULES_FILE)
HOUR = 1_795_503_600_000_000
"""12:00 in Kazakhstan on 24 November 2026, 07:00 of UTC."""
EASY = bytes([0x0F]) + b"\xff" * 31
EVERYTHING = (-(2**62), 2**62)
run = CliRunner().invoke


def records(count: int) -> list[Record]:
    shares = [Share(HOUR, 1 + one % 2, f"rig{one}", 1, EASY, one.to_bytes(80, "big")) for one in range(count)]
    return [*shares, Reject(HOUR, 1, "rig0", "stale")]


def close(directory: Path, hour_us: int, told: Sequence[Sequence[Record]], version: int = 2) -> Manifest:
    """As the ledger's archivist closes an hour, behind those that are there; a slice for each miner."""
    place = paths_of(directory, hour_us)
    newest = sorted(directory.rglob("*.json"))
    before = read_manifest(newest[-1]) if newest else None
    contents = Contents()
    with HourWriter(place.file) as writer:
        for number, mine in enumerate(told, before.last_batch + 1 if before else 1):
            one = ArchivedBatch(number, number, 1, number, number, hour_us, list(mine))
            contents.add(one)
            writer.add(one)
        written = writer.finish()
    whole = contents.manifest(
        hour_us,
        written,
        slices=len(contents.miners),
        first_slice=before.next_slice if before else 1,
        total_before=before.total_after if before else 0,
        previous=before and sha256(before),
    )
    manifest = in_version(whole, version)
    write_durably(place.manifest, manifest_bytes(manifest))
    return manifest


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three hours, one of them without work; the first was closed before manifests had digests."""
    directory = tmp_path / "archive"
    close(directory, HOUR, [records(5), records(0)], version=1)
    close(directory, HOUR + HOUR_US, [records(0)])
    close(directory, HOUR + 4 * HOUR_US, [records(3)])
    return directory


def problems(directory: Path) -> list[list[str]]:
    return [one.problems for one in check(directory, *EVERYTHING)]


def test_a_whole_archive_has_no_problems_from_any_hour_on(archive: Path) -> None:
    assert problems(archive) == [[], [], []]
    for first in (HOUR + 1, HOUR + HOUR_US, HOUR + 2 * HOUR_US):
        assert all(not one.problems for one in check(archive, first, 2**62))
    assert list(check(archive, HOUR + 1, HOUR + 2)) == []


def rewritten(path: Path, **change: object) -> None:
    write_durably(path, manifest_bytes(msgspec.structs.replace(read_manifest(path), **change)))


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)


BROKEN: dict[str, tuple[Callable[[Path, Path], object], list[int], str]] = {
    "file": (lambda file, _: damaged(file), [1], "SHA-256"),
    "no file": (lambda file, _: file.unlink(), [1], "No such file"),
    "manifest": (lambda _, manifest: damaged(manifest), [1, 2], "is no manifest"),
    "no manifest": (lambda _, manifest: manifest.unlink(), [1], "hash of the manifest before"),
    "shares": (lambda _, manifest: rewritten(manifest, shares=9), [1, 2], "shares of the records is 0"),
    "bytes": (lambda _, manifest: rewritten(manifest, bytes=9), [1, 2], "bytes of the records"),
    "slices": (lambda _, manifest: rewritten(manifest, slices=1), [2], "first slice is 3"),
    "batch": (lambda _, manifest: rewritten(manifest, first_batch=9), [1, 2], "first batch is 9"),
    "total": (lambda _, manifest: rewritten(manifest, total_before="7"), [1, 2], "work before it is 7"),
    "chain": (lambda _, manifest: rewritten(manifest, previous="ab"), [1, 2], "manifest before is ab"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_i4_what_was_changed_in_the_second_hour_is_told(archive: Path, name: str) -> None:
    damage, where, what = BROKEN[name]
    place = paths_of(archive, HOUR + HOUR_US)
    damage(place.file, place.manifest)
    found = problems(archive)
    assert [number for number, one in enumerate(found) if one] == where
    assert any(what in one for one in chain.from_iterable(found))


def test_i4_an_hour_that_was_made_up_whole_breaks_the_chain_behind_it(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    close(other, HOUR, [records(4), records(0)])
    for ours, theirs in zip(paths_of(archive, HOUR)[1:], paths_of(other, HOUR)[1:], strict=True):
        shutil.copy(theirs, ours)
    found = problems(archive)
    assert [bool(one) for one in found] == [False, True, False]
    assert found[1][0].startswith("hash of the manifest before is ")


def test_o65_an_hour_is_kept_for_five_full_years_after_its_own() -> None:
    assert kept_until(RULES, HOUR) == dt.date(2031, 12, 31)
    new_year, _ = RULES.day_bounds(dt.date(2027, 1, 1))
    assert kept_until(RULES, new_year - 1) == dt.date(2031, 12, 31)
    assert kept_until(RULES, new_year) == dt.date(2032, 12, 31)


# The command, on a copy


def test_a_copy_is_listed_shown_and_verified_without_a_database(archive: Path) -> None:
    listed = run(cli_archive.cli, ["list", "--archive", str(archive)])
    assert listed.exit_code == 0
    assert "2026-11-24T07:00:00Z" in listed.output
    assert "2031-12-31" in listed.output
    assert "3 hours, 12 records" in listed.output
    shown = run(cli_archive.cli, ["show", "2026-11-24T12:30", "--archive", str(archive)])
    assert "2026-11-24 12:00 in Kazakhstan" in shown.output
    assert read_manifest(paths_of(archive, HOUR).manifest).sha256 in shown.output
    told = run(cli_archive.cli, ["show", "2026-11-24T07:00Z", "--json", "--archive", str(archive)])
    assert told.output.strip().encode() == paths_of(archive, HOUR).manifest.read_bytes()
    verified = run(cli_archive.cli, ["verify", "--archive", str(archive)])
    assert verified.exit_code == 0
    newest = read_manifest(paths_of(archive, HOUR + 4 * HOUR_US).manifest)
    assert "3 hours with 12 records are as they were closed" in verified.output
    assert f"newest manifest: {newest.hour} {sha256(newest)}" in verified.output


def test_days_bound_what_is_looked_at(archive: Path) -> None:
    day = ["--from", "2026-11-25", "--archive", str(archive)]
    assert "none" in run(cli_archive.cli, ["list", *day]).output
    assert "0 hours with 0 records" in run(cli_archive.cli, ["verify", *day]).output


def test_a_broken_copy_ends_with_a_word_for_each_problem(archive: Path) -> None:
    damaged(paths_of(archive, HOUR).file)
    verified = run(cli_archive.cli, ["verify", "--archive", str(archive)])
    assert verified.exit_code == 1
    assert "1 problems; restore what is named from a backup" in verified.output


@pytest.mark.parametrize(("hour", "code"), [("2026-11-24T20:00", 1), ("noon", 2)])
def test_an_hour_that_is_not_there_and_no_hour_at_all(archive: Path, hour: str, code: int) -> None:
    assert run(cli_archive.cli, ["show", hour, "--archive", str(archive)]).exit_code == code
