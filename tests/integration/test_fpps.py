"""FPPS on a real PostgreSQL: a day's work is paid what the chain paid on it, once, come what may (I2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.fpps import PRICE_UNIT
from payouts.statement import Owed, Period
from payouts.terms import DatedTerms, Terms, TermsFrom
from pool import fpps_accrual, journal_store, ledger_store, register_store
from pool.reports import build_report
from pool.statement_now import Office
from pool.statements import statement
from tests.integration.ledger_world import DAY, NETWORK, NOON, RULES, SUBSIDY, World
from tests.integration.test_reports import PUBLISHER, content

DAY_US = 86_400_000_000
MIDNIGHT = NOON + DAY_US // 2
"""When `DAY` ends."""
TOMORROW = DAY + dt.timedelta(days=1)
BPS = 150
FEES = 1_234_567
FPPS = Terms("fpps", 2, BPS, "shared")


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[World]:
    made = World(engine)
    made.terms = DatedTerms(FPPS)
    made.ledger = made.new_ledger()
    await made.settle_in()
    yield made


def pass_midnight(world: World, *, blocks: int = 90, us: int = 7_200_000_000) -> None:
    """Ten-minute blocks, 72 of them on the first half day; the clock is some hours behind midnight."""
    world.node.grow(blocks)
    world.now_us = MIDNIGHT + us


def price(fees: int = 0, blocks: int = 72) -> int:
    """Of a hash on a day of so many blocks; each takes 256 hashes."""
    return (SUBSIDY * blocks + fees) * PRICE_UNIT // (256 * blocks)


def worth(work: int, of: int) -> int:
    """What a miner has for work, in whole satoshis."""
    exact = Fraction(of * work, PRICE_UNIT) * (10_000 - BPS) / 10_000
    return exact.numerator // exact.denominator


async def again(world: World) -> None:
    """The ledger looks once more: a restarted one, which remembers nothing."""
    world.ledger = world.new_ledger()
    await world.work()


async def test_i2_a_days_work_is_paid_what_the_chain_paid_on_that_day(world: World) -> None:
    """By its headers' times, block or not; the pool's block is the pool's, and `pool:fpps` shows the cost."""
    won = world.share(2, target=NETWORK)
    found = world.found(won, height=5)
    await world.tell(world.share(1), world.share(1), won, found, world.share(3))
    await world.work()
    assert await world.rows("SELECT * FROM fpps_rate") == []
    world.node.grow(4)
    world.node.main.append(found.block_hash)
    world.node.fees[found.block_hash] = FEES
    pass_midnight(world)
    await world.work()
    of = price(FEES)
    assert await world.rows(
        "SELECT day, first_height, last_height, blocks, reward_sat, fees_sat, network_work::int, "
        "price::text, commission_bps FROM fpps_rate"
    ) == [(DAY, 0, 71, 72, 72 * SUBSIDY + FEES, FEES, 72 * 256, str(of), BPS)]
    given = {1: worth(32, of), 2: worth(256, of), 3: worth(16, of)}
    balances = await world.balances()
    assert {id_: -balances[f"miner:{id_}:payable"] for id_ in given} == given
    assert balances["pool:fpps"] == sum(given.values())
    assert balances["pool:commission:immature"] == -found.reward_sat
    [(memo,)] = await world.rows("SELECT memo FROM journal_entry WHERE kind = 'fpps_credited'")
    assert memo == f"work of {DAY}, by what the blocks 0 to 71 paid"
    commission = await world.rows("SELECT miner_id, amount_sat, commission_sat FROM fpps_credit ORDER BY 1")
    assert [(id_, amount) for id_, amount, _ in commission] == sorted(given.items())
    for id_, amount, taken in commission:
        work = {1: 32, 2: 256, 3: 16}[int(str(id_))]
        assert 0 <= Fraction(of * work, PRICE_UNIT) - int(str(amount)) - int(str(taken)) < 2


