"""`mining.get_transactions`: what a miner may learn of the transactions in its job, and how often.

An answer can be megabytes, so a connection may ask now and then only, and all of a gateway together not much
more often. The answer is the raw transactions in hex, in the order of the block, the coinbase left out.
"""

from __future__ import annotations

from stratum import messages
from stratum.job import Job
from stratum.limits import TokenBucket
from stratum.messages import Reason

TRANSACTIONS_SECONDS = 30.0
"""A connection may ask for a job's transactions this often."""


class TransactionsDesk:
    """Answers one connection."""

    __slots__ = ("_next_at", "_shared")

    def __init__(self, shared: TokenBucket) -> None:
        self._shared = shared
        """Of all connections together."""
        self._next_at = 0.0

    def answer(self, request_id: bytes, working: bool, job: Job | None, ticks: float) -> bytes:
        """The line to send; `job` is None when none is known by the id that was asked for."""
        if not working:
            return messages.refused(request_id, Reason.NOT_SUBSCRIBED, "subscribe and authorize first")
        if job is None:
            text = "get_transactions takes a known job id"
            return messages.refused(request_id, Reason.UNKNOWN_JOB, text)
        if ticks < self._next_at or not self._shared.take(ticks):
            wait = max(self._next_at - ticks, 1.0)
            text = f"too many requests; ask again in {wait:.0f} s"
            return messages.refused(request_id, Reason.RATE, text)
        self._next_at = ticks + TRANSACTIONS_SECONDS
        return messages.result(request_id, [raw.hex() for raw in job.template.transactions])
