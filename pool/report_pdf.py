"""PDFs of what was signed: a daily report or a monthly form out of the database, with its place in the log.

What is printed follows from the kept bytes, from the entry of the log that was written with them, and from
`door.public_url`, which the code on the page leads to. So the same version gives the same file at any time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from pool.config import Settings
from pool.documents import Document, DocumentError
from pool.log_keeper import origin
from pool.report_proofs import leaf_of
from register.miner import Language
from reporting.income_files import file_name
from reporting.merkle import leaf_hash

if TYPE_CHECKING:
    from reporting.pdf import LogPlace


async def pdf_of(
    connection: AsyncConnection, document: Document, language: Language, settings: Settings
) -> bytes:
    """The PDF of a document, made in a thread; raises DocumentError."""
    place = await place_of(connection, document, language, settings)
    return await asyncio.to_thread(printed, document, language, place)


async def place_of(
    connection: AsyncConnection, document: Document, language: Language, settings: Settings
) -> LogPlace | None:
    """Where the log tells of a document; None for one that is older than the log.

    People find the entry on the portal, where `door.public_url` says how that is reached.
    """
    from reporting.pdf import LogPlace  # noqa: PLC0415 - what draws pages is large, and seldom needed

    leaf = await leaf_of(connection, document.sha256, "form" if document.form else "report")
    if leaf is None:
        return None
    public = settings.door.public_url
    url = None if public is None else f"{public}/portal/{language}/log/{leaf.index}"
    return LogPlace(origin(settings), leaf.index, leaf_hash(bytes(leaf.data)).hex(), url)


def printed(document: Document, language: Language, place: LogPlace | None) -> bytes:
    """The PDF of a document; it takes from half a second to a few. Raises DocumentError."""
    from reporting.pdf import PdfError, daily_pdf, income_pdf  # noqa: PLC0415 - likewise

    make = income_pdf if document.form else daily_pdf
    try:
        return make(document.envelope, language, place)
    except PdfError as error:
        raise DocumentError(f"{document.name}: {error}") from error


def pdf_name(document: Document, language: Language) -> str:
    """What its file is called."""
    if document.form:
        return file_name(document.told, "pdf", what=f"-{language}")
    return f"report-{document.period}-v{document.version}-{language}.pdf"
