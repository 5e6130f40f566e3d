"""The status page in a real browser: what a person reads, and that the browser has nothing to complain of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration import chromium
from tests.integration.chromium import Browser, running_chromium
from tests.integration.entering import enter_miner
from tests.integration.ledger_world import World
from tests.integration.test_web import HOSTILE
from tests.integration.web_world import SHARE, beat, morning, serving

NARROW = "\N{NARROW NO-BREAK SPACE}"


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as made:
        yield made


@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE], ids=["desktop", "phone"])
async def test_the_numbers_are_there_and_fit(
    browser: Browser, world: World, tmp_path: Path, size: tuple[int, int]
) -> None:
    await morning(world)
    async with serving(world.engine, world, tmp_path) as site:
        told = await site.status()
        await browser.size(*size)
        await browser.open(site.url + "/")
        text = await browser.text()
        wide = await browser.evaluate("document.documentElement.scrollWidth")
        assert (await browser.screenshot()).startswith(b"\x89PNG")
    for one in told["miners"]:
        assert one["title"] in text
        assert f"{one['payable_sat']:,}".replace(",", NARROW) in text
    for words in (
        *("Tengri Digital Pool LLP", "BIN 230440000105", "Accreditation KZ00DMP0001", "regtest"),
        *("433 TH/s", "96.6 TH/s", "42", "job 17 s old", "stratum+tcp://127.0.0.1:3333", "account.worker"),
        *("found, not in the chain yet", "left the chain", "12 of 100 confirmations", "mature, payable"),
        *("50.00000001", "0.75000000", "2026-11-24 11:55:00", told["blocks"][0]["hash"][-10:], "rack-9"),
        *("Balances: rewards held are what is owed", told["reports"][0]["sha256"][:10]),
    ):
        assert words in text, words
    assert wide <= size[0]
    assert browser.complaints == []


async def test_numbers_stay_fresh_without_loading_the_page_again(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    """The same elements stay, so that nothing flickers; a new row comes, a number changes in its place."""
    await morning(world)
    async with serving(world.engine, world, tmp_path) as site:
        await browser.open(site.url + "/")
        await browser.evaluate("document.querySelector('.tile dd').mine = 'kept'")
        await browser.evaluate("window.mine = 'not loaded again'")
        await enter_miner(world.engine, "newcomer", "990140004654")
        await world.tell(*(world.share(3, target=SHARE) for _ in range(13)))
        await world.work()
        world.now_us += 10_000_000
        await beat(world, connections=77)
        await browser.until("document.body.innerText.includes('newcomer LLP')")
        text = await browser.text()
        assert await browser.evaluate("document.querySelector('.tile dd').mine") == "kept"
        assert await browser.evaluate("window.mine") == "not loaded again"
    assert "650 TH/s" in text
    assert "77" in text
    assert browser.complaints == []


async def test_a_page_that_is_no_longer_fresh_says_so(browser: Browser, world: World, tmp_path: Path) -> None:
    async with serving(world.engine, world, tmp_path) as site:
        await browser.open(site.url + "/")
        assert not await browser.evaluate("document.getElementById('stale').checkVisibility()")
    await browser.until("document.getElementById('stale').checkVisibility()")
    assert "no longer fresh" in await browser.text()


async def test_the_browser_runs_nothing_that_a_stranger_wrote(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    await enter_miner(world.engine, "stranger", "990140004654", title=HOSTILE, licence="KZ-9")
    async with serving(world.engine, world, tmp_path) as site:
        await browser.open(site.url + "/")
        world.now_us += 60_000_000
        await browser.until("document.querySelector('footer').innerText.includes('12:01:00')")
        assert HOSTILE in await browser.text()
        assert await browser.evaluate("document.images.length") == 0
        assert await browser.evaluate("document.scripts.length") == 1
        assert browser.complaints == []
        # And where escaping failed, the policy would hold.
        attack = '<img src="/nothing" onerror="window.hit = true">'
        await browser.evaluate(f"document.querySelector('h1').innerHTML = {attack!r}")
        async with asyncio.timeout(chromium.ANSWER_SECONDS):
            while not any("Content Security Policy" in one for one in browser.complaints):
                await asyncio.sleep(0.05)
        assert await browser.evaluate("window.hit") is None
