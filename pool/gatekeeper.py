"""Who may mine, as a session asks it: the register's gate behind the session's small interface.

The register is a snapshot in memory, replaced whole when it changes. Without PostgreSQL the last one known
stays in force, and licences still begin and end on time, because each admission carries its own bounds (I6).

Names come as firmwares send them: some write special characters as `%25`, some cut long names (peers: Q-43).
"""

from __future__ import annotations

from collections import Counter
from urllib.parse import unquote

from register.gate import Admission, Gate, Refusal, RefusalKind
from stratum.interfaces import Worker

NOTICE_US = 14 * 86_400_000_000
"""A miner is told of the end of its licence so long before it."""
CUT_LENGTHS = frozenset({63, 80, 127})
"""Where Avalon, NerdMiner and Whatsminer cut a name."""
_NAME = (RefusalKind.MALFORMED, RefusalKind.UNKNOWN_ACCOUNT)


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
        if isinstance(verdict, Refusal) and verdict.kind in _NAME and "%" in username:
            decoded = self._gate.admit(unquote(username), now_us)
            verdict = decoded if isinstance(decoded, Admission) else verdict
        if isinstance(verdict, Refusal):
            self._refusals[verdict.kind.value] += 1
            if verdict.kind in _NAME and len(username) in CUT_LENGTHS:
                return f"{verdict.reason}; the firmware may have cut the name at {len(username)} characters"
            return verdict.reason
        return Worker(
            username=username,
            miner_id=verdict.miner_id,
            name=verdict.worker,
            valid_from_us=verdict.valid_from_us,
            valid_until_us=verdict.valid_until_us,
            account=verdict.account,
            notice=_notice(verdict, now_us),
        )


def _notice(admission: Admission, now_us: int) -> str:
    if admission.valid_until_us - now_us > NOTICE_US:
        return ""
    licence = admission.licence
    return (
        f"licence {licence.number} of account {admission.account} ends with {licence.valid_to}; "
        f"after that day its shares are refused"
    )
