"""What a payout plan is made from: a real ledger's balances, past payments and the register, told as one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import journal
from payouts.payout_plan import Due, Payee, PlanSettings, distribution_day, plan
from payouts.terms import DatedTerms
from payouts.terms import Terms as PoolTerms
from pool import journal_store, register_store
from pool.payout_facts import credited_days, payees
from pool.register_store import load
from pool.tables import payment, payout, payout_run
from register.clerk import Terms
from register.licence import Act, Status
from register.payout_address import PayoutAddress
from register.register import Register
from register.rules import Rules
from tests.integration.entering import TESTER, made_up_address
from tests.integration.ledger_world import DAY, NETWORK, RULES, World
from tests.register_world import rules_with

HOUR = 3_600_000_000
NEXT_DAY = DAY + dt.timedelta(days=1)
REGTEST = PlanSettings("regtest")
SPLITTING = rules_with(
    ('mode = "monitor"\nsource = "an article', 'mode = "split_payout"\nsource = "an article')
)


async def mature_block(world: World, height: int, *miner_ids: int) -> None:
    """A block of the work of some miners, found by the last, in the chain and deep."""
    for miner_id in miner_ids[:-1]:
        await world.tell(world.share(miner_id))
    share = world.share(miner_ids[-1])
    found = world.found(share, height=height)
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    world.now_us += HOUR
    world.node.grow(100)
    await world.work()


async def register_now(world: World) -> Register:
    async with world.engine.connect() as connection:
        return await load(connection)


async def owed(world: World, rules: Rules = RULES, threshold: int = 1_000_000) -> list[Payee]:
    register = await register_now(world)
    async with world.engine.connect() as connection:
        return await payees(connection, register, rules, world.now_us, threshold)


async def reserve(world: World, dues: Sequence[Due]) -> int:
    """What the settler does first: the payout with its payments, and the journal's entry."""
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        day = RULES.day_of(at_us)
        run_id = await connection.scalar(
            sa.insert(payout_run)
            .values(at_us=at_us, day=day, actor="tester", reason="for a test")
            .returning(payout_run.c.id)
        )
        payout_id: int | None = await connection.scalar(
            sa.insert(payout)
            .values(
                run_id=run_id,
                number=1,
                state="reserved",
                created_us=at_us,
                amount_sat=sum(due.amount_sat for due in dues),
            )
            .returning(payout.c.id)
        )
        assert payout_id is not None
        await connection.execute(
            sa.insert(payment),
            [
                {
                    "payout_id": payout_id,
                    "number": number,
                    "miner_id": due.miner_id,
                    "purpose": due.purpose,
                    "address": due.address,
                    "script": due.script,
                    "amount_sat": due.amount_sat,
                    "commission_sat": due.commission_sat,
                    "sale_share_bps": due.sale_share_bps,
                    "exchange": due.exchange,
                    "licence": due.licence,
                    "licence_status": due.status,
                }
                for number, due in enumerate(dues, 1)
            ],
        )
        amounts = {due.miner_id: 0 for due in dues}
        for due in dues:
            amounts[due.miner_id] += due.amount_sat
        await journal_store.book(connection, journal.payout_reserved(payout_id, amounts), at_us, day)
    return payout_id


async def abandon(world: World, payout_id: int, amounts: dict[int, int]) -> None:
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        await connection.execute(sa.update(payout).where(payout.c.id == payout_id).values(state="abandoned"))
        entry = journal.payout_released(payout_id, amounts)
        await journal_store.book(connection, entry, at_us, RULES.day_of(at_us))


async def correct(connection: AsyncConnection, world: World, miner_id: int, amount: int) -> None:
    """Move satoshis of the pool's own into a miner's payable balance."""
    postings = [
        journal.Posting(journal.miner_payable(miner_id), -amount),
        journal.Posting("pool:correction", amount),
    ]
    at_us = await journal_store.next_instant(connection, world.now_us)
    entry = journal.correction(postings, "for a test")
    await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "tester")


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    world = World(engine)
    await world.settle_in()
    return world