async def test_a_day_waits_until_no_block_of_it_can_come_or_go(world: World) -> None:
    """Six of the eleven newest blocks are of the next day, and six confirmations are on top of that."""
    await world.tell(world.share(1))
    await world.work()
    passed = 72 + 5  # the first height with a median time of the next day: 72 is at midnight
    for blocks in range(len(world.node.main), passed + 6):
        world.node.grow(blocks + 1 - len(world.node.main))
        world.now_us = MIDNIGHT + DAY_US // 4 + blocks * fpps_accrual.LOOK_US
        await world.work()
        assert len(await world.rows("SELECT day FROM fpps_rate")) == (blocks == passed + 5)


async def test_a_day_waits_for_its_grace_and_for_batches_on_their_way(world: World) -> None:
    await world.tell(world.share(1))
    await world.work()
    pass_midnight(world, us=59_000_000)
    await world.work()
    assert await world.rows("SELECT * FROM fpps_rate") == []
    before = dt.datetime.fromtimestamp(MIDNIGHT // 1_000_000 - 5, dt.UTC)
    await world.tell(world.share(1, at_us=NOON))
    async with world.engine.begin() as connection:
        await connection.execute(
            sa.text("UPDATE batch SET received_at = :at WHERE position IS NULL"), {"at": before}
        )
    world.now_us = MIDNIGHT + 61_000_000
    async with world.engine.connect() as connection:  # before the batch is taken
        await fpps_accrual.Accrual([world.node], RULES, world.terms, lambda: world.now_us).follow(connection)
    assert await world.rows("SELECT * FROM fpps_rate") == []
    world.now_us += fpps_accrual.LOOK_US
    await world.work()
    assert await world.rows("SELECT work::int FROM fpps_credit") == [(32,)]


async def test_i2_late_work_is_credited_later_at_the_same_price_and_what_is_left_over_is_carried(
    world: World,
) -> None:
    await world.tell(world.share(1), world.share(2))
    pass_midnight(world)
    await world.work()
    await again(world)
    await again(world)
    assert len(await world.rows("SELECT * FROM fpps_credit")) == 2
    world.node.fees[world.node.main[3]] = 10**9  # what a node says later of that day does not matter
    for _ in range(3):
        world.now_us += DAY_US // 24
        await world.tell(world.share(1, at_us=NOON))
        await again(world)
    rows = await world.rows("SELECT miner_id, work::int FROM fpps_credit ORDER BY id")
    assert rows == [(1, 16), (2, 16), (1, 16), (1, 16), (1, 16)]
    balances = await world.balances()
    assert -balances["miner:1:payable"] == worth(64, price()) > 4 * worth(16, price())
    assert -balances["miner:2:payable"] == worth(16, price())
    assert len(await world.rows("SELECT * FROM fpps_rate")) == 1
    assert len(await world.rows("SELECT * FROM journal_entry")) == 4


async def test_only_days_whose_terms_say_so(world: World) -> None:
    """What is left over of one day of FPPS is carried to the next one, and late work of it is paid."""
    world.terms = DatedTerms(
        Terms("pplns", 2, BPS, "shared"),
        [
            TermsFrom(TOMORROW, FPPS),
            TermsFrom(TOMORROW + dt.timedelta(days=1), Terms("solo", 2, BPS, "shared")),
        ],
    )
    world.ledger = world.new_ledger()
    for day in range(3):
        await world.tell(world.share(1, at_us=NOON + day * DAY_US))
    world.node.grow(4 * 144)
    world.now_us = MIDNIGHT + 3 * DAY_US
    await world.work()
    assert await world.rows("SELECT day, blocks, first_height FROM fpps_rate") == [(TOMORROW, 144, 72)]
    await world.tell(world.share(1, at_us=NOON + DAY_US))
    await again(world)
    assert await world.rows("SELECT day, work::int FROM fpps_credit") == [(TOMORROW, 16)] * 2


async def test_terms_that_keep_the_transaction_fees_make_it_pps(world: World) -> None:
    world.terms = DatedTerms(Terms("fpps", 2, BPS, "pool"))
    world.ledger = world.new_ledger()
    await world.tell(world.share(1))
    world.node.grow(3)
    world.node.fees[world.node.main[2]] = FEES
    pass_midnight(world)
    await world.work()
    rows = await world.rows("SELECT fees_sat, transaction_fees, price::text FROM fpps_rate")
    assert rows == [(FEES, "pool", str(price()))]


async def test_a_node_that_is_away_or_on_another_chain_delays_and_loses_nothing(world: World) -> None:
    await world.tell(world.share(1))
    pass_midnight(world)
    world.node.down = True
    await world.work()
    world.node.down, world.node.wrong_chain = False, True
    await again(world)
    assert await world.rows("SELECT * FROM fpps_rate") == []
    world.node.wrong_chain = False
    await world.work()
    assert await world.rows("SELECT * FROM fpps_rate") == [], "it is not asked each half second"
    world.now_us += fpps_accrual.LOOK_US
    await world.work()
    assert len(await world.rows("SELECT * FROM fpps_credit")) == 1


class Killed(BaseException):
    """As by kill -9: nothing after it runs."""


STEPS = [
    (fpps_accrual, "open_days"),
    (fpps_accrual, "chain_day"),
    (fpps_accrual, "credit_day"),
    (journal_store, "next_instant"),
    (ledger_store, "move_head"),
    (fpps_accrual, "set_price"),
    (fpps_accrual, "accrue"),
    (journal_store, "book"),
    (fpps_accrual, "book"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), STEPS, ids=[name for _, name in STEPS])
async def test_i2_killed_at_any_step_it_pays_once(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, after: bool
) -> None:
    await world.tell(world.share(1), world.share(2), world.share(2))
    pass_midnight(world)
    step = getattr(module, name)

    async def fatal(*args: Any, **named: Any) -> Any:
        if after:
            await step(*args, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fatal)
        with pytest.raises(Killed):
            await world.work()
    for _ in range(2):
        world.now_us += 1_000_000
        await again(world)
    balances = await world.balances()
    given = {1: worth(16, price()), 2: worth(32, price())}
    assert {id_: -balances[f"miner:{id_}:payable"] for id_ in given} == given
    assert balances["pool:fpps"] == sum(given.values())
    assert await world.rows("SELECT miner_id, work::int FROM fpps_credit ORDER BY 1") == [(1, 16), (2, 32)]


async def test_the_instant_of_a_credit_says_which_batches_it_is_of(world: World) -> None:
    """I7: an audit replays batches and credits by their instants alone."""
    await world.tell(world.share(1))
    pass_midnight(world)
    await world.work()
    await world.tell(world.share(1, at_us=NOON))  # taken at the same reading of the clock
    await again(world)
    await again(world)
    credits = [int(str(at)) for (at,) in await world.rows("SELECT at_us FROM fpps_credit ORDER BY id")]
    taken = [int(str(at)) for (at,) in await world.rows("SELECT taken_us FROM batch ORDER BY position")]
    assert len(credits) == len(taken) == 2
    assert taken[0] <= credits[0] < taken[1] <= credits[1]


async def test_report_and_statement_of_the_day_of_a_credit_add_up(world: World) -> None:
    """Credited on the day after the work, payable at once; the report reconciles and tells it by itself."""
    await world.tell(world.share(1), world.share(2))
    pass_midnight(world)
    await world.work()
    world.now_us = MIDNIGHT + DAY_US + 3_600_000_000
    await world.work()
    amount = worth(16, price())
    report = content(await build_report(world.engine, TOMORROW, PUBLISHER, world.now_us))
    assert [row["per_share_sat"] for row in report["miners"]] == [amount, amount, 0]
    assert [row["closing_sat"] for row in report["miners"]] == [amount, amount, 0]
    [entry] = report["journal"]["entries"]
    assert (entry["kind"], entry["memo"]) == (
        "fpps_credited",
        f"work of {DAY}, by what the blocks 0 to 71 paid",
    )
    classes = {row["class"]: row["closing_sat"] for row in report["journal"]["classes"]}
    assert classes == {"miner:payable": 2 * amount, "pool:fpps": -2 * amount}
    before = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us))
    assert [row["per_share_sat"] for row in before["miners"]] == [0, 0, 0]
    async with world.engine.connect() as connection:
        register = await register_store.load(connection, ("miner", "licence", "address"))
        office = Office(RULES, world.terms, "regtest", 1_000)
        told = await statement(
            connection, office, register, register.miners[1], Period.parse(str(TOMORROW)), world.now_us
        )
    assert (told.credited_sat, told.facts.opening, told.facts.closing) == (amount, Owed(), Owed(0, amount, 0))
    [movement] = told.facts.movements
    assert (movement.kind.value, movement.moved) == ("fpps_credited", Owed(0, amount, 0))


