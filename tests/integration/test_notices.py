"""What becomes a notice: each thing that happened, once, and nothing of long before."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from pool import register_store
from pool.notices import store
from pool.notices.notice import Draft, Notice
from pool.reports import build_report
from register.clerk import Clerk, Terms
from register.licence import Act
from register.payout_address import PayoutAddress
from tests.conftest import Furnish
from tests.integration.entering import TESTER, made_up_address
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.notice_world import HOUR, desk_of, events, settled
from tests.integration.paid_world import confirm, lose, mature, mine, reserve, send
from tests.integration.web_world import PUBLISHER


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("settled", settled)
    return "settled"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("settled", settled))
    return made


async def pages(world: World, miner_id: int, language: str = "en") -> tuple[Notice, ...]:
    async with world.engine.connect() as connection:
        return await store.for_miner(connection, miner_id, 50, language)  # type: ignore[arg-type]


async def test_an_old_database_does_not_send_its_years(world: World) -> None:
    await mine(world)
    world.now_us += 5 * HOUR
    desk = desk_of(world)
    await desk.tick()
    assert await events(world) == []
    await mine(world)
    await desk.tick()
    assert await events(world) == ["block_found", "block_confirmed"]


async def test_a_new_database_tells_of_its_first_hour(world: World) -> None:
    await mine(world)
    await desk_of(world).tick()
    assert await events(world) == ["block_found", "block_confirmed"]


async def test_everything_is_told_once_whoever_looks_and_how_often(world: World) -> None:
    desk = desk_of(world)
    await desk.tick()
    found = await mine(world)
    for looking in (desk, desk, desk_of(world), desk_of(world)):
        await looking.tick()
    assert await events(world) == ["block_found", "block_confirmed"]
    row = (await world.rows("SELECT subject, text, miner_id, audience FROM notice ORDER BY id"))[0]
    assert row[0] == "Block 1 found"
    assert f"miner1.a found block 1, {found.block_hash}: 50.00000001 BTC" in str(row[1])
    assert row[2:] == (1, "both")


async def test_what_was_read_and_not_kept_is_read_again(world: World) -> None:
    """Notices and the place in the source are stored together, or not at all."""
    desk = desk_of(world)
    await desk.tick()
    await mine(world)
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE notice ADD CONSTRAINT never CHECK (kind <> 'block')"))
        await store.add(connection, [Draft(1, "alarm", "alarm_resolved", "info", "k", ALARM)], world.now_us)
    world.now_us += 60_000_000
    await write(world, lambda clerk: clerk.act_on_licence("L-miner2", Act("revoked", "C-1", DAY)))
    with capture_logs() as said:
        await desk.tick()
        await desk.tick()
    assert [(one["event"], one["source"]) for one in said] == [("notice_source_failed", "block")]
    assert await events(world) == ["alarm_resolved", "licence_revoked"], "the other sources go on"
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE notice DROP CONSTRAINT never"))
    await desk.tick()
    assert (await events(world))[2:] == ["block_found", "block_confirmed"]


async def test_a_block_that_leaves_the_chain_and_one_that_matures(world: World) -> None:
    desk = desk_of(world)
    await desk.tick()
    await mine(world)
    world.node.reorganise(1)
    await world.work()
    await mine(world)
    await mature(world)
    await desk.tick()
    assert await events(world) == [
        *("block_found", "block_confirmed", "block_orphaned"),
        *("block_found", "block_confirmed", "block_mature"),
    ]
    assert [one.severity for one in await pages(world, 1)] == ["info", "warning", "info"]


async def test_a_payout_is_told_to_the_operator_and_each_payment_to_its_miner(world: World) -> None:
    await mine(world, 1, {2: 1})
    await mature(world)
    desk = desk_of(world)
    world.now_us += 2 * HOUR
    await desk.tick()
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    await confirm(world, number, amounts)
    await lose(world, number)
    await desk.tick()
    assert await events(world) == ["payout_sent", "payout_confirmed", "payout_reversed"]
    mine_, other = await pages(world, 1), await pages(world, 2, "ru")
    assert [one.kind for one in mine_] == ["payout"] * 3
    assert mine_[-1].subject == "0.01000000 BTC are on their way"
    assert f"0.02000000 BTC отправлены на {made_up_address('miner2')}" in other[-1].text
    assert await pages(world, 3) == ()


async def test_a_payout_that_waits_is_told_once_a_day_for_each_trouble(world: World) -> None:
    await mine(world)
    await mature(world)
    desk = desk_of(world, by_hand=True)
    world.now_us += 2 * HOUR
    await desk.tick()
    number = await reserve(world, {1: 1_000_000})
    notes = [
        ("the wallet lacks 5 satoshis, of 10", None),
        ("drafted, fee 7 satoshis", 1),
        ("the wallet lacks 5 satoshis, of 11", None),
        ("signer: does not answer", None),
    ]
    async with world.engine.begin() as connection:
        for note, version in notes:
            await connection.execute(
                sa.text(
                    "INSERT INTO payout_event (payout_id, at_us, state, version, actor, note)"
                    " VALUES (:payout, :at, 'reserved', :version, 'settler', :note)"
                ),
                {"payout": number, "at": world.now_us, "version": version, "note": note},
            )
    await desk.tick()
    assert await events(world) == ["payout_waits", "payout_to_sign", "payout_waits"]
    told = await world.rows("SELECT text FROM notice WHERE event = 'payout_waits' ORDER BY id")
    assert "the wallet lacks 5 satoshis, of 10" in str(told[0])


async def write(world: World, change: object) -> None:
    terms = Terms(RULES, "regtest")
    async with register_store.writing(
        world.engine, terms, TESTER, "for a test", now_us=lambda: world.now_us
    ) as clerk:
        change(clerk)  # type: ignore[operator]


async def test_acts_on_a_licence_and_an_address_that_waits(world: World) -> None:
    desk = desk_of(world)
    await desk.tick()

    def suspend(clerk: Clerk) -> None:
        clerk.act_on_licence("L-miner1", Act("suspended", "D-1", DAY, 3, dt.date(2027, 2, 23)))

    def resume(clerk: Clerk) -> None:
        clerk.act_on_licence("L-miner1", Act("resumed", "D-2", DAY))

    def revoke(clerk: Clerk) -> None:
        clerk.act_on_licence("L-miner2", Act("revoked", "C-1", DAY))

    def take_over(clerk: Clerk) -> None:
        clerk.enter_address(PayoutAddress(3, 0, "wallet", made_up_address("thief"), 0))

    for change in (suspend, resume, revoke, take_over):
        world.now_us += 60_000_000
        await write(world, change)
    await desk.tick()
    assert await events(world) == [
        *("licence_suspended", "licence_resumed", "licence_revoked", "address_waiting")
    ]
    kazakh = await pages(world, 1, "kk")
    assert kazakh[1].text.startswith("miner1: лицензияның қолданысын тоқтата тұру: L-miner1, 2026 ж. 24 қар")
    (warned,) = await pages(world, 3)
    assert made_up_address("thief") in warned.text
    assert re.match(r"From 2026-11-\d\d \d\d:\d\d\+05:00 you are paid to ", warned.text)
    assert warned.subject == "A new payout address of yours waits"
    assert "dmpool" not in warned.text


async def test_reports_are_told_when_they_are_built_corrected_and_late(world: World) -> None:
    await mine(world)
    desk = desk_of(world)
    await desk.tick()
    world.now_us += 26 * HOUR
    await desk.tick()
    await build_report(world.engine, DAY, PUBLISHER, world.now_us, unfinished=True)
    world.now_us += HOUR
    await desk.tick()
    await desk.tick()
    assert (await events(world))[2:] == ["report_late", "report_built"]
    late = world.share(1, at_us=world.now_us - 26 * HOUR)
    await world.tell(late)
    await world.work()
    await build_report(world.engine, DAY, PUBLISHER, world.now_us, reason="a gateway was cut off")
    await desk.tick()
    assert (await events(world))[4:] == ["report_corrected"]
    text = (await world.rows("SELECT text FROM notice WHERE event = 'report_late'"))[0][0]
    assert "The daily report of November 24, 2026 could have been built for" in str(text)


async def test_ids_become_visible_in_order(world: World) -> None:
    """Who adds holds the lock until its end: whoever reads on from an id misses nothing."""

    def draft(key: str) -> Draft:
        return Draft(world.now_us, "alarm", "alarm_resolved", "info", key, ALARM)

    async with world.engine.connect() as first, world.engine.connect() as second:
        await store.add(first, [draft("a")], world.now_us)
        await second.execute(sa.text("SET lock_timeout = '50ms'"))
        with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
            await store.add(second, [draft("b")], world.now_us)
        await second.rollback()
        assert await store.add(first, [draft("a"), draft("c"), draft("c")], world.now_us) == 1
        await first.commit()
    assert [key for (key,) in await world.rows("SELECT key FROM notice ORDER BY id")] == ["a", "c"]


ALARM = {"name": "NoJob", "summary": "no job", "labels": json.dumps({})}


async def test_what_was_told_stays_and_what_was_sent_stays_sent(world: World) -> None:
    async with world.engine.begin() as connection:
        await store.add(connection, [Draft(1, "alarm", "alarm_resolved", "info", "k", ALARM)], 1)
        await connection.execute(
            sa.text("INSERT INTO notice_delivery (notice_id, channel, created_us, state) "
                    "SELECT id, 'ops', 1, 'sent' FROM notice")
        )  # fmt: skip
        await store.reach(connection, "block", 5)
    for statement, refusal in (
        ("UPDATE notice_delivery SET state = 'waiting'", "what was sent stays sent"),
        ("DELETE FROM notice_delivery", "append-only"),
        ("UPDATE notice_place SET reached = 4", "refused to go back"),
        ("DELETE FROM notice", "append-only"),
    ):
        with pytest.raises(sa.exc.DBAPIError, match=refusal):
            async with world.engine.begin() as connection:
                await connection.execute(sa.text(statement))
