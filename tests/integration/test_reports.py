"""Daily reports from a real ledger: they verify, agree with SQL, chain, and never change."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import report_facts_register
from pool.database import refused
from pool.register_store import append, load
from pool.reports import Publisher, ReportError, build_report, get_report, list_reports
from register.centre import Centre
from register.clerk import Clerk, Terms
from register.licence import Licence
from register.miner import Miner
from reporting.daily import PoolFacts
from reporting.signing import SigningKey
from reporting.verify import verify
from tests.integration import entering
from tests.integration.entering import TESTER
from tests.integration.ledger_world import ADDRESS, BINS, DAY, NOON, RULES, World

KEY = SigningKey(b"\x07" * 32)
PUBLISHER = Publisher(
    PoolFacts(name="Test DMP LLP", bin=BINS[0], chain="regtest", address=ADDRESS, commission_bps=150),
    RULES,
    (KEY,),
    "0.1.0",
)
HOUR = 3_600_000_000
NEXT_DAY = NOON + 24 * HOUR


async def a_day(world: World) -> None:
    """Two blocks, one of them orphaned, the other mature; three miners; refused shares."""
    for _ in range(10):
        await world.tell(world.share(1), world.share(2, "b"), world.share(3), world.reject(2), world.share(2))
    for height, miner_id in ((1, 1), (2, 3)):
        share = world.share(miner_id)
        found = world.found(share, height=height)
        await world.tell(world.share(2), share, found, world.share(1))
        world.node.main.append(found.block_hash)
        await world.work()
        world.now_us += HOUR
    world.node.reorganise(2)
    world.node.grow(98)
    await world.work()


def content(envelope: bytes) -> dict[str, Any]:
    report = json.loads(envelope)["report"]
    assert isinstance(report, dict)
    return report


async def test_report_verifies_and_agrees_with_sql(world: World) -> None:
    """I2, I3, I7: to the satoshi."""
    await a_day(world)
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    checks = verify(envelope, KEY.public_key)
    assert [check for check in checks if not check.passed] == []
    report = content(envelope)
    assert report["day_complete"] is True
    assert {row["state"] for row in report["blocks"]} == {"mature", "orphaned"}
    for one in report["miners"]:
        work = await world.rows(f"SELECT sum(work), sum(shares) FROM slice WHERE miner_id = {one['id']}")
        assert [(int(one["work"]), one["accepted_shares"])] == work
        rejected = await world.rows(
            f"SELECT coalesce(sum(count), 0) FROM reject WHERE miner_id = {one['id']}"
        )
        assert [(one["rejected_shares"],)] == rejected
        matured = await world.rows(
            f"SELECT sum(amount_sat) FROM split JOIN block USING (hash) "
            f"WHERE split.miner_id = {one['id']} AND state = 'mature'"
        )
        assert [(one["matured_sat"],)] == matured
    assert report["totals"]["rejected_shares"] == 10
    balances = await world.balances()
    listed = {
        row["account"]: row["closing_sat"] for row in report["journal"]["accounts"] if row["closing_sat"]
    }
    assert listed == {account: abs(amount) for account, amount in balances.items()}


async def test_next_day_opens_as_the_day_closed(world: World) -> None:
    """I3: opening + in - out = closing, from day to day."""
    await a_day(world)
    world.now_us = NEXT_DAY
    share = world.share(2)
    found = world.found(share, height=100)
    world.node.main.append(found.block_hash)
    await world.tell(share, found)
    await world.work()
    first = content(await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY + 24 * HOUR))
    next_day = DAY + dt.timedelta(days=1)
    envelope = await build_report(world.engine, next_day, PUBLISHER, NEXT_DAY + 24 * HOUR)
    assert all(check.passed for check in verify(envelope, KEY.public_key))
    second = content(envelope)
    assert (
        second["journal"]["totals"]["assets"]["opening_sat"]
        == (first["journal"]["totals"]["assets"]["closing_sat"])
    )
    assert [row["hash"] for row in second["blocks"]] == [found.block_hash]
    assert second["previous_report_sha256"] == (await list_reports(world.engine))[0].sha256


async def test_same_facts_make_the_same_report(world: World) -> None:
    """I7."""
    await a_day(world)
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    later = Publisher(PUBLISHER.pool, RULES, (KEY,), "0.2.0")
    assert await build_report(world.engine, DAY, later, NEXT_DAY + HOUR) == envelope
    assert len(await list_reports(world.engine)) == 1
    assert await get_report(world.engine, DAY) == envelope


async def test_later_data_makes_a_version_that_names_the_old_one(world: World) -> None:
    """I7: a spool that was cut off delivers the day's shares afterwards."""
    await a_day(world)
    first = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    await world.tell(world.share(1, at_us=NOON))
    await world.work()
    second = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY + HOUR, reason="gateway was offline")
    assert all(check.passed for check in verify(second, KEY.public_key))
    report = content(second)
    assert (report["version"], report["correction_reason"]) == (2, "gateway was offline")
    assert report["replaces_sha256"] == json.loads(first)["report_sha256"]
    assert await get_report(world.engine, DAY, 1) == first
    assert await get_report(world.engine, DAY) == second
    assert [(one.sequence, one.version) for one in await list_reports(world.engine)] == [(1, 1), (2, 2)]


