"""Sessions of browsers at the door: begun with a token, no better than it, and of no use to other sites."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from fastapi import HTTPException
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from pool import door_session
from pool.config import DoorSection
from pool.door_auth import Door, visit_of
from pool.door_clerk import DoorClerk
from pool.door_regulators import Authority, Regulator, Scope
from pool.door_session import COOKIE, SESSION_SECONDS, SESSIONS_MAX, csrf_of, require_same_site
from pool.tables_door import regulator_session
from tests.integration.entering import TESTER
from tests.integration.ledger_world import NOON

DAY_US = 86_400_000_000


class Browser:
    """A door on a clock that the test holds, and a browser that keeps its cookie."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.now_us = NOON
        self.door = Door(engine, DoorSection(), lambda: self.now_us)
        self.cookie = ""
        self.token, self.token_id = "", ""

    async def enter(self) -> None:
        """A regulator and its token for reports."""
        async with self.engine.begin() as connection:
            clerk = DoorClerk(connection, TESTER, "for a test", self.now_us)
            await clerk.add(Regulator("ministry", "Ministry", Authority.AUTHORISED_BODY))
            token, self.token = await clerk.issue("ministry", [Scope.REPORTS], NOON, NOON + DAY_US)
            self.token_id = token.id

    def request(self, **headers: str) -> Request:
        """A request as this browser makes it."""
        sent = {"host": "pool.example", **headers} | ({"cookie": self.cookie} if self.cookie else {})
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]
        return Request(
            {
                "type": "http",
                "method": "GET",
                "path": "/",
                "headers": raw,
                "client": ("192.0.2.1", 1),
                "state": {},
            }
        )

    async def sign_in(self, token: str | None = None, **headers: str) -> None:
        """What the portal does with a form."""
        _, header = await self.door.sign_in(self.request(**headers), token or self.token)
        self.take(header)

    def take(self, header: str) -> None:
        """The Set-Cookie of an answer."""
        self.cookie = header.partition(";")[0]

    @property
    def value(self) -> str:
        return self.cookie.partition("=")[2]


@pytest_asyncio.fixture
async def browser(engine: AsyncEngine) -> AsyncIterator[Browser]:
    made = Browser(engine)
    await made.enter()
    yield made


async def refusal(work: Any) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        await work
    return caught.value.status_code, str(caught.value.detail)


async def test_a_session_opens_what_its_token_opens(browser: Browser) -> None:
    caller, header = await browser.door.sign_in(browser.request(), f"  {browser.token}\n")
    assert (caller.name, caller.csrf) == ("ministry", "")
    assert re.fullmatch(
        rf"{COOKIE}=[\w-]{{43}}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; Secure; SameSite=Strict", header
    )
    browser.take(header)
    caller = await browser.door.caller(browser.request(), Scope.REPORTS)
    assert (caller.name, caller.token_id) == ("ministry", browser.token_id)
    assert caller.csrf == csrf_of(browser.value)
    assert browser.value not in caller.csrf
    assert await refusal(browser.door.caller(browser.request(), Scope.FORMS)) == (
        403,
        "ministry: this token does not open forms; it opens reports",
    )


async def test_neither_cookie_nor_token_stands_in_the_database(browser: Browser) -> None:
    await browser.sign_in()
    async with browser.engine.connect() as connection:
        rows = str((await connection.execute(sa.select(regulator_session))).all())
    assert browser.value not in rows
    assert browser.token not in rows


@pytest.mark.parametrize("token", ["", "x" * 10_000, "dmpool-reg-wrong"])
async def test_no_session_begins_with_a_wrong_token(browser: Browser, token: str) -> None:
    request = browser.request()
    assert (await refusal(browser.door.sign_in(request, token)))[0] == 401
    assert visit_of(request).refused == "wrong token"


async def test_it_ends_by_itself_and_with_its_token(browser: Browser) -> None:
    await browser.sign_in()
    browser.now_us += SESSION_SECONDS * 1_000_000 - 1
    await browser.door.caller(browser.request(), Scope.REPORTS)
    browser.now_us += 1
    ended = (401, "your session has ended: sign in again")
    assert await refusal(browser.door.caller(browser.request(), Scope.REPORTS)) == ended
    await browser.sign_in()
    async with browser.engine.begin() as connection:
        await DoorClerk(connection, TESTER, "lost", browser.now_us).revoke(browser.token_id)
    assert await refusal(browser.door.caller(browser.request(), Scope.REPORTS)) == (
        401,
        "ministry: this token was revoked; ask the pool",
    )


async def test_signing_out_ends_it_for_good(browser: Browser) -> None:
    await browser.sign_in()
    kept = browser.cookie
    csrf = (await browser.door.caller(browser.request(), None)).csrf
    for forged in ("", csrf[:-1], csrf_of("another"), "ғ"):
        assert (await refusal(browser.door.sign_out(browser.request(), forged)))[0] == 403
    await browser.door.caller(browser.request(), None)
    header = await browser.door.sign_out(browser.request(), csrf)
    assert header.startswith(f"{COOKIE}=; Path=/; Max-Age=0;")
    browser.cookie = kept
    assert (await refusal(browser.door.caller(browser.request(), None)))[0] == 401
    browser.cookie = ""
    assert (await browser.door.sign_out(browser.request(), "")).startswith(f"{COOKIE}=;")


async def test_sessions_are_bounded_and_the_oldest_ends(browser: Browser) -> None:
    """I10."""
    await browser.sign_in()
    first = browser.cookie
    for _ in range(SESSIONS_MAX):
        browser.now_us += 1
        browser.cookie = ""
        await browser.sign_in()
    await browser.door.caller(browser.request(), None)
    browser.cookie = first
    assert (await refusal(browser.door.caller(browser.request(), None)))[0] == 401
    browser.now_us += SESSION_SECONDS * 1_000_000
    await browser.sign_in()
    async with browser.engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(regulator_session)) == 1


@pytest.mark.parametrize("value", ["", "short", "x" * 44, "a b", "ғ" * 43, "../" * 14 + "x"])
async def test_what_cannot_be_a_cookie_is_none(browser: Browser, value: str) -> None:
    browser.cookie = f"{COOKIE}={value}"
    request = browser.request()
    assert door_session.cookie_of(request) is None
    assert (await refusal(browser.door.caller(request, None)))[0] == 401


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"origin": "https://pool.example"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://pool.example"}, False),
    ],
    ids=str,
)
async def test_another_site_neither_signs_in_nor_out(
    browser: Browser, headers: dict[str, str], ours: bool
) -> None:
    if ours:
        require_same_site(browser.request(**headers))
        return
    said = "this form came from another site: open the page of the pool itself"
    assert await refusal(browser.door.sign_in(browser.request(**headers), browser.token)) == (403, said)
    await browser.sign_in()
    csrf = csrf_of(browser.value)
    assert await refusal(browser.door.sign_out(browser.request(**headers), csrf)) == (403, said)
    await browser.door.caller(browser.request(), None)
