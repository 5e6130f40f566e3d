"""A digital-mining data processing centre: where hardware units stand (O-01, O-05).

A miner of subtype I has a centre of its own, by ownership or on another lawful basis; one of subtype II
places its hardware in a centre that another subject has. `holder_bin` says who has it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from register.fields import code_of, text_of
from register.identity import InvalidIdentity, identify

LEGAL_BASES = ("ownership", "lease", "other")


class CentreError(ValueError):
    """The data centre cannot be as given. The message names the centre, the value and the remedy."""


class Centre(msgspec.Struct, frozen=True):
    """One data centre."""

    code: str
    """Short, unique; stands in lists of hardware."""
    title: str
    address: str
    holder_bin: str
    """BIN or IIN of who has the centre."""
    holder_title: str
    legal_basis: Literal["ownership", "lease", "other"]
    document: str
    """Number and date of the document behind the legal basis."""
    declared_power_kw: int = 0
    """0 where it was not told (O-64)."""

    def check(self) -> None:
        """Raises CentreError when this cannot be a data centre."""
        code_of("data centre", "code", self.code, CentreError)
        where = f"data centre {self.code}"
        for name in ("title", "holder_title", "document"):
            text_of(where, name, getattr(self, name), CentreError)
        text_of(where, "address", self.address, CentreError, 300)
        if self.legal_basis not in LEGAL_BASES:
            raise CentreError(
                f"{where}: legal basis {self.legal_basis!r} must be one of {', '.join(LEGAL_BASES)}"
            )
        if not 0 <= self.declared_power_kw <= 10**7:
            raise CentreError(f"{where}: declared power of {self.declared_power_kw} kW is out of range")
        try:
            identify(self.holder_bin)
        except InvalidIdentity as error:
            raise CentreError(f"{where}: holder: {error}") from error
