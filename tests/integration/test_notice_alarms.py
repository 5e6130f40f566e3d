"""Alarms come in over HTTP and go out signed; the commands; what the page says is what a receiver needs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
import sqlalchemy as sa
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from pool.cli import cli
from pool.config import Listen, Settings
from pool.notices.alarms import ALERTS_LIMIT
from pool.notices.courier import TRIES
from pool.notices.inbox import BODY_LIMIT
from pool.notices.metrics import NoticeMetrics
from pool.notices.secret import TOKEN_SHORTEST
from pool.notices.sending import SEND_SECONDS
from pool.notices.webhook import SIGNATURE, signature
from pool.web import WebServer, create_app
from tests.conftest import Furnish, administer
from tests.integration.free_port import free_port
from tests.integration.ledger_world import RULES, World
from tests.integration.notice_world import (
    SECRET,
    courier_of,
    deliver,
    desk_of,
    receiving,
    secret_in,
    settled,
    webhook,
)
from tests.integration.web_world import POOL
from tests.pool.notices.test_alarms import alert, request

PAGE = (Path(__file__).parents[2] / "docs" / "operate" / "notices.md").read_text("utf-8")
ALARM_TOKEN = "0123456789abcdef0123456789abcdef"


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("settled", settled)
    return "settled"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("settled", settled))
    return made


Post = Callable[..., Any]


@asynccontextmanager
async def inbox(world: World, token_file: Path | None) -> AsyncIterator[tuple[str, Post]]:
    """The web role of a pool with this token."""
    notices = {} if token_file is None else {"alarm_token_file": token_file}
    values = {"data_dir": token_file.parent if token_file else Path("/nowhere"), "pool": POOL}
    settings = Settings.model_validate({**values, "notices": notices})
    listen = Listen(host="127.0.0.1", port=free_port())
    app = create_app(world.engine, settings, RULES, lambda: world.now_us)
    running = asyncio.create_task(WebServer(app, listen).run())
    url = f"http://{listen}/api/v1/alarms"
    async with aiohttp.ClientSession() as http:

        async def post(body: bytes, token: str | None = ALARM_TOKEN) -> tuple[int, Any]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with http.post(url, data=body, headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)

        async with asyncio.timeout(10):
            while True:
                with suppress(aiohttp.ClientConnectionError):
                    await http.get(url)
                    break
                await asyncio.sleep(0.01)
        yield url, post
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_an_alarm_comes_in_once_and_its_end_once(world: World, tmp_path: Path) -> None:
    over = alert(status="resolved", endsAt="2026-11-24T07:00:00Z")
    async with inbox(world, secret_in(tmp_path, "alarm.token", ALARM_TOKEN)) as (_, post):
        assert await post(request(alert())) == (200, {"alarms": 1, "new": 1})
        assert await post(request(alert(), alert())) == (200, {"alarms": 2, "new": 0})
        answers = await asyncio.gather(*(post(request(alert(), over)) for _ in range(8)))
        assert sorted(told["new"] for _, told in answers) == [0] * 7 + [1]
    rows = await world.rows("SELECT event, severity FROM notice ORDER BY id")
    assert rows == [("alarm_firing", "critical"), ("alarm_resolved", "critical")]


async def test_strangers_and_floods_are_turned_away(world: World, tmp_path: Path) -> None:
    token = secret_in(tmp_path, "alarm.token", ALARM_TOKEN)
    async with inbox(world, token) as (_, post):
        assert (await post(request(alert()), None))[0] == 401
        assert (await post(request(alert()), ALARM_TOKEN[:-1]))[0] == 401
        assert (await post(b"x" * (BODY_LIMIT + 1)))[0] == 413
        status, told = await post(b"{}")
        assert status == 400
        assert "version 4" in told["detail"]
        token.rename(tmp_path / "elsewhere")
        assert (await post(request(alert())))[0] == 503
        (tmp_path / "elsewhere").rename(token)
        for _ in range(12):
            status, _told = await post(request(alert()), "wrong")
        assert status == 429
        assert (await post(request(alert())))[0] == 200, "a stranger behind the same proxy keeps no alarm out"
        token.write_text("shorter than it should\n", "utf-8")
        assert (await post(request(alert()), "shorter than it should"))[0] == 503
    async with inbox(world, None) as (_, post):
        assert (await post(request(alert())))[0] == 404
    assert len(await world.rows("SELECT 1 FROM notice")) == 1


async def test_with_postgresql_away_the_alarm_is_not_taken(
    world: World, database_url: str, postgres: str, tmp_path: Path
) -> None:
    name = sa.make_url(database_url).database
    away = f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    async with inbox(world, secret_in(tmp_path, "alarm.token", ALARM_TOKEN)) as (_, post):
        await administer(postgres, away, end)
        assert (await post(request(alert())))[0] == 503
        await administer(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        async with asyncio.timeout(20):
            while (await post(request(alert())))[0] != 200:
                await asyncio.sleep(0.1)
    assert len(await world.rows("SELECT 1 FROM notice")) == 1


async def test_the_page_shows_a_receiver_that_works(world: World, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    space: dict[str, Any] = {}
    exec(compile(example, "docs/operate/notices.md", "exec"), space)
    check = space["is_from_the_pool"]
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        desk = desk_of(world, [section])
        await desk.tick()
        async with inbox(world, secret_in(tmp_path, "alarm.token", ALARM_TOKEN)) as (_, post):
            await post(request(alert()))
        await desk.tick()
        await deliver(courier_of(world, section))
        _, headers, body = receiver.got[0]
    header = headers[SIGNATURE]
    at = int(re.findall(r"t=(\d+),", header)[0])
    assert check(SECRET, header, body)
    assert check(SECRET, header, body, at + 299)
    assert not check(SECRET, header, body, at + 301), "an old one played again"
    assert not check(SECRET, header, body + b" ")
    assert not check("another secret", header, body)
    assert not check(SECRET, header.replace("t=", "t=1"), body)
    for broken in ("", "t=,v1=", "v1=x", "t=-5,v1=x", "t=\u0661,v1=x"):
        assert not check(SECRET, broken, body)
    assert signature(SECRET, at, body) == header
    shown = re.findall(r"```json\n(.*?)```", PAGE, re.S)[0]
    assert set(json.loads(shown)) == set(json.loads(body))


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    plain = " ".join(PAGE.split())
    for phrase in (
        f"waited for {SEND_SECONDS:.0f} seconds",
        f"given up after {TRIES} tries",
        f"512 KiB; {ALERTS_LIMIT} alarms of it are told one by one",
        f"({TOKEN_SHORTEST} letters at least)",
    ):
        assert phrase in plain
    assert BODY_LIMIT == 512 * 1024
    (receivers,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    (hook,) = yaml.safe_load(receivers)["receivers"][0]["webhook_configs"]
    assert hook["url"].endswith("/api/v1/alarms")
    assert hook["max_alerts"] == ALERTS_LIMIT
    assert hook["send_resolved"] is True


async def test_metrics_tell_each_channel(world: World, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    async with receiving() as receiver:
        receiver.answers = [(500, {}, b"")]
        desk = desk_of(world, [webhook(receiver, tmp_path)])
        registry.register(NoticeMetrics(desk.numbers, lambda: world.now_us + 5_000_000))
        await desk.tick()
        async with inbox(world, secret_in(tmp_path, "alarm.token", ALARM_TOKEN)) as (_, post):
            await post(request(alert(), alert(startsAt="2026-11-24T01:00:00Z")))
        await desk.tick()
        (courier,) = desk._couriers
        await courier.step()
        await courier.step()
        await desk.tick()
    told = generate_latest(registry).decode()
    for line in (
        'dmpool_notices_waiting{channel="ops"} 1.0',
        'dmpool_notice_oldest_seconds{channel="ops"} 5.0',
        'dmpool_notices_sent_total{channel="ops"} 1.0',
        'dmpool_notices_failed_total{channel="ops"} 1.0',
    ):
        assert line in told


async def test_the_commands_list_try_and_retry(world: World, database_url: str, tmp_path: Path) -> None:
    async with receiving() as receiver:
        section = webhook(receiver, tmp_path)
        desk = desk_of(world, [section])
        await desk.tick()
        async with inbox(world, secret_in(tmp_path, "alarm.token", ALARM_TOKEN)) as (_, post):
            await post(request(alert()))
        await desk.tick()
        receiver.answers = [(422, {}, b"")] * TRIES
        courier = courier_of(world, section)
        for _ in range(TRIES):
            await courier.step()
        config = tmp_path / "dmpool.toml"
        config.write_text(
            f"""
