"""Answers that are files: conditional and partial, as RFC 9110 has it.

Each has an ETag of what it is, so that whoever has it asks again for nothing (`If-None-Match`), and
Last-Modified where a date is known (`If-Modified-Since`). A part is asked for with `Range`, one range at a
time, and with `If-Range` only of the file that the caller has begun; what is not understood is passed over,
and the whole file given. Files on disk are read in pieces, aside from the loop.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from pool.problems import problem

PIECE: Final = 1 << 18
PRIVATE: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
PUBLIC: Final = {"Cache-Control": "no-cache"}
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer says of its file."""

    name: str
    """How a browser saves it; empty: as it likes."""
    media_type: str
    tag: str
    """Of the content; the ETag without its quotes."""
    modified: dt.datetime | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: PRIVATE)
    inline: bool = False
    """Shown by a browser, not saved."""

    def all_headers(self) -> dict[str, str]:
        """Those of every answer about it."""
        headers = {**self.headers, "ETag": f'"{self.tag}"', "Accept-Ranges": "bytes"}
        if self.name:
            kind = "inline" if self.inline else "attachment"
            headers["Content-Disposition"] = f'{kind}; filename="{self.name}"'
        if self.modified is not None:
            headers["Last-Modified"] = format_datetime(_whole(self.modified), usegmt=True)
        return headers


def described(description: str, *media_types: str) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that gives a file, for OpenAPI."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {one: {"schema": {"type": "object"}} if one.endswith("json") else binary for one in media_types}
    headers = {
        "ETag": {
            "description": "Of this content, for If-None-Match and If-Range.",
            "schema": {"type": "string"},
        },
        "Last-Modified": {
            "description": "When it was made, where that is known.",
            "schema": {"type": "string"},
        },
        "Accept-Ranges": {"description": "bytes", "schema": {"type": "string"}},
    }
    return {
        200: {"description": description, "content": content, "headers": headers},
        206: {"description": "The part that Range asks for.", "content": dict.fromkeys(media_types, binary)},
        304: {"description": "It is the one that If-None-Match names, or not newer than If-Modified-Since."},
        416: problem("The file has no such part."),
    }


def bytes_answer(request: Request, content: bytes, shown: Shown) -> Response:
    """The answer with a file that is in memory; raises HTTPException 416."""
    if is_held(request, shown):
        return not_modified(shown)
    wanted = _part(request, shown, len(content))
    if wanted is None:
        return Response(content, 200, shown.all_headers(), shown.media_type)
    part = content[wanted.start : wanted.stop]
    return Response(part, 206, _part_headers(shown, wanted, len(content)), shown.media_type)


def public_answer(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str] = PUBLIC
) -> Response:
    """The same for what is open to everybody, under the hash of its bytes."""
    tag = hashlib.sha256(content).hexdigest()
    return bytes_answer(request, content, Shown("", media_type, tag, headers=headers))


async def file_answer(request: Request, path: Path, shown: Shown) -> Response:
    """The answer with a file on disk; raises HTTPException 416, and OSError when it cannot be opened."""
    if is_held(request, shown):
        return not_modified(shown)
    file = await asyncio.to_thread(path.open, "rb")
    try:
        size = await asyncio.to_thread(file.seek, 0, 2)
        wanted = _part(request, shown, size)
    except BaseException:
        file.close()
        raise
    span = wanted or range(size)

    async def pieces() -> AsyncIterator[bytes]:
        with file:
            await asyncio.to_thread(file.seek, span.start)
            left = len(span)
            while left and (piece := await asyncio.to_thread(file.read, min(left, PIECE))):
                left -= len(piece)
                yield piece

    headers = shown.all_headers() if wanted is None else _part_headers(shown, span, size)
    headers["Content-Length"] = str(len(span))
    return StreamingResponse(pieces(), 200 if wanted is None else 206, headers, shown.media_type)


def is_held(request: Request, shown: Shown) -> bool:
    """Whether the caller has this already (RFC 9110 13.1.2 and 13.1.3)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or f'"{shown.tag}"' in _TAG.findall(tags)
    since = _date(request.headers.get("if-modified-since"))
    return since is not None and shown.modified is not None and _whole(shown.modified) <= since


def not_modified(shown: Shown) -> Response:
    """304, with what a cache wants to know."""
    headers = shown.all_headers()
    headers.pop("Content-Disposition", None)
    return Response(status_code=304, headers=headers)


def _part(request: Request, shown: Shown, size: int) -> range | None:
    """Which bytes are asked for; None for all. Raises HTTPException 416."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or not _is_of_this(request.headers.get("if-range"), shown):
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    if first:
        found = range(int(first), min(int(last) + 1, size) if last else size)
    else:
        found = range(max(size - int(last), 0), size)
    if not found:
        headers = {**shown.headers, "Content-Range": f"bytes */{size}"}
        raise HTTPException(416, f"it has {size} bytes, and none of them is in that range", headers)
    return found


def _is_of_this(condition: str | None, shown: Shown) -> bool:
    """Whether If-Range, if it is there, names exactly this file."""
    if condition is None:
        return True
    if condition.startswith('"'):
        return condition == f'"{shown.tag}"'
    named = _date(condition)
    return named is not None and shown.modified is not None and named == _whole(shown.modified)


def _part_headers(shown: Shown, span: range, size: int) -> dict[str, str]:
    return {**shown.all_headers(), "Content-Range": f"bytes {span.start}-{span.stop - 1}/{size}"}


def _date(value: str | None) -> dt.datetime | None:
    """A date of HTTP; None where there is none, or another text."""
    if value is None:
        return None
    try:
        found = parsedate_to_datetime(value)
        return found.astimezone(dt.UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _whole(moment: dt.datetime) -> dt.datetime:
    """The same in UTC and whole seconds: HTTP has no finer ones."""
    return moment.astimezone(dt.UTC).replace(microsecond=0)
