"""How the regulator's portal is rendered: one layout in three languages, for a browser without JavaScript.

Each page knows its own address in the other languages, so a reader changes the language and stays where he
is. Texts come from the catalogue (`portal.…`); names and reasons are people's text and are escaped wherever
they appear. Pages are never kept by a browser or a proxy: what they show depends on who asks.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from babel.core import negotiate_locale
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup, escape

from pool import wording
from pool.config import Settings
from pool.page_templates import environment
from register.catalogue import day_text, text
from register.miner import LANGUAGES, Language

PREFIX: Final = "/portal"
FALLBACK: Final[Language] = "kk"
"""The state language, for a browser that asks for none of the three."""
NAMES: Final = {"en": "English", "ru": "Русский", "kk": "Қазақша"}
MENU: Final = (
    ("", "menu_overview"),
    ("reports", "menu_reports"),
    ("forms", "menu_forms"),
    ("submissions", "menu_submissions"),
    ("archive", "menu_archive"),
    ("log", "menu_log"),
    ("verify", "menu_verify"),
    ("addresses", "menu_addresses"),
)
HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Vary": "Cookie, Authorization",
    # Its forms go to the portal alone; a form tells where it came from, so that others' are refused.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Referrer-Policy": "same-origin",
}
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")

_DAY: Final = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")

Say = Callable[..., str]


def language_of(request: Request) -> Language:
    """The language that a browser asks for, of the three."""
    asked: list[tuple[float, str]] = []
    for one in request.headers.get("accept-language", "")[:200].split(","):
        tag, _, weight = one.strip().partition(";q=")
        try:
            asked.append((-float(weight or 1), tag.replace("-", "_")))
        except ValueError:  # not a weight: the browser's mistake
            continue
    wanted = [tag for _, tag in sorted(asked, key=lambda one: one[0]) if tag]
    found = negotiate_locale(wanted, LANGUAGES) if wanted else None
    return found if found in LANGUAGES else FALLBACK  # type: ignore[return-value]


def size_text(count: int) -> str:
    """Bytes in the largest unit that leaves a whole number."""
    unit = 0
    while count >= 10_000 and unit < len(_UNITS) - 1:
        count, unit = count // 1000, unit + 1
    return f"{wording.number(count)} {_UNITS[unit]}"


def unbroken(cell: str) -> Markup:
    """A text in which no line ends within a day like 2026-11-24."""
    return Markup(_DAY.sub(r'<span class="nb">\g<0></span>', str(escape(cell))))  # noqa: S704 - escaped


class Pages:
    """Renders the portal of one pool."""

    def __init__(self, settings: Settings) -> None:
        self._pool = settings.pool
        self._environment = environment(
            wording.number, wording.moment, wording.zone, unbroken, size=size_text
        )

    def render(
        self,
        request: Request,
        language: Language,
        template: str,
        section: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """A page; `section` is the path of its place in the menu."""

        def say(message: str, **filled: str | int | dt.date) -> str:
            return text(language, f"portal.{message}", **filled)

        def day(value: dt.date | str) -> str:
            return day_text(language, dt.date.fromisoformat(value) if isinstance(value, str) else value)

        page = self._environment.get_template(f"portal_{template}.html").render(
            name=self._pool.name,
            bin=self._pool.bin,
            chain=self._pool.chain,
            lang=language,
            languages=LANGUAGES,
            names=NAMES,
            here={one: _elsewhere(request, one) for one in LANGUAGES},
            root=f"{PREFIX}/{language}",
            menu=MENU,
            section=section,
            say=say,
            day=day,
            **values,
        )
        return HTMLResponse(page, status, {**HEADERS, **(headers or {})})


def _elsewhere(request: Request, language: Language) -> str:
    """This page in a language: the same path and query behind another name."""
    rest = request.url.path.removeprefix(PREFIX).lstrip("/").partition("/")[2]
    query = f"?{request.url.query}" if request.url.query and request.method == "GET" else ""
    return f"{PREFIX}/{language}/{rest}{query}"
