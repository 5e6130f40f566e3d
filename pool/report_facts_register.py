"""What a day's report tells of the register: miners as they stood, the pool itself, hardware that worked.

The register is read as it stood when the day began, and lived through to its end: what a correction says in
the afternoon does not undo the morning. Hardware is counted by the database: a pool may have a hundred
thousand units, and the report names none. Reads only, all within the caller's snapshot.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import register_store
from pool.tables import register_event
from pool.tables_daily import report_base
from register.event import Event
from register.payout_address import address_at
from register.register import Register
from register.rules import Rules
from reporting.daily_compliance import KINDS, seen_rows
from reporting.daily_facts import Devices, Json, RegisterFacts
from reporting.standing import Held, Version, live_through

_STANDING: Final = ("miner", "licence", "address", "accreditation", "site", "protocol")
"""What a report tells of the register one by one."""
_CHUNK = 1000
_UNITS: Final = sa.text(
    """
    WITH newest AS (
        SELECT max(seq) AS seq FROM register_event WHERE kind = 'device' AND seq <= :seq GROUP BY key
    ), units AS (
        SELECT seq, unit.miner_id, unit.centre, lower(unit.worker) AS worker,
            lower(unit.registry_number) AS number
        FROM newest JOIN register_event USING (seq) CROSS JOIN LATERAL json_to_record(body::json) AS unit (
            miner_id int, registry_number text, worker text, centre text, included_on date, excluded_on date)
        WHERE unit.included_on <= :day AND coalesce(unit.excluded_on > :day, true)
    ), named AS (
        SELECT seq, miner_id, worker AS name FROM units UNION ALL SELECT seq, miner_id, number FROM units
    ), seen AS (
        SELECT DISTINCT miner_id, lower(worker) AS name
        FROM worker_seen CROSS JOIN unnest(workers) AS worker WHERE day = :day
    ), placed AS (
        SELECT miner_id, centre, count(*) AS units FROM units GROUP BY miner_id, centre
    ), registered AS (
        SELECT miner_id, sum(units) AS units, array_agg(centre) AS centres FROM placed GROUP BY miner_id
    ), worked AS (
        SELECT seen.miner_id, count(DISTINCT named.seq) AS active,
            count(*) FILTER (WHERE named.seq IS NULL) AS unmatched
        FROM seen LEFT JOIN named ON named.miner_id = seen.miner_id AND named.name = seen.name
        GROUP BY seen.miner_id
    )
    SELECT miner_id, coalesce(units, 0) AS units, coalesce(centres, '{}') AS centres,
        coalesce(active, 0) AS active, coalesce(unmatched, 0) AS unmatched
    FROM registered FULL JOIN worked USING (miner_id)
    """
)
"""By miner, the units registered on a day, where they stand, and which of them worked, as of an event."""


@dataclass(frozen=True, slots=True)
class Book:
    """The register of a day: miners as they stood, by id, and what else is told of it."""

    held: dict[int, Held]
    facts: RegisterFacts


async def read_book(connection: AsyncConnection, told: Collection[int], start_us: int, end_us: int) -> Book:
    """All miners that the register knew when the day ended, and any others that must be told of."""
    register = await register_store.load(connection, _STANDING, start_us)
    events = await _events(connection, register.seq, end_us)
    before = register.seq
    versions = live_through(register, events)
    held = {id_: _holding(register, id_, versions.get(id_, ()), end_us) for id_ in register.miners}
    late = set(told) - held.keys()  # entered later than a clock says they worked
    if late:
        now = await register_store.load(connection, _STANDING)
        for id_ in late & now.miners.keys():
            held[id_] = _holding(now, id_, [Version(one) for one in now.licences_of(id_)], end_us)
    head = await register_store.head(connection, end_us)
    return Book(
        held,
        RegisterFacts(
            accreditations=list(register.accreditations.values()),
            sites=list(register.sites.values()),
            protocols=list(register.protocols.values()),
            addresses=list(register.addresses.values()),
            events=[event for event in events if event.kind in KINDS],
            units=await _units_changed(connection, before, head.seq),
            count=head.seq - before,
            seq=head.seq,
            sha256=head.sha256,
        ),
    )


def _holding(register: Register, miner_id: int, versions: Sequence[Version], end_us: int) -> Held:
    wallet = address_at(register.addresses_of(miner_id), "wallet", end_us - 1)
    return Held(register.miners[miner_id], wallet, versions)


async def _events(connection: AsyncConnection, after: int, before_us: int) -> list[Event]:
    """What became of the register behind an event and before an instant."""
    found: list[Event] = []
    while chunk := await register_store.read_events(connection, after, _CHUNK, _STANDING):
        found += [event for event in chunk if event.at_us < before_us]
        after = chunk[-1].seq
        if chunk[-1].at_us >= before_us:
            break
    return found


async def _units_changed(connection: AsyncConnection, after: int, upto: int) -> dict[tuple[int, str], int]:
    """Events of hardware units by miner and action."""
    miner_id = sa.cast(sa.cast(register_event.c.body, JSONB)["miner_id"].astext, sa.Integer)
    rows = await connection.execute(
        sa.select(miner_id.label("miner_id"), register_event.c.action, sa.func.count().label("units"))
        .where(register_event.c.seq > after, register_event.c.seq <= upto, register_event.c.kind == "device")
        .group_by(miner_id, register_event.c.action)
    )
    return {(row.miner_id, row.action): row.units for row in rows}


async def devices(
    connection: AsyncConnection, day: dt.date, seq: int, miners: Iterable[int]
) -> dict[int, Devices]:
    """Of some miners, the units that are registered on a day and those that worked, as event `seq` left them.

    Which worked is not known of days before it was kept.
    """
    await connection.execute(sa.text("SET LOCAL work_mem = '64MB'"))  # else it sorts them on disk
    rows = {row.miner_id: row for row in await connection.execute(_UNITS, {"day": day, "seq": seq})}
    kept = day >= await workers_from(connection)
    none = Devices(0, 0 if kept else None, 0 if kept else None, ())
    return {
        id_: Devices(
            int(rows[id_].units),
            rows[id_].active if kept else None,
            rows[id_].unmatched if kept else None,
            rows[id_].centres,
        )
        if id_ in rows
        else none
        for id_ in miners
    }


async def workers_from(connection: AsyncConnection) -> dt.date:
    """The first day of which all names that worked are kept."""
    found: dt.date = (await connection.execute(sa.select(report_base.c.workers_from))).scalar_one()
    return found


async def salt_secret(connection: AsyncConnection) -> bytes:
    """What the salts of rows are made with."""
    return bytes((await connection.execute(sa.select(report_base.c.salt_secret))).scalar_one())


async def seen(connection: AsyncConnection, day: dt.date, rules: Rules, names: dict[int, str]) -> list[Json]:
    """What gateways and ledger saw on a day, as the report tells it; `names` are accounts by miner id."""
    return seen_rows(await register_store.sightings_of(connection, day, day), names, rules)


async def miners_seen(connection: AsyncConnection, day: dt.date) -> set[int]:
    """Of whom something was seen on a day."""
    return {one.sighting.miner_id for one in await register_store.sightings_of(connection, day, day)}
