"""The portal's sessions: a browser that showed a token once gets a cookie for two hours.

The cookie is random and stands in PostgreSQL as its SHA-256 alone, beside the hash of the token that it
stands for; so any process of the web role knows it, signing out ends it for good, and with the token it dies
at once. It is HttpOnly, Secure and SameSite=Strict: no script reads it, no other site has it sent. A form of
a signed-in browser carries besides a word that follows from the cookie (`csrf_of`), which no other site can
know.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sa
from fastapi import HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.reading import asking
from pool.tables_door import regulator_session

COOKIE: Final = "__Host-dmpool-door"
SESSION_SECONDS: Final = 2 * 3600
SESSIONS_MAX: Final = 20
"""Of one token; the oldest ends when there are more."""
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_COLUMN: Final = regulator_session.c


class Session(NamedTuple):
    """A session that goes on."""

    token_sha256: str
    csrf: str
    ends_us: int


def cookie_of(request: Request) -> str | None:
    """The session's cookie of a request, if it can be one."""
    value = request.cookies.get(COOKIE, "")
    return value if _VALUE.fullmatch(value) else None


def set_cookie(value: str) -> str:
    """The Set-Cookie header that begins a session, or ends it where the value is empty."""
    age = SESSION_SECONDS if value else 0
    return f"{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; Secure; SameSite=Strict"


def csrf_of(cookie: str) -> str:
    """The word that forms of this session carry."""
    return hmac.digest(cookie.encode(), b"dmpool door form", "sha256").hex()


def require_same_site(request: Request) -> None:
    """Raises HTTPException 403 when a browser says that another site made it send this form."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site not in (None, "same-origin", "none") or (
        site is None and origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    )
    if foreign:
        raise HTTPException(403, "this form came from another site: open the page of the pool itself")


async def begin(engine: AsyncEngine, token_sha256: str, now_us: int) -> str:
    """A new session for a token that was checked; its cookie."""
    cookie = secrets.token_urlsafe(32)
    older = (
        sa.select(_COLUMN.session_sha256)
        .where(_COLUMN.token_sha256 == token_sha256)
        .order_by(_COLUMN.started_us.desc())
        .offset(SESSIONS_MAX - 1)
    )
    over = sa.or_(_COLUMN.ends_us <= now_us, _COLUMN.session_sha256.in_(older))
    async with asking(), engine.begin() as connection:
        await connection.execute(sa.delete(regulator_session).where(over))
        await connection.execute(
            sa.insert(regulator_session).values(
                session_sha256=_hash(cookie),
                token_sha256=token_sha256,
                started_us=now_us,
                ends_us=now_us + SESSION_SECONDS * 1_000_000,
            )
        )
    return cookie


async def find(connection: AsyncConnection, cookie: str, now_us: int) -> Session | None:
    """The session of a cookie, unless it has ended."""
    wanted = sa.select(regulator_session).where(
        _COLUMN.session_sha256 == _hash(cookie), _COLUMN.ends_us > now_us
    )
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else Session(row.token_sha256, csrf_of(cookie), row.ends_us)


async def end(engine: AsyncEngine, cookie: str) -> None:
    """No request with this cookie is let in any more."""
    async with asking(), engine.begin() as connection:
        await connection.execute(sa.delete(regulator_session).where(_COLUMN.session_sha256 == _hash(cookie)))


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
