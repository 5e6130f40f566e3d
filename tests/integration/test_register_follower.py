"""A gateway's register: changes reach it, its own copy brings it back, and a restored backup is noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.database import create_engine
from pool.register_follower import RegisterFollower
from pool.register_replica import RegisterReplica, ReplicaError
from pool.register_store import writing
from register.clerk import Terms
from register.gate import Admission, Gate, Refusal, RefusalKind
from register.licence import Act
from register.records import GATE_KINDS
from register.register import Register
from tests.integration.entering import TESTER, enter_miner, enter_unit
from tests.integration.ledger_world import BINS, NOON, RULES

TERMS = Terms(RULES, "regtest")


class Follower:
    """A follower with its gate, as a gateway has them."""

    def __init__(self, engine: AsyncEngine, replica: RegisterReplica | None, known: Register | None) -> None:
        self.register = known or Register()
        self.gate = Gate(self.register, RULES)
        self.changes = 0
        self.follower = RegisterFollower(engine, self.register, GATE_KINDS, self._changed, replica)

    def _changed(self, changes: object) -> None:
        self.changes += 1
        for kind, miner_id in changes:  # type: ignore[attr-defined]
            self.gate.forget(kind, miner_id)

    def verdict(self, username: str) -> object:
        answer = self.gate.admit(username, NOON)
        return answer.kind if isinstance(answer, Refusal) else answer.device


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[RegisterReplica]:
    one = RegisterReplica(tmp_path / "register.db")
    yield one
    one.close()


async def test_i6_every_change_reaches_the_gate(engine: AsyncEngine, replica: RegisterReplica) -> None:
    """And the gateway's own copy tells the same after a restart without PostgreSQL."""
    mine = Follower(engine, replica, None)
    assert replica.load() is None
    assert not await mine.follower.catch_up()
    miner = await enter_miner(engine, "alpha", BINS[0], workers=("s17",))
    assert mine.verdict("alpha.s17") is RefusalKind.UNKNOWN_ACCOUNT
    assert await mine.follower.catch_up()
    assert mine.verdict("alpha.s17") == "alpha-s17"
    async with writing(engine, TERMS, TESTER, "more", now_us=lambda: NOON - 9) as clerk:
        enter_unit(clerk, miner, "s19")
        day = RULES.day_of(NOON)
        clerk.act_on_licence("L-alpha", Act("suspended", "D-1", day, 2, day.replace(month=12)))
    assert await mine.follower.catch_up()
    assert mine.verdict("alpha.s19") is RefusalKind.SUSPENDED
    assert mine.follower.read_at is not None

    again = Follower(create_engine("postgresql://nobody@/none?host=/nonexistent"), replica, replica.load())
    assert again.verdict("alpha.s19") is RefusalKind.SUSPENDED
    assert (again.register.seq, again.register.sha256) == (mine.register.seq, mine.register.sha256)
    assert not again.register.centres, "a gateway knows no more than its gate needs"


async def test_a_restored_backup_is_read_anew(engine: AsyncEngine, replica: RegisterReplica) -> None:
    await enter_miner(engine, "alpha", BINS[0], workers=("s17",))
    mine = Follower(engine, replica, None)
    await mine.follower.catch_up()
    async with engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE register_event DISABLE TRIGGER ALL"))
        for table in ("register_event", "miner"):
            await connection.execute(sa.text(f"DELETE FROM {table}"))
    await enter_miner(engine, "beta", BINS[1], workers=("s17",))
    await enter_miner(engine, "gamma", BINS[2], workers=())
    assert await mine.follower.catch_up()
    assert mine.verdict("alpha.s17") is RefusalKind.UNKNOWN_ACCOUNT
    assert isinstance(mine.gate.admit("beta.s17", NOON), Admission)
    known = replica.load()
    assert known is not None
    assert sorted(one.name for one in known.miners.values()) == ["beta", "gamma"]


async def test_following_is_the_same_as_reading(engine: AsyncEngine, replica: RegisterReplica) -> None:
    mine = Follower(engine, replica, None)
    for number, one in enumerate(BINS):
        await enter_miner(engine, f"m{number}", one, workers=[f"r{rig}" for rig in range(150)])
        await mine.follower.catch_up()
    whole = await register_store.read(engine, GATE_KINDS)
    for known in (mine.register, replica.load()):
        assert known is not None
        assert (known.miners, known.licences, known.devices) == (whole.miners, whole.licences, whole.devices)


def test_a_copy_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReplicaError, match="healthy, writable disk"):
        RegisterReplica(tmp_path / "no such folder" / "register.db")


def test_a_damaged_copy_is_put_aside_and_filled_anew(tmp_path: Path) -> None:
    """Losing it is no harm: a gateway must not need a person to start."""
    path = tmp_path / "register.db"
    path.write_text("this is no database, but a text of some length" * 50)
    for damage in ("", "inside"):
        one = RegisterReplica(path)
        if damage:
            one.store((1, "ab", 1), [("miner", str(n), "x" * 900) for n in range(99)], since=0, anew=True)
            one.close()
            pages = bytearray(path.read_bytes())
            pages[4096:40960] = b"\xff" * (40960 - 4096)
            path.write_bytes(pages)
            one = RegisterReplica(path)
        assert one.load() is None
        one.store((1, "ab", 1), [], since=0, anew=True)
        one.close()
        assert path.with_suffix(".damaged").exists()


async def test_i6_what_the_copy_could_not_take_is_not_lost(
    engine: AsyncEngine, replica: RegisterReplica, tmp_path: Path
) -> None:
    """O-09: a suspension that met a locked file is there after a restart, whatever was stored later."""
    miner = await enter_miner(engine, "alpha", BINS[0], workers=("s17",))
    mine = Follower(engine, replica, None)
    await mine.follower.catch_up()
    with sqlite3.connect(tmp_path / "register.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        async with writing(engine, TERMS, TESTER, "no more", now_us=lambda: NOON - 9) as clerk:
            day = RULES.day_of(NOON)
            clerk.act_on_licence("L-alpha", Act("suspended", "D-1", day, 2, day.replace(month=12)))
        with pytest.raises(ReplicaError, match="locked"):
            await mine.follower.catch_up()
        assert mine.verdict("alpha.s17") is RefusalKind.SUSPENDED, "it works by what it knows all the same"
        other.execute("ROLLBACK")
    async with writing(engine, TERMS, TESTER, "later", now_us=lambda: NOON - 9) as clerk:
        enter_unit(clerk, miner, "s19")
    assert await mine.follower.catch_up()
    known = replica.load()
    again = Follower(engine, replica, known)
    assert again.verdict("alpha.s17") is RefusalKind.SUSPENDED
    assert not await again.follower.catch_up()
    with pytest.raises(ReplicaError, match="given what came behind"):
        replica.store((99, "ab", 1), [], since=98, anew=False)


def test_a_copy_of_another_version_is_filled_anew(tmp_path: Path, replica: RegisterReplica) -> None:
    replica.store((1, "ab", 1), [("miner", "1", '{"id": "no number"}')], since=0, anew=False)
    assert replica.load() is None
    with sqlite3.connect(tmp_path / "register.db") as other:
        assert other.execute("SELECT count(*) FROM record").fetchone() == (1,)
