"""Reports by themselves: each day once, in order, when all of it is there; what fails holds the rest."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.typing import EventDict

from payouts import journal
from pool import archive, journal_store, report_keeper
from pool.clock import unix_microseconds
from pool.log_reader import LogReader
from pool.log_signing import sign_checkpoint
from pool.report_keeper import ReportKeeper, State
from pool.report_proofs import proof_of
from pool.reports import Publisher, ReportError, build_report, list_reports
from reporting import miner_proof
from reporting.checkpoint import origin_of
from reporting.daily_facts import DoesNotReconcile
from reporting.note import Bip340Signer
from reporting.verify import verify
from tests.integration import paid_world
from tests.integration.ledger_world import BINS, DAY, NOON, RULES, World
from tests.integration.paid_world import FEE, confirm, mature, mine, reserve, send
from tests.integration.test_reports import KEY, PUBLISHER, content

HOUR = 3_600_000_000
ONE = dt.timedelta(days=1)
END = RULES.day_bounds(DAY)[1]
DAY_US = 24 * HOUR


class Office:
    """A keeper beside the world's ledger; the archive closes what is over when it is told to."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.active = True
        self.keeper = self.new_keeper()

    def new_keeper(self) -> ReportKeeper:
        return ReportKeeper(
            self.world.engine, RULES, self.publisher, lambda: self.active, lambda: self.world.now_us
        )

    def publisher(self, day: dt.date) -> Publisher:
        return PUBLISHER

    async def close(self) -> None:
        while await archive.close_next(self.world.engine, self.directory, self.world.now_us):
            pass

    async def told(self) -> list[tuple[str, int]]:
        """The days that were reported, and their versions, in order."""
        return [(str(one.day), one.version) for one in await list_reports(self.world.engine)]


@pytest.fixture
def office(world: World, tmp_path: Path) -> Office:
    return Office(world, tmp_path / "archive")


async def test_days_are_built_in_order_when_they_are_over_and_archived(office: Office) -> None:
    world = office.world
    await office.keeper.step()
    assert (await office.told(), office.keeper.state) == ([], State())  # nothing ever happened
    await world.tell(world.share(1, "rig1"))
    await world.work()
    await office.keeper.step()
    world.now_us = END + 59_000_000
    await office.close()
    await office.keeper.step()
    assert (await office.told(), office.keeper.state) == ([], State())  # the day is not closed
    world.now_us = END + 2 * DAY_US + 3 * 60_000_000
    await world.tell(world.share(2, "rig1"))
    await world.work()
    await office.keeper.step()
    assert await office.told() == [("2026-11-24", 1), ("2026-11-25", 1), ("2026-11-26", 1)]
    assert office.keeper.state == State()
    before = None
    for number in range(3):
        envelope = await build_report(world.engine, DAY + number * ONE, PUBLISHER, world.now_us)
        assert all(check.passed for check in verify(envelope, KEY.public_key))
        assert content(envelope)["previous_report_sha256"] == before
        assert content(envelope)["commitments"]["hours_complete"] is True
        before = json.loads(envelope)["report_sha256"]
    await office.keeper.step()
    assert len(await office.told()) == 3


async def test_a_day_waits_for_the_ledger_and_for_the_archive(office: Office) -> None:
    world = office.world
    await world.tell(world.share(1, "rig1"))
    await world.work()
    world.now_us = END + HOUR
    await office.keeper.step()
    assert (await office.told(), office.keeper.state) == ([], State(59 * 60))  # its hour is not closed
    await office.close()
    await world.tell(world.share(1, "rig1"))
    async with world.engine.begin() as connection:
        late = sa.text("UPDATE batch SET received_at = '2026-11-24T18:59:59Z' WHERE position IS NULL")
        await connection.execute(late)
    await office.keeper.step()
    assert await office.told() == []  # a batch of before midnight is not taken
    await world.work()
    await office.keeper.step()
    assert (await office.told(), office.keeper.state.behind_seconds) == ([("2026-11-24", 1)], 0)


