"""What may be recorded as submitted: once, the version that went out, and none whose facts have changed."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import cli_income, cli_submissions, report_keys, resources, submissions
from pool.database import create_engine
from pool.income_due import read_dues
from pool.submissions import BY_HAND, Sending, SubmissionError
from reporting.deadlines import Due, State
from tests.integration.entering import TESTER
from tests.integration.form_world import AFTER_US, FORM_1, PUBLISHER, build, live, report_days
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.office import Office
from tests.integration.paid_world import lose

HOUR = 3_600_000_000
TO = "tax_authority"


async def record(world: World, sending: Sending, now_us: int) -> int:
    async with world.engine.begin() as connection:
        return await submissions.record(connection, sending, BY_HAND, RULES, TESTER, now_us)


async def dues(world: World, today: dt.date) -> list[Due]:
    async with world.engine.connect() as connection:
        return await read_dues(connection, RULES, today)


async def corrected(world: World, at_us: int) -> None:
    """The block of the newest payout has left the chain, and its day was reported anew at an instant."""
    numbers = await world.rows("SELECT id FROM payout ORDER BY id")
    await lose(world, int(str(numbers[-1][0])))
    await report_days(world.engine, [DAY + dt.timedelta(days=1)], built_us=at_us)


async def test_a_version_was_not_sent_before_it_was_made(world: World) -> None:
    """By the minute where a time is told, by the day where only that is."""
    await live(world)
    await report_days(world.engine)
    made = await build(world.engine, now_us=AFTER_US + 9 * HOUR)
    now_us = AFTER_US + 12 * HOUR
    with pytest.raises(
        SubmissionError, match="it was made at 2026-12-03 09:00:00, after 2026-12-03 08:59:59"
    ):
        await record(world, Sending(made, TO, AFTER_US + 9 * HOUR - 1, ""), now_us)
    assert await record(world, Sending(made, TO, AFTER_US + 9 * HOUR, ""), now_us) == 1
    assert await record(world, Sending(made, "authorised_body", AFTER_US, ""), now_us) == 2


async def test_one_sending_is_recorded_once(world: World) -> None:
    """Also by two people at once; at another time, or to another addressee, it is another sending."""
    await live(world)
    await report_days(world.engine)
    made = await build(world.engine)
    one = Sending(made, TO, AFTER_US, "")
    async with world.engine.begin() as first, world.engine.connect() as second:
        await submissions.record(first, one, BY_HAND, RULES, TESTER, AFTER_US)
        await second.execute(sa.text("SET lock_timeout = '10ms'"))
        with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
            await submissions.record(second, one, BY_HAND, RULES, TESTER, AFTER_US)
    with pytest.raises(
        SubmissionError, match="is recorded already, as 1; `dmpool submissions show 1` shows it"
    ):
        await record(world, one, AFTER_US)
    await record(world, one._replace(addressee="authorised_body"), AFTER_US)
    await record(world, one._replace(sent_us=AFTER_US + 1), AFTER_US + 1)
    assert await world.rows("SELECT count(*) FROM submission") == [(3,)]


async def test_i7_a_form_whose_day_was_reported_anew_is_not_what_was_submitted(world: World) -> None:
    """A block leaves the chain after the form went out: who has it is told of, before anybody builds anew."""
    today = dt.date(2026, 12, 20)
    await live(world)
    await report_days(world.engine)
    first = await build(world.engine)
    await record(world, Sending(first, TO, AFTER_US, ""), AFTER_US)
    assert [one.state for one in (await dues(world, today))[:2]] == [State.BUILT, State.SUBMITTED]
    await corrected(world, AFTER_US + HOUR)
    stale = (await dues(world, today))[:2]
    assert [one.state for one in stale] == [State.STALE, State.STALE]
    assert [(one.late(today), one.corrected) for one in stale] == [(True, False), (False, True)]
    async with world.engine.connect() as connection:
        with pytest.raises(
            SubmissionError, match="2026-11-25 was reported anew since it was made; `dmpool inc"
        ):
            await submissions.require_newest(connection, first)
    second = await build(world.engine, now_us=AFTER_US + 2 * HOUR)
    assert [one.state for one in (await dues(world, today))[:2]] == [State.BUILT, State.OUTDATED]
    async with world.engine.connect() as connection:
        await submissions.require_newest(connection, second)
        with pytest.raises(SubmissionError, match="version 1: version 2 took its place"):
            await submissions.require_newest(connection, first)


async def test_what_was_due_before_a_pool_made_forms_is_not_told(world: World) -> None:
    """A pool that had reported before: its forms of until then were others, made elsewhere."""
    await live(world)
    await report_days(world.engine, [dt.date(2026, 9, 30)], built_us=AFTER_US - 60 * 24 * HOUR)
    await report_days(world.engine)
    today = RULES.day_of(AFTER_US)
    assert {one.period for one in await dues(world, today)} == {"2026-11"}
    await report_keys.introduce_first(world.engine, RULES, PUBLISHER.signers, lambda: AFTER_US)
    later = dt.date(2027, 1, 20)
    assert {one.period for one in await dues(world, later)} == {"2026-11", "2026-12"}
    assert {one.late(later) for one in await dues(world, later)} == {True}


async def test_a_new_pool_is_late_from_its_first_month_on(world: World) -> None:
    """However late its first report is made: it had no other forms."""
    await report_keys.introduce_first(world.engine, RULES, PUBLISHER.signers, lambda: AFTER_US - 9 * HOUR)
    await live(world)
    await report_days(world.engine, [dt.date(2026, 8, 31)])
    today = RULES.day_of(AFTER_US)
    assert [one.period for one in await dues(world, today) if one.late(today)][::4] == [
        "2026-08",
        "2026-09",
        "2026-10",
    ]


# The commands


@pytest.fixture
def office(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Office:
    """A pool whose form was built at midnight and corrected at two of 3 December; it is ten o'clock."""
    for module in (cli_income, cli_submissions):
        monkeypatch.setattr(module, "unix_microseconds", lambda: AFTER_US + 10 * HOUR)
    monkeypatch.setattr(resources, "migrate", _as_it_is)

    async def prepare() -> None:
        engine = create_engine(database_url)
        try:
            world = World(engine)
            await world.settle_in()
            await live(world)
            await report_days(engine)
            await build(engine)
            await corrected(world, AFTER_US + HOUR)
            await build(engine, now_us=AFTER_US + 2 * HOUR)
        finally:
            await engine.dispose()

    uvloop.run(prepare())
    return Office(tmp_path, database_url)


