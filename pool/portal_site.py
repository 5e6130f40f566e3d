"""`/portal/{en,ru,kk}/`: what a regulator reads and takes, as pages for a browser without JavaScript.

Log, keys, addresses and how to verify are for everybody. Reports, forms, submissions and the archive are
behind the door (`pool.door_auth`): a token in a form begins a session, a program may send it as a header,
and `door.open_reports` lets everybody read reports and forms. What a page shows is `pool.portal_views`'s;
here are its addresses, who may see it, and what is said instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import door_session
from pool.config import Settings
from pool.documents import DocumentError
from pool.door_auth import Caller, Door, bearer
from pool.portal_pages import HEADERS, PREFIX, Pages, language_of
from pool.portal_views import VIEWS, Look, Place, View
from pool.reading import DatabaseAway, reading
from register.miner import LANGUAGES, Language
from register.rules import Rules

FORM_LIMIT: Final = 4096
"""Bytes of a form that is sent: a token, a word, where to go on."""
READ_SECONDS: Final = 30.0
"""The report of a large day is read in a fraction of it."""
_NEXT: Final = re.compile(rf"{PREFIX}/(?:{'|'.join(LANGUAGES)})/(?!.*\.\.)[A-Za-z0-9/._?=&-]{{0,200}}")
_REFUSALS: Final = {403: "refused_403", 404: "refused_404", 429: "refused_429", 503: "refused_503"}


def portal_router(
    engine: AsyncEngine, settings: Settings, rules: Rules, door: Door, now_us: Callable[[], int]
) -> APIRouter:
    """The routes, to be put at the root; of the API's description they are no part."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False)
    portal = _Portal(Place(engine, settings, rules, door, now_us, Pages(settings)))

    @router.get("")
    @router.get("/")
    async def _front(request: Request) -> Response:
        return RedirectResponse(f"{PREFIX}/{language_of(request)}/", 303, {"Vary": "Accept-Language"})

    @router.get("/{language}")
    async def _slash(request: Request) -> Response:
        return RedirectResponse(f"{PREFIX}/{_language(request)}/", 303)

    @router.get("/{language}/sign-in")
    async def _sign_in_form(request: Request) -> Response:
        return portal.sign_in_page(request, _language(request), request.query_params.get("next", ""))

    @router.post("/{language}/sign-in")
    async def _sign_in(request: Request) -> Response:
        return await portal.sign_in(request, _language(request))

    @router.post("/{language}/sign-out")
    async def _sign_out(request: Request) -> Response:
        return await portal.sign_out(request, _language(request))

    for path, view in VIEWS.items():
        router.add_api_route(f"/{{language}}/{path}", portal.endpoint(view), methods=["GET"])

    @router.get("/{rest:path}")
    async def _nothing(request: Request) -> Response:
        return portal.refused(request, _language(request), HTTPException(404))

    return router


def _language(request: Request) -> Language:
    """The language of the path, or else of the browser."""
    named = request.url.path.removeprefix(f"{PREFIX}/").partition("/")[0]
    return named if named in LANGUAGES else language_of(request)  # type: ignore[return-value]


