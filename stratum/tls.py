"""The certificate of the TLS port: loaded, watched, replaced while connections live on.

A changed file is loaded into a context of its own, so that a broken or half-written one leaves the old one in
force; the failure is logged once per change. The date of expiry is read from the certificate itself, by the
few fields of DER that stand in front of it, since the ssl module tells it of a peer's certificate only.

Sources: RFC 5280, sections 4.1 and 4.1.2.5 (the fields, the two forms of time); X.690 (DER).
"""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_VERSION_TAG, _UTC_TIME = 0xA0, 0x17


class BadCertificate(Exception):
    """A certificate or key that cannot be used: file and reason in one line."""


class TlsCertificate:
    """A certificate chain and its key, from two PEM files."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises BadCertificate."""
        self.certificate = certificate
        self.key = key
        self._stamp = self._look()
        self.context, self.not_after = self._load()

    def reload_if_changed(self) -> bool:
        """Load the files when they have changed since the last look; True when new ones are in force."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.context, self.not_after = self._load()
        except BadCertificate as error:
            log.error(
                "certificate_unusable",
                path=str(self.certificate),
                reason=str(error),
                explained=f"the old certificate, valid until {self.not_after}, stays in force",
            )
            return False
        log.info("certificate_taken", path=str(self.certificate), valid_until=str(self.not_after))
        return True

    def _load(self) -> tuple[ssl.SSLContext, dt.datetime]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(
                self.certificate, self.key, password=""
            )  # an encrypted key is no reason to ask a terminal
            return context, expiry(self.certificate.read_text("utf-8", "replace"))
        except ssl.SSLError as error:
            raise BadCertificate(
                f"{self.certificate} and {self.key} are not a certificate and its key: {error}"
            ) from None
        except OSError as error:
            raise BadCertificate(f"{self.certificate} or {self.key} cannot be read: {error}") from None
        except ValueError as error:
            raise BadCertificate(f"{self.certificate}: {error}") from None

    def _look(self) -> tuple[object, ...]:
        """What changes with the files; a link that is set to another file is a change too."""
        stamp: list[object] = []
        for path in (self.certificate, self.key):
            try:
                status = path.stat()
            except OSError:
                stamp.append(None)
            else:
                stamp.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamp)


def expiry(pem: str) -> dt.datetime:
    """When the first certificate of a PEM text ends. Raises ValueError."""
    start, end = pem.find(_BEGIN), pem.find(_END)
    if start < 0 or end < start:
        raise ValueError("no certificate in it")
    der = ssl.PEM_cert_to_DER_cert(pem[start : end + len(_END)])
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # TBSCertificate
    has_version = _element(der, at)[0] == _VERSION_TAG
    for _ in range(3 + has_version):  # version, serial number, signature algorithm, issuer
        _, _, at = _element(der, at)
    _, at, _ = _element(der, at)  # Validity
    _, _, at = _element(der, at)  # not before
    tag, at, after = _element(der, at)
    text = der[at:after].decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year, of 1950 to 2049
        text = ("20" if text[:2] < "50" else "19") + text
    return dt.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin of the content and its end, of the element that starts at `at`."""
    if at + 2 > len(der):
        raise ValueError("the certificate is cut short")
    tag, length, start = der[at], der[at + 1], at + 2
    if length >= 0x80:
        width = length & 0x7F
        length = int.from_bytes(der[start : start + width], "big")
        start += width
    if start + length > len(der):
        raise ValueError("the certificate is cut short")
    return tag, start, start + length
