"""Records as rows of the share archive, and rows as records: a bijection, to the byte.

One row a record, in ledger order. A header is split into its six fields, because only the merkle root and the
nonce are random: the others repeat, and cost next to nothing once they stand in columns of their own. What is
not 80 bytes stands as it came in `header_other`. A batch without records has one row of kind "none", so that
no position of the order is missing from the archive.

Columns hold what PostgreSQL's batches hold and nothing that was computed from it. Any reader of Parquet can
read them; `LAYOUT` says how each is encoded, chosen by `benchmarks/archive_size.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pool.records import Found, Record, Reject, Share, Submitted

HEADER: Final = struct.Struct("<I32s32sIII")
"""Version, previous block, merkle root, time, bits, nonce; both hashes in the order of the header."""
_FIELDS: Final = (
    ("version", 0, 4, pa.uint32()),
    ("previous_block", 4, 36, pa.binary(32)),
    ("merkle_root", 36, 68, pa.binary(32)),
    ("time", 68, 72, pa.uint32()),
    ("bits", 72, 76, pa.uint32()),
    ("nonce", 76, 80, pa.uint32()),
)


class Column(NamedTuple):
    """How a column is typed and laid out in the file."""

    type: Any
    """Arrow's type."""
    encoding: str
    """Parquet's name of it."""
    zstd: bool = True
    """Whether it is worth compressing; what is random is not."""


REPEATS: Final = "RLE_DICTIONARY"
_GROWS: Final = "DELTA_BINARY_PACKED"
_RANDOM: Final = "PLAIN"
LAYOUT: Final[dict[str, Column]] = {
    "position": Column(pa.int64(), _GROWS),
    "batch_id": Column(pa.int64(), _GROWS),
    "gateway": Column(pa.int32(), REPEATS),
    "first_seq": Column(pa.int64(), _GROWS),
    "last_seq": Column(pa.int64(), _GROWS),
    "taken_us": Column(pa.int64(), _GROWS),
    "index": Column(pa.int32(), _GROWS),
    "kind": Column(pa.string(), REPEATS),
    "at_us": Column(pa.int64(), _GROWS),
    "miner_id": Column(pa.int64(), REPEATS),
    "worker": Column(pa.string(), REPEATS),
    "job": Column(pa.int64(), REPEATS),
    "target": Column(pa.binary(), REPEATS),
    "version": Column(pa.uint32(), REPEATS),
    "previous_block": Column(pa.binary(32), REPEATS),
    "merkle_root": Column(pa.binary(32), _RANDOM, zstd=False),
    "time": Column(pa.uint32(), "BYTE_STREAM_SPLIT"),
    "bits": Column(pa.uint32(), REPEATS),
    "nonce": Column(pa.uint32(), _RANDOM, zstd=False),
    "header_other": Column(pa.binary(), _RANDOM),
    "reason": Column(pa.string(), REPEATS),
    "block_hash": Column(pa.string(), _RANDOM),
    "height": Column(pa.int64(), _RANDOM),
    "previous_hash": Column(pa.string(), _RANDOM),
    "network_target": Column(pa.binary(), _RANDOM),
    "reward_sat": Column(pa.int64(), _RANDOM),
    "fees_sat": Column(pa.int64(), _RANDOM),
    "coinbase_txid": Column(pa.string(), _RANDOM),
    "credited": Column(pa.bool_(), _RANDOM),
    "node": Column(pa.string(), _RANDOM),
}
SCHEMA: Final = pa.schema([(name, column.type) for name, column in LAYOUT.items()])
_OF_BATCH: Final = ("position", "batch_id", "gateway", "first_seq", "last_seq", "taken_us")
_OF_RECORD: Final = tuple(name for name in LAYOUT if name not in _OF_BATCH and name != "index")


class ArchivedBatch(NamedTuple):
    """A batch as the ledger took it."""

    position: int
    """Its place in the one order of all work."""
    batch_id: int
    gateway_number: int
    first_seq: int
    last_seq: int
    """Rows of the gateway's spool."""
    taken_us: int
    """The ledger's clock, unix microseconds."""
    records: list[Record]


def rows_of(batch: ArchivedBatch) -> Any:
    """The rows of a batch as an Arrow record batch; raises ValueError for a number that no row can hold."""
    try:
        table = _rows_of_records(batch.records)
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(
            f"batch at position {batch.position}: a record cannot be archived: {error}"
        ) from error
    count = table.num_rows
    shared = {
        name: pa.repeat(pa.scalar(value, LAYOUT[name].type), count)
        for name, value in zip(_OF_BATCH, batch[:-1], strict=True)
    }
    columns = {**shared, "index": pa.array(range(count), pa.int32())}
    columns |= {name: table.column(name).combine_chunks() for name in _OF_RECORD}
    return pa.RecordBatch.from_arrays([columns[name] for name in LAYOUT], schema=SCHEMA)


