"""The control socket of a running gateway: what its operator asks for while miners are connected.

HTTP over a unix socket in the data directory, mode 0600: who may read the spool may control the gateway, and
nobody reaches it over a network. `dmpool front` is its client. Every action is logged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp import web

from stratum.broadcast import in_slices
from stratum.server import Server

log = structlog.get_logger(__name__)

SOCKET = "gateway.sock"
MESSAGE_LIMIT = 200
CONNECTIONS_TOLD = 200
"""Connections of one account that are listed; the rest is only counted."""
ASK_TIMEOUT = aiohttp.ClientTimeout(total=30)


class ControlError(Exception):
    """The gateway cannot be reached, or refuses: the reason and the remedy in one line."""


class Drain(msgspec.Struct, forbid_unknown_fields=True):
    """Where the miners are to go, and over how long."""

    host: str
    port: int
    over_seconds: float


def wrong_reconnect_host(host: str, public_host: str | None) -> str | None:
    """Why firmware would not follow a `client.reconnect` to a host; None when it does (peers: Q-11)."""
    if public_host is None:
        return "stratum.public_host: is not set; write the name by which miners know this gateway"
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return f"{host!r} is an address; miners follow only a name of the domain that they connected to"
    suffix = public_host.partition(".")[2].lower()
    if not suffix or host.partition(".")[2].lower() != suffix:
        return f"{host!r} is not of the domain of {public_host!r}; miners follow only to another name in it"
    return None


class Control:
    """Serves the socket of one gateway."""

    def __init__(self, server: Server, data_dir: Path, public_host: str | None) -> None:
        self._server = server
        self._data_dir = data_dir
        self._public_host = public_host
        self._drain: asyncio.Task[None] | None = None

    @property
    def draining(self) -> bool:
        """Whether the miners are sent elsewhere, or were."""
        return self._drain is not None

    async def run(self) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/connections", self._connections),
                web.post("/unban", self._unban),
                web.post("/drain", self._start_drain),
                web.post("/message", self._message),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            with short_path(self._data_dir) as path:
                path.unlink(missing_ok=True)
                before = os.umask(0o177)
                try:
                    await web.UnixSite(runner, str(path)).start()
                finally:
                    os.umask(before)
            await asyncio.get_running_loop().create_future()
        finally:
            await runner.cleanup()
            if self._drain is not None:
                self._drain.cancel()

    async def _status(self, request: web.Request) -> web.Response:
        server, counts = self._server, self._server.counts
        return web.json_response(
            {
                "connections": len(server.connections),
                "waiting": server.waiting,
                "parked": server.context.subscriptions.parked,
                "draining": self._drain is not None and not self._drain.done(),
                "closed": counts.closed,
                "refused": counts.refused,
                "bans": [
                    {"address": ban.address, "reason": ban.reason, "until": ban.until}
                    for ban in server.bans()
                ],
            }
        )

    async def _connections(self, request: web.Request) -> web.Response:
        """Those of one account or worker, by the names that the log gives them."""
        name = request.query.get("of", "")
        found = []
        async for one in in_slices(list(self._server.connections)):
            workers = one.session.workers.by_name
            if name in workers or any(name == worker.account for worker in workers.values()):
                found.append(
                    {
                        "connection": one.id,
                        "peer": one.peer,
                        "device": one.session.device.name,
                        "workers": len(workers),
                        "worker": name if name in workers else next(iter(workers)),
                    }
                )
        return web.json_response({"connections": found[:CONNECTIONS_TOLD], "all": len(found)})

    async def _unban(self, request: web.Request) -> web.Response:
        address = (await request.text()).removesuffix("/64")
        if not self._server.unban(address):
            return web.json_response({"error": f"{address!r} is not banned"}, status=404)
        log.warning("ban_lifted", address=address)
        return web.json_response({})

    async def _start_drain(self, request: web.Request) -> web.Response:
        try:
            wish = msgspec.json.decode(await request.read(), type=Drain)
        except msgspec.MsgspecError as error:
            return web.json_response({"error": str(error)}, status=400)
        fault = wrong_reconnect_host(wish.host, self._public_host)
        if fault is None and not (0 < wish.port < 65536 and 0 <= wish.over_seconds <= 86_400):
            fault = f"port {wish.port} or {wish.over_seconds} s is out of range"
        if fault is None and self._drain is not None and not self._drain.done():
            fault = "this gateway is being drained already"
        if fault is not None:
            return web.json_response({"error": fault}, status=409)
        log.warning(
            "drain_started",
            host=wish.host,
            port=wish.port,
            over_seconds=wish.over_seconds,
            explained="no new connections",
        )
        self._server.stop_listening()
        self._drain = asyncio.create_task(self._server.drain(wish.host, wish.port, wish.over_seconds))
        return web.json_response({})

    async def _message(self, request: web.Request) -> web.Response:
        text = (await request.text()).strip()
        if not 0 < len(text) <= MESSAGE_LIMIT or not text.isprintable():
            fault = f"a message is 1 to {MESSAGE_LIMIT} printable characters"
            return web.json_response({"error": fault}, status=400)
        log.warning("message_shown", text=text)
        await self._server.show_message(text)
        return web.json_response({})


async def ask(data_dir: Path, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
    """One request to the gateway of a data directory. Raises ControlError."""
    with short_path(data_dir) as socket:
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(socket)), timeout=ASK_TIMEOUT
                ) as session,
                session.request(method, f"http://gateway{path}", data=body) as response,
            ):
                answer: dict[str, Any] = await response.json()
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            raise ControlError(
                f'data_dir: "{data_dir}": no gateway answers there ({error}); is it running, as this user?'
            ) from error
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer


@contextmanager
def short_path(data_dir: Path) -> Iterator[Path]:
    """The socket's path by way of a file descriptor: a unix address holds only 107 bytes."""
    try:
        directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ControlError(
            f'data_dir: "{data_dir}": {error.strerror}; give the one of the gateway'
        ) from error
    try:
        yield Path(f"/proc/self/fd/{directory}") / SOCKET
    finally:
        os.close(directory)
