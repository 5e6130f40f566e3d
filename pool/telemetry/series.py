"""What is known of one time series: its name and labels, what it means, what is normal and what to do.

A metric that nobody can explain is noise, and a number without "what to do" wakes people for nothing. So
each series is described once, here in the types and in `pool.telemetry.catalogue` in the words, and every
instrument is made from its description: what is not described cannot be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["gauge", "counter", "histogram"]
RoleName = Literal["gateway", "ledger", "web"]
Roles = tuple[RoleName, ...]

GATEWAY: Final[Roles] = ("gateway",)
LEDGER: Final[Roles] = ("ledger",)
WEB: Final[Roles] = ("web",)
NODES: Final[Roles] = ("gateway", "ledger")
"""The roles that talk to Bitcoin nodes."""
EVERY: Final[Roles] = ("gateway", "ledger", "web")

FAST: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of a histogram's buckets, in seconds."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric; `name` as it is served, a counter's with `_total`."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    normal: str
    action: str
    """What to do when it is not normal."""
    roles: Roles
    """The roles whose processes tell it."""
    alarms: tuple[str, ...] = ()
    """The alarms that ask for it."""
    absent: str = ""
    """When a process of its roles rightly does not tell it; empty: it always does."""
    buckets: tuple[float, ...] = FAST
    """Of a histogram."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Series that are read together."""

    title: str
    text: str
    series: tuple[Series, ...]
