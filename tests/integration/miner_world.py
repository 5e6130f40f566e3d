"""A miner's page and who asks for it: a world of which two miners have tokens, answers, streams."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from register.clerk import Terms
from register.person import Actor, Role, token_hash
from tests.integration.ledger_world import RULES, World
from tests.integration.register_site import TOKENS, enter_people
from tests.integration.web_world import MINUTE, SHARE, Site, a_morning

OWN = "a token of the miner's own"
OTHER = "a token of another miner's"
OFFICER = Actor("aliya", Role.COMPLIANCE, token_hash(TOKENS["aliya"]))
PAGE = "/miners/miner1"
API = f"/api/v1{PAGE}"
STRANGER = '"><script>alert(1)</script>'


class Told(NamedTuple):
    """An answer."""

    code: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


async def with_tokens(engine: AsyncEngine) -> dict[str, Any]:
    """A morning's work, people, and two miners with a token; the first has workers that nobody registered."""
    memory = await a_morning(engine)
    world = World(engine)
    world.recall(memory)
    await enter_people(engine)
    for name, token in (("miner1", OWN), ("miner2", OTHER)):
        await new_token(engine, name, token)
    await world.tell(
        *(
            world.share(1, f"rig{number}", target=SHARE, at_us=world.now_us - number * MINUTE)
            for number in (3, 12)
        ),
        world.share(1, STRANGER, target=SHARE),
        world.reject(1, "low-difficulty"),
    )
    await world.work()
    return world.memory()


async def new_token(engine: AsyncEngine, name: str, token: str) -> None:
    async with register_store.writing(engine, Terms(RULES, "regtest"), OFFICER, "asked for") as clerk:
        miner = clerk.register.miner(name)
        clerk.change_miner(msgspec.structs.replace(miner, statement_token_sha256=token_hash(token)))


def basic(token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"x:{token}".encode()).decode()}


async def get(site: Site, path: str, token: str | None = OWN, **headers: str) -> Told:
    sent = {**(basic(token) if token else {}), **headers}
    code, told, body = await site.get(path, **sent)
    return Told(code, told, body.decode())


@asynccontextmanager
async def streaming(site: Site, path: str, token: str | None = OWN) -> AsyncIterator[aiohttp.ClientResponse]:
    async with site.http.get(site.url + path, headers=basic(token) if token else {}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield answer


async def parts_of(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """The parts of the next event that has some."""
    event = ""
    async with asyncio.timeout(20):
        async for line in answer.content:
            word, _, value = line.decode().rstrip("\n").partition(": ")
            event = value if word == "event" else event
            if word == "data" and event == "parts":
                found: dict[str, str] = json.loads(value)
                return found
    raise AssertionError("the stream has ended")