async def test_unfinished_day_is_told_only_when_asked_for_and_replaced(world: World) -> None:
    await a_day(world)
    with pytest.raises(ReportError, match="not over"):
        await build_report(world.engine, DAY, PUBLISHER, world.now_us)
    early = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us, unfinished=True))
    assert early["day_complete"] is False
    final = content(await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY))
    assert (final["day_complete"], final["version"]) == (True, 2)


async def test_i7_the_day_closes_a_minute_after_midnight(world: World) -> None:
    """I7: an entry dated before midnight may still be committing; the report waits for it."""
    end_us = RULES.day_bounds(DAY)[1]
    with pytest.raises(ReportError, match="not over"):
        await build_report(world.engine, DAY, PUBLISHER, end_us + 59_999_999)
    assert content(await build_report(world.engine, DAY, PUBLISHER, end_us + 60_000_000))["day_complete"]


async def test_day_to_come_is_refused(world: World) -> None:
    with pytest.raises(ReportError, match="is to come"):
        await build_report(world.engine, DAY, PUBLISHER, NOON - 24 * HOUR, unfinished=True)
    with pytest.raises(ReportError, match="is to come"):
        await build_report(world.engine, dt.date.max, PUBLISHER, NOON)


async def test_day_that_no_rule_tells_of_is_refused(world: World) -> None:
    with pytest.raises(ReportError, match="timezone says nothing of 1990-01-01"):
        await build_report(world.engine, dt.date(1990, 1, 1), PUBLISHER, NOON)


async def test_empty_pool_makes_a_report_that_verifies(engine: AsyncEngine) -> None:
    """No miner, no share, no block: the day is told all the same, with zeros."""
    envelope = await build_report(engine, DAY, PUBLISHER, NEXT_DAY)
    assert all(check.passed for check in verify(envelope, KEY.public_key))
    assert content(envelope)["totals"]["miners"] == 0


async def test_report_that_was_not_made_is_not_found(world: World) -> None:
    with pytest.raises(ReportError, match="reports build --date 2026-11-24"):
        await get_report(world.engine, DAY)


@asynccontextmanager
async def officer(world: World, at_us: int) -> AsyncIterator[Clerk]:
    """Who changes the register at an instant of the test's own, whatever the clock of the machine says."""
    async with world.engine.begin() as connection:
        clerk = Clerk(await load(connection), Terms(RULES, "regtest"), TESTER, "a slip", at_us)
        yield clerk
        await append(connection, clerk.events)


async def correct(world: World, at_us: int, name: str = "miner1", **fields: Any) -> None:
    """The licence of a miner is corrected at an instant."""
    async with officer(world, at_us) as clerk:
        right = msgspec.structs.replace(clerk.register.licences[f"L-{name}"], **fields)
        clerk.correct_licence(right)


