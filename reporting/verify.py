"""Checks a signed daily report from the file and the public key alone.

`verify` answers with the checks it made, each named in plain words. The file must be the canonical form
(RFC 8785) of its own content, so that no byte of it can change unseen; the report's hash and BIP340
signature must fit; then the report must agree with itself, by the equalities that its builder kept.

It trusts nothing but the key, needs no database and no clock, and cannot know whether what is told is true
of the chain: for that, look up the blocks by their hashes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import rfc8785
from coincurve import PublicKeyXOnly

from reporting.equalities import MALFORMED, Broken, Check, reconcile, run_check, same

LARGEST_FILE: Final = 64 * 1024 * 1024
_HEX32: Final = re.compile(r"[0-9a-f]{64}")
_HEX64: Final = re.compile(r"[0-9a-f]{128}")


def read_report(path: Path) -> bytes:
    """The bytes of a report file; raises OSError, or ValueError when it is too large to be a report."""
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{path}: larger than {LARGEST_FILE} bytes; this is no daily report")
    return data


def key_id(public_key: bytes) -> str:
    """The short name of a public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def verify(data: bytes, public_key: str) -> list[Check]:
    """Checks a signed report; it is good when every check passed. A failed seal ends the list.

    `public_key` is the pool's BIP340 key, 64 hex digits; raises ValueError when it cannot be one.
    """
    key = _public_key(public_key)
    seals: list[tuple[str, Callable[[Any], str]]] = [
        ("the file is the canonical form of its content", lambda envelope: _canonical(data, envelope)),
        ("the envelope holds a report, its hash and one signature", _envelope_shape),
        ("the hash is that of the report", _report_hash),
        ("the signature names the key it is checked with", lambda envelope: _key_named(envelope, key)),
        ("the signature is the key's over the report", lambda envelope: _signature(envelope, key)),
    ]
    try:
        envelope = json.loads(data)
    except MALFORMED as error:
        return [Check("the file is JSON", False, f"{type(error).__name__}: {error}")]
    checks = [Check("the file is JSON", True, f"{len(data)} bytes")]
    for name, look in seals:
        checks.append(run_check(name, look, envelope))
        if not checks[-1].passed:
            return checks
    return checks + reconcile(envelope["report"])


# The seals: from bytes to a signed report


def _public_key(text: str) -> bytes:
    if not _HEX32.fullmatch(text.lower()):
        raise ValueError(f"public key {text[:80]!r} must be 64 hex digits")
    try:
        PublicKeyXOnly(bytes.fromhex(text))
    except ValueError:
        raise ValueError(
            f"public key {text} is not on the curve; copy it again from the pool's key page"
        ) from None
    return bytes.fromhex(text)


def _canonical(data: bytes, envelope: Any) -> str:
    if rfc8785.dumps(envelope) != data:
        raise Broken("written by RFC 8785, the same content gives other bytes: the file was changed")
    return "RFC 8785"


def _envelope_shape(envelope: Any) -> str:
    same("fields of the envelope", sorted(envelope), ["report", "report_sha256", "signatures"])
    same("number of signatures", len(envelope["signatures"]), 1)
    fields = ["key_id", "public_key", "signed_at", "type", "value"]
    same("fields of the signature", sorted(envelope["signatures"][0]), fields)
    return "one signature"


def _report_hash(envelope: Any) -> str:
    digest = hashlib.sha256(rfc8785.dumps(envelope["report"])).hexdigest()
    same("SHA-256 of the report", digest, envelope["report_sha256"])
    return digest


def _key_named(envelope: Any, key: bytes) -> str:
    signature = envelope["signatures"][0]
    same("type of the signature", signature["type"], "bip340")
    same("public key", signature["public_key"], key.hex())
    same("key id", signature["key_id"], key_id(key))
    same("time of signing and of making", signature["signed_at"], envelope["report"]["generated_at"])
    return f"key {key_id(key)}"


def _signature(envelope: Any, key: bytes) -> str:
    value = envelope["signatures"][0]["value"]
    if not _HEX64.fullmatch(value):
        raise Broken("the value must be 128 lower-case hex digits")
    if not PublicKeyXOnly(key).verify(bytes.fromhex(value), bytes.fromhex(envelope["report_sha256"])):
        raise Broken(f"the key {key_id(key)} did not sign this report")
    return "BIP340"
