"""Signed notes (C2SP signed-note): a text, and lines below it that say who signed it.

Three kinds of key are known: Ed25519 (type 0x01), with which the log signs; Ed25519 cosignatures of witnesses
with their time (0x04, C2SP tlog-cosignature); and BIP340, with which the pool signs its reports. For the last
the specification has no number: its type is 0xff and a name of ours, as the specification has it for such.

A line of an unknown key is passed over; one of a known key must be right, or the note is refused.
What the text says is the business of `reporting.checkpoint`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from reporting.bip340 import signed_by
from reporting.signing import Signer

ED25519: Final = b"\x01"
COSIGNATURE: Final = b"\x04"
BIP340: Final = b"\xffdmpool/bip340-sha256"
"""BIP340 over the SHA-256 of the text, by an x-only key; its bytes stand in the key id as they stand here."""
ID_SIZE: Final = 4
SIGNATURE_SIZE: Final = 64
TIME_SIZE: Final = 8
TIME_MAX: Final = 2**63 - 1
NOTE_LIMIT: Final = 1 << 20
"""Bytes of a note: post-quantum signatures of strangers have thousands."""
_KEY_SIZE: Final = 32
_TYPES: Final = (ED25519, COSIGNATURE, BIP340)
_MARK: Final = "\u2014 "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")


class NoteError(ValueError):
    """A note, a key or a signature that cannot be used or is not right. The message says which and why."""


class Signature(NamedTuple):
    """One line below a note."""

    name: str
    key_id: bytes
    """The first four bytes of a hash of name, type and key."""
    value: bytes
    """What stands behind the key id; what it means depends on the key's type."""

    def line(self) -> str:
        """The line as it stands in a note, without its newline."""
        return f"{_MARK}{self.name} {_base64(self.key_id + self.value)}"


class VerifierKey(NamedTuple):
    """A public key with the name of who signs with it."""

    name: str
    type: bytes
    """ED25519, COSIGNATURE or BIP340."""
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """What a line of this key begins with."""
        return hashlib.sha256(f"{self.name}\n".encode() + self.type + self.public_key).digest()[:ID_SIZE]

    def __str__(self) -> str:
        """The key as one word, a "vkey": name, key id, type and key."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(self.type + self.public_key)}"

    def signed(self, signature: Signature) -> bool:
        """Whether the line says that it is of this key."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def check(self, text: str, signature: Signature) -> None:
        """That the signature is this key's over the text; raises NoteError."""
        if not _right(self, text, signature.value):
            raise NoteError(f"note: the signature of {self.name} (key {self.key_id.hex()}) is wrong")


class Note(NamedTuple):
    """A text with its signatures, which may be right or wrong."""

    text: str
    """Ends in a newline."""
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note as it is published."""
        lines = "".join(f"{one.line()}\n" for one in self.signatures)
        return f"{self.text}\n{lines}".encode()


class NoteSigner(Protocol):
    """Who signs notes."""

    @property
    def key(self) -> VerifierKey:
        """What its signatures are checked with."""

    def sign(self, text: str) -> Signature:
        """The line over a text."""


class Ed25519Signer:
    """Signs with a secret of 32 bytes."""

    def __init__(self, name: str, secret: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        self.key = verifier_key(name, ED25519, self._private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Signature:
        """The line over a text; the same text gives the same line."""
        return Signature(self.key.name, self.key.key_id, self._private.sign(text.encode()))


class Bip340Signer:
    """Signs with a key that signs reports, wherever that is kept."""

    def __init__(self, name: str, signer: Signer) -> None:
        self.key = verifier_key(name, BIP340, bytes.fromhex(signer.public_key))
        self._signer = signer

    def sign(self, text: str) -> Signature:
        """The line over a text; it may take long. Raises SigningError."""
        value = self._signer.sign(hashlib.sha256(text.encode()).digest())
        return Signature(self.key.name, self.key.key_id, value)


def verifier_key(name: str, kind: bytes, public_key: bytes) -> VerifierKey:
    """A key of its parts; raises NoteError for a name or a key that cannot be one."""
    if not name or "+" in name or any(one.isspace() or ord(one) < 0x20 for one in name):
        raise NoteError(f"key name {name!r}: it must not be empty or have spaces, + or control characters")
    if kind not in _TYPES:
        raise NoteError(f"key of {name}: signature type 0x{kind[:1].hex()} is not known here")
    if len(public_key) != _KEY_SIZE:
        raise NoteError(f"key of {name}: {len(public_key)} bytes; a public key of its type has {_KEY_SIZE}")
    return VerifierKey(name, kind, public_key)


def parse_key(text: str) -> VerifierKey:
    """A key written as a vkey; raises NoteError."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if not _KEY_ID.fullmatch(key_id):
        raise NoteError(
            f"key {text[:200]!r}: write it as name+8 hex digits+base64, as its owner published it"
        )
    material = _bytes(f"key of {name}", encoded)
    kind = next((one for one in _TYPES if material.startswith(one)), material[:1])
    key = verifier_key(name, kind, material[len(kind) :])
    if key.key_id.hex() != key_id:
        raise NoteError(f"key of {name}: its id is {key.key_id.hex()} and not {key_id}; copy it again")
    return key


