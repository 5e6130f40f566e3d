"""Faults that are really caused: each alarm sounds, the fault is mended, and it is silent again.

One pool lives through all of them, so that what does not belong together can be done at once. What is told to
people reaches the pool's own inbox before the fault is mended: Alertmanager brings it there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.integration.alarm_world import AlarmWorld, alarm_world, hurried
from tests.integration.bitcoind_process import REPOSITORY
from tests.integration.test_river import until

BORN = {"CertificateEnds", "DiskFills", "LicenceEnforcementOff"}
"""Faults that are there from the beginning."""
SKEW = "UPDATE account_day SET {change} WHERE account = 'asset:coinbase:immature'"


def test_the_hurry_changes_durations_and_ages_alone() -> None:
    before = (REPOSITORY / "configs" / "alerts.yml").read_text("utf-8")
    after = hurried(before)
    assert "max by (instance) (dmpool_job_age_seconds) > 2.4" in after
    assert "for: 1333ms" in after
    assert "[250ms]" not in after
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True)
        if re.sub(r"[\d.]+(ms|[smhd])?", "", old) != re.sub(r"[\d.]+(ms|[smhd])?", "", new)
    ]
    assert changed == []


@pytest.mark.timeout(600)
async def test_every_fault_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    async with alarm_world(tmp_path) as world, world.mining():
        await world.sounds(CertificateEnds="critical", LicenceEnforcementOff="critical")
        await only_what_is_wrong_sounds(world)
        await without_nodes_and_postgresql(world)
        await nodes_apart_and_a_journal_that_does_not_balance(world)
        await without_a_ledger(world)


async def only_what_is_wrong_sounds(world: AlarmWorld) -> None:
    """A pool that has just been started is quiet, but for what is wrong with it."""

    async def at_work() -> bool:
        working = await world.watchers.query("sum(rate(dmpool_shares_total[15s])) > 0 and on () sum(up) == 3")
        return bool(working) and set(await world.watchers.firing()) <= BORN

    await until(at_work, "a pool at work, and nothing told but what is wrong", 60)


async def without_nodes_and_postgresql(world: AlarmWorld) -> None:
    """Work stops coming, and shares have nowhere to go; meanwhile somebody floods."""
    flooding = asyncio.create_task(world.flood(9))
    for node in world.nodes:
        node.stop()
    await world.engine.dispose()
    await asyncio.to_thread(world.postgres.stop)
    await world.sounds(
        *("NoJob", "DatabaseDown", "SpoolNotDraining", "AcknowledgedNotApplied"),
        NodeDown="critical",
        RejectsHigh="critical",
    )
    told = await world.watchers.handed_on()
    assert {"DatabaseDown", "NodeDown", "RejectsHigh"} <= told["active"]
    assert {"SpoolNotDraining", "AcknowledgedNotApplied", "NoJob"} <= told["suppressed"]
    await asyncio.gather(asyncio.to_thread(world.postgres.start), flooding)
    await world.told("DatabaseDown", "NodeDown")  # though there was nobody to tell while it began
    await asyncio.gather(*(node.start() for node in world.nodes))
    await world.bring_together()
    await world.silent("NoJob", "NodeDown", "DatabaseDown", "SpoolNotDraining", "AcknowledgedNotApplied")


async def nodes_apart_and_a_journal_that_does_not_balance(world: AlarmWorld) -> None:
    """A node is talked out of a block, an account out of a satoshi (I3); the faults from birth are mended."""
    await world.sounds(DiskFills="critical")
    await world.told(*BORN)
    world.certificates.renew(dt.datetime.now(dt.UTC) + dt.timedelta(days=90))
    world.watchers.full_disk = False
    world.watchers.reload()
    second = world.nodes[1]
    height = await second.rpc("getblockcount")
    assert isinstance(height, int)
    block = await second.rpc("getblockhash", height - 1)
    await second.rpc("invalidateblock", block)
    await until(lambda: booked(world), "a reward in the journal")
    await world.as_superuser(SKEW.format(change="debit = debit + 1, closing = closing + 1"))
    await world.sounds("TipsDiverge", JournalDoesNotBalance="critical")
    await world.told("JournalDoesNotBalance")
    await second.rpc("reconsiderblock", block)
    await world.bring_together()
    await world.as_superuser(SKEW.format(change="debit = debit - 1, closing = closing - 1"))
    await world.silent("TipsDiverge", "JournalDoesNotBalance")


async def booked(world: AlarmWorld) -> bool:
    async with world.engine.connect() as connection:
        return bool(
            await connection.scalar(sa.text("SELECT count(*) FROM account_day WHERE account ~ '^asset'"))
        )


async def without_a_ledger(world: AlarmWorld) -> None:
    """The ledger is killed, and comes back with the law in its rules."""
    await asyncio.to_thread(world.ledger.kill)
    await world.sounds("NoActiveLedger", TargetDown="critical")
    await world.told("NoActiveLedger", "TargetDown")
    world.ledger.unknown_device = "strict"
    await asyncio.to_thread(world.ledger.start)
    await until(lambda: strict(world), "a ledger that tells the law")
    await world.silent("NoActiveLedger", "TargetDown", "LicenceEnforcementOff")
    await world.silent("CertificateEnds", "DiskFills", "RejectsHigh")


async def strict(world: AlarmWorld) -> bool:
    return bool(await world.watchers.query('dmpool_licence_enforcement{mode="strict"} == 1'))
