"""The newer parts of a report out of PostgreSQL: hardware that worked, payments, what was seen, hours."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pool import archive, register_store
from pool.log_store import newest_of
from pool.reports import build_report, list_reports
from pool.software import software_digest
from pool.tables_daily import worker_seen
from register.pool_data import Accreditation, Site, TestProtocol
from register.sighting import Seen, Sighting, SightingKind
from reporting import signing
from reporting.daily_first import in_first_schema
from reporting.verify import verify
from tests.integration.ledger_world import DAY, NOON, RULES, UNITS, World
from tests.integration.paid_world import confirm, lose, mature, mine, reserve, send
from tests.integration.test_reports import HOUR, KEY, NEXT_DAY, PUBLISHER, a_day, content, officer

ONE = dt.timedelta(days=1)
START, END = RULES.day_bounds(DAY)


async def report(world: World, day: dt.date = DAY, at_us: int = NEXT_DAY) -> dict[str, Any]:
    """A day's report, which verifies."""
    envelope = await build_report(world.engine, day, PUBLISHER, at_us)
    assert [check for check in verify(envelope, KEY.public_key) if not check.passed] == []
    return content(envelope)


async def close(world: World, directory: Path) -> None:
    """The archive closes what is over."""
    while await archive.close_next(world.engine, directory, world.now_us):
        pass


async def test_o07_units_that_worked_are_known_whatever_they_were_called(world: World) -> None:
    """By worker name or registry number, once each; a name that is no unit of the day is told apart."""
    await world.tell(world.share(1, "rig1"), world.share(1, "rig1"), world.share(1, "miner1-RIG2"))
    await world.tell(world.share(1, "RIG1"), world.share(2, "rig7"), world.share(2, "stranger"))
    await world.tell(world.share(2, "rig8", at_us=START - 1), world.share(3, "rig9", at_us=END))
    await world.work()
    async with officer(world, NOON + HOUR) as clerk:
        clerk.exclude_device("miner2-rig7", DAY)
    told = await report(world)
    first, second, third = told["miners"]
    units = len(UNITS)
    assert (first["devices_registered"], first["devices_active"], first["workers_unmatched"]) == (units, 2, 0)
    assert (second["devices_registered"], second["devices_active"], second["workers_unmatched"]) == (
        *(units - 1, 0),
        2,
    )
    assert (third["devices_active"], third["workers_unmatched"], third["first_share_at"]) == (0, 0, None)
    assert first["data_centre_ids"] == ["miner1-dc"]
    assert first["first_share_at"] == first["last_share_at"] == "2026-11-24T12:00:00.000000+05:00"
    assert [row for row in told["compliance"] if row["kind"] == "devices"] == [
        {
            "kind": "devices",
            "miner_id": 2,
            "account": "miner2",
            "action": "excluded",
            "count": 1,
            "at": None,
        }
    ]


async def test_a_name_is_written_once_by_a_ledger_and_read_once_of_two(world: World) -> None:
    for _ in range(3):
        await world.tell(world.share(1, "rig1"), world.share(2, "rig1"))
        await world.work()
    count = sa.select(sa.func.sum(sa.func.cardinality(worker_seen.c.workers)))
    async with world.engine.connect() as connection:
        assert await connection.scalar(count) == 2
    world.ledger = world.new_ledger()  # another process, which does not know what was written
    await world.tell(world.share(1, "rig1"))
    await world.work()
    async with world.engine.connect() as connection:
        assert await connection.scalar(count) == 3
    assert [row["devices_active"] for row in (await report(world))["miners"]] == [1, 1, 0]


async def test_days_before_the_names_were_kept_say_that_they_are_not_known(world: World) -> None:
    await world.tell(world.share(1, "rig1"))
    await world.work()
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        later = {"day": DAY + ONE}
        await connection.execute(sa.text("UPDATE report_base SET workers_from = :day"), later)
    told = await report(world)
    assert [row["devices_active"] for row in told["miners"]] == [None, None, None]
    assert told["totals"]["devices_registered"] == 3 * len(UNITS)


async def test_what_the_register_and_the_gateways_saw_of_the_day(world: World) -> None:
    """O-03, O-12, O-20 to O-23."""
    async with officer(world, NOON - 24 * HOUR) as clerk:
        clerk.put_accreditation(Accreditation("A-1", dt.date(2026, 1, 15), issuer="the ministry"))
        clerk.put_site(Site("aqtau", "Aqtau, 2", "KZ", ("backup",)))
        clerk.put_protocol(TestProtocol("P-1", dt.date(2026, 2, 1), "STS", "0.1.0", software_digest()))
    async with officer(world, NOON) as clerk:
        clerk.withdraw_address("2.1")
    seen = Sighting(SightingKind.REFUSED, DAY, 3, "rig1", NOON, "no_licence")
    await register_store.add_sightings(world.engine, [Seen(seen, NOON + 5, 2)])
    told = await report(world)
    assert told["pool"]["accreditation"]["number"] == "A-1"
    assert told["pool"]["sites"] == [
        {"code": "aqtau", "roles": ["backup"], "address": "Aqtau, 2", "country": "KZ"}
    ]
    assert told["pool"]["security_test_protocol"]["covers_running_version"] is True
    rows = {row["kind"]: row for row in told["compliance"]}
    assert sorted(rows) == ["address", "authorisation_refused"]
    assert (rows["address"]["action"], rows["address"]["account"]) == ("withdrawn", "miner2")
    assert (rows["authorisation_refused"]["reason"], rows["authorisation_refused"]["count"]) == (
        *("no_licence",),
        2,
    )
    events = await world.rows(f"SELECT count(*), max(seq) FROM register_event WHERE at_us < {END}")
    assert told["register"]["events"] == 1
    assert told["register"]["seq"] == events[0][1]


