"""Income forms against real PostgreSQL: built of payments and daily reports, signed, corrected, logged."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from dataclasses import replace

import pytest
import rfc8785
import sqlalchemy as sa
from alembic import command

from pool import income, log_store, register_store, report_keys
from pool.clock import instant
from pool.documents import Document
from pool.reports import build_report, get_report
from pool.schema import alembic_config
from pool.tables import payment
from pool.tables_log import log_leaf
from register.clerk import Terms
from register.pool_data import Accreditation
from reporting.bip340 import signed_by
from reporting.income import FormError, forms_of, month
from reporting.keyring import Action
from reporting.signing import SigningKey
from tests.integration.entering import FIRST, TESTER
from tests.integration.form_world import (
    AFTER_US,
    FORM_1,
    FORM_2,
    MONTH,
    PUBLISHER,
    build,
    live,
    report_days,
)
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.paid_world import confirm, lose
from tests.integration.test_database import refuses

HOUR = 3_600_000_000


async def test_i7_a_form_is_built_signed_kept_and_told_to_the_log(world: World) -> None:
    await live(world)
    await report_days(world.engine)
    async with register_store.writing(
        world.engine, Terms(RULES, "regtest"), TESTER, "accredited", now_us=lambda: world.now_us
    ) as clerk:
        clerk.put_accreditation(Accreditation("A-12", FIRST))
    made = await build(world.engine)
    envelope = json.loads(made.envelope)
    told = envelope["report"]
    assert rfc8785.dumps(envelope) == made.envelope
    assert hashlib.sha256(rfc8785.dumps(told)).hexdigest() == made.sha256 == envelope["report_sha256"]
    (signature,) = envelope["signatures"]
    key, value = bytes.fromhex(signature["public_key"]), bytes.fromhex(signature["value"])
    assert signed_by(key, bytes.fromhex(made.sha256), value)
    assert [(row["distributed_on"], row["miner_id"], row["quantity"]) for row in told["rows"]] == [
        ("2026-11-24", 1, "0.01000000"),
        ("2026-11-24", 2, "0.02000000"),
        ("2026-11-25", 1, "0.03000000"),
    ]
    assert told["totals"] == {
        "rows": 3,
        "miners": 2,
        "payments": 3,
        "quantity": "0.06000000",
        "commission_quantity": "0.00000021",
    }
    assert (told["pool"]["accreditation_number"], told["pool"]["accreditation_date"]) == ("A-12", str(FIRST))
    sums = await world.rows("SELECT sum(amount_sat)::bigint FROM payment")
    assert sums == [(6_000_000,)]
    async with world.engine.connect() as connection:
        (leaf,) = await connection.scalars(sa.select(log_leaf.c.data).where(log_leaf.c.kind == "form"))
    assert json.loads(leaf) == {
        "kind": "form",
        "at": instant(AFTER_US).isoformat(),
        "form": FORM_1,
        "period": "2026-11",
        "version": 1,
        "sha256": made.sha256,
        "replaces_sha256": None,
    }


async def test_i7_the_same_facts_give_the_same_form_and_changed_ones_the_next_version(world: World) -> None:
    """A payment whose block leaves the chain: its day is reported anew, and then the month."""
    await live(world)
    await report_days(world.engine)
    first = await build(world.engine)
    assert await build(world.engine, now_us=AFTER_US + HOUR) == first
    await build(world.engine, FORM_2)
    numbers = await world.rows("SELECT id FROM payout ORDER BY id")
    await lose(world, int(str(numbers[1][0])))
    with pytest.raises(
        FormError, match=r"the report of 2026-11-25, version 1, tells of output .* nothing; `dmpool"
    ):
        await build(world.engine, now_us=AFTER_US + HOUR)
    await report_days(world.engine, [DAY + dt.timedelta(days=1)])
    second = await build(world.engine, now_us=AFTER_US + HOUR, reason="a block left the chain")
    told = second.told
    assert (second.version, told["version"], told["submission_number"]) == (2, 2, 2)
    assert (told["replaces_sha256"], told["correction_reason"]) == (first.sha256, "a block left the chain")
    assert [row["row_no"] for row in told["rows"]] == [1, 2]
    assert told["daily_reports"][24]["version"] == 2
    listed = await income.list_forms(world.engine)
    assert [(one.form, one.period, one.version, one.sha256) for one in listed] == [
        (FORM_1, "2026-11", 1, first.sha256),
        (FORM_2, "2026-11", 1, listed[1].sha256),
        (FORM_1, "2026-11", 2, second.sha256),
    ]
    leaves = await world.rows("SELECT count(*) FROM log_leaf WHERE kind = 'form'")
    assert leaves == [(3,)]


async def test_a_payment_confirmed_again_in_the_next_month_leaves_this_one(world: World) -> None:
    """I3: it is in one month and in no other."""
    world.now_us += 6 * 24 * HOUR  # 30 November
    await live(world)
    (number, _) = await world.rows("SELECT id FROM payout ORDER BY id")
    amounts = {1: 1_000_000, 2: 2_000_000}
    await lose(world, int(str(number[0])))
    await confirm(world, int(str(number[0])), amounts, 300)
    await report_days(world.engine)
    assert (await build(world.engine)).told["rows"] == []


async def test_o41_what_cannot_be_built_yet_is_told(world: World) -> None:
    rule = forms_of(RULES, MONTH)[0]
    with pytest.raises(FormError, match=r"the month is not over; wait until 2026-12-01 00:01:00\+05:00"):
        await build(world.engine, now_us=RULES.day_bounds(MONTH.last)[1])
    await report_days(world.engine, [day for day in MONTH.days() if day != DAY])
    with pytest.raises(
        FormError, match="there is none of 2026-11-24; `dmpool reports build --date 2026-11-24"
    ):
        await build(world.engine)
    october = month("2026-10")
    with pytest.raises(FormError, match="there is none of 2026-10-01, 2026-10-02, "):
        await income.build_form(world.engine, october, rule, PUBLISHER, AFTER_US)
    assert await world.rows("SELECT * FROM form") == []


async def test_i7_a_form_that_a_thief_might_have_signed_is_made_once_more(world: World) -> None:
    """The revoked key's form stays, and its next version is signed by a key in force."""
    await report_days(world.engine)
    first, other = SigningKey(b"\x07" * 32), SigningKey(b"\x08" * 32)
    rule = forms_of(RULES, MONTH)[0]

    async def made(at_us: int, *signers: SigningKey, reason: str = "later data") -> Document:
        by = replace(PUBLISHER, signers=signers)
        return await income.build_form(world.engine, MONTH, rule, by, at_us, reason=reason)

    before = await made(AFTER_US, first, other)
    assert await made(AFTER_US + HOUR, first) == before
    async with world.engine.begin() as connection:
        await log_store.lock(connection)
        ring = await report_keys.read(connection)
        at, since = (RULES.local(AFTER_US + hours * HOUR) for hours in (2, 0))
        event = ring.draft(
            Action.REVOKED, other.public_key, at, "stolen", authorised_by=first.key_id, valid_to=since
        )
        await report_keys.add(connection, ring, event, [first], "aset")
    after = await made(AFTER_US + 3 * HOUR, first, other, reason="its key was revoked")
    told = json.loads(after.envelope)
    assert (after.version, told["report"]["replaces_sha256"]) == (2, before.sha256)
    assert [one["key_id"] for one in told["signatures"]] == [first.key_id]
    assert await made(AFTER_US + 4 * HOUR, first) == after


