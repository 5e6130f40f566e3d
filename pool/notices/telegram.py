"""Telegram's Bot API, or any server that speaks it: `sendMessage` to one chat, plain text.

The token is part of the address, so that no error may quote it. A 429 says how long to wait, and is obeyed.
Telegram cannot recognise a repeat: after a crash at the wrong moment a message may come twice.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pool.clock import instant
from pool.notices.notice import Message
from pool.notices.secret import read_secret
from pool.notices.section import TelegramSection
from pool.notices.sending import OF_THE_MESSAGE, NotSent, beginning, posted, retry_after

_LETTERS: Final = 4000
"""The API takes 4096 UTF-16 units."""
_MARKS: Final = {"info": "", "warning": "\N{WARNING SIGN} ", "critical": "\N{POLICE CARS REVOLVING LIGHT} "}
_OVER: Final = "\N{WHITE HEAVY CHECK MARK} "


class Telegram:
    """One chat."""

    def __init__(self, section: TelegramSection, pool: str) -> None:
        """`pool` is the pool's name: a chat may hear of several."""
        self._section = section
        self._pool = pool

    async def send(self, message: Message) -> None:
        """Post it; raises NotSent with what the API says, which names no token."""
        token = read_secret(self._section.token_file)
        url = f"{self._section.url.rstrip('/')}/bot{token}/sendMessage"
        question = {
            "chat_id": self._section.chat,
            "text": self._text(message),
            "link_preview_options": {"is_disabled": True},
            "disable_notification": message.severity == "info",
        }
        body = json.dumps(question).encode()
        headers = {"Content-Type": "application/json"}
        async with posted(url, body, headers, self._section.ca_file) as (status, _, answer):
            told = _parsed(await beginning(answer))
        if status == 200 and told.get("ok") is True:
            return
        parameters = told.get("parameters")
        asked = parameters.get("retry_after") if isinstance(parameters, dict) else None
        said = str(told.get("description", ""))[:200].replace(token, "(secret)")
        raise NotSent(
            f"answered with HTTP status {status}{': ' if said else ''}{said}",
            of_message=status in OF_THE_MESSAGE,
            retry_after=retry_after(asked if isinstance(asked, int | str) else None),
        )

    def _text(self, message: Message) -> str:
        mark = _OVER if message.event == "alarm_resolved" else _MARKS[message.severity]
        # The chat shows when it came, which may be a day later.
        when = f"{instant(message.at_us):%Y-%m-%d %H:%M} UTC"
        text = f"{mark}{self._pool}: {message.subject}\n{when}\n\n{message.text}".rstrip()
        encoded = text.encode("utf-16-le")[: 2 * _LETTERS]
        return encoded.decode("utf-16-le", "ignore")


def _parsed(answer: bytes) -> dict[str, Any]:
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
