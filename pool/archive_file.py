"""The share archive on disk: one Parquet file an hour of the ledger, and the manifest that closes it.

An hour holds every record of the batches that the ledger took in that hour of UTC, in ledger order, laid out
by `pool.archive_rows`. Files lie at `YYYY/MM/DD/HH.parquet` and `HH.json` in the archive's directory; hours
without a batch have none. The manifest is canonical JSON (RFC 8785): what the file holds, its SHA-256, where
the ledger stood before it, and the SHA-256 of the manifest before. So a chain closes the whole archive, and
each hour can be replayed from where the one before ended (invariant I4).

Nothing here knows a database. A file is written aside, fsynced and renamed: a crash leaves old or new.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import rfc8785

from pool.archive_rows import HEADER, LAYOUT, REPEATS, SCHEMA, ArchivedBatch, batches_of, rows_of
from pool.clock import instant, microseconds
from pool.durable import settle, write_durably
from pool.node import target_of
from pool.records import Found, Reject, Share
from stratum import difficulty

__all__ = [
    "ArchiveError",
    "ArchivedBatch",
    "ArchivedHour",
    "Contents",
    "HourWriter",
    "Manifest",
    "Worked",
    "Written",
    "hours",
    "in_version",
    "manifest_bytes",
    "parse_manifest",
    "paths_of",
    "read_batches",
    "read_manifest",
    "sha256_of",
    "write_durably",
]

VERSION: Final = 2
"""Of the layout; it stands in each manifest. Since 2 a manifest has a digest of each miner's shares."""
VERSIONS: Final = (1, 2)
"""Those that are read."""
GROUP_ROWS: Final = 1 << 20
"""A row group is closed by the first batch that brings it here. Each repeats the names of all workers."""
ZSTD_LEVEL: Final = 3
_READ_ROWS: Final = 1 << 15
_DICTIONARY_BYTES: Final = 1 << 24
"""Room for the names of a few hundred thousand workers; beyond it Parquet falls back to plain values."""


class ArchiveError(Exception):
    """The archive is not what it must be. The message names the file, what is wrong, and what to do."""


class Worked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The credited work of a miner in an hour."""

    shares: int
    work: str
    """Hashes, in decimal: more than a JSON number holds."""
    digest: str = ""
    """SHA-256 over its shares in ledger order, header and target of each; not in manifests of version 1."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What closes an hour."""

    version: int
    hour_us: int
    hour: str
    """The same for people: "2026-11-24T07:00:00Z"."""
    file: str
    """Relative to the archive's directory."""
    bytes: int
    sha256: str
    """Of the file."""
    previous: str | None
    """SHA-256 of the manifest before; null in the first."""
    batches: int
    first_batch: int
    last_batch: int
    """Positions in the ledger's order, without a gap from manifest to manifest."""
    slices: int
    first_slice: int
    """The position that the first slice cut from these batches has, or the next one to be cut has."""
    total_before: str
    """All work of the ledger before this hour, in decimal."""
    shares: int
    rejects: dict[str, int]
    """By reason."""
    founds: int
    submitted: int
    miners: dict[str, Worked]
    """By miner id."""
    network_work: str
    """Of the hardest block that the shares' headers were for, in hashes; "0" without shares."""

    @property
    def rows(self) -> int:
        """Records of the hour."""
        return self.shares + sum(self.rejects.values()) + self.founds + self.submitted

    @property
    def work(self) -> int:
        """All credited work of the hour, in hashes."""
        return sum(int(one.work) for one in self.miners.values())

    @property
    def next_slice(self) -> int:
        """The position of the first slice after this hour."""
        return self.first_slice + self.slices

    @property
    def total_after(self) -> int:
        """All work of the ledger with this hour."""
        return int(self.total_before) + self.work


class ArchivedHour(NamedTuple):
    """Where an hour lies."""

    hour_us: int
    """Unix microseconds of its beginning."""
    file: Path
    manifest: Path