def standing(report: dict[str, Any], account: str) -> list[tuple[str | None, str, str]]:
    """Licence, status and the time of day until which a miner stood so."""
    (row,) = (row for row in report["miners"] if row["account"] == account)
    return [(one["licence"], one["status"], one["until"][11:19]) for one in row["licence"]["standing"]]


async def test_i6_a_licence_corrected_in_the_afternoon_leaves_the_morning_lawful(world: World) -> None:
    await a_day(world)
    await correct(world, NOON + 3 * HOUR, valid_to=dt.date(2026, 10, 31))
    await correct(world, NOON + 4 * HOUR, "miner2", valid_from=dt.date(2026, 12, 1))
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    assert [check for check in verify(envelope, KEY.public_key) if not check.passed] == []
    report = content(envelope)
    assert standing(report, "miner1") == [
        ("L-miner1", "in_force", "15:00:00"),
        ("L-miner1", "ended", "00:00:00"),
    ]
    assert standing(report, "miner2") == [
        ("L-miner2", "in_force", "16:00:00"),
        ("L-miner2", "not_yet", "00:00:00"),
    ]
    assert standing(report, "miner3") == [("L-miner3", "in_force", "00:00:00")]
    assert report["miners"][0]["licence"]["valid_to"] == "2026-10-31"


async def test_i7_what_the_register_hears_after_the_day_makes_no_new_version(world: World) -> None:
    await a_day(world)
    end_us = RULES.day_bounds(DAY)[1]
    first = await build_report(world.engine, DAY, PUBLISHER, end_us + HOUR)
    await correct(world, end_us, valid_to=dt.date(2026, 10, 31))
    assert await build_report(world.engine, DAY, PUBLISHER, end_us + 2 * HOUR) == first
    await world.tell(world.share(1))
    await world.work()
    second = content(await build_report(world.engine, DAY, PUBLISHER, end_us + 3 * HOUR))
    assert second["version"] == 2
    assert second["miners"][0]["licence"] == content(first)["miners"][0]["licence"]


async def test_i6_work_after_the_day_of_the_correction_is_told(world: World) -> None:
    await correct(world, NOON - 24 * HOUR, valid_to=dt.date(2026, 10, 31))
    await world.tell(world.share(1))
    await world.work()
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    assert [row["worked_without_licence"] for row in content(envelope)["miners"]] == [True, False, False]
    told = [check.detail for check in verify(envelope, KEY.public_key) if "licence" in check.name]
    assert told == ["worked without a licence, as the report says: miner1"]


async def test_a_miner_entered_late_is_told_by_the_register_of_now_and_no_other_is(world: World) -> None:
    """A clock that is behind tells of work before the miner was entered."""
    await a_day(world)
    end_us = RULES.day_bounds(DAY)[1]
    await correct(world, end_us + 1000, valid_to=dt.date(2026, 10, 31))
    async with officer(world, end_us + 2000) as clerk:
        for name, number in (("late", "990140004654"), ("later", "061211600012")):
            miner = clerk.enter_miner(Miner(0, name, name, number))
            centre = Centre(f"{name}-dc", "hall", "Ekibastuz", number, name, "ownership", "deed")
            clerk.enter_centre(centre)
            clerk.enter_licence(Licence(f"L-{name}", miner.id, 1, DAY, DAY, dt.date(2028, 12, 31)))
    await world.tell(world.share(4, at_us=end_us - 1))
    await world.work()
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    assert [check for check in verify(envelope, KEY.public_key) if not check.passed] == []
    report = content(envelope)
    assert [row["account"] for row in report["miners"]] == ["miner1", "miner2", "miner3", "late"]
    assert standing(report, "late") == [("L-late", "in_force", "00:00:00")]
    assert standing(report, "miner1") == [("L-miner1", "in_force", "00:00:00")]
    assert report["miners"][0]["licence"]["valid_to"] == "2028-12-31"


