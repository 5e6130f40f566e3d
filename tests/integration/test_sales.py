"""The mandatory sale out of real PostgreSQL: paid and split payouts, the book of sales, and who is told."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.payout_plan import Due
from pool import archive_book, sale_book, sale_watch
from pool.database import create_engine
from pool.distributions import distributions
from pool.reading import DatabaseAway
from pool.sale_book import Writer
from pool.sale_metrics import SaleMetrics
from pool.sale_store import sale_facts
from pool.sale_watch import SaleWatch
from pool.tables_sale import sale_confirmation
from register.digest import NoteKind
from register.person import Actor, Person, PersonError, Role
from register.rules import Rules
from reporting.sale import Delivery, Json, SaleFacts, deliveries, measure, sale_rows
from reporting.sale_confirmation import Sale, SaleError, Told
from reporting.sale_period import Period, period_of
from tests.integration.entering import made_up_address
from tests.integration.ledger_world import DAY, NOON, RULES, World
from tests.integration.paid_world import confirm, lose, mature, mine, send
from tests.integration.register_site import TOKENS, enter_people, serving_register
from tests.integration.test_payout_facts import correct
from tests.integration.test_payout_facts import reserve as reserve_dues
from tests.register_world import rules_with
from tests.reporting.sale_world import sale, standing

OLEG = Actor("oleg", Role.OPERATOR)
ONE = dt.timedelta(days=1)
DAY_US = 86_400_000_000
STEPPE = "Steppe Exchange"
Q4 = Period("2026-Q4", dt.date(2026, 10, 1), dt.date(2026, 12, 31))
BY_CREDIT = rules_with(('date = "transfer"', 'date = "credited"'))


async def begun(connection: Any, now_us: int, actor: Actor = OLEG, reason: str = "by letter") -> Writer:
    return await Writer.begin(connection, actor, {}, reason, RULES, now_us)


async def enter(world: World, *sales: Sale) -> list[Told]:
    async with world.engine.begin() as connection:
        return await (await begun(connection, world.now_us)).enter(sales)


async def withdraw(world: World, seq: int) -> Told:
    async with world.engine.begin() as connection:
        return await (await begun(connection, world.now_us)).withdraw(seq)


async def pay(world: World, *parts: tuple[int, int, str]) -> int:
    """A payout that is in the chain: miner, satoshis, and the exchange or nothing for the miner's wallet."""
    dues = [
        Due(
            miner_id,
            "exchange_deposit" if exchange else "wallet",
            made_up_address(f"{miner_id}{exchange}"),
            b"\x00\x14" + bytes([miner_id] * 20),
            amount,
            0,
            7500 if exchange else None,
            exchange,
            f"L-miner{miner_id}",
            "in_force",
        )
        for miner_id, amount, exchange in parts
    ]
    async with world.engine.begin() as connection:
        for due in dues:
            await correct(connection, world, due.miner_id, due.amount_sat)
    number = await reserve_dues(world, dues)
    await send(world, number)
    await confirm(world, number, sums(parts), height=200 + number)
    return number


