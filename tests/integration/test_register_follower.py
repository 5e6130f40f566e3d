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
    (tmp_path / "register.db").write_text("this is no database, but a text of some length" * 50)
    with pytest.raises(ReplicaError, match="delete the file"):
        RegisterReplica(tmp_path / "register.db")


def test_a_copy_of_another_version_is_filled_anew(tmp_path: Path, replica: RegisterReplica) -> None:
    replica.store((1, "ab", 1), [("miner", "1", '{"id": "no number"}')], anew=False)
    assert replica.load() is None
    with sqlite3.connect(tmp_path / "register.db") as other:
        assert other.execute("SELECT count(*) FROM record").fetchone() == (1,)
