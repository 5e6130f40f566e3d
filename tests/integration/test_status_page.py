"""The status page in a real browser: what a person reads, and that the browser has nothing to complain of."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from register.catalogue import text
from register.miner import LANGUAGES
from tests.conftest import Furnish
from tests.integration import chromium
from tests.integration.chromium import Browser, running_chromium
from tests.integration.entering import enter_miner
from tests.integration.ledger_world import World
from tests.integration.test_web import HOSTILE
from tests.integration.web_world import SHARE, SHARE_WORK, a_morning, beat, serving

NARROW = "\N{NARROW NO-BREAK SPACE}"


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("morning", a_morning)
    return "morning"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("morning", a_morning))
    return made


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as made:
        yield made


async def test_it_is_whole_in_three_languages_without_a_script(world: World, tmp_path: Path) -> None:
    async with serving(world.engine, world, tmp_path) as site:
        for language in LANGUAGES:
            code, headers, body = await site.get("/", **{"Accept-Language": f"{language}-KZ,de;q=0.5"})
            page = body.decode()
            assert (code, headers["Vary"]) == (200, "Accept-Language")
            assert f'<html lang="{language}">' in page
            assert (await site.get(f"/?lang={language}", **{"Accept-Language": "de"}))[2] == body
            for message in ("luck_how", "miners", "state_mature", "journal", "no_finder"):
                assert html.escape(text(language, f"page.{message}"), quote=False) in page, message  # type: ignore[arg-type]
            for other in set(LANGUAGES) - {language}:
                assert f'href="/?lang={other}"' in page
                assert text(other, "page.reports") not in page  # type: ignore[arg-type]
            assert not re.search(r">\s*(page|statement)\.", page)


async def test_luck_and_history_are_those_of_the_ledger(world: World, tmp_path: Path) -> None:
    """I2: 29 shares were to be expected to find 29 / 4 blocks; six were found, one of them lost."""
    async with serving(world.engine, world, tmp_path) as site:
        told = await site.status()
        points = json.loads((await site.get("/api/v1/hashrate"))[2])
        picture = await site.get("/charts/hashrate.svg?size=narrow")
    by_length = {(one["over"], one["count"]): one for one in told["luck"]}
    assert set(by_length) == {("blocks", 6), ("days", 1), ("days", 7), ("days", 30)}
    for one in by_length.values():
        assert (one["found"], one["expected"], one["luck_bps"]) == (6, "7.2500", 6 * 40_000 // 29)
    assert told["round"] == {"work": "0", "network_work": str(4 * SHARE_WORK), "effort_bps": 0}
    assert told["job"] == {"gateway": 1, "height": 126, "age_seconds": 17, "subsidy_sat": 5_000_000_000}
    assert [one["at"][11:16] for one in points] == ["11:10", "11:20", "11:30", "11:40", "11:50"]
    assert [int(one["hashrate"]) for one in points] == [
        3 * SHARE_WORK // 600,
        0,
        0,
        0,
        26 * SHARE_WORK // 600,
    ]
    assert told["hashrate_24h"] == str(sum(int(one["hashrate"]) for one in points) // 5)
    assert (picture[0], picture[1]["Content-Type"]) == (200, "image/svg+xml")


async def test_the_numbers_are_there_and_fit(browser: Browser, world: World, tmp_path: Path) -> None:
    async with serving(world.engine, world, tmp_path) as site:
        told = await site.status()
        for size in (chromium.DESKTOP, chromium.PHONE):
            await browser.size(*size)
            await browser.open(site.url + "/")
            assert await browser.evaluate("document.documentElement.scrollWidth") <= size[0]
        text = await browser.text()
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
    assert browser.complaints == []


async def test_numbers_stay_fresh_without_loading_the_page_again_or_it_says_so(
    browser: Browser, world: World, tmp_path: Path
) -> None:
    """The same elements stay, so that nothing flickers; a new row comes, a number changes in its place."""
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
        assert await browser.evaluate("[...document.images].map((one) => one.className)") == ["chart"]
        assert await browser.evaluate("document.scripts.length") == 1
        assert browser.complaints == []
        # And where escaping failed, the policy would hold.
        attack = '<img src="/nothing" onerror="window.hit = true">'
        await browser.evaluate(f"document.querySelector('h1').innerHTML = {attack!r}")
        async with asyncio.timeout(chromium.ANSWER_SECONDS):
            while not any("Content Security Policy" in one for one in browser.complaints):
                await asyncio.sleep(0.05)
        assert await browser.evaluate("window.hit") is None
