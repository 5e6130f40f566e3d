"""A digital miner: the subject behind an account (O-02, Q-16).

A legal entity or an individual entrepreneur of Kazakhstan. What it may do is said by its licences, what it
mines with by its hardware units, where it is paid by its registered addresses: records of their own.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from register.fields import email_of, text_of
from register.identity import InvalidIdentity, Kind, identify

Language = Literal["en", "ru", "kk"]
LANGUAGES: Final = ("en", "ru", "kk")
CONTACTS_LIMIT = 10
THRESHOLDS: Final = range(10_000, 10_000_000_000 + 1)
"""Satoshis: above what the network relays, up to a hundred bitcoin."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PHONE: Final = re.compile(r"\+?[0-9 ()-]{5,30}")


class MinerError(ValueError):
    """The miner cannot be as given. The message names the miner, the value and the remedy."""


class Contact(msgspec.Struct, frozen=True, gc=False):
    """A person to speak to; e-mail or phone, or both."""

    name: str
    email: str = ""
    phone: str = ""


class Miner(msgspec.Struct, frozen=True):
    """`name` is the account in the miner's firmware, `title` its legal name, `bin` its BIN or IIN."""

    id: int
    name: str
    title: str
    bin: str
    language: Language = "en"
    """Of what the miner is told."""
    contacts: tuple[Contact, ...] = ()
    payout_threshold_sat: int = 0
    """From which sum it wants to be paid; 0 for the pool's own."""
    statement_token_sha256: str = ""
    """Of the token that opens its statements; empty while it has none."""

    @property
    def kind(self) -> Kind:
        """What sort of subject the BIN or IIN belongs to; raises MinerError when it is neither."""
        try:
            return identify(self.bin)
        except InvalidIdentity as error:
            raise MinerError(f"miner {self.name}: {error}") from error

    def check(self) -> None:
        """Raises MinerError when this cannot be a miner."""
        if not _NAME.fullmatch(self.name):
            raise MinerError(
                f"miner name {self.name[:40]!r}: use 1 to 32 of A-Z, a-z, 0-9, '_' and '-' "
                f"(no dot: firmware sends account.worker)"
            )
        where = f"miner {self.name}"
        text_of(where, "title", self.title, MinerError)
        if self.kind is Kind.FOREIGN_LEGAL_ENTITY:
            raise MinerError(
                f"{where}: BIN {self.bin} is of a non-resident legal entity; only legal entities "
                f"and individual entrepreneurs of Kazakhstan may mine (O-02)"
            )
        if self.kind is Kind.LEGAL_ENTITY and self.bin[5] in "12":
            raise MinerError(
                f"{where}: BIN {self.bin} is of a branch or representation (its digit 6 is {self.bin[5]}), "
                f"which is no legal entity; enter the legal entity itself (O-02)"
            )
        if self.language not in LANGUAGES:
            raise MinerError(f"{where}: language {self.language!r} must be one of {', '.join(LANGUAGES)}")
        if self.payout_threshold_sat and self.payout_threshold_sat not in THRESHOLDS:
            raise MinerError(
                f"{where}: payout threshold of {self.payout_threshold_sat} satoshis: give {THRESHOLDS[0]} to "
                f"{THRESHOLDS[-1]}, or 0 for the pool's own"
            )
        if self.statement_token_sha256 and not _SHA256.fullmatch(self.statement_token_sha256):
            raise MinerError(f"{where}: statement_token_sha256 must be 64 hex digits, as token_hash gives")
        if len(self.contacts) > CONTACTS_LIMIT:
            raise MinerError(f"{where}: {len(self.contacts)} contacts; keep up to {CONTACTS_LIMIT}")
        for contact in self.contacts:
            text_of(where, "contact", contact.name, MinerError)
            if contact.email:
                email_of(where, contact.email, MinerError)
            if contact.phone and not _PHONE.fullmatch(contact.phone):
                raise MinerError(f"{where}: phone {contact.phone[:40]!r}: write it like +7 701 123 45 67")
            if not contact.email and not contact.phone:
                raise MinerError(f"{where}: contact {contact.name} needs an e-mail address or a phone number")
