"""An hour of the share archive as text: what `reporting/dmpool_verify.py` reads, with nothing but Python.

One line for each accepted share, in the ledger's order: the slice that it stands in (a position in the one
order of all work), the miner's id, the target and the header in hex; compressed by gzip. It is made of the
Parquet file and its manifest, and the same files always give the same bytes. Nobody has to believe it: the
digests that each report commits to are over these headers and targets (docs/report-schema.md).
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final

from pool.archive_file import ArchiveError, Manifest, read_batches, read_manifest
from pool.durable import settle
from pool.intake import DayOf, solves
from pool.records import Found, Record, Share

_LEVEL: Final = 1
"""Of gzip: headers are random, and more would take twice as long for a hundredth."""


def write_text(parquet: Path, text: Path, day_of: DayOf) -> None:
    """Writes `text` (`HH.csv.gz`) from an hour's file and the manifest beside it, whole or not at all.

    `day_of` gives the calendar day of an instant (unix microseconds), by which slices are cut. Raises
    ArchiveError.
    """
    manifest = read_manifest(parquet.with_suffix(".json"))
    text.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: a request that was given up may still be writing when the next one begins.
    with tempfile.NamedTemporaryFile(dir=text.parent, prefix=f".{text.name}.", delete=False) as raw:
        part = Path(raw.name)
        try:
            _pack(parquet, manifest, raw, day_of)
        except BaseException:
            part.unlink()
            raise
    settle(part, text)


def _pack(parquet: Path, manifest: Manifest, raw: IO[bytes], day_of: DayOf) -> None:
    position = manifest.first_slice
    with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed:
        for batch in read_batches(parquet):
            lines, position = _lines(batch.records, position, day_of)
            packed.write("".join(lines).encode())
    if position != manifest.next_slice:
        raise ArchiveError(
            f"{parquet}: its shares make slices up to {position}, the manifest says {manifest.next_slice}; "
            f"restore it from a backup"
        )


def _lines(records: Iterable[Record], position: int, day_of: DayOf) -> tuple[list[str], int]:
    """The lines of a batch whose first slice has this position, and the position behind its last."""
    lines: list[str] = []
    run: list[Share] = []
    for record in records:
        if isinstance(record, Share):
            run.append(record)
        elif isinstance(record, Found):
            position = _end_run(lines, run, record, position, day_of)
            run = []
    position = _end_run(lines, run, None, position, day_of)
    return lines, position


def _end_run(
    lines: list[str], run: Sequence[Share], found: Found | None, position: int, day_of: DayOf
) -> int:
    """A slice for each miner and day of a run, in order of their first share; a winning share's is the last.

    The same slices as `payouts.slices` cuts for the ledger.
    """
    keys = [(share.miner_id, day_of(share.at_us)) for share in run]
    order = list(dict.fromkeys(keys))
    if found is not None and found.credited and run and solves(run[-1], found):
        order.remove(keys[-1])
        order.append(keys[-1])
    places = {key: position + number for number, key in enumerate(order)}
    for key, share in zip(keys, run, strict=True):
        lines.append(f"{places[key]},{share.miner_id},{share.target.hex()},{share.header.hex()}\n")
    return position + len(order)
