"""Every satoshi that stands in the chain is in one row of one month, and in the sale as often (I2, I3).

Payouts of three miners, split or not, are paid around a border of months, quarters, years and of the clock;
blocks leave the chain and others take their place. By either rule of dating (Q-07) the days sum to the
months, and the months to what was paid.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.payout_plan import Due
from pool import journal_store
from pool.distributions import distributions
from pool.sale_store import sale_facts
from register.rules import Rules
from reporting import income
from reporting.distribution import Distribution
from reporting.income import FormEdition, FormFacts
from reporting.sale import measure
from reporting.sale_period import period_of
from tests.integration.entering import made_up_address
from tests.integration.ledger_world import NOON, RULES, World
from tests.integration.paid_world import FEE, _event, lose, send
from tests.integration.test_payout_facts import correct, reserve
from tests.register_world import rules_with
from tests.reporting.form_world import reports_of

HOUR = 3_600_000_000
ONE = dt.timedelta(days=1)
BY_CREDIT = rules_with(('date = "transfer"', 'date = "credited"'))
BORDERS = (dt.date(2024, 3, 1), dt.date(2025, 1, 1))
"""The clock went back an hour at the first; month, quarter, year and share change at the second."""


class Paid(NamedTuple):
    """A payout that stands, and the time of its block."""

    dues: Sequence[Due]
    block_us: int


class Life:
    """Payouts around a border, as chance has them."""

    def __init__(self, world: World, border_us: int) -> None:
        self.stands: dict[int, Paid] = {}
        self._world = world
        self._border_us = border_us
        self._chance = random.Random(border_us)
        self._height = 1000

    async def step(self) -> None:
        """Some hours later a payout is paid, and perhaps blocks of earlier ones are lost, some for good."""
        chance, world = self._chance, self._world
        world.now_us += chance.randint(1, 9 * HOUR)
        dues = [self._due(n, to) for n in (1, 2, 3) for to in ("", "X") if chance.random() < 0.6]
        dues = dues or [self._due(1, "")]
        async with world.engine.begin() as connection:
            for due in dues:
                await correct(connection, world, due.miner_id, due.amount_sat)
        number = await reserve(world, dues)
        await send(world, number)
        world.now_us += chance.choice([1, HOUR, 8 * HOUR])
        await self._confirm(number, dues)
        while self.stands and chance.random() < 0.3:
            number = chance.choice(sorted(self.stands))
            await lose(world, number)
            gone = self.stands.pop(number)
            if chance.random() < 0.6:
                await self._confirm(number, gone.dues)

    def _due(self, miner_id: int, exchange: str) -> Due:
        return Due(
            miner_id,
            "exchange_deposit" if exchange else "wallet",
            made_up_address(f"{miner_id}{exchange}"),
            b"\x00\x14" + bytes([miner_id + (10 if exchange else 0)] * 20),
            self._chance.randint(600, 10_000_000),
            self._chance.randint(0, 99),
            5000 if exchange else None,
            exchange,
            f"L-miner{miner_id}",
            "in_force",
        )

    async def _confirm(self, number: int, dues: Sequence[Due]) -> None:
        """In a block whose clock is up to two hours behind or ahead; on the border itself where it can be."""
        now_us = self._world.now_us
        edges = [self._border_us + apart for apart in (-HOUR, -1, 0, HOUR - 1)]
        near = [edge for edge in edges if abs(edge - now_us) <= 2 * HOUR]
        block_us = self._chance.choice(near or [now_us + self._chance.randint(-2 * HOUR, 2 * HOUR)])
        amounts: dict[int, int] = {}
        for due in dues:
            amounts[due.miner_id] = amounts.get(due.miner_id, 0) + due.amount_sat
        self._height += 1
        async with self._world.engine.begin() as connection:
            at_us = await journal_store.next_instant(connection, now_us)
            entry = journal.payout_confirmed(number, amounts, FEE)
            await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "settler")
            block = {"block_hash": f"{self._height:064x}", "block_height": self._height}
            await _event(connection, number, "confirmed", at_us, **block, block_time_us=block_us)
        self.stands[number] = Paid(dues, block_us)


@pytest.mark.parametrize("border", BORDERS, ids=str)
async def test_i3_what_was_paid_is_in_one_row_of_one_month(world: World, border: dt.date) -> None:
    border_us = RULES.day_bounds(border)[0]
    world.now_us = border_us - 50 * HOUR
    life = Life(world, border_us)
    for _ in range(14):
        await life.step()
    paid = {
        (f"{number:064x}", place): due
        for number, one in life.stands.items()
        for place, due in enumerate(one.dues)
    }
    received = {f"{number:064x}": RULES.day_of(one.block_us) for number, one in life.stands.items()}
    async with world.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        for rules in (RULES, BY_CREDIT):
            days = [border + ONE * number for number in range(-5, 16)]
            whole = await distributions(connection, rules, days[0], days[-1])
            assert {(one.txid, one.vout): (one.quantity_sat, one.commission_sat) for one in whole} == {
                place: (due.amount_sat, due.commission_sat) for place, due in paid.items()
            }
            assert len(whole) == len(paid)
            assert {one.txid: one.received_on for one in whole} == received
            by_day = [one for day in days for one in await distributions(connection, rules, day, day)]
            by_month = [
                one
                for name in sorted({day.isoformat()[:7] for day in days})
                for one in await month_of(connection, rules, name)
            ]
            assert sorted(by_day) == sorted(by_month) == sorted(whole)
            for day in (border - ONE, border, days[-1]):
                await sale_agrees(connection, rules, day, whole)


async def month_of(connection: AsyncConnection, rules: Rules, name: str) -> list[Distribution]:
    """The payments of a month, once its form was seen to have each satoshi of them."""
    period = income.month(name)
    found = await distributions(connection, rules, period.first, period.last)
    rule, daily = income.forms_of(rules, period)[0], reports_of(found, period.days())
    edition = FormEdition(NOON, "0.1.0")
    form = income.build(FormFacts(rule, rules, period, "p", "940140000385", None, edition, found, daily))
    for key, amounts in (
        ("quantity", [one.quantity_sat for one in found]),
        ("commission_quantity", [one.commission_sat for one in found]),
    ):
        rows = sum(satoshis(row[key]) for row in form["rows"])
        parts = sum(satoshis(part[key]) for row in form["rows"] for part in row["received"])
        assert rows == parts == satoshis(form["totals"][key]) == sum(amounts)
    places = [place for row in form["rows"] for place in row["payments"]]
    assert sorted(places) == sorted(f"{one.txid}:{one.vout}" for one in found)
    return found


def satoshis(text: str) -> int:
    return int(text.replace(".", ""))


async def sale_agrees(
    connection: AsyncConnection, rules: Rules, day: dt.date, whole: Sequence[Distribution]
) -> None:
    """The sale counts what the forms count, up to a day: in all, and in the period that runs."""
    facts, running = await sale_facts(connection, rules, day), period_of(rules, day)
    assert running is not None
    told = [one for one in whole if one.distributed_on <= day]
    ever = sum(one.amount_sat for one in facts.got) + sum(facts.got_before.values())
    assert ever == sum(one.quantity_sat for one in told)
    mine = [one for one in told if one.distributed_on >= running.first]
    standings = measure(facts, rules, running)
    assert sum(one.mined_sat for one in standings) == sum(one.quantity_sat for one in mine)
    assert sum(one.delivered_sat for one in standings) == sum(
        one.quantity_sat for one in mine if one.exchange
    )
