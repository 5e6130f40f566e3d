"""What people are told, in English, Russian and Kazakh: one catalogue for all that speaks to them.

A message has an id and one text in each language, `locale/<language>/LC_MESSAGES/dmpool.po`; what is filled
in stands in braces by name. The files are read as they are at first use: no build step can be forgotten. Days
are written as the language writes them. Which language somebody reads is for the caller to know.

The words are the law's own (regulation.md section 3): Kazakh as Law 193-VII has them, Russian as the official
terms. Texts for a miner's screen are short, of one line, without double quotes and backslashes.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from pathlib import Path
from typing import Final

from babel.dates import format_date
from babel.messages.pofile import PoFileError, read_po

from register.miner import Language

LOCALES: Final = Path(__file__).with_name("locale")
_NO_BREAK: Final = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " "})


class CatalogueError(LookupError):
    """The catalogue lacks a message, or a value for one. The text names language, id and what is missing."""


def text(language: Language, message_id: str, **values: str | int | dt.date) -> str:
    """A message with its values filled in; raises CatalogueError."""
    template = messages(language).get(message_id)
    if template is None:
        raise CatalogueError(f"message {message_id!r} has no text in {language}; add it to {_file(language)}")
    shown = {
        name: day_text(language, value) if isinstance(value, dt.date) else value
        for name, value in values.items()
    }
    try:
        return template.format_map(shown)
    except KeyError as error:
        raise CatalogueError(f"message {message_id!r} in {language} wants the value {error}") from None


def day_text(language: Language, day: dt.date) -> str:
    """A day, written out; blanks are plain ones, since not every screen knows others."""
    return format_date(day, "long", language).translate(_NO_BREAK)


@cache
def messages(language: Language) -> dict[str, str]:
    """The texts of a language by message id, those that still need a translator's eye left out."""
    file = _file(language)
    try:
        with file.open("rb") as opened:
            entries = read_po(opened, locale=language, abort_invalid=True)
    except (OSError, PoFileError) as error:
        raise CatalogueError(f"messages in {language}: {file} cannot be read: {error}") from error
    return {str(one.id): str(one.string) for one in entries if one.id and one.string and not one.fuzzy}


def _file(language: Language) -> Path:
    return LOCALES / language / "LC_MESSAGES" / "dmpool.po"
