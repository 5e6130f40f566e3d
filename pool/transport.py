"""How an export gets to an addressee: by a file in an outbox, or by an API that nobody has described yet.

The dated rule of a form names its transport. The order of 2026 speaks of an API of Qoldau.kz (O-42); its
description was not published when this was written, so nothing about it is assumed: that transport
refuses. Whoever writes it when the description is there implements `Transport` and names it in
`transport_of`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from pool.durable import write_durably

HASH_SHOWN: Final = 12
"""Hex digits of its content's hash in a file's name."""


class TransportError(ValueError):
    """The export cannot go this way. The message says why and what to do."""


class Export(NamedTuple):
    """A file for an addressee."""

    addressee: str
    name: str
    content: bytes


class Delivered(NamedTuple):
    """Where an export went; its name there, and the hash of its bytes."""

    transport: str
    file_name: str
    file_sha256: str


class Transport(Protocol):
    """A way to an addressee."""

    def deliver(self, export: Export) -> Delivered:
        """Give the export away; what comes back is kept. Raises TransportError."""
        ...


@dataclass(frozen=True, slots=True)
class Outbox:
    """Files in a directory for each addressee, for a person to send; on disk for good."""

    directory: Path

    def deliver(self, export: Export) -> Delivered:
        """Write the file, named by its document and its own hash.

        The same export again is the same file, and never takes the place of another that went out.
        """
        sha256 = hashlib.sha256(export.content).hexdigest()
        stem, dot, suffix = export.name.rpartition(".")
        path = self.directory / export.addressee / f"{stem}-{sha256[:HASH_SHOWN]}{dot}{suffix}"
        try:
            if not path.exists() or path.read_bytes() != export.content:
                write_durably(path, export.content)
        except OSError as error:
            raise TransportError(f"outbox {self.directory}: {error}; make room or mend its rights") from error
        return Delivered("file", str(path), sha256)


class UndescribedApi:
    """The API of the form of 2026, as long as nobody has published how it works."""

    def deliver(self, export: Export) -> Delivered:
        """Refuse."""
        raise TransportError(
            f'{export.name}: the rule of this form says transport = "api", and the description of that API '
            f'was not published when this program was written: nothing is sent. Write transport = "file" in '
            f"the rules, send the file yourself, and record it: `dmpool submissions record`"
        )


def transport_of(kind: str, outbox: Path) -> Transport:
    """The transport that a dated rule names: "file" or "api"."""
    return UndescribedApi() if kind == "api" else Outbox(outbox)
