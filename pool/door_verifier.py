"""`/verifier/`: the program that checks what the pool publishes, as one file, for everybody.

Whoever takes it from here should know its hash from elsewhere: it stands in each release, and the pool tells
it over another channel.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from pool.door_files import PUBLIC, Shown, bytes_answer, described, public_answer

FILE: Final = Path(__file__).resolve().parent.parent / "reporting" / "dmpool_verify.py"
SUMS: Final = "SHA256SUMS"
_PYTHON: Final = "text/x-python"
_TEXT: Final = "text/plain"


@cache
def verifier() -> tuple[bytes, str]:
    """The verifier and its SHA-256; it does not change while a process runs."""
    content = FILE.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


def sums() -> bytes:
    """What `sha256sum -c` reads."""
    return f"{verifier()[1]}  {FILE.name}\n".encode()


def verifier_router() -> APIRouter:
    """The routes, to be put at the root."""
    router = APIRouter(prefix="/verifier", tags=["verifier"])

    @router.get(
        f"/{FILE.name}",
        responses=described("One file of Python; its ETag is its SHA-256.", _PYTHON),
        response_class=Response,
        summary="The verifier",
    )
    async def _verifier(request: Request) -> Response:
        content, sha256 = verifier()
        return bytes_answer(request, content, Shown(FILE.name, _PYTHON, sha256, headers=PUBLIC))

    @router.get(
        f"/{SUMS}",
        responses=described("For sha256sum -c.", _TEXT),
        response_class=Response,
        summary="The SHA-256 of the verifier",
    )
    async def _sums(request: Request) -> Response:
        return public_answer(request, sums(), _TEXT)

    return router
