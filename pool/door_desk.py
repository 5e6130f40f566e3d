"""What the routes behind the regulator's door share: the door itself, the log's tree, their answers.

A router that is `guarded` asks the door before anything else, so that a stranger learns nothing, not even
whether a question was well put.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.security import HTTPBearer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import report_pdf
from pool.config import Settings
from pool.documents import Document, DocumentError
from pool.door_auth import Caller, Door
from pool.door_files import PRIVATE, Shown, bytes_answer, described
from pool.door_regulators import Scope
from pool.log_reader import LogReader
from pool.problems import AWAY, problem
from pool.reading import reading
from pool.report_proofs import leaf_of
from register.miner import Language
from register.rules import Rules

PAGES_KEPT: Final = 32
JSON: Final = "application/json"
PROOF: Final = "text/plain"
PDF: Final = "application/pdf"
LARGEST: Final = 2**63 - 1
LARGEST_VERSION: Final = 2**31 - 1
GUARDED: Final[dict[int | str, dict[str, Any]]] = {
    401: problem("No token, a wrong one, or one that is not good now."),
    403: problem("The token does not open this, or not from this address or without its certificate."),
    429: problem(
        "Too many questions, or too many wrong tokens from this address; Retry-After says how long."
    ),
    **AWAY,
}
Version = Annotated[int, Path(ge=1, le=LARGEST_VERSION)]
_BEARER: Final = HTTPBearer(
    auto_error=False,
    scheme_name="RegulatorToken",
    description="Given by the pool to one regulator; docs/door.md.",
)
_Made = TypeVar("_Made")


_Answers = dict[int | str, dict[str, Any]]


class DocumentAnswers(NamedTuple):
    """What is answered about a signed document, for OpenAPI."""

    none: _Answers
    envelope: _Answers
    proof: _Answers
    pdf: _Answers


@dataclass(frozen=True, slots=True)
class DoorDesk:
    """The parts that the routes share."""

    door: Door
    settings: Settings
    rules: Rules
    reader: LogReader = field(default_factory=LogReader)
    making: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """Held while a file is made: one at a time, in a thread."""
    pages: OrderedDict[Hashable, bytes] = field(default_factory=OrderedDict)
    """The PDFs that were asked for last."""

    @property
    def engine(self) -> AsyncEngine:
        """The database."""
        return self.door.engine

    @property
    def archive(self) -> FilePath:
        """Where the hours of the share archive lie."""
        return self.settings.data_dir / "archive"

    async def make(self, work: Callable[[], _Made]) -> _Made:
        """What takes a while, aside from the loop."""
        async with self.making:
            return await asyncio.to_thread(work)

    async def proof(self, connection: AsyncConnection, kind: str, sha256: str) -> bytes:
        """The tlog-proof of a document, its entry inside; raises HTTPException 404 while there is none."""
        leaf = await leaf_of(connection, sha256, kind)
        proof = leaf and await self.reader.proof(connection, leaf.index, bytes(leaf.data))
        if proof is None:
            raise HTTPException(404, f"no signed checkpoint has this {kind} yet; ask again in a minute")
        return bytes(proof.encode())

    async def printed(self, request: Request, document: Document, language: Language) -> Response:
        """The answer with the PDF of a document; raises HTTPException 404 where it cannot be printed."""
        async with reading(self.engine) as connection:
            place = await report_pdf.place_of(connection, document, language, self.settings)
        key = (document.sha256, language, place)
        content = self.pages.get(key)
        try:
            if content is None:
                content = await self.make(lambda: report_pdf.printed(document, language, place))
        except DocumentError as error:
            raise HTTPException(404, str(error)) from None
        self.pages[key] = content
        self.pages.move_to_end(key)
        if len(self.pages) > PAGES_KEPT:
            self.pages.popitem(last=False)
        name = report_pdf.pdf_name(document, language)
        return self.made(request, f"{document.name}, pdf in {language}", content, name, PDF)

    def made(self, request: Request, what: str, content: bytes, name: str, media_type: str) -> Response:
        """The answer with a file that was made for it, under the hash of its bytes."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.door.gives(request, what, sha256)
        return bytes_answer(request, content, Shown(name, media_type, sha256))


def of_document(kind: str) -> DocumentAnswers:
    """The answers about a kind of signed document: "report" or "form"."""
    none = problem(f"There is no such {kind}.")
    proven = "The entry of the log, the way from it to the root, and the signed checkpoint."
    return DocumentAnswers(
        none={404: none},
        envelope={**described("The signed document, exactly as it was stored.", JSON), 404: none},
        proof={
            **described(proven, PROOF),
            404: problem(f"There is no such {kind}, or no signed checkpoint has it yet."),
        },
        pdf={
            **described("The PDF, made of the signed document.", PDF),
            404: problem(f"There is no such {kind}, or it cannot be printed."),
        },
    )


def guarded(door: Door, scope: Scope | None, prefix: str, tag: str) -> APIRouter:
    """A router that lets in only who may; each route's handler finds the caller by `caller_of`."""

    async def _ask(request: Request) -> None:
        request.state.caller = await door.caller(request, scope)

    return APIRouter(
        prefix=prefix, tags=[tag], dependencies=[Depends(_BEARER), Depends(_ask)], responses=GUARDED
    )


def caller_of(request: Request) -> Caller:
    """Who was let in."""
    caller: Caller = request.state.caller
    return caller


def told(content: object) -> Response:
    """What is told, as JSON that no cache between keeps."""
    return Response(msgspec.json.encode(content), 200, PRIVATE, "application/json")
