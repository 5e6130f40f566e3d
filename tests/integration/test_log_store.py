"""The log in PostgreSQL: leaves without a gap, checkpoints that only go on, verified cosignatures (I7)."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import pytest_asyncio
import rfc8785
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import log_entries, log_store
from pool.config import RULES_FILE
from pool.log_keeper import log_key_file
from pool.log_reader import LogReader
from pool.log_signing import sign_checkpoint
from pool.log_store import LogError
from register.rules import parse_rules
from reporting.checkpoint import Checkpoint
from reporting.key_file import read_secret
from reporting.merkle import Tree, leaf_hash
from reporting.note import BIP340, Ed25519Signer, Note, NoteError, verified, verifier_key
from reporting.signing import load_or_create
from tests.integration.entering import enter_miner
from tests.integration.ledger_world import BINS, DAY, NOON, RULES
from tests.integration.log_world import ORIGIN, LogWorld, Witness
from tests.reporting.test_merkle import slow_root

MINUTE = 60_000_000


@pytest_asyncio.fixture
async def log(engine: AsyncEngine, tmp_path: Path) -> LogWorld:
    return LogWorld(engine, tmp_path)


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))


async def sizes(log: LogWorld) -> list[int]:
    """What was signed."""
    async with log.engine.connect() as connection:
        return await log_store.signed_sizes(connection)


async def test_a_leaf_is_canonical_json_and_its_hash_that_of_rfc_9162(log: LogWorld) -> None:
    body = {"version": 1, "day": "2026-11-24", "commitments": None}
    async with log.engine.begin() as connection:
        assert await log_store.append(connection, "report", body, NOON) == 0
        assert (
            await log_store.append(connection, "form", {"period": "2026-10", "form": "форма"}, NOON + 1) == 1
        )
    entries = await log.entries()
    assert entries[0] == (
        b'{"at":"2026-11-24T07:00:00+00:00","commitments":null,"day":"2026-11-24","kind":"report","version":1}'
    )
    assert rfc8785.dumps(json.loads(entries[1])) == entries[1]
    assert (await log.tree()).root() == slow_root([leaf_hash(one) for one in entries])
    async with log.engine.connect() as connection:
        stored = await connection.scalar(sa.text("SELECT hash FROM log_leaf WHERE index = 0"))
    assert stored == hashlib.sha256(b"\0" + entries[0]).digest()


async def test_what_no_leaf_can_carry_is_refused(log: LogWorld) -> None:
    async with log.engine.begin() as connection:
        for kind, body, why in (
            ("gossip", {}, "is no kind"),
            ("report", {"at": "now"}, "which the log sets itself"),
            ("report", {"day": "x" * 70_000}, "a leaf has at most 65535"),
        ):
            with pytest.raises(ValueError, match=why):
                await log_store.append(connection, kind, body, NOON)
        assert await log_store.size(connection) == 0


async def test_two_who_append_at_once_leave_no_gap_and_a_failed_one_none(log: LogWorld) -> None:
    """I7: the second waits for the first, whether that is kept or not."""

    async def add(number: int) -> int:
        async with log.engine.begin() as connection:
            index = await log_store.append(connection, "report", {"number": number}, NOON)
            await asyncio.sleep(0.01)
            if number % 3 == 2:
                raise ZeroDivisionError
            return index

    came = await asyncio.gather(*(add(number) for number in range(9)), return_exceptions=True)
    assert sorted(one for one in came if isinstance(one, int)) == [0, 1, 2, 3, 4, 5]
    assert [isinstance(one, ZeroDivisionError) for one in came] == 3 * [False, False, True]
    assert (await log.tree()).size == 6


async def test_a_snapshot_that_locked_first_appends_after_another(log: LogWorld) -> None:
    """As reports are built: REPEATABLE READ, the lock before the first look."""
    await log.add()

    async def slowly() -> None:
        async with log.engine.begin() as connection:
            await log_store.append(connection, "rules", {"sha256": "00"}, NOON)
            started.set()
            await asyncio.sleep(0.05)

    started = asyncio.Event()
    other = asyncio.create_task(slowly())
    await started.wait()
    async with log.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            await log_store.lock(connection)
            assert await log_store.append(connection, "report", {}, NOON) == 2
    await other


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO log_leaf VALUES (1, 0, 'report', 1, 'a', sha256('b'))",
        "INSERT INTO log_leaf VALUES (2, 1, 'report', 1, 'a', sha256('\\x0061'))",
        "INSERT INTO log_leaf VALUES (2, 0, 'report', 1, 'a', sha256('\\x0061'))",
        "INSERT INTO log_leaf VALUES (1, NULL, 'report', 1, 'a', sha256('\\x0061'))",
        "INSERT INTO log_checkpoint VALUES (2, sha256('a'), 'note', 1)",
        "INSERT INTO log_checkpoint VALUES (0, sha256('a'), 'note', 1)",
        "INSERT INTO log_checkpoint VALUES (1, 'a', 'note', 1)",
    ],
)
async def test_the_database_itself_refuses_gaps_wrong_hashes_and_checkpoints_ahead(
    log: LogWorld, statement: str
) -> None:
    await log.add()
    with pytest.raises(sa.exc.DBAPIError, match=r"log_leaf|log_checkpoint|refused"):
        await execute(log.engine, statement)


async def test_a_smaller_checkpoint_is_refused_by_the_database(log: LogWorld) -> None:
    await log.add(3)
    await log.advance()
    with pytest.raises(
        sa.exc.DBAPIError, match="checkpoint of size 2 refused: the last that was signed has 3"
    ):
        await execute(log.engine, "INSERT INTO log_checkpoint VALUES (2, sha256('a'), 'note', 1)")


async def test_a_checkpoint_is_signed_by_the_logs_key_and_by_that_of_reports(log: LogWorld) -> None:
    assert (await log.keeper.advance())[0] is None
    await log.add(5)
    signed = await log.advance()
    assert signed.checkpoint == Checkpoint(ORIGIN, 5, (await log.tree()).root())
    report_key = load_or_create(log.settings.data_dir / "keys" / "report.key")
    both = [log.key, verifier_key(ORIGIN, BIP340, bytes.fromhex(report_key.public_key))]
    assert [one for one, _ in verified(signed.note, both)] == both
    assert [str(one) for one in both] == await log.keeper.vkeys()
    assert len(signed.note.signatures) == 2
    assert log_key_file(log.settings).stat().st_mode & 0o777 == 0o600
    # Not grown: the same again, not another signature.
    log.now_us += MINUTE
    assert await log.advance() == signed
    await log.add()
    assert (await log.advance()).checkpoint.size == 6


async def test_a_rewritten_past_is_not_signed_though_the_database_was_made_to_take_it(log: LogWorld) -> None:
    """I7: who holds the database can switch its guards off, and is caught by what was signed before."""
    await log.add(4)
    await log.advance()
    data = (await log.entries())[1].replace(b"24", b"25")
    async with log.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE log_leaf DISABLE TRIGGER ALL"))
        await connection.execute(
            sa.text("UPDATE log_leaf SET data = :data, hash = :hash WHERE index = 1"),
            {"data": data, "hash": leaf_hash(data)},
        )
    # A process that knew the leaves before goes on from them, and does not publish the others.
    await log.add()
    with pytest.raises(LogError, match=r"entries of tile/entries/000\.p/5 in the database are not those"):
        await log.keeper.advance()
    assert b"\n4\n" in (log.directory / "checkpoint").read_bytes()
    # Another finds that they do not fit, also where nothing lies beside the database.
    log.restart()
    shutil.rmtree(log.directory)
    await log.add()
    with pytest.raises(LogError, match="first 4 leaves are not those of a checkpoint that was signed"):
        await log.keeper.advance()
    assert await sizes(log) == [4, 5]
    with pytest.raises(LogError, match="first 4 leaves are not those"):
        await log.keeper.files.publish()


async def test_a_checkpoint_whose_row_says_another_thing_than_its_note_is_refused(log: LogWorld) -> None:
    await log.add(3)
    await log.advance()
    await execute(
        log.engine,
        "ALTER TABLE log_checkpoint DISABLE TRIGGER ALL",
        "UPDATE log_checkpoint SET root = sha256('a')",
    )
    with pytest.raises(LogError, match="its note speaks of 3 leaves and root"):
        await log.keeper.files.publish()


async def test_a_leaf_that_does_not_have_its_hash_is_named(log: LogWorld) -> None:
    await log.add(3)
    await execute(
        log.engine,
        "ALTER TABLE log_leaf DISABLE TRIGGER ALL",
        "ALTER TABLE log_leaf DROP CONSTRAINT log_leaf_hash_check",
        "UPDATE log_leaf SET data = 'a' WHERE index = 1",
    )
    with pytest.raises(LogError, match=r"log leaf 1: .* was tampered with"):
        await log.tree()


async def test_a_restored_older_database_signs_nothing(log: LogWorld, database_url: str) -> None:
    """Two checkpoints that do not fit would be the proof that the pool lies."""
    await log.add(3)
    await log.advance()
    told = (log.directory / "checkpoint").read_bytes()
    await execute(
        log.engine,
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("log_leaf", "log_checkpoint")),
        "DELETE FROM log_checkpoint",
        "DELETE FROM log_leaf WHERE index = 2",
        *(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in ("log_leaf", "log_checkpoint")),
    )
    with pytest.raises(LogError, match="there were 3 leaves, and the database has fewer"):
        await log.keeper.advance()
    log.restart()
    with pytest.raises(LogError, match="of 3 leaves was published, and the database has 2"):
        await log.keeper.advance()
    await log.add(2)
    with pytest.raises(LogError, match="first 3 leaves are not those of a checkpoint"):
        await log.keeper.advance()
    assert await sizes(log) == []
    assert (log.directory / "checkpoint").read_bytes() == told


async def test_a_lost_or_another_key_signs_nothing_until_it_is_replaced_in_the_open(log: LogWorld) -> None:
    await log.add()
    await log.advance()
    path = log_key_file(log.settings)
    kept = path.read_text()
    old = log.key
    path.unlink()
    await log.add()
    with pytest.raises(LogError, match=r"log\.key: the log's key is missing; restore it"):
        await log.keeper.advance()
    assert not path.exists()
    path.write_text("ab" * 32)
    path.chmod(0o600)
    with pytest.raises(LogError, match="this key did not sign the checkpoint of 1 leaves"):
        await log.keeper.advance()
    with pytest.raises(LogError, match="the key is there"):
        await log.keeper.replace_key("lost")
    path.unlink()
    vkey = await log.keeper.replace_key("the disk died")
    assert vkey == str(log.key) != str(old)
    assert path.read_text() != kept
    signed = await log.advance()
    assert [str(key) for key, _ in verified(signed.note, [log.key, old])] == [vkey]
    assert json.loads((await log.entries())[2])["reason"] == "the disk died"


async def test_another_name_of_the_log_is_refused(log: LogWorld, tmp_path: Path) -> None:
    await log.add()
    await log.advance()
    await log.add()
    async with log.engine.begin() as connection:
        signer = Ed25519Signer("dmpool/other/main", read_secret(log_key_file(log.settings)))
        with pytest.raises(LogError, match="a log keeps its name"):
            await sign_checkpoint(connection, LogReader(), "dmpool/other/main", [signer], NOON)


async def test_cosignatures_of_configured_witnesses_are_kept_and_no_others(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    known, stranger = Witness("audit.example/w1"), Witness("stranger.example/w", bytes([7]) * 32)
    log = LogWorld(engine, tmp_path, witnesses=[known.section(url=False)])
    await log.add(2)
    signed = await log.advance()
    text = signed.note.text
    good, theirs = known.cosign(text), stranger.cosign(text)
    with pytest.raises(LogError, match=r"cosigned by stranger\.example/w, and by no key of"):
        await log.keeper.cosign(Note(text, (*signed.note.signatures, theirs)))
    with pytest.raises(NoteError, match=r"audit\.example/w1 .* is wrong"):
        await log.keeper.cosign(Note(text, (good._replace(value=good.value[:-1] + b"\0"),)))
    other = Checkpoint(ORIGIN, 2, bytes(32)).text()
    with pytest.raises(LogError, match="this log signed no such checkpoint"):
        await log.keeper.cosign(Note(other, (known.cosign(other),)))
    assert await log.keeper.cosign(Note(text, (theirs, good))) == ["audit.example/w1"]
    assert await log.keeper.cosign(Note(text, (good,))) == ["audit.example/w1"]
    published = (log.directory / "checkpoint").read_bytes()
    assert published == Note(text, (*signed.note.signatures, good)).encode()
    # The next checkpoint has none yet; the old cosignature stays where it belongs.
    await log.add()
    await log.advance()
    async with engine.connect() as connection:
        assert await log_store.cosignatures(connection, 2) == [good.line()]
        assert await log_store.cosignatures(connection, 3) == []
        assert await log_store.cosigned(connection) == {(known.name, known.key.key_id.hex()): 2}


async def test_rules_are_told_when_they_change(log: LogWorld) -> None:
    data = RULES_FILE.read_bytes()

    async def tell(rules: bytes, at_us: int) -> int | None:
        async with log.engine.begin() as connection:
            return await log_entries.rules_leaf(connection, parse_rules(rules.decode()), at_us)

    assert [await tell(data, NOON), await tell(data, NOON + 1)] == [0, None]
    changed = data + b"# a note\n"
    assert [await tell(changed, NOON + 2), await tell(changed, NOON + 3), await tell(data, NOON + 4)] == [
        1,
        None,
        2,
    ]
    told = json.loads((await log.entries())[1])
    assert told == {
        "kind": "rules",
        "at": "2026-11-24T07:00:00.000002+00:00",
        "sha256": hashlib.sha256(changed).hexdigest(),
        "first_day": "2026-11-24",
    }


async def test_the_register_is_told_once_a_day(log: LogWorld) -> None:
    await enter_miner(log.engine, "alpha", BINS[0], workers=())
    yesterday = DAY - dt.timedelta(days=1)
    end_us = RULES.day_bounds(yesterday)[1]

    async def tell(day: dt.date, at_us: int) -> int | None:
        async with log.engine.begin() as connection:
            return await log_entries.register_leaf(connection, RULES, day, at_us)

    with pytest.raises(ValueError, match="before that day is over"):
        await tell(DAY, NOON)
    assert await tell(yesterday, end_us) == 0
    assert await tell(yesterday, end_us) is None
    assert await tell(yesterday - dt.timedelta(days=1), NOON) is None
    assert await tell(DAY, RULES.day_bounds(DAY)[1]) == 1
    async with log.engine.connect() as connection:
        rows = await connection.scalars(sa.text("SELECT sha256 FROM register_event ORDER BY seq"))
        hashes = [bytes.fromhex(one) for one in rows]
    told = json.loads((await log.entries())[0])
    assert (told["day"], told["events"], told["head_sha256"]) == (
        str(yesterday),
        len(hashes),
        hashes[-1].hex(),
    )
    assert told["root"] == slow_root([hashlib.sha256(b"\0" + one).digest() for one in hashes]).hex()
    assert told["root"] == log_entries.register_root([one.hex() for one in hashes]).hex()
    assert Tree().root() == log_entries.register_root([])


async def test_a_key_that_was_replaced_signs_nothing_more_though_the_reason_names_it(log: LogWorld) -> None:
    await log.add()
    await log.advance()
    path = log_key_file(log.settings)
    old, vkey = path.read_bytes(), str(log.key)
    path.unlink()
    for reason in ("", "two\nlines", "x" * 501):
        with pytest.raises(LogError, match="reason: write it in one line of 1 to 500 characters"):
            await log.keeper.replace_key(reason)
    assert not path.exists()
    await log.keeper.replace_key(f"the disk with {vkey} died")
    new = path.read_bytes()
    await log.advance()
    path.write_bytes(old)
    await log.add()
    with pytest.raises(LogError, match="this key did not sign the checkpoint of 2 leaves"):
        await log.advance()
    path.write_bytes(new)
    await log.advance()
