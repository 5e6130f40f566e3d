"""Refused shares of one connection: what is written down of them, for disputes, and how much of it.

Each is told to the recorder with its reason, target, job and header. A machine at its difficulty finds a
share in five seconds; who has many more refused than that is no machine at work, and must not fill a disk:
what comes beyond the bucket is marked as not to be kept, and only counted.
"""

from __future__ import annotations

from stratum.difficulty import Difficulty
from stratum.interfaces import Refused, Worker
from stratum.job import Job
from stratum.limits import TokenBucket
from stratum.messages import Reason
from stratum.workers import USERNAME_LIMIT

REJECTS_PER_SECOND = 10.0
REJECTS_BURST = 200
"""Refused shares of a connection that are kept."""


class Rejects:
    """Makes the records; the bucket is there from the first refused share on."""

    __slots__ = ("_bucket",)

    def __init__(self) -> None:
        self._bucket: TokenBucket | None = None

    def record(
        self,
        username: str,
        worker: Worker | None,
        reason: Reason,
        now_us: int,
        job: Job | None,
        share_difficulty: Difficulty | None,
        header: bytes,
    ) -> Refused:
        """What the recorder is told of one refused share."""
        if self._bucket is None:
            self._bucket = TokenBucket(REJECTS_PER_SECOND, REJECTS_BURST)
        kept = self._bucket.take(now_us / 1e6)
        name = username[:USERNAME_LIMIT]
        return Refused(name, worker, reason, now_us, kept, job, share_difficulty, header)
