"""`/api/v1/register`: the register of licensed miners for programs, behind the token of a person.

This file reads: lists of each kind of record, one record with its history, the log of events with its head,
the digest. Every answer is of one moment and names the number of the newest event; a list has an ETag that
changes when the register, or the day, does. With `as_of` it is the register as it stood at the end of a day.

Changes are in `pool.register_changes`, files in `pool.register_bulk`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Header, HTTPException, Query, Response
from fastapi.security import HTTPBearer

from pool import register_store
from pool.problems import problem
from pool.reading import asking, reading
from pool.register_bulk import bulk_router
from pool.register_changes import change_router
from pool.register_desk import READ, UNKNOWN, Answers, AsOf, Desk, answer, related, told_as
from pool.register_views import LISTINGS, EventView, Listing, event_view, matches, order_of
from register.digest import Digest, digest
from register.event import Event
from register.records import decode
from register.register import Register, UnknownRecord

PAGE: Final = 100
PAGE_MAX: Final = 1000
EVENTS_MAX: Final = 5000
_LARGEST: Final = 2**63 - 1
_KEY_LIMIT: Final = 100

_Tag = Annotated[str | None, Header(alias="If-None-Match")]


class RecordList(msgspec.Struct, frozen=True):
    """Some of the records that were asked for; `total` is how many there are."""

    seq: int
    """Number of the newest event that is in this."""
    at_us: int
    """The instant that states are told of."""
    total: int
    items: list[Any]


class RecordWithHistory(msgspec.Struct, frozen=True):
    """A record, and all that was done to it, the oldest first."""

    seq: int
    at_us: int
    record: Any
    history: list[EventView]


class HeadView(msgspec.Struct, frozen=True):
    """The newest event of the log: who keeps its hash can tell later that nothing older was changed."""

    seq: int
    sha256: str
    at_us: int


class EventList(msgspec.Struct, frozen=True):
    """Events in order; `next_after` is the `after` that gives the rest, null at the end."""

    events: list[EventView]
    next_after: int | None


def register_router(desk: Desk) -> APIRouter:
    """The routes, to be put under /api/v1."""
    router = APIRouter(
        prefix="/register", tags=["register"], dependencies=[Depends(HTTPBearer(auto_error=False))]
    )
    _add_log(router, desk)
    router.include_router(bulk_router(desk))
    router.include_router(change_router(desk))
    for listing in LISTINGS.values():
        _add_listing(router, desk, listing)
    return router


def _add_listing(router: APIRouter, desk: Desk, listing: Listing) -> None:
    states = f"; states are {', '.join(listing.states)}" if listing.states else ""
    router.add_api_route(
        f"/{listing.path}",
        _lister(desk, listing),
        response_class=Response,
        dependencies=[Depends(desk.auth.reader)],
        responses=_told(listing, RecordList)
        | {
            304: {"description": "It is what If-None-Match names."},
            404: problem("There is no such account."),
        },
        name=f"list_{listing.path}",
        summary=f"The {listing.what}, with search and paging{states}",
    )
    router.add_api_route(
        f"/{listing.path}/{{key:path}}",
        _shower(desk, listing),
        response_class=Response,
        dependencies=[Depends(desk.auth.reader)],
        responses=_told(listing, RecordWithHistory) | UNKNOWN,
        name=f"show_{listing.path}",
        summary=f"One of the {listing.what}, with its history",
    )


def _told(listing: Listing, kind: type[msgspec.Struct]) -> Answers:
    """The answer's schema, with the view of this kind of record where it is."""
    told = told_as(kind, str(kind.__doc__))
    properties = told["content"]["application/json"]["schema"]["properties"]
    shown = told_as(listing.shown, "")["content"]["application/json"]["schema"]
    if "items" in properties:
        properties["items"] = {"type": "array", "items": shown}
    else:
        properties["record"] = shown
    return {200: told, **READ}


def _lister(desk: Desk, listing: Listing) -> Callable[..., Awaitable[Response]]:
    async def listed(
        search: Annotated[str, Query(max_length=100)] = "",
        account: Annotated[str, Query(max_length=40)] = "",
        state: Annotated[str, Query(max_length=40)] = "",
        as_of: AsOf = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
        offset: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        if_none_match: _Tag = None,
    ) -> Response:
        _check_question(listing, account, state)
        at_us = desk.now_us()
        before_us = desk.before(as_of, at_us)

        def page(register: Register, instant_us: int) -> RecordList:
            found = _found(desk, listing, register, instant_us, search.lower(), account, state)
            found.sort(key=order_of(listing))
            shown = found[offset : offset + limit]
            items = [listing.view(one, register, desk.rules, instant_us) for one in shown]
            return RecordList(register.seq, instant_us, len(found), items)

        if before_us is not None:
            past = await desk.live.before(before_us, related(listing.kind))
            told = await _aside(page, past, before_us - 1)
            return _tagged(told, _tag(desk, past, before_us - 1), if_none_match)
        async with desk.live.held() as register:
            tag = _tag(desk, register, at_us)
            if _held(tag, if_none_match):
                return _not_modified(tag)
            told = await _aside(page, register, at_us)
        return _tagged(told, tag, if_none_match)

    return listed


