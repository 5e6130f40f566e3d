"""The register before real connections: a licence is suspended, ends or goes on while machines mine.

The gatekeeper and its register are the gateway's own, the server is on TCP, the machines are the models.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter

import msgspec
import pytest

from pool.gatekeeper import RegisterGatekeeper
from pool.sightings import Sightings
from register.catalogue import day_text
from register.gate import Gate
from register.licence import Act
from register.pool_data import Accreditation
from register.rules import Rules
from stratum.messages import Reason
from tests.conformance.firmware.avalon import Avalon
from tests.conformance.firmware.bmminer import Bmminer, StockAntminer
from tests.conformance.firmware.bosminer import Bosminer
from tests.conformance.firmware.cgminer import Cgminer
from tests.conformance.firmware.esp_miner import EspMiner
from tests.conformance.firmware.nerdminer import NerdMiner
from tests.conformance.firmware.whatsminer import Whatsminer
from tests.conformance.firmware.wire import Firmware, GivesUp, code, words
from tests.conformance.pool_world import NOW, PoolWorld
from tests.register_world import FIRST, RULES, at, clerk_of, enter_unit, register_of, suspend, unknown_devices

TODAY = RULES.day_of(int(NOW * 1e6))
TOMORROW = TODAY + dt.timedelta(days=1)
MODELS = (Avalon, Bmminer, StockAntminer, Bosminer, Cgminer, EspMiner, NerdMiner, Whatsminer, Firmware)


class Registered:
    """A pool with alice, who is told in Kazakh, and bob; each has a unit `rack1-7`."""

    def __init__(self, pool: PoolWorld, rules: Rules = RULES) -> None:
        self.pool = pool
        units = {"alice": ["rack1-7", "rack1-8"], "bob": ["rack1-7"]}
        self.register = register_of("alice", "bob", units=units, languages={"alice": "kk"}, rules=rules)
        self.gate = Gate(self.register, rules)
        self.refusals: Counter[str] = Counter()
        self.sightings = Sightings(self.register, rules)
        self.keeper = RegisterGatekeeper(self.gate, self.refusals, self.sightings, rules)
        pool.server.context.gate = self.keeper

    def now_us(self) -> int:
        return int(self.pool.now * 1e6)

    def changed(self) -> None:
        """What a gateway does when its follower has put new records into the register."""
        self.keeper.changed([("licence", 0), ("accreditation", 0)])

    def suspend_alice(self) -> None:
        suspend(self.register, "alice", TODAY, TODAY + dt.timedelta(days=60), self.now_us())
        self.changed()


@pytest.fixture
def world(pool: PoolWorld) -> Registered:
    return Registered(pool)


async def a_minute_passes(pool: PoolWorld) -> None:
    for _ in range(60):
        await pool.time_passes(1)


@pytest.mark.parametrize("firmware", MODELS)
async def test_o09_a_suspension_reaches_every_firmware_in_a_refused_share_and_ends_it(
    world: Registered, firmware: type[Firmware]
) -> None:
    pool = world.pool
    miner, other = await pool.at_work(firmware), await pool.at_work(firmware, "bob.rack1-7")
    assert (await miner.mine())["result"] is True
    world.suspend_alice()
    refused = await miner.mine()
    assert code(refused) == 24
    assert "лицензияның қолданысын тоқтата тұру" in words(refused)
    assert day_text("kk", TODAY) in words(refused), "from the day of the act"
    assert pool.refusals == [Reason.LICENCE]
    await a_minute_passes(pool)
    await miner.until_closed()
    assert pool.server.counts.closed["licence"] == 1
    assert (await other.mine())["result"] is True
    assert [credit.username for credit in pool.credited] == ["alice.rack1-7", "bob.rack1-7"], (
        "paid stays paid"
    )
    again = await pool.miner(Firmware).connect()
    answer = await again.ask("mining.authorize", ["alice.rack1-7", "x"])
    assert answer["error"] == [24, words(refused), None]
    assert world.refusals == {"licence_suspended": 1}, "only who asks to be let in is counted"


@pytest.mark.parametrize(("firmware", "shows"), [(Cgminer, True), (Whatsminer, False)])
async def test_o09_who_can_show_a_message_is_shown_the_reason(
    world: Registered, firmware: type[Firmware], shows: bool
) -> None:
    miner = await world.pool.at_work(firmware)
    world.suspend_alice()
    await a_minute_passes(world.pool)
    shown = [
        one["params"][0] for one in await miner.until_closed() if one.get("method") == "client.show_message"
    ]
    assert [one.startswith("лицензияның қолданысын тоқтата тұру") for one in shown] == [True] * shows


async def test_o04_a_licence_ends_at_midnight_in_kazakhstan(world: Registered) -> None:
    pool, register = world.pool, world.register
    register.put("licence", "L-alice", msgspec.structs.replace(register.licence("L-alice"), valid_to=TODAY))
    world.changed()
    miner = await pool.at_work(Firmware)
    pool.now = at(TOMORROW) / 1e6 - 0.001
    assert (await miner.mine())["result"] is True
    pool.now = at(TOMORROW) / 1e6
    assert "цифрлық майнинг жөніндегі қызметті жүзеге асыруға арналған лицензия" in words(await miner.mine())
    await a_minute_passes(pool)
    await miner.until_closed()
    assert pool.server.counts.closed == {"licence": 1}


async def test_o10_a_suspension_begins_by_itself_and_a_resumption_takes_effect_at_once(
    world: Registered,
) -> None:
    pool, register = world.pool, world.register
    suspend(register, "alice", TOMORROW, TOMORROW + dt.timedelta(days=45), world.now_us())
    world.changed()
    miner = await pool.at_work(Firmware)
    pool.now = at(TOMORROW) / 1e6 - 0.001
    assert (await miner.mine())["result"] is True
    pool.now = at(TOMORROW) / 1e6
    assert code(await miner.mine()) == 24
    for _ in range(10):
        await pool.time_passes(1)
    day_after = TOMORROW + dt.timedelta(days=1)
    pool.now = at(day_after) / 1e6 + 100
    clerk_of(register, world.now_us()).act_on_licence("L-alice", Act("resumed", "R-1", day_after))
    assert code(await miner.mine()) == 24, "the gateway has not heard of it"
    world.changed()
    assert (await miner.mine())["result"] is True
    await a_minute_passes(pool)
    assert await miner.alive()


async def test_o07_a_unit_that_leaves_the_registry_is_sent_away_and_one_that_comes_is_let_in(
    world: Registered,
) -> None:
    pool = world.pool
    miner, second = await pool.at_work(Firmware), await pool.at_work(Firmware, "alice.rack1-8")
    clerk_of(world.register, world.now_us()).exclude_device("alice-rack1-7", TODAY)
    world.changed()
    assert "тізілімінде жоқ" in words(await miner.mine())
    await a_minute_passes(pool)
    await miner.until_closed()
    assert (await second.mine())["result"] is True
    enter_unit(clerk_of(world.register, world.now_us()), "alice", "rack2-1")
    world.changed()
    assert (await (await pool.at_work(Firmware, "alice.rack2-1")).mine())["result"] is True


async def test_o21_when_the_accreditation_ends_everybody_is_sent_away(world: Registered) -> None:
    pool = world.pool
    miners = [await pool.at_work(Firmware), await pool.at_work(Firmware, "bob.rack1-7")]
    clerk_of(world.register, world.now_us()).put_accreditation(
        Accreditation("A-1", FIRST, TODAY - dt.timedelta(days=1))
    )
    world.changed()
    assert [code(await miner.mine()) for miner in miners] == [24, 24]
    await a_minute_passes(pool)
    for miner in miners:
        await miner.until_closed()
    assert pool.server.counts.closed == {"licence": 2}
    assert pool.server.bans() == []


async def test_o09_on_a_proxy_of_two_accounts_the_other_one_works_on(world: Registered) -> None:
    pool = world.pool
    miner = await pool.at_work(Firmware)
    await miner.authorize("bob.rack1-7")
    world.suspend_alice()
    for _ in range(2):
        await a_minute_passes(pool)
        pool.publish()
        work = await miner.job()
        assert code(await miner.hand_in(miner.dig(work))) == 24
        assert (await miner.hand_in(miner.dig(work), "bob.rack1-7"))["result"] is True
    assert [one.username for one in pool.credited] == ["bob.rack1-7"] * 2
    clerk_of(world.register, world.now_us()).act_on_licence("L-bob", Act("revoked", "C-1", TODAY))
    world.changed()
    await a_minute_passes(pool)
    await miner.until_closed()


@pytest.mark.parametrize("mode", ["quarantine", "monitor", "strict"])
async def test_o07_what_becomes_of_a_machine_that_is_no_unit(pool: PoolWorld, mode: str) -> None:
    Registered(pool, unknown_devices(mode))
    if mode == "strict":
        with pytest.raises(GivesUp, match="rig9"):
            await pool.miner(Firmware, "bob.rig9").start()
        return
    miner = await pool.at_work(Cgminer, "bob.rig9")
    assert (await miner.mine())["result"] is True
    (session,) = (one.session for one in pool.server.connections)
    assert session.workers.by_name["bob.rig9"].credited is (mode == "monitor")
    shown = [one["params"][0] for one in miner.heard if one.get("method") == "client.show_message"]
    assert ["rig9 is no hardware-software complex of account bob" in one for one in shown] == [True]
