"""`POST /api/v1/alarms`: alarms come in, as Alertmanager's webhook sends them.

Whoever brings them shows the token of `notices.alarm_token_file`. They are notices when the answer goes out;
with the database away the answer is 503, and Alertmanager comes again.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import Any, Final

import structlog
from fastapi import APIRouter, HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.notices import store
from pool.notices.alarms import ALERTS_LIMIT, AlarmError, alarms
from pool.notices.secret import TOKEN_SHORTEST, SecretError, read_secret
from pool.notices.section import NoticesSection
from pool.problems import AWAY, problem
from pool.reading import asking
from pool.register_auth import Attempts, address_of

log = structlog.get_logger(__name__)

BODY_LIMIT: Final = 512 * 1024
_NEEDED: Final = "the token of notices.alarm_token_file is needed: send it as `Authorization: Bearer TOKEN`"
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="dmpool alarms"'}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    400: problem("Not a request of Alertmanager's webhook, version 4."),
    401: problem("No token, or a wrong one."),
    404: problem("This pool takes no alarms."),
    413: problem(f"More than {BODY_LIMIT} bytes."),
    429: problem("Too many wrong tokens from this address."),
    **AWAY,
}


def alarm_router(engine: AsyncEngine, section: NoticesSection, now_us: Callable[[], int]) -> APIRouter:
    """The route, to be put under `/api/v1`."""
    router = APIRouter(tags=["alarms"])
    attempts = Attempts()

    @router.post(
        "/alarms",
        responses=_ANSWERS,
        summary=f"Alarms of Alertmanager's webhook; of a request {ALERTS_LIMIT} are told one by one",
    )
    async def _alarms(request: Request) -> dict[str, int]:
        await _require_token(request, section, attempts)
        try:
            drafts = alarms(await _body(request), now_us())
        except AlarmError as error:
            raise HTTPException(400, str(error)) from None
        async with asking(), engine.begin() as connection:
            added = await store.add(connection, drafts, now_us())
        log.info("alarms_received", alarms=len(drafts), new=added)
        return {"alarms": len(drafts), "new": added}

    return router


async def _require_token(request: Request, section: NoticesSection, attempts: Attempts) -> None:
    if section.alarm_token_file is None:
        raise HTTPException(404, "this pool takes no alarms: it has no notices.alarm_token_file")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, _NEEDED, _CHALLENGE)
    try:
        wanted = await asyncio.to_thread(read_secret, section.alarm_token_file, TOKEN_SHORTEST)
    except SecretError as error:
        log.error("alarm_token_unreadable", reason=str(error))
        raise HTTPException(503, "the pool cannot read its token for alarms: see its log") from None
    if hmac.compare_digest(token.strip().encode(), wanted.encode()):
        return  # whoever else is at this address, behind a proxy perhaps, keeps no alarm out
    address = address_of(request)
    wait = attempts.wait_seconds(address)
    if wait:
        raise HTTPException(429, "too many wrong tokens from this address", {"Retry-After": str(wait)})
    attempts.failed(address)
    raise HTTPException(401, _NEEDED, _CHALLENGE)


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            raise HTTPException(413, f"more than {BODY_LIMIT} bytes")
    return body