async def test_a_late_block_pays_a_miner_who_was_entered_after_its_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I4, I7: its gateway was cut off for the night, and its window has work of this morning."""
    share = world.share(1)
    found = world.found(share)
    world.now_us = NEXT_DAY
    first = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us))
    monkeypatch.setattr(entering, "ENTERED_US", NEXT_DAY)
    late = await entering.enter_miner(world.engine, "newcomer", "990140004654")
    await world.tell(world.share(late.id))
    await world.work()
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    for day, at_us in ((DAY, NEXT_DAY), (DAY + dt.timedelta(days=1), NEXT_DAY + 24 * HOUR)):
        envelope = await build_report(world.engine, day, PUBLISHER, at_us, reason="a gateway was cut off")
        assert [check for check in verify(envelope, KEY.public_key) if not check.passed] == []
        report = content(envelope)
        (told,) = report["blocks"]
        assert {part["miner_id"] for part in told["miners"]} == {1, late.id}
        assert late.id in {one["id"] for one in report["miners"]}
    assert (len(first["blocks"]), first["version"]) == (0, 1)


async def test_a_day_of_many_changes_is_read_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_facts_register, "_CHUNK", 2)
    for minute in range(7):
        last = dt.date(2026, 10, 31) if minute % 2 else dt.date(2028, 12, 31 - minute)
        await correct(world, NOON + minute * 60_000_000, valid_to=last)
    await correct(world, NEXT_DAY, valid_to=dt.date(2026, 10, 31))
    report = content(await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY))
    turns = [f"12:0{minute}:00" for minute in range(1, 7)] + ["00:00:00"]
    assert standing(report, "miner1") == [
        ("L-miner1", "ended" if place % 2 else "in_force", until) for place, until in enumerate(turns)
    ]
    assert report["miners"][0]["licence"]["valid_to"] == "2028-12-25"


async def test_batches_that_wait_hold_up_the_report(world: World) -> None:
    await world.tell(world.share(1))
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("UPDATE batch SET received_at = '2026-11-24T18:59:59Z'"))
    with pytest.raises(ReportError, match="1 batches of shares"):
        await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)


async def test_builders_at_once_make_one_chain(world: World) -> None:
    """I7: the chain does not fork, and one set of facts is one report."""
    await a_day(world)
    days = [DAY, DAY, DAY, DAY - dt.timedelta(days=1), DAY - dt.timedelta(days=1)]
    envelopes = await asyncio.gather(*(build_report(world.engine, day, PUBLISHER, NEXT_DAY) for day in days))
    assert len(set(envelopes)) == 2
    kept = await list_reports(world.engine)
    chain = await world.rows("SELECT previous_sha256 FROM report ORDER BY sequence")
    assert [previous for (previous,) in chain] == [None, kept[0].sha256]


async def test_block_that_pays_nothing_and_block_of_nobody_are_reported(world: World) -> None:
    nobody = world.found(None, height=1)
    world.node.main.append(nobody.block_hash)
    await world.tell(nobody)
    share = world.share(1)
    poor = world.found(share, height=2, reward=0)
    world.node.main.append(poor.block_hash)
    await world.tell(share, poor)
    await world.work()
    envelope = await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    assert [check for check in verify(envelope, KEY.public_key) if not check.passed] == []
    assert len(content(envelope)["blocks"]) == 2


async def test_books_that_were_forced_make_no_report(world: World) -> None:
    """I3: the triggers refuse it; were they taken away, the builder still does."""
    await a_day(world)
    change = "UPDATE journal_posting SET amount = amount + 1 WHERE id = 1"
    with pytest.raises(sa.exc.DBAPIError) as caught:
        await execute(world, change)
    assert refused(caught.value)
    await execute(world, "ALTER TABLE journal_posting DISABLE TRIGGER USER", change)
    with pytest.raises(ReportError, match="sum to 1 satoshis"):
        await build_report(world.engine, DAY, PUBLISHER, NEXT_DAY)
    assert await list_reports(world.engine) == []


async def execute(world: World, *statements: str) -> None:
    async with world.engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))
