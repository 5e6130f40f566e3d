"""The regulator's door: from a request to the regulator behind it, and what its token opens.

Programs send `Authorization: Bearer TOKEN`; a browser that signed in at the portal sends the cookie of its
session (`pool.door_session`), which is no better than the token it stands for. Each request is checked anew:
the token is good now and not revoked, the regulator open, its address in its networks, its certificate shown,
the scope its own, and its rate kept. So a revoked token is dead at once. Tokens are never logged.

Whoever is answered or refused here is noted in the request; `pool.door_record` makes an event of it before
the answer goes out. With `door.open_reports` whoever sends no token may read reports and forms, and is not
recorded.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi import HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import door_chain, door_session
from pool.clock import unix_microseconds
from pool.config import DoorSection
from pool.door_limits import Buckets
from pool.door_regulators import TOKEN_PREFIX, Authority, Book, Regulator, Scope, Token
from pool.reading import reading
from pool.register_auth import Attempts, subscriber
from register.person import token_hash

log = structlog.get_logger(__name__)

TOKEN_LIMIT: Final = 200
PROVEN_KEPT: Final = 1000
OPEN_SCOPES: Final = (Scope.REPORTS, Scope.FORMS)
"""What `door.open_reports` opens to everybody."""
NEEDED: Final = "a regulator's token is needed: send it as `Authorization: Bearer TOKEN`"
WRONG: Final = "the token is nobody's: ask the pool for another one"
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="dmpool door"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    """Of the regulator; empty for somebody without a token, where reports are open."""
    title: str
    authority: Authority
    scopes: frozenset[Scope]
    networks: tuple[str, ...]
    """From where alone it may come; none: from anywhere."""
    token_id: str
    expires_us: int
    """When the token ends."""
    csrf: str = ""
    """What each form of a signed-in browser carries; empty without a session."""

    def may(self, scope: Scope) -> bool:
        """Whether its token opens this."""
        return scope in self.scopes


ANYBODY: Final = Caller("", "", Authority.OTHER, frozenset(OPEN_SCOPES), (), "", 0)


@dataclass(slots=True)
class Visit:
    """What is to be recorded of a request; it lies in `request.state.visit`."""

    regulator: str = ""
    """Who it was, as far as the token told."""
    token_id: str = ""
    refused: str = ""
    """Why, in a word; empty when the door opened."""
    given: str = ""
    """Which document is answered, in words."""
    sha256: str = ""
    """Of that document."""


class Door:
    """What a process has of the door; shared by the API and the portal."""

    def __init__(
        self, engine: AsyncEngine, settings: DoorSection, now_us: Callable[[], int] = unix_microseconds
    ) -> None:
        self.engine = engine
        self.now_us = now_us
        self._settings = settings
        self._attempts = Attempts()
        self._proven: set[str] = set()
        """Hashes of tokens that were right once: they are heard whoever else calls from their address."""
        self._regulators = Buckets(settings.requests_per_minute, 60.0)
        self._strangers = Buckets(settings.public_requests_per_minute, 60.0)
        self._book = Book()
        self._book_seq = 0

    @property
    def open_reports(self) -> bool:
        """Whether reports and forms are shown to everybody."""
        return self._settings.open_reports

    async def caller(self, request: Request, scope: Scope | None) -> Caller:
        """Who may come in for a scope, or with any good token where it is None.

        Raises HTTPException 401, 403 or 429.
        """
        secret = bearer(request)
        cookie = door_session.cookie_of(request)
        if secret is None and cookie is None:
            return self._without_token(request, scope)
        if secret is not None:
            self._listen_to(request, secret)
        async with reading(self.engine) as connection:
            book = await self._current(connection)
            if secret is not None:
                return self._let_in(request, book.token_of(secret), book, scope)
            session = await door_session.find(connection, cookie or "", self.now_us())
        if session is None:
            raise self._refuse(request, 401, "session", "your session has ended: sign in again")
        return self._let_in(request, book.token_with(session.token_sha256), book, scope, session.csrf)

    async def register_reader(self, request: Request) -> str | None:
        """The regulator that reads the register; None where the token is not a regulator's.

        Raises as `caller`.
        """
        secret = bearer(request)
        if secret is None or not secret.startswith(TOKEN_PREFIX):
            return None
        return (await self.caller(request, Scope.REGISTER)).name

    async def sign_in(self, request: Request, secret: str) -> tuple[Caller, str]:
        """Begin a browser's session with a token; the caller and the `Set-Cookie` header.

        Raises as `caller`, and 403 for a form of another site.
        """
        door_session.require_same_site(request)
        secret = secret.strip()
        self._listen_to(request, secret)
        async with reading(self.engine) as connection:
            book = await self._current(connection)
        token = book.token_of(secret) if 1 <= len(secret) <= TOKEN_LIMIT else None
        caller = self._let_in(request, token, book, None)
        cookie = await door_session.begin(self.engine, token_hash(secret), self.now_us())
        return caller, door_session.set_cookie(cookie)

    async def sign_out(self, request: Request, csrf: str) -> str:
        """End a browser's session; the `Set-Cookie` header. Raises HTTPException 403 for a forged form."""
        door_session.require_same_site(request)
        cookie = door_session.cookie_of(request)
        if cookie is not None:
            if not hmac.compare_digest(door_session.csrf_of(cookie).encode(), csrf.encode()):
                raise HTTPException(403, "this form is not of your session: open the page again")
            await door_session.end(self.engine, cookie)
        return door_session.set_cookie("")

    def gives(self, request: Request, what: str, sha256: str) -> None:
        """Note which document the answer is, for the chain."""
        visit = visit_of(request)
        visit.given, visit.sha256 = what, sha256

    async def _current(self, connection: AsyncConnection) -> Book:
        """The book, read anew when a change came."""
        newest = await door_chain.newest_change(connection)
        if newest != self._book_seq:
            self._book, self._book_seq = await door_chain.read_book(connection), newest
        return self._book

    def _without_token(self, request: Request, scope: Scope | None) -> Caller:
        if not self.open_reports or scope not in OPEN_SCOPES:
            raise self._refuse(request, 401, "no token", NEEDED)
        wait = self._strangers.take(subscriber(self.address(request)))
        if wait:
            raise self._refuse(request, 429, "rate", f"too many questions; wait {wait} seconds", wait)
        return ANYBODY

    def _listen_to(self, request: Request, secret: str) -> None:
        """Raises HTTPException 429 for an address from which wrong tokens came."""
        wait = self._attempts.wait_seconds(subscriber(self.address(request)))
        if wait and token_hash(secret) not in self._proven:
            said = f"too many wrong tokens came from your address; wait {wait} seconds"
            raise self._refuse(request, 429, "guesses", said, wait)

    def _let_in(
        self, request: Request, token: Token | None, book: Book, scope: Scope | None, csrf: str = ""
    ) -> Caller:
        """The caller behind a token, when everything is in order."""
        if token is None:
            self._attempts.failed(subscriber(self.address(request)))
            log.warning("wrong_token", door="regulator", address=self.address(request))
            raise self._refuse(request, 401, "wrong token", WRONG)
        regulator = book.regulators[token.regulator]
        visit = visit_of(request)
        visit.regulator, visit.token_id = regulator.name, token.id
        self._remember(token.token_sha256)
        self._require_good(request, token, regulator)
        self._require_place(request, regulator)
        wait = self._regulators.take(regulator.name)
        if wait:
            said = f"{regulator.name}: too many questions; wait {wait} seconds"
            raise self._refuse(request, 429, "rate", said, wait)
        if scope is not None and scope not in token.scopes:
            said = f"{regulator.name}: this token does not open {scope}; it opens {', '.join(token.scopes)}"
            raise self._refuse(request, 403, "scope", said)
        return Caller(
            regulator.name,
            regulator.title,
            regulator.authority,
            frozenset(token.scopes),
            regulator.networks,
            token.id,
            token.expires_us,
            csrf,
        )

    def _require_good(self, request: Request, token: Token, regulator: Regulator) -> None:
        now_us = self.now_us()
        wrong = (
            (regulator.closed, "closed", "the pool has closed your access"),
            (token.revoked, "revoked", "this token was revoked"),
            (now_us < token.not_before_us, "too early", "this token is not good yet"),
            (now_us >= token.expires_us, "expired", "this token has expired"),
        )
        for is_wrong, reason, said in wrong:
            if is_wrong:
                raise self._refuse(request, 401, reason, f"{regulator.name}: {said}; ask the pool")

    def _require_place(self, request: Request, regulator: Regulator) -> None:
        address = self.address(request)
        if not regulator.reached_from(address):
            said = f"{regulator.name}: {address} is not among the addresses from which it may come"
            raise self._refuse(request, 403, "address", said)
        shown = getattr(request.state, "certificate_sha256", "")
        wanted = regulator.certificate_sha256
        if wanted and not hmac.compare_digest(shown, wanted):
            said = f"{regulator.name}: its client certificate is needed beside the token"
            raise self._refuse(request, 403, "certificate", said)

    def _remember(self, token_sha256: str) -> None:
        if len(self._proven) >= PROVEN_KEPT:
            self._proven.clear()
        self._proven.add(token_sha256)

    def _refuse(self, request: Request, status: int, reason: str, said: str, wait: int = 0) -> HTTPException:
        visit_of(request).refused = reason
        headers = dict(_CHALLENGE) if status == 401 else {}
        if wait:
            headers["Retry-After"] = str(wait)
        return HTTPException(status, said, headers)

    def address(self, request: Request) -> str:
        """Where the request comes from: the peer, or whom a known proxy names for it."""
        return address_behind(request, self._settings)


def visit_of(request: Request) -> Visit:
    """What is noted of this request."""
    visit = getattr(request.state, "visit", None)
    if visit is None:
        visit = request.state.visit = Visit()
    return visit


def bearer(request: Request) -> str | None:
    """The token of the Authorization header; what is too long to be one is cut, and so a wrong one."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    credentials = credentials.strip()
    return credentials[: TOKEN_LIMIT + 1] if scheme.lower() == "bearer" and credentials else None


def address_behind(request: Request, settings: DoorSection) -> str:
    """The peer; where that is a proxy of ours, the last address of X-Forwarded-For that is none."""
    peer = _plain(request.client.host if request.client else "")
    named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while named and _is_in(peer, settings):
        nearer = _plain(named.pop().strip())
        if not nearer:
            break
        peer = nearer
    return peer


def _is_in(address: str, settings: DoorSection) -> bool:
    try:
        here = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(here in network for network in settings.proxies)


def _plain(host: str) -> str:
    """An address as it is compared and recorded; empty for what is none."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
