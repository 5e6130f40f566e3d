"""How the status page and the miner's page speak: their language, their words, ages and states of blocks.

The language is that of `?lang=`, else the one that the browser asks for, else the state language; a program
that asks for none gets English, as all other answers for programs are. There is no cookie: links carry it on.
Texts are the catalogue's (`page.…`, and `statement.…` where a statement has the same word).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jinja2
from fastapi import Request

from payouts.block_state import MATURITY
from pool import page_templates, wording
from pool.portal_pages import NAMES, language_of
from pool.status import BlockView
from register.catalogue import day_text, text
from register.miner import LANGUAGES, Language

_LENGTHS: Final = ((86_400, "age_days"), (3600, "age_hours"), (60, "age_minutes"))

Say = Callable[..., str]


def language_for(request: Request, own: Language | None = None) -> Language:
    """The language of a page; `own` is the one that the reader is known to read."""
    asked = request.query_params.get("lang")
    if asked in LANGUAGES:
        return asked  # type: ignore[return-value]
    if own is not None:
        return own
    return language_of(request) if request.headers.get("accept-language") else "en"


@dataclass(frozen=True, slots=True)
class Speech:
    """A language, and what is said in it."""

    language: Language

    def say(self, message: str, **values: str | int | dt.date) -> str:
        """A text of these pages."""
        return text(self.language, f"page.{message}", **values)

    def term(self, message: str) -> str:
        """A word that a statement has too."""
        return text(self.language, f"statement.{message}")

    def age(self, seconds: int | None) -> str:
        """A time that has passed, in its largest unit."""
        if seconds is None:
            return self.say("never")
        for length, unit in _LENGTHS:
            if seconds >= length:
                return self.say(unit, count=seconds // length)
        return self.say("age_seconds", count=seconds)

    def ago(self, seconds: int | None) -> str:
        """The same, as a moment."""
        return self.say("never") if seconds is None else self.say("ago", age=self.age(seconds))

    def day(self, day: dt.date) -> str:
        """A day, written out."""
        return day_text(self.language, day)

    def state(self, block: BlockView) -> str:
        """What has become of a block."""
        if block.state != "confirmed":
            return self.say(f"state_{block.state}")
        if block.confirmations is None:
            return self.say("state_confirmed")
        return self.say("confirmations", count=min(block.confirmations, MATURITY), wanted=MATURITY)

    def why(self, reason: str) -> str:
        """Why a share was refused; a reason that has no text stands as it is on the wire."""
        known = f"reject_{reason.replace(' ', '_').replace('-', '_')}"
        try:
            return self.say(known)
        except LookupError:
            return reason

    def values(self) -> dict[str, Any]:
        """What a template speaks with."""
        return {
            "lang": self.language,
            "languages": LANGUAGES,
            "language_names": NAMES,
            "say": self.say,
            "term": self.term,
            "age": self.age,
            "ago": self.ago,
            "day": self.day,
            "state_of": self.state,
            "why": self.why,
        }


SPEECH: Final = {language: Speech(language) for language in LANGUAGES}


def environment() -> jinja2.Environment:
    """What templates of these pages are rendered by."""
    return page_templates.environment(
        *(wording.number, wording.hashrate, wording.bitcoin, wording.percent, wording.moment, wording.zone),
        *(wording.short, wording.short_block, minute),
    )


def minute(at: dt.datetime) -> str:
    """Date and time to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"
