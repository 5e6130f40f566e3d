"""A web server over the small world of the ledger, on a clock that the test holds."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import Listen, Settings
from pool.database import gateway
from pool.reports import Publisher, build_report
from pool.web import WebServer, create_app
from reporting.daily import PoolFacts
from reporting.signing import SigningKey
from tests.integration.bitcoind_process import free_port
from tests.integration.ledger_world import ADDRESS, DAY, RULES, World

KEY = SigningKey(bytes(31) + b"\x07")
REWARD = 5_000_000_001
POOL: dict[str, Any] = {
    "name": "Tengri Digital Pool LLP",
    "bin": "230440000105",
    "chain": "regtest",
    "address": ADDRESS,
    "accreditation": "KZ00DMP0001",
    "commission_bps": 150,
}
PUBLISHER = Publisher(
    PoolFacts(POOL["name"], POOL["bin"], POOL["chain"], ADDRESS, POOL["commission_bps"]), RULES, KEY, "test"
)


class Site:
    """A served page: `url` without a slash at the end, and a client."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        async with self.http.get(self.url + path, headers=headers) as answer:
            return answer.status, dict(answer.headers), await answer.read()

    async def status(self) -> Any:
        """What `/api/v1/status` says."""
        async with self.http.get(self.url + "/api/v1/status") as answer:
            assert answer.status == 200
            return await answer.json()


@asynccontextmanager
async def serving(
    engine: AsyncEngine, world: World | None, directory: Path, stratum: str = "0.0.0.0:3333"
) -> AsyncIterator[Site]:
    """The web role on a free port; its clock is the world's."""
    settings = Settings(data_dir=directory, pool=POOL, stratum={"listen": stratum})  # type: ignore[arg-type]
    listen = Listen(host="127.0.0.1", port=free_port())
    clock = (lambda: world.now_us) if world else (lambda: 0)
    server = WebServer(create_app(engine, settings, RULES, KEY.public_key, clock), listen)
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


async def live(world: World) -> None:
    """A morning at the pool: work, rejects, a block that matured, one on its way, one just found, a lost one."""
    world.node.grow(3)
    early, stranger = world.share(1, "s19-01"), world.found(height=2)
    await world.tell(early, world.found(early, height=1), stranger)
    world.node.main[1] = (await world.rows_of("SELECT hash FROM block WHERE height = 1"))[0]
