"""A CMS signature for tests, by `openssl cms -sign -binary -nocerts`: detached, SHA-256, by a P-256 key."""

from __future__ import annotations

import base64
import hashlib

SIGNED = b"a report"
DETACHED = base64.b64decode(
    "MIIBMQYJKoZIhvcNAQcCoIIBIjCCAR4CAQExDTALBglghkgBZQMEAgEwCwYJKoZIhvcNAQcBMYH8MIH5AgEBMCcwDzENMAsGA1UEAwwE"
    "VGVzdAIUSfdvYx/5KX77ZMRmQHujOFrM6swwCwYJYIZIAWUDBAIBoGkwGAYJKoZIhvcNAQkDMQsGCSqGSIb3DQEHATAcBgkqhkiG9w0B"
    "CQUxDxcNMjYxMTI5MTQ1NTEyWjAvBgkqhkiG9w0BCQQxIgQgkL0132Dx4n0iNiRaSkn3Ph37AZNvLCFZxwor3pPrKXcwCgYIKoZIzj0E"
    "AwIERzBFAiEA7jN1OpXpwVbGPP3DveUKfVw1OmyBEobbfwZ48XSzApICIBkHtfX3Dtplnoe4y9SN9sLaH2LQaA5bNlmvKWpPO+ZB"
)


def stating(content: bytes) -> bytes:
    """The same with the hash of another content in it: of right shape, and its signature is wrong."""
    return DETACHED.replace(hashlib.sha256(SIGNED).digest(), hashlib.sha256(content).digest())
