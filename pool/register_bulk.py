"""Files over HTTP: a table of records comes in as CSV or XLSX, or goes out as one.

An import is one transaction. When a row is bad nothing is stored, unless `partial` says to take the good
ones; the bad ones are told with line, column and reason. `dry_run` looks at everything and stores nothing.
One file is worked on at a time, aside from the loop, and who comes meanwhile is told to come again. It is
read before the register's lock is taken; a dry run never takes it.

What the columns mean is `register.tables`'s to say, what a row does `pool.table_import`'s.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from pool import register_store, spreadsheet
from pool.problems import unclear
from pool.reading import READ_SECONDS, asking
from pool.register_bodies import body_chunks
from pool.register_desk import READ, WITHOUT_DEVICES, WRITE, AsOf, Desk, answer, may_write, related, told_as
from pool.register_store import STANDING_KINDS
from pool.register_views import LISTINGS, Listing, order_of
from pool.table_import import Outcome, Prepared, prepare, take_in
from register.clerk import Clerk
from register.person import Actor
from register.register import Register
from register.tables import TABLES, write_row

FILE_LIMIT: Final = 50 * 1024 * 1024
UPLOAD_SECONDS: Final = 120.0
IMPORT_SECONDS: Final = 300.0
ERRORS_TOLD: Final = 1000
FORMATS: Final = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_What = Literal["miners", "licences", "devices", "centres"]
_FILE: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FORMATS.values()},
    }
}
_BUSY: Final = "another file is being read or written; ask again"


class BadRowView(msgspec.Struct, frozen=True):
    """Why a row was not taken; `column` is empty when it is the row as a whole."""

    line: int
    column: str
    reason: str


class ImportResult(msgspec.Struct, frozen=True):
    """What came of a file: numbers of rows, and the first of the errors."""

    stored: bool
    seq: int
    """Number of the newest event."""
    entered: int
    changed: int
    same: int
    bad: int
    proposed: int
    """Changes that wait for a second compliance officer."""
    errors: list[BadRowView]
    errors_total: int


class _NotStored(Exception):
    """Leaves the transaction so that nothing of it stays."""


def bulk_router(desk: Desk) -> APIRouter:
    """The routes, to be put under /api/v1/register."""
    router = APIRouter()
    _add_import(router, desk)
    _add_export(router, desk)
    return router


def _add_import(router: APIRouter, desk: Desk) -> None:
    writer = Depends(desk.auth.writer)
    told = told_as(ImportResult, "What came of the file.")
    bad = told_as(ImportResult, "A row is bad and nothing was stored; or the file, or the question, is.")

    @router.post(
        "/import/{what}",
        response_class=Response,
        responses=WRITE | {200: told, 422: bad},
        openapi_extra=_FILE,
        summary="Import a table as CSV (UTF-8) or XLSX; the first line holds headings",
    )
    async def _import(
        request: Request,
        what: _What,
        reason: Annotated[str, Query(max_length=300)],
        partial: bool = False,
        dry_run: bool = False,
        actor: Actor = writer,
    ) -> Response:
        listing = _listing(what)
        may_write(actor, listing.kind)
        async with _one_file(desk) as directory:
            path = await _received(request, directory)
            prepared = await _read_in(desk, listing, path)
            if dry_run:
                result = await _tried(desk, listing, prepared, actor, reason)
            else:
                result = await _taken_in(desk, listing, prepared, actor, reason, partial)
        refused = result.bad > 0 and not result.stored and not dry_run
        return answer(result, 422 if refused else 200)


async def _received(request: Request, directory: Path) -> Path:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    suffix = next((name for name, kind in FORMATS.items() if kind == given), None)
    if suffix is None:
        raise HTTPException(415, f"content type {given[:80]!r}: send {' or '.join(FORMATS.values())}")
    path = directory / f"import.{suffix}"
    with path.open("wb") as file:
        async for chunk in body_chunks(request, FILE_LIMIT, UPLOAD_SECONDS):
            file.write(chunk)
    return path


async def _taken_in(
    desk: Desk,
    listing: Listing,
    prepared: Prepared,
    actor: Actor,
    reason: str,
    partial: bool,
) -> ImportResult:
    """Bring a file into the register, all of it unless `partial`."""
    stored = True
    try:
        async with desk.writing(actor, reason, _needed(listing), IMPORT_SECONDS) as clerk:
            before = clerk.register.seq
            outcome = await asyncio.to_thread(_written_by, desk, listing, prepared, clerk)
            _leave_unless(partial or not outcome.bad)
    except _NotStored:
        stored = False
    return _result(clerk, outcome, stored, clerk.register.seq if stored else before)


def _leave_unless(stored: bool) -> None:
    if not stored:
        raise _NotStored


async def _tried(desk: Desk, listing: Listing, prepared: Prepared, actor: Actor, reason: str) -> ImportResult:
    """What would come of a file: on a register that is thrown away, and nobody waits for it."""
    async with asking(IMPORT_SECONDS):
        register = await register_store.read(desk.engine, _needed(listing))
    before = register.seq
    with _mistakes():
        clerk = Clerk(register, desk.terms, actor, reason, desk.now_us())
        outcome = await asyncio.to_thread(_written_by, desk, listing, prepared, clerk)
    return _result(clerk, outcome, False, before)


def _needed(listing: Listing) -> tuple[str, ...]:
    return STANDING_KINDS if listing.kind in ("device", "licence") else WITHOUT_DEVICES


def _written_by(desk: Desk, listing: Listing, prepared: Prepared, clerk: Clerk) -> Outcome:
    return take_in(clerk, desk.terms, TABLES[listing.kind], prepared, lambda done: None)


def _result(clerk: Clerk, outcome: Outcome, stored: bool, seq: int) -> ImportResult:
    counts = outcome.counts
    return ImportResult(
        stored=stored,
        seq=seq,
        entered=counts["entered"],
        changed=counts["changed"],
        same=counts["same"],
        bad=counts["bad"],
        proposed=sum(event.action == "proposed" for event in clerk.events),
        errors=[BadRowView(one.row.line, one.column, one.reason) for one in outcome.bad[:ERRORS_TOLD]],
        errors_total=len(outcome.bad),
    )


async def _read_in(desk: Desk, listing: Listing, path: Path) -> Prepared:
    """The rows of a file, before anybody waits for its import."""
    async with asking(READ_SECONDS):
        miners = await register_store.read(desk.engine, ("miner",))
    with _mistakes(path):
        return await asyncio.to_thread(_prepared, listing, path, miners)


def _prepared(listing: Listing, path: Path, miners: Register) -> Prepared:
    return prepare(TABLES[listing.kind], spreadsheet.read(path), miners, lambda done: None)


@contextmanager
def _mistakes(path: Path | None = None) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        # Where the file lies for the moment is nobody's business.
        raise HTTPException(422, str(error).replace(str(path), "file") if path else str(error)) from error


def _add_export(router: APIRouter, desk: Desk) -> None:
    @router.get(
        "/export/{what}",
        response_class=Response,
        dependencies=[Depends(desk.auth.reader)],
        responses=READ
        | {
            200: {
                "description": "The table; imported again it changes nothing.",
                "content": {kind: {} for kind in FORMATS.values()},
            },
            422: unclear("There is no such day, table or format."),
        },
        summary="A table of all records as CSV or XLSX",
    )
    async def _export(
        what: _What,
        format: Literal["csv", "xlsx"] = "csv",
        as_of: AsOf = None,
    ) -> Response:
        listing = _listing(what)
        at_us = desk.now_us()
        before_us = desk.before(as_of, at_us)
        async with _one_file(desk) as directory:
            path = directory / f"{what}.{format}"
            if before_us is not None:
                past = await desk.live.before(before_us, (*related(listing.kind), "address"))
                rows = await asyncio.to_thread(_rows, listing, past, before_us - 1)
            else:
                async with desk.live.held() as register:
                    rows = await asyncio.to_thread(_rows, listing, register, at_us)
            content = await asyncio.to_thread(_written, listing, path, rows)
        shown = {"Cache-Control": "private, no-store", "Vary": "Authorization"}
        disposition = {"Content-Disposition": f'attachment; filename="{path.name}"'}
        return Response(content, 200, shown | disposition, FORMATS[format])


def _rows(listing: Listing, register: Register, at_us: int) -> list[list[str]]:
    table = TABLES[listing.kind]
    records = sorted(listing.all(register), key=order_of(listing))
    return [write_row(table, record, register, at_us) for record in records]


def _written(listing: Listing, path: Path, rows: Iterable[Sequence[str]]) -> bytes:
    spreadsheet.write(path, TABLES[listing.kind].names, rows)
    return path.read_bytes()


def _listing(what: str) -> Listing:
    return next(one for one in LISTINGS.values() if one.path == what)


@asynccontextmanager
async def _one_file(desk: Desk) -> AsyncIterator[Path]:
    """A directory for the work on one file; HTTPException 503 when there is such work already."""
    if desk.files.locked():
        raise HTTPException(503, _BUSY, {"Retry-After": "5"})
    async with desk.files:
        with tempfile.TemporaryDirectory(prefix="dmpool-register-") as directory:
            yield Path(directory)