def sums(parts: Sequence[tuple[int, int, str]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for miner_id, amount, _ in parts:
        found[miner_id] = found.get(miner_id, 0) + amount
    return found


async def known(world: World, day: dt.date, rules: Rules = RULES) -> SaleFacts:
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        return await sale_facts(connection, rules, day)


async def rows(world: World, day: dt.date, rules: Rules = RULES) -> list[Json]:
    return sale_rows(await known(world, day, rules), rules, day)


def short(rows: Sequence[Json]) -> list[tuple[Any, ...]]:
    names = (
        "miner_id",
        "period",
        "mined_sat",
        "delivered_sat",
        "realised_sat",
        "sold_eligible_sat",
        "shortfall_sat",
    )
    return [tuple(one[name] for name in names) for one in rows]


async def test_o52_paid_and_split_payouts_against_what_is_said_to_be_sold(world: World) -> None:
    """Mined is what stands in the chain (Q-07), a deposit is no sale (Q-10); a day's report stays."""
    first = await pay(world, (1, 750_000, STEPPE), (1, 250_000, ""), (2, 400_000, ""))
    assert short(await rows(world, DAY)) == [
        (1, "2026-Q4", 1_000_000, 750_000, 0, 0, 750_000),
        (2, "2026-Q4", 400_000, 0, 0, 0, 300_000),
    ]
    assert await rows(world, DAY - ONE) == []
    (told,) = await enter(world, sale(1, DAY, 700_000))
    before = await rows(world, DAY)
    assert short(before)[0] == (1, "2026-Q4", 1_000_000, 750_000, 700_000, 700_000, 50_000)
    assert before[0]["confirmations"][0]["told_at"] == "2026-11-24T12:00:00+05:00"
    assert deliveries(await known(world, DAY), Q4) == [Delivery(1, STEPPE, 0, 750_000, 700_000)]

    world.now_us += DAY_US
    await pay(world, (2, 100_000, ""))
    await enter(world, sale(2, DAY, 900_000, "T-2", exchange="abroad", licensor=""))
    await withdraw(world, told.seq)
    assert await rows(world, DAY) == before
    assert short(await rows(world, DAY + ONE)) == [
        (1, "2026-Q4", 1_000_000, 750_000, 0, 0, 750_000),
        (2, "2026-Q4", 500_000, 0, 900_000, 0, 375_000),
    ]
    assert (await rows(world, DAY + ONE))[1]["confirmations"][0]["beyond_distributed"]

    await lose(world, first)  # a reorganisation: nothing was distributed by it, whatever the day
    assert short(await rows(world, DAY + ONE)) == [
        (1, "2026-Q4", 0, 0, 0, 0, 0),  # told once, so that no older row holds
        (2, "2026-Q4", 100_000, 0, 900_000, 0, 75_000),
    ]
    assert [one["miner_id"] for one in await rows(world, DAY + 2 * ONE)] == [2]
    # What the form of the same days tells is the same (O-32, O-60).
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        told_by_form = await distributions(connection, RULES, Q4.first, DAY + ONE)
    assert sum(one.quantity_sat for one in told_by_form) == 100_000


async def test_what_comes_late_is_told_of_the_quarter_it_is_of(world: World) -> None:
    """A block of 23:00 that is heard of after midnight, and a sale that is told of in January."""
    last = Q4.last
    world.now_us = RULES.day_bounds(last)[1] - 2 * 3_600_000_000
    await pay(world, (1, 1_000, ""))
    world.now_us += (
        3 * 3_600_000_000
    )  # 01:00 on 1 January; `confirm` gives blocks the time of two hours before
    number = await pay(world, (2, 500, ""))
    assert short(await rows(world, last)) == [
        (1, "2026-Q4", 1_000, 0, 0, 0, 750),
        (2, "2026-Q4", 500, 0, 0, 0, 375),
    ]
    assert short(await rows(world, last + ONE)) == [(2, "2026-Q4", 500, 0, 0, 0, 375)]
    world.now_us += 9 * DAY_US
    late = last + 10 * ONE
    (told,) = await enter(world, sale(1, last, 800))
    await pay(world, (1, 40, ""))
    assert short(await rows(world, late)) == [
        (1, "2026-Q4", 1_000, 0, 800, 800, 0),
        (1, "2027-Q1", 40, 0, 0, 0, 30),
    ]
    assert [one["period"] for one in await rows(world, late + ONE)] == ["2027-Q1"]
    world.now_us += 100 * DAY_US
    await withdraw(world, told.seq)
    await lose(world, number)
    today = RULES.day_of(world.now_us)
    assert short(await rows(world, today)) == [
        (1, "2026-Q4", 1_000, 0, 0, 0, 750),
        (2, "2026-Q4", 0, 0, 0, 0, 0),
    ]


async def test_q07_dated_by_credit_a_payment_counts_for_the_quarter_of_its_reward(world: World) -> None:
    """Over the year's end; with the alternative, what is paid in January was mined in December."""
    world.now_us = RULES.day_bounds(Q4.last)[0]
    found = await mine(world)
    world.now_us += DAY_US
    await mature(world)
    amount = 1_000_000
    due = Due(
        1,
        "wallet",
        made_up_address("1"),
        b"\x00\x14" + bytes(20),
        amount,
        0,
        None,
        "",
        "L-miner1",
        "in_force",
    )
    number = await reserve_dues(world, [due])
    await send(world, number)
    world.now_us += DAY_US
    await confirm(world, number, {1: amount})
    assert found.height == 1
    day = Q4.last + 2 * ONE
    assert short(await rows(world, day)) == [(1, "2027-Q1", amount, 0, 0, 0, 750_000)]
    assert short(await rows(world, day, BY_CREDIT)) == [(1, "2026-Q4", amount, 0, 0, 0, 750_000)]
    assert short(await rows(world, Q4.last, BY_CREDIT)) == [(1, "2026-Q4", amount, 0, 0, 0, 750_000)]


async def test_sums_of_before_are_what_the_days_would_have_been(world: World) -> None:
    """Facts from the previous quarter on, and from the beginning, make the same rows (I2)."""
    sold: list[Sale] = []
    for number, days in enumerate((0, 60, 127, 180, 240)):  # the third is the last of its quarter
        world.now_us = NOON + days * DAY_US
        on = RULES.day_of(world.now_us)
        await pay(world, (1, 100 + number, STEPPE if number % 3 else ""), (2, 7, ""))
        sold.append(
            sale(1 + number % 2, on, 60 * (1 + number % 2), f"T-{number}", exchange=f"{STEPPE}{number % 2}")
        )
        await enter(world, sold[-1])
    day = RULES.day_of(world.now_us)
    running = period_of(RULES, day)
    assert running is not None
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        usual = await sale_facts(connection, RULES, day)
        whole = await sale_facts(connection, RULES, day, dt.date(2009, 1, 3))
    assert {one.on >= usual.since for one in usual.got} == {True}
    assert usual.got_before
    assert usual.said_before
    assert (whole.got_before, whole.said_before) == ({}, {})
    assert (len(whole.got), len(whole.said)) == (10, 5)
    assert measure(usual, RULES, running) == measure(whole, RULES, running)
    assert sale_rows(usual, RULES, day) == sale_rows(whole, RULES, day)
    assert deliveries(usual, running) == deliveries(whole, running)
    world.now_us += DAY_US
    await withdraw(world, 1)
    assert await known(world, day) == usual
    later = await known(world, day + ONE)
    assert later.said_before != usual.said_before


# The book


async def test_one_trade_of_one_exchange_is_entered_once(world: World) -> None:
    """Whatever the spelling, under whatever account; what was withdrawn may be entered anew."""
    one = sale(1, DAY, 5)
    (told,) = await enter(world, one)
    other = msgspec.structs.replace
    with pytest.raises(
        SaleError, match=r"'T-1' of Steppe Exchange stands already as sale 1, just so; leave it out"
    ):
        await enter(world, one)
    for again in (
        other(one, miner_id=2, quantity_sat=6),
        other(one, exchange="STEPPE  exchange", licensor="", licence=""),
        other(one, exchange="Steppe Ltd"),
    ):
        with pytest.raises(SaleError, match=r"stands already as sale 1, with other values; put it right by"):
            await enter(world, again)
    with pytest.raises(SaleError, match="'T-2' of Steppe Exchange is given twice"):
        await enter(world, sale(1, DAY, 1, "T-2"), sale(2, DAY, 1, "T-2"))
    await enter(world, other(one, exchange="Other", licensor="", licence=""))
    await withdraw(world, told.seq)
    assert [told.seq for told in await enter(world, one)] == [4]


async def test_a_sale_is_put_right_and_taken_back_by_further_lines(world: World) -> None:
    """Each with its reason and writer. What SQL says of what stands is what the lines say, at any time."""
    await enter(world, sale(1, DAY, 5), sale(2, DAY, 7, "T-2"))
    world.now_us += 1_000
    async with world.engine.begin() as connection:
        writer = await begun(
            connection, world.now_us, Actor("aliya", Role.COMPLIANCE), "the exchange's statement"
        )
        right = await writer.correct(1, sale(1, DAY, 6))
        for seq, wrong, words in (
            (1, sale(1, DAY, 6), "sale 1 does not stand: line 3 replaces it"),
            (3, sale(1, DAY, 6), "sale 3 is just so already"),
            (3, sale(2, DAY, 6), "of another miner"),
            (3, sale(1, DAY, 6, "T-2"), "'T-2' of Steppe Exchange stands already as sale 2"),
            (3, sale(1, DAY + ONE, 6), "must be from 2009-01-03 to today"),
            (9, sale(1, DAY, 6), "there is no sale 9"),
        ):
            with pytest.raises(SaleError, match=words):
                await writer.correct(seq, wrong)
    assert (right.action, right.replaces, right.actor, right.role) == ("corrected", 1, "aliya", "compliance")
    world.now_us += 1_000
    gone = await withdraw(world, 2)
    assert (gone.seq, gone.sale.reference) == (4, "T-2")
    for seq in (2, 4):
        with pytest.raises(SaleError, match=f"sale {seq} does not stand"):
            await withdraw(world, seq)
    async with world.engine.connect() as connection:
        book = await sale_book.read(connection, all_=True)
        assert [one.reason for one in book] == ["by letter"] * 2 + ["the exchange's statement", "by letter"]
        assert await sale_book.read(connection) == standing(book) == [right]
        for one in book:
            until = [line for line in book if line.at_us < one.at_us]
            assert await sale_book.read(connection, before_us=one.at_us) == standing(until)
            assert await sale_book.read(connection, before_us=one.at_us, all_=True) == until


async def test_a_sale_is_not_put_right_into_another_that_stands(world: World) -> None:
    """Whichever was entered first: with one name or one licence for both, they are one trade."""
    licensed = sale(1, DAY, 5)
    bare = sale(1, DAY, 5, exchange="Steppe Ltd", licensor="")
    await enter(world, licensed, bare)
    other = msgspec.structs.replace
    for seq, one, clash in (
        (2, other(bare, licensor="AFSA", licence=licensed.licence), 1),
        (1, other(licensed, exchange=bare.exchange), 2),
        (2, other(bare, exchange=licensed.exchange), 1),
    ):
        with pytest.raises(SaleError, match=f"stands already as sale {clash}, with other values"):
            async with world.engine.begin() as connection:
                await (await begun(connection, world.now_us)).correct(seq, one)
    async with world.engine.begin() as connection:
        right = await (await begun(connection, world.now_us)).correct(2, other(bare, exchange="Steppe LLP"))
    assert right.replaces == 2


async def test_who_may_write_it(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        with pytest.raises(PersonError, match="the role auditor may not confirm sales"):
            await begun(connection, NOON, Actor("audit", Role.AUDITOR))
        people = {"oleg": Person("oleg", Role.OPERATOR, "ab" * 32, revoked=True)}
        with pytest.raises(PersonError, match="may not act as operator any more"):
            await Writer.begin(connection, OLEG, people, "by letter", RULES, NOON)
        with pytest.raises(SaleError, match="reason ''"):
            await begun(connection, NOON, reason="")


async def test_who_writes_at_once_waits_and_the_clock_never_goes_back(world: World) -> None:
    async def one(number: int) -> int:
        async with world.engine.begin() as connection:
            writer = await begun(connection, world.now_us - number)
            return (await writer.enter([sale(1, DAY, 1, f"T-{number}")]))[0].seq

    assert sorted(await asyncio.gather(*(one(number) for number in range(4)))) == [1, 2, 3, 4]
    instants = [at_us for (at_us,) in await world.rows("SELECT at_us FROM sale_confirmation ORDER BY seq")]
    assert instants == sorted(instants, key=str)


COPY = "INSERT INTO sale_confirmation SELECT {} FROM sale_confirmation WHERE seq = 1"


WRONG = (
    ({"seq": "9"}, "trade T-1 of Steppe Exchange stands already as 1"),
    ({"seq": "9", "action": "'withdrawn'", "replaces": "1", "miner_id": "2"}, "or is of another miner"),
    ({"seq": "9", "action": "'corrected'", "replaces": "3"}, "3 was withdrawn"),
    ({"seq": "9", "action": "'corrected'", "replaces": "2"}, "replaces_key"),
    ({"seq": "9", "action": "'corrected'"}, "replaces_check"),
    ({"seq": "9", "quantity_sat": "0"}, "quantity_check"),
    ({"seq": "9", "licence": "''"}, "licence_check"),
)


async def test_the_database_keeps_the_book_by_itself(world: World) -> None:
    """I7: past what the program lets through."""
    await enter(world, sale(1, DAY, 5), sale(1, DAY, 6, "T-2"))
    await withdraw(world, 2)
    for changes, words in WRONG:
        columns = ", ".join(changes.get(column.name, column.name) for column in sale_confirmation.columns)
        with pytest.raises(sa.exc.DBAPIError, match=words):
            async with world.engine.begin() as connection:
                await connection.execute(sa.text(COPY.format(columns)))


async def test_the_archive_keeps_the_book(world: World) -> None:
    """Beside the payouts, so that the rows of a report can be made again from the archive alone."""
    await enter(world, sale(1, DAY, 5), sale(2, DAY, 7, "T-2"))
    await withdraw(world, 2)
    async with world.engine.connect() as connection:
        marks = await archive_book.marks_now(connection)
        lines = [line async for line in archive_book.lines_between(connection, archive_book.NOTHING, marks)]
        kept = [dict(row) for row in (await connection.execute(sa.select(sale_confirmation))).mappings()]
    kept_lines = [line for line in lines if line["table"] == sale_confirmation.name]
    assert [archive_book.row_of(sale_confirmation, line) for line in kept_lines] == kept
    assert len(kept) == 3


# Who is told


async def test_officers_and_prometheus_are_told_who_is_short(world: World, tmp_path: Path) -> None:
    """O-52: of the quarter that ended last, and of the one that runs in its last month; not in mode off."""
    await pay(world, (1, 1_000_000, ""), (2, 400_000, ""))
    await enter(world, sale(1, DAY, 100_000), sale(2, DAY, 300_000, "T-2"))

    async def notes(day: dt.date, rules: Rules = RULES) -> list[tuple[Any, ...]]:
        async with world.engine.connect() as connection:
            return [
                (one.kind, one.subject, one.miner_id, one.days_left, one.detail)
                for one in sale_watch.notes(await sale_watch.watch(connection, rules, day), day)
            ]

    detail = "0.00650000 BTC short: of what was mined 10.00\u202f% is sold, 75.00\u202f% has to be"
    assert await notes(DAY) == []
    assert await notes(dt.date(2026, 12, 1)) == [(NoteKind.SALE_BEHIND, "2026-Q4", 1, 30, detail)]
    assert await notes(dt.date(2026, 12, 31)) == [(NoteKind.SALE_BEHIND, "2026-Q4", 1, 0, detail)]
    assert await notes(dt.date(2027, 1, 1)) == [(NoteKind.SALE_SHORT, "2026-Q4", 1, None, detail)]
    assert await notes(dt.date(2027, 4, 1)) == []
    off = rules_with(('mode = "monitor"\nsource = "an article', 'mode = "off"\nsource = "an article'))
    assert await notes(dt.date(2027, 1, 1), off) == []

    series = SaleMetrics(world.engine, RULES, lambda: world.now_us)
    assert lines(series) == set()
    await series.read()
    assert lines(series) == {
        'dmpool_sale_short_miners{period="ended"} 0.0',
        'dmpool_sale_short_miners{period="running"} 1.0',
        'dmpool_sale_short_satoshis{period="ended"} 0.0',
        'dmpool_sale_short_satoshis{period="running"} 650000.0',
    }
    world.now_us += 60 * DAY_US
    await pay(world, (3, 100, ""))
    await series.read()
    after = {
        'dmpool_sale_short_miners{period="ended"} 1.0',
        'dmpool_sale_short_miners{period="running"} 1.0',
        'dmpool_sale_short_satoshis{period="ended"} 650000.0',
        'dmpool_sale_short_satoshis{period="running"} 75.0',
    }
    assert lines(series) == after
    away = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    series._engine = away
    with pytest.raises(DatabaseAway):
        await series.read()
    assert lines(series) == after
    await away.dispose()

    await enter_people(world.engine)
    async with serving_register(world.engine, tmp_path) as site:
        site.clock.now_us = world.now_us
        page = (await site.page(password=TOKENS["audit"])).body.decode()
        told = (await site.get("/digest")).json
    assert "Mandatory sale" in page
    assert f"Ended on 2026-12-31: {detail}." in page
    assert [one["account"] for one in told["notes"] if one["kind"] == "sale_short"] == ["miner1"]


async def test_who_is_short_is_worked_out_anew_only_when_something_has_come(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a page is asked for: a day, a payout or a sale makes it new."""
    asked: list[dt.date] = []

    async def counted(connection: Any, rules: Rules, day: dt.date) -> SaleFacts:
        asked.append(day)
        return await sale_facts(connection, rules, day)

    monkeypatch.setattr(sale_watch, "sale_facts", counted)
    kept = SaleWatch(RULES)

    async def short(day: dt.date) -> list[int]:
        async with world.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            return [one.short_sat for one in (await kept.look(connection, day)).running]

    assert [await short(DAY), await short(DAY)] == [[], []]
    number = await pay(world, (1, 1_000, ""))
    assert [await short(DAY), await short(DAY)] == [[750], [750]]
    await enter(world, sale(1, DAY, 50))
    assert [await short(DAY), await short(DAY)] == [[700], [700]]
    assert await short(DAY + ONE) == [700]
    await lose(world, number)
    assert await short(DAY + ONE) == []
    await withdraw(world, 1)
    await short(DAY + ONE)
    assert asked == [DAY] * 3 + [DAY + ONE] * 3


def lines(series: SaleMetrics) -> set[str]:
    registry = CollectorRegistry()
    registry.register(series)
    return {line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")}
