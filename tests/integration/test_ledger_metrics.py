"""The gauges of money: what Prometheus is told is what PostgreSQL has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.terms import DatedTerms, Terms
from pool.ledger_metrics import CLASSES, by_class, read, read_held
from pool.live_register import LiveRegister
from pool.metrics import Metrics
from pool.statement_now import Office
from pool.tables import archive_hour, payout, payout_version
from tests.integration.ledger_world import NOON, RULES, World
from tests.integration.paid_world import FEE, REWARD, confirm, mature, mine, reserve, send

HOUR_US = 3_600_000_000
OFFICE = Office(RULES, DatedTerms(Terms("pplns", 2, 150, "shared")), "regtest", 2_000_000_000)


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[World]:
    made = World(engine)
    await made.settle_in()
    yield made


class Told:
    """The series after one look."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, name: str, **labels: str) -> int:
        value = self._metrics.registry.get_sample_value(f"dmpool_{name}", labels)
        assert value is not None, (name, labels)
        return int(value)


async def look(world: World) -> Told:
    metrics = Metrics()
    await read(world.engine, metrics, world.now_us)
    await read_held(world.engine, metrics, LiveRegister(world.engine), OFFICE, world.now_us)
    return Told(metrics)


async def test_a_pool_without_a_block_owes_nothing(world: World) -> None:
    told = await look(world)
    assert [told("journal_satoshis", account=one) for one in CLASSES] == [0] * len(CLASSES)
    assert told("journal_balanced") == 1
    assert told("archive_behind_seconds") == told("payouts_in_flight_satoshis") == 0


async def test_the_journal_by_class_and_payouts_by_state(world: World) -> None:
    """I3: coins are what is owed and the pool's own, in every state of a payout."""
    await mine(world, 1, {2: 3})
    told = await look(world)
    assert told("journal_satoshis", account="asset:coinbase:immature") == REWARD
    assert told("liability_satoshis", state="immature") == REWARD - told(
        "journal_satoshis", account="pool:commission:immature"
    )
    await mature(world)
    number = await reserve(world, {1: 1_000_000})
    world.now_us += 90_000_000
    told = await look(world)
    assert told("payouts", state="reserved") == 1
    assert told("payouts_satoshis", state="reserved") == 1_000_000
    assert told("payout_oldest_seconds", state="reserved") == 90
    assert told("liability_satoshis", state="paying") == 1_000_000
    assert told("payouts_in_flight_satoshis") == 0
    await send(world, number)
    told = await look(world)
    assert told("payouts_in_flight_satoshis") == 1_000_000 + FEE
    await confirm(world, number, {1: 1_000_000})
    told = await look(world)
    assert (told("payouts", state="confirmed"), told("payouts", state="sent")) == (1, 0)
    assert told("payouts_in_flight_satoshis") == told("payout_oldest_seconds", state="sent") == 0
    assert told("journal_satoshis", account="asset:coinbase:mature") == REWARD - 1_000_000 - FEE
    assert told("journal_satoshis", account="pool:network_fees") == -FEE
    assert told("journal_balanced") == 1
    assert told("held_miners", reason="below_threshold") == 1
    assert told("held_satoshis", reason="below_threshold") == (await world.balances())["miner:1:payable"] * -1


async def test_of_several_versions_the_newest_that_was_sent_is_in_flight(world: World) -> None:
    """I5: a raised fee replaces, and a cancelling brings all back but its fee."""
    await mine(world)
    await mature(world)
    number = await reserve(world, {1: 1_000_000})
    await send(world, number)

    async def version(place: int, purpose: str, fee: int, sent: int | None) -> None:
        async with world.engine.begin() as connection:
            first = (await connection.execute(sa.select(payout_version).limit(1))).one()._asdict()
            first |= {"number": place, "purpose": purpose, "fee_sat": fee, "sent_us": sent}
            await connection.execute(
                sa.insert(payout_version).values(first | {"txid": f"{place:064x}ab"[2:]})
            )

    await version(2, "pay", 5_000, world.now_us)
    await version(3, "pay", 9_000, None)
    assert (await look(world))("payouts_in_flight_satoshis") == 1_005_000
    await version(4, "cancel", 20_000, world.now_us)
    assert (await look(world))("payouts_in_flight_satoshis") == 20_000
    async with world.engine.begin() as connection:
        await connection.execute(sa.update(payout).values(state="abandoned"))
    assert (await look(world))("payouts_in_flight_satoshis") == 0


async def test_a_journal_that_does_not_balance_is_told(world: World) -> None:
    """I3."""
    await mine(world)
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET session_replication_role = replica"))
        await connection.execute(
            sa.text(
                "UPDATE account_day SET debit = debit + 1, closing = closing + 1 WHERE account ~ '^asset'"
            )
        )
    assert (await look(world))("journal_balanced") == 0


async def test_the_archive_is_behind_by_the_oldest_hour_that_it_lacks(world: World) -> None:
    await world.tell(world.share(1))
    await world.work()
    assert (await look(world))("archive_behind_seconds") == 0
    world.now_us += 3 * HOUR_US + 1
    assert (await look(world))("archive_behind_seconds") == 2 * 3600
    async with world.engine.begin() as connection:
        await connection.execute(
            sa.insert(archive_hour).values(
                hour_us=NOON,
                first_batch=1,
                last_batch=1,
                first_slice=1,
                total_before=0,
                rows=1,
                bytes=1,
                sha256="ab" * 32,
                manifest="{}",
                manifest_sha256="cd" * 32,
                closed_us=world.now_us,
            )
        )
    assert (await look(world))("archive_behind_seconds") == 0


def test_accounts_are_told_by_class_and_never_by_miner() -> None:
    booked = {
        "asset:coinbase:mature": 100,
        "miner:1:payable": -30,
        "miner:2:payable": -40,
        "miner:2:paying": -5,
        "pool:orphan_loss:1": 7,
        "pool:commission:earned": -32,
    }
    assert by_class(booked) == {
        "asset:coinbase:mature": 100,
        "miner:payable": 70,
        "miner:paying": 5,
        "pool:orphan_loss": -7,
        "pool:commission:earned": 32,
    }
    assert set(by_class(booked)) <= set(CLASSES)
