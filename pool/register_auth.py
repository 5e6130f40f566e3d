"""Who asks for the register over HTTP: a token, the person it belongs to, and what that person's role allows.

Programs send `Authorization: Bearer TOKEN`. A browser that opens the page sends it as the password of HTTP
Basic, under any user name; that is taken for reading the page alone, never for a change, because a browser
sends it along with whatever another site makes it ask for. There are no cookies.

Nobody acts over HTTP before a person is entered on the machine itself. Who the people are is asked of the
register each time, so a revoked token is dead at once. Tokens are never logged.

An address from which wrong tokens come is not listened to for a while, but for tokens that were right before:
behind a proxy all come from one address, and one guesser must not shut the others out.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from fastapi import HTTPException, Request

from pool.live_register import LiveRegister
from register.person import Actor, Person, Role, token_hash, whose

log = structlog.get_logger(__name__)

ATTEMPTS = 10
"""Wrong tokens that an address may send at once."""
ATTEMPT_SECONDS = 6.0
"""One more is granted each so many seconds."""
ADDRESSES_KEPT = 10_000
TOKENS_KEPT = 1000
"""Hashes of tokens that were right, so that they are heard whoever else calls from their address."""
TOKEN_LIMIT = 512
RegulatorOf = Callable[[Request], Awaitable[str | None]]
_WRITERS: Final = (Role.OPERATOR, Role.COMPLIANCE)
NOBODY: Final = (
    "nobody may use the register over HTTP yet: enter a person on the pool's machine with `dmpool people add`"
)
NEEDED: Final = "a token is needed: send it as `Authorization: Bearer TOKEN`"
WRONG: Final = "the token is nobody's, or was revoked: ask a compliance officer for another one"


class Attempts:
    """Counts wrong tokens by address, in bounded memory: the address that was quiet longest is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """How long the address is not listened to; 0 when it is."""
        left = self._used(address) - (ATTEMPTS - 1)
        return max(0, -int(-left * ATTEMPT_SECONDS // 1)) if left > 0 else 0

    def failed(self, address: str) -> None:
        """One more wrong token came from there."""
        self._failures[address] = (min(self._used(address) + 1, ATTEMPTS), self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_KEPT:
            self._failures.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failures)

    def _used(self, address: str) -> float:
        used, since = self._failures.get(address, (0.0, 0.0))
        return max(used - (self._clock() - since) / ATTEMPT_SECONDS, 0.0)


class RegisterAuth:
    """From a request to who is behind it; raises HTTPException 401, 403 or 429."""

    def __init__(self, live: LiveRegister, regulator: RegulatorOf | None = None) -> None:
        """`regulator` says which regulator may read the register by a token of its own, if any."""
        self._live = live
        self._regulator = regulator
        self._attempts = Attempts()
        self._proven: set[str] = set()

    async def reader(self, request: Request) -> Actor:
        """Anyone whose token is right; a regulator reads as an auditor does (O-25)."""
        name = None if self._regulator is None else await self._regulator(request)
        if name is not None:
            return Actor(name, Role.AUDITOR)
        return await self._person(request, _bearer(request), "Bearer")

    async def writer(self, request: Request) -> Actor:
        """Who may change something; what exactly is the clerk's to say."""
        actor = await self.reader(request)
        if actor.role not in _WRITERS:
            raise HTTPException(
                403,
                f"{actor.name}: the role {actor.role} reads and does not write; ask an operator or officer",
            )
        return actor

    async def viewer(self, request: Request) -> Actor:
        """Anyone whose token is right, a browser's too. For pages that are read, and nothing else."""
        return await self._person(request, _bearer(request) or _basic(request), "Basic")

    async def statement_viewer(self, request: Request, account: str) -> str:
        """Who may read the statements of an account: the miner by its token, or anyone of the register."""
        token = _bearer(request) or _basic(request)
        if token is not None:
            miner = (await self._live.current()).find_miner(account)
            kept = miner.statement_token_sha256 if miner is not None else ""
            if kept and hmac.compare_digest(kept, token_hash(token)):
                return account
        # Miners have tokens of their own where nobody has one for the register yet: their browser must ask.
        return (await self._person(request, token, "Basic", before_anybody=True)).name

    async def _person(
        self, request: Request, token: str | None, scheme: str, *, before_anybody: bool = False
    ) -> Actor:
        address = address_of(request)
        wait = self._attempts.wait_seconds(address)
        if wait and token is not None and token_hash(token) not in self._proven:
            raise HTTPException(
                429,
                f"too many wrong tokens came from your address; wait {wait} seconds",
                {"Retry-After": str(wait)},
            )
        register = await self._live.current()
        if not before_anybody and all(one.revoked for one in register.people.values()):
            raise HTTPException(403, NOBODY)
        if token is None:
            raise HTTPException(401, NEEDED, _challenge(scheme))
        person = whose(token, register.people.values())
        if person is None:
            self._attempts.failed(address)
            log.warning("wrong_token", door="register", address=address)
            raise HTTPException(401, WRONG, _challenge(scheme))
        self._remember(person)
        return Actor(person.name, person.role, person.token_sha256)

    def _remember(self, person: Person) -> None:
        if len(self._proven) >= TOKENS_KEPT:
            self._proven.clear()
        self._proven.add(person.token_sha256)


def address_of(request: Request) -> str:
    """Whose attempts count together: an IPv4 address, or the /64 that an IPv6 subscriber has."""
    return subscriber(request.client.host if request.client else "")


def subscriber(host: str) -> str:
    """The same of an address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _challenge(scheme: str) -> dict[str, str]:
    return {"WWW-Authenticate": f'{scheme} realm="dmpool register"'}


def _credentials(request: Request, scheme: str) -> str | None:
    given, _, credentials = request.headers.get("authorization", "").partition(" ")
    credentials = credentials.strip()
    wanted = given.lower() == scheme and 1 <= len(credentials) <= TOKEN_LIMIT
    return credentials if wanted else None


def _bearer(request: Request) -> str | None:
    return _credentials(request, "bearer")


def _basic(request: Request) -> str | None:
    credentials = _credentials(request, "basic")
    if credentials is None:
        return None
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):  # not base64, or not UTF-8
        return None
    return text.partition(":")[2] or None
