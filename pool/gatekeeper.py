"""Who may mine, as a session asks it: the register's gate behind the session's small interface.

The register is a snapshot in memory, replaced whole when it changes. Without PostgreSQL the last one known
stays in force, and licences still begin and end on time, because each admission carries its own bounds (I6).
"""

from __future__ import annotations

from collections import Counter

from register.gate import Gate, Refusal
from stratum.interfaces import Worker


class RegisterGatekeeper:
    """A `stratum.interfaces.Gatekeeper` over a replaceable `Gate`."""

    def __init__(self, gate: Gate, refusals: Counter[str]) -> None:
        self.generation = 0
        self._gate = gate
        self._refusals = refusals

    def replace(self, gate: Gate) -> None:
        """The register has changed: every session asks again before its next share is credited."""
        self._gate = gate
        self.generation += 1

    def admit(self, username: str, now_us: int) -> Worker | str:
        """The worker behind a name, or the reason of the refusal in words."""
        verdict = self._gate.admit(username, now_us)
        if isinstance(verdict, Refusal):
            self._refusals[verdict.kind.value] += 1
            return verdict.reason
        return Worker(
            username=username,
            miner_id=verdict.miner_id,
            name=verdict.worker,
            valid_from_us=verdict.valid_from_us,
            valid_until_us=verdict.valid_until_us,
        )
