"""The register in memory: a database that is silent is waited for once, and not by each who asks."""

from __future__ import annotations

import asyncio

import pytest

from pool import live_register
from pool.database import create_engine
from pool.live_register import LiveRegister
from pool.reading import AWAY, DatabaseAway


async def test_a_silent_database_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveRegister(create_engine("postgresql://nobody@127.0.0.1:1/nothing"))
    tries = 0

    async def silent() -> bool:
        nonlocal tries
        tries += 1
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(live._follower, "catch_up", silent)
    monkeypatch.setattr(live_register, "LOAD_SECONDS", 0.05)
    monkeypatch.setattr(live_register, "FAILURE_SECONDS", 60.0)
    answers = await asyncio.gather(*(live.current() for _ in range(50)), return_exceptions=True)
    assert [(type(one), str(one)) for one in answers] == [(DatabaseAway, AWAY)] * 50
    assert tries == 1


async def test_a_database_that_came_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveRegister(create_engine("postgresql://nobody@127.0.0.1:1/nothing"))
    away = True

    async def moody() -> bool:
        if away:
            raise OSError("away")
        return False

    monkeypatch.setattr(live._follower, "catch_up", moody)
    monkeypatch.setattr(live_register, "FAILURE_SECONDS", 0.0)
    with pytest.raises(DatabaseAway):
        await live.current()
    away = False
    assert (await live.current()).seq == 0
    assert live.age_seconds is None
