"""What the log tells of each day: the rules that are in use, and the register with all that the day has."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.config import RULES_FILE
from pool.log_task import LogTask
from pool.reports import GRACE_US
from register.clerk import Terms
from register.miner import Miner
from register.rules import load_rules
from tests.integration.entering import TESTER
from tests.integration.ledger_world import BINS, DAY, RULES
from tests.integration.log_world import LogWorld

ONE = dt.timedelta(days=1)


async def leaves(log: LogWorld, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(entry) for entry in await log.entries()]
    return [one for one in told if one["kind"] == kind]


async def test_the_log_tells_of_the_rules_in_use_and_not_of_a_file_that_changed_since(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    """Invariant 8: a file that was edited, or broken, is in use when it is read again."""
    file = tmp_path / "rules.toml"
    file.write_bytes(RULES_FILE.read_bytes().replace(b"\n", b"\r\n"))
    log = LogWorld(engine, tmp_path)
    log.settings = log.settings.model_copy(update={"rules_file": file})
    in_use = file.read_bytes()
    task = LogTask(log.keeper, engine, load_rules(file), lambda: True, lambda: log.now_us)
    await task.step()
    file.write_bytes(in_use + b"\r\n# a note\r\n")
    await task.step()
    file.write_bytes(b"no rules")
    await task.step()
    assert [one["sha256"] for one in await leaves(log, "rules")] == [hashlib.sha256(in_use).hexdigest()]
    file.write_bytes(in_use + b"\r\n# a note\r\n")
    restarted = LogTask(log.keeper, engine, load_rules(file), lambda: True, lambda: log.now_us)
    await restarted.step()
    told = [one["sha256"] for one in await leaves(log, "rules")]
    assert told[1:] == [hashlib.sha256(file.read_bytes()).hexdigest()]


async def test_each_day_of_the_register_is_told_though_no_ledger_was_there(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    log = LogWorld(engine, tmp_path)
    task = LogTask(log.keeper, engine, RULES, lambda: True, lambda: log.now_us)
    await task.step()
    log.now_us = RULES.day_bounds(DAY + 3 * ONE)[1] + GRACE_US
    await task.step()
    days = [one["day"] for one in await leaves(log, "register")]
    assert days == [str(DAY + number * ONE) for number in (-1, 0, 1, 2, 3)]


async def test_the_register_of_a_day_has_the_event_that_was_being_entered(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    """Its leaf is told once: an event that came behind it would make it wrong for good."""
    log = LogWorld(engine, tmp_path)
    end_us = RULES.day_bounds(DAY)[1]
    log.now_us = end_us + GRACE_US
    task = LogTask(log.keeper, engine, RULES, lambda: True, lambda: log.now_us)
    writing = register_store.writing(
        engine, Terms(RULES, "regtest"), TESTER, "late", now_us=lambda: end_us - 1
    )
    async with asyncio.timeout(30):
        clerk = await writing.__aenter__()
        clerk.enter_miner(Miner(0, "late", "Late LLP", BINS[0]))
        stepping = asyncio.create_task(task.step())
        while not stepping.done() and not await waiting(engine):
            await asyncio.sleep(0)
        await writing.__aexit__(None, None, None)
        await stepping
    (told,) = await leaves(log, "register")
    assert (told["day"], told["events"]) == (str(DAY), 1)


async def waiting(engine: AsyncEngine) -> bool:
    """Whether somebody waits for a lock."""
    async with engine.connect() as connection:
        asked = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        return bool((await connection.exec_driver_sql(asked)).scalar())
