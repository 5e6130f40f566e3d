"""A licensed miner: the account under which work is credited, and the subject behind it.

A miner is a legal entity or an individual entrepreneur of Kazakhstan (O-02, Q-16) with a licence (O-03) and a
payout address. The address is only looked at for its shape here: which chain it must be on is known
to the pool, which asks `register.address`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from register.identity import InvalidIdentity, Kind, identify
from register.licence import Licence

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9]{14,90}")


class MinerError(ValueError):
    """The miner cannot be as given. The message names the miner, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Miner:
    """`name` is the account in the miner's firmware, `title` its legal name, `bin` its BIN or IIN."""

    id: int
    name: str
    title: str
    bin: str
    licence: Licence
    payout_address: str

    def __post_init__(self) -> None:
        if self.id < 1:
            raise MinerError(f"miner {self.name[:40]!r}: id is {self.id}; ids begin at 1")
        if not _NAME.fullmatch(self.name):
            raise MinerError(
                f"miner name {self.name[:40]!r}: use 1 to 32 of A-Z, a-z, 0-9, '_' and '-' "
                f"(no dot: firmware sends account.worker)"
            )
        if (
            not 1 <= len(self.title) <= 200
            or not self.title.isprintable()
            or self.title != self.title.strip()
        ):
            raise MinerError(
                f"miner {self.name}: title {self.title[:210]!r} must be a legal name of 1 to 200 characters"
            )
        if self.kind is Kind.FOREIGN_LEGAL_ENTITY:
            raise MinerError(
                f"miner {self.name}: BIN {self.bin} is of a non-resident legal entity; only legal entities "
                f"and individual entrepreneurs of Kazakhstan may mine (O-02)"
            )
        if not _ADDRESS.fullmatch(self.payout_address):
            raise MinerError(
                f"miner {self.name}: payout address {self.payout_address[:100]!r} is no bitcoin address"
            )

    @property
    def kind(self) -> Kind:
        """What sort of subject the BIN or IIN belongs to; raises MinerError when it is neither."""
        try:
            return identify(self.bin)
        except InvalidIdentity as error:
            raise MinerError(f"miner {self.name}: {error}") from error