async def test_payees_are_who_has_a_balance_with_licence_wallet_and_commission(world: World) -> None:
    """Invariants 2 and 3: payable is what the journal says, commission what the splits say."""
    await mature_block(world, 1, 1, 2)
    one, two = await owed(world)
    balances = await world.balances()
    assert [one.payable_sat, two.payable_sat] == [-balances[f"miner:{n}:payable"] for n in (1, 2)]
    commission = await world.rows("SELECT miner_id, commission_sat FROM split ORDER BY miner_id")
    assert commission == [(1, one.commission_total_sat), (2, two.commission_total_sat)]
    assert one.commission_total_sat + two.commission_total_sat == -balances["pool:commission:earned"]
    assert (one.name, one.threshold_sat, one.licence, one.status) == (
        "miner1",
        1_000_000,
        "L-miner1",
        Status.IN_FORCE,
    )
    assert one.wallet is not None
    assert one.wallet.address == made_up_address("miner1")
    assert one.exchange is None
    assert (one.sale_due, one.exchange_paid_sat, one.commission_told_sat) == (0, 0, 0)


async def test_immature_rewards_are_not_payable_and_an_orphan_takes_its_commission_away(
    world: World,
) -> None:
    share = world.share(1)
    found = world.found(share)
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    assert await owed(world) == []
    world.node.grow(100)
    await world.work()
    assert len(await owed(world)) == 1
    await mature_block(world, 102, 2)
    before = {payee.miner_id: payee.commission_total_sat for payee in await owed(world)}
    world.node.reorganise(102)
    await world.work()
    after = {payee.miner_id: payee.commission_total_sat for payee in await owed(world)}
    assert after.keys() == {1}
    assert after[1] < before[1]


async def test_own_threshold_and_licence_at_the_instant(world: World) -> None:
    await mature_block(world, 1, 1, 2)
    terms = Terms(RULES, "regtest")
    async with register_store.writing(
        world.engine, terms, TESTER, "for a test", now_us=lambda: world.now_us
    ) as clerk:
        clerk.change_miner(msgspec.structs.replace(clerk.register.miners[1], payout_threshold_sat=20_000))
        clerk.act_on_licence("L-miner2", Act("revoked", "C-1", DAY))
        clerk.enter_address(
            PayoutAddress(
                1, 0, "exchange_deposit", made_up_address("deposit"), 0, "Exchange", "AFSA", "AFSA-A-1"
            )
        )
    one, two = await owed(world)
    assert (one.threshold_sat, two.threshold_sat) == (20_000, 1_000_000)
    assert one.exchange is not None
    assert (two.licence, two.status) == ("L-miner2", Status.REVOKED)