async def _as_it_is(engine: AsyncEngine) -> None:
    """The database has its schema already."""


def test_o40_which_version_went_out_is_never_guessed(office: Office) -> None:
    form = f"--month 2026-11 --form {FORM_1} --to {TO}"
    for line, why in (
        (f"send {form} --version 1", "version 1: version 2 took its place; send that one"),
        (f"record {form} --sent 2026-12-03", "say which version that was by --version, or when it was sent"),
        (
            f"record {form} --sent 2026-12-03T01:30",
            "it was made at 2026-12-03 02:00:00, after 2026-12-03 01:30",
        ),
    ):
        assert why in office.fail(f"submissions {line}", reason=None), line
    office.see(f"submissions record {form} --version 1 --sent 2026-12-03T01:30")
    office.see(f"submissions record {form} --version 2 --sent 2026-12-03")
    office.see(f"submissions record {form} --sent 2026-12-03T04:00")
    told = office.see(f"submissions send {form}")
    assert "submission 4: form order-166-2023 of 2026-11, version 2" in told
    assert "is recorded already, as 4" in office.fail(f"submissions send {form}", reason=None)
    office.see(f"submissions send {form} --format csv")


def test_o43_a_report_of_an_unfinished_day_is_not_sent(office: Office) -> None:
    async def unfinished() -> None:
        engine = create_engine(office.url)
        try:
            await report_days(engine, [dt.date(2026, 12, 3)], complete=False)
        finally:
            await engine.dispose()

    uvloop.run(unfinished())
    told = office.fail(f"submissions send --report 2026-12-03 --to {TO}", reason=None)
    assert "it is not final, since it was made before its day was over; build it again" in told
    office.see(f"submissions send --report 2026-11-24 --to {TO}")
