"""The pool's signatures on a report: BIP340 over the SHA-256 of the report's canonical bytes (RFC 8785).

They prove origin and integrity; they are no electronic digital signature in the sense of Law 370-II
(regulation.md 6.2). A report is signed by each key that is in force, wherever its secret is: `SigningKey` has
it in memory, from a file that only its owner may read; others ask a program (`pool.key_sources`). What a
signer answers is checked before it is used. No secret is ever printed or reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import rfc8785
from coincurve import PrivateKey

from reporting.bip340 import ALGORITHM, key_id, sign_digest, signed_by
from reporting.key_file import KeyFileError, read_or_make_secret


class SigningError(Exception):
    """No signature that could be used. The message names the key or the program, and never a secret."""


class Signer(Protocol):
    """One key that signs, wherever its secret is kept."""

    @property
    def key_id(self) -> str:
        """The short name of the public key."""
        ...

    @property
    def public_key(self) -> str:
        """The public key in hex."""
        ...

    @property
    def algorithm(self) -> str:
        """What kind of signature it makes: "bip340"."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """The signature over a digest of 32 bytes; it may take long. Raises SigningError."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret key in memory; `public_key` (64 hex digits) and `key_id` are what may be shown."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        try:
            PrivateKey(self.secret)
        except ValueError:
            raise KeyFileError(
                "the signing key is no secp256k1 secret key; restore it or make a new one"
            ) from None

    @property
    def algorithm(self) -> str:
        """BIP340."""
        return ALGORITHM

    @property
    def public_key(self) -> str:
        """The x-only public key of BIP340 in hex."""
        return self._public().hex()

    @property
    def key_id(self) -> str:
        """The short name of the public key."""
        return key_id(self._public())

    def sign(self, digest: bytes) -> bytes:
        """The same bytes for the same digest."""
        return sign_digest(self.secret, digest)

    def _public(self) -> bytes:
        return PrivateKey(self.secret).public_key_xonly.format()


def load_or_create(path: Path) -> SigningKey:
    """The key in `path` (64 hex digits, mode 0600); made at the first call, whole or not at all.

    Raises KeyFileError for a file that others may read or that holds no key, OSError when it cannot be read.
    """
    return SigningKey(read_or_make_secret(path, lambda: PrivateKey().secret))


def sign(report: Mapping[str, Any], signers: Sequence[Signer]) -> dict[str, Any]:
    """The envelope of a report: the report, its SHA-256 and the signature of each signer.

    The time of signing is the report's `generated_at`. Raises SigningError when there is no signer, one
    stands there twice or one does not sign, ValueError for what RFC 8785 cannot write.
    """
    if not signers:
        raise SigningError("there is no key to sign with")
    names = [signer.key_id for signer in signers]
    if len(set(names)) != len(names):
        raise SigningError(f"a key would sign twice: {', '.join(names)}; name each source once in [signing]")
    digest = hashlib.sha256(rfc8785.dumps(dict(report))).digest()
    signatures = [{**signature_by(signer, digest), "signed_at": report["generated_at"]} for signer in signers]
    return {"report": dict(report), "report_sha256": digest.hex(), "signatures": signatures}


def signature_by(signer: Signer, digest: bytes) -> dict[str, str]:
    """Type, key and value of a signer's signature over a digest, as it is written down; raises SigningError.

    It is checked first: a program that answers nonsense, or signs with another key, must not be believed.
    """
    if signer.algorithm != ALGORITHM:
        raise SigningError(
            f"key {signer.key_id}: signatures of kind {signer.algorithm!r} cannot be checked here"
        )
    value = signer.sign(digest)
    if not signed_by(bytes.fromhex(signer.public_key), digest, value):
        raise SigningError(
            f"key {signer.key_id}: what came back is not its signature over what was asked for; "
            f"check that its source holds the secret of public key {signer.public_key}"
        )
    return {
        "type": ALGORITHM,
        "key_id": signer.key_id,
        "public_key": signer.public_key,
        "value": value.hex(),
    }


def encode(envelope: Mapping[str, Any]) -> bytes:
    """The bytes of a report file: the canonical form of the envelope, and nothing more."""
    return rfc8785.dumps(dict(envelope))
