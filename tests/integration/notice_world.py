"""Channels for tests of notices: a web server that answers as a test wants, a mail server, and sections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.message import Message as Mail
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MailHandler
from aiosmtpd.smtp import AuthResult, LoginPassword
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.live_register import LiveRegister
from pool.notices.courier import Courier, sender_of
from pool.notices.desk import NoticeDesk
from pool.notices.numbers import ChannelNumbers
from pool.notices.section import ChannelSection, NoticesSection
from tests.integration.free_port import free_port
from tests.integration.ledger_world import RULES, World

POOL = "Tengri Digital Pool LLP"
SECRET = "a secret of the webhook"
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
PASSWORD = "the mail's password"
HOUR = 3_600_000_000


@dataclass
class Receiver:
    """Takes what is posted; `answers` are given first, each once, then 200."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Paths, headers and bodies."""
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.path, dict(request.headers), await request.read()))
        status, headers, body = self.answers.pop(0) if self.answers else (200, {}, b'{"ok":true}')
        return web.Response(status=status, headers=headers, body=body)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A web server on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    receiver.url = site.name
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Post(MailHandler):
    """Keeps the mails that came."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Mail] = []
        self.to: list[list[str]] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address.startswith("gone@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        self.to.append(list(envelope.rcpt_tos))
        return str(await super().handle_DATA(server, session, envelope))

    def handle_message(self, message: Mail) -> None:
        self.mails.append(message)


@contextmanager
def mail_server(certificate: Path, key: Path) -> Iterator[tuple[Post, int]]:
    """A mail server that speaks to whoever says STARTTLS and has the password; its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    post, port = Post(), free_port()

    def known(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (
            b"dmpool",
            PASSWORD.encode(),
        )
        return AuthResult(success=right, handled=False)

    controller = Controller(
        post,
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=known,
    )
    controller.start()
    try:
        yield post, port
    finally:
        controller.stop()


def secret_in(directory: Path, name: str, value: str) -> Path:
    """A file with a secret that only its owner may read."""
    path = directory / name
    path.write_text(f"{value}\n", "utf-8")
    path.chmod(0o600)
    return path


def channels(*sections: dict[str, Any]) -> tuple[Any, ...]:
    """Sections as the configuration has them."""
    return NoticesSection.model_validate({"channels": sections}).channels


def webhook(receiver: Receiver, directory: Path, name: str = "ops", **more: Any) -> Any:
    """The section of a webhook to a receiver."""
    secret = secret_in(directory, "webhook.secret", SECRET)
    return channels(
        {"kind": "webhook", "name": name, "url": f"{receiver.url}/hook", "secret_file": secret, **more}
    )[0]


def telegram(receiver: Receiver, directory: Path, name: str = "chat", **more: Any) -> Any:
    """The section of a chat at a receiver."""
    token = secret_in(directory, "telegram.token", TOKEN)
    return channels(
        {"kind": "telegram", "name": name, "url": receiver.url, "token_file": token, "chat": "-1007", **more}
    )[0]


def desk_of(world: World, sections: Sequence[ChannelSection] = (), *, by_hand: bool = False) -> NoticeDesk:
    """A desk on the world's clock; its ledger is the active one."""
    return NoticeDesk(
        world.engine,
        LiveRegister(world.engine),
        RULES,
        sections,
        pool=POOL,
        signed_by_hand=by_hand,
        active=lambda: True,
        now_us=lambda: world.now_us,
    )


def courier_of(world: World, section: ChannelSection) -> Courier:
    """The courier of a channel, to be led step by step."""
    return Courier(world.engine, section, sender_of(section, POOL), ChannelNumbers(), lambda: world.now_us)


async def deliver(courier: Courier, steps: int = 20) -> None:
    """Steps until nothing more goes out at once."""
    for _ in range(steps):
        if await courier.step():
            return
        await asyncio.sleep(0)


async def settled(engine: AsyncEngine) -> dict[str, Any]:
    """A world with its miners, before anything was mined; what it remembers."""
    world = World(engine)
    await world.settle_in()
    return world.memory()


async def events(world: World) -> list[str]:
    """What the operator's notices are about, in order."""
    rows = await world.rows("SELECT event FROM notice WHERE audience <> 'miner' ORDER BY id")
    return [str(event) for (event,) in rows]
