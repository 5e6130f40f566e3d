"""The schema: built, equal to the tables in code, and on guard."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import DatabaseError, create_engine, migrate, refused
from pool.records import Submitted
from pool.schema import alembic_config
from pool.tables import metadata, slice_
from tests.integration.ledger_world import World
from tests.integration.paid_world import mature, mine, reserve

CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default, numeric_precision,
               is_identity, identity_generation
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
          AND NOT (SELECT relispartition FROM pg_class WHERE oid = table_name::regclass)""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype IN ('p', 'u', 'f', 'c')
          AND conrelid::regclass::text <> 'alembic_version'
          AND NOT (SELECT relispartition FROM pg_class WHERE oid = conrelid)""",
    "indexes": """
        SELECT tablename, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
          AND NOT (SELECT relispartition FROM pg_class WHERE oid = tablename::regclass)""",
}
APPEND_ONLY = {
    "journal_entry": "memo",
    "journal_posting": "account",
    "block_event": "note",
    "split": "work",
    "report": "sha256",
    "register_event": "reason",
    "fpps_rate": "transaction_fees",
    "fpps_credit": "work",
    "sale_confirmation": "reason",
    "log_leaf": "data",
    "log_checkpoint": "note",
    "log_cosignature": "line",
    "report_key_event": "entry",
    "regulator_access_event": "reason",
    "report_signature": "value",
    "worker_seen": "workers",
    "report_base": "salt_secret",
    "notice": "subject",
}
HEAD = ScriptDirectory("pool/migrations").get_current_head()


async def catalog(engine: AsyncEngine) -> dict[str, set[tuple[object, ...]]]:
    async with engine.connect() as connection:
        return {
            what: {tuple(row) for row in await connection.execute(sa.text(query))}
            for what, query in CATALOG.items()
        }


async def test_migrations_build_exactly_the_tables_in_code(
    engine: AsyncEngine, empty_database_url: str
) -> None:
    plain = create_engine(empty_database_url)
    async with plain.begin() as connection:
        await connection.run_sync(metadata.create_all)
    by_code, by_migration = await catalog(plain), await catalog(engine)
    await plain.dispose()
    assert by_migration == by_code
    assert len(by_code["columns"]) > 80
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda one: compare_metadata(MigrationContext.configure(one), metadata)
        )
    # Alembic takes partitions for tables of their own.
    assert [one for one in differences if not _of_partition(one)] == []


def _of_partition(difference: tuple[object, ...]) -> bool:
    what, subject = difference[0], difference[1]
    table = subject if isinstance(subject, sa.Table) else getattr(subject, "table", None)
    return what in ("remove_table", "remove_index") and table is not None and "_default" in table.name


async def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    engines = [create_engine(empty_database_url) for _ in range(4)]
    await asyncio.gather(*(migrate(one) for one in engines))
    async with engines[0].connect() as connection:
        versions = list(await connection.scalars(sa.text("SELECT version_num FROM alembic_version")))
    for one in engines:
        await one.dispose()
    assert versions == [HEAD]


async def test_downgrade_leaves_nothing(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(lambda one: command.downgrade(alembic_config(one), "base"))
    async with engine.connect() as connection:
        functions = await connection.scalar(
            sa.text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        )
    assert await catalog(engine) == {"columns": set(), "constraints": set(), "indexes": set()}
    assert functions == 0


async def test_what_was_paid_or_submitted_is_not_downgraded(world: World) -> None:
    """I3: the older tables cannot say it; it is told in words, and nothing has changed."""
    share = world.share(1)
    found = world.found(share)
    await world.tell(share, found, Submitted(world.now_us, found.block_hash, "node 1"))
    await world.work()
    await _refuses_to_go_back(world)


async def test_a_payout_is_not_downgraded(world: World) -> None:
    """I3, I5: the same where the only thing that is new is a payout."""
    await mine(world)
    await mature(world)
    await reserve(world, {1: 1_000_000})
    assert await world.rows("SELECT DISTINCT state FROM block_event WHERE state = 'submitted'") == []
    await _refuses_to_go_back(world)


async def _refuses_to_go_back(world: World) -> None:
    before = await catalog(world.engine)
    async with world.engine.connect() as connection:
        with pytest.raises(RuntimeError, match="restore a backup instead of going back"):
            await connection.run_sync(lambda one: command.downgrade(alembic_config(one), "0003"))
        await connection.rollback()
    assert await catalog(world.engine) == before
    assert await world.rows("SELECT version_num FROM alembic_version") == [(HEAD,)]


async def test_schema_of_a_newer_program_is_refused_in_words(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer dmpool"):
        await migrate(engine)


@pytest.mark.parametrize("url", ["mysql://a@b/c", "not a url", "postgresql://dmpool:secret@db:54a2/dmpool"])
def test_url_of_something_else_is_refused_in_words(url: str) -> None:
    with pytest.raises(DatabaseError, match="write postgresql://") as raised:
        create_engine(url)
    assert "secret" not in str(raised.value)


async def test_work_is_exact_up_to_the_largest(world: World) -> None:
    """I2: no float anywhere on the way."""
    largest = 2**256 - 1
    async with world.engine.begin() as connection:
        await connection.execute(
            sa.insert(slice_).values(
                position=1,
                batch_position=1,
                miner_id=1,
                taken_on=sa.func.current_date(),
                day=sa.func.current_date(),
                work=largest,
                total=largest,
                miner_total=largest,
                shares=1,
                first_us=1,
                last_us=1,
            )
        )
    async with world.engine.connect() as connection:
        assert await connection.scalar(sa.select(slice_.c.work)) == largest


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "statement", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}", "TRUNCATE {table} CASCADE"]
)
async def test_append_only_tables_refuse_any_change(engine: AsyncEngine, table: str, statement: str) -> None:
    """I3 and I7: the journal, the history of blocks, splits and reports only grow."""
    await refuses(engine, statement.format(table=table, column=APPEND_ONLY[table]), match="append-only")


