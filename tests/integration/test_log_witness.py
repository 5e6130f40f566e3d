"""Witnesses over HTTP, as C2SP tlog-witness has them; and the log going on by itself."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import log_store, log_task, log_witness
from pool.log_keeper import Asked
from pool.log_store import LogError
from pool.log_task import LogTask
from pool.reports import GRACE_US
from reporting.checkpoint import Checkpoint
from reporting.note import VerifierKey, parse_key, parse_note, verified
from tests.integration.ledger_world import DAY, RULES
from tests.integration.log_world import ORIGIN, LogWorld, Witness, serving


async def test_a_witness_cosigns_each_step_and_is_asked_from_what_it_knows(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    witness = Witness("audit.example/w1")
    async with serving(witness.add_checkpoint) as [witness.url]:
        log = LogWorld(engine, tmp_path, witnesses=[witness.section()])
        await log.add(3)
        witness.log_keys = [_key(await log.keeper.vkeys())]
        assert (await log.keeper.advance())[1] == [Asked(witness.name, "")]
        await log.add(4)
        assert (await log.keeper.advance())[1] == [Asked(witness.name, "")]
        assert witness.asked == [0, 3]
        # It has cosigned this one: it is not asked again.
        assert (await log.keeper.advance())[1] == []
        published = parse_note((log.directory / "checkpoint").read_bytes())
        assert [key for key, _ in verified(published, [log.key, witness.key])] == [log.key, witness.key]
        # It has moved on without us, as after a restored database: it says from where it wants the proof.
        await log.add()
        later = await log_next(log)
        await log.add()
        witness.size, witness.root = later.size, later.root
        assert (await log.keeper.advance())[1] == [Asked(witness.name, "")]
        assert witness.asked == [0, 3, 7, 8]


async def log_next(log: LogWorld) -> Checkpoint:
    """What would be signed next."""
    tree = await log.tree()
    return Checkpoint(ORIGIN, tree.size, tree.root())


def _key(vkeys: list[str]) -> VerifierKey:
    return parse_key(vkeys[0])


def _saying(status: int, text: str, content_type: str = "text/plain") -> Any:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type=content_type)

    return answer


async def _silent(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def test_a_witness_that_is_silent_is_waited_for_and_no_longer(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_witness, "ANSWER_SECONDS", 0.05)
    witness = Witness("silent.example/w")
    async with serving(_silent) as [witness.url]:
        log = LogWorld(engine, tmp_path, witnesses=[witness.section()])
        await log.add(2)
        signed, asked = await log.keeper.advance()
    assert asked == [Asked(witness.name, "does not answer: TimeoutError")]
    assert signed is not None
    assert (log.directory / "checkpoint").read_bytes() == signed.note.encode()


async def test_whatever_a_witness_answers_the_log_goes_on(engine: AsyncEngine, tmp_path: Path) -> None:
    """I10: each is one witness's affair; the one that works is heard."""
    good, other = Witness("good.example/w"), Witness("other.example/w", bytes([9]) * 32)

    async def cosigned_by_another(request: web.Request) -> web.Response:
        note = parse_note((await request.read()).partition(b"\n\n")[2])
        return web.Response(text=f"{other.cosign(note.text).line()}\n")

    async def cosigned_wrongly(request: web.Request) -> web.Response:
        return web.Response(text=f"{wrong.cosign('another text').line()}\n")

    wrong = Witness("w7", bytes([7]) * 32)
    handlers = {
        "w0": (_saying(403, "who are you"), "refuses with status 403: 'who are you'"),
        "w1": (_saying(409, "9\n", "text/x.tlog.size"), "has cosigned a tree of 9 leaves of this log"),
        "w2": (_saying(409, "9\n"), "has seen another tree of this log"),
        "w3": (_saying(409, "-1\n", "text/x.tlog.size"), "says that it knows another size, and not which"),
        "w4": (_saying(200, "x" * 1_000_000), "answers with what is no cosignature"),
        "w5": (_saying(200, ""), "answers with what is no cosignature"),
        "w6": (cosigned_by_another, "answers without a cosignature of w6"),
        "w7": (cosigned_wrongly, "answers with what is no cosignature: note: the signature of w7"),
        "w8": (_saying(302, ""), "refuses with status 302"),
        "w9": (_saying(409, "2\n", "text/x.tlog.size"), "has seen another tree of this log"),
    }
    witnesses = [Witness(name, bytes([number]) * 32) for number, name in enumerate(handlers)]
    async with serving(good.add_checkpoint, *(handler for handler, _ in handlers.values())) as urls:
        sections = []
        for witness, url in zip([good, *witnesses], urls, strict=True):
            witness.url = url
            sections.append(witness.section())
        nobody = Witness("nobody", bytes([99]) * 32)
        nobody.url = "http://127.0.0.1:1"
        log = LogWorld(engine, tmp_path, witnesses=[*sections, nobody.section()])
        good.log_keys = [_key(await log.keeper.vkeys())]
        await log.add(2)
        signed, asked = await log.keeper.advance()
    assert signed is not None
    troubles = {one.witness: one.trouble for one in asked}
    assert troubles.pop("good.example/w") == ""
    assert troubles.pop("nobody").startswith("does not answer")
    assert troubles.keys() == handlers.keys()
    assert [name for name, trouble in troubles.items() if handlers[name][1] not in trouble] == []
    async with engine.connect() as connection:
        assert len(await log_store.cosignatures(connection, 2)) == 1


