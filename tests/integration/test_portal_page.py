"""The portal in a real browser that runs no scripts: signing in by keyboard, three languages, all sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from register.catalogue import text
from register.miner import LANGUAGES, Language
from tests.conftest import Furnish
from tests.integration import chromium
from tests.integration.chromium import Browser, running_chromium
from tests.integration.ledger_world import DAY
from tests.integration.portal_world import BODY, a_month, serving_portal
from tests.integration.web_world import Site

PAGES = (
    *("", "reports", f"reports/{DAY}/1", f"reports/{DAY}/2", "forms", "forms/2026-11/order-166-2023/1"),
    *("forms/2026-11/mof-2026-02-20/1", "submissions", "archive", f"archive/{DAY}", "log", "log/31"),
    *("verify", "addresses", "sign-in"),
)
LETTERS = "әғқңөұүі"
CONTRAST = """
(() => {
  const channel = one => (one /= 255) <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const light = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(one => one.nodeType === 3 && one.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(paper(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${ratio.toFixed(2)} ${element.textContent.slice(0, 30)}`);
  }
  return poor;
})()
"""
CUT = """
[...document.querySelectorAll("body *")].filter(one => {
  const box = one.getBoundingClientRect();
  return one.checkVisibility() && !one.closest(".scroll, .shell, .skip")
    && (box.right > innerWidth + 1 || box.left < -1);
}).map(one => one.outerHTML.slice(0, 80))
"""


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("portal", a_month)
    return "portal"


@pytest_asyncio.fixture
async def told(furnish: Furnish) -> dict[str, Any]:
    """Tokens, and files of the ledger."""
    found: dict[str, Any] = await furnish("portal", a_month)
    return found


@pytest_asyncio.fixture
async def site(engine: AsyncEngine, told: dict[str, Any], tmp_path: Path) -> AsyncIterator[Site]:
    async with serving_portal(engine, tmp_path, told["files"]) as made:
        yield made


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as made:
        await made.ask("Emulation.setScriptExecutionDisabled", value=True)
        yield made


async def press(browser: Browser, key: str, code: int) -> None:
    """A key goes down and up."""
    character = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        await browser.ask(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            code=key,
            windowsVirtualKeyCode=code,
            **(character if kind == "keyDown" else {}),
        )


async def sign_in(browser: Browser, site: Site, token: str, language: str = "en") -> None:
    """With the keyboard alone: the field has the focus when the page opens."""
    await browser.open(f"{site.url}/portal/{language}/sign-in")
    await browser.until("document.activeElement.id === 'token'")
    await browser.ask("Input.insertText", text=token)
    await browser.led_on(press(browser, "Enter", 13))
    assert await browser.evaluate("location.pathname") == f"/portal/{language}/"


@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_fits_and_nothing_is_amiss(
    browser: Browser, site: Site, told: dict[str, Any], language: Language, size: tuple[int, int]
) -> None:
    await browser.size(*size)
    await sign_in(browser, site, told["tokens"]["ministry"], language)
    assert BODY.title in await browser.text()
    for path in PAGES:
        await browser.open(f"{site.url}/portal/{language}/{path}")
        assert await browser.evaluate("document.documentElement.scrollWidth") <= size[0], path
        assert await browser.evaluate(CUT) == [], path
        assert text(language, "portal.portal") in await browser.text()
    assert browser.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read_by_day_and_by_night(
    browser: Browser, site: Site, told: dict[str, Any], scheme: str
) -> None:
    """Each text has the contrast that WCAG 2 asks of it (AA, 4.5 to 1)."""
    await browser.ask(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    await sign_in(browser, site, told["tokens"]["ministry"])
    for path in PAGES:
        await browser.open(f"{site.url}/portal/ru/{path}")
        assert await browser.evaluate(CONTRAST) == [], path


async def test_the_keyboard_comes_first_to_the_way_past_the_menu(browser: Browser, site: Site) -> None:
    await browser.open(f"{site.url}/portal/kk/log")
    await press(browser, "Tab", 9)
    assert await browser.evaluate("document.activeElement.className") == "skip"
    assert await browser.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    await press(browser, "Enter", 13)
    assert await browser.evaluate("location.hash") == "#content"
    await press(browser, "Tab", 9)
    assert await browser.evaluate("document.activeElement.closest('main') !== null")
    assert await browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_who_changes_the_language_stays_where_he_is(
    browser: Browser, site: Site, told: dict[str, Any]
) -> None:
    await sign_in(browser, site, told["tokens"]["ministry"])
    await browser.open(f"{site.url}/portal/en/reports/{DAY}/2")
    link = await browser.evaluate("document.querySelector('.languages a[lang=kk]').href")
    await browser.open(link)
    assert link.endswith(f"/portal/kk/reports/{DAY}/2")
    seen = await browser.text()
    assert text("kk", "report.title.daily") in seen
    assert set(LETTERS) <= set(seen), "the letters that Russian does not have"
    assert await browser.evaluate("document.documentElement.lang") == "kk"