data_dir = "{tmp_path / "data"}"
[pool]
name = "Test DMP LLP"
bin = "230440000105"
chain = "regtest"
address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
[database]
url = "{database_url}"
[[notices.channels]]
kind = "webhook"
name = "ops"
url = "{receiver.url}/hook"
secret_file = "{section.secret_file}"
""",
            "utf-8",
        )

        async def run(*arguments: str) -> tuple[int, str]:
            line = ["notices", *arguments, "--config", str(config)]
            done = await asyncio.to_thread(CliRunner().invoke, cli, line)
            return done.exit_code, done.output

        code, out = await run("list", "--open")
        assert code == 0
        assert "NoJob: No job for 60 s" in out
        assert f"ops: given up after {TRIES} tries (answered with HTTP status 422)" in out
        assert await run("retry", "--channel", "nobody") == (
            2,
            "dmpool: there is no channel 'nobody'; [[notices.channels]] has ops\n",
        )
        assert await run("retry", "--channel", "ops") == (0, "1 wait again\n")
        receiver.answers = [(401, {}, b"")]
        assert await run("test", "ops") == (1, "ops: answered with HTTP status 401\n")
        assert await run("test") == (0, "ops: taken\n")
    assert json.loads(receiver.got[-1][2])["subject"] == "Test of the channel ops"
