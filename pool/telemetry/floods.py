"""What strangers can make the log say is told so often and not more: a flood of lines hides what matters.

Whoever may connect can cause a line for each connection or request, from as many addresses as they have. Of
each such event a limited number is told in a minute; the next one that is told says how many were left out.
What the pool does by itself is never left out, nor is anything at the level `debug`.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Final

from pool.door_limits import Buckets

LINES: Final = 60
"""Of one event, in each minute."""
WINDOW_SECONDS: Final = 60.0
OF_STRANGERS: Final = frozenset(
    {
        "address_banned",
        "alarm_token_unreadable",
        "archive_book_unreadable",
        "archive_file_unreadable",
        "connection_closed",
        "connection_failed",
        "connection_not_opened",
        "health_check_failed",
        "listener_failed",
        "log_vkey_unreadable",
        "session_failed",
        "statement_contradicts",
        "wrong_token",
    }
)
"""Events that a connection or a request causes."""
_MESSAGE: Final = 40
"""Characters of a library's message by which it is known; what differs stands behind them."""


class FloodGate(logging.Filter):
    """Lets pass what is not too much. Of a process one, for all of its threads."""

    def __init__(self) -> None:
        super().__init__()
        self._told = Buckets(LINES, WINDOW_SECONDS)
        self._left_out: Counter[str] = Counter()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is told; one after a gap has the length of it as `left_out`."""
        name = _name(record)
        if name is None:
            return True
        with self._lock:
            if self._told.take(name):
                self._left_out[name] += 1
                return False
            record.left_out = self._left_out.pop(name, 0)
        return True


def _name(record: logging.LogRecord) -> str | None:
    """By what a record is counted; None for one that is always told."""
    if isinstance(record.msg, dict):
        event = record.msg.get("event")
        return event if event in OF_STRANGERS else None
    return f"{record.name} {str(record.msg)[:_MESSAGE]}"
