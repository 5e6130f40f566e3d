"""Whether the archive on a disk is whole: what it says of itself, told hour by hour.

Needs the files alone, so that an auditor can do it with a copy. Each hour must be the file that its manifest
closed, hold what the manifest counts, and go on where the hour before ended; each manifest must name the one
before by its hash. Who has the hash of the newest manifest from elsewhere (the pool's database has it) has
the whole archive by it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pool.archive_file import (
    ArchivedHour,
    ArchiveError,
    Contents,
    Manifest,
    Written,
    hours,
    in_version,
    manifest_bytes,
    read_batches,
    read_manifest,
    sha256_of,
)
from register.rules import Rules


class Checked(NamedTuple):
    """An hour, and what is wrong with it; nothing when `problems` is empty."""

    place: ArchivedHour
    manifest: Manifest | None
    """None when it cannot be read."""
    problems: list[str]


def check(directory: Path, first_us: int, last_us: int) -> Iterator[Checked]:
    """Every hour that begins in `first_us` to `last_us`, read whole, the oldest first."""
    earlier = hours(directory, -(2**62), first_us - 1)
    before = _readable(earlier[-1]) if earlier else None
    first = not earlier
    for place in hours(directory, first_us, last_us):
        try:
            manifest = read_manifest(place.manifest)
        except ArchiveError as error:
            yield Checked(place, None, [str(error)])
            before, first = None, False
            continue
        problems = [*_breaks(before, manifest, first=first), *_differences(place, manifest)]
        yield Checked(place, manifest, problems)
        before, first = manifest, False


def _readable(place: ArchivedHour) -> Manifest | None:
    try:
        return read_manifest(place.manifest)
    except ArchiveError:
        return None


def _breaks(before: Manifest | None, manifest: Manifest, *, first: bool) -> Iterator[str]:
    """Where an hour does not go on where the one before ended."""
    if before is None and not first:
        yield "the manifest before it cannot be read, so that nothing says where it goes on"
        return
    name = before.file if before else "the beginning"
    pairs = (
        ("hash of the manifest before", manifest.previous, before and sha256(before)),
        ("first batch", manifest.first_batch, before.last_batch + 1 if before else 1),
        ("first slice", manifest.first_slice, before.next_slice if before else 1),
        ("work before it", int(manifest.total_before), before.total_after if before else 0),
    )
    for what, has, expected in pairs:
        if has != expected:
            yield f"{what} is {has}; after {name} it would be {expected}"


def _differences(place: ArchivedHour, manifest: Manifest) -> Iterator[str]:
    """Where a manifest is not that of its file."""
    contents = Contents()
    try:
        digest = sha256_of(place.file)
        if digest != manifest.sha256:
            yield f"SHA-256 of {place.file} is {digest}, the manifest closed {manifest.sha256}"
            return
        for batch in read_batches(place.file):
            contents.add(batch)
    except (ArchiveError, ValueError) as error:
        yield str(error)
        return
    has = contents.manifest(
        place.hour_us,
        Written(place.file.stat().st_size, digest),
        slices=manifest.slices,
        first_slice=manifest.first_slice,
        total_before=int(manifest.total_before),
        previous=manifest.previous,
    )
    has = in_version(has, manifest.version)
    for name in Manifest.__struct_fields__:
        if getattr(has, name) != getattr(manifest, name):
            yield f"{name} of the records is {getattr(has, name)}, the manifest has {getattr(manifest, name)}"


def sha256(manifest: Manifest) -> str:
    """Of a manifest's canonical bytes: how the next one names it."""
    return hashlib.sha256(manifest_bytes(manifest)).hexdigest()


def kept_until(rules: Rules, hour_us: int) -> dt.date:
    """The last day on which an hour must still be there: full calendar years after its own (O-65)."""
    day = rules.day_of(hour_us)
    years = rules.on("retention", day).integer("years")
    return dt.date(day.year + years, 12, 31)
