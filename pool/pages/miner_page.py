"""`/miners/{account}`: a miner's own page, and what of it a technician's link opens.

Workers, hashrates, refusals, earnings, what a block found now would pay, units and licence, notices, and the
settings for a machine with a QR code. The page is whole without JavaScript; its numbers are kept fresh by a
stream of the parts that changed. Who may see what is `pool.pages.miner_access`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from pool.config import Settings
from pool.pages.account_reader import AccountReader
from pool.pages.account_view import STATES
from pool.pages.live import Parts, StreamOverError, Streams
from pool.pages.miner_access import PREFIX, Access, MinerAccess
from pool.pages.qr import qr_picture
from pool.pages.speech import SPEECH, environment, language_for
from pool.pages.status_page import Pictures, drawn_of, host_of, stratum_url
from pool.pages.worker_rows import SORTS, seconds_since
from pool.pages.worker_rows import Query as Asked
from pool.reading import DatabaseAway
from pool.register_desk import Desk
from pool.status import StatusReader
from register.miner import LANGUAGES, Language

LIVE_SECONDS = 5.0
SEARCH_LIMIT: Final = 64
PRIVATE: Final = {
    "Cache-Control": "private, no-store",
    "Vary": "Authorization, Accept-Language",
    # The form that searches goes to this page alone.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
}
_PARTS: Final = (*("tiles", "notices", "hashrate", "workers", "rejects", "money", "preview", "units", "end"),)
_OF_MACHINES: Final = ("tiles", "hashrate", "workers", "rejects", "end")
"""What a technician sees."""
_PAGE_MOST: Final = 100_000


def asked_of(request: Request) -> Asked:
    """What of the list of workers the address asks for; what cannot be is left out."""
    given = request.query_params
    sort = given.get("sort", "name")
    page = given.get("page", "1")
    state = given.get("state")
    return Asked(
        sort=sort if sort.removeprefix("-") in SORTS else "name",
        page=max(min(int(page), _PAGE_MOST), 1) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
        search=given.get("search", "").strip()[:SEARCH_LIMIT],
        state=state if state in STATES else None,
    )


def address_with(base: str, language: Language, asked: Asked, **changes: Any) -> str:
    """The address of a page that asks for this, but for some changes."""
    wanted = replace(asked, **changes)
    query: dict[str, str] = {"lang": language}
    if wanted.search:
        query["search"] = wanted.search
    if wanted.state is not None:
        query["state"] = wanted.state
    if wanted.sort != "name":
        query["sort"] = wanted.sort
    if wanted.page > 1:
        query["page"] = str(wanted.page)
    return f"{base}?{urlencode(query)}"


class MinerPages:
    """Renders a miner's page, a worker's, and the one with a technician's link."""

    def __init__(self, settings: Settings, desk: Desk, accounts: AccountReader, status: StatusReader) -> None:
        self._name = settings.pool.name
        self._stratum = settings.stratum
        self._rules = desk.rules
        self._now_us = desk.now_us
        self._accounts = accounts
        self._status = status
        self._environment = environment()

    async def parts(self, access: Access, language: Language, asked: Asked) -> Parts:
        """The parts of the miner's page that change, by the ids of their elements; raises DatabaseAway."""
        look = await self._accounts.look(access.account, language)
        values = {
            **self._values(access, language),
            "look": look,
            "asked": asked,
            "list": await self._accounts.page(access.account, asked),
            "sorts": SORTS,
            "states": STATES,
            "address": lambda **changes: address_with(access.base, language, asked, **changes),
            "drawn": drawn_of(
                self._status.history.points(self._now_us(), access.account.miner.id), self._rules.local
            ),
        }
        names = _PARTS if access.whole else _OF_MACHINES
        return {
            f"part-{one}": self._environment.get_template(f"miner_{one}.html").render(values) for one in names
        }

    async def page(self, request: Request, access: Access, language: Language) -> str:
        """The whole page."""
        asked = asked_of(request)
        parts = await self.parts(access, language, asked)
        return self._render(
            "miner",
            access,
            language,
            parts={name.removeprefix("part-"): Markup(part) for name, part in parts.items()},  # noqa: S704 - rendered
            asked=asked,
            sorts=SORTS,
            states=STATES,
            stream=address_with(f"{access.base}/live", language, asked),
            here={one: address_with(access.base, one, asked) for one in LANGUAGES},
            **self._settings(request, access, "NAME"),
        )

    async def worker_parts(self, access: Access, language: Language, name: str) -> Parts:
        """The part of a worker's page that changes; raises HTTPException 404."""
        found = await self._accounts.worker(access.account, name)
        if found is None:
            raise HTTPException(404, SPEECH[language].say("no_worker", name=name[:SEARCH_LIMIT]))
        values = {**self._values(access, language), "worker": found}
        return {"part-worker": self._environment.get_template("miner_worker_now.html").render(values)}

    async def worker(self, request: Request, access: Access, language: Language, name: str) -> str:
        """The page of a worker."""
        parts = await self.worker_parts(access, language, name)
        query = urlencode({"name": name, "lang": language})
        return self._render(
            "miner_worker",
            access,
            language,
            part=Markup(parts["part-worker"]),  # noqa: S704 - rendered
            worker_name=name,
            stream=f"{access.base}/worker/live?{query}",
            here={one: f"{access.base}/worker?{urlencode({'name': name, 'lang': one})}" for one in LANGUAGES},
            **self._settings(request, access, name),
        )

    def technician(self, access: Access, language: Language, link: str, shown: str) -> str:
        """The page that shows a technician's link; `shown` is its ticket."""
        ends = self._rules.local(int(shown.partition(".")[0]) * 1_000_000)
        return self._render(
            "miner_technician",
            access,
            language,
            link=link,
            ticket=shown,
            ends_at=ends,
            here={one: f"{access.base}/technician?lang={one}" for one in LANGUAGES},
        )

    def refused(self, error: HTTPException, language: Language, name: str) -> Response:
        """Why there is no page."""
        template = self._environment.get_template("miner_refused.html")
        page = template.render(
            name=self._name,
            account=name[:40],
            code=error.status_code,
            reason=error.detail,
            **SPEECH[language].values(),
        )
        return HTMLResponse(page, error.status_code, {**PRIVATE, **(error.headers or {})})

    def settings_text(self, request: Request, access: Access, name: str) -> str:
        """What a technician types into a machine, as the text of a QR code."""
        told = self._settings(request, access, name)
        return f"{told['stratum_url']}\n{told['worker']}\nx"

    def _settings(self, request: Request, access: Access, name: str) -> dict[str, Any]:
        host = request.headers.get("host")
        tls = self._stratum.tls
        return {
            "stratum_url": stratum_url(self._stratum.listen, host),
            "tls_url": stratum_url(tls.listen, host, "stratum+ssl") if tls is not None else None,
            "worker": f"{access.account.miner.name}.{name}",
        }

    def _render(self, template: str, access: Access, language: Language, **values: Any) -> str:
        return self._environment.get_template(f"{template}.html").render(
            {**self._values(access, language), **values}
        )

    def _values(self, access: Access, language: Language) -> dict[str, Any]:
        now_us = self._now_us()
        return {
            "name": self._name,
            "account": access.account.miner.name,
            "title": access.account.miner.title,
            "base": access.base,
            "whole": access.whole,
            "ends_at": None if access.ends is None else self._rules.local(access.ends * 1_000_000),
            "now": self._rules.local(now_us),
            "since": lambda at: seconds_since(at, now_us),
            "today": self._rules.day_of(now_us),
            **SPEECH[language].values(),
        }


