"""Statements out of real PostgreSQL: what a miner is told agrees with the ledger, to the satoshi."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.block_state import State
from payouts.payout_plan import HoldReason
from payouts.statement import Owed, Period, Statement, StatementError
from payouts.statement_document import COLUMNS, document
from payouts.terms import DatedTerms, Terms
from pool import register_store, statement_now, statement_text
from pool.statement_now import Office
from pool.statements import statement
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.paid_world import REWARD, confirm, lose, mature, mine, reserve, send

DAY_US = 86_400_000_000
TERMS = DatedTerms(Terms("pplns", 2, 150, "shared"))
OFFICE = Office(RULES, TERMS, "regtest", 1_000_000)
MONTH = "2026-11"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[World]:
    made = World(engine)
    await made.settle_in()
    yield made


async def told(world: World, period: str = str(DAY), miner_id: int = 1, office: Office = OFFICE) -> Statement:
    async with world.engine.connect() as connection:
        register = await register_store.load(connection, ("miner", "licence", "address"))
        miner = register.miners[miner_id]
        return await statement(connection, office, register, miner, Period.parse(period), world.now_us)


async def test_a_block_from_found_to_paid_is_told_day_by_day(world: World) -> None:
    """I3: opening + credited - reversed - paid + corrected = closing, on each day and over the month."""
    await mine(world, 1, {2: 3})
    first = await told(world)
    part = first.parts[0]
    assert (part.own_work, part.block.window.work_total, part.state) == (16, 64, State.CONFIRMED)
    assert part.floor_sat + part.extra_sat == part.amount_sat
    assert part.floor_sat == part.shared_sat * part.own_work // part.block.window.work_total
    assert part.shared_sat == REWARD - REWARD * 150 // 10_000
    amount = part.amount_sat
    assert first.facts.closing == Owed(amount, 0, 0)
    assert (first.shares, first.work, first.rejected) == (1, 16, {"stale": 1})
    assert first.facts.held is None

    world.now_us += DAY_US
    await mature(world)
    second = await told(world, "2026-11-25")
    assert second.facts.opening == Owed(amount, 0, 0)
    assert second.facts.closing == Owed(0, amount, 0)
    assert (second.matured_sat, second.credited_sat) == (amount, 0)
    assert [part.state for part in second.parts] == [State.MATURE]

    world.now_us += DAY_US
    number = await reserve(world, {1: amount})
    assert (await told(world, "2026-11-26")).facts.closing == Owed(0, 0, amount)
    txid = await send(world, number)
    await confirm(world, number, {1: amount})
    third = await told(world, "2026-11-26")
    assert (third.paid_sat, third.facts.closing) == (amount, Owed())
    (paid,) = third.facts.payments
    assert (paid.txid, paid.state, paid.block_height) == (txid, "confirmed", 200)
    assert paid.distributed_on == dt.date(2026, 11, 26)

    month = await told(world, MONTH)
    assert (month.credited_sat, month.paid_sat, month.matured_sat) == (amount, amount, amount)
    assert [one.kind.value for one in month.facts.movements] == [
        "block_confirmed",
        "block_matured",
        "payout_reserved",
        "payout_confirmed",
    ]
    assert (month.facts.opening, month.facts.closing) == (Owed(), Owed())
    assert [one.day for one in month.facts.days] == [DAY]


async def test_a_past_day_is_told_as_it_stood_at_its_end(world: World) -> None:
    """I7 in spirit: what became of it later does not change what is told of the day."""
    await mine(world)
    amount = (await told(world)).credited_sat
    await mature(world)
    number = await reserve(world, {1: amount})
    await send(world, number)
    world.now_us += DAY_US
    await confirm(world, number, {1: amount})
    before = await told(world)
    assert (before.facts.complete, before.facts.closing) == (True, Owed(0, 0, amount))
    assert [(one.state, one.distributed_on) for one in before.facts.payments] == [("sent", None)]
    assert before.facts.preview is None
    await lose(world, number)
    after = await told(world, "2026-11-25")
    assert (after.paid_sat, after.facts.closing) == (0, Owed(0, 0, amount))
    assert [(one.state, one.block_hash) for one in after.facts.payments] == [("sent", None)]
    assert (await told(world)).facts.payments == before.facts.payments


async def test_a_block_that_left_the_chain_is_told_as_reversed(world: World) -> None:
    await mine(world)
    world.node.reorganise(1)
    await world.work()
    made = await told(world)
    assert (made.credited_sat, made.reversed_sat, made.facts.closing) == (
        REWARD - 75_000_000,
        REWARD - 75_000_000,
        Owed(),
    )
    assert [part.state for part in made.parts] == [State.ORPHANED]


async def test_what_is_held_and_why_and_what_a_block_would_pay_now(world: World) -> None:
    """The preview is by the same functions that will divide the block."""
    nobody = await told(world)
    assert (nobody.facts.preview, nobody.facts.held) == (None, None)
    await mine(world, 1, {2: 3})
    await world.tell(world.share(3))
    await mature(world)
    poor = Office(RULES, TERMS, "regtest", 2**60)
    made = await told(world, office=poor)
    assert made.facts.held is not None
    assert made.facts.held.reason is HoldReason.BELOW_THRESHOLD
    assert made.facts.held.amount_sat == made.facts.closing.payable
    now = made.facts.preview
    assert now is not None
    assert now.window is not None
    assert now.window.by_miner == {1: 16, 2: 48, 3: 16}
    assert now.reward_sat == statement_now.subsidy("regtest", now.height)
    assert now.amount_sat == TERMS.on(DAY).divide(now.reward_sat, 0, now.window).amounts[1]
    solo = Office(RULES, DatedTerms(Terms("solo", 2, 150, "shared")), "regtest", 1)
    alone = (await told(world, office=solo)).facts.preview
    assert alone is not None
    assert alone.amount_sat == now.reward_sat - now.reward_sat * 150 // 10_000
    fpps = Office(RULES, DatedTerms(Terms("fpps", 2, 150, "shared")), "regtest", 1)
    nothing = (await told(world, office=fpps)).facts.preview
    assert nothing is not None
    assert (nothing.window, nothing.amount_sat) == (None, 0)


async def test_the_documents_say_the_same(world: World) -> None:
    await mine(world, 1, {2: 3})
    await mature(world)
    number = await reserve(world, {1: 1_000_000})
    await send(world, number)
    made = await told(world)
    whole = json.loads(statement_text.written(made, RULES, ".json"))
    assert whole == json.loads(json.dumps(document(made, RULES)))
    assert whole["closing"]["total_sat"] == whole["opening"]["total_sat"] + whole["credited_sat"] - (
        whole["reversed_sat"] + whole["paid_sat"] - whole["corrected_sat"]
    )
    rows = list(csv.DictReader(io.StringIO(statement_text.written(made, RULES, ".csv").decode())))
    assert list(rows[0]) == list(COLUMNS)
    closing = rows[-1]
    assert closing["section"] == "closing"
    assert int(closing["total_sat"]) == made.facts.closing.total
    last = [row for row in rows if row["section"] == "movement"][-1]
    for name in ("immature_sat", "payable_sat", "paying_sat", "total_sat"):
        assert last[name] == closing[name]
    assert sum(int(row["shares"]) for row in rows if row["section"] == "work") == made.shares


async def test_a_split_that_its_window_does_not_give_makes_no_statement(world: World) -> None:
    """I4: nobody is told a part that cannot be recomputed."""
    found = await mine(world, 1, {2: 3})
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET session_replication_role = replica"))
        await connection.execute(
            sa.text("UPDATE split SET amount_sat = amount_sat + CASE miner_id WHEN 1 THEN 1 ELSE -1 END")
        )
    with pytest.raises(StatementError, match=f"split of block {found.block_hash}: the ledger has"):
        await told(world)


async def test_balances_that_entries_do_not_give_make_no_statement(world: World) -> None:
    await mine(world)
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET session_replication_role = replica"))
        await connection.execute(
            sa.text(
                "UPDATE account_day SET credit = credit + 1, closing = closing - 1 WHERE account ~ '^miner'"
            )
        )
    with pytest.raises(StatementError, match="statement of miner1 for 2026-11-24: opening and movements"):
        await told(world)


async def test_a_period_that_has_not_begun_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match=r"2026-12 has not begun: it is 2026-11-24 in Kazakhstan"):
        await told(world, "2026-12")
