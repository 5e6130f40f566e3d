"""`/api/v1/reports`: the signed daily reports, byte for byte as they are kept (invariant I7), what proves
each, and the PDF for people.

A report's ETag is its SHA-256, so whoever has it already asks again for nothing. Building and signing is not
done here. Whoever comes through the regulator's door with the scope `reports` may read all of them: a daily
report is addressed to both bodies (O-40).
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Final

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Query, Request, Response

from pool.documents import Document, DocumentError, find_report
from pool.door_desk import JSON, LARGEST, PROOF, DoorDesk, Version, guarded, of_document, told
from pool.door_files import Shown, bytes_answer
from pool.door_regulators import Scope
from pool.reading import reading
from pool.status import ReportView, read_reports
from pool.tables_report_keys import report_signature
from register.miner import Language

PAGE = 100
NOT_VERIFIED: Final = "stored as the service gave it; not verified by this pool"
_ANSWERS: Final = of_document("report")


@dataclass(frozen=True, slots=True)
class ReportList:
    """Reports, newest first; `next_before` is the `before` that gives the rest, None at the end."""

    reports: tuple[ReportView, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class StoredSignature:
    """A signature that stands beside a report; `value` is base64, of a detached CMS in DER for type "cms"."""

    type: str
    report_sha256: str
    value: str
    received_at: str
    status: str


@dataclass(frozen=True, slots=True)
class StoredSignatures:
    """What signatures stand beside one version of a report; those of its envelope are not repeated."""

    signatures: tuple[StoredSignature, ...]


def report_router(desk: DoorDesk) -> APIRouter:
    """The routes, to be put under /api/v1."""
    router = guarded(desk.door, Scope.REPORTS, "/reports", "reports")

    @router.get("", response_model=ReportList, summary="The reports, newest first")
    async def _list(before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None) -> Response:
        async with reading(desk.engine) as connection:
            found = await read_reports(connection, desk.rules, PAGE + 1, before)
        shown = found[:PAGE]
        return told(ReportList(shown, shown[-1].sequence if len(found) > PAGE else None))

    @router.get(
        "/{day}", responses=_ANSWERS.envelope, response_class=Response, summary="A day's newest report"
    )
    async def _newest(request: Request, day: dt.date) -> Response:
        return _envelope(desk, request, await _find(desk, day))

    @router.get(
        "/{day}/{version}",
        responses=_ANSWERS.envelope,
        response_class=Response,
        summary="One version of it",
    )
    async def _version(request: Request, day: dt.date, version: Version) -> Response:
        return _envelope(desk, request, await _find(desk, day, version))

    @router.get(
        "/{day}/{version}/signatures",
        response_model=StoredSignatures,
        responses=_ANSWERS.none,
        summary="The signatures that stand beside a report",
    )
    async def _signatures(day: dt.date, version: Version) -> Response:
        return told(await _beside(desk, await _find(desk, day, version)))

    @router.get(
        "/{day}/{version}/proof",
        responses=_ANSWERS.proof,
        response_class=Response,
        summary="That the log tells of a report (C2SP tlog-proof)",
    )
    async def _proof(request: Request, day: dt.date, version: Version) -> Response:
        document = await _find(desk, day, version)
        async with reading(desk.engine) as connection:
            proof = await desk.proof(connection, "report", document.sha256)
        name = f"report-{document.period}-v{document.version}.tlog-proof"
        return desk.made(request, f"proof of {document.name}", proof, name, PROOF)

    @router.get(
        "/{day}/{version}/pdf/{language}",
        responses=_ANSWERS.pdf,
        response_class=Response,
        summary="The same for people, with the hash and the place in the log on each page",
    )
    async def _pdf(request: Request, day: dt.date, version: Version, language: Language) -> Response:
        return await desk.printed(request, await _find(desk, day, version), language)

    return router


async def _find(desk: DoorDesk, day: dt.date, version: int | None = None) -> Document:
    try:
        async with reading(desk.engine) as connection:
            return await find_report(connection, day, version)
    except DocumentError:
        what = "report" if version is None else f"version {version} of a report"
        raise HTTPException(
            404, f"there is no {what} of {day}; /api/v1/reports lists all there are"
        ) from None


def _envelope(desk: DoorDesk, request: Request, document: Document) -> Response:
    desk.door.gives(request, document.name, document.sha256)
    name = f"report-{document.period}-v{document.version}.json"
    shown = Shown(name, JSON, document.sha256, document.built_at, inline=True)
    return bytes_answer(request, document.envelope, shown)


async def _beside(desk: DoorDesk, document: Document) -> StoredSignatures:
    wanted = sa.select(report_signature).where(report_signature.c.report_sha256 == document.sha256)
    async with reading(desk.engine) as connection:
        rows = (await connection.execute(wanted.order_by(report_signature.c.id))).all()
    return StoredSignatures(
        tuple(
            StoredSignature(
                row.type,
                row.report_sha256,
                base64.b64encode(row.value).decode(),
                desk.rules.local(row.signed_us).isoformat(),
                NOT_VERIFIED,
            )
            for row in rows
        )
    )
