"""Checks a signed daily report from the file and the public key alone.

`verify` answers with the checks it made, each named in plain words. The file must be the canonical form
(RFC 8785) of its own content, so that no byte of it can change unseen; the report's hash and BIP340
signature must fit; then the report must agree with itself, by the equalities that its builder kept.

Keys change. With the pool's published list of keys (`reporting.keyring`) the one key that a verifier trusts
is enough for all that follow from it: the report may be signed by any of them that was in force.

It trusts nothing but the key, needs no database and no clock, and cannot know whether what is told is true
of the chain: for that, look up the blocks by their hashes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import rfc8785

from reporting.bip340 import ALGORITHM, is_signature, key_id, public_key_of, signed_by
from reporting.equalities import MALFORMED, Broken, Check, reconcile, run_check, same
from reporting.keyring import KeyRing, RingError, read_ring

LARGEST_FILE: Final = 64 * 1024 * 1024
_RING: Final = "the list of keys holds from its first event on and has the key that is trusted"
_FIELDS: Final = ["key_id", "public_key", "signed_at", "type", "value"]


def read_report(path: Path) -> bytes:
    """The bytes of a report file; raises OSError, or ValueError when it is too large to be a report."""
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{path}: larger than {LARGEST_FILE} bytes; this is no daily report")
    return data


class _Trust(NamedTuple):
    """Whose signatures count: ids by public key; with a ring, while the ring has the key in force."""

    keys: Mapping[str, str]
    ring: KeyRing | None

    def refusal(self, public_key: str, at: dt.datetime) -> str | None:
        """Why a signature of a key that is trusted does not count at an instant."""
        if self.ring is None:
            return None
        return self.ring.keys[self.keys[public_key]].refusal(at)


def verify(data: bytes, public_key: str, ring: bytes | None = None) -> list[Check]:
    """Checks a signed report; it is good when every check passed. A failed seal ends the list.

    `public_key` is the pool's BIP340 key, 64 hex digits; raises ValueError when it cannot be one. With
    `ring`, the pool's list of keys as it is published, it is the anchor: each key that it leads to counts
    while it was in force.
    """
    key = public_key_of(public_key)
    checks: list[Check] = []
    trust = _Trust({key.hex(): key_id(key)}, None)
    if ring is not None:
        try:
            trust, told = _follow(ring, key)
        except RingError as error:
            return [Check(_RING, False, str(error))]
        checks.append(Check(_RING, True, told))
    try:
        envelope = json.loads(data)
    except MALFORMED as error:
        return [*checks, Check("the file is JSON", False, f"{type(error).__name__}: {error}")]
    checks.append(Check("the file is JSON", True, f"{len(data)} bytes"))
    seals: list[tuple[str, Callable[[Any], str]]] = [
        ("the file is the canonical form of its content", lambda envelope: _canonical(data, envelope)),
        ("the envelope holds a report, its hash and signatures", _envelope_shape),
        ("the hash is that of the report", _report_hash),
        ("a signature names a key that may sign", lambda envelope: _keys_named(envelope, trust)),
        ("the signature is the key's over the report", lambda envelope: _signatures(envelope, trust)),
    ]
    for name, look in seals:
        checks.append(run_check(name, look, envelope))
        if not checks[-1].passed:
            return checks
    return checks + reconcile(envelope["report"])


def _follow(ring: bytes, anchor: bytes) -> tuple[_Trust, str]:
    """Whom the anchor leads to, and that in words; raises RingError."""
    keys = read_ring(ring)
    reached = keys.reached_from(anchor.hex())
    trusted = {key.public_key: key.key_id for key in keys.keys.values() if key.key_id in reached}
    told = (
        f"{len(keys.entries)} events of {len(keys.keys)} keys, {len(reached)} of which follow from "
        f"{key_id(anchor)}"
    )
    return _Trust(trusted, keys), told


# The seals: from bytes to a signed report


def _canonical(data: bytes, envelope: Any) -> str:
    if rfc8785.dumps(envelope) != data:
        raise Broken("written by RFC 8785, the same content gives other bytes: the file was changed")
    return "RFC 8785"


def _envelope_shape(envelope: Any) -> str:
    same("fields of the envelope", sorted(envelope), ["report", "report_sha256", "signatures"])
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or not signatures:
        raise Broken("there is no signature")
    ours = [one for one in signatures if one["type"] == ALGORITHM]
    for one in ours:
        same("fields of the signature", sorted(one), _FIELDS)
    if len({one["public_key"] for one in ours}) != len(ours):
        raise Broken("a key signed twice: each key has one signature")
    return f"{len(signatures)} signature{'s' if len(signatures) > 1 else ''}"


def _report_hash(envelope: Any) -> str:
    digest = hashlib.sha256(rfc8785.dumps(envelope["report"])).hexdigest()
    same("SHA-256 of the report", digest, envelope["report_sha256"])
    return digest


def _trusted(envelope: Any, trust: _Trust) -> list[Any]:
    """The signatures that are of a key we trust; the others are nobody's whom we know."""
    return [
        one for one in envelope["signatures"] if one["type"] == ALGORITHM and one["public_key"] in trust.keys
    ]


def _keys_named(envelope: Any, trust: _Trust) -> str:
    found = _trusted(envelope, trust)
    if not found:
        hint = "; a key that took its place is found by the pool's list of keys" if trust.ring is None else ""
        raise Broken(
            f"no signature is of {_named(trust)}; there are: {_listed(envelope['signatures'])}{hint}"
        )
    made = envelope["report"]["generated_at"]
    for one in found:
        name = trust.keys[one["public_key"]]
        same("key id", one["key_id"], name)
        same("time of signing and of making", one["signed_at"], made)
        refusal = trust.refusal(one["public_key"], dt.datetime.fromisoformat(made))
        if refusal is not None:
            raise Broken(f"signed on {made}, and {refusal}")
    return f"key {', '.join(one['key_id'] for one in found)}"


def _named(trust: _Trust) -> str:
    names = list(trust.keys.values())
    return (
        f"key {names[0]}" if trust.ring is None else f"a key of the list that is trusted ({', '.join(names)})"
    )


def _listed(signatures: Any) -> str:
    return ", ".join(f"{str(one['type'])[:40]} of {str(one.get('key_id'))[:40]}" for one in signatures)


def _signatures(envelope: Any, trust: _Trust) -> str:
    found = _trusted(envelope, trust)
    for one in found:
        if not is_signature(one["value"]):
            raise Broken("the value must be 128 lower-case hex digits")
        digest = bytes.fromhex(envelope["report_sha256"])
        if not signed_by(bytes.fromhex(one["public_key"]), digest, bytes.fromhex(one["value"])):
            raise Broken(f"the key {one['key_id']} did not sign this report")
    others = [one for one in envelope["signatures"] if one not in found]
    return f"BIP340; not checked: {_listed(others)}" if others else "BIP340"