def _rows_of_records(records: Sequence[Record]) -> Any:
    """Each kind of record makes its rows in one go; they are then put back into their order."""
    if not records:
        return _filled("none", 1, {})
    places: dict[type[Record], list[int]] = {}
    for place, record in enumerate(records):
        places.setdefault(type(record), []).append(place)
    tables = [_MAKERS[kind]([records[place] for place in mine]) for kind, mine in places.items()]
    if len(tables) == 1:
        return tables[0]
    order = [0] * len(records)
    for row, place in enumerate(chain.from_iterable(places.values())):
        order[place] = row
    return pa.concat_tables(tables).take(pa.array(order, pa.int64()))


def _filled(kind: str, count: int, columns: dict[str, Any]) -> Any:
    columns["kind"] = pa.repeat(pa.scalar(kind), count)
    arrays = [columns[name] if name in columns else pa.nulls(count, LAYOUT[name].type) for name in _OF_RECORD]
    return pa.table(arrays, names=list(_OF_RECORD))


def _arrays(records: Sequence[Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: pa.array([getattr(one, name) for one in records], LAYOUT[name].type) for name in names}


def _headers(headers: list[bytes]) -> dict[str, Any]:
    whole = pa.array([one if len(one) == HEADER.size else None for one in headers], pa.binary(HEADER.size))
    columns = {name: pc.binary_slice(whole, start, stop).view(kind) for name, start, stop, kind in _FIELDS}
    if whole.null_count:
        others = [one if one and len(one) != HEADER.size else None for one in headers]
        columns["header_other"] = pa.array(others, pa.binary())
    return columns


def _shares(records: Sequence[Any]) -> Any:
    columns = _arrays(records, ("at_us", "miner_id", "worker", "job", "target"))
    return _filled("share", len(records), columns | _headers([one.header for one in records]))


def _rejects(records: Sequence[Any]) -> Any:
    columns = _arrays(records, ("at_us", "miner_id", "worker", "reason", "job", "target"))
    return _filled("reject", len(records), columns | _headers([one.header for one in records]))


def _founds(records: Sequence[Any]) -> Any:
    return _filled("found", len(records), _arrays(records, Found.__struct_fields__))


def _submitted(records: Sequence[Any]) -> Any:
    return _filled("submitted", len(records), _arrays(records, Submitted.__struct_fields__))


_MAKERS: Final[dict[type[Record], Callable[[Sequence[Any]], Any]]] = {
    Share: _shares,
    Reject: _rejects,
    Found: _founds,
    Submitted: _submitted,
}


def batches_of(tables: Iterable[Any]) -> Iterator[ArchivedBatch]:
    """The batches whose rows the Arrow record batches hold, in their order.

    Raises ValueError where a row does not follow the one before it.
    """
    batch: ArchivedBatch | None = None
    for table in tables:
        shared = zip(*(_values(table, name) for name in _OF_BATCH), strict=True)
        for key, index, record in zip(shared, _values(table, "index"), _records(table), strict=True):
            if batch is None or key[0] != batch.position:
                if batch is not None:
                    yield batch
                batch = ArchivedBatch._make((*key, []))
            if index != len(batch.records) or key != batch[:-1]:
                raise ValueError(
                    f"row {index} of the batch at position {key[0]} does not follow the one before"
                )
            if record is not None:
                batch.records.append(record)
    if batch is not None:
        yield batch


def _values(table: Any, name: str) -> Iterable[Any]:
    column = table.column(name)
    return repeat(None, len(column)) if column.null_count == len(column) else column.to_pylist()


def _records(table: Any) -> Iterator[Record | None]:
    judged = zip(
        *(_values(table, name) for name in ("at_us", "miner_id", "worker", "reason", "job", "target")),
        _joined(table),
        strict=True,
    )
    rare = {"found": Found, "submitted": Submitted, "none": None}
    for row, (kind, (at_us, miner_id, worker, reason, job, target, header)) in enumerate(
        zip(_values(table, "kind"), judged, strict=True)
    ):
        if kind == "share":
            yield Share(at_us, miner_id, worker, job, target, header)
        elif kind == "reject":
            yield Reject(at_us, miner_id, worker, reason, job, target, header)
        elif kind in rare:
            made = rare[kind]
            yield made and made(*(table.column(name)[row].as_py() for name in made.__struct_fields__))
        else:
            raise ValueError(f"row {row}: kind is {kind!r}; it is share, reject, found, submitted or none")


def _joined(table: Any) -> Iterator[bytes]:
    fields = zip(*(_values(table, name) for name, *_ in _FIELDS), strict=True)
    for field, other in zip(fields, _values(table, "header_other"), strict=True):
        yield HEADER.pack(*field) if field[0] is not None else other or b""
