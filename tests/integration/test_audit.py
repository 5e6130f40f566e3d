"""The audit: the archive alone gives what the ledger has, byte for byte, and says where it does not."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
import typer
from click.testing import Result
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from payouts.fpps import Paid
from payouts.terms import DatedTerms, Terms
from pool import archive_book, cli_audit
from pool.audit import Outcome
from pool.audit_sources import AuditError
from pool.database import create_engine
from pool.fpps_accrual import ChainDay
from tests.conftest import TEMPLATE, administer, named
from tests.integration.audit_world import HOUR, MORNING, Days, content, told
from tests.integration.ledger_world import DAY, NOON

_numbers = count(1)
NEXT, THIRD = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)


LIVED = "dmpool_lived"


async def _live(url: str, directory: Path) -> Days:
    engine = create_engine(url)
    lived = Days(engine, directory)
    await lived.settle_in()
    await lived.live_three_days()
    await engine.dispose()
    return lived


@pytest.fixture(scope="module")
def lived(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    """The three days, lived once; each test has copies of the database and of the archive."""
    asyncio.run(administer(postgres, f"CREATE DATABASE {LIVED} TEMPLATE {TEMPLATE}"))
    yield asyncio.run(_live(named(postgres, LIVED), tmp_path_factory.mktemp("lived") / "archive"))
    asyncio.run(administer(postgres, f"DROP DATABASE {LIVED} WITH (FORCE)"))


@pytest_asyncio.fixture
async def days(postgres: str, lived: Days, tmp_path: Path) -> AsyncIterator[Days]:
    name = f"audited_{next(_numbers)}"
    await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {LIVED}")
    made = copy.copy(lived)
    made.engine = create_engine(named(postgres, name))
    made.node = copy.deepcopy(lived.node)
    made.told = list(lived.told)
    made.ledger = made.new_ledger()
    made.directory = tmp_path / "archive"
    shutil.copytree(lived.directory, made.directory)
    yield made
    await made.engine.dispose()
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def agreeing(outcome: Outcome) -> dict[str, int]:
    return {one.kind: one.agree for one in outcome.tallies}


def differing(outcome: Outcome) -> set[str]:
    return {one.kind for one in outcome.tallies if one.different}


async def databases(days: Days) -> list[str]:
    rows = await days.rows("SELECT datname FROM pg_database WHERE datname LIKE 'dmpool_audit%'")
    return [str(row[0]) for row in rows]


async def test_the_archive_gives_what_the_ledger_has(days: Days) -> None:
    """I2, I3, I4, I7: whole, and day by day, where windows and balances reach back before the day."""
    for first, last in ((DAY, THIRD), (DAY, DAY), (NEXT, NEXT), (THIRD, THIRD)):
        outcome = await days.audit(first, last, prove_work=True)
        assert told(outcome) == []
        assert outcome.agrees
        counted = agreeing(outcome)
        assert counted["daily report"] == counted["signature of a report"] > 0
        assert counted["balance of an account and day"] > 0
        assert counted["posting of the journal"] > 0
        assert counted["proof of work of a share or block"] > outcome.shares > 0
        assert await databases(days) == []
    assert counted["opening balance"] > 0
    assert outcome.refused.keys() == {("stale", "without a header"), ("duplicate", "without a header")}


async def test_each_report_is_rebuilt_from_what_there_was_when_it_was_made(days: Days) -> None:
    """I7: the second version of a day has a share more, and both come out."""
    outcome = await days.audit(DAY, DAY)
    assert agreeing(outcome)["daily report"] == 2


async def test_fpps_is_credited_again_from_the_shares(engine: AsyncEngine, tmp_path: Path) -> None:
    """I2, I4: at the prices that were kept, with what is carried below a satoshi, late work and all."""
    days = Days(engine, tmp_path / "archive")
    days.terms = DatedTerms(Terms("fpps", 1, 150, "pool"))
    days.ledger = days.new_ledger()
    await days.settle_in()
    for number in range(3):
        day = DAY + dt.timedelta(days=number)
        await days.mining()
        if number == 1:
            await days.tell(days.share(3, at_us=NOON))
            await days.work()
            await days.credit(DAY)
        await days.block(1)
        days.now_us = MORNING + (19 + 24 * number) * HOUR + 120_000_000
        await days.mining(1)
        await days.credit(day, ChainDay(10, 12, 3, Paid(7_000_000_001, 1_000_003, 3 * 2**33 + number)))
        await days.report(day)
    days.now_us += 12 * HOUR
    await days.close()
    for first, last in ((DAY, THIRD), (NEXT, NEXT), (THIRD, THIRD)):
        outcome = await days.audit(first, last)
        assert told(outcome) == []
        assert agreeing(outcome)["credit of FPPS"] > 0
        assert agreeing(outcome)["credit of FPPS as kept"] > 0
    await days.tamper("UPDATE fpps_credit SET work = work + 1 WHERE id = 2")
    assert differing(await days.audit(DAY, THIRD)) == {"credit of FPPS as kept"}


TAMPERING: dict[str, str] = {
    "slice": "UPDATE slice SET work = work + 1, total = total + 1, miner_total = miner_total + 1 "
    "WHERE position = 5",
    "refused shares": "UPDATE reject SET count = 7 WHERE batch_position = 2 AND miner_id = 2",
    "batch": "UPDATE batch SET taken_us = taken_us + 1 WHERE position = 3",
    "block": "UPDATE block SET reward_sat = reward_sat + 1 WHERE height = 1",
    "part of a block": "UPDATE split SET amount_sat = amount_sat + 1 WHERE miner_id = 1",
    "step of a block as kept": "UPDATE block_event SET note = 'no' WHERE state = 'mature'",
    "posting of the journal": "UPDATE journal_posting SET amount = amount - 1 "
    "WHERE account = 'pool:correction' OR account = 'pool:network_fees'",
    "balance of an account and day": "UPDATE account_day SET credit = credit + 1, closing = closing - 1 "
    "WHERE account = 'miner:2:payable' AND day = '2026-11-25'",
    "work of a miner and day": "UPDATE miner_day SET shares = shares + 1 WHERE miner_id = 3",
    "refused shares by day": "DELETE FROM reject_day WHERE miner_id = 3",
    "event of the register": "DELETE FROM register_event WHERE seq = (SELECT max(seq) FROM register_event)",
    "published report": "UPDATE report SET envelope = substr(envelope, 2) WHERE sequence = 1",
    "records of a batch": "UPDATE batch SET payload = (SELECT payload FROM batch WHERE position = 1) "
    "WHERE position = 4",
    "archived hour": "UPDATE archive_hour SET manifest_sha256 = 'x' WHERE first_batch = 1",
}


async def test_it_says_where_the_database_is_not_what_the_archive_says(days: Days) -> None:
    """I2, I3, I4, I7: each thing that somebody changed is told, with its key and both values."""
    await days.tamper(*TAMPERING.values())
    outcome = await days.audit(DAY, THIRD)
    assert differing(outcome) == TAMPERING.keys()
    lines = "\n".join(told(outcome))
    for part in ("position 5", "reward_sat 5000000002", "miner:2:payable", "day 2026-11-24", "number 1"):
        assert part in lines


async def test_a_changed_opening_balance_is_found(days: Days) -> None:
    """I3: what was booked before the period is added up from the books."""
    await days.tamper(
        "UPDATE account_day SET credit = credit + 5, closing = closing - 5 WHERE day = '2026-11-25'"
    )
    outcome = await days.audit(THIRD, THIRD)
    assert differing(outcome) == {"opening balance"}


async def test_days_that_were_dropped_live_in_the_archive(days: Days) -> None:
    """I4: what is no longer hot is not missing."""
    hot = "(SELECT max(position) FROM batch) - 3"
    await days.tamper(
        f"DELETE FROM slice WHERE batch_position < {hot}",
        f"DELETE FROM reject WHERE batch_position < {hot}",
        f"DELETE FROM batch WHERE position < {hot}",
    )
    outcome = await days.audit(DAY, THIRD)
    assert told(outcome) == []
    archived = {one.kind for one in outcome.tallies if one.only_archived}
    assert archived == {"records of a batch", "batch", "slice", "refused shares"}


async def test_it_runs_beside_a_pool_that_goes_on(days: Days) -> None:
    """I4: what comes after the archive's last hour belongs to no audited day, but late shares do."""
    before = len(days.told)
    await days.mining()
    await days.tell(days.share(2, at_us=MORNING + HOUR), days.reject(1))
    await days.block(1)
    outcome = await days.audit(DAY, THIRD)
    assert told(outcome) == []
    assert len(days.told) > before


