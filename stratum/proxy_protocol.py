"""The PROXY protocol, versions 1 and 2: the first bytes of a connection that a balancer made for another.

A pure parser: it is given what has come so far and says the length of the header and the real peer, or that
it needs more, or what is wrong. Whose header is believed is decided elsewhere. LOCAL, UNKNOWN and families
without IP addresses name no peer: the connection then counts as the balancer's own. TLVs are passed over.

Source: The PROXY protocol, versions 1 and 2 (HAProxy, 2020), sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

SIGNATURE_1 = b"PROXY "
SIGNATURE_2 = b"\r\n\r\n\x00\r\nQUIT\n"
LINE_LIMIT = 107
"""Bytes of the longest header of version 1, its CRLF included."""
HEADER_LIMIT = 4096
"""Bytes of the longest header of version 2 that we take; TLVs with a client certificate's data fit in."""
_FIXED = struct.Struct(">BBH")
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x1: 4, 0x2: 16}
"""Bytes of one address by the family nibble: AF_INET, AF_INET6."""


class BadHeader(ValueError):
    """Bytes that begin as a PROXY header does and are none."""


@dataclass(frozen=True, slots=True)
class Header:
    """A whole header."""

    length: int
    """Bytes to cut off the front of the stream."""
    source: tuple[str, int] | None
    """Address and port of the real peer; None when the header names none."""


def starts_like_header(data: bytes) -> bool:
    """Whether the first bytes of a stream, however few, may be those of a header; a request's never are."""
    return data.startswith((SIGNATURE_1, SIGNATURE_2)) or (
        bool(data) and (SIGNATURE_1.startswith(data) or SIGNATURE_2.startswith(data))
    )


def parse(data: bytes) -> Header | None:
    """The header at the front of a stream; None while it is not whole. Raises BadHeader."""
    if data.startswith(SIGNATURE_1):
        return _version_1(data)
    if data.startswith(SIGNATURE_2):
        return _version_2(data)
    if starts_like_header(data) or not data:
        return None
    raise BadHeader("no PROXY header")


def _version_1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, LINE_LIMIT)
    if end < 0:
        if len(data) >= LINE_LIMIT:
            raise BadHeader(f"PROXY line longer than {LINE_LIMIT} bytes")
        return None
    try:
        words = data[:end].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise BadHeader("PROXY line is not ASCII") from None
    length = end + 2
    if words[1] == "UNKNOWN":
        return Header(length, None)
    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:
        raise BadHeader("PROXY line is not: PROXY TCP4|TCP6 source destination port port")
    version = 4 if words[1] == "TCP4" else 6
    source, _ = _address(words[2], version), _address(words[3], version)
    port, _ = _port(words[4]), _port(words[5])
    return Header(length, (source, port))


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        raise BadHeader(f"{text[:48]!r} is not an IPv{version} address")
    return str(address)


def _port(text: str) -> int:
    if not text.isdigit() or len(text) > 5 or int(text) > 0xFFFF:
        raise BadHeader(f"{text[:16]!r} is not a port")
    return int(text)


def _version_2(data: bytes) -> Header | None:
    start = len(SIGNATURE_2)
    if len(data) < start + _FIXED.size:
        return None
    command, family, size = _FIXED.unpack_from(data, start)
    start += _FIXED.size
    if command not in (_LOCAL, _PROXY):
        raise BadHeader(f"PROXY version and command {command:#04x} are not known")
    if start + size > HEADER_LIMIT:
        raise BadHeader(f"PROXY header longer than {HEADER_LIMIT} bytes")
    if len(data) < start + size:
        return None
    length = start + size
    width = _FAMILIES.get(family >> 4)
    if command == _LOCAL or width is None:
        return Header(length, None)
    if family & 0xF != 1:
        raise BadHeader(f"PROXY transport {family:#04x} is not TCP")
    if size < 2 * width + 4:
        raise BadHeader(f"PROXY header of {size} bytes has no room for its addresses")
    source = str(ipaddress.ip_address(data[start : start + width]))
    (port,) = struct.unpack_from(">H", data, start + 2 * width)
    return Header(length, (source, port))
