"""Who may send work at this moment: invariant 6, no licence, no work.

A `Gate` is a snapshot of the register, made once and asked often; it has no clock and no database. The
pool makes a new one when the register changes. An `Admission` carries the instants between which the
licence is in force, so that a session can be ended, and a share refused, without asking again.

The username is what firmware sends: `account` or `account.worker`, split at the first dot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from register.licence import Licence
from register.miner import Miner
from register.rules import Rules

_WORKER: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")
_SHOWN: Final = 40  # characters of a stranger's username that an answer repeats


class RefusalKind(StrEnum):
    """Why the gate stayed shut; a label for metrics and for the log (O-03)."""

    MALFORMED = "malformed"
    UNKNOWN_ACCOUNT = "unknown_account"
    NOT_YET = "licence_not_yet"
    ENDED = "licence_ended"


@dataclass(frozen=True, slots=True)
class Admission:
    """Work of `worker` of miner `miner_id` counts from `valid_from_us` until before `valid_until_us`."""

    miner_id: int
    account: str
    worker: str
    valid_from_us: int
    valid_until_us: int
    licence: Licence


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gate's no: `reason` is for the miner to read."""

    reason: str
    kind: RefusalKind


class Gate:
    """A snapshot of the register by account name."""

    def __init__(self, miners: Mapping[str, Miner], rules: Rules) -> None:
        self._miners: dict[str, tuple[Miner, int, int]] = {}
        for name, miner in miners.items():
            if name != miner.name:
                raise ValueError(f"miner {miner.name!r} stands under the name {name!r} in the snapshot")
            self._miners[name] = (miner, *miner.licence.in_force(rules))

    def admit(self, username: str, at_us: int) -> Admission | Refusal:
        """Whether work under `username` counts at an instant (unix microseconds)."""
        account, _, worker = username.partition(".")
        if not _WORKER.fullmatch(worker):
            return Refusal(
                f"worker name {worker[:_SHOWN]!r} must be at most 64 of A-Z, a-z, 0-9, '.', '_' and '-'",
                RefusalKind.MALFORMED,
            )
        known = self._miners.get(account)
        if known is None:
            return Refusal(
                f"account {account[:_SHOWN]!r} is not in the register of licensed miners of this pool",
                RefusalKind.UNKNOWN_ACCOUNT,
            )
        miner, start_us, end_us = known
        licence = miner.licence
        if at_us < start_us:
            return Refusal(
                f"licence {licence.number} of account {account} begins on {licence.valid_from}",
                RefusalKind.NOT_YET,
            )
        if at_us >= end_us:
            return Refusal(
                f"licence {licence.number} of account {account} ended with {licence.valid_to}",
                RefusalKind.ENDED,
            )
        return Admission(miner.id, account, worker, start_us, end_us, licence)