async def test_a_standby_builds_nothing(office: Office) -> None:
    world = office.world
    await world.tell(world.share(1, "rig1"))
    await world.work()
    world.now_us = END + HOUR
    await office.close()
    office.active = False
    await office.keeper.step()
    assert (await office.told(), office.keeper.state) == ([], State())


async def test_i3_a_day_that_does_not_reconcile_stops_itself_and_those_behind_it(
    office: Office, told: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = office.world
    await mine(world, 1, {2: 1})
    world.now_us = END + 2 * DAY_US + HOUR
    await office.close()
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        wrong = "UPDATE account_day SET opening = opening - 1, closing = closing - 1 WHERE account = :account"
        await connection.execute(sa.text(wrong), {"account": "miner:1:immature"})
    monkeypatch.setattr(report_keeper, "TICK_SECONDS", 0)
    turns = 0

    def twice() -> bool:
        nonlocal turns
        turns += 1
        if turns > 5:
            raise KeyboardInterrupt
        return True

    keeper = ReportKeeper(world.engine, RULES, office.publisher, twice, lambda: world.now_us)
    with pytest.raises(KeyboardInterrupt):
        await keeper.run()
    assert await office.told() == []
    assert keeper.state == State((2 * DAY_US + HOUR) // 1_000_000 - 60, blocked=True)
    said = [event["reason"] for event in told if event["event"] == "report_waits"]
    assert len(said) == 1  # once, however often it is tried
    assert said[0].startswith("closing balance of account miner:1:immature: opening + in - out is")
    with pytest.raises(DoesNotReconcile):
        await office.keeper.step()


async def test_o32_a_day_is_corrected_when_a_payment_of_it_is_booked_later(office: Office) -> None:
    """Q-07, I7: the next version, with the reason; a keeper that was killed before it does it then."""
    world = office.world
    await mine(world, 1, {2: 1})
    await mature(world)
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    world.now_us = END + HOUR // 2
    await office.close()
    await office.keeper.step()
    world.now_us = END + HOUR
    await confirm(world, number, amounts)  # in a block of two hours ago: yesterday
    world.now_us = END + DAY_US + HOUR
    await office.close()
    await office.keeper.step()
    assert await office.told() == [("2026-11-24", 1), ("2026-11-25", 1), ("2026-11-24", 2)]
    corrected = content(await build_report(world.engine, DAY, PUBLISHER, world.now_us))
    assert corrected["correction_reason"] == (
        "a payment that counts for this day was booked, or taken back, on 2026-11-25"
    )
    assert [row["quantity_sat"] for row in corrected["distributions"]] == [1_000_000, 2_000_000]
    office.keeper = office.new_keeper()
    await office.keeper.step()
    assert len(await office.told()) == 3
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await connection.execute(sa.text("DELETE FROM report WHERE sequence = 3"))
    await office.new_keeper().step()
    assert (await office.told())[2:] == [("2026-11-24", 2)]


async def test_an_unfinished_report_is_replaced_and_a_clock_far_behind_makes_no_days(office: Office) -> None:
    world = office.world
    years_ago = NOON - 3000 * DAY_US
    await world.tell(world.share(1, "rig1"), world.share(2, "rig1", at_us=years_ago))
    await world.work()
    await build_report(world.engine, DAY, PUBLISHER, world.now_us, unfinished=True)
    world.now_us = END + HOUR
    await office.close()
    await office.keeper.step()
    assert await office.told() == [("2026-11-24", 1), ("2026-11-24", 2)]


# What a miner is given


async def test_each_miner_gets_a_proof_that_holds(office: Office) -> None:
    """I4, I7: from the ledger's own shares to a checkpoint of the log."""
    world = office.world
    await mine(world, 1, {2: 3})
    world.now_us += 3 * HOUR
    await world.tell(*(world.share(miner_id, "rig1") for miner_id in (1, 1, 2)))
    await world.work()
    world.now_us = END + HOUR
    await office.close()
    with pytest.raises(ReportError, match="no report of 2026-11-24 was made"):
        await proof_of(world.engine, RULES, DAY, "miner1")
    await office.keeper.step()
    waiting = await proof_of(world.engine, RULES, DAY, "miner1")
    failed = [check for check in miner_proof.check(waiting, KEY.public_key) if not check.passed]
    assert [check.detail for check in failed] == [
        "no checkpoint with it was signed when this proof was made; ask for the proof again later"
    ]
    origin = origin_of(BINS[0], "regtest")
    async with world.engine.begin() as connection:
        signers = [Bip340Signer(origin, KEY)]
        await sign_checkpoint(connection, LogReader(), origin, signers, unix_microseconds())
    for name, hours in (("miner1", 2), ("miner2", 2), ("miner3", 0)):
        proof = await proof_of(world.engine, RULES, DAY, name)
        checks = miner_proof.check(proof, KEY.public_key)
        assert [check for check in checks if not check.passed] == []
        assert len(json.loads(proof)["hours"]) == hours
    with pytest.raises(ReportError, match="miner 'nobody': no such account"):
        await proof_of(world.engine, RULES, DAY, "nobody")


async def test_o32_a_day_is_corrected_whoever_built_the_others_and_in_which_order(office: Office) -> None:
    """Q-07: a payment would be a row of no report at all."""
    world = office.world
    await mine(world, 1, {2: 1})
    await mature(world)
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    world.now_us = END + HOUR // 2
    await office.close()
    await office.keeper.step()
    world.now_us = END + HOUR
    await confirm(world, number, amounts)  # in a block of two hours ago: yesterday
    world.now_us = END + 2 * DAY_US + HOUR
    await office.close()
    by_hand = DAY + 2 * ONE
    await build_report(world.engine, by_hand, PUBLISHER, world.now_us)
    await office.keeper.step()
    told = [("2026-11-24", 1), ("2026-11-26", 1), ("2026-11-25", 1), ("2026-11-24", 2)]
    assert await office.told() == told
    # Shares that come for a day which was corrected already are for a person to decide on.
    await world.tell(world.share(1, "rig1", at_us=NOON))
    await world.work()
    await office.new_keeper().step()
    assert await office.told() == told


async def test_o32_a_day_is_corrected_though_no_keeper_saw_the_report_that_says_so(office: Office) -> None:
    world = office.world
    await mine(world, 1, {2: 1})
    await mature(world)
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    world.now_us = END + HOUR // 2
    await office.close()
    await office.keeper.step()
    world.now_us = END + HOUR
    await confirm(world, number, amounts)
    world.now_us = END + 2 * DAY_US + HOUR
    await office.close()
    for day in (DAY + ONE, DAY + 2 * ONE):
        await build_report(world.engine, day, PUBLISHER, world.now_us)
    await office.new_keeper().step()
    assert (await office.told())[3:] == [("2026-11-24", 2)]


async def test_a_day_that_was_only_told_unfinished_is_not_corrected_but_built_when_it_is_over(
    office: Office,
) -> None:
    """A block may be dated ahead of the ledger's clock, so that today's payment counts for tomorrow."""
    world = office.world
    await mine(world, 1, {2: 1})
    await mature(world)
    amounts = {1: 1_000_000, 2: 2_000_000}
    number = await reserve(world, amounts)
    await send(world, number)
    world.now_us = END - HOUR // 2
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        entry = journal.payout_confirmed(number, amounts, FEE)
        await journal_store.book(connection, entry, at_us, DAY, "settler")
        block = {"block_hash": "ab" * 32, "block_height": 200, "block_time_us": END + HOUR // 2}
        await paid_world._event(connection, number, "confirmed", at_us, **block)
    world.now_us = END + HOUR
    await build_report(world.engine, DAY + ONE, PUBLISHER, world.now_us, unfinished=True)
    await office.close()
    await office.keeper.step()
    await office.keeper.step()
    assert await office.told() == [("2026-11-25", 1), ("2026-11-24", 1)]
    world.now_us = END + DAY_US + HOUR
    await office.close()
    await office.keeper.step()
    assert (await office.told())[2:] == [("2026-11-25", 2)]
    whole = content(await build_report(world.engine, DAY + ONE, PUBLISHER, world.now_us))
    assert (len(whole["distributions"]), whole["commitments"]["hours_complete"]) == (2, True)
