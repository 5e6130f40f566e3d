"""What all records ask of their texts: printable, bounded, without blanks at the ends.

Printable text is also what makes the JSON of a record canonical (`register.event`), and what may be shown in
a terminal, a page and a spreadsheet without surprises.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

FIRST_DAY: Final = dt.date(2009, 1, 3)
LAST_DAY: Final = dt.date(2199, 12, 31)
"""Days beyond these are slips of the hand; the first is that of the first Bitcoin block."""
_CODE: Final = re.compile(r"[A-Za-z0-9._/-]{1,64}")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9.-]{1,180}\.[A-Za-z]{2,24}")


def text_of(
    where: str, name: str, value: str, error: type[ValueError], limit: int = 200, *, empty: bool = False
) -> str:
    """The text itself; raises `error` when it is empty (unless allowed), too long or not printable."""
    if empty and not value:
        return value
    if not 1 <= len(value) <= limit or not value.isprintable() or value != value.strip():
        raise error(
            f"{where}: {name} {value[: limit + 10]!r} must be 1 to {limit} printable characters "
            f"without blanks at its ends"
        )
    return value


def day_of(where: str, name: str, value: dt.date, error: type[ValueError]) -> dt.date:
    """A day that a calendar with dated rules can place; raises `error`."""
    if not FIRST_DAY <= value <= LAST_DAY:
        raise error(f"{where}: {name} {value} must be a day from {FIRST_DAY} to {LAST_DAY}")
    return value


def code_of(where: str, name: str, value: str, error: type[ValueError]) -> str:
    """A short name that stands in commands and addresses; raises `error`."""
    if not _CODE.fullmatch(value):
        raise error(f"{where}: {name} {value[:70]!r} must be 1 to 64 of A-Z, a-z, 0-9, '.', '_', '/' and '-'")
    return value


def email_of(where: str, value: str, error: type[ValueError]) -> str:
    """An e-mail address, by its look; raises `error`."""
    if not value.isprintable() or not _EMAIL.fullmatch(value):
        raise error(f"{where}: e-mail address {value[:60]!r} must look like name@example.kz")
    return value