async def test_o32_a_payment_heard_of_after_midnight_and_one_that_is_taken_back(world: World) -> None:
    """Q-07: the row is of the day of its block, the booking is told where it was made; nothing is lost."""
    await mine(world, 1, {2: 1})
    await mature(world)
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    txid = await send(world, number)
    first = await report(world, at_us=END + HOUR // 2)
    assert (first["distributions"], first["bookings_apart"]) == ([], [])
    world.now_us = END + HOUR
    await confirm(world, number, amounts)
    second = await report(world, at_us=END + HOUR)
    assert second["version"] == 2
    assert [(row["txid"], row["quantity_sat"], row["booked_on"]) for row in second["distributions"]] == [
        (txid, 1_000_000, "2026-11-25"),
        (txid, 2_000_000, "2026-11-25"),
    ]
    assert [row["credited_on"] for row in second["distributions"]] == ["2026-11-24"] * 2
    next_day = await report(world, DAY + ONE, END + 25 * HOUR)
    assert next_day["distributions"] == []
    assert [(row["what"], row["quantity_sat"], row["counts_for"]) for row in next_day["bookings_apart"]] == [
        ("paid", 1_000_000, "2026-11-24"),
        ("paid", 2_000_000, "2026-11-24"),
    ]
    assert [row["paid_sat"] for row in next_day["miners"]] == [1_000_000, 2_000_000, 0]
    world.now_us = END + 26 * HOUR
    await lose(world, number)
    third = await report(world, at_us=END + 49 * HOUR)
    assert (third["version"], third["distributions"]) == (3, [])
    again = await report(world, DAY + ONE, END + 49 * HOUR)
    assert [row["counts_for"] for row in again["bookings_apart"]] == [None, None]
    last = await report(world, DAY + 2 * ONE, END + 49 * HOUR)
    assert [(row["what"], row["quantity_sat"], row["counts_for"]) for row in last["bookings_apart"]] == [
        ("taken_back", 1_000_000, "2026-11-24"),
        ("taken_back", 2_000_000, "2026-11-24"),
    ]
    assert [row["paid_sat"] for row in last["miners"]] == [-1_000_000, -2_000_000, 0]


async def test_i4_the_report_commits_to_the_closed_hours_of_its_day(world: World, tmp_path: Path) -> None:
    """A share stands in the hour at which the ledger took it, and in the day on which it was found."""
    await a_day(world)
    await world.tell(world.share(1))
    await world.work()
    open_hours = (await report(world))["commitments"]
    assert (open_hours["hours"], open_hours["hours_complete"]) == ([], False)
    world.now_us = NEXT_DAY
    await world.tell(world.share(2, at_us=NOON))
    await world.work()
    await close(world, tmp_path)
    told = await report(world)
    hours = told["commitments"]["hours"]
    assert told["commitments"]["hours_complete"] is True
    assert [row["hour"] for row in hours] == [
        "2026-11-24T07:00:00Z",
        "2026-11-24T08:00:00Z",
        "2026-11-24T09:00:00Z",
    ]
    assert sum(row["shares"] for row in hours) == told["totals"]["accepted_shares"] - 1
    assert [hours[0]["first_batch"], hours[0]["work_before"]] == [1, "0"]
    manifests = await world.rows("SELECT manifest_sha256, sha256 FROM archive_hour ORDER BY hour_us")
    assert [(row["manifest_sha256"], row["file_sha256"]) for row in hours] == manifests[:3]
    async with world.engine.connect() as connection:
        leaf = json.loads(await newest_of(connection, "report") or b"")
    newest = (await list_reports(world.engine))[-1]
    assert leaf["commitments"] == told["commitments"]
    assert (leaf["sha256"], leaf["day"], leaf["version"], leaf["sequence"]) == (
        *(newest.sha256, "2026-11-24"),
        2,
        2,
    )
    assert leaf["replaces_sha256"] == told["replaces_sha256"]


async def test_i7_reports_of_schema_1_stay_and_their_chain_goes_on(world: World) -> None:
    """A pool that upgrades: what was published is what is found, and the next one names it."""
    await a_day(world)
    made = json.loads(await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY))
    old = signing.sign(in_first_schema(made["report"]), [KEY])
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        change = sa.text("UPDATE report SET envelope = :envelope, sha256 = :sha256")
        values = {"envelope": signing.encode(old), "sha256": old["report_sha256"]}
        await connection.execute(change, values)
    again = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY + HOUR)
    assert again == signing.encode(old)
    assert [check for check in verify(again, KEY.public_key) if not check.passed] == []
    following = await report(world, DAY + ONE, NEXT_DAY + 24 * HOUR)
    assert following["previous_report_sha256"] == old["report_sha256"]
    await world.tell(world.share(1, at_us=NOON))
    await world.work()
    corrected = await report(world, at_us=NEXT_DAY + 24 * HOUR)
    assert (corrected["schema"], corrected["version"]) == ("kz-dmp-daily/2", 2)
    assert corrected["replaces_sha256"] == old["report_sha256"]
