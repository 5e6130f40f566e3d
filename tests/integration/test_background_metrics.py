"""What is read of PostgreSQL for Prometheus: reports, the log, the database, accounts, and what waits."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import account_metrics, ledger_metrics
from pool.account_metrics import AccountMetrics
from pool.clock import instant
from pool.config import DEMO, Settings
from pool.database_metrics import DatabaseMetrics
from pool.ledger import Ledger
from pool.live_register import LiveRegister
from pool.log_section import WitnessSection
from pool.metrics import Metrics
from pool.reading import DatabaseAway, reading
from pool.report_metrics import VERIFY_US, ReportMetrics, key_ends
from pool.signing_section import CmsSection
from pool.statement_now import Office
from pool.tables import batch
from pool.telemetry.readers import readers
from reporting.keyring import Key
from reporting.note import parse_key
from tests.integration.audit_world import MORNING, Days
from tests.integration.ledger_world import DAY, NOON, RULES, World
from tests.integration.log_world import LogWorld, Witness, serving
from tests.pool.fakes import until

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class Told:
    """What a collector tells now; None for a series that it does not."""

    def __init__(self, collector: Collector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"dmpool_{name}", labels)

    def names(self) -> set[str]:
        """Of all series that have samples."""
        return {family.name for family in self._registry.collect() if family.samples}


# Reports


async def reported(engine: AsyncEngine, directory: Path) -> Days:
    """A day with a report, and its correction."""
    days = Days(engine, directory / "parquet")
    await days.settle_in()
    await days.mining()
    days.now_us = MORNING + DAY_US
    await days.close()
    await days.report(DAY)
    await days.tell(days.share(3, at_us=NOON))  # from a gateway that was cut off
    await days.work()
    days.now_us += HOUR_US
    await days.close()
    await days.report(DAY, reason="a gateway was cut off")
    return days


async def test_reports_are_counted_and_the_newest_is_verified(
    engine: AsyncEngine, tmp_path: Path, told: list[EventDict]
) -> None:
    """Read back from PostgreSQL as a regulator would; spoilt there, the next look says so."""
    days = await reported(engine, tmp_path)
    metrics = ReportMetrics(engine, RULES, (), lambda: days.now_us)
    reports = Told(metrics)
    assert reports.names() == set()
    await metrics.read()
    assert (reports("report_versions"), reports("report_corrections")) == (2, 1)
    assert reports("report_last_day_timestamp_seconds") == RULES.day_bounds(DAY)[1] / 1e6
    assert reports("report_verified") == 1
    assert reports("report_verified_timestamp_seconds") == days.now_us / 1e6
    assert reports("report_key_end_timestamp_seconds") is None
    async with engine.begin() as connection:
        await connection.execute(sa.text("SET session_replication_role = replica"))  # past the triggers
        changed = "convert_to(replace(convert_from(envelope, 'UTF8'), 'Test DMP', 'Fake DMP'), 'UTF8')"
        await connection.execute(sa.text(f"UPDATE report SET envelope = {changed} WHERE version = 2"))
    await metrics.read()
    assert reports("report_verified") == 1, "it is not verified again with every look"
    days.now_us += VERIFY_US
    await metrics.read()
    assert reports("report_verified") == 0
    assert reports("report_verified_timestamp_seconds") == days.now_us / 1e6
    (event,) = [one for one in told if one["event"] == "report_not_verified"]
    assert event["sequence"] == 2
    assert "hash" in event["reason"]


async def test_before_the_first_report_nothing_is_said_of_one(engine: AsyncEngine) -> None:
    metrics = ReportMetrics(engine, RULES, (), lambda: NOON)
    await metrics.read()
    assert Told(metrics).names() == {
        "dmpool_report_versions",
        "dmpool_report_corrections",
        "dmpool_log_entries",
    }


def key(name: str, **life: Any) -> Key:
    return Key(name, name, instant(NOON - DAY_US), None, **life)


def test_the_end_of_a_key_counts_unless_another_follows() -> None:
    now, soon, later = (instant(NOON + days * DAY_US) for days in (0, 3, 9))
    assert key_ends([key("endless")], now) == []
    assert key_ends([key("followed", valid_to=soon, replaced_by="next"), key("next")], now) == []
    ends = [key("first", revoked_from=later), key("second", revoked_from=soon)]
    assert key_ends(ends, now) == [later, soon]
    assert key_ends(ends, soon) == [later], "what has ended does not end once more"


async def test_the_state_key_ends_with_its_certificate(engine: AsyncEngine, tmp_path: Path) -> None:
    """The national authority gives certificates for a year; one that cannot be read here has no end told."""
    ends = dt.datetime(2027, 3, 1, tzinfo=dt.UTC)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Example DMP LLP")])
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), 1)
        .not_valid_before(ends - dt.timedelta(days=365))
        .not_valid_after(ends)
        .sign(private, hashes.SHA256())
    )
    sealed = serialization.BestAvailableEncryption(b"a password of this test")
    file, password = tmp_path / "state.p12", tmp_path / "password"
    file.write_bytes(pkcs12.serialize_key_and_certificates(b"key", private, certificate, None, sealed))
    password.write_text("a password of this test\n")
    for one in (file, password):
        one.chmod(0o600)
    section = CmsSection(url="http://127.0.0.1:1/cms/sign", key_file=file, password_file=password)
    now_us = [NOON]
    metrics = ReportMetrics(engine, RULES, (), lambda: now_us[0], section)
    await metrics.read()
    assert Told(metrics)("report_key_end_timestamp_seconds") == ends.timestamp()
    password.write_text("another\n")
    now_us[0] += VERIFY_US
    await metrics.read()
    assert Told(metrics)("report_key_end_timestamp_seconds") is None


async def test_the_log_is_told_with_witnesses_that_are_behind(engine: AsyncEngine, tmp_path: Path) -> None:
    good, absent = Witness("good.example/w"), Witness("absent", b"\x01" * 32)
    async with serving(good.add_checkpoint) as (good.url,):
        sections = [good.section(), absent.section(url=False)]
        log = LogWorld(engine, tmp_path, witnesses=sections)
        good.log_keys = [parse_key((await log.keeper.vkeys())[-1])]
        await log.add(2)
        await log.keeper.advance()
    witnesses = [WitnessSection.model_validate(one) for one in sections]
    metrics = ReportMetrics(engine, RULES, witnesses, lambda: log.now_us + 90 * 1_000_000)
    await metrics.read()
    told_ = Told(metrics)
    assert told_("log_entries") == await entries(log)
    assert told_("log_witness_behind_entries", witness="absent") == told_("log_entries")
    assert told_("log_witness_behind_entries", witness="good.example/w") == 0
    age = told_("log_checkpoint_age_seconds")
    assert age is not None
    assert 89 < age < 92


async def entries(log: LogWorld) -> int:
    return len(await log.entries())


# PostgreSQL


async def test_the_database_tells_of_itself(engine: AsyncEngine) -> None:
    metrics = DatabaseMetrics(engine)
    database = Told(metrics)
    assert database.names() == set()
    await metrics.read()
    assert (database("database_size_bytes") or 0) > 1_000_000
    idle = database("database_connections", state="idle in transaction")
    assert database("database_oldest_transaction_seconds") == 0
    assert idle == 0
    async with engine.connect() as other:
        await other.execute(sa.text("SELECT 1"))  # begins a transaction and stays in it
        await metrics.read()
        assert database("database_connections", state="idle in transaction") == 1
        assert (database("database_oldest_transaction_seconds") or 0) > 0
    limit, active = database("database_connections_limit"), database("database_connections", state="active")
    assert limit is not None
    assert active is not None
    assert limit > active >= 1, "the question itself is asked on one"
    assert "dmpool_database_replication_lag_seconds" not in database.names()


# The ledger's backlog


async def test_what_waits_for_the_ledger_grows_old_until_it_is_taken(engine: AsyncEngine) -> None:
    """Also while PostgreSQL is away: then nothing is taken, and age goes on from what was known."""
    world = World(engine)
    await world.settle_in()
    metrics = Metrics()

    def value(name: str) -> float | None:
        metrics.tell_unapplied()
        return metrics.registry.get_sample_value(f"dmpool_{name}")

    assert value("ledger_lag_seconds") is None, "nobody has looked yet"
    await world.tell(world.share(1))
    await world.tell(world.share(2))
    async with engine.begin() as connection:
        hour_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        await connection.execute(sa.update(batch).where(batch.c.first_seq == 1).values(received_at=hour_ago))
    await ledger_metrics.read(engine, metrics, world.now_us)
    lag = value("ledger_lag_seconds")
    assert lag is not None
    assert 3600 <= lag < 3660
    assert value("unapplied_oldest_seconds") is not None
    metrics.spool_age = 2 * lag
    unapplied = value("unapplied_oldest_seconds")
    assert unapplied == 2 * lag, "the older of the two counts"
    metrics.spool_age = 0.0
    ledger = Ledger(
        engine, [world.node], RULES, world.terms, lambda: world.now_us, measured=metrics.batch_taken
    )
    await world.work(ledger)
    await ledger_metrics.read(engine, metrics, world.now_us)
    assert value("ledger_lag_seconds") == value("unapplied_oldest_seconds") == 0
    assert value("ledger_batches_applied_total") == value("ledger_batch_seconds_count") == 2


async def test_what_is_not_read_is_told_once_and_the_others_go_on(
    engine: AsyncEngine, told: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is locked, another schema: the numbers are old then, and somebody must know."""
    metrics, settings = Metrics(), Settings(**DEMO)
    monkeypatch.setattr(DatabaseMetrics, "every", 0.02)
    works = readers(metrics, engine, LiveRegister(engine), settings, RULES)
    read = works["database metrics"]

    def read_at() -> float | None:
        return metrics.registry.get_sample_value(
            "dmpool_metrics_read_timestamp_seconds", {"part": "database metrics"}
        )

    monkeypatch.setattr("pool.database_metrics._OLDEST", sa.text("SELECT xact_start FROM no_such_table"))
    following = asyncio.create_task(cast("Any", read()))
    try:
        await until(lambda: len(told) == 1)
        assert read_at() is None
        await asyncio.sleep(0.2)
        monkeypatch.undo()
        await until(lambda: read_at() is not None and len(told) == 2)
    finally:
        following.cancel()
    assert [(one["event"], one["log_level"], one["part"]) for one in told] == [
        ("metrics_unread", "warning", "database metrics"),
        ("metrics_read_again", "info", "database metrics"),
    ]


