"""Who the pool is and what it is verified with: `/.well-known/dmpool.json`, and the same for the portal.

Name, BIN, accreditation; the keys that sign reports and where their list is; the log with its name, keys and
witnesses; the verifier with its hash; the API. A program that knows only the pool's host finds everything
from here. Trust does not begin here: who checks a pool takes one key over another channel, once.

The log's own key is shown only when it has signed the newest checkpoint. The web role knows it from
`data_dir/keys/log.vkey`, the public half that the ledger writes, and needs no secret.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store, register_store, report_keys
from pool.clock import instant
from pool.config import Settings
from pool.door_files import PUBLIC, Shown, bytes_answer, described
from pool.door_verifier import FILE, verifier
from pool.log_keeper import log_vkey_file, origin
from pool.log_store import Signed
from pool.problems import AWAY
from pool.reading import reading
from pool.software import software_digest
from register.miner import LANGUAGES
from register.pool_data import Accreditation
from register.rules import Rules
from reporting.keyring import Key, KeyRing
from reporting.note import BIP340, NoteError, VerifierKey, parse_key, verified, verifier_key
from reporting.signing import encode

log = structlog.get_logger(__name__)

WELL_KNOWN: Final = "/.well-known/dmpool.json"
SCHEMA: Final = "dmpool-well-known/1"
VERIFIER_PATH: Final = f"/verifier/{FILE.name}"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    **described("Who the pool is, its keys, its log, its verifier (docs/regulator.md).", "application/json"),
    **AWAY,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """All of it, at one moment."""

    accreditation: Accreditation | None
    """In force today."""
    ring: KeyRing
    key: Key | None
    """The one to show where one is asked for."""
    in_force: Sequence[Key]
    origin: str
    """The log's name."""
    log_size: int
    signed: Signed | None
    vkeys: Sequence[VerifierKey]
    """Those that signed the newest checkpoint, the log's own first."""


async def read_identity(
    connection: AsyncConnection, settings: Settings, rules: Rules, now_us: int
) -> Identity:
    """What the database and `data_dir` say of the pool at an instant."""
    register = await register_store.load(connection, ("accreditation",))
    today = rules.day_of(now_us)
    held = [one for one in register.accreditations.values() if one.covers(today)]
    ring = await report_keys.read(connection)
    at = instant(now_us)
    signed = await log_store.newest_checkpoint(connection)
    return Identity(
        accreditation=max(held, key=lambda one: (one.issued_on, one.number), default=None),
        ring=ring,
        key=ring.principal(at),
        in_force=tuple(ring.in_force(at)),
        origin=origin(settings),
        log_size=await log_store.size(connection),
        signed=signed,
        vkeys=[] if signed is None else await asyncio.to_thread(_vkeys, settings, signed, ring),
    )


def _vkeys(settings: Settings, signed: Signed, ring: KeyRing) -> list[VerifierKey]:
    name = signed.checkpoint.origin
    known = [verifier_key(name, BIP340, bytes.fromhex(one.public_key)) for one in ring.keys.values()]
    path = log_vkey_file(settings)
    try:
        known.insert(0, parse_key(path.read_text("ascii").strip()))
    except FileNotFoundError:
        pass  # the log is signed on another machine, and its public half was not copied
    except (OSError, ValueError) as error:
        log.error(
            "log_vkey_unreadable",
            path=str(path),
            reason=str(error),
            explained="copy it from the machine that signs the log",
        )
    found = [key for key in known if key.name == name and _has_signed(key, signed)]
    return sorted(found, key=lambda key: key.type == BIP340)


def _has_signed(key: VerifierKey, signed: Signed) -> bool:
    try:
        return bool(verified(signed.note, [key]))
    except NoteError:
        return False


def document(told: Identity, settings: Settings, rules: Rules, now_us: int) -> dict[str, Any]:
    """What is published; addresses are whole where `door.public_url` is set, else paths of this host."""
    base = settings.door.public_url or ""
    held = told.accreditation
    return {
        "schema": SCHEMA,
        "pool": {
            "name": settings.pool.name,
            "bin": settings.pool.bin,
            "chain": settings.pool.chain,
            "accreditation": None
            if held is None
            else {
                "number": held.number,
                "issued_on": held.issued_on.isoformat(),
                "valid_to": None if held.valid_to is None else held.valid_to.isoformat(),
            },
            "timezone": rules.local(now_us).isoformat()[-6:],
        },
        "software": {"version": version("dmpool"), "digest": software_digest()},
        "report_keys": {
            "url": f"{base}/api/v1/keys",
            "head_sha256": told.ring.head,
            "in_force": [one.document() for one in told.in_force],
        },
        "log": {
            "origin": told.origin,
            "url": f"{base}/log",
            "checkpoint": f"{base}/log/checkpoint",
            "vkeys": [str(one) for one in told.vkeys],
            "witnesses": [{"name": one.name, "vkey": one.vkey} for one in settings.log.witnesses],
        },
        "verifier": {"url": f"{base}{VERIFIER_PATH}", "sha256": verifier()[1]},
        "api": {"url": f"{base}/api/v1", "openapi": f"{base}/openapi.json"},
        "portal": {one: f"{base}/portal/{one}/" for one in LANGUAGES},
    }


def identity_router(
    engine: AsyncEngine, settings: Settings, rules: Rules, now_us: Callable[[], int]
) -> APIRouter:
    """The route, to be put at the root."""
    router = APIRouter(tags=["pool"])

    @router.get(WELL_KNOWN, responses=_ANSWERS, response_class=Response, summary="Who the pool is")
    async def _well_known(request: Request) -> Response:
        at_us = now_us()
        async with reading(engine) as connection:
            told = await read_identity(connection, settings, rules, at_us)
        body = encode(document(told, settings, rules, at_us))
        tag = hashlib.sha256(body).hexdigest()
        shown = Shown("dmpool.json", "application/json", tag, headers=PUBLIC, inline=True)
        return bytes_answer(request, body, shown)

    return router
