"""A secret of 32 bytes in a file that only its owner may read: 64 hex digits, made at the first use.

What kind of key it is, the caller knows: the file looks the same for all. Nothing here prints a secret.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

_SECRET: Final = re.compile(r"[0-9a-f]{64}\n?")


class KeyFileError(Exception):
    """The key file cannot be used. The message names the file, what is wrong and the remedy."""


def read_secret(path: Path) -> bytes:
    """The secret in `path` (64 hex digits, mode 0600).

    Raises KeyFileError for a file that others may read or that holds no secret, OSError when it cannot be
    read.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeyFileError(f"key file {path} has mode {mode:04o}: others may read it; run chmod 600 {path}")
    text = path.read_bytes()[:200].decode("ascii", "replace")
    if not _SECRET.fullmatch(text):
        raise KeyFileError(
            f"key file {path} does not hold 64 lower-case hex digits; restore it from a backup"
        )
    return bytes.fromhex(text)


def read_or_make_secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """The secret in `path`; `make` gives it at the first call, and it is written whole or not at all.

    Raises as `read_secret` does.
    """
    if not path.exists():
        _write(path, make())
    return read_secret(path)


def _write(path: Path, secret: bytes) -> None:
    """Writes beside `path` and links it there: another process that came first keeps its secret."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        temporary.unlink()
