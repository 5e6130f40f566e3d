"""What can be said of a CMS signature (RFC 5652) without verifying it: that it is one, detached, and of what
digest.

The state signature of Kazakhstan is a CMS by GOST 34.10 or RSA keys of the national certification authority,
and to verify it takes their certificates, revocation lists and algorithms, which are not here. So nothing
here says that a signature is good. It says when something is no CMS at all, or one that by its own words
signs other bytes: where a signer hashed with SHA-256, that hash stands in it and can be compared.

Reads BER, because the usual libraries write indefinite lengths.
"""

from __future__ import annotations

from typing import Final, NamedTuple

LARGEST_CMS: Final = 1024 * 1024
_DEPTH: Final = 40
_LONGEST_ID: Final = 64
"""Bytes of an object identifier; those of algorithms have about ten."""
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_OBJECT_ID: Final = 0x06
_OCTETS: Final = 0x04
_FIRST: Final = 0xA0
"""[0], constructed."""
_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
_SHA256: Final = "2.16.840.1.101.3.4.2.1"


class NotCms(ValueError):
    """Not a detached CMS signature of these bytes. The message says what was met instead."""


class _Node(NamedTuple):
    """One element: `parts` of a constructed one, `content` of a primitive one."""

    tag: int
    content: bytes
    parts: tuple[_Node, ...]


def described(cms: bytes, sha256: bytes) -> str:
    """What a signature is, in words; `sha256` is the hash of the bytes that it must be of. Raises NotCms."""
    if len(cms) > LARGEST_CMS:
        raise NotCms(f"{len(cms)} bytes are no signature; one has {LARGEST_CMS} at most")
    try:
        whole, end = _read(cms, 0, len(cms), _DEPTH)
        if end != len(cms):
            raise NotCms(f"{len(cms) - end} bytes stand behind the signature")
        signers = _signers(whole)
        words = [_digest_of(signer, sha256) for signer in signers]
    except IndexError:
        raise NotCms("it ends too early, or lacks a part of CMS SignedData") from None
    return f"detached CMS, {len(signers)} signer{'s' if len(signers) > 1 else ''}: {'; '.join(words)}"


def _signers(whole: _Node) -> tuple[_Node, ...]:
    """The SignerInfos of a ContentInfo that holds SignedData without content (RFC 5652, 3 and 5.1)."""
    _require(whole, _SEQUENCE, "ContentInfo")
    kind = _object_id(whole.parts[0])
    if kind != _SIGNED_DATA:
        raise NotCms(f"its content type is {kind}, not SignedData")
    _require(whole.parts[1], _FIRST, "the content")
    signed = whole.parts[1].parts[0]
    _require(signed, _SEQUENCE, "SignedData")
    _require(signed.parts[2], _SEQUENCE, "EncapsulatedContentInfo")
    if len(signed.parts[2].parts) != 1:
        raise NotCms("it carries a content of its own: a detached signature was asked for")
    signers = signed.parts[-1]
    _require(signers, _SET, "the signers")
    if len(signed.parts) < 4 or not signers.parts:
        raise NotCms("nobody signed it")
    return signers.parts


def _digest_of(signer: _Node, sha256: bytes) -> str:
    """What a SignerInfo (RFC 5652, 5.3) says of the digest of the content."""
    _require(signer, _SEQUENCE, "SignerInfo")
    algorithm = _object_id(signer.parts[2].parts[0])
    attributes = signer.parts[3]
    if attributes.tag != _FIRST:
        return f"digest {algorithm}, which it does not state"
    stated = [
        one.parts[1].parts[0] for one in attributes.parts if _object_id(one.parts[0]) == _MESSAGE_DIGEST
    ]
    if len(stated) != 1 or stated[0].tag != _OCTETS:
        raise NotCms("a signer states signed attributes without the digest of the content")
    if algorithm != _SHA256:
        return f"digest {algorithm}, which cannot be compared here"
    if stated[0].content != sha256:
        raise NotCms(
            f"by its own words it signs other bytes: their SHA-256 is {stated[0].content.hex()[:64]}"
        )
    return "it states the report's SHA-256"


def _require(node: _Node, tag: int, what: str) -> None:
    if node.tag != tag:
        raise NotCms(f"where {what} should be, an element of tag {node.tag:#04x} stands")


def _object_id(node: _Node) -> str:
    _require(node, _OBJECT_ID, "an object identifier")
    if len(node.content) > _LONGEST_ID:
        raise NotCms(f"an object identifier has {len(node.content)} bytes; {_LONGEST_ID} are the most")
    numbers, value = [], 0
    for byte in node.content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(one) for one in (first, numbers[0] - 40 * first, *numbers[1:]))


def _read(data: bytes, at: int, end: int, depth: int) -> tuple[_Node, int]:
    """The element at a place before `end`, and where the next one is; IndexError where the bytes end too
    early."""
    if depth == 0:
        raise NotCms(f"its elements lie more than {_DEPTH} deep in each other")
    if at + 2 > end:
        raise IndexError
    tag, length, at = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise NotCms(f"an element has the long tag {tag:#04x}, which CMS does not use")
    if length == 0x80:
        return _read_open(data, at, end, tag, depth)
    if length > 0x84:
        raise NotCms("an element has a length of more than 4 bytes")
    if length > 0x80:
        octets = length - 0x80
        length = int.from_bytes(data[at : at + octets], "big")
        at += octets
    stop = at + length
    if stop > end:
        raise IndexError
    if not tag & 0x20:
        return _Node(tag, data[at:stop], ()), stop
    parts: list[_Node] = []
    while at < stop:
        part, at = _read(data, at, stop, depth - 1)
        parts.append(part)
    return _Node(tag, b"", tuple(parts)), stop


def _read_open(data: bytes, at: int, end: int, tag: int, depth: int) -> tuple[_Node, int]:
    """An element whose end is marked, not told before (X.690, 8.1.3.6)."""
    if not tag & 0x20:
        raise NotCms(f"a primitive element of tag {tag:#04x} has no length")
    parts: list[_Node] = []
    while data[at : at + 2] != b"\0\0":
        part, at = _read(data, at, end, depth - 1)
        parts.append(part)
    return _Node(tag, b"", tuple(parts)), at + 2