async def test_i7_a_correction_has_a_reason_that_can_be_read(world: World) -> None:
    await report_days(world.engine)
    for reason in ("", " ", "a\nb", "\udcff", "x" * 501):
        with pytest.raises(FormError, match=r"form of 2026-11: reason .* printable characters"):
            await build(world.engine, reason=reason)


async def test_what_is_stored_and_cannot_be_true_is_told(world: World) -> None:
    """O-32: a payment that its transaction does not make is in no form."""
    await live(world)
    await report_days(world.engine)
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await connection.execute(sa.update(payment).values(script=b"\x00\x14" + b"\x01" * 20))
    with pytest.raises(FormError, match=r"what is stored cannot be true: payout .* does not make payment 1"):
        await build(world.engine)


async def test_two_who_build_at_once_make_one_form(world: World) -> None:
    """I7: the versions of a form do not fork."""
    await live(world)
    await report_days(world.engine)
    made = await asyncio.gather(*(build(world.engine) for _ in range(3)))
    assert {one.sha256 for one in made} == {made[0].sha256}
    assert await world.rows("SELECT version FROM form") == [(1,)]


async def test_i7_the_database_keeps_forms_values_and_submissions_as_they_are(world: World) -> None:
    """Append-only, versions in a row, corrections with a reason, receipts with the hash of their file.

    The form is of a month without payments.
    """
    await report_days(world.engine)
    told = (await build(world.engine)).told
    assert (told["rows"], told["totals"]["quantity"], len(told["daily_reports"])) == ([], "0.00000000", 30)
    engine = world.engine
    for table, column in {
        "form": "sha256",
        "price": "source",
        "calendar_day": "source",
        "submission": "note",
        "receipt": "text",
    }.items():
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            await refuses(engine, statement, match="append-only")
    later = (
        "INSERT INTO form (form, period, version, sha256, replaces_sha256, envelope, built_at) "
        "SELECT '{}', period, {}, 'x', sha256, envelope, built_at FROM form"
    )
    for wrong in (later.format(FORM_1, 3), later.format(FORM_2, 2)):
        await refuses(engine, wrong, match="it does not replace the version before it")
    value = (
        "INSERT INTO price (day, asset, value, currency, source, reason, entered_us, actor) "
        "VALUES ('2026-11-20', 'Bitcoin', {}, 'USD', 's', '', 1, 'a')"
    )
    await refuses(engine, value.format(0), match="price_value_check")
    await refuses(engine, value.format(1), value.format(2), match="a correction has a reason")
    off = (
        "INSERT INTO calendar_day (day, working, source, reason, entered_us, actor) "
        "VALUES ('2026-11-21', {}, 's', '', 1, 'a')"
    )
    await refuses(engine, off.format("false"), off.format("true"), match="a correction has a reason")
    sent = (
        "INSERT INTO submission (form_sha256, addressee, addressee_name, sent_us, transport, file_name, "
        "file_sha256, note, recorded_us, actor) "
        "SELECT sha256, 'tax_authority', '', 1, 'hand', '', '', '', 1, 'a' FROM form"
    )
    back = (
        "INSERT INTO receipt (submission_id, text, file_name, file, file_sha256, recorded_us, actor) "
        "SELECT max(id), 'ok', 'r.pdf', '\\\\x00', '{}', 1, 'a' FROM submission"
    )
    await refuses(engine, sent, back.format("00" * 32), match="receipt_file_check")
    async with engine.connect() as connection:
        with pytest.raises(RuntimeError, match="there are income forms or submissions: restore a backup"):
            await connection.run_sync(lambda one: command.downgrade(alembic_config(one), "0008"))
        await connection.rollback()
    assert await world.rows("SELECT version FROM form") == [(1,)]


async def test_a_form_is_built_from_real_daily_reports(world: World) -> None:
    """I3: the report of a day, as it is built, tells just the payments of the form."""
    await live(world)
    paid_on = [DAY, DAY + dt.timedelta(days=1)]
    for day in paid_on:
        await build_report(world.engine, day, PUBLISHER, AFTER_US)
    await report_days(world.engine, [day for day in MONTH.days() if day not in paid_on])
    told = (await build(world.engine)).told
    assert len(told["rows"]) == 3
    envelope = json.loads(await get_report(world.engine, DAY))
    assert envelope["report"]["schema"] == "kz-dmp-daily/2"
    assert told["daily_reports"][23]["sha256"] == envelope["report_sha256"]
    assert [row["quantity"] for row in told["rows"][:2]] == [
        row["quantity"] for row in envelope["report"]["distributions"]
    ]
