"""What a notice says, in a language: the message of its event with its data filled in.

Data are plain values, kept as they were when it happened: days as ISO text, satoshis as integers. So a notice
can be told again in any language of the catalogue, to a channel or on a miner's page.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from pool.notices.notice import Data, Value
from pool.wording import bitcoin
from register.catalogue import CatalogueError, text
from register.miner import Language

DAYS: Final = frozenset({"day", "until"})
_SATOSHIS: Final = "_sat"
_PLAIN: Final = str.maketrans({"\N{NARROW NO-BREAK SPACE}": " "})


def subject_of(event: str, data: Data, language: Language = "en") -> str:
    """One line; raises CatalogueError."""
    return _said(f"notices.{event}_subject", data, language)


def text_of(event: str, data: Data, language: Language = "en") -> str:
    """One line or a few; raises CatalogueError."""
    said = _said(f"notices.{event}", data, language)
    return "\n".join(line for line in said.splitlines() if line.strip())


def told(event: str, data: Data, language: Language, kept: tuple[str, str]) -> tuple[str, str]:
    """Subject and text; as they were kept, in English, where this program has no words for the event."""
    try:
        return subject_of(event, data, language), text_of(event, data, language)
    except CatalogueError:
        return kept


def _said(message: str, data: Data, language: Language) -> str:
    return text(language, message, **dict(_shown(name, value) for name, value in data.items()))


def _shown(name: str, value: Value) -> tuple[str, Value | dt.date]:
    if name in DAYS:
        return name, dt.date.fromisoformat(str(value))
    if name.endswith(_SATOSHIS):
        return name.removesuffix(_SATOSHIS), bitcoin(int(value)).translate(_PLAIN)
    return name, value