def _flip(place: Path) -> None:
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)


async def test_a_file_that_was_changed_is_refused(days: Days) -> None:
    """I4."""
    hour = sorted(days.directory.glob("*/*/*/*.parquet"))[1]
    kept = hour.read_bytes()
    _flip(hour)
    with pytest.raises(AuditError, match=hour.name):
        await days.audit(DAY, THIRD)
    hour.write_bytes(kept)
    book = days.books()[0]
    _flip(book.directory / archive_book.DATA)
    with pytest.raises(AuditError, match="restore the file"):
        await days.audit(DAY, THIRD)
    assert await databases(days) == []


async def test_an_archive_with_holes_is_told(days: Days, tmp_path: Path) -> None:
    """I4."""
    holes: list[tuple[Callable[[Path], object], str]] = [
        (lambda place: sorted(place.glob("*/*/*/[0-9]*.json"))[2].unlink(), "as the manifest before"),
        (lambda place: sorted(place.glob("*/*/*/[0-9]*.json"))[0].unlink(), "needs older hours"),
        (lambda place: sorted(place.glob("*/*/*/book.json"))[0].unlink(), "as the book before"),
        (lambda place: shutil.rmtree(place / "2026"), "holds no closed hour"),
    ]
    whole = days.directory
    for number, (break_it, message) in enumerate(holes):
        days.directory = tmp_path / f"broken{number}"
        shutil.copytree(whole, days.directory)
        break_it(days.directory)
        with pytest.raises(AuditError, match=message):
            await days.audit(DAY, THIRD)


