"""What the law asks of the pool itself: accreditation, sites, test protocols, other requirements.

O-20 to O-24. The pool's complex stands in Kazakhstan (O-22), backups included; in production no site
elsewhere is entered. A new requirement of the accreditation Rules needs a record, not code (O-24).
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, Literal

import msgspec

from register.fields import code_of, day_of, text_of

SITE_ROLES = ("stratum", "database", "node", "signer", "web", "backup")
SiteRole = Literal["stratum", "database", "node", "signer", "web", "backup"]
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class PoolDataError(ValueError):
    """The pool's own data cannot be as given. The message names the record, the value and the remedy."""


class Accreditation(msgspec.Struct, frozen=True, gc=False):
    """The pool is accredited from 00:00 of `issued_on` until the end of `valid_to`, if it has one (Q-13)."""

    number: str
    issued_on: dt.date
    valid_to: dt.date | None = None
    """Last day, its end by an act of the authorised body included."""
    issuer: str = ""

    def covers(self, day: dt.date) -> bool:
        """Whether the pool is accredited by it on a day in Kazakhstan."""
        return self.issued_on <= day and (self.valid_to is None or day <= self.valid_to)

    def check(self) -> None:
        """Raises PoolDataError when this cannot be an accreditation."""
        text_of("accreditation", "number", self.number, PoolDataError, 64)
        text_of(f"accreditation {self.number}", "issuer", self.issuer, PoolDataError, empty=True)
        day_of(f"accreditation {self.number}", "issued_on", self.issued_on, PoolDataError)
        if self.valid_to is not None:
            day_of(f"accreditation {self.number}", "valid_to", self.valid_to, PoolDataError)
        if self.valid_to is not None and self.valid_to < self.issued_on:
            raise PoolDataError(
                f"accreditation {self.number}: valid_to {self.valid_to} is before its issue on "
                f"{self.issued_on}"
            )


class Site(msgspec.Struct, frozen=True):
    """A place where parts of the pool's complex stand (O-22)."""

    code: str
    address: str
    country: str
    """ISO 3166-1 alpha-2."""
    roles: tuple[SiteRole, ...]
    closed_on: dt.date | None = None

    def check(self, *, production: bool) -> None:
        """Raises PoolDataError when this cannot be a site of an accredited pool."""
        code_of("site", "code", self.code, PoolDataError)
        where = f"site {self.code}"
        text_of(where, "address", self.address, PoolDataError, 300)
        if not _COUNTRY.fullmatch(self.country):
            raise PoolDataError(
                f"{where}: country {self.country[:10]!r} must be two letters, KZ for Kazakhstan"
            )
        if production and self.country != "KZ":
            raise PoolDataError(
                f"{where}: stands in {self.country}; the pool's complex, backups included, is in Kazakhstan "
                f"(LAW art. 10 p. 2 sp. 1, O-22)"
            )
        wrong = [role for role in self.roles if role not in SITE_ROLES]
        if wrong or not self.roles:
            raise PoolDataError(f"{where}: roles must be of {', '.join(SITE_ROLES)}; {wrong or 'none'} given")


class TestProtocol(msgspec.Struct, frozen=True, gc=False):
    """A positive protocol of tests on information security, and the version that was tested (O-23)."""

    __test__ = False

    number: str
    on: dt.date
    laboratory: str
    version: str
    """`dmpool --version` of what was tested."""
    digest: str = ""
    """Git commit or image digest of what was tested."""

    def check(self) -> None:
        """Raises PoolDataError when this cannot be a protocol."""
        text_of("test protocol", "number", self.number, PoolDataError, 64)
        where = f"test protocol {self.number}"
        day_of(where, "on", self.on, PoolDataError)
        text_of(where, "laboratory", self.laboratory, PoolDataError)
        text_of(where, "version", self.version, PoolDataError, 64)
        text_of(where, "digest", self.digest, PoolDataError, 100, empty=True)


class Requirement(msgspec.Struct, frozen=True, gc=False):
    """One more requirement of the accreditation Rules, and the evidence that it is met (O-24)."""

    code: str
    text: str
    source: str
    met_on: dt.date | None = None
    evidence: str = ""
    """Name of the evidence file."""
    evidence_sha256: str = ""

    def check(self) -> None:
        """Raises PoolDataError when this cannot be a requirement."""
        code_of("requirement", "code", self.code, PoolDataError)
        where = f"requirement {self.code}"
        text_of(where, "text", self.text, PoolDataError, 500)
        text_of(where, "source", self.source, PoolDataError)
        text_of(where, "evidence", self.evidence, PoolDataError, empty=True)
        if self.evidence_sha256 and not _SHA256.fullmatch(self.evidence_sha256):
            raise PoolDataError(f"{where}: evidence hash must be 64 hex digits")
        if (self.met_on is None) != (not self.evidence):
            raise PoolDataError(
                f"{where}: a requirement is met on a day and by evidence: give both or neither"
            )
