"""The register in PostgreSQL: written whole or not at all, read as it stands and as it stood."""

from __future__ import annotations

import asyncio
import datetime as dt

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.clock import unix_microseconds
from pool.register_store import Head, writing
from pool.tables import register_event
from register.clerk import Terms
from register.event import ChainError
from register.gate import Admission, Gate, Refusal
from register.licence import Act, LicenceError
from register.miner import Miner, MinerError
from register.person import Actor, Person, PersonError, Role, token_hash
from register.sighting import Seen, Sighting, SightingKind
from tests.integration.entering import ENTERED_US, TESTER, enter_miner
from tests.integration.ledger_world import BINS, NOON, RULES

TERMS = Terms(RULES, "regtest")
DAY = dt.date(2026, 11, 20)


async def test_what_was_entered_is_read_back(engine: AsyncEngine) -> None:
    entered = await enter_miner(engine, "alpha", BINS[0], workers=("s17",))
    register = await register_store.read(engine)
    assert register.miner("alpha") == entered
    standing = register.standing(entered, NOON, RULES)
    assert standing.licence is not None
    assert standing.wallet is not None
    assert (standing.licence.number, standing.wallet.key) == ("L-alpha", "1.1")
    assert isinstance(Gate(register, RULES).admit("alpha.S17", NOON), Admission)
    assert isinstance(Gate(register, RULES).admit("alpha.other", NOON), Refusal)
    head = await register_store.verify_chain(engine)
    assert head == Head(register.seq, register.sha256, register.at_us)
    assert head.seq == 5


async def test_a_change_that_fails_leaves_nothing(engine: AsyncEngine) -> None:
    """I10: what comes before the mistake is not stored either."""
    await enter_miner(engine, "alpha", BINS[0], workers=())
    before = await register_store.verify_chain(engine)

    async def enter(actor: Actor, reason: str) -> None:
        async with writing(engine, TERMS, actor, reason) as clerk:
            clerk.enter_miner(Miner(0, "beta", "Beta LLP", BINS[1]))
            clerk.act_on_licence("L-alpha", Act("resumed", "R-1", DAY))

    with pytest.raises(LicenceError, match="nothing to resume"):
        await enter(TESTER, "two changes")
    with pytest.raises(PersonError, match="may not write miner"):
        await enter(Actor("eye", Role.AUDITOR), "an auditor reads")
    with pytest.raises(ValueError, match="reason"):
        await enter(TESTER, "")
    assert await register_store.verify_chain(engine) == before


async def test_two_writers_follow_each_other(engine: AsyncEngine) -> None:
    async def enter(number: int) -> None:
        async with writing(engine, TERMS, TESTER, f"writer {number}") as clerk:
            clerk.enter_miner(Miner(0, f"m{number}", "Some LLP", BINS[0]))

    await asyncio.gather(*(enter(number) for number in range(8)))
    head = await register_store.verify_chain(engine)
    register = await register_store.read(engine)
    assert head.seq == 8
    assert sorted(register.miners) == list(range(1, 9))
    rows = await register_store.history(engine, "miner", "1")
    assert [event.action for event in rows] == ["entered"]


async def test_the_past_is_told_by_what_was_known_then(engine: AsyncEngine) -> None:
    """I8: what is entered later does not change what was."""
    miner = await enter_miner(engine, "alpha", BINS[0], workers=())
    then = await register_store.read(engine)
    renamed = msgspec.structs.replace(miner, title="Alpha Mining LLP")
    async with writing(engine, TERMS, TESTER, "a new name", now_us=lambda: NOON) as clerk:
        clerk.change_miner(renamed)
    for before_us, title in ((NOON, "alpha LLP"), (NOON + 1, "Alpha Mining LLP")):
        register = await register_store.read(engine, before_us=before_us)
        assert register.miner("alpha").title == title
    past = await register_store.read(engine, before_us=NOON)
    assert (past.seq, past.sha256) == (then.seq, then.sha256)
    assert not (await register_store.read(engine, before_us=ENTERED_US)).miners
    with pytest.raises(MinerError, match="never change"):
        async with writing(engine, TERMS, TESTER, "another account") as clerk:
            clerk.change_miner(msgspec.structs.replace(miner, name="other"))


async def test_a_writer_from_the_future_or_one_who_was_revoked_is_refused(engine: AsyncEngine) -> None:
    """An event of the future would hide what follows from questions about the past."""
    ahead = unix_microseconds() + 3600 * 1_000_000
    with pytest.raises(register_store.ClockError, match=r"3[56]\d\d s ahead"):
        async with writing(engine, TERMS, TESTER, "tomorrow", now_us=lambda: ahead):
            pass
    officer = Person("anna", Role.COMPLIANCE, token_hash("t"))
    async with writing(engine, TERMS, TESTER, "the first") as clerk:
        clerk.put_person(officer)
    for actor in (TESTER, Actor("anna", Role.COMPLIANCE, token_hash("an older one"))):
        with pytest.raises(PersonError, match=r"may not act|was replaced"):
            async with writing(engine, TERMS, actor, "too late"):
                pass


@pytest.mark.parametrize(
    "statement", ["UPDATE register_event SET reason = 'x'", "DELETE FROM register_event"]
)
async def test_nothing_is_overwritten(engine: AsyncEngine, statement: str) -> None:
    await enter_miner(engine, "alpha", BINS[0], workers=())
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(sa.text(statement))


async def test_a_log_that_was_tampered_with_is_found(engine: AsyncEngine) -> None:
    """By somebody who may even take the trigger away."""
    await enter_miner(engine, "alpha", BINS[0], workers=())
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE register_event DISABLE TRIGGER ALL"))
        await connection.execute(
            sa.update(register_event).where(register_event.c.seq == 3).values(actor="nobody")
        )
    with pytest.raises(ChainError, match="event 3: its content"):
        await register_store.verify_chain(engine)


async def test_sightings_add_up_and_become_events_once(engine: AsyncEngine) -> None:
    """O-07."""
    miner = await enter_miner(engine, "alpha", BINS[0], workers=())

    def seen(kind: SightingKind, worker: str, at_us: int, count: int) -> Seen:
        return Seen(Sighting(kind, DAY, miner.id, worker, at_us, "why"), at_us + count, count)

    first = [
        seen(SightingKind.UNREGISTERED, "x", NOON, 3),
        seen(SightingKind.UNREGISTERED, "x", NOON + 50, 1),
        seen(SightingKind.DUPLICATE, "x", NOON, 1),
    ]
    await register_store.add_sightings(engine, first)
    await register_store.add_sightings(engine, [])
    assert await register_store.record_sightings(engine, TERMS) == 2
    await register_store.add_sightings(engine, [seen(SightingKind.UNREGISTERED, "x", NOON + 900, 2)])
    assert await register_store.record_sightings(engine, TERMS) == 0
    told = {one.sighting.kind: one for one in await register_store.read_sightings(engine, DAY, DAY)}
    assert told[SightingKind.UNREGISTERED].count == 6
    assert told[SightingKind.UNREGISTERED].last_us == NOON + 902
    assert told[SightingKind.UNREGISTERED].sighting.first_us == NOON
    events = await register_store.events(engine, kinds=("sighting",))
    assert sorted(event.key for event in events) == [
        "2026-11-20/duplicate/1/x",
        "2026-11-20/unregistered/1/x",
    ]
    assert {event.actor for event in events} == {"ledger"}
    await register_store.verify_chain(engine)