async def test_a_locked_table_holds_no_reader_up_for_ever(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_metrics, "reading", partial(reading, seconds=0.2))
    metrics = Metrics()
    async with engine.begin() as connection:
        await connection.execute(sa.text("LOCK TABLE batch, account_day IN ACCESS EXCLUSIVE MODE"))
        async with asyncio.timeout(5):
            with pytest.raises(DatabaseAway):
                await ledger_metrics.read(engine, metrics, NOON)


# Accounts


OFFICE = Office(RULES, World(None).terms, "regtest", 0)  # type: ignore[arg-type]


async def accounts_of(world: World) -> tuple[AccountMetrics, Told]:
    metrics = AccountMetrics(world.engine, LiveRegister(world.engine), OFFICE, lambda: world.now_us)
    await metrics.read()
    return metrics, Told(metrics)


async def test_accounts_tell_what_the_books_have(engine: AsyncEngine) -> None:
    world = World(engine)
    await world.settle_in()
    share = world.share(1, "rig1")
    found = world.found(share)
    await world.tell(world.share(2, "rig2"), world.share(2, "rig3"), share, found)
    world.node.main.append(found.block_hash)
    await world.tell(world.reject(2), world.reject(2), world.share(1, "rig1"))
    await world.work()
    metrics, told_ = await accounts_of(world)
    assert told_("account_shares_total", account="miner1", verdict="accepted") == 2
    assert told_("account_shares_total", account="miner2", verdict="accepted") == 2
    assert told_("account_shares_total", account="miner2", verdict="rejected") == 2
    assert told_("account_work_hashes_total", account="miner1") == 32
    assert told_("account_shares_total", account="miner3", verdict="accepted") is None, "it never worked"
    owed = [told_("account_owed_satoshis", account=f"miner{one}", state="immature") for one in (1, 2)]
    balances = await world.balances()
    assert owed == [-balances[f"miner:{one}:immature"] for one in (1, 2)]
    assert told_("account_owed_satoshis", account="miner1", state="payable") == 0
    ratios = [told_("account_window_ratio", account=f"miner{one}") for one in (1, 2)]
    assert ratios == [0.5, 0.5]
    assert told_("account_devices", account="miner2", state="registered") == 9
    assert told_("account_devices", account="miner2", state="seen_today") == 2
    assert told_("accounts_untold") == 0
    # Counters go on over midnight, within a process and over a restart.
    world.now_us += 3 * DAY_US
    await world.tell(world.share(1, "rig1"))
    await world.work()
    await metrics.read()
    restarted, told_again = await accounts_of(world)
    for now in (told_, told_again):
        assert now("account_shares_total", account="miner1", verdict="accepted") == 3
        assert now("account_work_hashes_total", account="miner1") == 48
        assert now("account_devices", account="miner1", state="seen_today") == 1
        assert now("account_shares_total", account="miner2", verdict="accepted") is None
    # A gateway that was cut off for days brings work of days that are counted already.
    await world.tell(world.share(1, "rig1", at_us=NOON))
    await world.work()
    world.now_us += HOUR_US
    await restarted.read()
    assert told_again("account_work_hashes_total", account="miner1") == 64
    assert told_again("account_shares_total", account="miner1", verdict="accepted") == 4


async def test_those_with_the_most_work_are_told_and_the_others_counted(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_metrics, "ACCOUNTS_TOLD", 2)
    world = World(engine)
    await world.settle_in()
    await world.tell(*(world.share(miner_id) for miner_id in (1, 2, 2, 3, 3, 3)))
    await world.work()
    _, told_ = await accounts_of(world)
    assert [told_("account_work_hashes_total", account=f"miner{one}") for one in (1, 2, 3)] == [None, 32, 48]
    assert told_("accounts_untold") == 1
