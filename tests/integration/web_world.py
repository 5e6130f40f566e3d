"""A web server over the small world of the ledger, on a clock that the test holds."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import Listen, Settings
from pool.register_store import read, writing
from pool.reports import Publisher, build_report
from pool.tables import gateway
from pool.web import WebServer, create_app
from register.clerk import Terms
from register.pool_data import Accreditation
from reporting.daily import PoolFacts
from reporting.signing import SigningKey
from tests.integration.entering import ENTERED_US, FIRST, TESTER
from tests.integration.free_port import free_port
from tests.integration.ledger_world import ADDRESS, DAY, RULES, World

KEY = SigningKey(bytes(31) + b"\x07")
REWARD = 5_000_000_001
POOL: dict[str, Any] = {
    "name": "Tengri Digital Pool LLP",
    "bin": "230440000105",
    "chain": "regtest",
    "address": ADDRESS,
    "commission_bps": 150,
}
PUBLISHER = Publisher(
    PoolFacts(POOL["name"], POOL["bin"], POOL["chain"], ADDRESS, POOL["commission_bps"]),
    RULES,
    (KEY,),
    "test",
)


class Site:
    """A served page: `url` without a slash at the end, and a client."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def get(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer."""
        async with self.http.get(self.url + path, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async def status(self) -> Any:
        """What `/api/v1/status` says."""
        async with self.http.get(self.url + "/api/v1/status") as answer:
            assert answer.status == 200
            return await answer.json()


def settings_of(
    directory: Path, stratum: str = "0.0.0.0:3333", door: dict[str, Any] | None = None
) -> Settings:
    """The pool's configuration."""
    values = {"data_dir": directory, "pool": POOL, "stratum": {"listen": stratum}}
    return Settings.model_validate({**values, "door": door or {"open_reports": True}})


async def accredit(engine: AsyncEngine) -> None:
    """The pool's accreditation, unless it is there."""
    if not (await read(engine, ("accreditation",))).accreditations:
        terms = Terms(RULES, "regtest")
        async with writing(engine, terms, TESTER, "for a test", now_us=lambda: ENTERED_US) as clerk:
            clerk.put_accreditation(Accreditation("KZ00DMP0001", FIRST))


@asynccontextmanager
async def serving(
    engine: AsyncEngine,
    world: World,
    directory: Path,
    stratum: str = "0.0.0.0:3333",
    door: dict[str, Any] | None = None,
) -> AsyncIterator[Site]:
    """The web role of an accredited pool on a free port; its clock is the world's."""
    if engine is world.engine:
        await accredit(engine)
    settings = settings_of(directory, stratum, door)
    listen = Listen(host="127.0.0.1", port=free_port())
    server = WebServer(create_app(engine, settings, RULES, lambda: world.now_us), listen)
    running = asyncio.create_task(server.run())
    try:
        async with aiohttp.ClientSession() as http:
            site = Site(f"http://{listen}", http)
            await _until_served(site, running)
            yield site
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _until_served(site: Site, running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        while not running.done():
            with suppress(aiohttp.ClientConnectionError):
                await site.get("/healthz")
                return
            await asyncio.sleep(0.01)
    await running


def target(work: int) -> bytes:
    """The target that a share of this work meets."""
    return (2**256 // work - 1).to_bytes(32, "big")


SHARE_WORK = 10**16
SHARE = target(SHARE_WORK)
BLOCK = target(4 * SHARE_WORK)
MINUTE = 60_000_000


async def morning(world: World) -> None:
    """Blocks of each state, work of each miner, rejects, a report; then it is noon."""
    noon = world.now_us
    world.now_us = noon - 50 * MINUTE
    for height, name in enumerate(("rack-1", "rack-2", "rack-1"), 1):
        won = world.share(height, name, target=SHARE)
        found = world.found(won, height=height, reward=REWARD, target=BLOCK)
        await world.tell(won, found, world.reject(height))
        world.node.main.append(found.block_hash)
    world.node.grow(110)
    await world.work()
    world.now_us = noon - 5 * MINUTE
    for number in range(12):
        await world.tell(world.share(1 + number % 3, target=SHARE), world.share(1, "b", target=SHARE))
    won = world.share(2, "rack-2", target=SHARE)
    found = world.found(won, height=114, reward=REWARD, target=BLOCK)
    await world.tell(won, found)
    world.node.main.append(found.block_hash)
    lost = world.found(height=115, reward=REWARD, target=BLOCK)
    world.node.grow(11)
    world.node.aside.add(lost.block_hash)
    await world.tell(lost)
    won = world.share(3, "rack-9", target=SHARE)
    await world.tell(won, world.found(won, height=126, reward=REWARD, target=BLOCK))
    world.now_us = noon
    await world.work()
    await beat(world)
    await build_report(world.engine, DAY, PUBLISHER, noon, unfinished=True)


async def a_morning(engine: AsyncEngine) -> dict[str, Any]:
    """A database at noon: what its world remembers."""
    world = World(engine)
    await world.settle_in()
    await accredit(engine)
    await morning(world)
    return world.memory()


async def beat(world: World, connections: int = 42) -> None:
    """The gateway gives a sign of life two seconds ago; its job is a block above the node's tip."""
    now = dt.datetime.fromtimestamp(world.now_us / 1_000_000, dt.UTC)
    async with world.engine.begin() as connection:
        await connection.execute(
            sa.update(gateway).values(
                seen_at=now - dt.timedelta(seconds=2),
                connections=connections,
                job_height=len(world.node.main),
                job_at=now - dt.timedelta(seconds=17),
                shares_accepted=31_000,
                shares_rejected=12,
            )
        )
