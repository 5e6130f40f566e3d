"""`/operate/`: what an operator reads when an alarm has woken him, served by the pool itself.

An alarm's link must work at night, on a phone, from a machine that may reach nothing but the pool. So the web
role renders docs/operate and docs/metrics.md, which come with the program. Names come from the list of those
files and nothing else; markup in them is shown as text, and nothing is loaded from elsewhere. No page needs
PostgreSQL, which may be the very thing that is away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from pool.config import Settings
from pool.page_templates import environment

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
INDEX: Final = "README"
PREFIX: Final = "/operate/"
CONTENTS_FROM: Final = 4
"""A page with so many sections begins with a list of them, unless it has its own."""
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_TARGET: Final = re.compile(r"(?P<path>[^#:?]*?)(?:#(?P<anchor>.*))?")
_ALARM: Final = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+")


class Page(NamedTuple):
    """A page as HTML: what stands before its first section, and its sections."""

    title: str
    head: Markup
    contents: Sequence[tuple[str, str]]
    """Anchor and heading of each section; empty on a short page."""
    sections: Sequence[Markup]


def runbook_router(settings: Settings, docs: Path = DOCS) -> APIRouter:
    """The routes, to be put at the root."""
    router = APIRouter()
    pages = files(docs)
    templates = environment()

    @cache  # the list is closed
    def rendered(name: str) -> str:
        page = read_page(name, pages)
        return templates.get_template("runbook.html").render(
            page=page,
            name=f"{page.title}: {settings.pool.name}",
            pool=settings.pool.name,
            index=name == INDEX,
        )

    @router.get(PREFIX, include_in_schema=False)
    def _index() -> HTMLResponse:
        return _answer(INDEX)

    @router.get(PREFIX + "{name}", include_in_schema=False)
    def _page(name: str) -> HTMLResponse:
        return _answer(name)

    def _answer(name: str) -> HTMLResponse:
        if name not in pages:
            raise HTTPException(404, f"there is no such page; there are {', '.join(sorted(pages))}")
        return HTMLResponse(rendered(name))

    return router


def files(docs: Path = DOCS) -> dict[str, Path]:
    """The pages that are served, by name. None where the program was installed without them."""
    found = {path.stem: path for path in sorted((docs / "operate").glob("*.md"))}
    metrics = docs / "metrics.md"
    return {**found, metrics.stem: metrics} if metrics.exists() else found


def read_page(name: str, pages: Mapping[str, Path]) -> Page:
    """One of the pages, rendered."""
    path = pages[name]
    served = {path.resolve(): name for name, path in pages.items()}
    tokens = _MARKDOWN.parse(path.read_text("utf-8"))
    for token in tokens:
        if token.children:
            token.children = list(_linked(token.children, path, served))
    headings = list(_anchored(tokens))
    starts = [place for place, level, _, _ in headings if level == "h2"]
    contents = [(anchor, text) for _, level, anchor, text in headings if level == "h2"]
    title = next((text for _, level, _, text in headings if level == "h1"), name)
    head = _html(tokens[: starts[0]] if starts else tokens)
    listed = len(contents) < CONTENTS_FROM or f'href="#{contents[0][0]}"' in head
    return Page(
        title,
        head,
        [] if listed else contents,
        [_html(tokens[start:end]) for start, end in pairwise([*starts, len(tokens)])],
    )


def _html(tokens: Sequence[Token]) -> Markup:
    """Tables may be wider than a phone: they scroll by themselves."""
    text: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    text = text.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return Markup(text)  # noqa: S704 - of files that came with the program, and HTML in them is escaped


def _anchored(tokens: Sequence[Token]) -> Iterator[tuple[int, str, str, str]]:
    """Give each heading its anchor; place, level, anchor and text of each.

    A name in capitals, as an alarm has, can be linked as it is written too: Grafana cannot change letters.
    """
    told: Counter[str] = Counter()
    for place, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        inline = tokens[place + 1]
        text = "".join(child.content for child in inline.children or ())
        slug = slug_of(text)
        told[slug] += 1
        anchor = slug if told[slug] == 1 else f"{slug}-{told[slug] - 1}"
        token.attrSet("id", anchor)
        if anchor == slug and _ALARM.fullmatch(text):
            inline.children = [*_named(text), *(inline.children or ())]
        yield place, token.tag, anchor, text


def _named(text: str) -> Iterator[Token]:
    yield Token("link_open", "a", 1, attrs={"id": text})
    yield Token("link_close", "a", -1)


def slug_of(heading: str) -> str:
    """The anchor of a heading, as Markdown viewers make it."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def _linked(tokens: Iterable[Token], page: Path, served: Mapping[Path, str]) -> Iterator[Token]:
    """Links lead to the pages as they are served; those to what is not served are text."""
    dropped = served_here = False
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href") or ""), page, served)
            dropped = target is None
            served_here = target is not None and target.startswith(PREFIX)
            if target is not None:
                token.attrSet("href", target)
        if token.type == "link_close":
            served_here = False
        if served_here and token.type == "text":
            token.content = token.content.removesuffix(".md")  # who reads here sees pages, no files
        if token.type == "image" or (dropped and token.type in ("link_open", "link_close")):
            continue
        yield token


def _target(href: str, page: Path, served: Mapping[Path, str]) -> str | None:
    if href.startswith(("https://", "http://")):
        return href
    parts = _TARGET.fullmatch(href)
    if parts is None:
        return None
    anchor = f"#{parts['anchor']}" if parts["anchor"] else ""
    if not parts["path"]:
        return anchor or None
    name = served.get((page.parent / parts["path"]).resolve())
    return None if name is None else f"{PREFIX}{'' if name == INDEX else name}{anchor}"
