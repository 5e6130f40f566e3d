"""Notices on their way: in order, at least once, past whatever fails; each channel for itself."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from pool.clock import instant
from pool.notices import courier as courier_module
from pool.notices import outbox, store
from pool.notices.courier import ASKED_LONGEST_SECONDS, LONGEST_SECONDS, TRIES, pause
from pool.notices.notice import Draft
from pool.notices.outbox import DAY_US
from tests.conftest import Furnish, administer
from tests.integration.ledger_world import World
from tests.integration.notice_world import (
    PASSWORD,
    POOL,
    SECRET,
    TOKEN,
    Receiver,
    channels,
    courier_of,
    deliver,
    desk_of,
    events,
    mail_server,
    receiving,
    secret_in,
    settled,
    telegram,
    webhook,
)
from tests.integration.paid_world import mine
from tests.integration.test_door_tls import Authority


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("settled", settled)
    return "settled"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("settled", settled))
    return made


async def tell(world: World, *names: str, severity: Any = "warning") -> None:
    """Alarms come in."""
    drafts = [
        Draft(world.now_us, "alarm", "alarm_firing", severity, f"alarm:{name}", alarm(name)) for name in names
    ]
    async with world.engine.begin() as connection:
        await store.add(connection, drafts, world.now_us)


def alarm(name: str) -> dict[str, str | int]:
    return {
        "name": name,
        "summary": "it is so",
        "description": "Do this.",
        "labels": "role=ledger",
        "runbook": "",
    }


def told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["key"].removeprefix("alarm:") for _, _, body in receiver.got]


async def states(world: World, channel: str = "ops") -> list[tuple[object, ...]]:
    return await world.rows(
        f"SELECT state, attempts, error FROM notice_delivery WHERE channel = '{channel}' ORDER BY notice_id"
    )


async def test_a_channel_gets_what_it_asked_for_in_its_language_and_in_order(
    world: World, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path, kinds=["block", "alarm"], min_severity="warning", language="ru")
        desk, courier = desk_of(world, [section]), courier_of(world, section)
        await tell(world, "before the channel was there")
        await desk.tick()
        await mine(world)
        world.node.reorganise(1)
        await world.work()
        await tell(world, "NoJob", "DiskFills")
        await tell(world, "light", severity="info")
        await desk.tick()
        assert desk.numbers.channels["ops"].waiting == 3
        await deliver(courier)
        await desk.tick()
        assert desk.numbers.channels["ops"].waiting == 0
    bodies = [json.loads(body) for _, _, body in receiver.got]
    assert [one["event"] for one in bodies] == ["alarm_firing", "alarm_firing", "block_orphaned"]
    assert bodies[2]["subject"] == "Блок 1 вышел из цепочки"
    assert {one["pool"] for one in bodies} == {POOL}


async def test_one_dead_channel_holds_up_no_other_and_the_order_is_kept(world: World, tmp_path: Path) -> None:
    async with receiving() as receiver, receiving() as broken:
        good, bad = webhook(receiver, tmp_path), webhook(broken, tmp_path, "broken")
        desk = desk_of(world, [good, bad])
        await desk.tick()
        broken.answers = [(503, {}, b"")] * 3
        await tell(world, "a", "b", "c")
        await desk.tick()
        courier = courier_of(world, bad)
        for _ in range(3):
            assert await courier.step() > 0
        await deliver(courier_of(world, good))
        assert told(receiver) == ["a", "b", "c"]
        assert told(broken) == ["a", "a", "a"]
        await deliver(courier)
        assert told(broken) == ["a", "a", "a", "a", "b", "c"]
    assert await states(world, "broken") == [("sent", 4, ""), ("sent", 1, ""), ("sent", 1, "")]


async def test_couriers_of_a_running_desk_wait_for_nobody(world: World, tmp_path: Path) -> None:
    """A channel that never answers is waited for by its own courier alone."""
    async with receiving() as receiver:
        silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(3600), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        slow = webhook(dataclasses.replace(receiver, url=f"http://127.0.0.1:{port}"), tmp_path, "slow")
        desk = desk_of(world, [slow, webhook(receiver, tmp_path)])
        await desk.tick()
        await tell(world, "a", "b")
        running = asyncio.create_task(desk.run())
        async with asyncio.timeout(20):
            while len(receiver.got) < 2:
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        silent.close()
    assert told(receiver) == ["a", "b"]


async def test_after_a_day_it_is_given_up_others_tell_of_it_and_a_person_tries_again(
    world: World, tmp_path: Path
) -> None:
    async with receiving() as receiver, receiving() as broken:
        good, bad = webhook(receiver, tmp_path), webhook(broken, tmp_path, "broken")
        desk = desk_of(world, [good, bad])
        await desk.tick()
        broken.answers = [(500, {}, b"")] * 2
        await tell(world, "a", "b")
        await desk.tick()
        courier = courier_of(world, bad)
        await courier.step()
        assert [state for state, *_ in await states(world, "broken")] == ["waiting", "waiting"]
        world.now_us += DAY_US
        await courier.step()
        assert [state for state, *_ in await states(world, "broken")] == ["given_up", "given_up"]
        await desk.tick()
        await deliver(courier_of(world, good))
        last = json.loads(receiver.got[-1][2])
        assert last["event"] == "channel_failed"
        assert last["subject"] == "Notices do not reach broken"
        assert len(await states(world, "broken")) == 2, "it is not told of itself"
        async with world.engine.begin() as connection:
            assert await outbox.retry(connection, world.now_us, "ops") == 0
            assert await outbox.retry(connection, world.now_us, None) == 2
        await deliver(courier)
        assert told(broken) == ["a", "a", "a", "b"]


async def test_a_notice_that_is_itself_refused_holds_up_the_others_only_for_a_few_tries(
    world: World, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        desk, courier = desk_of(world, [section]), courier_of(world, section)
        await desk.tick()
        receiver.answers = [(422, {}, b"")] * TRIES
        await tell(world, "poison", "b")
        await desk.tick()
        for _ in range(TRIES):
            await courier.step()
        await deliver(courier)
        assert told(receiver) == ["poison"] * TRIES + ["b"]
    assert [state for state, *_ in await states(world)] == ["given_up", "sent"]


async def test_no_redirect_is_followed_and_an_answer_without_end_is_not_read(
    world: World, tmp_path: Path
) -> None:
    async with receiving() as receiver, receiving() as inside:
        section = webhook(receiver, tmp_path)
        courier = courier_of(world, section)
        await desk_of(world, [section]).tick()
        receiver.answers = [
            (307, {"Location": f"{inside.url}/secret"}, b""),
            (200, {}, b"x" * 3_000_000),
        ]
        await tell(world, "a")
        await desk_of(world, [section]).tick()
        assert await courier.step() > 0
        assert (await states(world))[0][2] == (
            "answered with HTTP status 307; redirects are not followed: correct its url"
        )
        await deliver(courier)
        assert inside.got == []
    assert [state for state, *_ in await states(world)] == ["sent"]


async def test_telegram_is_obeyed_and_its_token_never_told(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiving() as receiver:
        section = telegram(receiver, tmp_path, language="kk")
        courier = courier_of(world, section)
        await desk_of(world, [section]).tick()
        said = {"ok": False, "description": f"Too Many Requests {TOKEN}", "parameters": {"retry_after": 77}}
        receiver.answers = [(429, {}, json.dumps(said).encode())]
        await tell(world, "NoJob", severity="critical")
        await desk_of(world, [section]).tick()
        assert 77 <= await courier.step() <= 78
        await deliver(courier)
        path, _, body = receiver.got[-1]
        assert path == f"/bot{TOKEN}/sendMessage"
        question = json.loads(body)
        assert question["chat_id"] == "-1007"
        when = f"{instant(world.now_us):%Y-%m-%d %H:%M} UTC"
        assert question["text"].endswith(f"{POOL}: NoJob: it is so\n{when}\n\nDo this.\nrole=ledger")
        receiver.url = "http://127.0.0.1:1"
        gone = courier_of(world, telegram(receiver, tmp_path))
        await tell(world, "b")
        await desk_of(world, [section]).tick()
        await gone.step()
    shown = [*(error for *_, error in await states(world, "chat")), *capsys.readouterr()]
    assert any("cannot be reached" in str(one) for one in shown)
    assert [one for one in shown if TOKEN in str(one) or TOKEN.partition(":")[2] in str(one)] == []


async def test_mail_goes_over_tls_to_a_server_whose_certificate_is_right(
    world: World, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key, _ = authority.issue("localhost")
    with mail_server(certificate, key) as (post, port):
        mail = {
            "kind": "email",
            "name": "mail",
            "server": f"localhost:{port}",
            "username": "dmpool",
            "password_file": secret_in(tmp_path, "mail.password", PASSWORD),
            "sender": "pool@example.kz",
            "recipients": ["duty@example.kz", "gone@example.kz", "chief@example.kz"],
        }
        strict, right = channels(mail)[0], channels({**mail, "ca_file": authority.file})[0]
        await desk_of(world, [right]).tick()
        await tell(world, "NoJob")
        await desk_of(world, [right]).tick()
        await courier_of(world, strict).step()
        assert "certificate" in str((await states(world, "mail"))[0][2])
        assert post.mails == []
        courier = courier_of(world, right)
        with capture_logs() as said:
            await deliver(courier)
        (_, attempts, _) = (await states(world, "mail"))[0]
        async with world.engine.connect() as connection:
            await tell(world, "b")
            await desk_of(world, [right]).tick()
            head = await outbox.head(connection, "mail", "en")
        assert head is not None
        await courier._sender.send(head.message)
        await deliver(courier)
    assert attempts == 2
    (refused,) = [one for one in said if one["event"] == "mail_recipients_refused"]
    assert refused["reason"] == "gone@example.kz: 550 no such mailbox"
    first, second, again = post.mails
    assert first["Subject"] == "[warning] NoJob: it is so"
    assert first["From"] == f"{POOL} <pool@example.kz>"
    assert first["Message-ID"].endswith(".dmpool@example.kz>")
    assert first["Message-ID"] != second["Message-ID"] == again["Message-ID"], "a repeat is known by it"
    assert post.to[0] == ["duty@example.kz", "chief@example.kz"]
    assert first.get_payload(decode=True) == b"Do this.\r\nrole=ledger\r\n"


def test_pauses_grow_vary_end_somewhere_and_obey() -> None:
    for failures in range(1, 60):
        assert 1 <= pause(failures, None) <= LONGEST_SECONDS
    assert pause(30, None) >= LONGEST_SECONDS / 2
    assert len({pause(3, None) for _ in range(20)}) > 1
    assert 600 <= pause(1, 600.0) <= 601
    assert pause(1, 1e9) <= ASKED_LONGEST_SECONDS + 1


async def test_a_kill_between_sending_and_recording_loses_nothing(
    world: World, database_url: str, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        await tell(world, "a", "b")
        await desk_of(world, [section]).tick()
        arguments = (
            database_url,
            section.url.get_secret_value(),
            str(section.secret_file),
            str(world.now_us),
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.notice_process", *arguments
        )
        assert await process.wait() == -signal.SIGKILL
        assert told(receiver) == ["a"]
        assert [state for state, *_ in await states(world)] == ["waiting", "waiting"]
        await deliver(courier_of(world, section))
        assert told(receiver) == ["a", "a", "b"], "sent again, with the same key"


async def test_postgresql_that_goes_away_after_sending_is_told_when_it_is_back(
    world: World, database_url: str, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same process nothing is sent twice: what was taken is remembered."""
    monkeypatch.setattr(courier_module, "IDLE_SECONDS", 0.05)
    name = sa.make_url(database_url).database
    close = f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        await tell(world, "a", "b")
        await desk_of(world, [section]).tick()
        courier = courier_of(world, section)
        between = Between(courier._sender, lambda: administer(postgres, close, end))
        courier._sender = between
        running = asyncio.create_task(courier.run(lambda: True))
        async with asyncio.timeout(20):
            while not between.closed:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            assert told(receiver) == ["a"]
            await administer(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            while len(receiver.got) < 2:
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await deliver(courier)
    assert told(receiver) == ["a", "b"]
    assert await events(world) == ["alarm_firing", "alarm_firing"]
    assert [state for state, *_ in await states(world)] == ["sent", "sent"]


class Between:
    """The database is closed when the first notice has been taken."""

    def __init__(self, sender: Any, close: Any) -> None:
        self._sender = sender
        self._close = close
        self.closed = False

    async def send(self, message: Any) -> None:
        await self._sender.send(message)
        if not self.closed:
            await self._close()
            self.closed = True


async def test_a_secret_that_strangers_can_read_is_not_used(world: World, tmp_path: Path) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        await desk_of(world, [section]).tick()
        await tell(world, "a")
        await desk_of(world, [section]).tick()
        section.secret_file.chmod(0o644)
        await courier_of(world, section).step()
        assert receiver.got == []
    ((_, _, error),) = await states(world)
    assert str(error).endswith("has mode 0644: anybody may read it; run chmod o= " + str(section.secret_file))
    assert SECRET not in str(error)
    section.secret_file.chmod(0o600)
    unsure = section.model_copy(update={"ca_file": tmp_path / "none.pem"})
    await courier_of(world, unsure).step()
    ((_, attempts, error),) = await states(world)
    assert attempts == 2
    assert str(error).endswith("none.pem: No such file or directory; name a PEM file with certificates")
