"""BIP340 (Schnorr over secp256k1) as reports use it: x-only public keys in hex, digests of 32 bytes.

The arithmetic is libsecp256k1's. Here is only what all that signs and checks must agree on: how a public key
is written and named, and what a signature looks like as text. Signing draws no randomness, so the same digest
and key give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from coincurve import PrivateKey, PublicKeyXOnly

ALGORITHM: Final = "bip340"
SIGNATURE_BYTES: Final = 64
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_HEX64: Final = re.compile(r"[0-9a-f]{128}")
_NO_RANDOMNESS: Final = bytes(32)


def key_id(public_key: bytes) -> str:
    """The short name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def public_key_of(text: str) -> bytes:
    """The x-only public key that 64 hex digits name; raises ValueError when they name none."""
    if not _HEX32.fullmatch(text.lower()):
        raise ValueError(f"public key {text[:80]!r} must be 64 hex digits")
    try:
        PublicKeyXOnly(bytes.fromhex(text))
    except ValueError:
        raise ValueError(
            f"public key {text} is not on the curve; copy it again from the pool's key page"
        ) from None
    return bytes.fromhex(text)


def sign_digest(secret: bytes, digest: bytes) -> bytes:
    """The signature of 64 bytes by a secret of 32 bytes over a digest of 32 bytes."""
    return PrivateKey(secret).sign_schnorr(digest, _NO_RANDOMNESS)


def is_signature(value: object) -> bool:
    """Whether this is how a signature is written: 128 lower-case hex digits."""
    return isinstance(value, str) and _HEX64.fullmatch(value) is not None


def signed_by(public_key: bytes, digest: bytes, value: bytes) -> bool:
    """Whether `value` is the key's signature over the digest; a key that is on no curve signed nothing."""
    if len(value) != SIGNATURE_BYTES or len(digest) != len(_NO_RANDOMNESS):
        return False
    try:
        return PublicKeyXOnly(public_key).verify(value, digest)
    except ValueError:
        return False
