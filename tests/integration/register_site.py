"""The register over HTTP and real PostgreSQL, with people of each role, on a clock that the test holds."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.config import Listen, Settings
from pool.web import WebServer, create_app
from register.centre import Centre
from register.clerk import Clerk, Terms
from register.licence import Act, Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.person import Actor, Person, Role, token_hash
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.rules import Rules
from register.sighting import Seen, Sighting, SightingKind
from tests.integration.entering import enter_miner, made_up_address
from tests.integration.free_port import free_port
from tests.integration.ledger_world import BINS, NOON, RULES

BASE = "/api/v1/register"
TOKENS = {
    name: hashlib.sha256(name.encode()).hexdigest() for name in ("aliya", "dana", "oleg", "audit", "former")
}
ROLES = {
    "aliya": Role.COMPLIANCE,
    "dana": Role.COMPLIANCE,
    "oleg": Role.OPERATOR,
    "audit": Role.AUDITOR,
    "former": Role.COMPLIANCE,
}
LOCAL = Actor("os:root", Role.COMPLIANCE)
FIRST_US = NOON - 200 * 86_400_000_000


class Told(NamedTuple):
    """An answer."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


class Clock:
    """What the server takes for now."""

    def __init__(self) -> None:
        self.now_us = NOON


class RegisterSite:
    """A served register: who asks is named, and their token is sent."""

    def __init__(self, url: str, http: aiohttp.ClientSession, clock: Clock, engine: AsyncEngine) -> None:
        self.url = url
        self.http = http
        self.clock = clock
        self.engine = engine

    async def ask(
        self, method: str, path: str, who: str | None = "aliya", body: Any = None, **headers: str
    ) -> Told:
        """One request under /api/v1/register; `body` as JSON, or bytes as they are."""
        sent = dict(headers)
        if who is not None:
            sent.setdefault("Authorization", f"Bearer {TOKENS.get(who, who)}")
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        url = path if path.startswith("http") else self.url + (path if path[0:4] == "/../" else BASE + path)
        async with self.http.request(method, url, data=body, headers=sent) as answer:
            return Told(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, who: str | None = "audit", **headers: str) -> Told:
        return await self.ask("GET", path, who, **headers)

    async def post(self, path: str, body: Any, who: str | None = "aliya", **headers: str) -> Told:
        return await self.ask("POST", path, who, body, **headers)

    async def put(self, path: str, body: Any, who: str | None = "aliya") -> Told:
        return await self.ask("PUT", path, who, body)

    async def page(self, user: str = "x", password: str = "", path: str = "/compliance") -> Told:
        """The page, as a browser that was given a name and a password asks for it."""
        given = base64.b64encode(f"{user}:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {given}"} if password else {}
        async with self.http.get(self.url + path, headers=headers) as answer:
            return Told(answer.status, answer.headers, await answer.read())


async def enter_people(engine: AsyncEngine, rules: Rules = RULES) -> None:
    """One of each role, two officers, and one whose token was revoked."""
    terms = Terms(rules, "regtest")
    async with register_store.writing(engine, terms, LOCAL, "for a test", now_us=lambda: FIRST_US) as clerk:
        for name, role in ROLES.items():
            clerk.put_person(Person(name, role, token_hash(TOKENS[name])))
        clerk.put_person(Person("former", Role.COMPLIANCE, token_hash(TOKENS["former"]), revoked=True))


async def enter_miners(engine: AsyncEngine) -> None:
    """miner1 to miner3, each with a licence of subtype I, a wallet, a data centre and three units."""
    for number, one in enumerate(BINS, 1):
        await enter_miner(engine, f"miner{number}", one, workers=("rig1", "rig2", "rig3"))


async def enter_everybody(engine: AsyncEngine) -> None:
    """Three miners, and people."""
    await enter_miners(engine)
    await enter_people(engine)


