"""Who may come through the regulator's door: regulators, their tokens, and what each token opens.

Pure. A token has scopes and opens nothing else; it is good from an instant to an instant, until it is
revoked, from the networks of its regulator alone, and, where the regulator has a certificate, only together
with that. Of a token only its SHA-256 is kept: tokens are random and long, so no salt is needed.

The book of all regulators follows from the changes in the chain of access events, the oldest first.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from register.event import Event
from register.fields import text_of
from register.person import token_hash

TOKEN_PREFIX: Final = "dmpool-reg-"  # noqa: S105 - what all tokens begin with, so that a leaked one is known
LONGEST_DAYS: Final = 732
"""A token is good for two years at most."""
NETWORKS_MAX: Final = 50
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DAY_US: Final = 86_400_000_000


class RegulatorError(ValueError):
    """The regulator or the token cannot be as given. The message says which, what and the remedy."""


class Scope(StrEnum):
    """What a token opens."""

    REPORTS = "reports"
    """Daily reports with signatures, proofs and PDF."""
    FORMS = "forms"
    """Income forms and annexes; submissions and receipts of the own authority."""
    ARCHIVE = "archive"
    """The share archive."""
    REGISTER = "register"
    """The register of miners, read as an auditor does."""


class Authority(StrEnum):
    """Whom a regulator is part of. Submissions are shown to their addressee alone (O-40)."""

    AUTHORISED_BODY = "authorised_body"
    TAX_AUTHORITY = "tax_authority"
    OTHER = "other"


class Regulator(msgspec.Struct, frozen=True, gc=False):
    """One body, or a part of one, that comes through the door."""

    name: str
    """As commands and the chain call it."""
    title: str
    """As it calls itself."""
    authority: Authority
    networks: tuple[str, ...] = ()
    """From where alone it may come, like 192.0.2.0/24; none: from anywhere."""
    certificate_sha256: str = ""
    """Of the client certificate (DER) that it must show; empty: none."""
    closed: bool = False
    """Its tokens open nothing any more."""

    def check(self) -> None:
        """Raises RegulatorError when this cannot be a regulator."""
        if not _NAME.fullmatch(self.name):
            raise RegulatorError(
                f"regulator {self.name[:40]!r}: use 2 to 32 of a-z, 0-9, '.', '_' and '-', first a letter or "
                f"a digit"
            )
        where = f"regulator {self.name}"
        text_of(where, "title", self.title, RegulatorError)
        if len(self.networks) > NETWORKS_MAX:
            raise RegulatorError(f"{where}: {len(self.networks)} networks; name {NETWORKS_MAX} at most")
        for network in self.networks:
            _network(where, network)
        if self.certificate_sha256 and not _SHA256.fullmatch(self.certificate_sha256):
            raise RegulatorError(f"{where}: certificate_sha256 must be 64 hex digits")

    def reached_from(self, address: str) -> bool:
        """Whether it may come from an address."""
        if not self.networks:
            return True
        try:
            here = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(here in ipaddress.ip_network(one) for one in self.networks)


class Token(msgspec.Struct, frozen=True, gc=False):
    """What a regulator shows."""

    id: str
    """As commands and the chain call it: the first digits of its hash."""
    regulator: str
    token_sha256: str
    scopes: tuple[Scope, ...]
    not_before_us: int
    expires_us: int
    revoked: bool = False

    def check(self) -> None:
        """Raises RegulatorError when this cannot be a token."""
        where = f"token of {self.regulator}"
        if not _SHA256.fullmatch(self.token_sha256):
            raise RegulatorError(f"{where}: token_sha256 must be 64 hex digits, as token_hash gives")
        if not self.scopes:
            raise RegulatorError(f"{where}: give at least one scope of {', '.join(Scope)}")
        if not 0 < self.expires_us - self.not_before_us <= LONGEST_DAYS * _DAY_US:
            raise RegulatorError(f"{where}: it must end after it begins, and within {LONGEST_DAYS} days")


def new_token(
    secret: str, regulator: str, scopes: Iterable[Scope], not_before_us: int, expires_us: int
) -> Token:
    """A checked token of a regulator; `secret` is what the regulator is given."""
    sha256 = token_hash(secret)
    token = Token(sha256[:12], regulator, sha256, tuple(sorted(set(scopes))), not_before_us, expires_us)
    token.check()
    return token


def networks_of(where: str, given: Iterable[str]) -> tuple[str, ...]:
    """Networks as they are kept; raises RegulatorError."""
    return tuple(sorted({str(_network(where, one)) for one in given}))


def _network(where: str, value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(value.strip())
    except ValueError as error:
        raise RegulatorError(f"{where}: network {value[:60]!r}: {error}; write it as 192.0.2.0/24") from None


class Book:
    """All regulators and tokens, as the changes in the chain left them."""

    def __init__(self, changes: Iterable[Event] = ()) -> None:
        self.regulators: dict[str, Regulator] = {}
        self.tokens: dict[str, Token] = {}
        """By id."""
        for event in changes:
            self.take(event)

    def take(self, event: Event) -> None:
        """What one change says from now on; accesses and refusals change nothing."""
        if event.kind == "regulator":
            self.regulators[event.key] = msgspec.json.decode(event.body, type=Regulator)
        elif event.kind == "token":
            self.tokens[event.key] = msgspec.json.decode(event.body, type=Token)

    def token_of(self, secret: str) -> Token | None:
        """The token that this is, good or not; every one is compared, in constant time."""
        return self.token_with(token_hash(secret))

    def token_with(self, sha256: str) -> Token | None:
        """The same by the hash."""
        found = None
        for token in self.tokens.values():
            if hmac.compare_digest(token.token_sha256, sha256):
                found = token
        return found

    def regulator(self, name: str) -> Regulator:
        """Raises RegulatorError when there is none of that name."""
        found = self.regulators.get(name)
        if found is None:
            raise RegulatorError(
                f"regulator {name[:40]!r}: there is none; `dmpool regulators list` shows all"
            )
        return found
