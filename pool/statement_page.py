"""`/statements/{account}/{day or month}`: a miner's statement as a page in its language, as CSV and as JSON.

It is shown to the miner, by the token of its account, and to the people of the register, whatever their role.
A browser sends the token as a password (HTTP Basic). The page only reads. What is told is decided by
`payouts.statement`; a statement that the ledger contradicts is not shown to anybody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from payouts.statement import Part, Period, Statement, StatementError
from pool import wording
from pool.config import Settings
from pool.page_templates import environment
from pool.problems import Problem
from pool.reading import DatabaseAway, reading
from pool.register_desk import Desk, answer
from pool.statement_now import Office, office_of
from pool.statement_text import written
from pool.statements import statement
from register.catalogue import text
from register.miner import LANGUAGES, Language
from register.rules import RulesError

log = structlog.get_logger(__name__)

STATEMENT_SECONDS: Final = 30.0
"""A month of a large miner is read in a fraction of it."""
_TYPES: Final = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}
CONTRADICTION: Final = (
    "The ledger contradicts itself about this statement, so that it is not shown. The pool's log says where; "
    "ask its operator."
)
_PRIVATE: Final = {"Cache-Control": "private, no-store", "Vary": "Authorization"}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    code: {"description": meaning, "content": {kind: {} for kind in kinds}}
    for code, meaning, kinds in (
        (200, "The statement, as the ending says.", ("text/html", "text/csv", "application/json")),
        *(
            (code, meaning, ("text/html", "application/json"))
            for code, meaning in (
                (401, "No token, or a wrong one."),
                (404, "There is no such account or period."),
                (429, "Too many wrong tokens from this address."),
                (500, "The ledger contradicts itself about this statement."),
                (503, "The database is away; ask again."),
            )
        ),
    )
}
_Lang = Annotated[str | None, Query(description="en, ru or kk; else the miner's own.")]


def statement_router(desk: Desk, settings: Settings) -> APIRouter:
    """The routes, to be put under no prefix."""
    router = APIRouter(tags=["statements"])
    pages = _Pages(settings, office_of(settings, desk.rules))

    @router.get("/statements/{account}", include_in_schema=False)
    async def _today(account: str) -> Response:
        month = desk.rules.day_of(desk.now_us()).isoformat()[:7]
        return RedirectResponse(f"./{account}/{month}", 303, _PRIVATE)

    @router.get(
        "/statements/{account}/{period}",
        summary="A miner's statement of a day or month; .csv or .json behind the period for programs",
        responses=_ANSWERS,
        response_class=HTMLResponse,
    )
    async def _statement(request: Request, account: str, period: str, lang: _Lang = None) -> Response:
        name, suffix = _without_suffix(period)
        try:
            await desk.auth.statement_viewer(request, account)
            made, language = await _make(desk, pages.office, account, name)
        except HTTPException as error:
            return pages.refused(error, suffix)
        except DatabaseAway as error:
            return pages.refused(HTTPException(503, str(error), {"Retry-After": "5"}), suffix)
        if suffix:
            file = f"{account}-{name}{suffix}"
            headers = {**_PRIVATE, "Content-Disposition": f'inline; filename="{file}"'}
            return Response(written(made, desk.rules, suffix), 200, headers, _TYPES[suffix])
        chosen: Language = lang if lang in LANGUAGES else language  # type: ignore[assignment]
        return HTMLResponse(pages.page(made, chosen), 200, _PRIVATE)

    return router


def _without_suffix(period: str) -> tuple[str, str]:
    """The period and its .csv or .json; empty for the page."""
    for suffix in _TYPES:
        if period.endswith(suffix):
            return period.removesuffix(suffix), suffix
    return period, ""


async def _make(desk: Desk, office: Office, account: str, period: str) -> tuple[Statement, Language]:
    """The statement and the miner's language; what cannot be told becomes an HTTPException."""
    now_us = desk.now_us()
    try:
        wanted = Period.parse(period)
        async with desk.live.held() as register, reading(desk.engine, STATEMENT_SECONDS) as connection:
            miner = register.find_miner(account)
            if miner is None:
                raise HTTPException(404, f"there is no account {account[:40]!r}")
            made = await statement(connection, office, register, miner, wanted, now_us)
            return made, miner.language
    except (ValueError, RulesError) as error:
        raise HTTPException(404, str(error)) from error
    except StatementError as error:
        log.error("statement_contradicts", account=account, period=period, reason=str(error))
        raise HTTPException(500, CONTRADICTION) from error


class _Pages:
    """Renders statements, and why there is none."""

    def __init__(self, settings: Settings, office: Office) -> None:
        self.office = office
        self._name = settings.pool.name
        self._environment = environment(
            *(wording.number, wording.bitcoin, wording.moment, wording.zone, wording.short_block),
            remainder=_remainder,
        )

    def page(self, made: Statement, language: Language) -> str:
        """The statement in a language."""
        local = self.office.rules.local

        def say(message: str, **values: str | int | dt.date) -> str:
            return text(language, f"statement.{message}", **values)

        return self._environment.get_template("statement.html").render(
            name=self._name,
            lang=language,
            languages=LANGUAGES,
            say=say,
            made=made,
            facts=made.facts,
            until=local(made.facts.until_us),
            local=local,
        )

    def refused(self, error: HTTPException, suffix: str) -> Response:
        """Why there is none, as a page or for programs."""
        headers = {**_PRIVATE, **(error.headers or {})}
        if suffix in _TYPES:
            return answer(Problem(str(error.detail)), error.status_code, headers)
        template = self._environment.get_template("statement_refused.html")
        page = template.render(name=self._name, reason=error.detail, code=error.status_code)
        return HTMLResponse(page, error.status_code, headers)


def _remainder(part: Part, say: Callable[..., str]) -> str:
    return say(
        "extra",
        floor=wording.number(part.floor_sat),
        extra=part.extra_sat,
        before=part.rank - 1,
        left=part.left_sat,
    )
