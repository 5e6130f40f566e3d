"""`dmpool audit --prove-work`: the proof of each share, from its record alone.

A share's work is what the ledger pays for, and its header shows that it was done: its double SHA-256 is not
above the target that it was judged by. Of refused shares it is told how many had done the work all the same.
"""

from __future__ import annotations

from collections import Counter

from native import sha256d
from pool.archive_rows import ArchivedBatch
from pool.audit_compare import Tally
from pool.records import Found, Reject, Share

HEADER_BYTES = 80


class Proof:
    """Counts as batches pass."""

    def __init__(self) -> None:
        self.work = Tally("proof of work of a share or block")
        self.refused: Counter[tuple[str, str]] = Counter()
        """Refused shares by reason and by what their header shows."""

    def look(self, batch: ArchivedBatch) -> None:
        """Prove all shares and blocks of a batch."""
        last: Share | None = None
        for number, record in enumerate(batch.records):
            match record:
                case Share():
                    last = record
                    digest = _shown(record.header)
                    if digest is not None and digest <= record.target:
                        self.work.agree += 1
                    else:
                        self._differs(batch, number, digest, record.target)
                case Found() if record.credited:
                    digest = None if last is None else _shown(last.header)
                    solved = digest is not None and digest.hex() == record.block_hash
                    if solved and digest is not None and digest <= record.network_target:
                        self.work.agree += 1
                    else:
                        self._differs(batch, number, digest, record.network_target)
                case Reject():
                    self.refused[record.reason, _said(record)] += 1

    def _differs(self, batch: ArchivedBatch, number: int, digest: bytes | None, target: bytes) -> None:
        self.work.differs(
            f"record {number} of batch {batch.position}",
            "no header of 80 bytes" if digest is None else f"hash {digest.hex()}",
            f"target {target.hex()}",
        )


def _shown(header: bytes) -> bytes | None:
    """The hash of a header as a number, big-endian."""
    return sha256d(header)[::-1] if len(header) == HEADER_BYTES else None


def _said(reject: Reject) -> str:
    digest = _shown(reject.header)
    if digest is None or not reject.target:
        return "without a header"
    return "the work was done" if digest <= reject.target else "the work was not done"
