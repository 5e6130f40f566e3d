"""What all sessions of a server share: jobs, the gate, the recorder, policy, limits.

One object, made once by the server, so that a session holds one reference and not ten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stratum.device_class import DeviceClasses
from stratum.interfaces import Gatekeeper, Recorder
from stratum.job import JobBook
from stratum.limits import AccountLimits, TokenBucket
from stratum.subscriptions import Subscriptions
from stratum.vardiff import DifficultyPolicy

TRANSACTIONS_PER_SECOND = 1.0
TRANSACTIONS_BURST = 5
"""`mining.get_transactions` of all sessions together: an answer can be megabytes."""


class Ramping(Protocol):
    """A session whose difficulty should not wait for the next regular job."""

    def ramp(self, ticks: float) -> None:
        """Change it now, with a fresh job, if it is to change."""
        ...


@dataclass(slots=True)
class SessionContext:
    """Shared by all sessions of a server."""

    book: JobBook
    gate: Gatekeeper
    recorder: Recorder
    policy: DifficultyPolicy
    subscriptions: Subscriptions
    devices: DeviceClasses
    accounts: AccountLimits
    hasten: Callable[[Ramping], None]
    """Asks for a call of `ramp` within a second or so."""
    ask_version: bool = False
    """Send `client.get_version` after the first authorisation."""
    transactions: TokenBucket = field(
        default_factory=lambda: TokenBucket(TRANSACTIONS_PER_SECOND, TRANSACTIONS_BURST)
    )
    unknown_methods: int = 0
    """Requests for methods that there are not, of all sessions."""
    policies: dict[str, DifficultyPolicy] = field(init=False)
    """By the name of the device class."""

    def __post_init__(self) -> None:
        self.policies = {device.name: device.policy(self.policy) for device in self.devices}
