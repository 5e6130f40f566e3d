"""The pool's signature on a report: BIP340 (Schnorr over secp256k1, by libsecp256k1) with a key from a file.

The signature is over the SHA-256 of the report's canonical bytes (RFC 8785). It proves origin and integrity;
it is not an electronic digital signature in the sense of Law 370-II (regulation.md 6.2). The envelope has
room for further signatures. The secret key is read from a file that only its owner may read, and is never
printed or reported.

Signing draws no randomness (BIP340 with none), so the same report and key give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import rfc8785
from coincurve import PrivateKey

from reporting.verify import key_id

_SECRET: Final = re.compile(r"[0-9a-f]{64}\n?")
_NO_RANDOMNESS: Final = bytes(32)


class KeyFileError(Exception):
    """The key file cannot be used. The message names the file, what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret key; `public_key` (64 hex digits) and `key_id` are what may be shown."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        try:
            PrivateKey(self.secret)
        except ValueError:
            raise KeyFileError(
                "the signing key is no secp256k1 secret key; restore it or make a new one"
            ) from None

    @property
    def public_key(self) -> str:
        """The x-only public key of BIP340 in hex."""
        return self._public().hex()

    @property
    def key_id(self) -> str:
        """The short name of the public key."""
        return key_id(self._public())

    def _public(self) -> bytes:
        return PrivateKey(self.secret).public_key_xonly.format()


def load_or_create(path: Path) -> SigningKey:
    """The key in `path` (64 hex digits, mode 0600); made at the first call, whole or not at all.

    Raises KeyFileError for a file that others may read or that holds no key, OSError when it cannot be read.
    """
    if not path.exists():
        _create(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeyFileError(f"key file {path} has mode {mode:04o}: others may read it; run chmod 600 {path}")
    text = path.read_bytes()[:200].decode("ascii", "replace")
    if not _SECRET.fullmatch(text):
        raise KeyFileError(
            f"key file {path} does not hold 64 lower-case hex digits; restore it from a backup"
        )
    return SigningKey(bytes.fromhex(text))


def _create(path: Path) -> None:
    """Writes a new key beside `path` and links it there: another process that came first keeps its key."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(PrivateKey().secret.hex() + "\n")
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


def sign(report: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """The envelope of a report: the report, its SHA-256 and one BIP340 signature.

    The time of signing is the report's `generated_at`. Raises ValueError for what RFC 8785 cannot write.
    """
    digest = hashlib.sha256(rfc8785.dumps(dict(report))).digest()
    value = PrivateKey(key.secret).sign_schnorr(digest, _NO_RANDOMNESS)
    signature = {
        "type": "bip340",
        "key_id": key.key_id,
        "public_key": key.public_key,
        "value": value.hex(),
        "signed_at": report["generated_at"],
    }
    return {"report": dict(report), "report_sha256": digest.hex(), "signatures": [signature]}


def encode(envelope: Mapping[str, Any]) -> bytes:
    """The bytes of a report file: the canonical form of the envelope, and nothing more."""
    return rfc8785.dumps(dict(envelope))
