"""`/api/v1/keys` and what stands beside a report: the list of keys that sign reports, and state signatures.

The list comes whole, with the proof of every rotation: whoever trusts one key follows it by
`reporting.keyring` and needs not believe this server. A CMS signature is handed out as it was stored; nobody
here has verified it.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import sqlalchemy as sa
from fastapi import APIRouter, HTTPException, Path, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import report_keys
from pool.clock import instant
from pool.reading import reading
from pool.report_api import AWAY, LARGEST_VERSION, problem
from pool.tables import report
from pool.tables_report_keys import report_signature
from register.rules import Rules
from reporting.signing import encode

NOT_VERIFIED: Final = "stored as the service gave it; not verified by this pool"
_KEYS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "All events of the keys, signed, and the keys that follow from them (docs/keys.md).",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    **AWAY,
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The x-only key (hex) that verifies the reports' BIP340 signatures of this moment."""

    algorithm: str
    public_key: str
    key_id: str


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


def key_router(engine: AsyncEngine, rules: Rules, now_us: Callable[[], int]) -> APIRouter:
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
    async def _keys() -> Response:
        async with reading(engine) as connection:
            ring = await report_keys.read(connection)
        return Response(encode(ring.document()), media_type="application/json")

    @router.get(
        "/reports/{day}/{version}/signatures",
        response_model=StoredSignatures,
        responses={404: problem("There is no such report."), **AWAY},
        tags=["reports"],
        summary="The signatures that stand beside a report",
    )
    async def _signatures(day: dt.date, version: Annotated[int, Path(ge=1, le=LARGEST_VERSION)]) -> Response:
        wanted = sa.select(report.c.sha256).where(report.c.day == day, report.c.version == version)
        async with reading(engine) as connection:
            sha256 = await connection.scalar(wanted)
            if sha256 is None:
                raise HTTPException(404, f"there is no version {version} of a report of {day}")
            rows = await connection.execute(
                sa.select(report_signature)
                .where(report_signature.c.report_sha256 == sha256)
                .order_by(report_signature.c.id)
            )
            found = tuple(
                StoredSignature(
                    row.type,
                    row.report_sha256,
                    base64.b64encode(row.value).decode(),
                    rules.local(row.signed_us).isoformat(),
                    NOT_VERIFIED,
                )
                for row in rows
            )
        return Response(msgspec.json.encode(StoredSignatures(found)), media_type="application/json")

    return router
