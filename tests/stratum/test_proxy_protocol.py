"""PROXY headers, versions 1 and 2: whole, in pieces, wrong, too long."""

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.proxy_protocol import (
    HEADER_LIMIT,
    LINE_LIMIT,
    SIGNATURE_1,
    SIGNATURE_2,
    BadHeader,
    Header,
    parse,
    starts_like_header,
)

REQUEST = b'{"id":1,"method":"mining.subscribe","params":[]}\n'
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(0, 0xFFFF)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def version_1(address: Address, port: int) -> bytes:
    other = "192.0.2.1" if address.version == 4 else "2001:db8::1"
    return f"PROXY TCP{address.version} {address} {other} {port} 3333\r\n".encode()


def version_2(
    address: Address, port: int, *, command: int = 0x21, transport: int = 1, tlvs: bytes = b""
) -> bytes:
    """Written with the socket module's own conversion, by the tables of section 2.2."""
    family, code = (socket.AF_INET, 1) if address.version == 4 else (socket.AF_INET6, 2)
    packed = socket.inet_pton(family, str(address))
    body = packed + bytes(len(packed)) + struct.pack(">HH", port, 3333) + tlvs
    return SIGNATURE_2 + bytes((command, code << 4 | transport)) + struct.pack(">H", len(body)) + body


@given(ADDRESSES, PORTS, st.binary(max_size=300), st.booleans())
def test_a_header_gives_its_source_at_the_last_byte_and_no_sooner(
    address: Address, port: int, tlvs: bytes, first: bool
) -> None:
    data = version_1(address, port) if first else version_2(address, port, tlvs=tlvs)
    for end in range(len(data)):
        assert parse(data[:end]) is None
    for rest in (b"", REQUEST):
        assert parse(data + rest) == Header(len(data), (str(address), port))


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"PROXY UNKNOWN\r\n", REQUEST),
        (b"PROXY UNKNOWN ffff:f:f:f 1 2 3\r\n", b""),
        (version_2(ipaddress.ip_address("192.0.2.7"), 1, command=0x20), REQUEST),
        (SIGNATURE_2 + b"\x20\x00\x00\x00", b""),
        (SIGNATURE_2 + b"\x21\x00\x00\x02xx", REQUEST),
        (SIGNATURE_2 + b"\x21\x31\x00\xd8" + bytes(216), REQUEST),
    ],
    ids=["unknown", "unknown with more", "LOCAL", "LOCAL, empty", "unspecified", "unix"],
)
def test_a_header_that_names_nobody_is_cut_off_all_the_same(data: bytes, rest: bytes) -> None:
    assert parse(data + rest) == Header(len(data), None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "is not: PROXY"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "is not: PROXY"),
        (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "is not: PROXY"),
        (b"PROXY \r\n", "is not: PROXY"),
        (b"PROXY TCP4 ::1 1.2.3.4 1 2\r\n", "'::1' is not an IPv4 address"),
        (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "'1.2.3.4' is not an IPv6 address"),
        (b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n", "is not an IPv6 address"),
        (b"PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n", "'1.2.3' is not an IPv4 address"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "'65536' is not a port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n", "'-2' is not a port"),
        (b"PROXY TCP4 1.2.3.4\xff 1.2.3.4 1 2\r\n", "not ASCII"),
        (b"PROXY " + b"x" * LINE_LIMIT, "longer than 107 bytes"),
        (SIGNATURE_2 + b"\x11\x11\x00\x0c" + bytes(12), "0x11 are not known"),
        (SIGNATURE_2 + b"\x22\x11\x00\x0c" + bytes(12), "0x22 are not known"),
        (SIGNATURE_2 + b"\x21\x12\x00\x0c" + bytes(12), "0x12 is not TCP"),
        (SIGNATURE_2 + b"\x21\x11\x00\x0b" + bytes(11), "no room"),
        (SIGNATURE_2 + b"\x21\x21\x00\x0c" + bytes(12), "no room"),
        (SIGNATURE_2 + b"\x21\x11\xff\xff", f"longer than {HEADER_LIMIT} bytes"),
        (REQUEST, "no PROXY header"),
        (b"PROXX", "no PROXY header"),
        (b"\r\n\r\n\x00\r\nQUIT\r", "no PROXY header"),
    ],
)
def test_a_wrong_header_is_named(data: bytes, words: str) -> None:
    with pytest.raises(BadHeader, match=words.replace("(", r"\(")):
        parse(data)


def test_the_longest_line_of_version_1_is_taken() -> None:
    longest = b"PROXY UNKNOWN " + b"f" * (LINE_LIMIT - 16) + b"\r\n"
    assert parse(longest) == Header(LINE_LIMIT, None)


@given(st.sampled_from([b"", SIGNATURE_1, b"PROXY TCP4 ", SIGNATURE_2, SIGNATURE_2 + b"\x21"]), st.binary())
def test_garbage_is_a_header_or_wrong_or_unfinished(start: bytes, data: bytes) -> None:
    """Whatever the verdict: it does not wait for more than a header may have, and stays what it is."""
    stream = start + data
    try:
        header = parse(stream)
    except BadHeader:
        with pytest.raises(BadHeader):
            parse(stream + REQUEST)
        return
    if header is None:
        assert len(stream) < HEADER_LIMIT
    else:
        assert header.length <= len(stream)
        assert parse(stream + REQUEST) == header


@given(st.binary(max_size=20))
def test_what_starts_like_a_header_is_never_a_request(data: bytes) -> None:
    assert starts_like_header(data) == any(
        data and (whole.startswith(data) or data.startswith(whole)) for whole in (SIGNATURE_1, SIGNATURE_2)
    )
    assert not starts_like_header(REQUEST)
    assert not starts_like_header(b"\n" + REQUEST)
