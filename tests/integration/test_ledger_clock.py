"""A ledger whose clock is behind the one before it goes on from where that one stood.

The ledger's clock is the latest instant at which a batch was taken (`ledger_head.taken_us`); the archive has
it, a machine's own clock it has not. What is decided by time is decided by the former, or an audit would
decide otherwise.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.terms import DatedTerms, Terms, TermsFrom
from pool import journal_store
from pool.records import Submitted
from tests.integration import paid_world
from tests.integration.audit_world import HOUR, MORNING, SECOND, Days, told
from tests.integration.ledger_world import DAY, NOON, RULES, World

BEHIND = 30 * SECOND
NEXT = DAY + dt.timedelta(days=1)


async def fail_over(world: World, behind_us: int = BEHIND) -> None:
    """Work is taken; then another machine's ledger takes over, whose clock is behind."""
    await world.tell(world.share(1), world.share(2))
    await world.work()
    world.now_us -= behind_us
    world.ledger = world.new_ledger()


@pytest.mark.parametrize("after_us", [-1, 0, 1, BEHIND])
async def test_a_block_is_found_and_taken_when_gateways_say_but_not_after_the_ledgers_clock(
    world: World, after_us: int
) -> None:
    """I4: whatever the clock of the machine that takes it says."""
    await fail_over(world)
    share = world.share(1)
    found = msgspec.structs.replace(world.found(share), at_us=NOON + after_us - 2)
    await world.tell(share, found, Submitted(NOON + after_us, found.block_hash, "node 1"))
    await world.work()
    found_us, submitted_us = NOON + min(after_us - 2, 0), NOON + min(after_us, 0)
    assert await world.rows("SELECT found_us FROM block") == [(found_us,)]
    assert await world.rows("SELECT state, at_us FROM block_event ORDER BY id") == [
        ("found", found_us),
        ("submitted", submitted_us),
    ]
    assert await world.rows("SELECT DISTINCT taken_us FROM batch") == [(NOON,)]


async def test_the_journal_goes_on_from_the_ledgers_clock(world: World) -> None:
    """I3: a step is not booked before the work that it pays was taken, nor on an earlier day."""
    await fail_over(world)
    share = world.share(1)
    found = world.found(share)
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    assert await world.rows("SELECT at_us, day FROM journal_entry") == [(NOON, DAY)]
    assert await world.rows("SELECT at_us FROM block_event WHERE state = 'confirmed'") == [(NOON,)]
    async with world.engine.begin() as connection:
        assert await journal_store.next_instant(connection, world.now_us) == NOON
        assert await journal_store.next_instant(connection, NOON + 1) == NOON + 1


async def test_the_terms_are_those_of_the_day_by_the_ledgers_clock(world: World) -> None:
    """I4: after midnight has passed once, no block falls under the terms of the day before."""
    later = Terms("pplns", 2, 300, "shared")
    world.terms = DatedTerms(Terms("pplns", 2, 150, "shared"), [TermsFrom(NEXT, later)])
    world.ledger = world.new_ledger()
    midnight = RULES.day_bounds(DAY)[1]
    world.now_us = midnight + SECOND
    share = world.share(1)
    found = world.found(share)
    await fail_over(world)
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    assert await world.rows("SELECT found_us, day, commission_bps FROM block") == [
        (midnight + SECOND, NEXT, 300)
    ]
    assert await world.rows("SELECT DISTINCT day FROM journal_entry") == [(NEXT,)]


async def test_an_audit_agrees_with_ledgers_of_different_clocks(engine: AsyncEngine, tmp_path: Path) -> None:
    """I4, I7: from the archive alone, to the byte."""
    days = Days(engine, tmp_path / "archive")
    await days.settle_in()
    await days.mining(1)
    await fail_over(days)
    won = days.share(1)
    found = msgspec.structs.replace(
        days.found(won, height=len(days.node.main), reward=paid_world.REWARD), at_us=days.now_us + BEHIND
    )
    await days.tell(won, found)
    days.node.main.append(found.block_hash)
    await days.work()
    days.now_us = MORNING + 19 * HOUR + 120 * SECOND
    await days.mining(1)
    await days.report(DAY)
    days.now_us = MORNING + 43 * HOUR
    await days.close()
    outcome = await days.audit(DAY, DAY)
    assert told(outcome) == []
    assert outcome.agrees
