"""A pool behind the regulator's door: reports, forms, submissions, an archive; regulators with tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import rfc8785
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import log_store, submissions
from pool.archive import Archive
from pool.clock import HOUR_US, instant
from pool.documents import find_form, find_report
from pool.door_chain import newest_of
from pool.door_clerk import DoorClerk
from pool.door_regulators import Authority, Regulator, Scope, Token
from pool.log_keeper import LogKeeper
from pool.submissions import BY_HAND, ReceiptFile, Sending
from pool.tables_income import form
from register.event import Event
from reporting.signing import sign
from tests.integration.entering import TESTER
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.web_world import KEY, Site, a_morning, serving, settings_of
from tests.reporting.form_world import FORM_1, form_of, paid

MONTH = "2026-11"
DAY_US = 24 * HOUR_US
RECEIPTS = {"authorised_body": b"%PDF from the ministry", "tax_authority": b"%PDF from the committee"}


async def furnished(engine: AsyncEngine) -> dict[str, Any]:
    """A morning of work, and a form of the month that went to both bodies; what its world remembers."""
    memory = await a_morning(engine)
    envelope = sign(form_of(paid(1), paid(2, 2)), [KEY])
    told = {"form": FORM_1, "period": MONTH, "version": 1}
    told |= {"sha256": envelope["report_sha256"], "replaces_sha256": None}
    at_us = memory["now_us"]
    async with engine.begin() as connection:
        row = sa.insert(form).values(**told, envelope=rfc8785.dumps(envelope), built_at=instant(at_us))
        await connection.execute(row)
        await log_store.append(connection, "form", told, at_us)
        made, report = await find_form(connection, FORM_1, MONTH), await find_report(connection, DAY)
        for addressee, content in RECEIPTS.items():
            for document in (made, report):
                number = await submissions.record(
                    connection, Sending(document, addressee, at_us, ""), BY_HAND, RULES, TESTER, at_us
                )
            await submissions.add_receipt(connection, number, "taken in", None, TESTER, at_us)
            file = ReceiptFile(f"{addressee}.pdf", content)
            await submissions.add_receipt(connection, number, "", file, TESTER, at_us)
    return memory


class Entrance:
    """The pool as its regulators find it, on a clock that the test holds."""

    def __init__(self, world: World, site: Site, directory: Path) -> None:
        self.world = world
        self.engine = world.engine
        self.site = site
        self.directory = directory

    async def enter(
        self,
        name: str,
        authority: Authority = Authority.AUTHORISED_BODY,
        networks: tuple[str, ...] = (),
        certificate_sha256: str = "",
    ) -> None:
        """A regulator, by a compliance officer."""
        made = Regulator(name, f"Department {name}", authority, networks, certificate_sha256)
        await self.clerk(lambda clerk: clerk.add(made))

    async def give(
        self, name: str, *scopes: Scope, begin_us: int | None = None, days: int = 365
    ) -> tuple[Token, str]:
        """A token of a regulator, and its secret."""
        start = self.world.now_us if begin_us is None else begin_us
        made: tuple[Token, str] = await self.clerk(
            lambda clerk: clerk.issue(name, scopes or tuple(Scope), start, start + days * DAY_US)
        )
        return made

    async def clerk(self, work: Any) -> Any:
        """One change of the book."""
        async with self.engine.begin() as connection:
            return await work(DoorClerk(connection, TESTER, "for a test", self.world.now_us))

    async def get(
        self, path: str, token: str | None = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return await self.site.get(path, **sent)

    async def told(self, path: str, token: str | None = None) -> Any:
        """The JSON of an answer that must be good."""
        code, _, body = await self.get(path, token)
        assert code == 200, body
        return json.loads(body)

    async def chain(self, regulator: str | None = None) -> list[Event]:
        """All events, the oldest first; the comings of one regulator where one is named."""
        async with self.engine.connect() as connection:
            return list(reversed(await newest_of(connection, regulator, 10_000)))

    async def archive(self) -> None:
        """The hours of the morning and the day's book are closed; then it is noon of the next day."""
        self.world.now_us += DAY_US
        task = Archive(
            *(self.engine, self.directory / "archive", self.world.terms, RULES),
            active=lambda: True,
            now_us=lambda: self.world.now_us,
        )
        await task.step()

    async def log(self) -> None:
        """The log is signed and published."""
        await LogKeeper(self.engine, settings_of(self.directory), lambda: self.world.now_us).advance()


@asynccontextmanager
async def entrance(world: World, directory: Path, **door: Any) -> AsyncIterator[Entrance]:
    """A served pool with this section [door], shut unless it says otherwise."""
    async with serving(world.engine, world, directory, door={"open_reports": False, **door}) as site:
        yield Entrance(world, site, directory)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
