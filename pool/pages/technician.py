"""A link for a technician at the rack: an account's machines for twelve hours, without a password.

The miner's page shows it as a QR code. It opens workers, refusals and connection settings, and no money. It
is signed and not stored: `EXPIRY.MAC`, where the MAC is over the account, the expiry and the hash of the
account's own token, with a key that follows from a secret of the database. So every web process knows it,
nobody can make one, it ends by itself, and all links of an account end when its token is replaced.

It stands in the path and not behind `#`, so that the page needs no script. A path may stand in the log of a
proxy, which is why the link is short-lived and shows little; this program logs no paths, and its pages tell
no other site where they are (`Referrer-Policy: no-referrer`).
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

LINK_SECONDS: Final = 12 * 3600
_PURPOSE: Final = b"dmpool technician link"
_TICKET: Final = re.compile(r"([1-9][0-9]{9})\.([A-Za-z0-9_-]{22})")
_MAC_BYTES: Final = 16


def ticket(secret: bytes, account: str, token_sha256: str, now_us: int) -> str:
    """What opens an account's machines for LINK_SECONDS from now on."""
    expiry = now_us // 1_000_000 + LINK_SECONDS
    return f"{expiry}.{_mac(secret, account, token_sha256, expiry)}"


def valid_until(secret: bytes, account: str, token_sha256: str, shown: str, now_us: int) -> int | None:
    """Until when a ticket opens an account, in unix seconds; None for one that does not, or no longer."""
    found = _TICKET.fullmatch(shown)
    if found is None:
        return None
    expiry = int(found[1])
    if not hmac.compare_digest(found[2], _mac(secret, account, token_sha256, expiry)):
        return None
    return expiry if now_us < expiry * 1_000_000 else None


def _mac(secret: bytes, account: str, token_sha256: str, expiry: int) -> str:
    key = hmac.digest(secret, _PURPOSE, "sha256")
    told = f"{account}\n{token_sha256}\n{expiry}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, told, "sha256")[:_MAC_BYTES]).rstrip(b"=").decode()
