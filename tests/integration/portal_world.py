"""A pool after its first month, for the portal: reports, forms, submissions, an archive, a log, regulators.

November 2026 has a report for each day, the one of the 24th in two versions, and both income forms. Two
regulators have tokens: the authorised body opens everything, the tax authority only forms.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import log_entries, submissions
from pool.archive import Archive
from pool.config import Listen, Settings
from pool.documents import find_form, find_report
from pool.door_clerk import DoorClerk
from pool.door_regulators import Authority, Regulator, Scope
from pool.income import build_form
from pool.log_keeper import LogKeeper, log_vkey_file
from pool.reports import build_report
from pool.submissions import ReceiptFile, Sending
from pool.transport import Delivered
from pool.web import WebServer, create_app
from register.person import Actor, Role
from reporting.income import forms_of
from tests.integration.form_world import AFTER_US, MONTH
from tests.integration.form_world import pay as pay_out
from tests.integration.free_port import free_port
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.paid_world import mature, mine
from tests.integration.web_world import POOL, PUBLISHER, Site, accredit

VKEY = "keys/log.vkey"
OFFICER = Actor("os:root", Role.COMPLIANCE)
HOUR_US = 3_600_000_000
NOW_US = AFTER_US + 30 * HOUR_US
"""When the portal is looked at."""
BODY = Regulator("ministry", "Министерство искусственного интеллекта", Authority.AUTHORISED_BODY)
TAXES = Regulator("kgd", "Комитет государственных доходов", Authority.TAX_AUTHORITY)
RECEIPT = ReceiptFile("receipt.txt", b"accepted, No. 12/7\n")


async def a_month(engine: AsyncEngine) -> dict[str, Any]:
    """The whole of it in a database; what does not stand there: tokens, and files."""
    world = World(engine)
    await world.settle_in()
    await accredit(engine)
    with tempfile.TemporaryDirectory() as directory:
        settings = settings_of(Path(directory))
        await _live(world, settings)
        await _report(world)
        await _submit(engine)
        await _tell(engine, settings)
        files = {str(one.relative_to(directory)): one.read_bytes() for one in _kept(settings)}
    return {"files": files, "tokens": await _regulators(engine)}


def settings_of(directory: Path, **door: Any) -> Settings:
    """The pool's configuration."""
    return Settings.model_validate({"data_dir": directory, "pool": POOL, "door": door})


def _kept(settings: Settings) -> list[Path]:
    """What the web role has of the ledger's files: the archive, and the public half of the log's key."""
    archive = [one for one in (settings.data_dir / "archive").rglob("*") if one.is_file()]
    return [*archive, log_vkey_file(settings)]


async def _live(world: World, settings: Settings) -> None:
    """Two blocks, two payouts, and the hours of the archive."""
    await mine(world, 1, {2: 5, 3: 2})
    await mature(world)
    await pay_out(world, {1: 210_000_000, 2: 1_040_000_000})
    world.now_us += 3 * HOUR_US
    await mine(world, 3, {1: 1})
    world.now_us += 24 * HOUR_US
    await pay_out(world, {3: 55_000_000}, 201)
    await mature(world)
    archive = Archive(
        *(world.engine, settings.data_dir / "archive", world.terms, RULES),
        active=lambda: True,
        now_us=lambda: world.now_us,
    )
    world.now_us += 2 * HOUR_US
    await archive.step()


async def _report(world: World) -> None:
    """Each day, then one again with a share that came late, then both forms."""
    for place, day in enumerate(MONTH.days()):
        await build_report(world.engine, day, PUBLISHER, AFTER_US + place)
    world.now_us = AFTER_US + HOUR_US
    late, _ = RULES.day_bounds(DAY)
    await world.tell(world.share(2, at_us=late + 7 * HOUR_US))
    await world.work()
    reason = "a gateway delivered a share late"
    await build_report(world.engine, DAY, PUBLISHER, AFTER_US + 2 * HOUR_US, reason=reason)
    for rule in forms_of(RULES, MONTH):
        await build_form(world.engine, MONTH, rule, PUBLISHER, AFTER_US + 3 * HOUR_US)


async def _submit(engine: AsyncEngine) -> None:
    """The first form to both bodies, of which one has answered; a report to one of them."""
    name = forms_of(RULES, MONTH)[0].text("form")
    sent_us = AFTER_US + 5 * HOUR_US
    async with engine.begin() as connection:
        form = await find_form(connection, name, MONTH.text)
        report = await find_report(connection, DAY)
        sent = Delivered("file", f"{name}-2026-11-v1.xlsx", "5e" * 32)
        for body in ("authorised_body", "tax_authority"):
            sending = Sending(form, body, sent_us, "")
            number = await submissions.record(connection, sending, sent, RULES, OFFICER, NOW_US)
        await submissions.add_receipt(connection, number, "Qabyldandy", RECEIPT, OFFICER, NOW_US)
        by_hand = Sending(report, "authorised_body", sent_us, "asked for by letter 17")
        await submissions.record(connection, by_hand, submissions.BY_HAND, RULES, OFFICER, NOW_US)


async def _tell(engine: AsyncEngine, settings: Settings) -> None:
    """The log has the rules and the register too, and is signed; one entry comes after that."""
    key = settings.data_dir / "keys" / "report.key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text((bytes(31) + b"\x07").hex() + "\n")
    key.chmod(0o600)
    async with engine.begin() as connection:
        await log_entries.rules_leaf(connection, RULES, AFTER_US)
        await log_entries.register_leaf(connection, RULES, MONTH.last, AFTER_US)
    await LogKeeper(engine, settings, lambda: NOW_US).advance()
    async with engine.begin() as connection:
        await log_entries.register_leaf(connection, RULES, MONTH.last + dt.timedelta(days=1), NOW_US)


async def _regulators(engine: AsyncEngine) -> dict[str, str]:
    """By name of each regulator, a token."""
    tokens = {}
    scopes = {BODY: [Scope.REPORTS, Scope.FORMS, Scope.ARCHIVE], TAXES: [Scope.FORMS]}
    async with engine.begin() as connection:
        clerk = DoorClerk(connection, OFFICER, "asked for by letter 9", AFTER_US)
        for regulator, opened in scopes.items():
            await clerk.add(regulator)
            until_us = AFTER_US + 365 * 24 * HOUR_US
            _, tokens[regulator.name] = await clerk.issue(regulator.name, opened, AFTER_US, until_us)
    return tokens


@asynccontextmanager
async def serving_portal(
    engine: AsyncEngine, directory: Path, files: Mapping[str, bytes], **door: Any
) -> AsyncIterator[Site]:
    """The web role on a free port, two days after the forms were made."""
    settings = settings_of(directory, **door)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    listen = Listen(host="127.0.0.1", port=free_port())
    server = WebServer(create_app(engine, settings, RULES, lambda: NOW_US), listen)
    running = asyncio.create_task(server.run())
    try:
        async with aiohttp.ClientSession() as http:
            site = Site(f"http://localhost:{listen.port}", http)
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
