"""A change that waits for a second pair of eyes.

It holds the whole record as it will be, and which version of the record it was made from: when that has
changed in between, the proposal is out of date and must be made anew.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

FourEyes = Literal["payout_address", "licence_status"]
FOUR_EYES: Final = ("payout_address", "licence_status")
_OF: Final = {
    ("address", "entered"): "payout_address",
    ("licence", "entered"): "licence_status",
    ("licence", "changed"): "licence_status",
    ("licence", "resumed"): "licence_status",
}
"""What needs a second person when it is set to. What stops work or payments never waits for one."""


class ProposalError(ValueError):
    """The proposal cannot be decided so. The message names it and the remedy."""


class Proposal(msgspec.Struct, frozen=True):
    """One change, asked for by `actor`."""

    id: int
    kind: str
    key: str
    action: str
    body: str
    """The record as it will be, canonical JSON."""
    base: str
    """The record as it is, canonical JSON; empty when it does not exist yet."""
    actor: str
    reason: str
    state: Literal["waiting", "approved", "rejected"] = "waiting"


def needs_second(kind: str, action: str, four_eyes: frozenset[str]) -> bool:
    """Whether a change waits for a second person."""
    return _OF.get((kind, action)) in four_eyes