class _Portal:
    """The pages, and who may see them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._door = place.door

    def endpoint(self, view: View) -> Callable[[Request], Any]:
        """A view as a route."""

        async def _page(request: Request) -> Response:
            language = _language(request)
            if request.path_params["language"] != language:
                return self.refused(request, language, HTTPException(404))
            try:
                look = Look(request, language, view.section, await self._caller(request, view), self._place)
                async with reading(self._place.engine, READ_SECONDS) as connection:
                    template, values = await view.make(look, connection)
            except DocumentError as error:
                return self.refused(request, language, HTTPException(404, str(error)))
            except DatabaseAway as error:
                return self.refused(request, language, HTTPException(503, str(error), {"Retry-After": "5"}))
            except HTTPException as error:
                return self.refused(request, language, error)
            if isinstance(values, str):
                return RedirectResponse(values, 303, HEADERS)
            # In a thread: a report has thousands of cells.
            return await asyncio.to_thread(self._render, look, template, values)

        return _page

    async def _caller(self, request: Request, view: View) -> Caller | None:
        """Who asks. Raises HTTPException for a page that is not for everybody."""
        if view.scope is not None:
            caller = await self._door.caller(request, view.scope)
            return caller if caller.name else None
        if bearer(request) is None and door_session.cookie_of(request) is None:
            return None
        try:
            return await self._door.caller(request, None)
        except HTTPException as error:
            if error.status_code == 429:
                raise
            return None

    def _render(self, look: Look, template: str, values: dict[str, Any]) -> Response:
        return self._place.pages.render(
            look.request,
            look.language,
            template,
            look.section,
            visitor=look.caller,
            opened=self._door.open_reports,
            **values,
        )

    def refused(self, request: Request, language: Language, error: HTTPException) -> Response:
        """What is said in place of a page; who has no token and needs one is sent to where to give it."""
        if error.status_code == 401 and bearer(request) is None:
            ended = "&ended=1" if door_session.cookie_of(request) else ""
            query = f"?{request.url.query}" if request.url.query else ""
            onward = quote(f"{request.url.path}{query}", safe="/")
            headers = {**HEADERS, "Location": f"{PREFIX}/{language}/sign-in?next={onward}{ended}"}
            return Response(status_code=303, headers=headers)
        if error.status_code == 401:
            return self.sign_in_page(request, language, "", error)
        return self._place.pages.render(
            request,
            language,
            "refused",
            "",
            error.status_code,
            error.headers,
            visitor=None,
            opened=self._door.open_reports,
            title=f"{_REFUSALS[error.status_code]}_title",
            about=_REFUSALS[error.status_code],
            reason="" if error.detail == "Not Found" else error.detail,
        )

    # Sessions

    def sign_in_page(
        self, request: Request, language: Language, onward: str, error: HTTPException | None = None
    ) -> Response:
        """The form for a token; `error` is why there is no session."""
        if error is not None:
            trouble = "wrong_429" if error.status_code == 429 else "wrong_token"
        else:
            trouble = "session_ended" if "ended" in request.query_params else ""
        return self._place.pages.render(
            request,
            language,
            "sign_in",
            "sign-in",
            200 if error is None else error.status_code,
            None if error is None else error.headers,
            visitor=None,
            opened=self._door.open_reports,
            next=onward if _NEXT.fullmatch(onward) else "",
            trouble=trouble,
            reason="" if error is None else error.detail,
        )

    async def sign_in(self, request: Request, language: Language) -> Response:
        """A token that was sent with the form."""
        sent = await _form(request)
        onward = sent.get("next", "")
        try:
            _, cookie = await self._door.sign_in(request, sent.get("token", ""))
        except HTTPException as error:
            return self.sign_in_page(request, language, onward, error)
        except DatabaseAway as error:
            return self.refused(request, language, HTTPException(503, str(error), {"Retry-After": "5"}))
        target = onward if _NEXT.fullmatch(onward) else f"{PREFIX}/{language}/"
        return RedirectResponse(target, 303, {**HEADERS, "Set-Cookie": cookie})

    async def sign_out(self, request: Request, language: Language) -> Response:
        """The end of a session."""
        sent = await _form(request)
        try:
            cookie = await self._door.sign_out(request, sent.get("csrf", ""))
        except HTTPException as error:
            return self.refused(request, language, error)
        except DatabaseAway as error:
            return self.refused(request, language, HTTPException(503, str(error), {"Retry-After": "5"}))
        return RedirectResponse(f"{PREFIX}/{language}/", 303, {**HEADERS, "Set-Cookie": cookie})


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; none of one that is too long or no form."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_LIMIT:
            return {}
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=8)
    except (UnicodeDecodeError, ValueError):
        return {}
    return {name: values[0] for name, values in fields.items()}
