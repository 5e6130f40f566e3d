"""Statements over HTTP: who sees them, in which language, and that the page says what the ledger has."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.wording import bitcoin, number
from register.catalogue import text
from register.clerk import Terms
from register.miner import LANGUAGES
from register.person import token_hash
from tests.integration import chromium
from tests.integration.chromium import running_chromium
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.paid_world import confirm, mature, mine, reserve, send
from tests.integration.register_site import LOCAL, TOKENS, RegisterSite, enter_people, serving_register

OWN = "a token of the miner's own"
PAGE = f"/statements/miner1/{DAY}"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[World]:
    """miner1 has a token, reads Kazakh, was paid once, and has a part of a mature block."""
    made = World(engine)
    await made.settle_in()
    async with register_store.writing(engine, Terms(RULES, "regtest"), LOCAL, "asked for") as clerk:
        clerk.change_miner(
            msgspec.structs.replace(
                clerk.register.miner("miner1"),
                title="<b>Алатау</b> & sons",
                language="kk",
                statement_token_sha256=token_hash(OWN),
            )
        )
    await enter_people(engine)
    await mine(made, 1, {2: 3})
    await mature(made)
    number_ = await reserve(made, {1: 1_000_000})
    await send(made, number_)
    await confirm(made, number_, {1: 1_000_000})
    await reserve(made, {1: 2_000_000})
    yield made


async def get(site: RegisterSite, path: str, who: str | None = OWN) -> tuple[int, str]:
    told = await site.page("x", TOKENS.get(who or "", who or ""), path)
    return told.code, told.body.decode()


async def test_it_opens_for_the_miner_and_for_the_people_of_the_register(
    world: World, tmp_path: Path
) -> None:
    async with serving_register(world.engine, tmp_path) as site:
        for who in (OWN, "aliya", "oleg", "audit"):
            code, page = await get(site, PAGE, who)
            assert code == 200, page
            assert "&lt;b&gt;Алатау&lt;/b&gt; &amp; sons" in page
        for who in (None, "former", "nobody's", ""):
            code, page = await get(site, PAGE, who)
            assert code == 401
            assert "Алатау" not in page
        for path in ("/statements/miner2/2026-11", "/compliance", "/statements/miner9/2026-11"):
            assert (await get(site, path))[0] == 401, "its token opens nothing but its own"
        assert (await site.get("/miners", OWN)).code == 401
        bearer = await site.ask("GET", f"{site.url}{PAGE}.json", OWN)
        assert bearer.json["account"] == "miner1"
        assert bearer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_page_says_what_the_document_has_in_each_language(
    world: World, tmp_path: Path, language: str
) -> None:
    async with serving_register(world.engine, tmp_path) as site:
        told = (await site.ask("GET", f"{site.url}{PAGE}.json", OWN)).json
        _, page = await get(site, f"{PAGE}?lang={language}")
    plain = html.unescape(re.sub(r"<[^>]+>", " ", page))
    (part,) = told["blocks"]
    closing = told["closing"]
    assert f'<html lang="{language}">' in page
    for words in (
        *(text(language, f"statement.{one}") for one in ("credited", "how", "payout_confirmed", "paying")),  # type: ignore[arg-type]
        *(bitcoin(closing[one]) for one in ("payable_sat", "paying_sat", "total_sat")),
        *(number(part[one]) for one in ("amount_sat", "reward_sat", "commission_sat", "floor_sat")),
        *(number(int(part["own_work"])), number(int(part["window"]["work"]))),
        *(told["payments"][0]["txid"], told["payments"][0]["address"], "2026-11-24"),
        bitcoin(told["preview"]["amount_sat"]),
    ):
        assert words in plain, words
    assert "statement." not in plain


async def test_the_miners_own_language_is_the_pages(world: World, tmp_path: Path) -> None:
    async with serving_register(world.engine, tmp_path) as site:
        assert '<html lang="kk">' in (await get(site, PAGE))[1]
        assert '<html lang="kk">' in (await get(site, f"{PAGE}?lang=xx"))[1]
        assert '<html lang="kk">' in (await get(site, "/statements/miner1"))[1], "on to this month"


async def test_whoever_is_sent_on_to_this_month_stays_on_this_site(world: World, tmp_path: Path) -> None:
    """A link to us must not lead a miner, and the token that the browser keeps for us, elsewhere."""
    accounts = ("miner1", "https:evil.example", "https:%5C%5Cevil.example", "%5C%5Ca.example", "a%0d%0aX:1")
    async with serving_register(world.engine, tmp_path) as site:
        for account in accounts:
            asked = f"{site.url}/statements/{account}"
            async with site.http.get(asked, allow_redirects=False) as told:
                assert told.status == 303
                there = urljoin(asked, told.headers["Location"])
            assert there.startswith(f"{site.url}/statements/"), there


async def test_a_change_over_the_api_leaves_the_token_as_it_is(world: World, tmp_path: Path) -> None:
    async with serving_register(world.engine, tmp_path) as site:
        wish = {"reason": "moved", "title": "Altai", "bin": world.miners[0].bin, "language": "ru"}
        assert (await site.put("/miners/miner1", wish)).code == 200
        code, page = await get(site, PAGE)
    assert (code, '<html lang="ru">' in page) == (200, True)


async def test_the_table_is_csv(world: World, tmp_path: Path) -> None:
    async with serving_register(world.engine, tmp_path) as site:
        _, body = await get(site, "/statements/miner1/2026-11.csv")
    rows = list(csv.DictReader(io.StringIO(body)))
    assert {row["section"] for row in rows} == {
        *("opening", "work", "movement", "block", "payment", "held", "preview", "closing")
    } - ({"held"} if not any(row["section"] == "held" for row in rows) else set())
    assert sum(int(row["amount_sat"]) for row in rows if row["section"] == "movement") == int(
        rows[-1]["total_sat"]
    )


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("/statements/nobody/2026-11", 404, "there is no account"),
        ("/statements/miner1/2026-13", 404, "is no day and no month"),
        ("/statements/miner1/2026-11.pdf", 404, "is no day and no month"),
        ("/statements/miner1/2027-01", 404, "has not begun"),
        ("/statements/miner1/2026-13.json", 404, '"detail":"'),
    ],
)
async def test_what_there_is_not_is_said(
    world: World, tmp_path: Path, path: str, code: int, says: str
) -> None:
    async with serving_register(world.engine, tmp_path) as site:
        answered = await get(site, path, "audit")
    assert answered[0] == code
    assert says in html.unescape(answered[1])


async def test_a_contradiction_is_told_to_nobody_as_a_statement(world: World, tmp_path: Path) -> None:
    """I4."""
    async with world.engine.begin() as connection:
        await connection.execute(sa.text("SET session_replication_role = replica"))
        await connection.execute(
            sa.text("UPDATE split SET amount_sat = amount_sat + CASE miner_id WHEN 1 THEN 1 ELSE -1 END")
        )
    async with serving_register(world.engine, tmp_path) as site:
        code, page = await get(site, PAGE)
    assert code == 500
    assert "contradicts itself" in page


@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE], ids=["desktop", "phone"])
async def test_it_fits_a_browser_and_runs_nothing(
    world: World, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with running_chromium() as browser, serving_register(world.engine, tmp_path) as site:
        await browser.size(*size)
        await browser.open(site.url.replace("http://", f"http://x:{TOKENS['audit']}@") + PAGE + "?lang=ru")
        wide = await browser.evaluate("document.documentElement.scrollWidth")
        assert "Ваша доля каждого блока" in await browser.text()
        assert await browser.evaluate("document.scripts.length") == 0
        picture = await browser.screenshot()
    (tmp_path / "statement.png").write_bytes(picture)
    assert wide <= size[0]
    assert browser.complaints == []
