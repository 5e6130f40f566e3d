"""What the log never tells: the secrets that this process holds, whatever the text they turn up in.

No code of ours puts a secret into a message, but libraries quote what they were given (a url in an error of a
driver). So each secret is named here where it is read, and the log replaces it. What only looks like a secret
(credentials in a url, an Authorization header) is replaced as well.
"""

from __future__ import annotations

import base64
import re
import threading
from typing import Final
from urllib.parse import quote, unquote, urlsplit

MARK: Final = "(secret)"
SHORTEST: Final = 6
"""Shorter ones would be found in half of all words; credentials in a url are found however short."""
_LOOKS_SECRET: Final = re.compile(
    r"(?P<url>://[^\s/:@'\"]{0,200}:)[^\s'\"]{1,200}(?=@)"
    r"|(?P<bot>/bot)[0-9]+:[A-Za-z0-9_-]{20,}"
    r"|(?P<header>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<word>(?:\b|_)(?:password|passphrase|passwd|token|secret|api_?key)[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&]+)",
    re.IGNORECASE,
)
_SECRET_KEY: Final = re.compile(
    r"(^|_)(password|passphrase|token|secret|cookie|authorization|private_key)$", re.IGNORECASE
)

_lock = threading.Lock()
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def conceal(*secrets: str) -> None:
    """These are secrets from now on, also as a url or HTTP's Basic writes them."""
    global _pattern  # noqa: PLW0603 - one log per process
    new = [secret for secret in secrets if len(secret) >= SHORTEST and secret not in _known]
    if not new:
        return
    with _lock:
        for secret in new:
            _known.update((secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()))
        words = sorted(_known, key=len, reverse=True)
        # The longest first: one secret may begin like another.
        _pattern = re.compile("|".join(map(re.escape, words)))


def conceal_credentials(url: str) -> None:
    """The password in a url, and the pair as HTTP's Basic sends it."""
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password
    except ValueError:
        return
    if password:
        conceal(password, unquote(password), f"{unquote(user)}:{unquote(password)}")


def is_secret(key: str) -> bool:
    """Whether a key-value of this name is one, whatever it says."""
    return _SECRET_KEY.search(key) is not None


def without_secrets(text: str) -> str:
    """The same text with a mark in the place of each secret."""
    if _pattern is not None:
        text = _pattern.sub(MARK, text)
    return _LOOKS_SECRET.sub(_marked, text)


def _marked(found: re.Match[str]) -> str:
    return f"{found[found.lastgroup or 0]}{MARK}"