async def refuses(engine: AsyncEngine, *statements: str, match: str) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=match) as caught:
        await execute(engine, *statements)
    assert refused(caught.value)


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))


ENTRY = "INSERT INTO journal_entry (at_us, day, kind, memo, actor) VALUES (1, '2026-11-24', 'k', '', 't')"


def posting(account: str, amount: int) -> str:
    return (
        f"INSERT INTO journal_posting (entry_id, account, amount) "
        f"SELECT max(id), '{account}', {amount} FROM journal_entry"
    )


@pytest.mark.parametrize(
    "postings",
    [
        pytest.param([], id="none"),
        pytest.param([posting("a", 5)], id="one"),
        pytest.param([posting("a", 5), posting("b", -4)], id="unbalanced"),
        pytest.param([posting("a", 2**62), posting("b", 2**62), posting("c", -(2**62))], id="huge"),
    ],
)
async def test_unbalanced_entry_is_refused_at_commit(engine: AsyncEngine, postings: list[str]) -> None:
    """I3."""
    await refuses(engine, ENTRY, *postings, match="must sum to 0")


async def test_balanced_entry_cannot_be_extended(engine: AsyncEngine) -> None:
    """I3."""
    await execute(engine, ENTRY, posting("a", 5), posting("b", -5))
    await refuses(engine, posting("c", 1), match="must sum to 0")


async def test_split_that_is_not_the_reward_is_refused(world: World) -> None:
    """I2: also as a constraint of the database."""
    share = world.share(1)
    await world.tell(share, world.found(share))
    await world.work()
    extra = "INSERT INTO split SELECT hash, 2, 1, 1, 0 FROM block"
    await refuses(world.engine, extra, match="refused: parts of")
    copied = """
        INSERT INTO block SELECT repeat('ab', 32), height, previous_hash, found_us, day, miner_id, worker,
            network_target, reward_sat, fees_sat, coinbase_txid, window_multiple, window_first,
            window_first_work, window_last, window_work, commission_bps, commission_sat, state FROM block"""
    await refuses(world.engine, copied, match="refused: parts of 0 satoshis")


async def test_block_is_frozen_but_for_its_state(world: World) -> None:
    """I4."""
    share = world.share(1)
    await world.tell(share, world.found(share))
    await world.work()
    await refuses(
        world.engine, "UPDATE block SET reward_sat = reward_sat + 1", match="all but its state is frozen"
    )
    await refuses(world.engine, "UPDATE block SET window_first = 0", match="all but its state is frozen")
    await refuses(world.engine, "DELETE FROM block", match="append-only")
    await refuses(world.engine, "UPDATE block SET state = 'lost'", match="block_state_check")
    await execute(world.engine, "UPDATE block SET state = 'orphaned'")


async def test_step_of_a_block_is_not_booked_twice(world: World) -> None:
    """I3: without a reversal between, the same step of the same block is refused."""
    share = world.share(1)
    found = world.found(share)
    await world.tell(share, found)
    world.node.main.append(found.block_hash)
    await world.work()
    again = """
        INSERT INTO journal_entry (at_us, day, kind, block_hash, round, memo, actor)
        SELECT at_us, day, kind, block_hash, round, memo, actor FROM journal_entry"""
    await refuses(world.engine, again, match="block_hash_kind_round")


async def test_lost_connection_is_no_refusal(engine: AsyncEngine) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        await execute(engine, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert not refused(caught.value)


async def test_value_the_driver_cannot_send_is_a_refusal(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await connection.execute(sa.select(slice_.c.work).where(slice_.c.shares == 2**40))
    assert refused(caught.value)