async def _aside(page: Callable[[Register, int], RecordList], register: Register, at_us: int) -> RecordList:
    """In a thread: a hundred thousand records are no work for the loop, which a gateway may share."""
    try:
        return await asyncio.to_thread(page, register, at_us)
    except UnknownRecord as error:
        raise HTTPException(404, str(error)) from error


def _check_question(listing: Listing, account: str, state: str) -> None:
    if state and state not in listing.states:
        known = ", ".join(listing.states) or "not asked for here"
        raise HTTPException(422, f"state {state!r}: states of {listing.what} are {known}")
    if account and not listing.of_miner:
        raise HTTPException(422, f"account {account!r}: {listing.what} are not a miner's; use search")


def _found(
    desk: Desk, listing: Listing, register: Register, at_us: int, search: str, account: str, state: str
) -> list[Any]:
    found = list(listing.all(register))
    if account:
        miner_id = register.miner(account).id
        found = [one for one in found if one.miner_id == miner_id]
    if search:
        found = [one for one in found if matches(one, search)]
    if state and listing.state is not None:
        state_of = listing.state
        found = [one for one in found if state_of(one, register, desk.rules, at_us) == state]
    return found


def _shower(desk: Desk, listing: Listing) -> Callable[..., Awaitable[Response]]:
    async def shown(key: str, as_of: AsOf = None) -> Response:
        at_us = desk.now_us()
        before_us = desk.before(as_of, at_us)
        register = await desk.live.current()
        seq = register.seq
        events = await _history(desk, listing, _log_key(listing, register, key), seq)
        if before_us is not None:
            at_us = before_us - 1
            events = [event for event in events if event.at_us < before_us]
        if not events:
            raise HTTPException(404, f"{listing.what}: there is none {key[:70]!r} at that time")
        record = decode(listing.kind, events[-1].body)
        view = listing.view(record, await desk.live.current(), desk.rules, at_us)
        return answer(RecordWithHistory(seq, at_us, view, [event_view(event) for event in events]))

    return shown


def _log_key(listing: Listing, register: Register, key: str) -> str:
    """The key in the log of events; miners stand there by number, and are asked for by account."""
    if listing.kind == "miner":
        miner = register.find_miner(key)
        key = str(miner.id) if miner else ""
    if not 1 <= len(key) <= _KEY_LIMIT or not key.isprintable():
        raise HTTPException(404, f"{listing.what}: there is none {key[:70]!r}; /{listing.path} lists all")
    return key


async def _history(desk: Desk, listing: Listing, key: str, seq: int) -> list[Event]:
    async with asking():
        events = await register_store.history(desk.engine, listing.kind, key)
    return [event for event in events if event.seq <= seq]


def _tag(desk: Desk, register: Register, at_us: int) -> str:
    """Changes with every event, and with what follows from time alone: the day, an address in effect."""
    begun = sum(1 for one in register.addresses.values() if one.effective_us <= at_us)
    return f'"{register.seq}-{register.sha256[:8]}-{desk.rules.day_of(at_us)}-{begun}"'


def _held(tag: str, if_none_match: str | None) -> bool:
    given = (if_none_match or "").split(",")
    return tag in [one.strip().removeprefix("W/") for one in given]


def _not_modified(tag: str) -> Response:
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": "private, no-cache"})


def _tagged(told: RecordList, tag: str, if_none_match: str | None) -> Response:
    return _not_modified(tag) if _held(tag, if_none_match) else answer(told, headers={"ETag": tag})


def _add_log(router: APIRouter, desk: Desk) -> None:
    reads = [Depends(desk.auth.reader)]

    @router.get(
        "/head",
        response_class=Response,
        dependencies=reads,
        responses={200: told_as(HeadView, "The newest event."), **READ},
        summary="Number and hash of the newest event",
    )
    async def _head() -> Response:
        register = await desk.live.current()
        return answer(HeadView(register.seq, register.sha256, register.at_us))

    @router.get(
        "/events",
        response_class=Response,
        dependencies=reads,
        responses={200: told_as(EventList, "Events in order."), **READ},
        summary="The log of events: every change, by whom and why, chained by hashes",
    )
    async def _events(
        after: Annotated[int, Query(ge=0, le=_LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = PAGE_MAX,
    ) -> Response:
        async with asking():
            events = await register_store.events(desk.engine, after, limit)
        more = events[-1].seq if len(events) == limit else None
        return answer(EventList([event_view(event) for event in events], more))

    @router.get(
        "/digest",
        response_class=Response,
        dependencies=reads,
        responses={200: told_as(Digest, "The notes of today."), **READ},
        summary="What a compliance officer should know today",
    )
    async def _digest() -> Response:
        return answer(await digest_of(desk))


async def digest_of(desk: Desk) -> Digest:
    """Today's digest; raises DatabaseAway."""
    at_us = desk.now_us()
    day = desk.rules.day_of(at_us)
    async with asking():
        seen = await register_store.read_sightings(desk.engine, day, day)
    async with reading(desk.engine) as connection:
        besides = await desk.sales.notes(connection, day)
    async with desk.live.held() as register:
        return await asyncio.to_thread(digest, register, desk.rules, at_us, seen, desk.version, besides)
