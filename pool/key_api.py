"""`/api/v1/keys`: the list of keys that sign reports, for everybody.

The list comes whole, with the proof of every rotation: whoever trusts one key follows it by
`reporting.keyring` and needs not believe this server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import report_keys
from pool.clock import instant
from pool.door_files import described, public_answer
from pool.problems import AWAY, problem
from pool.reading import reading
from reporting.signing import encode

_KEYS: Final[dict[int | str, dict[str, Any]]] = {
    **described(
        "All events of the keys, signed, and the keys that follow (docs/keys.md).", "application/json"
    ),
    **AWAY,
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The x-only key (hex) that verifies the reports' BIP340 signatures of this moment."""

    algorithm: str
    public_key: str
    key_id: str


def key_router(engine: AsyncEngine, now_us: Callable[[], int]) -> APIRouter:
    """The routes, to be put under /api/v1."""
    router = APIRouter(tags=["keys"])

    @router.get(
        "/public-key",
        responses={404: problem("No key was introduced yet."), **AWAY},
        summary="The key that verifies the reports of this moment",
    )
    async def _key() -> PublicKey:
        async with reading(engine) as connection:
            ring = await report_keys.read(connection)
        key = ring.principal(instant(now_us()))
        if key is None:
            raise HTTPException(
                404, "no key is in force; the process that builds reports introduces the first"
            )
        return PublicKey("bip340", key.public_key, key.key_id)

    @router.get("/keys", responses=_KEYS, response_class=Response, summary="All keys and their lives, signed")
    async def _keys(request: Request) -> Response:
        async with reading(engine) as connection:
            ring = await report_keys.read(connection)
        return public_answer(request, encode(ring.document()), "application/json")

    return router