# The database's own guards


async def refuses(world: World, statement: str, match: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=match):
        async with world.engine.begin() as connection:
            await connection.execute(sa.text(statement))


CREDIT = (
    "INSERT INTO fpps_credit (at_us, entry_id, day, miner_id, work, amount_sat, commission_sat, miner_left, "
    "commission_left) SELECT at_us + 1, entry_id, day, miner_id, {work}, {amount}, commission_sat, "
    "{left}, commission_left FROM fpps_credit WHERE miner_id = 1"
)


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        (CREDIT.format(work="work", amount="amount_sat", left="miner_left + 1"), "are not worth"),
        (CREDIT.format(work="work", amount="amount_sat + 1", left="miner_left"), "are not worth"),
        (CREDIT.format(work="work", amount="amount_sat", left="2 * miner_left"), "are not worth"),
        (CREDIT.format(work="work", amount="amount_sat", left="-1"), "fpps_credit_left_check"),
        (CREDIT.format(work="0", amount="0", left="0"), "fpps_credit_work_check"),
        (
            "INSERT INTO fpps_rate (day, first_height, last_height, blocks, reward_sat, fees_sat, "
            "network_work, transaction_fees, price, commission_bps) SELECT day + 1, first_height, "
            "last_height, blocks, reward_sat, fees_sat, network_work, transaction_fees, price + 1, "
            "commission_bps FROM fpps_rate",
            "fpps_rate_price_check",
        ),
        (
            "INSERT INTO fpps_rate (day, first_height, last_height, blocks, reward_sat, fees_sat, "
            "network_work, transaction_fees, price, commission_bps) SELECT day, first_height, "
            "last_height, blocks, reward_sat, fees_sat, network_work, transaction_fees, price, "
            "commission_bps FROM fpps_rate",
            "fpps_rate_day_key",
        ),
    ],
)
async def test_i2_the_database_refuses_what_is_not_worth_it(world: World, statement: str, match: str) -> None:
    await world.tell(world.share(1))
    pass_midnight(world)
    await world.work()
    await refuses(world, statement, match)


