"""What was distributed, as the database has it: dating (Q-07), reorganisations, split payouts, names."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
import sqlalchemy as sa

from payouts.payout_plan import Due
from pool import register_store
from pool.distributions import distributions
from pool.tables import payment
from register.clerk import Terms
from register.rules import Rules
from reporting.distribution import Distribution
from tests.integration.entering import FIRST, TESTER, made_up_address
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.paid_world import confirm, lose, mature, mine, reserve, send
from tests.integration.test_payout_facts import correct
from tests.integration.test_payout_facts import reserve as reserve_dues
from tests.register_world import rules_with

HOUR = 3_600_000_000
ONE = dt.timedelta(days=1)
BY_CREDIT = rules_with(('date = "transfer"', 'date = "credited"'))


async def told(world: World, first: dt.date, last: dt.date, rules: Rules = RULES) -> list[Distribution]:
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        return await distributions(connection, rules, first, last)


async def test_o32_a_payment_is_told_with_all_that_the_form_asks(world: World) -> None:
    """Once it is confirmed and not before; its day is that of the block's own time (Q-07)."""
    await mine(world, 1, {2: 1})
    await mature(world)
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    txid = await send(world, number)
    assert await told(world, DAY - 400 * ONE, DAY + 400 * ONE) == []
    world.now_us += 13 * HOUR  # past midnight; the block's own time is two hours before, on the day before
    await confirm(world, number, amounts, height=222)
    found = await told(world, DAY - 400 * ONE, DAY + 400 * ONE)
    assert found == await told(world, DAY, DAY)
    assert [await told(world, DAY + ONE, DAY + 9 * ONE), await told(world, DAY - 9 * ONE, DAY - ONE)] == [
        [],
        [],
    ]
    assert found == [
        Distribution(
            miner_id=n,
            account=f"miner{n}",
            name=f"miner{n} LLP",
            bin=world.miners[n - 1].bin,
            licence_number=f"L-miner{n}",
            licence_issued_on=FIRST,
            licence_subtype=1,
            licence_status="in_force",
            wallet_address=made_up_address(f"miner{n}"),
            purpose="wallet",
            exchange="",
            distributed_on=DAY,
            received_on=DAY,
            asset="Bitcoin",
            quantity_sat=n * 1_000_000,
            commission_sat=7,
            txid=txid,
            vout=n - 1,
            block_hash=f"{222:064x}",
            block_height=222,
        )
        for n in (1, 2)
    ]


async def test_what_a_reorganisation_took_back_counts_for_the_day_of_its_new_block(world: World) -> None:
    """I3, I7: each payment counts for one day, so that days sum to their month; the old day reads anew."""
    await mine(world)
    await mature(world)
    amounts = {1: 1_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    await confirm(world, number, amounts, height=200)
    assert [one.block_height for one in await told(world, DAY, DAY)] == [200]
    await lose(world, number)
    assert await told(world, DAY, DAY + 9 * ONE) == []
    world.now_us += 48 * HOUR
    await confirm(world, number, amounts, height=300)
    assert [await told(world, DAY, DAY + ONE), await told(world, DAY + 3 * ONE, DAY + 9 * ONE)] == [[], []]
    (again,) = await told(world, DAY + 2 * ONE, DAY + 2 * ONE)
    assert (again.block_height, again.distributed_on, again.received_on) == (
        300,
        DAY + 2 * ONE,
        DAY + 2 * ONE,
    )


async def test_a_split_payout_is_two_distributions_and_equal_outputs_are_told_apart(world: World) -> None:
    """O-52: the exchange's part is given over to the miner too; an output belongs to one payment."""
    await mine(world)
    await mature(world)
    script = b"\x00\x14" + bytes(20)
    due = Due(1, "wallet", made_up_address("miner1"), script, 250_000, 1, 5000, "", "L-miner1", "in_force")
    dues = [
        Due(
            1, "exchange_deposit", made_up_address("x"), script, 250_000, 2, 5000, "X", "L-miner1", "in_force"
        ),
        due,
    ]
    number = await reserve_dues(world, dues)
    await send(world, number)
    await confirm(world, number, {1: 500_000})
    found = await told(world, DAY, DAY)
    assert [(one.purpose, one.exchange, one.commission_sat, one.vout) for one in found] == [
        ("exchange_deposit", "X", 2, 0),
        ("wallet", "", 1, 1),
    ]


async def test_q07_dated_by_credit_a_payment_counts_for_the_day_of_the_newest_reward(world: World) -> None:
    """Received is when the chain gave it (O-62), whatever the date of distribution."""
    await mine(world)
    world.now_us += 24 * HOUR
    await mature(world)
    amounts = {1: 1_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    world.now_us += 48 * HOUR
    await confirm(world, number, amounts)
    (one,) = await told(world, DAY, DAY, BY_CREDIT)
    assert (one.distributed_on, one.received_on) == (DAY, DAY + 3 * ONE)
    assert await told(world, DAY + ONE, DAY + 9 * ONE, BY_CREDIT) == []
    assert [one.distributed_on for one in await told(world, DAY, DAY + 9 * ONE)] == [DAY + 3 * ONE]


async def test_q07_a_block_whose_clock_is_behind_does_not_hide_what_was_credited_the_day_after(
    world: World,
) -> None:
    world.now_us += 13 * HOUR  # 01:00 of the next day
    async with world.engine.begin() as connection:
        await correct(connection, world, 1, 500_000)
    number = await reserve(world, {1: 500_000})
    await send(world, number)
    await confirm(world, number, {1: 500_000})  # by a block of 23:00
    (one,) = await told(world, DAY + ONE, DAY + ONE, BY_CREDIT)
    assert (one.distributed_on, one.received_on) == (DAY + ONE, DAY)


async def test_names_are_those_at_the_end_of_the_day(world: World) -> None:
    await mine(world)
    await mature(world)
    for day in (0, 1):
        number = await reserve(world, {1: 1_000_000})
        await send(world, number)
        await confirm(world, number, {1: 1_000_000}, height=200 + day)
        world.now_us += 24 * HOUR
    async with register_store.writing(
        world.engine, Terms(RULES, "regtest"), TESTER, "renamed", now_us=lambda: world.now_us - 24 * HOUR
    ) as clerk:
        clerk.change_miner(msgspec.structs.replace(clerk.register.miners[1], title="Жаңа ЖШС"))
    assert [one.name for one in await told(world, DAY, DAY + ONE)] == ["miner1 LLP", "Жаңа ЖШС"]


async def test_a_stored_transaction_that_does_not_pay_is_told(world: World) -> None:
    await mine(world)
    await mature(world)
    number = await reserve(world, {1: 1_000_000})
    await send(world, number)
    await confirm(world, number, {1: 1_000_000})
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await connection.execute(sa.update(payment).values(script=b"\x00\x14" + b"\x01" * 20))
    with pytest.raises(ValueError, match=f"payout {number}: transaction .* does not make payment 1"):
        await told(world, DAY, DAY)
