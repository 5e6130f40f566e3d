"""The section `[settlement]`: from which wallet miners are paid, when, and who signs.

Without it nothing is paid by the program, and what is owed grows in the journal.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pool.payout_schedule import Schedule, ScheduleError
from pool.pool_section import Section

SignerKind = Literal["psbt", "node", "command"]


class SettlementSection(Section):
    """How miners are paid."""

    wallet: str = Field(min_length=1, max_length=200)
    """Name of the wallet on the first of the nodes; it knows pool.address, with its key or to watch it."""
    signer: SignerKind = "psbt"
    """Who signs: somebody with a cold key, the node's wallet, or a program."""
    command: tuple[str, ...] = ()
    """The program of the signer "command" and its arguments."""
    threshold_sat: int = Field(default=1_000_000, ge=0, le=10_000_000_000)
    """From which sum a miner is paid that has set no threshold of its own."""
    schedule: str | None = None
    """"daily 12:00" or "weekly monday 12:00" by Kazakhstan's clock; none: only by hand."""
    fee_target_blocks: int = Field(default=12, ge=1, le=1008)
    """Within how many blocks a payout should be mined: what the node's fee estimate is asked for."""
    max_fee_rate: int = Field(default=100, ge=1, le=10_000)
    """The most that is paid, in satoshis for a virtual byte."""
    max_weight: int = Field(default=200_000, ge=4_000, le=400_000)
    """Of one transaction; more payments than fit go into several."""
    bump_after_minutes: int = Field(default=120, ge=1, le=100_000)
    """After so long without a block, the fee is raised if the estimate has risen."""

    @field_validator("schedule")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                Schedule.parse(value)
            except ScheduleError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _signable(self) -> SettlementSection:
        if self.signer == "command" and not self.command:
            raise ValueError(
                'command: is missing; name the program that signs, for example ["/usr/local/bin/sign-psbt"]'
            )
        return self

    @property
    def max_rate_sat_kvb(self) -> int:
        """The most that is paid, in satoshis for 1000 virtual bytes."""
        return self.max_fee_rate * 1000