Show = Callable[[Request, Access, Language], Awaitable[Response]]


def miner_router(
    pages: MinerPages, access: MinerAccess, streams: Streams, desk: Desk, status: StatusReader
) -> APIRouter:
    """The page, its parts and pictures; each under the account's path and under a technician's link."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False)
    pictures = Pictures(desk.rules.local)

    def add(path: str, show: Show, *, by_link: bool = True) -> None:
        async def _route(request: Request, account: str, ticket: str | None = None) -> Response:
            own = None
            try:
                seen = await access.of(request, account, ticket)
                own = seen.account.miner.language
                return await show(request, seen, language_for(request, own))
            except HTTPException as error:
                return pages.refused(error, language_for(request, own), account)
            except DatabaseAway as error:
                away = HTTPException(503, str(error), {"Retry-After": "5"})
                return pages.refused(away, language_for(request, own), account)

        router.add_api_route(f"/{{account}}{path}", _route, methods=["GET"])
        if by_link:
            router.add_api_route(f"/{{account}}/link/{{ticket}}{path}", _route, methods=["GET"])

    async def _page(request: Request, seen: Access, language: Language) -> Response:
        return HTMLResponse(await pages.page(request, seen, language), 200, PRIVATE)

    async def _live(request: Request, seen: Access, language: Language) -> Response:
        asked = asked_of(request)

        async def make() -> Parts:
            return await pages.parts(await access.again(seen), language, asked)

        return streams.respond(request, seen.account.miner.name, make, LIVE_SECONDS)

    async def _chart(request: Request, seen: Access, language: Language) -> Response:
        await status.current()
        miner_id = seen.account.miner.id
        size = "narrow" if request.query_params.get("size") == "narrow" else "wide"
        return pictures.of(miner_id, status.history.points(desk.now_us(), miner_id), size)

    async def _worker(request: Request, seen: Access, language: Language) -> Response:
        return HTMLResponse(await pages.worker(request, seen, language, _name(request)), 200, PRIVATE)

    async def _worker_live(request: Request, seen: Access, language: Language) -> Response:
        name = _name(request)
        await pages.worker_parts(seen, language, name)

        async def make() -> Parts:
            try:
                return await pages.worker_parts(await access.again(seen), language, name)
            except HTTPException as error:  # silent for a day, and known no longer
                raise StreamOverError from error

        return streams.respond(request, seen.account.miner.name, make, LIVE_SECONDS)

    async def _qr(request: Request, seen: Access, language: Language) -> Response:
        return await asyncio.to_thread(qr_picture, pages.settings_text(request, seen, _name(request)))

    async def _technician(request: Request, seen: Access, language: Language) -> Response:
        shown = await access.ticket(seen)
        link = f"{host_of(request)}{seen.base}/link/{shown}"
        return HTMLResponse(pages.technician(seen, language, link, shown), 200, PRIVATE)

    async def _technician_qr(request: Request, seen: Access, language: Language) -> Response:
        shown = request.query_params.get("ticket", "")
        await access.of(request, seen.account.miner.name, shown)  # no QR code of what somebody made up
        return await asyncio.to_thread(qr_picture, f"{host_of(request)}{seen.base}/link/{shown}")

    add("", _page)
    add("/live", _live)
    add("/hashrate.svg", _chart)
    add("/worker", _worker)
    add("/worker/live", _worker_live)
    add("/qr.svg", _qr)
    add("/technician", _technician, by_link=False)
    add("/technician.svg", _technician_qr, by_link=False)
    return router


def _name(request: Request) -> str:
    return request.query_params.get("name", "")[: 2 * SEARCH_LIMIT]
