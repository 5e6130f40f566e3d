"""What a gateway writes down: the records that travel from the spool through PostgreSQL to the ledger.

They are MessagePack arrays with an integer tag in front, in the order in which the gateway judged them. A
`Found` stands directly behind the share that solved the block, when that share was credited. A share carries
its whole header and target, so that its work can be proven from the record alone (invariant I4).
"""

from __future__ import annotations

import msgspec
import zstandard


class Share(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """An acknowledged share."""

    at_us: int
    """Unix microseconds by the gateway's clock."""
    miner_id: int
    worker: str
    job: int
    target: bytes
    """32 bytes, big-endian: what the share was judged by; its work is 2**256 // (target + 1)."""
    header: bytes
    """The 80 bytes whose double SHA-256 meets the target."""


class Reject(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """A share that is not credited, with what a dispute about it needs.

    A refused one was not acknowledged, so it is not under invariant I1; one in quarantine was, and is.
    """

    at_us: int
    miner_id: int
    """0 when the worker was not authorised; `worker` is then the whole name as it was sent."""
    worker: str
    reason: str
    """The word of `stratum.messages.Reason`, or "quarantine"."""
    job: int = 0
    """0 when the share named no job that was known; likewise without the rest."""
    target: bytes = b""
    """32 bytes, big-endian: what the share was judged by."""
    header: bytes = b""
    """The 80 bytes that were hashed; empty when the fields did not make a header."""


class Found(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """A block that was found and is being submitted."""

    at_us: int
    miner_id: int
    """0 when a worker that was not authorised found it."""
    worker: str
    height: int
    block_hash: str
    """Display hex."""
    previous_hash: str
    network_target: bytes
    """32 bytes, big-endian: the difficulty that the PPLNS window is a multiple of."""
    reward_sat: int
    """What the coinbase pays to the pool: subsidy and fees."""
    fees_sat: int
    coinbase_txid: str
    credited: bool
    """Whether the share in front of this record is the one that solved it."""


class Submitted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """A node has taken a block that was found."""

    at_us: int
    block_hash: str
    """Display hex."""
    node: str
    """How logs call it."""


Record = Share | Reject | Found | Submitted

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(list[Record]).decode
_decode_batch = msgspec.msgpack.Decoder(list[list[Record]]).decode


def encode_records(records: list[Record]) -> bytes:
    """One spool row: the records of one group commit."""
    return _encode(records)


def made_us(row: bytes) -> int:
    """When the first record of a spool row was made; raises ValueError for a row that is none."""
    try:
        return _decode_row(row)[0].at_us
    except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"spool row of {len(row)} bytes cannot be read: {error}") from error


def encode_batch(rows: list[bytes]) -> bytes:
    """One PostgreSQL batch: consecutive spool rows, compressed."""
    packed = _encode([msgspec.Raw(row) for row in rows])
    return zstandard.ZstdCompressor(level=3).compress(packed)


def decode_batch(payload: bytes) -> list[Record]:
    """The records of a batch, in the gateway's order; raises ValueError on a payload that is not one."""
    try:
        rows = _decode_batch(zstandard.ZstdDecompressor().decompress(payload))
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"batch payload of {len(payload)} bytes cannot be read: {error}") from error
    return [record for row in rows for record in row]
