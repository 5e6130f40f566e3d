"""The webhook: a notice as JSON, signed so that its receiver knows who sent it, and when.

    X-Dmpool-Signature: t=1795503600,v1=HEX

HEX is HMAC-SHA256 with the shared secret over the time, a dot and the body's bytes. A receiver compares it in
constant time, and refuses a time more than five minutes from its own clock and a key that it has had.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from pool.clock import instant, unix_microseconds
from pool.notices.notice import Message
from pool.notices.secret import read_secret
from pool.notices.section import WebhookSection
from pool.notices.sending import OF_THE_MESSAGE, NotSent, posted, retry_after

SIGNATURE: Final = "X-Dmpool-Signature"


class Webhook:
    """One receiver."""

    def __init__(
        self, section: WebhookSection, pool: str, now_us: Callable[[], int] = unix_microseconds
    ) -> None:
        """`pool` is the pool's name, so that one receiver can serve several."""
        self._section = section
        self._pool = pool
        self._now_us = now_us

    async def send(self, message: Message) -> None:
        """POST it; any 2xx means that it was taken."""
        body = self._body(message)
        at = self._now_us() // 1_000_000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"dmpool/{version('dmpool')}",
            SIGNATURE: signature(read_secret(self._section.secret_file), at, body),
        }
        url = self._section.url.get_secret_value()
        async with posted(url, body, headers, self._section.ca_file) as (status, answered, _):
            if 200 <= status < 300:
                return
            raise NotSent(
                f"answered with HTTP status {status}"
                + ("; redirects are not followed: correct its url" if 300 <= status < 400 else ""),
                of_message=status in OF_THE_MESSAGE,
                retry_after=retry_after(answered.get("Retry-After")),
            )

    def _body(self, message: Message) -> bytes:
        told = {
            "version": 1,
            "pool": self._pool,
            "key": message.key,
            "at": instant(message.at_us).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "kind": message.kind,
            "event": message.event,
            "severity": message.severity,
            "subject": message.subject,
            "text": message.text,
            "data": dict(message.data),
        }
        return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def signature(secret: str, at: int, body: bytes) -> str:
    """The header's value, for a time in unix seconds."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
