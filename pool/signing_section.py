"""The section `[signing]`: where the secrets are that sign reports, and whether a state signature is asked
for.

Without it one key signs, kept in `data_dir/keys/report.key`. No secret ever stands in the configuration: it
names a file that only its owner may read, a variable of the environment, or a program that keeps the secret
itself.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from pool.pool_section import Section
from reporting.bip340 import public_key_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PREFIX = "DMPOOL_"
"""Of variables that are keys of the configuration."""


def _variable(value: str | None) -> str | None:
    if value is not None and (not _NAME.fullmatch(value) or value.upper().startswith(_PREFIX)):
        raise ValueError(
            f"write the name of a variable, not the secret, and none that begins with {_PREFIX}: for example "
            f'"REPORT_KEY"'
        )
    return value


class KeySection(Section):
    """One key: exactly one of file, environment and command."""

    file: Path | None = None
    """Holds the secret, 64 hex digits, mode 0600; made at its first use."""
    environment: str | None = None
    """The name of the variable that holds the secret, 64 hex digits."""
    command: tuple[str, ...] = ()
    """A program and its arguments: it reads a digest of 64 hex digits and a newline, and answers with the
    BIP340 signature over it, 128 hex digits."""
    public_key: str | None = None
    """Of the command's key, 64 hex digits."""

    _check_environment = field_validator("environment")(_variable)

    @field_validator("public_key")
    @classmethod
    def _on_the_curve(cls, value: str | None) -> str | None:
        try:
            return None if value is None else public_key_of(value).hex()
        except ValueError:
            raise ValueError("write the x-only public key of the command's key, 64 hex digits") from None

    @model_validator(mode="after")
    def _one_source(self) -> KeySection:
        given = [self.file is not None, self.environment is not None, bool(self.command)]
        if sum(given) != 1:
            raise ValueError("file: a key has one source: give either file, environment or command")
        if bool(self.command) != (self.public_key is not None):
            raise ValueError(
                "public_key: belongs to a command and is needed there: 64 hex digits, its key's public half"
            )
        return self


class CmsSection(Section):
    """A service that makes detached CMS signatures with a state key, as NCANode does."""

    url: str
    """Where to POST to, for example http://127.0.0.1:14579/cms/sign."""
    key_file: Path
    """The PKCS#12 file with the state key, mode 0600. The service is given it with each request."""
    password_file: Path | None = None
    """Holds the password of that file, mode 0600."""
    password_environment: str | None = None
    """The name of the variable that holds it."""
    time_mark: bool = True
    """Whether the service shall have the signature dated by the certification authority (TSP)."""

    _check_environment = field_validator("password_environment")(_variable)

    @field_validator("url")
    @classmethod
    def _private(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username is not None or parts.password is not None:
            raise ValueError("a url with a user or password in it is not taken")
        if parts.scheme == "https" and parts.hostname:
            return value
        if parts.scheme == "http" and parts.hostname and _of_this_machine(parts.hostname):
            return value
        raise ValueError(
            "the key and its password travel there: write https://..., or http:// with a loopback address"
        )

    @model_validator(mode="after")
    def _one_password(self) -> CmsSection:
        if (self.password_file is None) == (self.password_environment is None):
            raise ValueError("password_file: give either password_file or password_environment")
        return self


def _of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class SigningSection(Section):
    """How reports are signed."""

    keys: tuple[KeySection, ...] = ()
    """Where the keys are; none: data_dir/keys/report.key."""
    cms: CmsSection | None = None
    """The service for `dmpool reports cms`; none: there is no such signature."""
