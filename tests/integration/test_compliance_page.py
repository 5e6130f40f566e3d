"""The compliance page: what a person reads in a real browser, who sees it, what strangers' text does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import compliance_page, register_auth, register_store
from pool.compliance_wording import LABELS, words_of
from register.clerk import Terms
from register.digest import Note, NoteKind
from register.sighting import Seen, Sighting, SightingKind
from tests.integration import chromium
from tests.integration.chromium import Browser, running_chromium
from tests.integration.entering import enter_miner
from tests.integration.ledger_world import NOON, RULES
from tests.integration.register_site import (
    LOCAL,
    NEW_BIN,
    TODAY,
    TOKENS,
    RegisterSite,
    enter_a_troubled_pool,
    enter_people,
    serving_register,
)

HOSTILE = "<img src=x onerror=\"window.hit=1\"> {{ 7 * 7 }} & 'ТОО'"


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as made:
        yield made


def with_password(site: RegisterSite, who: str = "audit") -> str:
    return site.url.replace("http://", f"http://anyone:{TOKENS[who]}@") + "/compliance"


@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE], ids=["desktop", "phone"])
async def test_all_that_a_digest_notes_is_there_and_fits(
    browser: Browser, engine: AsyncEngine, tmp_path: Path, size: tuple[int, int]
) -> None:
    await enter_a_troubled_pool(engine)
    async with serving_register(engine, tmp_path, "payout_address", "licence_status") as site:
        told = (await site.get("/digest")).json
        await browser.size(*size)
        await browser.open(with_password(site))
        text = await browser.text()
        wide = await browser.evaluate("document.documentElement.scrollWidth")
        assert await browser.evaluate("document.scripts.length") == 0
        assert (await browser.screenshot()).startswith(b"\x89PNG")
    assert len({note["kind"] for note in told["notes"]}) >= 17
    for note in msgspec.convert(told["notes"], list[Note]):
        assert words_of(note, RULES) in text, note
        assert note.subject in text
        assert note.title in text
    for words in (
        *("Tengri Digital Pool LLP: compliance", "BIN 230440000105", "2026-11-24 12:00:00", "auditor"),
        *(
            "unknown workers are refused",
            "1 awaiting resumption",
            "2 proposals, 1 address",
            "of 9; 10 miners",
        ),
        *(
            "Ekibastuz, Lenin street 1",
            "State Technical Service",
            "asked for by letter 17",
            "court act of 18.11.",
        ),
        *("11 days left", "subtype I", "awaiting resumption", told["sha256"], "Event 65"),
    ):
        assert words in text, words
    assert wide <= size[0]
    assert browser.complaints == []


async def test_a_pool_in_order_says_so(browser: Browser, engine: AsyncEngine, tmp_path: Path) -> None:
    await enter_miner(engine, "miner1", NEW_BIN, workers=("rig1",))
    await enter_people(engine)
    async with serving_register(engine, tmp_path) as site:
        await browser.open(with_password(site))
        text = await browser.text()
    for words in ("In order", "nothing waits", "none ends soon", "every miner has what the law asks"):
        assert words in text, words


async def test_the_browser_runs_nothing_that_a_stranger_wrote(
    browser: Browser, engine: AsyncEngine, tmp_path: Path
) -> None:
    miner = await enter_miner(engine, "stranger", NEW_BIN, title=HOSTILE, licence="KZ <b>1</b>")
    seen = Sighting(SightingKind.UNREGISTERED, TODAY, miner.id, HOSTILE, NOON, HOSTILE)
    await register_store.add_sightings(engine, [Seen(seen, NOON, 1)])
    async with register_store.writing(engine, Terms(RULES, "regtest"), LOCAL, HOSTILE) as clerk:
        clerk.change_miner(msgspec.structs.replace(miner, language="kk"))
    await enter_people(engine)
    async with serving_register(engine, tmp_path) as site:
        await browser.open(with_password(site))
        text = await browser.text()
        assert await browser.evaluate("document.images.length") == 0
        assert await browser.evaluate("window.hit") is None
    assert text.count(HOSTILE) >= 4
    assert "KZ <b>1</b>" in text
    assert browser.complaints == []


async def test_it_is_shown_to_people_of_the_register_alone(engine: AsyncEngine, tmp_path: Path) -> None:
    await enter_a_troubled_pool(engine)
    async with serving_register(engine, tmp_path) as site:
        for who in ("aliya", "dana", "oleg", "audit"):
            told = await site.page("anyone", TOKENS[who])
            assert told.code == 200
            assert f"shown to {who}".encode() in told.body
            assert told.headers["Cache-Control"] == "private, no-store"
        for password in ("", TOKENS["former"], "wrong", "x" * 2000):
            told = await site.page("aliya", password)
            assert told.code == 401
            assert told.headers["WWW-Authenticate"].startswith("Basic ")
            assert b"farm-suspended" not in told.body
        assert (await site.get("/../compliance", "audit")).code == 200
        for header in ("Basic", "Basic ===", "Basic /w==", "Basic YWJj", "Digest x", "bearer "):
            assert (await site.get("/../compliance", None, Authorization=header)).code == 401
        for _ in range(register_auth.ATTEMPTS):
            await site.page(password="guess")
        assert (await site.page(password="guess")).code == 429


async def test_no_more_is_shown_than_fits(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enter_a_troubled_pool(engine)
    for name in ("LICENCES_SHOWN", "NOTES_SHOWN", "EVENTS_SHOWN"):
        monkeypatch.setattr(compliance_page, name, 1)
    async with serving_register(engine, tmp_path) as site:
        page = (await site.page(password=TOKENS["audit"])).body.decode()
    assert "And 3 more" in page
    assert "The first 1 of 9, by their last day." in page
    assert page.count("<small>event ") == 1


@pytest.mark.parametrize("kind", NoteKind)
def test_every_note_has_a_label_and_words(kind: NoteKind) -> None:
    note = Note(kind, "x", "a", "A", 1, TODAY, TODAY, 3, 30, 2, NOON, 2, NOON, "oleg", "detail")
    for one in (note, Note(kind, "x")):
        words = words_of(one, RULES)
        assert "{" not in words
        assert LABELS[kind][1] in ("good", "wait", "bad")
