"""What the routes of `/api/v1/register` share: the register, who may do what, how a change is made and told.

A change is made by a clerk under the register's lock, and answered with what the log holds from then on; one
that waits for a second person is answered 202 with the number of its proposal. What the clerk does not allow
becomes an answer by its kind: 403 for a role, 404 for a record that is not there, 409 for one that is, 422
for all else, each with the clerk's own words.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any, Final

import msgspec
from fastapi import HTTPException, Query, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.clock import unix_microseconds
from pool.config import Settings
from pool.live_register import LiveRegister
from pool.problems import AWAY, problem, unclear
from pool.reading import asking
from pool.register_auth import RegisterAuth, RegulatorOf
from pool.register_store import STANDING_KINDS, BusyError
from pool.register_views import LISTINGS
from pool.resources import terms_of
from pool.sale_watch import SaleWatch
from register.clerk import Clerk, TakenError, Terms
from register.person import Actor, PersonError
from register.proposal import ProposalError
from register.register import UnknownRecord
from register.rules import Rules, RulesError

WRITE_SECONDS: Final = 30.0
"""A change that gets the register's lock no sooner is given up."""
WITHOUT_DEVICES: Final = tuple(kind for kind in STANDING_KINDS if kind != "device")
"""What a clerk needs that does not look at hardware units, of which there are a hundred thousand."""
AsOf = Annotated[
    dt.date | None, Query(description="As it stood at the end of this day in Kazakhstan; else as it stands.")
]
Answers = dict[int | str, dict[str, Any]]


class Changed(msgspec.Struct, frozen=True):
    """The change is made: the number of its event, and the record from now on."""

    seq: int
    record: Any


class Proposed(msgspec.Struct, frozen=True):
    """The change waits for a second compliance officer."""

    seq: int
    proposal: int
    detail: str


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that the routes share."""

    engine: AsyncEngine
    terms: Terms
    live: LiveRegister
    auth: RegisterAuth
    now_us: Callable[[], int]
    version: str
    """Of this program, for the digest (O-23)."""
    sales: SaleWatch
    """Who is short of the mandatory sale (O-52)."""
    files: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a file is read or written: one at a time."""

    @property
    def rules(self) -> Rules:
        """The rules of law."""
        return self.terms.rules

    def before(self, as_of: dt.date | None, now_us: int) -> int | None:
        """The instant before which a past day's register stood; None for today and what is to come."""
        if as_of is None or as_of >= self.rules.day_of(now_us):
            return None
        try:
            return self.rules.day_bounds(as_of)[1]
        except RulesError as error:
            raise HTTPException(422, f"as_of: {error}") from error

    @asynccontextmanager
    async def writing(
        self,
        actor: Actor,
        reason: str,
        kinds: Sequence[str] = WITHOUT_DEVICES,
        seconds: float = WRITE_SECONDS,
    ) -> AsyncIterator[Clerk]:
        """A clerk for one change; what it does not allow becomes an HTTPException."""
        async with asking(seconds):
            try:
                async with register_store.writing(
                    self.engine, self.terms, actor, reason, kinds, self.now_us
                ) as clerk:
                    yield clerk
            except BusyError as error:
                raise HTTPException(503, str(error), {"Retry-After": "5"}) from error
            except UnknownRecord as error:
                raise HTTPException(404, str(error)) from error
            except PersonError as error:
                raise HTTPException(403, str(error)) from error
            except (TakenError, ProposalError) as error:
                raise HTTPException(409, str(error)) from error
            except (ValueError, OverflowError) as error:
                raise HTTPException(422, str(error)) from error

    async def change(
        self,
        actor: Actor,
        reason: str,
        make: Callable[[Clerk], msgspec.Struct],
        *,
        kinds: Sequence[str] = WITHOUT_DEVICES,
        made: int = 200,
    ) -> Response:
        """Make one change; `make` gives the record as it is shown from then on."""
        async with self.writing(actor, reason, kinds) as clerk:
            record = make(clerk)
        seq = clerk.register.seq
        for event in clerk.events:
            if event.kind == "proposal" and event.action == "proposed":
                waits = f"waits for a second compliance officer as proposal {event.key}"
                return answer(Proposed(seq, int(event.key), waits), 202)
        return answer(Changed(seq, record), made)


def related(kind: str) -> tuple[str, ...]:
    """The kinds of record that a past view of one kind needs."""
    return (kind, "miner") if LISTINGS[kind].of_miner else (kind,)


def open_desk(
    engine: AsyncEngine,
    settings: Settings,
    rules: Rules,
    live: LiveRegister | None = None,
    now_us: Callable[[], int] = unix_microseconds,
    regulator: RegulatorOf | None = None,
) -> Desk:
    """What a process serves the register with; `live` is the one that it has already.

    `regulator` is asked whether a regulator reads (`pool.door_auth`).
    """
    known = live or LiveRegister(engine)
    auth = RegisterAuth(known, regulator)
    terms, sales = terms_of(settings, rules), SaleWatch(rules)
    return Desk(engine, terms, known, auth, now_us, version("dmpool"), sales)


def may_write(actor: Actor, kind: str) -> None:
    """Raises HTTPException 403 where the role does not write such records."""
    try:
        actor.require(kind)
    except PersonError as error:
        raise HTTPException(403, str(error)) from error


def answer(told: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """What is told, as JSON that no cache between keeps."""
    private = {"Cache-Control": "private, no-cache", "Vary": "Authorization", **(headers or {})}
    return Response(msgspec.json.encode(told), status, private, "application/json")


# What OpenAPI says of it


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type, whole in itself."""
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="{name}")

    def inlined(part: Any) -> Any:
        if isinstance(part, dict):
            return (
                inlined(parts[part["$ref"]]) if "$ref" in part else {k: inlined(v) for k, v in part.items()}
            )
        return [inlined(one) for one in part] if isinstance(part, (list, tuple)) else part

    whole: dict[str, Any] = inlined(schema)
    return whole


def told_as(kind: Any, description: str) -> dict[str, Any]:
    """An answer of a type."""
    return {"description": description, "content": {"application/json": {"schema": schema_of(kind)}}}


def body_of(kind: Any) -> dict[str, Any]:
    """`openapi_extra` of a route that takes such a body."""
    content = {"application/json": {"schema": schema_of(kind)}}
    return {"requestBody": {"required": True, "content": content}}


READ: Final[Answers] = {
    401: problem("No token, or a wrong one."),
    403: problem("Nobody may use the register yet, or the role does not allow it."),
    422: unclear("The question cannot be answered as it was put; the words say what is wrong."),
    429: problem("Too many wrong tokens from this address."),
    **AWAY,
}
WRITE: Final[Answers] = {
    408: problem("The body did not come."),
    409: problem("The record is there already, or the proposal cannot be decided so."),
    413: problem("The body is too large."),
    415: problem("The body is not of this type."),
    **READ,
    422: unclear("The change cannot be made; the words say what is wrong."),
}
UNKNOWN: Final[Answers] = {404: problem("There is no such record.")}
PROPOSED: Final[Answers] = {202: told_as(Proposed, "The change waits for a second person.")}
