"""Who the pool is and on what terms it divides rewards: the section `[pool]` of the configuration."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from payouts.terms import LONGEST_WINDOW, DatedTerms, Scheme, Terms, TermsFrom, TransactionFees
from register.address import InvalidAddress, script_for
from register.identity import InvalidIdentity, Kind, identify
from stratum.job import TAG_LIMIT

Chain = Literal["main", "testnet4", "signet", "regtest"]


class Section(BaseModel):
    """A section of the configuration: unknown keys are mistakes, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TermsRow(Section):
    """Terms that hold from a day in Kazakhstan on; what is not named stays as it was."""

    effective_from: dt.date
    commission_bps: int | None = Field(default=None, ge=0, le=10_000)
    pplns_window: int | None = Field(default=None, ge=1, le=LONGEST_WINDOW)
    scheme: Scheme | None = None
    transaction_fees: TransactionFees | None = None


class PoolSection(Section):
    """Who the pool is and how it splits."""

    name: str = Field(min_length=1, max_length=200)
    bin: str
    chain: Chain
    address: str
    commission_bps: int = Field(default=100, ge=0, le=10_000)
    pplns_window: int = Field(default=2, ge=1, le=LONGEST_WINDOW)
    """The PPLNS window as a multiple of the network difficulty of the found block."""
    scheme: Scheme = "pplns"
    transaction_fees: TransactionFees = "shared"
    terms: tuple[TermsRow, ...] = ()
    """What of these four changes, and from which day on; a change never reaches back."""
    tag: str = "/dmpool/"
    """What the coinbase says of its pool."""

    @field_validator("bin")
    @classmethod
    def _legal_entity(cls, value: str) -> str:
        try:
            kind = identify(value)
        except InvalidIdentity as error:
            raise ValueError(str(error)) from error
        if kind is not Kind.LEGAL_ENTITY:
            raise ValueError("a pool is a legal entity of Kazakhstan (O-20): its BIN has a 4 as fifth digit")
        return value

    @field_validator("tag")
    @classmethod
    def _short_tag(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable() or len(value) > TAG_LIMIT:
            raise ValueError(f"use up to {TAG_LIMIT} printable ASCII characters")
        return value

    @model_validator(mode="after")
    def _address_of_chain(self) -> PoolSection:
        try:
            script_for(self.address, self.chain)
        except InvalidAddress as error:
            raise ValueError(f"address: {error}") from error
        return self

    @model_validator(mode="after")
    def _terms_in_order(self) -> PoolSection:
        try:
            _ = self.dated_terms
        except ValueError as error:
            raise ValueError(f"terms: {error}") from error
        return self

    @property
    def script(self) -> bytes:
        """The scriptPubKey that the coinbase pays."""
        return script_for(self.address, self.chain)

    @property
    def dated_terms(self) -> DatedTerms:
        """On what terms rewards are divided, day by day."""
        now = first = Terms(self.scheme, self.pplns_window, self.commission_bps, self.transaction_fees)
        later = []
        for row in self.terms:
            now = Terms(
                row.scheme or now.scheme,
                row.pplns_window or now.window_multiple,
                now.commission_bps if row.commission_bps is None else row.commission_bps,
                row.transaction_fees or now.transaction_fees,
            )
            later.append(TermsFrom(row.effective_from, now))
        return DatedTerms(first, later)
