"""Self-signed certificates for tests, made with nothing but integers: DER by hand, ECDSA on P-256.

So the suite needs no openssl binary, holds no private key, and can have a certificate that ends on any day.
Slow and not constant in time, as it may be here. Sources: RFC 5280, 5915, 3279, SEC 1 (ECDSA), FIPS 186-4.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import secrets
import ssl
from pathlib import Path

from stratum.tls import TlsCertificate

_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_Point = tuple[int, int]
NAME = "pool.example"
P256 = bytes.fromhex("06082a8648ce3d030107")
EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")
ECDSA_SHA256 = bytes.fromhex("06082a8648ce3d040302")
COMMON_NAME = bytes.fromhex("0603550403")
ALTERNATIVE_NAME = bytes.fromhex("0603551d11")


def _add(one: _Point | None, other: _Point | None) -> _Point | None:
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % _P == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, _P) if one == other else (y2 - y1) * pow(x2 - x1, -1, _P)
    x3 = (slope * slope - x1 - x2) % _P
    return x3, (slope * (x1 - x3) - y1) % _P


def _times(scalar: int) -> _Point:
    result, power = None, _G
    while scalar:
        if scalar & 1:
            result = _add(result, power)
        doubled = _add(power, power)
        assert doubled is not None
        power, scalar = doubled, scalar >> 1
    assert result is not None
    return result


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = bytes((size,)) if size < 0x80 else bytes((0x82,)) + size.to_bytes(2, "big")
    return bytes((tag,)) + length + body


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(body: bytes) -> bytes:
    return _der(0x03, b"\x00", body)


def _time(when: dt.datetime) -> bytes:
    """RFC 5280: two digits of the year up to 2049, four from 2050 on."""
    if when.year < 2050:
        return _der(0x17, when.strftime("%y%m%d%H%M%SZ").encode())
    return _der(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())


def _pem(kind: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""))


def self_signed(not_after: dt.datetime, *, version_1: bool = False) -> tuple[str, str]:
    """A certificate for NAME that ends at an instant, and its key, both as PEM."""
    secret = secrets.randbelow(_N - 1) + 1
    x, y = _times(secret)
    point = _bits(b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big"))
    algorithm = _der(0x30, ECDSA_SHA256)
    name = _der(0x30, _der(0x31, _der(0x30, COMMON_NAME, _der(0x0C, NAME.encode()))))
    alternative = _der(0x30, ALTERNATIVE_NAME, _der(0x04, _der(0x30, _der(0x82, NAME.encode()))))
    to_be_signed = _der(
        0x30,
        b"" if version_1 else _der(0xA0, _integer(2)),
        _integer(secrets.randbits(64)),
        algorithm,
        name,
        _der(0x30, _time(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)), _time(not_after)),
        name,
        _der(0x30, _der(0x30, EC_PUBLIC_KEY, P256), point),
        b"" if version_1 else _der(0xA3, _der(0x30, alternative)),
    )
    digest = int.from_bytes(hashlib.sha256(to_be_signed).digest(), "big")
    nonce = secrets.randbelow(_N - 1) + 1
    r = _times(nonce)[0] % _N
    s = pow(nonce, -1, _N) * (digest + r * secret) % _N
    signature = _bits(_der(0x30, _integer(r), _integer(s)))
    key = _der(0x30, _integer(1), _der(0x04, secret.to_bytes(32, "big")), _der(0xA0, P256), _der(0xA1, point))
    certificate = _der(0x30, to_be_signed, algorithm, signature)
    return _pem("CERTIFICATE", certificate), _pem("EC PRIVATE KEY", key)


class CertificateFiles:
    """The two files that a server is told of, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self.renew(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))

    def renew(self, not_after: dt.datetime) -> str:
        """Put a new pair there; the certificate is what a client is to trust."""
        certificate, key = self_signed(not_after)
        self.certificate.write_text(certificate)
        self.key.write_text(key)
        return certificate

    def load(self) -> TlsCertificate:
        return TlsCertificate(self.certificate, self.key)

    def trusting(self) -> ssl.SSLContext:
        """A client that trusts the certificate that is there now, and checks its name."""
        return ssl.create_default_context(cadata=self.certificate.read_text())
