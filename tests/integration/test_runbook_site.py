"""The runbooks as the web role serves them: where an alarm leads, on a phone too, without PostgreSQL too."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pool.runbook_pages import files
from tests.integration.chromium import DESKTOP, PHONE, running_chromium
from tests.integration.ledger_world import World
from tests.integration.web_world import serving


@pytest.fixture
def nowhere() -> AsyncEngine:
    """A PostgreSQL that is away."""
    return create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:9/nothing")


async def test_every_page_is_served_without_postgresql(
    world: World, nowhere: AsyncEngine, tmp_path: Path
) -> None:
    async with serving(nowhere, world, tmp_path) as site:
        for name in ("", *files()):
            status, headers, body = await site.get(f"/operate/{name}")
            assert status == 200, name
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            assert b"<h1" in body
            assert b"<script" not in body
        for wrong in ("nojob", "..%2foperator", "../configs/example.toml", "alarms.md", "%00"):
            status, _, _ = await site.get(f"/operate/{wrong}")
            assert status == 404, wrong


async def test_an_alarms_link_leads_to_its_section_in_a_browser(
    world: World, engine: AsyncEngine, tmp_path: Path
) -> None:
    async with serving(engine, world, tmp_path) as site, running_chromium() as browser:
        for size in (DESKTOP, PHONE):
            await browser.size(*size)
            for anchor in ("spoolnotdraining", "SpoolNotDraining"):
                await browser.open("about:blank")
                await browser.open(f"{site.url}/operate/alarms#{anchor}")
                top = "document.getElementById('spoolnotdraining').getBoundingClientRect().top"
                assert 0 <= await browser.evaluate(top) < 60
            assert await browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert "PostgreSQL does not take" not in await browser.text("nav")
        await browser.led_on(
            browser.evaluate("document.querySelector('section:has(#databasedown) a[href*=lost]').click()")
        )
        assert (
            await browser.evaluate("location.pathname + location.hash")
            == "/operate/postgresql#when-the-server-is-lost"
        )
        assert browser.complaints == []
