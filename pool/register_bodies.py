"""What a program sends to change the register over HTTP: the bodies of the requests, and how they are read.

Every body carries the `reason` of the change. Miners go by their account. A field that is unknown is an
error, so that a mistyped one is not taken for one left out. Whether the record may stand is the clerk's to
say (`register.clerk`); here only shapes are looked at.

A body is read only after it is known who sends it, and no further than its limit.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any, Final, Literal, TypeVar

import msgspec
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from register.licence import Act, ActKind
from register.miner import Contact, Language
from register.payout_address import Purpose
from register.pool_data import SiteRole

BODY_LIMIT: Final = 64 * 1024
BODY_SECONDS: Final = 30.0
"""A body that takes longer to come is given up."""


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every change says."""

    reason: str
    """Why; kept in the log of events with who asked for it."""


class MinerChange(Change, frozen=True, kw_only=True):
    """A miner as it is from now on; its account stays."""

    title: str
    bin: str
    language: Language = "en"
    contacts: tuple[Contact, ...] = ()
    payout_threshold_sat: int = 0


class NewMiner(MinerChange, frozen=True, kw_only=True):
    """A new miner."""

    name: str


class NewLicence(Change, frozen=True, kw_only=True):
    """A new licence."""

    number: str
    account: str
    subtype: Literal[1, 2]
    issued_on: dt.date
    valid_from: dt.date
    valid_to: dt.date
    issuer: str = ""


class NewAct(Change, frozen=True, kw_only=True):
    """A decision on a licence; `reason_code` and `until` belong to a suspension."""

    kind: ActKind
    number: str
    on: dt.date
    reason_code: int = 0
    until: dt.date | None = None


class LicenceChange(Change, frozen=True, kw_only=True):
    """A licence as it should have been entered; an act that stays carries its `entered_us`."""

    subtype: Literal[1, 2]
    issued_on: dt.date
    valid_from: dt.date
    valid_to: dt.date
    issuer: str = ""
    acts: tuple[Act, ...] = ()


class DeviceChange(Change, frozen=True, kw_only=True):
    """A hardware unit as it is from now on: what is left out is empty then."""

    account: str
    manufacturer: str
    model: str
    serial_number: str
    worker: str
    nominal_ghs: int
    nominal_w: int
    owner_bin: str
    centre: str
    included_on: dt.date
    excluded_on: dt.date | None = None
    place: str = ""
    contract: str = ""


class NewDevice(DeviceChange, frozen=True, kw_only=True):
    """A new hardware unit."""

    registry_number: str


class Exclusion(Change, frozen=True, kw_only=True):
    """The unit leaves the state register at 00:00 of that day."""

    on: dt.date


class Transfer(Change, frozen=True, kw_only=True):
    """The unit goes to another miner; what is left out stays."""

    account: str
    worker: str | None = None
    owner_bin: str | None = None
    centre: str | None = None
    place: str | None = None
    contract: str | None = None


class CentreChange(Change, frozen=True, kw_only=True):
    """A data centre as it is from now on; its code stays."""

    title: str
    address: str
    holder_bin: str
    holder_title: str
    legal_basis: Literal["ownership", "lease", "other"]
    document: str
    declared_power_kw: int = 0


class NewCentre(CentreChange, frozen=True, kw_only=True):
    """A new data centre."""

    code: str


class NewAddress(Change, frozen=True, kw_only=True):
    """An address to be paid to; the last three are those of an exchange deposit."""

    account: str
    purpose: Purpose
    address: str
    exchange: str = ""
    licensor: str = ""
    exchange_licence: str = ""


class AccreditationChange(Change, frozen=True, kw_only=True):
    """An accreditation of the pool as it is from now on."""

    issued_on: dt.date
    valid_to: dt.date | None = None
    issuer: str = ""


class SiteChange(Change, frozen=True, kw_only=True):
    """A site of the pool as it is from now on."""

    address: str
    country: str
    roles: tuple[SiteRole, ...]
    closed_on: dt.date | None = None


class NewProtocol(Change, frozen=True, kw_only=True):
    """A test protocol."""

    number: str
    on: dt.date
    laboratory: str
    version: str
    digest: str = ""


class RequirementChange(Change, frozen=True, kw_only=True):
    """A requirement as it is from now on."""

    text: str
    source: str
    met_on: dt.date | None = None
    evidence: str = ""
    evidence_sha256: str = ""


_Body = TypeVar("_Body", bound=Change)


def fields_of(body: Change, *left_out: str) -> dict[str, Any]:
    """The fields of the record: all but the reason, and those that are named."""
    values = msgspec.structs.asdict(body)
    return {name: value for name, value in values.items() if name not in ("reason", *left_out)}


async def read_body(request: Request, kind: type[_Body]) -> _Body:
    """The JSON body of a request; raises HTTPException 408, 413, 415 or 422."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != "application/json":
        raise HTTPException(415, f"content type {given[:40]!r}: send JSON as application/json")
    data = b"".join([chunk async for chunk in body_chunks(request, BODY_LIMIT, BODY_SECONDS)])
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HTTPException(422, f"body: {error}") from None


async def body_chunks(request: Request, limit: int, seconds: float) -> AsyncIterator[bytes]:
    """A body, piece by piece; raises HTTPException 408 or 413."""
    announced = request.headers.get("content-length", "0")
    size = int(announced) if announced.isdecimal() else 0
    too_large = HTTPException(
        413, f"the body has more than {limit} bytes; send less", {"Connection": "close"}
    )
    if size > limit:
        raise too_large
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large
                yield chunk
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {seconds:.0f} seconds") from None