def parse_note(data: bytes) -> Note:
    """A note of its bytes; no signature is checked. Raises NoteError."""
    if len(data) > NOTE_LIMIT:
        raise NoteError(f"note: more than {NOTE_LIMIT} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError(f"note: not UTF-8: {error}") from None
    if _CONTROL.search(whole):
        raise NoteError("note: has a control character")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines:
        raise NoteError("note: has no blank line with signatures below it")
    return Note(f"{text}\n", tuple(parse_signatures(lines)))


def parse_signatures(lines: str) -> list[Signature]:
    """Lines of signatures, each with its newline; raises NoteError."""
    if not lines.endswith("\n"):
        raise NoteError("note: its last line has no newline")
    found = []
    for line in lines[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_MARK).partition(" ")
        if not line.startswith(_MARK) or not name or not encoded:
            raise NoteError(f"note: {line[:200]!r} is no line of a signature")
        value = _bytes(f"signature of {name}", encoded)
        if len(value) <= ID_SIZE:
            raise NoteError(f"signature of {name}: too short")
        found.append(Signature(name, value[:ID_SIZE], value[ID_SIZE:]))
    return found


def sign_note(text: str, signers: Sequence[NoteSigner]) -> Note:
    """A text signed by each of `signers`; raises NoteError when one of them answers with something else."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("note: a text ends in a newline and has no control characters")
    note = Note(text, tuple(one.sign(text) for one in signers))
    for one, signature in zip(signers, note.signatures, strict=True):
        one.key.check(text, signature)
    return note


def verified(note: Note, keys: Iterable[VerifierKey]) -> list[tuple[VerifierKey, Signature]]:
    """The signatures of known keys, each checked.

    Raises NoteError when one of them is wrong, or when there is none.
    """
    known = list(keys)
    found = []
    for signature in note.signatures:
        for key in known:
            if key.signed(signature):
                key.check(note.text, signature)
                found.append((key, signature))
    if not found:
        raise NoteError(
            f"note: no line is signed by {' or '.join(str(key) for key in known) or 'a known key'}"
        )
    return found


def cosigned_at(signature: Signature) -> int:
    """When a witness says that it cosigned, in unix seconds; NoteError for what is no cosignature."""
    time = int.from_bytes(signature.value[:TIME_SIZE], "big")
    if len(signature.value) != TIME_SIZE + SIGNATURE_SIZE or time > TIME_MAX:
        raise NoteError(f"signature of {signature.name}: is no cosignature with its time")
    return time


def cosigned_message(text: str, time: int) -> bytes:
    """What a witness signs (cosignature/v1)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _right(key: VerifierKey, text: str, value: bytes) -> bool:
    if key.type == BIP340:
        digest = hashlib.sha256(text.encode()).digest()
        return signed_by(key.public_key, digest, value)
    if key.type == ED25519:
        return _right_ed25519(key.public_key, text.encode(), value)
    time = int.from_bytes(value[:TIME_SIZE], "big")
    message = cosigned_message(text, time)
    return time <= TIME_MAX and _right_ed25519(key.public_key, message, value[TIME_SIZE:])


def _right_ed25519(public_key: bytes, message: bytes, value: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(value, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(what: str, encoded: str) -> bytes:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if _base64(data) != encoded or not data:
        raise NoteError(f"{what}: {encoded[:200]!r} is not base64")
    return data
