"""Changes of the register over HTTP: each is one event by the token's owner, with a reason, or a proposal.

Bodies are JSON (`pool.register_bodies`); whether a change may be made is the clerk's to say. A record that
the address names and that is not there is a 404, one that a body names is a mistake in the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from pool import register_bodies as bodies
from pool.register_desk import (
    PROPOSED,
    UNKNOWN,
    WITHOUT_DEVICES,
    WRITE,
    Changed,
    Desk,
    body_of,
    may_write,
    told_as,
)
from pool.register_store import STANDING_KINDS
from pool.register_views import LISTINGS
from register.centre import Centre
from register.clerk import Clerk, TakenError
from register.device import Device
from register.licence import Act, Licence
from register.miner import Miner, MinerError
from register.payout_address import PayoutAddress
from register.person import Actor, PersonError, Role
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.proposal import Proposal
from register.register import UnknownRecord


class Wish(NamedTuple):
    """What is asked for: the record that the address names, the body, and by whom."""

    key: str
    body: Any
    actor: Actor


Make = Callable[[Clerk, Wish], msgspec.Struct]


class Route(NamedTuple):
    """One kind of change."""

    method: str
    path: str
    kind: str
    """Of the record that it shows."""
    body: type[bodies.Change]
    make: Make
    summary: str
    kinds: Sequence[str] = WITHOUT_DEVICES
    """What the clerk needs to know."""
    may_propose: bool = False


def change_router(desk: Desk) -> APIRouter:
    """The routes, to be put under /api/v1/register."""
    router = APIRouter()
    for route in ROUTES:
        new = route.method == "POST" and "{" not in route.path
        status = 201 if new else 200
        told = {status: told_as(Changed, "The change is made.")} | WRITE
        router.add_api_route(
            route.path,
            _entering(desk, route) if new else _changing(desk, route),
            methods=[route.method],
            status_code=status,
            response_class=Response,
            responses=told | ({} if new else UNKNOWN) | (PROPOSED if route.may_propose else {}),
            openapi_extra=body_of(route.body),
            name=route.make.__name__.strip("_"),
            summary=route.summary,
        )
    return router


def _entering(desk: Desk, route: Route) -> Callable[..., Awaitable[Response]]:
    writer = Depends(desk.auth.writer)

    async def entered(request: Request, actor: Actor = writer) -> Response:
        return await _change(desk, route, request, actor, "", 201)

    return entered


def _changing(desk: Desk, route: Route) -> Callable[..., Awaitable[Response]]:
    writer = Depends(desk.auth.writer)

    async def changed(request: Request, key: str, actor: Actor = writer) -> Response:
        return await _change(desk, route, request, actor, key, 200)

    return changed


async def _change(desk: Desk, route: Route, request: Request, actor: Actor, key: str, made: int) -> Response:
    if route.make is not _reject:  # everybody who writes may take back a proposal of their own
        may_write(actor, route.kind)
    body = await bodies.read_body(request, route.body)

    def make(clerk: Clerk) -> msgspec.Struct:
        record = route.make(clerk, Wish(key, body, actor))
        return LISTINGS[route.kind].view(record, clerk.register, desk.rules, desk.now_us())

    return await desk.change(actor, body.reason, make, kinds=route.kinds, made=made)


def _miner_of(clerk: Clerk, account: str) -> Miner:
    miner = clerk.register.find_miner(account)
    if miner is None:
        raise MinerError(f"account {account[:40]!r}: there is no such miner; enter the miner first")
    return miner


# Miners and data centres


def _enter_miner(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    if clerk.register.find_miner(wish.body.name) is not None:
        raise TakenError(f"miner {wish.body.name}: an account of that name exists; choose another name")
    return clerk.enter_miner(Miner(id=0, **bodies.fields_of(wish.body)))


def _change_miner(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    before = clerk.register.miner(wish.key)
    clerk.change_miner(msgspec.structs.replace(before, **bodies.fields_of(wish.body)))
    return clerk.register.miners[before.id]


def _enter_centre(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.enter_centre(Centre(**bodies.fields_of(wish.body)))
    return clerk.register.centre(wish.body.code)


def _change_centre(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.change_centre(Centre(code=wish.key, **bodies.fields_of(wish.body)))
    return clerk.register.centre(wish.key)


# Licences


def _enter_licence(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    miner = _miner_of(clerk, wish.body.account)
    licence = Licence(miner_id=miner.id, **bodies.fields_of(wish.body, "account"))
    clerk.enter_licence(licence)
    return licence


def _correct_licence(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    before = clerk.register.licence(wish.key)
    clerk.correct_licence(
        Licence(number=before.number, miner_id=before.miner_id, **bodies.fields_of(wish.body))
    )
    return clerk.register.licence(wish.key)


def _act_on_licence(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    return clerk.act_on_licence(wish.key, Act(**bodies.fields_of(wish.body)))


# Hardware units


def _device_of(clerk: Clerk, number: str, body: bodies.DeviceChange) -> Device:
    miner = _miner_of(clerk, body.account)
    fields = bodies.fields_of(body, "account", "registry_number")
    return Device(registry_number=number, miner_id=miner.id, **fields)


def _enter_device(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    device = _device_of(clerk, wish.body.registry_number, wish.body)
    clerk.enter_device(device)
    return device


def _change_device(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.register.device(wish.key)
    device = _device_of(clerk, wish.key, wish.body)
    clerk.change_device(device)
    return device


def _exclude_device(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.exclude_device(wish.key, wish.body.on)
    return clerk.register.device(wish.key)


def _transfer_device(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    before = clerk.register.device(wish.key)
    given = {
        name: value for name, value in bodies.fields_of(wish.body, "account").items() if value is not None
    }
    miner = _miner_of(clerk, wish.body.account)
    clerk.change_device(msgspec.structs.replace(before, miner_id=miner.id, **given))
    return clerk.register.device(wish.key)


# Addresses


def _enter_address(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    miner = _miner_of(clerk, wish.body.account)
    fields = bodies.fields_of(wish.body, "account")
    return clerk.enter_address(PayoutAddress(miner_id=miner.id, number=0, effective_us=0, **fields))


def _withdraw_address(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    if wish.key not in clerk.register.addresses:
        raise UnknownRecord(f"address {wish.key[:40]!r}: there is none with this key; /addresses lists all")
    clerk.withdraw_address(wish.key)
    return clerk.register.addresses[wish.key]


# The pool's own data


def _put_accreditation(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.put_accreditation(Accreditation(number=wish.key, **bodies.fields_of(wish.body)))
    return clerk.register.accreditations[wish.key]


def _put_site(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.put_site(Site(code=wish.key, **bodies.fields_of(wish.body)))
    return clerk.register.sites[wish.key]


def _enter_protocol(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.put_protocol(TestProtocol(**bodies.fields_of(wish.body)))
    return clerk.register.protocols[wish.body.number]


def _put_requirement(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    clerk.put_requirement(Requirement(code=wish.key, **bodies.fields_of(wish.body)))
    return clerk.register.requirements[wish.key]


# Two pairs of eyes


def _proposal_of(clerk: Clerk, key: str) -> Proposal:
    proposal = clerk.register.proposals.get(int(key)) if key.isdecimal() and len(key) <= 18 else None
    if proposal is None:
        raise UnknownRecord(f"proposal {key[:40]!r}: there is none with this number; /proposals lists all")
    return proposal


def _approve(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    proposal = _proposal_of(clerk, wish.key)
    clerk.approve(proposal.id)
    return clerk.register.proposals[proposal.id]


def _reject(clerk: Clerk, wish: Wish) -> msgspec.Struct:
    proposal = _proposal_of(clerk, wish.key)
    if wish.actor.role is not Role.COMPLIANCE and wish.actor.name != proposal.actor:
        raise PersonError(
            f"proposal {proposal.id}: is {proposal.actor}'s; the role {wish.actor.role} takes back its own"
        )
    clerk.reject(proposal.id)
    return clerk.register.proposals[proposal.id]


ROUTES = (
    Route("POST", "/miners", "miner", bodies.NewMiner, _enter_miner, "Enter a miner"),
    Route("PUT", "/miners/{key}", "miner", bodies.MinerChange, _change_miner, "Change a miner"),
    Route("POST", "/centres", "centre", bodies.NewCentre, _enter_centre, "Enter a data centre"),
    Route(
        "PUT", "/centres/{key:path}", "centre", bodies.CentreChange, _change_centre, "Change a data centre"
    ),
    Route(
        "POST",
        "/licences",
        "licence",
        bodies.NewLicence,
        _enter_licence,
        "Enter a licence",
        STANDING_KINDS,
        may_propose=True,
    ),
    Route(
        "PUT",
        "/licences/{key:path}",
        "licence",
        bodies.LicenceChange,
        _correct_licence,
        "Correct a licence that was entered wrongly, its acts included",
        STANDING_KINDS,
        may_propose=True,
    ),
    Route(
        "POST",
        "/licences/{key:path}/acts",
        "licence",
        bodies.NewAct,
        _act_on_licence,
        "Suspend, resume, end or revoke a licence",
        may_propose=True,
    ),
    Route(
        "POST", "/devices", "device", bodies.NewDevice, _enter_device, "Enter a hardware unit", STANDING_KINDS
    ),
    Route(
        "PUT",
        "/devices/{key:path}",
        "device",
        bodies.DeviceChange,
        _change_device,
        "Change a hardware unit",
        STANDING_KINDS,
    ),
    Route(
        "POST",
        "/devices/{key:path}/exclude",
        "device",
        bodies.Exclusion,
        _exclude_device,
        "A hardware unit leaves the state register",
        STANDING_KINDS,
    ),
    Route(
        "POST",
        "/devices/{key:path}/transfer",
        "device",
        bodies.Transfer,
        _transfer_device,
        "A hardware unit goes to another miner",
        STANDING_KINDS,
    ),
    Route(
        "POST",
        "/addresses",
        "address",
        bodies.NewAddress,
        _enter_address,
        "Enter an address to be paid to; a later one of its purpose waits before it holds",
        may_propose=True,
    ),
    Route(
        "POST",
        "/addresses/{key}/withdraw",
        "address",
        bodies.Change,
        _withdraw_address,
        "An address is not to be used",
    ),
    Route(
        "PUT",
        "/accreditations/{key:path}",
        "accreditation",
        bodies.AccreditationChange,
        _put_accreditation,
        "Enter or change an accreditation of the pool",
    ),
    Route(
        "PUT",
        "/sites/{key:path}",
        "site",
        bodies.SiteChange,
        _put_site,
        "Enter or change a site of the pool",
    ),
    Route("POST", "/protocols", "protocol", bodies.NewProtocol, _enter_protocol, "Enter a test protocol"),
    Route(
        "PUT",
        "/requirements/{key:path}",
        "requirement",
        bodies.RequirementChange,
        _put_requirement,
        "Enter or change a requirement of the accreditation Rules, or its evidence",
    ),
    Route(
        "POST",
        "/proposals/{key}/approve",
        "proposal",
        bodies.Change,
        _approve,
        "Make a proposed change",
        STANDING_KINDS,
    ),
    Route(
        "POST",
        "/proposals/{key}/reject",
        "proposal",
        bodies.Change,
        _reject,
        "Turn a proposal down, or take back one's own",
    ),
)
