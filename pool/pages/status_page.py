"""`/`: the status page in three languages, its chart, and the stream that keeps its numbers fresh.

The page is whole without JavaScript. Its parts are rendered once for each language and look, however many
people see them; the stream sends the parts that changed.
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from pool.clock import microseconds
from pool.config import Listen, Settings
from pool.pages.charts import HEIGHTS, WIDTHS, hashrate_chart
from pool.pages.history import Point
from pool.pages.live import Parts, Streams, viewer_of
from pool.pages.speech import SPEECH, environment, language_for
from pool.problems import AWAY
from pool.register_desk import told_as
from pool.status import Status, StatusReader
from register.miner import LANGUAGES, Language
from register.rules import Rules

PAGES_KEPT = 48
"""The same status, rendered for so many different names of the server and languages."""
LOOK_SECONDS: Final = 1.0
PARTS: Final = (
    *("who", "tiles", "hashrate", "luck", "blocks", "miners", "gateways", "journal", "reports", "end"),
)
_EVERYWHERE: Final = ("0.0.0.0", "::", "*")  # noqa: S104 - compared with, not bound to
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:\d{1,5})?")
_TURN: Final = {"Vary": "Accept-Language"}


class Hour(NamedTuple):
    """The mean hashrate of an hour, or of what is told of it."""

    at: dt.datetime
    hashrate: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart in words: what a template needs to show the picture and its numbers."""

    points: Sequence[Point]
    mark: str
    """Changes with the picture."""
    hours: Sequence[Hour]

    wide: tuple[int, int] = (WIDTHS["wide"], HEIGHTS["wide"])
    narrow: tuple[int, int] = (WIDTHS["narrow"], HEIGHTS["narrow"])

    @property
    def least(self) -> int:
        """The lowest of its hashrates."""
        return min(one.hashrate for one in self.points)

    @property
    def most(self) -> int:
        """The highest."""
        return max(one.hashrate for one in self.points)

    @property
    def last(self) -> int:
        """The newest."""
        return self.points[-1].hashrate


