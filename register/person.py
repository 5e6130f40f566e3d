"""Who may write the register: people with a role and a token.

An auditor reads. An operator keeps miners, data centres, hardware units and sites, and may ask for a new
address. A compliance officer does that too, and decides on licences, the pool's own data and people. What
was set to need four eyes takes effect when a second compliance officer has approved it; then a new officer
does too, or one officer could make the other.

Of a token only its SHA-256 is kept; tokens are random and long, so no salt is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class PersonError(ValueError):
    """The person cannot be as given, or may not do this. The message says who, what and the remedy."""


class Role(StrEnum):
    """What a person may do."""

    AUDITOR = "auditor"
    OPERATOR = "operator"
    COMPLIANCE = "compliance"
    SYSTEM = "system"
    """The program itself, for what it saw. No person has it."""


_OPERATORS: Final = frozenset({"miner", "centre", "device", "address", "site"})
"""Kinds of record that an operator may write."""
_SYSTEM: Final = frozenset({"sighting"})


class Actor(msgspec.Struct, frozen=True, gc=False):
    """Who makes a change, as the event log names them."""

    name: str
    role: Role
    token_sha256: str = ""
    """Of the token that was shown; empty for whoever showed none."""

    def require(self, kind: str) -> None:
        """Raises PersonError when this role may not write records of a kind."""
        may = (
            (self.role is Role.COMPLIANCE and kind not in _SYSTEM)
            or (self.role is Role.OPERATOR and kind in _OPERATORS)
            or (self.role is Role.SYSTEM and kind in _SYSTEM)
        )
        if not may:
            raise PersonError(f"{self.name}: the role {self.role} may not write {kind} records")


class Person(msgspec.Struct, frozen=True, gc=False):
    """One who may read or write the register."""

    name: str
    role: Role
    token_sha256: str
    revoked: bool = False

    def check(self) -> None:
        """Raises PersonError when this cannot be a person."""
        if not _NAME.fullmatch(self.name):
            raise PersonError(
                f"person {self.name[:40]!r}: use 2 to 32 of a-z, 0-9, '.', '_' and '-', first a letter or a "
                f"digit"
            )
        if self.role is Role.SYSTEM:
            raise PersonError(f"person {self.name}: role must be auditor, operator or compliance")
        if not _SHA256.fullmatch(self.token_sha256):
            raise PersonError(f"person {self.name}: token_sha256 must be 64 hex digits, as token_hash gives")


def require_current(actor: Actor, people: Mapping[str, Person]) -> None:
    """Raises PersonError when an actor, who was right a while ago, may not act any more.

    The program itself always may; while nobody is in the register, so may whoever sets it up.
    """
    if actor.role is Role.SYSTEM or not people:
        return
    person = people.get(actor.name)
    if person is None or person.revoked or person.role is not actor.role:
        raise PersonError(f"{actor.name}: may not act as {actor.role} any more; ask a compliance officer")
    if actor.token_sha256 and actor.token_sha256 != person.token_sha256:
        raise PersonError(f"{actor.name}: the token was replaced; use the new one")


def token_hash(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def whose(token: str, people: Iterable[Person]) -> Person | None:
    """The person with a token; every one is compared, in constant time."""
    given = token_hash(token)
    found = None
    for person in people:
        if hmac.compare_digest(person.token_sha256, given) and not person.revoked:
            found = person
    return found
