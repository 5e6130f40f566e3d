"""The list of keys that sign reports, in PostgreSQL: read whole, added to one event at a time, never changed.

What an event may say is decided by `reporting.keyring`; here it is stored, with its leaf in the log, in one
transaction. Whoever signs or adds an event holds the log's lock until its transaction ends: a key that was
replaced signs nothing dated after that.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import rfc8785
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store
from pool.clock import microseconds
from pool.tables_report_keys import report_key_event
from register.rules import Rules
from reporting.keyring import Action, Json, KeyRing, signed
from reporting.signing import Signer, SigningError, sign

FIRST_REASON = "the first key of this pool's reports"
BESIDE_REASON = "named in [signing] when the first key was introduced"
_SYSTEM = "system"
_LEAF = ("action", "key_id", "public_key", "algorithm", "valid_from", "valid_to", "authorised_by", "reason")
"""What the log tells of an event, beside its hash."""


async def read(connection: AsyncConnection) -> KeyRing:
    """The ring, checked from its first event on; raises RingError where what is stored does not hold."""
    rows = await connection.scalars(sa.select(report_key_event.c.entry).order_by(report_key_event.c.seq))
    return KeyRing.of(msgspec.json.decode(entry) for entry in rows)


async def sign_report(
    connection: AsyncConnection, document: Mapping[str, Any], signers: Sequence[Signer]
) -> Json:
    """The envelope of a report, signed by each of `signers` whose key is in force when the report is made.

    That instant is its `generated_at`. The log's lock is taken; a REPEATABLE READ transaction calls
    `log_store.lock` before its first look at the database. Raises SigningError when no key is in force, one
    does not sign, or the report is dated before what became of the keys last: in the log it would stand
    behind that. Raises RingError where the stored list of keys does not hold.
    """
    await log_store.lock(connection)
    ring = await read(connection)
    at = dt.datetime.fromisoformat(document["generated_at"])
    may = {key.key_id for key in ring.in_force(at)}
    found = [signer for signer in signers if signer.key_id in may]
    if not found:
        raise SigningError(_nobody(ring, signers, at))
    if ring.newest_at is not None and at < ring.newest_at:
        raise SigningError(
            f"it is dated {at.isoformat()}, and the list of keys was changed after that, on "
            f"{ring.newest_at.isoformat()}: check the clock, and build it again"
        )
    return await asyncio.to_thread(sign, document, found)  # a program may take its time


async def spoiled(connection: AsyncConnection, envelope: bytes) -> bool:
    """Whether a report was signed by a key after the instant from which on it was revoked later (I7).

    It stays what it is; who asks for it to be built again gets a version that is signed by a key in force.
    """
    told = msgspec.json.decode(envelope)
    at = dt.datetime.fromisoformat(told["report"]["generated_at"])
    ring = await read(connection)
    keys = [ring.keys.get(one["key_id"]) for one in told["signatures"]]
    return any(key and key.revoked_from and at >= key.revoked_from for key in keys)


def _nobody(ring: KeyRing, signers: Sequence[Signer], at: dt.datetime) -> str:
    trusted = frozenset(ring.keys)
    here = "; ".join(str(ring.refusal(signer.key_id, at, trusted)) for signer in signers)
    others = ", ".join(key.key_id for key in ring.in_force(at)) or "none"
    return (
        f"no key at hand may sign: {here or 'there is none'}; in force: {others}. Restore the source of that "
        f"key in [signing], finish a rotation by `dmpool keys rotate`, or enter a key by `dmpool keys "
        f"introduce`"
    )


async def introduce_first(
    engine: AsyncEngine, rules: Rules, signers: Sequence[Signer], now_us: Callable[[], int]
) -> None:
    """Where there is no list of keys yet, begin it with the keys at hand; else nothing happens.

    The first is the anchor and vouches for the others. It is valid from the first report that it signed on: a
    pool that reported before there was a list goes on with its key.
    """
    async with engine.connect() as connection:
        if await connection.scalar(sa.select(sa.func.count()).select_from(report_key_event)):
            return
    async with engine.begin() as connection:
        await log_store.lock(connection)
        ring = await read(connection)
        if ring.entries or not signers:
            return
        at_us = now_us()
        signed_us = await _first_signature(connection, signers[0].public_key)
        for signer in signers:
            event = ring.draft(
                Action.INTRODUCED,
                signer.public_key,
                rules.local(at_us),
                BESIDE_REASON if ring.entries else FIRST_REASON,
                authorised_by=signers[0].key_id if ring.entries else None,
                valid_from=None if ring.entries else rules.local(min(at_us, signed_us or at_us)),
            )
            ring = await add(connection, ring, event, signers, _SYSTEM)


async def _first_signature(connection: AsyncConnection, public_key: str) -> int | None:
    """When the oldest report that names a key was made."""
    oldest = sa.text(
        "SELECT min(built_at) FROM report WHERE position(convert_to(:key, 'UTF8') IN envelope) > 0"
    )
    built_at = await connection.scalar(oldest, {"key": public_key})
    return None if built_at is None else microseconds(built_at)


async def add(
    connection: AsyncConnection, ring: KeyRing, event: Json, signers: Sequence[Signer], actor: str
) -> KeyRing:
    """Sign a drafted event, store it and tell the log; the ring with it.

    The caller holds the log's lock and read `ring` under it. Raises RingError or SigningError, and then
    nothing was stored.
    """
    entry = await asyncio.to_thread(signed, event, signers)  # a program may take its time
    after = ring.added(entry)
    at_us = microseconds(dt.datetime.fromisoformat(event["at"]))
    leaf = {name: event[name] for name in _LEAF} | {"event_sha256": entry["event_sha256"]}
    index = await log_store.append(connection, "key", leaf, at_us)
    await connection.execute(
        sa.insert(report_key_event).values(
            seq=event["seq"],
            at_us=at_us,
            action=event["action"],
            key_id=event["key_id"],
            actor=actor,
            entry=rfc8785.dumps(entry),
            sha256=entry["event_sha256"],
            previous_sha256=event["previous"],
            leaf_index=index,
        )
    )
    return after
