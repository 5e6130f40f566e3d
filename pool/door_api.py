"""The regulator's door under `/api/v1`, put together, and what a regulator can ask about itself.

`/api/v1/door` says whose the token is and what it opens; `/api/v1/access` tells a regulator each of its own
comings, as the chain has them, and the chain's newest hash. Of others it tells nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from pool import door_chain
from pool.door_archive import archive_router
from pool.door_chain import Passage
from pool.door_desk import LARGEST, DoorDesk, caller_of, guarded, told
from pool.door_forms import form_router, submission_router
from pool.reading import reading
from pool.report_api import report_router
from register.event import Event

PAGE = 100


@dataclass(frozen=True, slots=True)
class CallerView:
    """Who asks, and what the token opens."""

    name: str
    title: str
    authority: str
    scopes: tuple[str, ...]
    networks: tuple[str, ...]
    """From where alone it may come; none: from anywhere."""
    token: str
    """Its id, as the chain and the pool call it."""
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest event of the chain; who keeps its hash can tell later that nothing older was changed."""

    seq: int
    sha256: str


@dataclass(frozen=True, slots=True)
class AccessView:
    """One coming; `refused` is why the door stayed shut, empty when it opened."""

    seq: int
    sha256: str
    at: dt.datetime
    method: str
    path: str
    status: int
    refused: str
    address: str
    token: str
    given: str
    given_sha256: str
    part: str


@dataclass(frozen=True, slots=True)
class AccessList:
    """Own comings, newest first; `next_before` is the `before` that gives the rest, None at the end."""

    head: ChainHead
    events: tuple[AccessView, ...]
    next_before: int | None


def door_router(desk: DoorDesk) -> APIRouter:
    """All routes, to be put under /api/v1."""
    router = APIRouter()
    for one in (report_router, form_router, submission_router, archive_router, _own_router):
        router.include_router(one(desk))
    return router


def _own_router(desk: DoorDesk) -> APIRouter:
    router = guarded(desk.door, None, "", "door")

    @router.get("/door", response_model=CallerView, summary="Whose the token is, and what it opens")
    async def _door(request: Request) -> Response:
        caller = caller_of(request)
        return told(
            CallerView(
                caller.name,
                caller.title,
                caller.authority,
                tuple(sorted(caller.scopes)),
                caller.networks,
                caller.token_id,
                desk.rules.local(caller.expires_us),
            )
        )

    @router.get("/access", response_model=AccessList, summary="Own comings, as the chain has them")
    async def _access(
        request: Request, before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None
    ) -> Response:
        name = caller_of(request).name
        async with reading(desk.engine) as connection:
            head = await door_chain.head(connection)
            found = await door_chain.newest_of(connection, name, PAGE + 1, before)
        shown = tuple(_view(desk, one) for one in found[:PAGE])
        more = shown[-1].seq if len(found) > PAGE else None
        return told(AccessList(ChainHead(head.seq, head.sha256), shown, more))

    return router


def _view(desk: DoorDesk, event: Event) -> AccessView:
    passage = msgspec.json.decode(event.body, type=Passage)
    return AccessView(
        event.seq,
        event.sha256,
        desk.rules.local(event.at_us),
        event.action,
        passage.path,
        passage.status,
        event.reason,
        passage.address,
        passage.token,
        passage.given,
        passage.sha256,
        passage.part,
    )
