"""Couriers and the desk against what goes wrong: floods, half-taken notices, backlogs, a clock set back."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.notices import courier as courier_module
from pool.notices import outbox, sending, store
from pool.notices.courier import TRIES, sender_of
from pool.notices.email import Email
from pool.notices.notice import Draft, Message
from pool.notices.sending import NotSent
from register.clerk import Terms
from register.payout_address import PayoutAddress
from register.pool_data import Accreditation
from tests.conftest import Furnish
from tests.integration.entering import TESTER, made_up_address
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.notice_world import (
    HOUR,
    channels,
    courier_of,
    deliver,
    desk_of,
    events,
    receiving,
    settled,
    webhook,
)


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("settled", settled)
    return "settled"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("settled", settled))
    return made


def draft(world: World, name: str, severity: Any = "warning") -> Draft:
    data = {"name": name, "summary": "it is so", "description": "", "labels": "", "runbook": ""}
    return Draft(world.now_us, "alarm", "alarm_firing", severity, name, data)


async def tell(world: World, *names: str, severity: Any = "warning") -> None:
    async with world.engine.begin() as connection:
        await store.add(connection, [draft(world, name, severity) for name in names], world.now_us)


async def states(world: World) -> list[tuple[object, ...]]:
    return await world.rows("SELECT state, attempts FROM notice_delivery ORDER BY notice_id")


async def test_what_is_critical_waits_behind_no_flood(world: World, tmp_path: Path) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        await tell(world, *(f"light{n}" for n in range(5)), severity="info")
        await tell(world, "heavy1", "heavy2", severity="critical")
        await desk_of(world, [section]).tick()
        await deliver(courier_of(world, section))
        keys = [json.loads(body)["key"] for *_, body in receiver.got]
    assert keys == ["heavy1", "heavy2", *(f"light{n}" for n in range(5))]


async def test_a_person_wakes_a_courier_that_rests_and_gives_new_tries(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(courier_module, "pause", lambda failures, asked: 3600.0)
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        receiver.answers = [(422, {}, b"")] * (TRIES + 1)
        await tell(world, "refused")
        await desk_of(world, [section]).tick()
        for _ in range(TRIES):
            await courier_of(world, section).step()
        assert await states(world) == [("given_up", TRIES)]
        running = asyncio.create_task(courier_of(world, section).run(lambda: True))
        async with asyncio.timeout(20):
            for wanted in (TRIES + 1, TRIES + 2):
                async with world.engine.begin() as connection:
                    await outbox.retry(connection, world.now_us, "ops")
                while len(receiver.got) < wanted:
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await states(world) == [("sent", 2)], "one refusal after it was tried anew did not give it up"


async def test_a_refused_notice_is_told_as_such(world: World, tmp_path: Path) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        receiver.answers = [(422, {}, b"")] * TRIES
        await tell(world, "poison")
        await desk_of(world, [section]).tick()
        for _ in range(TRIES):
            await courier_of(world, section).step()
        assert await events(world) == ["alarm_firing", "notice_refused"]
        await desk_of(world, [section]).tick()
    assert len(await states(world)) == 1, "the channel that refuses is not told"


@asynccontextmanager
async def answering(answer: bytes, *, then_silent: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says this to each request, and perhaps leaves its answer unfinished."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        if then_silent:
            await asyncio.sleep(3600)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got
    finally:
        server.close()


async def test_a_receiver_that_never_ends_its_answer_has_the_notice_once(
    world: World, tmp_path: Path
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
    async with receiving() as receiver, answering(answer, then_silent=True) as (url, got):
        receiver.url = url
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        await tell(world, "a")
        await desk_of(world, [section]).tick()
        async with asyncio.timeout(10):
            await deliver(courier_of(world, section))
        assert len(got) == 1
    assert await states(world) == [("sent", 1)]


async def test_a_mail_server_that_serves_nobody_now_does_not_refuse_the_mail(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no service here\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (section,) = channels(
        {"kind": "email", "name": "mail", "server": f"127.0.0.1:{port}", "sender": "pool@example.kz"}
        | {"recipients": ["duty@example.kz"]}
    )
    message = Message("k", 1, "alarm", "test", "info", {}, "Subject", "Text")
    with pytest.raises(NotSent, match="no service here") as refused:
        await Email(section, "Pool").send(message)
    server.close()
    assert not refused.value.of_message


async def test_certificates_are_read_beside_the_loop_that_may_answer_shares(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def context(**more: Any) -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(sending.ssl, "create_default_context", context)
    mail = {"kind": "email", "name": "mail", "server": "127.0.0.1:1", "sender": "pool@example.kz"}
    message = Message("k", 1, "alarm", "test", "info", {}, "Subject", "Text")
    async with receiving() as receiver:
        for section in (webhook(receiver, tmp_path), *channels({**mail, "recipients": ["a@example.kz"]})):
            with suppress(NotSent):
                await sender_of(section, "Pool").send(message)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_no_question_grows_with_what_was_sent_whatever_the_plan(world: World) -> None:
    """A prepared statement must find the index of what waits also when its values are not known."""
    asked: list[str] = []

    @sa.event.listens_for(world.engine.sync_engine, "before_cursor_execute")
    def _keep(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    async with world.engine.connect() as connection:
        await outbox.head(connection, "ops", "en")
        await outbox.waiting(connection, ["ops"])
        await store.for_miner(connection, 1, 10)
        questions = [one for one in asked if "FROM notice" in one]
        await connection.exec_driver_sql("SET enable_seqscan = off")
        await connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        plans = []
        for number, question in enumerate(questions):
            values = max((int(one) for one in re.findall(r"\$(\d+)", question)), default=0)
            given = f"({', '.join(['NULL'] * values)})" if values else ""
            await connection.exec_driver_sql(f"PREPARE q{number} AS {question}")
            lines = await connection.exec_driver_sql(f"EXPLAIN EXECUTE q{number}{given}")
            plans.append("\n".join(line for (line,) in lines))
    assert ["notice_delivery_waiting_idx" in plan for plan in plans] == [True, True, False]
    assert "notice_miner_id_id_idx" in plans[2]


async def test_more_notices_at_once_than_a_statement_takes_values(world: World) -> None:
    drafts = [draft(world, "the same")] * 40_000
    async with world.engine.begin() as connection:
        assert await store.add(connection, drafts, world.now_us) == 1


async def test_a_clock_that_is_set_back_stops_no_look_at_time(world: World) -> None:
    desk = desk_of(world)
    await desk.tick()
    world.now_us -= 48 * HOUR
    await write(
        world, accredit=Accreditation("A-9", DAY - dt.timedelta(days=300), DAY + dt.timedelta(days=6))
    )
    await desk.tick()
    assert await events(world) == ["accreditation_ending"]


async def test_changes_that_wait_for_a_second_person_are_one_notice(world: World) -> None:
    desk = desk_of(world)
    await desk.tick()
    world.now_us += 60_000_000
    await write(world, addresses=(2, 3))
    await desk.tick()
    await desk.tick()
    assert await events(world) == ["proposals_wait"]
    ((kind, subject, text),) = await world.rows("SELECT kind, subject, text FROM notice")
    assert kind == "payout"
    assert subject == "Changes that wait for a second person: 2"
    assert str(text).startswith(f"{TESTER.name} asked for: address ")


async def write(world: World, accredit: Accreditation | None = None, addresses: tuple[int, ...] = ()) -> None:
    """One change of the register, where payout addresses need four eyes."""
    terms = Terms(RULES, "regtest", four_eyes=frozenset({"payout_address"}))
    async with register_store.writing(
        world.engine, terms, TESTER, "for a test", now_us=lambda: world.now_us
    ) as clerk:
        if accredit is not None:
            clerk.put_accreditation(accredit)
        for miner_id in addresses:
            clerk.enter_address(PayoutAddress(miner_id, 0, "wallet", made_up_address(f"new{miner_id}"), 0))