async def test_past_payments_count_until_they_are_abandoned(world: World) -> None:
    """Invariants 3 and 5: what is reserved is not owed again; what is abandoned is, as if it never was."""
    await mature_block(world, 1, 1, 2)
    terms = Terms(RULES, "regtest")
    async with register_store.writing(
        world.engine, terms, TESTER, "for a test", now_us=lambda: world.now_us
    ) as clerk:
        clerk.enter_address(
            PayoutAddress(
                1, 0, "exchange_deposit", made_up_address("deposit"), 0, "Exchange", "AFSA", "AFSA-A-1"
            )
        )
    before = await owed(world)
    made = plan(before, REGTEST, world.now_us, SPLITTING)
    assert [one.miner_id for one in made.held] == [2]
    assert [due.purpose for due in made.payments] == ["exchange_deposit", "wallet"]
    payout_id = await reserve(world, made.payments)
    assert [payee.miner_id for payee in await owed(world)] == [2]

    async with world.engine.begin() as connection:
        await correct(connection, world, 1, 50_000)
    one, _ = await owed(world)
    amount = made.payments_sat
    assert one.payable_sat == 50_000
    assert one.sale_due == amount * 7500
    assert one.exchange_paid_sat == made.payments[0].amount_sat == -(-amount * 3 // 4)
    assert one.commission_told_sat == one.commission_total_sat > 0

    await abandon(world, payout_id, {1: amount})
    one, two = await owed(world)
    assert (one.payable_sat, two) == (before[0].payable_sat + 50_000, before[1])
    assert (one.sale_due, one.exchange_paid_sat, one.commission_told_sat) == (0, 0, 0)


async def test_o32_the_commission_of_fpps_credits_is_told_by_the_payments_that_pay_them(
    engine: AsyncEngine,
) -> None:
    """Invariant 3 and O-32: over all payments exactly what was taken, of blocks and of days of shares."""
    world = World(engine)
    world.terms = DatedTerms(PoolTerms("fpps", 2, 150, "shared"))
    world.ledger = world.new_ledger()
    await world.settle_in()
    for _ in range(2):  # two days, paid one after the other
        await world.tell(world.share(1, target=NETWORK), world.share(2, target=NETWORK))
        await world.work()
        world.node.grow(150)
        world.now_us += 24 * HOUR
        await world.work(world.new_ledger())
        await world.work(world.new_ledger())
        made = plan(await owed(world), REGTEST, world.now_us, RULES)
        assert sorted(due.miner_id for due in made.payments) == [1, 2]
        await reserve(world, made.payments)
    taken = await world.rows(
        "SELECT miner_id, sum(commission_sat)::bigint FROM fpps_credit GROUP BY 1 ORDER BY 1"
    )
    told = await world.rows("SELECT miner_id, sum(commission_sat)::bigint FROM payment GROUP BY 1 ORDER BY 1")
    assert told == taken
    assert len(await world.rows("SELECT * FROM fpps_credit")) == 4
    assert all(int(str(commission)) > 0 for _, commission in told)


async def test_a_balance_of_a_miner_that_the_register_does_not_know_is_told(world: World) -> None:
    await mature_block(world, 1, 1)
    async with world.engine.connect() as connection:
        with pytest.raises(LookupError, match=r"miner 1 has .* satoshis payable and is not in the register"):
            await payees(connection, Register(), RULES, world.now_us, 0)


async def test_more_than_a_bigint_of_shares_is_summed(world: World) -> None:
    """Invariant 2: satoshis times basis points are wider than satoshis."""
    async with world.engine.begin() as connection:
        for miner_id in (1, 2):
            await correct(connection, world, miner_id, 2_000_000_000_000_000)
    due: dict[str, Any] = {
        "miner_id": 1,
        "address": "a",
        "script": b"s",
        "commission_sat": 0,
        "exchange": "",
        "licence": "",
        "status": "",
    }
    half = 1_000_000_000_000_000
    dues = [
        Due(purpose="exchange_deposit", amount_sat=half, sale_share_bps=10_000, **due),
        Due(purpose="wallet", amount_sat=half - 1, sale_share_bps=10_000, **due),
    ]
    await reserve(world, dues)
    one, _ = await owed(world)
    assert (one.payable_sat, one.sale_due) == (1, (2 * half - 1) * 10_000)


async def test_q07_the_day_of_the_newest_credit_that_a_payout_pays(world: World) -> None:
    await mature_block(world, 1, 1, 2)
    world.now_us += 24 * HOUR
    await mature_block(world, 102, 2)
    made = plan(await owed(world), REGTEST, world.now_us, RULES)
    world.now_us += 24 * HOUR
    payout_id = await reserve(world, made.payments)
    await mature_block(world, 203, 1)
    async with world.engine.connect() as connection:
        days = await credited_days(connection, payout_id)
    assert days == {1: NEXT_DAY, 2: NEXT_DAY}
    by_credit = rules_with(('date = "transfer"', 'date = "credited"'))
    assert distribution_day(by_credit, world.now_us, days[1]) == NEXT_DAY


async def test_q07_a_reward_is_credited_when_confirmed_and_a_correction_when_booked(world: World) -> None:
    share = world.share(1)
    found = world.found(share)
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    world.now_us += 24 * HOUR
    world.node.grow(100)
    await world.work()
    first = await reserve(world, plan(await owed(world), REGTEST, world.now_us, RULES).payments)
    async with world.engine.begin() as connection:
        await correct(connection, world, 1, 5_000_000)
    second = await reserve(world, plan(await owed(world), REGTEST, world.now_us, RULES).payments)
    async with world.engine.connect() as connection:
        assert await credited_days(connection, first) == {1: DAY}
        assert await credited_days(connection, second) == {1: NEXT_DAY}
        assert await credited_days(connection, 999) == {}
