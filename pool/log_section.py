"""The section `[log]`: who witnesses the transparency log.

A witness is somebody else's server or desk that looks whether the log only grows, and says so by a
cosignature. One with a `url` is asked after each new checkpoint (C2SP tlog-witness); what one without sends
is entered with `dmpool log cosign`.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from pool.pool_section import Section
from reporting.note import COSIGNATURE, NoteError, VerifierKey, parse_key


class WitnessSection(Section):
    """One witness."""

    name: str = Field(min_length=1, max_length=100)
    """How it is called here."""
    vkey: str
    """Its key for cosignatures, as it publishes it: name+id+base64, of signature type 4."""
    url: str | None = None
    """What `add-checkpoint` is put behind; none: it is not asked."""

    @field_validator("vkey")
    @classmethod
    def _cosigns(cls, value: str) -> str:
        try:
            key = parse_key(value)
        except NoteError as error:
            raise ValueError(str(error)) from None
        if key.type != COSIGNATURE:
            raise ValueError(
                f"the key of {key.name} is not for cosignatures; ask the witness for its vkey of type 4"
            )
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError('write it as "https://witness.example/prefix"')
        return value

    @property
    def key(self) -> VerifierKey:
        """What its cosignatures are checked with."""
        return parse_key(self.vkey)


class LogSection(Section):
    """The transparency log."""

    witnesses: tuple[WitnessSection, ...] = ()

    @field_validator("witnesses")
    @classmethod
    def _different(cls, value: tuple[WitnessSection, ...]) -> tuple[WitnessSection, ...]:
        for what in ("name", "vkey"):
            seen = [getattr(one, what) for one in value]
            if len(set(seen)) != len(seen):
                raise ValueError(f"two witnesses have the same {what}; name each witness once")
        return value
