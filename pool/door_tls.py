"""The door's own TLS port: the web role over HTTPS, for regulators that come without a proxy in between.

With `door.client_certificates` a caller may show a certificate of one of those authorities; the handshake
fails for any other. What was shown stands in the state of each request as the SHA-256 of the certificate
(`pool.web`), and `pool.door_auth` asks for it where the regulator has one. A certificate of the server that
changed is taken without a restart.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from pool.config import ConfigError, DoorSection, DoorTlsSection
from stratum.tls import BadCertificate, TlsCertificate

LOOK_SECONDS: Final = 60.0


class DoorCertificate:
    """The server's certificate, and whose certificates of callers are taken."""

    def __init__(self, section: DoorSection, tls: DoorTlsSection) -> None:
        """Raises ConfigError for files that cannot be used."""
        try:
            self._certificate = TlsCertificate(tls.certificate, tls.key)
        except BadCertificate as error:
            raise ConfigError(f"door.tls: {error}; give a chain and its key, both PEM") from None
        self.context = self._certificate.context
        if section.client_certificates is not None:
            self.context.verify_mode = ssl.CERT_OPTIONAL
            try:
                self.context.load_verify_locations(section.client_certificates)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f'door.client_certificates: "{section.client_certificates}": {error}; give the '
                    f"certificates of the authorities, PEM"
                ) from None

    def ends(self) -> float:
        """When the server's certificate ends, in unix seconds."""
        return self._certificate.not_after.timestamp()

    async def follow(self) -> None:
        """Look for a changed certificate until cancelled; connections that are there live on."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take a changed certificate for new connections; a broken one leaves the old one in force."""
        if self._certificate.reload_if_changed():
            self.context.load_cert_chain(self._certificate.certificate, self._certificate.key, password="")


def door_certificate(section: DoorSection) -> DoorCertificate | None:
    """That of the door's TLS port, which must be usable; None without that port. Raises ConfigError."""
    return None if section.tls is None else DoorCertificate(section, section.tls)