def paths_of(directory: Path, hour_us: int) -> ArchivedHour:
    """Where the hour that begins at `hour_us` lies, or would lie."""
    folder = directory / f"{instant(hour_us):%Y/%m/%d}"
    name = f"{instant(hour_us):%H}"
    return ArchivedHour(hour_us, folder / f"{name}.parquet", folder / f"{name}.json")


def hours(directory: Path, first_us: int, last_us: int) -> list[ArchivedHour]:
    """The closed hours that begin in `first_us` to `last_us`, the oldest first, by the manifests on disk."""
    found = []
    for path in directory.glob("[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/[0-9][0-9].json"):
        with suppress(ValueError):
            when = dt.datetime.strptime(str(path.relative_to(directory)), "%Y/%m/%d/%H.json")
            hour_us = microseconds(when.replace(tzinfo=dt.UTC))
            if first_us <= hour_us <= last_us:
                found.append(paths_of(directory, hour_us))
    return sorted(found)


# Reading


def read_batches(path: Path) -> Iterator[ArchivedBatch]:
    """The batches of an hour's file in ledger order; some 30,000 records are in memory at a time.

    Raises ArchiveError for a file that cannot be read, or is not ours.
    """
    try:
        # checked by page, as they were written
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise ArchiveError(
                    f"{path}: its columns are not those of the share archive; is it the right file?"
                )
            yield from batches_of(file.iter_batches(_READ_ROWS))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise ArchiveError(f"{path}: cannot be read: {error}; restore it from a backup") from error


def parse_manifest(content: bytes, name: str = "manifest") -> Manifest:
    """A manifest from its bytes; raises ArchiveError unless they are the canonical ones."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{name}: is no manifest of an hour: {error}; restore it from a backup") from error
    if manifest.version not in VERSIONS:
        known = " and ".join(str(one) for one in VERSIONS)
        raise ArchiveError(
            f"{name}: its version is {manifest.version}, known are {known}; use a newer dmpool"
        )
    if any((one.digest == "") != (manifest.version == 1) for one in manifest.miners.values()):
        raise ArchiveError(
            f"{name}: has not of every miner what version {manifest.version} has; restore it from a backup"
        )
    if manifest_bytes(manifest) != content:
        raise ArchiveError(f"{name}: is not canonical JSON, so it was changed; restore it from a backup")
    return manifest


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file; raises ArchiveError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}; restore it from a backup") from error
    return parse_manifest(content, str(path))


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex; raises ArchiveError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror}; restore it from a backup") from error


def in_version(manifest: Manifest, version: int) -> Manifest:
    """What a manifest of the newest version would have been in an earlier one."""
    if version == VERSION:
        return manifest
    miners = {id_: msgspec.structs.replace(one, digest="") for id_, one in manifest.miners.items()}
    return msgspec.structs.replace(manifest, version=version, miners=miners)


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest: what its SHA-256 is over."""
    return rfc8785.dumps(msgspec.to_builtins(manifest))


# Counting


