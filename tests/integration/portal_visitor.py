"""A browser of one body at the portal, without a window, and its pages taken apart."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin

from register.catalogue import text
from register.miner import Language
from tests.integration.web_world import Site


class Answer(NamedTuple):
    """What a browser got; it follows nothing by itself."""

    code: int
    headers: Mapping[str, str]
    text: str


class Visitor:
    """A browser of one body: it keeps its cookie."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cookie = ""

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, None, headers)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self._ask("POST", path, urlencode(fields), sent)

    async def sign_in(self, token: str, onward: str = "", language: str = "en") -> Answer:
        return await self.post(f"/portal/{language}/sign-in", {"token": token, "next": onward})

    async def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        sent = {**headers, **({"Cookie": self.cookie} if self.cookie else {})}
        url = urljoin(self.site.url, path)
        async with self.site.http.request(
            method, url, data=body, headers=sent, allow_redirects=False
        ) as answer:
            if given := answer.headers.get("Set-Cookie"):
                self.cookie = given.partition(";")[0] if "Max-Age=0" not in given else ""
            content = await answer.read()
            return Answer(answer.status, answer.headers, content.decode(errors="replace"))


class Page(HTMLParser):
    """A page taken apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("a", "link") and (href := dict(attrs).get("href")):
            self.links.append(href)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def plain(source: str) -> str:
    """What a person reads of it."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", source)).split())


def say(language: Language, message: str, **values: Any) -> str:
    return text(language, f"portal.{message}", **values)