async def test_i2_the_database_refuses_work_twice_and_amounts_that_the_journal_has_not(world: World) -> None:
    await world.tell(world.share(1))
    pass_midnight(world)
    await world.work()

    async def rows(connection: AsyncConnection) -> list[dict[str, Any]]:
        """The same work once more, worth what it says."""
        taken = await connection.execute(sa.text("SELECT * FROM fpps_credit"))
        [row] = taken.mappings().all()
        [rate] = (await connection.execute(sa.text("SELECT price, commission_bps FROM fpps_rate"))).all()
        carried = {1: fpps_accrual.Carried(int(row["miner_left"]), int(row["commission_left"]))}
        at = fpps_accrual.Rate(int(rate.price), rate.commission_bps)
        found = fpps_accrual.fpps.accrue(carried, {1: 16}, at)
        return [
            {
                "day": DAY,
                "miner_id": 1,
                "work": 16,
                "amount_sat": found.amounts[1],
                "commission_sat": found.commissions[1],
                "miner_left": found.carried[1].miner,
                "commission_left": found.carried[1].commission,
            }
        ]

    entry = fpps_accrual.journal.fpps_credited({1: 1}, "by hand")
    for at_us, worked, message in (
        (1, False, "32 hashes would be credited, it worked 16"),
        (2, True, "satoshis, the journal has 1"),
    ):
        async with world.engine.connect() as connection, connection.begin() as transaction:
            if worked:
                await connection.execute(sa.text("UPDATE miner_day SET work = work + 16"))
            with pytest.raises(sa.exc.DBAPIError, match=message):
                await fpps_accrual.book(connection, entry, await rows(connection), at_us, TOMORROW)
            await transaction.rollback()
