"""NiceHash: Q-70 to Q-73.

Sources: nicehash/Specifications `NiceHash_traffic_detection.md` (HMAC over key, NUL, timestamp) and
`NiceHash_extranonce_subscribe_extension.txt`; btcpool `bs:109-118`.
"""

from __future__ import annotations

import hmac
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp, Work

KEY, SECRET, TIMESTAMP = "8f485301-e1e1", "d373d733-d1a7", "1662637786319"


class NiceHash(Firmware):
    """Subscribes to extranonce changes at once, and switches jobs by their id alone."""

    agent = "NiceHash/1.0.0"
    signed = False
    """Proves in the subscription that it is NiceHash (Q-70)."""
    coinbase_limit = 500

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ids: set[str] = set()

    async def start(self) -> Self:
        await self.connect()
        proof = [TIMESTAMP, proof_of(TIMESTAMP)] if self.signed else []
        await self.subscribe([self.agent, *proof])
        if self.extranonce2_size < 4:
            raise GivesUp(f"extranonce2 of {self.extranonce2_size} bytes")
        await self.ask("mining.extranonce.subscribe")
        await self.authorize()
        return self

    def take_job(self, work: Work) -> None:
        if work.job_id in self.ids:
            raise GivesUp(f"job id {work.job_id} again")
        if len(work.coinbase(bytes(work.extranonce2_size))) > self.coinbase_limit:
            raise GivesUp("the coinbase does not fit")
        self.ids.add(work.job_id)
        super().take_job(work)


class SignedNiceHash(NiceHash):
    """With timestamp and HMAC."""

    signed = True


def proof_of(timestamp: str) -> str:
    """The third field of a signed subscription."""
    return hmac.new(SECRET.encode(), f"{KEY}\0{timestamp}".encode(), "sha256").hexdigest()