class Contents:
    """What is in the batches of an hour, counted as they pass."""

    def __init__(self) -> None:
        self.first_batch = self.last_batch = self.batches = 0
        self.shares = self.founds = self.submitted = 0
        self.rejects: Counter[str] = Counter()
        self._work: Counter[int] = Counter()
        self._counts: Counter[int] = Counter()
        self._digests: dict[int, Any] = {}
        self._works: dict[bytes, int] = {}
        self._bits: set[bytes] = set()

    def add(self, batch: ArchivedBatch) -> None:
        """Count a batch; raises ValueError unless it is the next one."""
        if self.batches and batch.position != self.last_batch + 1:
            raise ValueError(f"the batch at position {batch.position} follows that at {self.last_batch}")
        self.first_batch = self.first_batch or batch.position
        self.last_batch = batch.position
        self.batches += 1
        for record in batch.records:
            if isinstance(record, Share):
                self._add_share(record)
            elif isinstance(record, Reject):
                self.rejects[record.reason] += 1
            elif isinstance(record, Found):
                self.founds += 1
            else:
                self.submitted += 1

    def _add_share(self, share: Share) -> None:
        work = self._works.get(share.target)
        if work is None:
            work = self._works[share.target] = difficulty.work_of(int.from_bytes(share.target, "big"))
        self.shares += 1
        self._work[share.miner_id] += work
        self._counts[share.miner_id] += 1
        digest = self._digests.get(share.miner_id)
        if digest is None:
            digest = self._digests[share.miner_id] = hashlib.sha256()
        digest.update(share.header + share.target)
        if len(share.header) == HEADER.size:
            self._bits.add(share.header[72:76])

    @property
    def miners(self) -> dict[str, Worked]:
        """The credited work, by miner id."""
        return {
            str(miner_id): Worked(self._counts[miner_id], str(work), self._digests[miner_id].hexdigest())
            for miner_id, work in self._work.items()
        }

    @property
    def network_work(self) -> int:
        """Of the hardest block that a share was for."""
        targets = (target_of(int.from_bytes(bits, "little")) for bits in self._bits)
        return max((difficulty.work_of(target) for target in targets if target), default=0)

    def manifest(
        self,
        hour_us: int,
        written: Written,
        slices: int,
        first_slice: int,
        total_before: int,
        previous: str | None,
    ) -> Manifest:
        """The manifest of the hour that these are the contents of."""
        return Manifest(
            version=VERSION,
            hour_us=hour_us,
            hour=f"{instant(hour_us):%Y-%m-%dT%H:%M:%SZ}",
            file=f"{instant(hour_us):%Y/%m/%d/%H}.parquet",
            bytes=written.bytes,
            sha256=written.sha256,
            previous=previous,
            batches=self.batches,
            first_batch=self.first_batch,
            last_batch=self.last_batch,
            slices=slices,
            first_slice=first_slice,
            total_before=str(total_before),
            shares=self.shares,
            rejects=dict(self.rejects),
            founds=self.founds,
            submitted=self.submitted,
            miners=self.miners,
            network_work=str(self.network_work),
        )


# Writing


class Written(NamedTuple):
    """A file as it lies on disk."""

    bytes: int
    sha256: str


class HourWriter:
    """Writes the file of an hour. Used as a context; without `finish` nothing of it stays."""

    def __init__(self, path: Path) -> None:
        """`path` is where the file will be; its directory is made. Raises OSError."""
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._waiting: list[Any] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(
            self._part,
            SCHEMA,
            version="2.6",
            data_page_version="2.0",
            compression={name: "ZSTD" if one.zstd else "NONE" for name, one in LAYOUT.items()},
            compression_level={name: ZSTD_LEVEL for name, one in LAYOUT.items() if one.zstd},
            use_dictionary=[name for name, one in LAYOUT.items() if one.encoding == REPEATS],
            column_encoding={name: one.encoding for name, one in LAYOUT.items() if one.encoding != REPEATS},
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=["position", "taken_us", "at_us"],
            write_page_checksum=True,
        )

    def __enter__(self) -> HourWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._part.unlink(missing_ok=True)

    def add(self, batch: ArchivedBatch) -> None:
        """The next batch. Raises ValueError for a record that no row can hold, OSError for the disk."""
        rows = rows_of(batch)
        self._waiting.append(rows)
        self._rows += rows.num_rows
        if self._rows >= GROUP_ROWS:
            self._write_group()

    def finish(self) -> Written:
        """The file is whole, on disk for good and under its name."""
        self._write_group()
        self._writer.close()
        size = self._part.stat().st_size
        sha256 = sha256_of(self._part)
        settle(self._part, self._path)
        return Written(size, sha256)

    def _write_group(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting, self._rows = [], 0
