"""`/api/v1/forms` and `/api/v1/submissions`: the monthly income forms, and what was submitted to whom (O-40).

A form is addressed to both bodies, so whoever has the scope `forms` may read all of them, with the
accountants' annex. A submission, and what came back for it, is between the pool and one addressee: a
regulator sees those of its own authority, and one that is neither body sees none.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from pool import prices_store, submissions
from pool.clock import microseconds
from pool.documents import Document, DocumentError, find_form
from pool.door_desk import (
    JSON,
    LARGEST,
    PROOF,
    DoorDesk,
    Version,
    caller_of,
    guarded,
    of_document,
    told,
)
from pool.door_files import Shown, bytes_answer, described
from pool.door_regulators import Scope
from pool.exports import exported
from pool.problems import problem
from pool.reading import reading
from pool.submissions import Submission
from pool.tables_income import form as form_table
from register.miner import Language
from reporting import annex_files
from reporting.annex import annex
from reporting.income_files import file_name
from reporting.signing import encode

PAGE = 100
TYPES: Final = {
    "json": JSON,
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_BARE_TYPES: Final = tuple(one.partition(";")[0] for one in TYPES.values())
_ANSWERS: Final = of_document("form")
_FILE: Final = {
    **described("The form as this file, made of the signed document.", *_BARE_TYPES),
    **_ANSWERS.none,
}
_ANNEX: Final = {
    **described("The annex as this file, made of the form and the values as they stand.", *_BARE_TYPES),
    **_ANSWERS.none,
}
_RECEIPT: Final = {
    **described("The file that came back, as it was kept.", "application/octet-stream"),
    404: problem("There is no such receipt of a submission to this authority, or it is no file."),
}
Period = Annotated[str, Path(pattern=r"^[0-9]{4}-[0-9]{2}$", description="The month, like 2026-11.")]
Name = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,40}$", description="Like order-166-2023.")]
Kind = Literal["json", "csv", "xlsx"]


@dataclass(frozen=True, slots=True)
class FormView:
    """A version of a form; `sha256` is the hash that its envelope carries."""

    id: int
    form: str
    period: str
    version: int
    sha256: str
    built_at: dt.datetime
    path: str


@dataclass(frozen=True, slots=True)
class FormList:
    """Forms, newest first; `next_before` is the `before` that gives the rest, None at the end."""

    forms: tuple[FormView, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """What came back; `path` is that of the file, empty where there is none."""

    text: str
    file_name: str
    file_sha256: str
    recorded_at: dt.datetime
    path: str


@dataclass(frozen=True, slots=True)
class SubmissionView:
    """What went to the own authority: a form, or a daily report (`form` is empty)."""

    id: int
    form: str
    period: str
    version: int
    sha256: str
    addressee: str
    addressee_name: str
    sent_at: dt.datetime
    transport: str
    file_name: str
    file_sha256: str
    receipts: tuple[ReceiptView, ...]


@dataclass(frozen=True, slots=True)
class SubmissionList:
    """All submissions to the own authority, in the order in which they were recorded."""

    submissions: tuple[SubmissionView, ...]


def form_router(desk: DoorDesk) -> APIRouter:
    """The routes of forms, to be put under /api/v1."""
    router = guarded(desk.door, Scope.FORMS, "/forms", "forms")

    @router.get("", response_model=FormList, summary="The forms, newest first")
    async def _list(before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None) -> Response:
        return told(await _forms(desk, before))

    @router.get(
        "/{period}/{form}",
        responses=_ANSWERS.envelope,
        response_class=Response,
        summary="A form's newest version",
    )
    async def _newest(request: Request, period: Period, form: Name) -> Response:
        return _envelope(desk, request, await _find(desk, form, period))

    @router.get(
        "/{period}/{form}/{version}",
        responses=_ANSWERS.envelope,
        response_class=Response,
        summary="One version of it, the signed document",
    )
    async def _version(request: Request, period: Period, form: Name, version: Version) -> Response:
        return _envelope(desk, request, await _find(desk, form, period, version))

    @router.get(
        "/{period}/{form}/{version}/file/{kind}",
        responses=_FILE,
        response_class=Response,
        summary="The same as a file for people",
    )
    async def _file(request: Request, period: Period, form: Name, version: Version, kind: Kind) -> Response:
        document = await _find(desk, form, period, version)
        name, content = await desk.make(lambda: exported(document, kind))
        return desk.made(request, f"{document.name}, {kind}", content, name, TYPES[kind])

    @router.get(
        "/{period}/{form}/{version}/annex/{kind}",
        responses=_ANNEX,
        response_class=Response,
        summary="The accountants' annex in tenge; no part of the form, and not signed",
    )
    async def _annex(request: Request, period: Period, form: Name, version: Version, kind: Kind) -> Response:
        document = await _find(desk, form, period, version)
        name, content = await _make_annex(desk, document, kind)
        return desk.made(request, f"annex of {document.name}, {kind}", content, name, TYPES[kind])

    @router.get(
        "/{period}/{form}/{version}/pdf/{language}",
        responses=_ANSWERS.pdf,
        response_class=Response,
        summary="The form as PDF, with the hash and the place in the log on each page",
    )
    async def _pdf(
        request: Request, period: Period, form: Name, version: Version, language: Language
    ) -> Response:
        return await desk.printed(request, await _find(desk, form, period, version), language)

    @router.get(
        "/{period}/{form}/{version}/proof",
        responses=_ANSWERS.proof,
        response_class=Response,
        summary="That the log tells of a form (C2SP tlog-proof)",
    )
    async def _proof(request: Request, period: Period, form: Name, version: Version) -> Response:
        document = await _find(desk, form, period, version)
        async with reading(desk.engine) as connection:
            proof = await desk.proof(connection, "form", document.sha256)
        name = file_name(document.told, "tlog-proof")
        return desk.made(request, f"proof of {document.name}", proof, name, PROOF)

    return router


async def _forms(desk: DoorDesk, before: int | None) -> FormList:
    table = form_table.c
    columns = (table.id, table.form, table.period, table.version, table.sha256, table.built_at)
    wanted = sa.select(*columns).order_by(table.id.desc()).limit(PAGE + 1)
    if before is not None:
        wanted = wanted.where(table.id < before)
    async with reading(desk.engine) as connection:
        found = (await connection.execute(wanted)).all()
    local = desk.rules.local
    shown = tuple(
        FormView(
            one.id,
            one.form,
            one.period,
            one.version,
            one.sha256,
            local(microseconds(one.built_at)),
            f"/api/v1/forms/{one.period}/{one.form}/{one.version}",
        )
        for one in found[:PAGE]
    )
    return FormList(shown, shown[-1].id if len(found) > PAGE else None)


async def _find(desk: DoorDesk, form: str, period: str, version: int | None = None) -> Document:
    try:
        async with reading(desk.engine) as connection:
            return await find_form(connection, form, period, version)
    except DocumentError:
        what = "form" if version is None else f"version {version} of a form"
        raise HTTPException(
            404, f"there is no {what} {form} of {period}; /api/v1/forms lists all there are"
        ) from None


def _envelope(desk: DoorDesk, request: Request, document: Document) -> Response:
    desk.door.gives(request, document.name, document.sha256)
    name = file_name(document.told, "json")
    shown = Shown(name, JSON, document.sha256, document.built_at, inline=True)
    return bytes_answer(request, document.envelope, shown)


async def _make_annex(desk: DoorDesk, document: Document, kind: Kind) -> tuple[str, bytes]:
    async with reading(desk.engine) as connection:
        table = await prices_store.read_table(connection)
    told_of = document.told

    def write() -> bytes:
        made = annex(told_of, document.sha256, table, desk.rules)
        match kind:
            case "xlsx":
                return annex_files.xlsx(made, told_of["generated_at"])
            case "csv":
                return annex_files.csv(made)
            case "json":
                return encode(made)

    return file_name(told_of, kind, what="-annex"), await desk.make(write)


# Submissions


def submission_router(desk: DoorDesk) -> APIRouter:
    """The routes of submissions, to be put under /api/v1; never open to everybody."""
    router = guarded(desk.door, Scope.FORMS, "/submissions", "submissions")

    @router.get("", response_model=SubmissionList, summary="What was submitted to the own authority")
    async def _list(request: Request) -> Response:
        return told(SubmissionList(tuple(_view(desk, one) for one in await _own(desk, request))))

    @router.get(
        "/{submission_id}/receipts/{number}",
        responses=_RECEIPT,
        response_class=Response,
        summary="A file that came back for a submission",
    )
    async def _receipt(
        request: Request,
        submission_id: Annotated[int, Path(ge=1, le=LARGEST)],
        number: Annotated[int, Path(ge=1, le=10_000, description="Of its receipts, from 1.")],
    ) -> Response:
        return await _receipt_file(desk, request, submission_id, number)

    return router


async def _own(desk: DoorDesk, request: Request) -> list[Submission]:
    """Those that went to the authority of whoever asks."""
    authority = caller_of(request).authority
    async with reading(desk.engine) as connection:
        found = await submissions.list_submissions(connection)
    return [one for one in found if one.addressee == authority]


def _view(desk: DoorDesk, one: Submission) -> SubmissionView:
    local = desk.rules.local
    return SubmissionView(
        one.id,
        one.form,
        one.period,
        one.version,
        one.sha256,
        one.addressee,
        one.addressee_name,
        local(one.sent_us),
        one.transport,
        one.file_name,
        one.file_sha256,
        tuple(
            ReceiptView(
                came.text,
                came.file_name,
                came.file_sha256,
                local(came.recorded_us),
                f"/api/v1/submissions/{one.id}/receipts/{number}" if came.file_name else "",
            )
            for number, came in enumerate(one.receipts, 1)
        ),
    )


async def _receipt_file(desk: DoorDesk, request: Request, submission_id: int, number: int) -> Response:
    found = next((one for one in await _own(desk, request) if one.id == submission_id), None)
    receipts = found.receipts if found is not None else ()
    if not number <= len(receipts) or not receipts[number - 1].file_name:
        raise HTTPException(404, "there is no such file; /api/v1/submissions lists all there are")
    before = sum(1 for one in receipts[: number - 1] if one.file_name)
    async with reading(desk.engine) as connection:
        file = (await submissions.receipt_files(connection, submission_id))[before]
    what = f"receipt {number} of submission {submission_id}"
    return desk.made(
        request, what, file.content, f"receipt-{submission_id}-{number}", "application/octet-stream"
    )
