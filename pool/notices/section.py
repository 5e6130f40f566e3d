"""The section `[notices]`: where notices go, and who may bring alarms.

No secret ever stands in the configuration: each is in a file that is read when it is used, so that a new one
needs no restart. Only what stands here is ever called.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from pool.notices.notice import KINDS, Kind, Severity
from pool.pool_section import Section
from register.miner import Language

_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"]{1,64}@[A-Za-z0-9.-]{1,253}")
_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def _url(value: str) -> str:
    """The address of a web server, without user and password."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc:
        raise ValueError('write it as "https://host/path", without user and password')
    return value


class ChannelSection(Section):
    """What all channels have."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    """How it is called in commands, metrics and the log."""
    kinds: frozenset[Kind] = frozenset(KINDS)
    """What it is told of."""
    min_severity: Severity = "info"
    """The least that it is told."""
    language: Language = "en"
    ca_file: Path | None = None
    """The authorities (PEM) that its server's certificate must come from; none: those of the system."""


class WebhookSection(ChannelSection):
    """A web server that takes JSON, signed with a secret that both know."""

    kind: Literal["webhook"]
    url: SecretStr
    """Not shown anywhere: many services put a secret into it."""
    secret_file: Path

    @field_validator("url")
    @classmethod
    def _web(cls, value: SecretStr) -> SecretStr:
        _url(value.get_secret_value())
        return value


class EmailSection(ChannelSection):
    """A mail server that takes mail for others."""

    kind: Literal["email"]
    server: str
    """host:port; 587 with starttls, 465 with tls."""
    security: Literal["starttls", "tls"] = "starttls"
    """Nothing is ever sent, and no password said, over an open line."""
    username: str | None = None
    password_file: Path | None = None
    sender: str
    recipients: tuple[str, ...] = Field(min_length=1, max_length=50)

    @field_validator("server")
    @classmethod
    def _server(cls, value: str) -> str:
        found = _SERVER.fullmatch(value)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ValueError('write it as "mail.example:587"')
        return value

    @field_validator("sender", "recipients")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for one in (value,) if isinstance(value, str) else value:
            if not _ADDRESS.fullmatch(one):
                raise ValueError(f'{one!r} is no address; write it as "pool@example.kz"')
        return value

    @model_validator(mode="after")
    def _both(self) -> EmailSection:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("password_file: username and password_file belong together; give both or none")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        host, _, port = self.server.rpartition(":")
        return host.strip("[]"), int(port)


class TelegramSection(ChannelSection):
    """Telegram's Bot API, or a server that speaks it."""

    kind: Literal["telegram"]
    url: str = "https://api.telegram.org"
    token_file: Path
    chat: str = Field(pattern=r"^(-?[0-9]{1,20}|@[A-Za-z0-9_]{1,64})$")
    """The chat's number, or @name of a channel."""

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(_url(value))
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise ValueError("the token would travel openly; write it as https://")
        return value


Channel = Annotated[WebhookSection | EmailSection | TelegramSection, Field(discriminator="kind")]


class NoticesSection(Section):
    """What people are told by itself."""

    alarm_token_file: Path | None = None
    """Holds the token by which Alertmanager brings alarms to the web role; none: it takes none."""
    channels: Annotated[tuple[Channel, ...], Field(max_length=10)] = ()
    """Ten at most: each has a courier, and they share the ledger's connections to PostgreSQL."""

    @field_validator("channels")
    @classmethod
    def _different(cls, value: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [one.name for one in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two channels are called {name!r}; give each a name of its own")
        return value