def settings_with(directory: Path, *four_eyes: str) -> Settings:
    """The pool's configuration."""
    pool = {
        "name": "Tengri Digital Pool LLP",
        "bin": "230440000105",
        "chain": "regtest",
        "address": made_up_address("pool"),
    }
    return Settings.model_validate(
        {"data_dir": directory, "pool": pool, "compliance": {"four_eyes": list(four_eyes)}}
    )


@asynccontextmanager
async def serving_register(
    engine: AsyncEngine, directory: Path, *four_eyes: str
) -> AsyncIterator[RegisterSite]:
    """The web role on a free port."""
    clock = Clock()
    listen = Listen(host="127.0.0.1", port=free_port())
    settings = settings_with(directory, *four_eyes)
    app = create_app(engine, settings, RULES, lambda: clock.now_us)
    server = WebServer(app, listen)
    running = asyncio.create_task(server.run())
    try:
        async with aiohttp.ClientSession() as http:
            site = RegisterSite(f"http://{listen}", http, clock, engine)
            await _until_served(site, running)
            yield site
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _until_served(site: RegisterSite, running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        while not running.done():
            with suppress(aiohttp.ClientConnectionError):
                async with site.http.get(site.url + "/healthz"):
                    return
            await asyncio.sleep(0.01)
    await running


# What is entered in tests

FARMS = (
    *("990140004654", "050740004819", "120140006531", "180340012346", "200440009871", "210540007652"),
    "150940003214",
)
"""Made up: no such subject is meant."""
TERMS = {
    "ending": (dt.date(2023, 12, 6), dt.date(2026, 12, 5)),
    "soon": (dt.date(2024, 1, 20), dt.date(2027, 1, 19)),
    "tomorrow": (dt.date(2026, 11, 25), dt.date(2029, 11, 23)),
}

DAY_US = 86_400_000_000
TODAY = dt.date(2026, 11, 24)
NEW_BIN = "990140004654"


def new_miner(name: str = "newcomer", **more: Any) -> dict[str, Any]:
    return {"reason": "a contract", "name": name, "title": f"{name} LLP", "bin": NEW_BIN, **more}


def new_centre(code: str = "new-dc", **more: Any) -> dict[str, Any]:
    return {
        "reason": "a lease",
        "code": code,
        "title": "Hall 5",
        "address": "Ekibastuz",
        "holder_bin": NEW_BIN,
        "holder_title": "newcomer LLP",
        "legal_basis": "lease",
        "document": "lease 7",
        **more,
    }


def new_licence(number: str = "KZ-NEW-1", account: str = "newcomer", **more: Any) -> dict[str, Any]:
    return {
        "reason": "given by the ministry",
        "number": number,
        "account": account,
        "subtype": 1,
        "issued_on": "2026-11-01",
        "valid_from": "2026-11-01",
        "valid_to": "2029-10-31",
        **more,
    }


def new_device(number: str = "KZ-U-1", account: str = "miner1", **more: Any) -> dict[str, Any]:
    return {
        "reason": "in the state register",
        "registry_number": number,
        "account": account,
        "manufacturer": "Bitmain",
        "model": "S19",
        "serial_number": f"SN-{number}",
        "worker": number.lower().replace("/", "-"),
        "nominal_ghs": 95_000,
        "nominal_w": 3250,
        "owner_bin": BINS[0],
        "centre": "miner1-dc",
        "included_on": "2026-11-01",
        **more,
    }


async def enter_a_troubled_pool(engine: AsyncEngine) -> None:
    """Everything that the digest can note, among three miners and seven more."""
    noon, day_us = NOON, DAY_US
    await enter_miners(engine)
    await enter_people(engine)
    terms = Terms(RULES, "regtest", four_eyes=frozenset({"payout_address", "licence_status"}))
    loose = Terms(RULES, "regtest")
    day = dt.date

    async def act(
        at_us: int, make: Callable[[Clerk], object], reason: str, who: str = "aliya", by: Terms = loose
    ) -> None:
        actor = Actor(who, ROLES[who])
        async with register_store.writing(engine, by, actor, reason, now_us=lambda: at_us) as clerk:
            make(clerk)

    def enter(clerk: Clerk) -> None:
        clerk.put_accreditation(Accreditation("KZ00DMP0001", day(2026, 1, 10), day(2026, 12, 20)))
        clerk.put_site(Site("ekb-1", "Ekibastuz, Lenin street 1", "KZ", ("stratum", "database", "node")))
        clerk.put_site(Site("fra-1", "Frankfurt, Hanauer 10", "DE", ("backup",)))
        clerk.put_protocol(TestProtocol("P-2026-17", day(2026, 2, 3), "State Technical Service", "0.0.9"))
        clerk.put_requirement(
            Requirement("backup-daily", "A backup of all operations each day", "Rules p. 7")
        )
        clerk.put_requirement(
            Requirement("sbom", "A list of all parts", "Rules p. 9", day(2026, 3, 1), "sbom.json")
        )
        kinds = ("suspended", "waiting", "ending", "soon", "revoked", "tomorrow", "bare")
        for number, name in enumerate(kinds):
            miner = clerk.enter_miner(Miner(0, f"farm-{name}", f"{name.title()} Mining LLP", FARMS[number]))
            clerk.enter_centre(
                Centre(
                    f"dc-{name}", f"Hall {number}", "Ekibastuz", miner.bin, miner.title, "lease", "lease 7"
                )
            )
            if name == "bare":
                continue
            first, last = TERMS.get(name, (day(2026, 1, 1), day(2028, 12, 31)))
            clerk.enter_licence(Licence(f"KZ16LMN{number:05}", miner.id, 1, min(first, TODAY), first, last))
            clerk.enter_address(PayoutAddress(miner.id, 0, "wallet", made_up_address(name), 0))

    await act(noon - 100 * day_us, enter, "first entries")
    suspended = Act("suspended", "D-9", day(2026, 11, 1), 3, day(2027, 1, 31))
    await act(noon - 24 * day_us, lambda c: c.act_on_licence("KZ16LMN00000", suspended), "decision D-9")
    lapsed = Act("suspended", "D-4", day(2026, 9, 1), 1, day(2026, 10, 31))
    await act(noon - 84 * day_us, lambda c: c.act_on_licence("KZ16LMN00001", lapsed), "decision D-4")
    revoked = Act("revoked", "court 7119", day(2026, 11, 20))
    await act(noon - 5 * day_us, lambda c: c.act_on_licence("KZ16LMN00004", revoked), "court act of 18.11.")
    resumed = Act("resumed", "R-5", TODAY)
    await act(noon - day_us, lambda c: c.act_on_licence("KZ16LMN00001", resumed), "act R-5", "dana", terms)
    wallet = PayoutAddress(2, 0, "wallet", made_up_address("new"), 0)
    await act(noon - day_us // 2, lambda c: c.enter_address(wallet), "asked for by letter 17", "oleg")
    asked = PayoutAddress(3, 0, "wallet", made_up_address("newer"), 0)
    await act(noon - day_us // 3, lambda c: c.enter_address(asked), "asked for by phone", "oleg", terms)
    seen = [
        Seen(Sighting(kind, TODAY, miner, worker, noon - 9_000_000_000, detail), noon - 60_000_000, count)
        for kind, miner, worker, count, detail in (
            (SightingKind.UNREGISTERED, 1, "rig77", 14, ""),
            (SightingKind.FOREIGN, 2, "rig-of-3", 1, ""),
            (SightingKind.DUPLICATE, 3, "rig1", 2, ""),
            (SightingKind.OVERRATE, 1, "rig2", 1, "88 TH/s of 56 TH/s"),
            (SightingKind.REFUSED, 4, "s19-04", 240, "licence_suspended"),
        )
    ]
    await register_store.add_sightings(engine, seen)
