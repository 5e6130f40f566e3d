"""O-07: the ledger's watch on a real PostgreSQL: what it counts, reads back, and makes events of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa

from pool import compliance, register_store
from pool.clock import HOUR_US, hour_of
from pool.compliance import Compliance, read_hour
from pool.device_watch import CLOSE_US, MINUTE_US, Hour, part_of
from pool.gateway_store import register_gateway
from pool.intake import Taken
from pool.ledger import Ledger
from pool.records import Record, Share
from pool.tables import batch
from register.clerk import Terms
from register.person import Actor, Role
from register.sighting import Seen, Sighting, SightingKind
from tests.integration.ledger_world import DAY, NOON, RULES, World

TERMS = Terms(RULES, "regtest")
HARD = (2**204 - 1).to_bytes(32, "big")
"""A share's target: 2**52 hashes. A unit of 56 TH/s gives some 45 such shares in an hour."""
OVERRATE, DUPLICATE = SightingKind.OVERRATE, SightingKind.DUPLICATE


class Desk:
    """A ledger's world, and the task beside its ledger, told of each batch as the ledger tells it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.active = True
        self.other_gateway = 0
        self.start()
        world.ledger = Ledger(
            world.engine,
            [world.node],
            RULES,
            world.terms,
            lambda: world.now_us,
            self.taken,
        )

    def start(self) -> None:
        """The ledger's process starts anew."""
        self.task = Compliance(self.world.engine, TERMS, lambda: self.active, lambda: self.world.now_us)

    def taken(self, taken: Taken) -> None:
        """The ledger tells the task of its process."""
        self.task.taken(taken)

    async def mine(
        self, minutes: Sequence[int], *, shares: int = 1, worker: str = "rig1", gateway: int | None = None
    ) -> None:
        """Shares in some minutes from 12:00 on, a batch for each, told when the clock is there or later."""
        own, world = self.world._number, self.world
        for minute in minutes:
            at_us = NOON + minute * MINUTE_US
            world.now_us = max(world.now_us, at_us + shares)
            world._number = gateway or own
            await world.tell(
                *(world.share(1, worker, target=HARD, at_us=at_us + one) for one in range(shares))
            )
            world._number = own
            await world.work()

    async def at(self, minute: int) -> None:
        """The clock stands so many minutes after 12:00, and the task has its turn."""
        self.world.now_us = max(self.world.now_us, NOON + minute * MINUTE_US)
        await self.task.step()

    async def seen(self) -> list[tuple[SightingKind, str, int]]:
        """What was seen, of which worker, from how many minutes after 12:00 on."""
        seen = await register_store.read_sightings(self.world.engine, DAY, DAY)
        return [
            (one.sighting.kind, one.sighting.worker, (one.sighting.first_us - NOON) // MINUTE_US)
            for one in seen
        ]

    async def counts(self) -> list[int]:
        return [
            int(str(count))
            for (count,) in await self.world.rows("SELECT count FROM sighting ORDER BY kind, worker")
        ]

    async def events(self) -> list[str]:
        rows = await self.world.rows("SELECT key FROM register_event WHERE kind = 'sighting' ORDER BY seq")
        return [str(key).split("/", 1)[1] for (key,) in rows]


@pytest.fixture
async def desk(world: World) -> Desk:
    made = Desk(world)
    made.other_gateway = await register_gateway(world.engine, UUID(int=7), "other")
    world.now_us = NOON - 30 * MINUTE_US
    await made.mine([-30])  # the hour in which the ledger starts
    return made


async def test_o07_an_hour_over_the_nominal_rate_is_an_event_once(desk: Desk) -> None:
    await desk.mine(range(60), shares=2)
    await desk.mine(range(60), shares=1, worker="rig2")
    await desk.at(64)
    assert await desk.seen() == []
    for minute in (65, 66, 200):
        await desk.at(minute)
        assert await desk.seen() == [(OVERRATE, "rig1", 0)]
        assert await desk.events() == ["overrate/1/rig1"]
    await desk.mine(range(240, 300), shares=2)
    await desk.at(305)
    assert await desk.counts() == [2]
    assert await desk.events() == ["overrate/1/rig1"]


async def test_o07_after_a_restart_in_mid_hour_its_earlier_slices_count_too(desk: Desk) -> None:
    await desk.mine(range(30), shares=2)
    desk.start()
    await desk.mine(range(30, 60), shares=2)
    await desk.at(66)
    assert await desk.seen() == [(OVERRATE, "rig1", 0)]
    desk.start()  # and a restart soon after does not count the hour again
    await desk.mine([67])
    await desk.at(190)
    assert await desk.counts() == [1]


async def test_o07_a_unit_at_two_gateways_is_found_also_when_one_of_them_was_cut_off(desk: Desk) -> None:
    await desk.mine(range(0, 60, 3))
    await desk.at(65)
    assert await desk.seen() == []
    desk.world.now_us = NOON + 300 * MINUTE_US
    await desk.mine([3, 6], gateway=desk.other_gateway)
    await desk.at(310)
    assert await desk.seen() == []
    await desk.mine([30], gateway=desk.other_gateway)
    await desk.at(311)
    assert await desk.seen() == []
    await desk.at(330)
    assert await desk.seen() == [(DUPLICATE, "rig1", 0)]
    assert await desk.events() == ["duplicate/1/rig1"]


async def test_a_unit_that_was_changed_meanwhile_is_not_judged_by_its_new_rate(desk: Desk) -> None:
    await desk.mine(range(60), shares=2)
    await change_rate(desk, "miner1-rig1", NOON + 20 * MINUTE_US)
    await desk.at(66)
    await desk.mine(range(120, 180), shares=2)
    await desk.at(186)
    assert await desk.seen() == [(OVERRATE, "rig1", 120)]


async def change_rate(desk: Desk, number: str, at_us: int) -> None:
    actor = Actor("tester", Role.OPERATOR)
    async with register_store.writing(
        desk.world.engine, TERMS, actor, "a test", now_us=lambda: at_us
    ) as clerk:
        device = clerk.register.device(number)
        clerk.change_device(msgspec.structs.replace(device, nominal_ghs=device.nominal_ghs - 1))


async def test_hours_read_from_batches_are_those_counted_in_memory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of all lengths, over the edges of hours and days, at two gateways, some with blocks."""
    monkeypatch.setattr(compliance, "BATCHES_AT_ONCE", 7)
    dice = random.Random(7)
    world = desk.world
    counted = {start_us: Hour(start_us) for start_us in range(NOON, NOON + 12 * HOUR_US, HOUR_US)}

    def count(taken: Taken) -> None:
        for one in taken.slices:
            for start_us in range(hour_of(one.first_us), one.last_us + 1, HOUR_US):
                if start_us in counted:
                    name = (one.miner_id, one.worker)
                    counted[start_us].add(taken.gateway_number, name, part_of(one, start_us))

    world.ledger = Ledger(world.engine, [world.node], RULES, world.terms, lambda: world.now_us, count)
    own = world._number
    for _ in range(60):
        world._number = dice.choice([own, desk.other_gateway])
        first_us = NOON + dice.randrange(12 * HOUR_US)
        long = dice.choice([1, MINUTE_US, 2 * HOUR_US])
        records: list[Record] = [
            world.share(
                dice.randint(1, 2),
                dice.choice(["rig1", "rig2"]),
                target=(2 ** dice.randrange(140, 250)).to_bytes(32, "big"),
                at_us=first_us + dice.randrange(long),
            )
            for _ in range(dice.randrange(30))
        ]
        last = records[-1] if records else None
        if isinstance(last, Share) and dice.random() < 0.2:
            records.append(world.found(last))
            records.append(world.share(last.miner_id, last.worker, at_us=first_us))
        records.append(world.reject(1))
        await world.tell(*records)
    world.now_us = NOON + 13 * HOUR_US
    await world.work()
    for start_us, hour in counted.items():
        assert content(await read_hour(world.engine, RULES.day_of, start_us)) == content(hour)
    assert any(hour.rates for hour in counted.values())


async def test_batches_that_nobody_looked_into_are_read_too(desk: Desk) -> None:
    """As a ledger of before left them: it did not say when the shares of a batch were."""
    await desk.mine(range(3), shares=2)
    before = content(await read_hour(desk.world.engine, RULES.day_of, NOON))
    async with desk.world.engine.begin() as connection:
        await connection.execute(sa.update(batch).values(first_us=None, last_us=None))
    assert content(await read_hour(desk.world.engine, RULES.day_of, NOON)) == before
    assert before != content(Hour(NOON))


def content(hour: Hour) -> tuple[object, object]:
    return {name: (one.work, one.spread, one.shares) for name, one in hour.rates.items()}, hour.minutes


async def test_what_gateways_saw_becomes_an_event_once_and_only_by_the_active_ledger(desk: Desk) -> None:
    first = Sighting(SightingKind.UNREGISTERED, DAY, 2, "stranger", NOON)
    desk.active = False
    for _ in range(2):
        await register_store.add_sightings(desk.world.engine, [Seen(first, NOON + 5, 3)])
        await desk.at(1)
        assert await desk.events() == []
    desk.active = True
    for _ in range(2):
        await desk.at(2)
        await register_store.add_sightings(desk.world.engine, [Seen(first, NOON + 9, 1)])
    assert await desk.events() == ["unregistered/2/stranger"]
    assert await desk.counts() == [8]
    await register_store.verify_chain(desk.world.engine)


async def test_what_fails_is_done_again_from_postgres(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.mine(range(60), shares=2)
    await desk.mine(range(60, 120), shares=2, worker="rig2")
    with monkeypatch.context() as patch:
        patch.setattr(register_store, "add_sightings", _away)
        with pytest.raises(ConnectionError):
            await desk.at(126)
    await desk.at(127)
    assert await desk.seen() == []
    await desk.at(126 + CLOSE_US // MINUTE_US)
    assert await desk.seen() == [(OVERRATE, "rig1", 0), (OVERRATE, "rig2", 60)]


async def _away(*given: object) -> None:
    raise ConnectionError("PostgreSQL is away")


async def test_a_failure_of_the_watch_never_reaches_the_ledger(desk: Desk) -> None:
    await desk.mine(range(30), shares=2)
    desk.task.taken(Taken(10**6, 1, [None]))  # type: ignore[list-item]
    await desk.mine(range(30, 60), shares=2)
    await desk.at(66)
    assert await desk.seen() == [(OVERRATE, "rig1", 0)]


async def test_while_another_ledger_is_active_nothing_is_counted(desk: Desk) -> None:
    await desk.mine(range(30), shares=2)
    desk.active = False
    await desk.at(40)
    desk.active = True
    await desk.mine(range(41, 60), shares=2)
    await desk.at(66)
    assert await desk.seen() == [(OVERRATE, "rig1", 0)]
    assert await desk.counts() == [1]