async def test_the_log_goes_on_by_itself_day_by_day(engine: AsyncEngine, tmp_path: Path) -> None:
    log = LogWorld(engine, tmp_path)
    task = LogTask(log.keeper, engine, RULES, lambda: True, lambda: log.now_us)
    await task.step()
    told = [json.loads(one) for one in await log.entries()]
    assert [(one["kind"], one.get("day")) for one in told] == [
        ("rules", None),
        ("register", str(DAY - dt.timedelta(days=1))),
    ]
    first = (log.directory / "checkpoint").read_bytes()
    log.now_us = RULES.day_bounds(DAY)[1] + GRACE_US - 1
    await task.step()
    assert (log.directory / "checkpoint").read_bytes() == first
    log.now_us += 1
    await task.step()
    await task.step()
    told = [json.loads(one) for one in await log.entries()]
    assert [(one["kind"], one.get("day")) for one in told[2:]] == [("register", str(DAY))]
    assert b"\n3\n" in (log.directory / "checkpoint").read_bytes()
    # Files that are lost are there again after a while, though nothing new came.
    (log.directory / "checkpoint").unlink()
    await task.step()
    assert not (log.directory / "checkpoint").exists()
    log.now_us += int(log_task.AGAIN_SECONDS + 1) * 1_000_000
    await task.step()
    assert (log.directory / "checkpoint").exists()


async def test_trouble_is_told_once_and_tried_again(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    monkeypatch.setattr(log_task, "LOOK_SECONDS", 0)
    log = LogWorld(engine, tmp_path)
    active = [True]
    task = LogTask(log.keeper, engine, RULES, lambda: active[0])
    tries = []

    async def step() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise LogError("the log's key is missing")
        active[0] = False

    monkeypatch.setattr(task, "step", step)
    running = asyncio.create_task(task.run())
    while active[0]:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    assert len(tries) == 4
    assert [(one["event"], one["reason"]) for one in told] == [("log_waits", "the log's key is missing")]


async def test_a_witness_whose_address_is_none_is_its_own_affair(engine: AsyncEngine, tmp_path: Path) -> None:
    """I10: the resolver raises what no library of HTTP does."""
    witness = Witness("long.example/w")
    witness.url = f"http://{'a' * 300}.example/"
    log = LogWorld(engine, tmp_path, witnesses=[witness.section()])
    await log.add()
    signed, (asked,) = await log.keeper.advance()
    assert signed is not None
    assert asked.trouble.startswith("does not answer: ")