def drawn_of(points: Sequence[Point], local: Callable[[int], dt.datetime]) -> Drawn:
    """A chart of points; the newest hour stands first in its table."""
    by_hour: dict[dt.datetime, list[int]] = {}
    for one in points:
        hour = local(one.at_us).replace(minute=0, second=0, microsecond=0)
        by_hour.setdefault(hour, []).append(one.hashrate)
    hours = [Hour(at, sum(told) // len(told)) for at, told in reversed(by_hour.items())]
    return Drawn(points, mark_of(points), hours)


def mark_of(points: Sequence[Point]) -> str:
    """Changes with any of the points: the past fills up at the first looks, and work may come late."""
    return f"{zlib.crc32(repr(points).encode()):08x}"


class HashrateAt(msgspec.Struct, frozen=True):
    """A mean over ten minutes."""

    at: dt.datetime
    hashrate: str
    """Hashes per second."""


def told_points(points: Sequence[Point], local: Callable[[int], dt.datetime]) -> list[HashrateAt]:
    """Points for programs."""
    return [HashrateAt(local(one.at_us), str(one.hashrate)) for one in points]


class Pictures:
    """Charts that were drawn, each once while there is none newer; the oldest goes when there are many."""

    def __init__(self, local: Callable[[int], dt.datetime], kept: int = 128) -> None:
        self._local = local
        self._kept = kept
        self._drawn: dict[tuple[int | None, str, str], bytes] = {}

    def of(self, miner_id: int | None, points: Sequence[Point], size: str) -> Response:
        """The chart of a miner, or of the pool; `size` is "wide" or "narrow"."""
        key = (miner_id, size, mark_of(points))
        if key not in self._drawn:
            if len(self._drawn) >= self._kept:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = hashrate_chart(points, self._local, size)
        whose = "private" if miner_id is not None else "public"
        return Response(self._drawn[key], 200, {"Cache-Control": f"{whose}, max-age=600"}, "image/svg+xml")


class StatusPages:
    """Renders the status page."""

    def __init__(self, settings: Settings, reader: StatusReader, rules: Rules) -> None:
        self._name = settings.pool.name
        self._stratum = settings.stratum.listen
        self._environment = environment()
        self._reader = reader
        self._rules = rules
        self._rendered_of: Status | None = None
        self._parts: dict[Language, Parts] = {}
        self._pages: dict[tuple[Language, str], str] = {}

    async def parts(self, language: Language) -> Parts:
        """The parts that change, as of now, by the ids of their elements; raises DatabaseAway."""
        status = await self._reader.current()
        if status is not self._rendered_of:
            self._rendered_of, self._parts, self._pages = status, {}, {}
        if language not in self._parts:
            values = {
                "status": status,
                "drawn": drawn_of(self.points(status), self._rules.local),
                **SPEECH[language].values(),
            }
            self._parts[language] = {
                f"part-{one}": self._environment.get_template(f"status_{one}.html").render(values)
                for one in PARTS
            }
        return self._parts[language]

    async def page(self, language: Language, host: str | None) -> str:
        """The page for a browser that called the server by `host` (its Host header, unchecked)."""
        parts = await self.parts(language)
        key = (language, stratum_url(self._stratum, host))
        if key not in self._pages:
            if len(self._pages) >= PAGES_KEPT:
                self._pages.clear()
            self._pages[key] = self._environment.get_template("status.html").render(
                name=self._name,
                stratum_url=key[1],
                here={one: f"/?lang={one}" for one in LANGUAGES},
                parts={name.removeprefix("part-"): Markup(part) for name, part in parts.items()},  # noqa: S704 - rendered
                **SPEECH[language].values(),
            )
        return self._pages[key]

    def points(self, status: Status) -> tuple[Point, ...]:
        """The pool's hashrates of the day before a look."""
        return self._reader.history.points(microseconds(status.at))

    def away(self, language: Language, reason: str) -> str:
        """The page in place of all others when there is nothing to read from."""
        template = self._environment.get_template("away.html")
        return template.render(name=self._name, reason=reason, **SPEECH[language].values())


def status_router(pages: StatusPages, reader: StatusReader, streams: Streams, rules: Rules) -> APIRouter:
    """The page, its chart and its stream, and the chart's numbers for programs."""
    router = APIRouter()
    pictures = Pictures(rules.local)

    @router.get("/", include_in_schema=False)
    async def _page(request: Request) -> Response:
        page = await pages.page(language_for(request), request.headers.get("host"))
        return HTMLResponse(page, headers=_TURN)

    @router.get("/live", include_in_schema=False)
    async def _live(request: Request) -> Response:
        language = language_for(request)
        return streams.respond(request, viewer_of(request), lambda: pages.parts(language), LOOK_SECONDS)

    @router.get("/charts/hashrate.svg", include_in_schema=False)
    async def _chart(size: str = Query("wide", pattern="^(wide|narrow)$")) -> Response:
        return pictures.of(None, pages.points(await reader.current()), size)

    @router.get(
        "/api/v1/hashrate",
        summary="The pool's hashrate over 24 hours, by ten minutes",
        responses={200: told_as(list[HashrateAt], "The oldest first."), **AWAY},
    )
    async def _hashrate() -> Response:
        points = told_points(pages.points(await reader.current()), rules.local)
        return Response(msgspec.json.encode(points), media_type="application/json")

    return router


def stratum_url(listen: Listen, host: str | None, scheme: str = "stratum+tcp") -> str:
    """Where miners connect; a server that listens everywhere is called as the browser called it."""
    if listen.host not in _EVERYWHERE:
        return f"{scheme}://{listen}"
    called = _HOST.fullmatch(host or "")
    return f"{scheme}://{called.group(1) if called else 'HOST'}:{listen.port}"


def host_of(request: Request) -> str:
    """This site as the browser called it; a proxy that ends TLS says so with X-Forwarded-Proto."""
    encrypted = request.headers.get("x-forwarded-proto") == "https" or request.url.scheme == "https"
    host = request.headers.get("host", "")
    return f"http{'s' if encrypted else ''}://{host if _HOST.fullmatch(host) else 'HOST'}"
