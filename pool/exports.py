"""The files that are made of signed documents, for people and portals.

What is exported follows from the kept bytes alone, so that the same document gives the same file again.
"""

from __future__ import annotations

from typing import Final

from pool.documents import Document, DocumentError
from reporting import income_files

FORMATS: Final = ("xlsx", "csv", "json")
"""Of a form; a daily report is JSON."""


def exported(document: Document, kind: str) -> tuple[str, bytes]:
    """Name and bytes of a document as one of FORMATS; raises DocumentError."""
    if not document.form:
        if kind != "json":
            raise DocumentError(f"{document.name}: a daily report goes out as json, not as {kind}")
        return f"report-{document.period}-v{document.version}.json", document.envelope
    told = document.told
    match kind:
        case "xlsx":
            content = income_files.xlsx(told, document.sha256)
        case "csv":
            content = income_files.csv(told)
        case "json":
            content = document.envelope
        case _:
            raise DocumentError(f"{document.name}: format {kind!r} must be one of {', '.join(FORMATS)}")
    return income_files.file_name(told, kind), content
