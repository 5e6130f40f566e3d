"""`/api/v1/reports`: the signed daily reports, byte for byte as they are kept (invariant I7).

A report's ETag is its SHA-256, so whoever has it already asks again for nothing. Building and signing is not
done here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.reading import reading
from pool.status import ReportView, read_reports
from pool.tables import report
from register.rules import Rules

PAGE = 100
_LARGEST: Final = 2**63 - 1
LARGEST_VERSION: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer."""

    detail: str


@dataclass(frozen=True, slots=True)
class ReportList:
    """Reports, newest first; `next_before` is the `before` that gives the rest, None at the end."""

    reports: tuple[ReportView, ...]
    next_before: int | None


def problem(description: str) -> dict[str, Any]:
    """An answer with a `Problem`, for OpenAPI; as a model it would cost the start of each route time."""
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


AWAY: Final[dict[int | str, dict[str, Any]]] = {503: problem("The database is away; ask again.")}
_ONE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The signed envelope, exactly as it was stored.",
        "content": {"application/json": {"schema": {"type": "object"}}},
        "headers": {"ETag": {"description": "SHA-256 of the report.", "schema": {"type": "string"}}},
    },
    304: {"description": "It is the one that If-None-Match names."},
    404: problem("There is no such report."),
    **AWAY,
}
_Tag = Annotated[str | None, Header(alias="If-None-Match")]


def report_router(engine: AsyncEngine, rules: Rules) -> APIRouter:
    """The routes, to be put under /api/v1."""
    router = APIRouter(prefix="/reports", tags=["reports"])

    @router.get("", response_model=ReportList, responses=AWAY, summary="The reports, newest first")
    async def _list(before: Annotated[int | None, Query(ge=1, le=_LARGEST)] = None) -> Response:
        async with reading(engine) as connection:
            found = await read_reports(connection, rules, PAGE + 1, before)
        shown = found[:PAGE]
        more = shown[-1].sequence if len(found) > PAGE else None
        return Response(msgspec.json.encode(ReportList(shown, more)), media_type="application/json")

    @router.get("/{day}", responses=_ONE, response_class=Response, summary="A day's newest report")
    async def _newest(day: dt.date, if_none_match: _Tag = None) -> Response:
        return await _envelope(engine, day, None, if_none_match)

    @router.get("/{day}/{version}", responses=_ONE, response_class=Response, summary="One version of it")
    async def _version(
        day: dt.date,
        version: Annotated[int, Path(ge=1, le=LARGEST_VERSION)],
        if_none_match: _Tag = None,
    ) -> Response:
        return await _envelope(engine, day, version, if_none_match)

    return router


async def _envelope(engine: AsyncEngine, day: dt.date, version: int | None, held: str | None) -> Response:
    wanted = sa.select(report.c.sha256, report.c.envelope).where(report.c.day == day)
    if version is not None:
        wanted = wanted.where(report.c.version == version)
    async with reading(engine) as connection:
        found = (await connection.execute(wanted.order_by(report.c.version.desc()).limit(1))).one_or_none()
    if found is None:
        what = "report" if version is None else f"version {version} of a report"
        raise HTTPException(404, f"there is no {what} of {day}; /api/v1/reports lists all there are")
    tag = f'"{found.sha256}"'
    if held is not None and tag in [one.strip().removeprefix("W/") for one in held.split(",")]:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(bytes(found.envelope), media_type="application/json", headers={"ETag": tag})
