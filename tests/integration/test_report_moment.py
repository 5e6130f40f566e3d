"""When a report may be told: not before its day is over, and not before what is dated in it was stored."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts import journal
from payouts.journal import Posting
from pool import journal_store, log_store, register_store, report_keys
from pool.report_keeper import ReportKeeper
from pool.reports import ReportError, build_report, list_reports
from register.clerk import Terms
from register.miner import Miner
from reporting import signing
from reporting.keyring import Action
from reporting.signing import SigningKey
from tests.integration.entering import TESTER
from tests.integration.ledger_world import DAY, NOON, RULES, World
from tests.integration.test_reports import KEY, NEXT_DAY, PUBLISHER, a_day, content

END = RULES.day_bounds(DAY)[1]
SECOND = 1_000_000
HOUR = 3600 * SECOND
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@asynccontextmanager
async def building(world: World) -> AsyncIterator[asyncio.Task[bytes]]:
    """The report of the day, whose building waits for a lock that somebody holds."""
    task = asyncio.create_task(build_report(world.engine, DAY, PUBLISHER, NEXT_DAY + HOUR))
    await until_somebody_waits(world, task)
    yield task
    await task


async def until_somebody_waits(world: World, task: asyncio.Task[Any]) -> None:
    """Or the task ends, which should have waited."""
    async with asyncio.timeout(20):
        while not task.done() and await world.rows(_WAITING) == [(0,)]:
            await asyncio.sleep(0)


async def test_i7_a_day_that_is_over_is_never_told_as_unfinished(world: World) -> None:
    """Else it would count as told, whole, without what the ledger has not taken yet."""
    await world.tell(world.share(1, "rig1"))
    await world.work()
    await world.tell(world.share(2, "rig1"))
    async with world.engine.begin() as connection:
        late = "UPDATE batch SET received_at = '2026-11-24T18:59:59Z' WHERE position IS NULL"
        await connection.execute(sa.text(late))
    for at_us, said in (
        (END, "is not over in the books; wait until 2026-11-25 00:01:00"),
        (END + 59 * SECOND, "is not over in the books; wait until 2026-11-25 00:01:00"),
        (END + 60 * SECOND, "1 batches of shares from before its end are not in the ledger yet"),
        (END + 9 * HOUR, "1 batches of shares from before its end are not in the ledger yet"),
    ):
        with pytest.raises(ReportError, match=said):
            await build_report(world.engine, DAY, PUBLISHER, at_us, unfinished=True)
    assert await list_reports(world.engine) == []
    await world.work()
    whole = content(await build_report(world.engine, DAY, PUBLISHER, END + 9 * HOUR, unfinished=True))
    assert (whole["day_complete"], whole["totals"]["accepted_shares"]) == (True, 2)


async def test_i3_the_report_has_the_entry_that_was_being_booked(world: World) -> None:
    """Else the next day would open with other balances than this one closed with."""
    await a_day(world)
    async with world.engine.connect() as connection, connection.begin() as booking:
        at_us = await journal_store.next_instant(connection, NOON + 5 * HOUR)
        postings = [Posting(journal.COMMISSION_EARNED, 5), Posting(journal.miner_payable(1), -5)]
        entry = journal.correction(postings, "by hand")
        await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "officer")
        async with building(world) as task:
            await booking.commit()
    first = content(task.result())
    next_day = await build_report(world.engine, DAY + dt.timedelta(days=1), PUBLISHER, NEXT_DAY + 25 * HOUR)
    closed = {
        row["account"]: row["closing_sat"] for row in first["journal"]["accounts"] if row["closing_sat"]
    }
    opened = {row["account"]: row["opening_sat"] for row in content(next_day)["journal"]["accounts"]}
    assert closed == {account: amount for account, amount in opened.items() if amount}


async def test_i7_the_report_has_the_event_that_was_being_entered(world: World) -> None:
    terms = Terms(RULES, "regtest")
    before = (await world.rows("SELECT count(*) FROM register_event"))[0][0]
    writing = register_store.writing(world.engine, terms, TESTER, "late", now_us=lambda: END - 1)
    async with asyncio.timeout(30):
        clerk = await writing.__aenter__()
        clerk.enter_miner(Miner(0, "late", "Late LLP", "230440000105"))
        async with building(world) as task:
            await writing.__aexit__(None, None, None)
    told = content(task.result())
    assert told["register"]["seq"] == int(str(before)) + 1
    assert "late" in [row["account"] for row in told["miners"]]


async def test_a_report_is_dated_when_its_facts_are_read_and_not_before_it_waited(world: World) -> None:
    """An audit looks for the state that a report was made of around that instant."""
    await a_day(world)
    world.now_us = NEXT_DAY
    keeper = ReportKeeper(world.engine, RULES, lambda day: PUBLISHER, lambda: True, lambda: world.now_us)
    async with world.engine.connect() as connection, connection.begin() as booking:
        await journal_store.next_instant(connection, world.now_us)
        building = asyncio.create_task(keeper._build(DAY, "later data"))
        await until_somebody_waits(world, building)
        world.now_us += HOUR
        await booking.commit()
        await building
    told = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us))
    assert told["generated_at"] == RULES.local(NEXT_DAY + HOUR).isoformat(timespec="microseconds")


async def test_i7_nothing_is_signed_that_is_dated_before_the_newest_act_on_keys(engine: AsyncEngine) -> None:
    """In the log it would stand behind that act, and whoever reads the log would not believe it."""
    other = SigningKey(b"\x08" * 32)
    await report_keys.introduce_first(engine, RULES, [KEY], lambda: NOON)
    at = RULES.local(NEXT_DAY + 10)
    async with engine.begin() as connection:
        await log_store.lock(connection)
        ring = await report_keys.read(connection)
        event = ring.draft(Action.ROTATED, other.public_key, at, "yearly", authorised_by=KEY.key_id)
        await report_keys.add(connection, ring, event, [KEY, other], "officer")
    said = "the list of keys was changed after that, on 2026-11-25T12:00:00.000010.05:00: check the clock"
    with pytest.raises(ReportError, match=said):
        await build_report(engine, DAY, PUBLISHER, NEXT_DAY)
    with pytest.raises(ReportError, match="was replaced by"):
        await build_report(engine, DAY, PUBLISHER, NEXT_DAY + 10)


@pytest.mark.parametrize("reason", ["", "two\nlines", "\x1b[2J", "\udcff", "x" * 501])
async def test_i7_a_correction_has_a_reason_that_can_be_read(engine: AsyncEngine, reason: str) -> None:
    with pytest.raises(ReportError, match="reason: write it in one line of 1 to 500 characters"):
        await build_report(engine, DAY, PUBLISHER, NEXT_DAY, reason=reason)


async def test_a_number_that_no_json_carries_is_told_and_nothing_is_kept(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8785 ends at 2^53: such a day waits for a person, and the keeper says so."""

    def too_large(report: dict[str, Any], signers: object) -> bytes:
        return signing.encode({**report, "totals": 2**53})

    monkeypatch.setattr(report_keys, "sign", too_large)
    with pytest.raises(ReportError, match=r"report of 2026-11-24: cannot be signed: .*9007199254740992"):
        await build_report(engine, DAY, PUBLISHER, NEXT_DAY)
    assert await list_reports(engine) == []
