"""E-mail: plain text to a server that takes mail for others, over TLS alone, its certificate checked.

The Message-ID is made from the notice's key: mail programs and servers know a repeat by it, and show one.
"""

from __future__ import annotations

import hashlib
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

import aiosmtplib
import structlog

from pool.clock import instant
from pool.notices.notice import Message
from pool.notices.secret import read_secret
from pool.notices.section import EmailSection
from pool.notices.sending import CONNECT_SECONDS, SEND_SECONDS, NotSent, tls_context
from pool.telemetry.concealed import without_secrets

log = structlog.get_logger(__name__)

_SAID: Final = 200
_FOR_GOOD: Final = 500
"""From here on a server says no for good; after DATA that is said of the mail itself (RFC 5321 4.2.1)."""


class Email:
    """One server, and those whom it is to reach."""

    def __init__(self, section: EmailSection, pool: str) -> None:
        """`pool` is the pool's name, the sender's."""
        self._section = section
        self._pool = pool

    async def send(self, message: Message) -> None:
        """Hand it to the server; taken for one recipient is taken. Raises NotSent."""
        section = self._section
        host, port = section.address
        password = None if section.password_file is None else read_secret(section.password_file)
        try:
            refused, _ = await aiosmtplib.send(
                self.mail(message),
                sender=section.sender,
                recipients=list(section.recipients),
                hostname=host,
                port=port,
                username=section.username,
                password=password,
                use_tls=section.security == "tls",
                start_tls=section.security == "starttls",
                tls_context=await tls_context(section.ca_file),
                timeout=min(CONNECT_SECONDS, SEND_SECONDS),
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            of_message = isinstance(error, aiosmtplib.SMTPDataError) and error.code >= _FOR_GOOD
            said = without_secrets(" ".join(str(error).split()))[:_SAID] or type(error).__name__
            raise NotSent(f"mail server: {said}", of_message=of_message) from None
        if refused:
            reasons = "; ".join(f"{who}: {code} {said[:_SAID]}" for who, (code, said) in refused.items())
            log.warning("mail_recipients_refused", channel=section.name, key=message.key, reason=reasons)

    def mail(self, message: Message) -> EmailMessage:
        """The mail itself."""
        sender = self._section.sender
        mail = EmailMessage(policy=SMTP)
        mail["From"] = Address(" ".join(self._pool.split()), addr_spec=sender)
        mail["To"] = ", ".join(self._section.recipients)
        mail["Subject"] = " ".join(f"[{message.severity}] {message.subject}".split())
        mail["Date"] = format_datetime(instant(message.at_us))
        mail["Message-ID"] = message_id(message.key, self._section.name, sender)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(f"{message.text}\n")
        return mail


def message_id(key: str, channel: str, sender: str) -> str:
    """The same for the same notice and channel, whenever it is sent."""
    digest = hashlib.sha256(f"{channel}\n{key}".encode()).hexdigest()[:40]
    return f"<{digest}.dmpool@{sender.rpartition('@')[2]}>"
