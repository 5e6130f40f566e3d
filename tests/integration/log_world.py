"""A pool's log over a database of its own, on a clock that the test holds; and a witness, as a server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine
from yarl import URL

from pool import log_store
from pool.config import Listen, Settings
from pool.log_keeper import LogKeeper, log_key_file
from pool.log_reader import LogReader
from pool.log_store import Signed
from pool.web import WebServer, create_app
from reporting.checkpoint import parse_checkpoint
from reporting.key_file import read_secret
from reporting.merkle import ProofError, Tree, check_consistency
from reporting.note import (
    COSIGNATURE,
    ID_SIZE,
    Ed25519Signer,
    NoteError,
    Signature,
    VerifierKey,
    cosigned_message,
    parse_note,
    verified,
    verifier_key,
)
from tests.integration.free_port import free_port
from tests.integration.ledger_world import ADDRESS, NOON, RULES
from tests.integration.web_world import Site

ORIGIN = "dmpool/230440000105/regtest"
POOL: dict[str, Any] = {
    "name": "Tengri Digital Pool LLP",
    "bin": "230440000105",
    "chain": "regtest",
    "address": ADDRESS,
}
SECOND = 1_000_000


class LogWorld:
    """One pool's log."""

    def __init__(self, engine: AsyncEngine, data_dir: Path, **log: Any) -> None:
        self.engine = engine
        self.settings = Settings.model_validate({"data_dir": data_dir, "pool": POOL, "log": log})
        self.now_us = NOON
        self.keeper = LogKeeper(engine, self.settings, lambda: self.now_us)
        self.directory = data_dir / "log"

    async def add(self, count: int = 1, kind: str = "report") -> None:
        """Some leaves, none like another: versions of one report."""
        async with self.engine.begin() as connection:
            for _ in range(count):
                self.now_us += SECOND
                version = await log_store.size(connection) + 1
                body = {
                    "day": "2026-11-24",
                    "version": version,
                    "sequence": version,
                    "sha256": f"{version:064x}",
                    "replaces_sha256": None if version == 1 else f"{version - 1:064x}",
                }
                await log_store.append(connection, kind, body, self.now_us)

    async def advance(self) -> Signed:
        """Sign and publish."""
        signed, _ = await self.keeper.advance()
        assert signed is not None
        return signed

    async def entries(self) -> list[bytes]:
        """The data of all leaves."""
        async with self.engine.connect() as connection:
            return await log_store.entries(connection, 0, 2**31)

    async def tree(self) -> Tree:
        """The tree over them, read and checked from the first on."""
        async with self.engine.connect() as connection:
            return await LogReader().update(connection)

    def restart(self) -> None:
        """The process ends, and another begins with nothing in memory."""
        self.keeper = LogKeeper(self.engine, self.settings, lambda: self.now_us)

    @property
    def key(self) -> VerifierKey:
        """Of the log."""
        return Ed25519Signer(ORIGIN, read_secret(log_key_file(self.settings))).key

    def files(self) -> dict[str, bytes]:
        """All that is published, by path."""
        places = [place for place in self.directory.rglob("*") if place.is_file()]
        return {str(place.relative_to(self.directory)): place.read_bytes() for place in places}


class Witness:
    """A witness as C2SP tlog-witness has it: it remembers, checks and cosigns."""

    def __init__(self, name: str, secret: bytes = bytes(32)) -> None:
        self.name = name
        self.private = Ed25519PrivateKey.from_private_bytes(secret)
        self.key = verifier_key(name, COSIGNATURE, self.private.public_key().public_bytes_raw())
        self.log_keys: list[VerifierKey] = []
        self.size = 0
        self.root = b""
        self.time = 1_800_000_000
        self.asked: list[int] = []
        """The old sizes that it was asked with."""
        self.url = ""

    def section(self, *, url: bool = True) -> dict[str, Any]:
        """How a configuration names it."""
        return {"name": self.name, "vkey": str(self.key)} | ({"url": self.url} if url else {})

    def cosign(self, text: str) -> Signature:
        value = self.private.sign(cosigned_message(text, self.time))
        return Signature(self.name, self.key.key_id[:ID_SIZE], self.time.to_bytes(8, "big") + value)

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        head, _, rest = (await request.read()).partition(b"\n\n")
        first, *lines = head.decode().split("\n")
        old = int(first.removeprefix("old "))
        self.asked.append(old)
        note = parse_note(rest)
        checkpoint = parse_checkpoint(note.text)
        try:
            verified(note, self.log_keys)
        except NoteError:
            return web.Response(status=403)
        if old != self.size:
            return web.Response(status=409, text=f"{self.size}\n", content_type="text/x.tlog.size")
        if old == checkpoint.size and self.root != checkpoint.root:
            return web.Response(status=409)
        proof = [base64.b64decode(line, validate=True) for line in lines]
        try:
            if old:
                check_consistency(old, self.root, checkpoint.size, checkpoint.root, proof)
        except ProofError:
            return web.Response(status=422)
        self.size, self.root = checkpoint.size, checkpoint.root
        return web.Response(text=f"{self.cosign(note.text).line()}\n")


@asynccontextmanager
async def serving_web(engine: AsyncEngine, log: LogWorld) -> AsyncIterator[Site]:
    """The web role over a database, with the log's directory."""
    listen = Listen(host="127.0.0.1", port=free_port())
    server = WebServer(create_app(engine, log.settings, RULES, lambda: log.now_us), listen)
    running = asyncio.create_task(server.run())
    try:
        async with aiohttp.ClientSession() as http:
            site = RawSite(f"http://{listen}", http)
            async with asyncio.timeout(10):
                while True:
                    with suppress(aiohttp.ClientConnectionError):
                        await site.get("/healthz")
                        break
                    await asyncio.sleep(0.01)
            yield site
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


class RawSite(Site):
    """Asks for a path as it is written, dots and all."""

    async def get(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        url = URL(self.url + path, encoded=True)
        async with self.http.get(url, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()


@asynccontextmanager
async def serving(*handlers: Any) -> AsyncIterator[list[str]]:
    """Servers whose `add-checkpoint` below a prefix is handled so; their addresses."""
    runners = []
    urls = []
    for handler in handlers:
        app = web.Application()
        app.router.add_post("/prefix/add-checkpoint", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        urls.append(f"http://127.0.0.1:{port}/prefix/")
        runners.append(runner)
    try:
        yield urls
    finally:
        for runner in runners:
            await runner.cleanup()