async def test_days_that_are_not_archived_yet_are_refused(days: Days) -> None:
    """I4: an audit never passes over shares that it does not have."""
    await days.mining()
    today = DAY + dt.timedelta(days=3)
    with pytest.raises(AuditError, match="is not over"):
        await days.audit(DAY, today)
    days.now_us += 24 * HOUR
    with pytest.raises(AuditError, match="not all shares of that day are archived"):
        await days.audit(DAY, today)
    with pytest.raises(AuditError, match="turn the days round"):
        await days.audit(today, DAY)


async def test_what_a_killed_audit_left_goes_with_the_next(days: Days, postgres: str) -> None:
    async with days.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        name = await connection.scalar(
            sa.text(
                "SELECT 'dmpool_audit_' || substr(encode(sha256(current_database()::bytea), 'hex'), 1, 8)"
            )
        )
        await connection.execute(sa.text(f'CREATE DATABASE "{name}_left"'))
        await connection.execute(sa.text('CREATE DATABASE "dmpool_audit_00000000_other"'))
    assert (await days.audit(DAY, DAY)).agrees
    assert await databases(days) == ["dmpool_audit_00000000_other"]
    async with days.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text('DROP DATABASE "dmpool_audit_00000000_other"'))


async def test_a_block_that_no_book_tells_of_is_told(days: Days) -> None:
    """I4: a block that was taken out of the database leaves its mark in the shares."""
    gone = "(SELECT hash FROM block WHERE height = 2 LIMIT 1)"
    for book in days.books():
        (book.directory / archive_book.MANIFEST).unlink()
    await days.tamper(
        f"DELETE FROM split WHERE hash = {gone}",
        f"DELETE FROM block_event WHERE hash = {gone}",
        "DELETE FROM block WHERE hash NOT IN (SELECT hash FROM block_event)",
    )
    outcome = await days.audit(DAY, THIRD)
    assert {"block", "part of a block", "step of a block as kept"} <= differing(outcome)
    assert "no book was closed yet: all but the shares is taken from the live database" in outcome.notes


async def test_the_command_tells_it_with_a_table_and_an_exit_code(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I4: for whoever runs it by hand or by a timer."""
    monkeypatch.setenv("DMPOOL_DATA_DIR", str(days.directory.parent))
    monkeypatch.setenv("DMPOOL_DATABASE__URL", days.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("DMPOOL_POOL__COMMISSION_BPS", "150")
    arguments = ["--from", str(DAY), "--to", str(THIRD), "--prove-work"]
    monkeypatch.setattr("pool.cli_audit.unix_microseconds", lambda: days.now_us)
    fine = await asyncio.to_thread(_command, arguments)
    assert (fine.exit_code, "everything agrees" in fine.output) == (0, True), fine.output
    assert "proof of work of a share or block" in fine.output
    assert "refused as stale, without a header" in fine.output
    await days.tamper(TAMPERING["block"])
    wrong = await asyncio.to_thread(_command, arguments)
    assert wrong.exit_code == 1
    assert "it does NOT agree" in wrong.output
    assert "rebuilt reward_sat 5000000001; kept reward_sat 5000000002" in wrong.output
    none = await asyncio.to_thread(_command, [*arguments, "--archive", "/nowhere"])
    assert none.exit_code == 1


def _command(arguments: list[str]) -> Result:
    cli = typer.Typer()
    cli.command()(cli_audit.command)
    return CliRunner().invoke(cli, arguments)


async def test_i4_hours_and_payments_of_a_report_are_those_of_the_archive(days: Days) -> None:
    """What a report commits to is computed again from the files; sales and sightings are taken as told."""
    first = content(await days.report(DAY, reason="the archive has closed its hours"))
    second = content(await days.report(NEXT, reason="the same"))
    assert [len(one["commitments"]["hours"]) for one in (first, second)] == [6, 2]
    assert [len(one["distributions"]) for one in (first, second)] == [0, 2]
    assert first["commitments"]["hours_complete"] is True
    outcome = await days.audit(DAY, THIRD)
    assert told(outcome) == []
    assert agreeing(outcome)["daily report"] == 6
