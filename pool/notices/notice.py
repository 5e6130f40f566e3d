"""What a notice is: its kinds and severities, how it is made, and how it is shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["block", "payout", "alarm", "licence", "report"]
KINDS: Final[tuple[Kind, ...]] = ("block", "payout", "alarm", "licence", "report")
Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""The lightest first."""
Audience = Literal["operator", "miner", "both"]
"""A payment to a miner is for its own page only: the operator hears of the payout."""
Value = str | int
Data = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice as it is shown, in a language."""

    at_us: int
    kind: Kind
    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to become a notice."""

    at_us: int
    """When it happened."""
    kind: Kind
    event: str
    """The message of the catalogue that tells it, behind `notices.`."""
    severity: Severity
    key: str
    """Of what happened, so that it becomes a notice once."""
    data: Data = field(default_factory=dict)
    audience: Audience = "operator"
    miner_id: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A notice on its way to a channel; receivers know a repeat by its key."""

    key: str
    at_us: int
    kind: Kind
    event: str
    severity: Severity
    data: Data
    subject: str
    text: str
