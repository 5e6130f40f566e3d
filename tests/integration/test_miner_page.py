"""A miner's page over HTTP and in a real browser: who sees it, what it says, that its numbers are live."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_auth, status
from pool.database import create_engine
from pool.pages import account_reader, live, miner_access, miner_page, worker_reader
from pool.pages.technician import LINK_SECONDS
from pool.pages.workers import DAY_US
from pool.records import Share
from pool.wording import bitcoin, hashrate
from register.catalogue import text
from register.miner import LANGUAGES
from tests.conftest import Furnish, administer, named
from tests.integration import chromium
from tests.integration.chromium import Browser, running_chromium
from tests.integration.ledger_world import DAY, World
from tests.integration.miner_world import (
    API,
    OTHER,
    OWN,
    PAGE,
    STRANGER,
    basic,
    get,
    new_token,
    parts_of,
    streaming,
    with_tokens,
)
from tests.integration.portal_visitor import plain
from tests.integration.register_site import TOKENS
from tests.integration.test_web import HOSTILE
from tests.integration.web_world import SHARE, SHARE_WORK, Site, serving

SMALL_PHONE = (320, 640)


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("tokens", with_tokens)
    return "tokens"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("tokens", with_tokens))
    return made


@pytest_asyncio.fixture
async def site(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """The pages, read anew at every look."""
    monkeypatch.setattr(status, "KEEP_SECONDS", 0)
    monkeypatch.setattr(account_reader, "KEEP_SECONDS", 0)
    monkeypatch.setattr(account_reader, "COUNT_SECONDS", 0)
    monkeypatch.setattr(worker_reader, "FORGET_SECONDS", 0)
    monkeypatch.setattr(miner_page, "LIVE_SECONDS", 0.1)
    async with serving(world.engine, world, tmp_path) as made:
        yield made


reads = pytest.mark.asyncio(loop_scope="module")
"""A test that changes nothing: all of them share a pool."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(
    postgres: str, furnish: Furnish, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """The pages of one pool in which nothing happens."""
    memory = await furnish("tokens", with_tokens)
    await administer(postgres, "CREATE DATABASE shown TEMPLATE tokens STRATEGY FILE_COPY")
    engine = create_engine(named(postgres, "shown"))
    world = World(engine)
    world.recall(memory)
    async with serving(engine, world, tmp_path_factory.mktemp("shown")) as made:
        yield made
    await engine.dispose()
    await administer(postgres, "DROP DATABASE shown WITH (FORCE)")


# Who sees it


@reads
async def test_it_opens_for_its_miner_and_for_the_people_of_the_register_alone(
    shown: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_auth, "ATTEMPTS", 1000)
    paths = ("", "/hashrate.svg", "/worker?name=rig3", "/qr.svg?name=rig3", "/technician", "/live")
    for path in (*(PAGE + one for one in paths), API, f"{API}/workers", f"{API}/hashrate"):
        for token in (None, "nobody's", OTHER, TOKENS["former"]):
            told = await get(shown, path, token)
            assert told.code == 401, path
            assert told.headers["WWW-Authenticate"].startswith("Basic ")
            assert "rig3" not in told.text
    assert (await get(shown, PAGE, TOKENS["audit"])).code == 200
    assert (await get(shown, "/miners/miner2")).code == 401
    assert (await get(shown, "/miners/nobody", TOKENS["audit"])).code == 404
    bearer = await get(shown, API, None, Authorization=f"Bearer {OWN}")
    assert (bearer.code, bearer.headers["Cache-Control"]) == (200, "private, no-cache")


async def test_wrong_tokens_and_many_requests_are_turned_away(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner_access, "ASKED", 15)
    async with serving(world.engine, world, tmp_path) as site:
        codes = [(await get(site, PAGE, f"guess {number}")).code for number in range(12)]
        assert (codes[:10], codes[10:]) == ([401] * 10, [429] * 2)
        assert {(await get(site, f"{PAGE}/link/guess", None)).code for _ in range(8)} == {404}
        own = [await get(site, f"{PAGE}/qr.svg") for _ in range(16)]
        assert [one.code for one in own] == [200] * 15 + [429], (
            "behind a proxy all come from one address: strangers' guesses do not use up the miner's requests"
        )
        assert int(own[-1].headers["Retry-After"]) >= 1
        assert (await get(site, "/miners/miner2", OTHER)).code == 200, "another account is another matter"


# What it says


@reads
async def test_page_and_api_say_the_same_in_each_language(shown: Site) -> None:
    told = (await get(shown, API)).json
    for language in LANGUAGES:
        page = (await get(shown, f"{PAGE}?lang={language}")).text
        words = plain(page)
        assert f'<html lang="{language}">' in page
        for message in ("workers", "earnings", "notices", "rejects", "reject_low_difficulty"):
            assert text(language, f"page.{message}") in words, message  # type: ignore[arg-type]
        for written in (
            *(hashrate(told[one]) for one in ("hashrate_10m", "hashrate_1h", "hashrate_24h")),
            *(bitcoin(told["money"][one]) for one in ("earned_today_sat", "payable_sat", "immature_sat")),
            *(bitcoin(told["preview"]["amount_sat"]), told["licence"]["number"], "rig12"),
            "stratum+tcp://127.0.0.1:3333",
        ):
            assert written in words, written
        assert not re.search(r"\b(page|statement)\.[a-z]", words)


@reads
async def test_money_and_preview_are_the_statements_own(shown: Site) -> None:
    """I2, I4: the same integers by the same code."""
    told = (await get(shown, API)).json
    day = (await get(shown, f"/statements/miner1/{DAY}.json")).json
    assert told["money"]["earned_today_sat"] == day["credited_sat"] - day["reversed_sat"] > 0
    for one in ("immature_sat", "payable_sat", "paying_sat"):
        assert told["money"][one] == day["closing"][one]
    assert told["preview"]["amount_sat"] == day["preview"]["amount_sat"] > 0
    assert told["preview"]["own_work"] == day["preview"]["own_work"]
    assert told["rejected"] == {"low-difficulty": 1, "stale": 1}


@reads
async def test_workers_are_listed_with_what_they_did(shown: Site) -> None:
    listed = (await get(shown, f"{API}/workers?size=100")).json
    workers = {one["name"]: one for one in listed["workers"]}
    assert set(workers) == {
        "a",
        "b",
        "rack-1",
        STRANGER,
        "rig12",
        *(f"rig{number}" for number in range(1, 10)),
    }
    assert (listed["total"], listed["matching"], listed["pages"]) == (14, 14, 1)
    states = {name: one["state"] for name, one in workers.items()}
    assert states["rig3"] == states["b"] == "working"
    assert states["rig12"] == states["rack-1"] == "silent"
    assert states["rig1"] == "absent"
    assert workers["b"]["hashrate_10m"] == str(12 * SHARE_WORK // 600)
    assert (workers["b"]["shares_accepted"], workers["a"]["rejected"]) == (
        12,
        {"low-difficulty": 1, "stale": 1},
    )
    assert workers["rig3"]["unit"]["registry_number"] == "miner1-rig3"
    assert workers["rig12"]["unit"] is None
    assert workers["rig3"]["last_share_at"] == "2026-11-24T11:57:00+05:00"
    assert (await get(shown, f"{API}/workers/RIG3")).json == workers["rig3"]
    assert (await get(shown, f"{API}/workers/rig99")).code == 404


LISTS = {
    "sort=name&size=2&page=2": ["b", "rack-1"],
    "sort=-accepted&size=2": ["b", "a"],
    "sort=-hashrate_10m&size=1": ["b"],
    "sort=-last_share&size=1&state=silent": ["rig12"],
    "search=ACK": ["rack-1"],
    "search=miner1-rig9": ["rig9"],
    "state=absent&size=1&page=999": ["rig9"],
}


@reads
async def test_the_list_is_sorted_searched_and_paged(shown: Site) -> None:
    for query, names in LISTS.items():
        told = (await get(shown, f"{API}/workers?{query}")).json
        assert [one["name"] for one in told["workers"]] == names, query
        assert f">{names[0]}</a>" in (await get(shown, f"{PAGE}?{query}")).text


@reads
async def test_a_question_that_cannot_be_is_refused_to_programs_and_forgiven_to_people(shown: Site) -> None:
    """I10."""
    for query in ("sort=speed", "page=0", "size=1001", "state=odd", "search=" + "a" * 65):
        assert (await get(shown, f"{API}/workers?{query}")).code == 422, query
        assert (await get(shown, f"{PAGE}?{query}")).code == 200, query


@reads
async def test_names_of_strangers_are_text(shown: Site) -> None:
    for path in (
        PAGE,
        f"{PAGE}/worker?name=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        f"{PAGE}?search=%3Cb%3E",
    ):
        page = (await get(shown, path)).text
        assert "<script>alert" not in page
        assert "<b>" not in page
    assert "&#34;&gt;&lt;script&gt;alert(1)" in page or "No worker fits" in plain(page)


async def test_twenty_thousand_workers_are_a_short_page(site: Site, world: World) -> None:
    for start in range(0, 20_000, 5_000):
        await world.tell(
            *(
                Share(world.now_us, 1, f"hall-{number:05}", 1, SHARE, number.to_bytes(80, "little"))
                for number in range(start, start + 5_000)
            )
        )
    await world.work()
    page = await get(site, f"{PAGE}?sort=-hashrate_1h&search=hall")
    assert page.code == 200
    assert len(page.text) < 100_000
    assert page.text.count('scope="row" class="lead"') < 60
    listed = (await get(site, f"{API}/workers?search=hall-19999")).json
    assert (listed["total"], listed["matching"]) == (20_014, 1)
    last = (await get(site, f"{API}/workers?sort=-name&page=2&size=1000&search=hall")).json
    assert (last["pages"], last["workers"][0]["name"]) == (20, "hall-18999")


@reads
async def test_pages_pictures_and_the_description_of_the_api(shown: Site) -> None:
    """Kept by no cache, telling no other site where they are."""
    for path in (PAGE, f"{PAGE}/technician", f"{PAGE}/worker?name=rig3"):
        headers = (await get(shown, path)).headers
        assert headers["Cache-Control"] == "private, no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "'unsafe" not in headers["Content-Security-Policy"]
    page = (await get(shown, f"{PAGE}/worker?name=rig3&lang=en", Host="pool.example.kz:8080")).text
    for words in (
        "<code>miner1.rig3</code>",
        "<code>stratum+tcp://pool.example.kz:3333</code>",
        "miner1-rig3",
    ):
        assert words in page
    picture = await get(shown, f"{PAGE}/qr.svg?name=rig3")
    assert picture.headers["Content-Type"] == "image/svg+xml"
    for path in ("/worker", "/worker/live"):
        assert (await get(shown, f"{PAGE}{path}?name=nothing")).code == 404
    paths = (await get(shown, "/openapi.json")).json["paths"]
    told = paths["/api/v1/miners/{account}/workers"]["get"]["responses"]
    schema = told["200"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set((await get(shown, f"{API}/workers")).json)
    assert {"401", "404", "422", "429", "503"} <= set(told)
    assert not [path for path in paths if path.startswith("/miners")]
    points = (await get(shown, f"{API}/hashrate")).json
    assert int(points[-1]["hashrate"]) > 0


# A technician's link


async def _link(site: Site) -> str:
    page = (await get(site, f"{PAGE}/technician")).text
    found = re.search(r'href="http://[^/]+(/miners/miner1/link/[^"]+)"', page)
    assert found is not None
    return found[1]


@reads
async def test_a_technicians_link_opens_the_machines_and_no_money(shown: Site) -> None:
    link = await _link(shown)
    page = await get(shown, f"{link}?lang=en", None)
    assert page.code == 200
    assert "rig3" in page.text
    for money in ("Earned", "BTC", "statements", "Payable", "technician"):
        assert money not in plain(page.text)
    assert (await get(shown, f"{link}/worker?name=rig3", None)).code == 200
    assert (await get(shown, f"{link}/hashrate.svg", None)).code == 200
    assert f'src="{link}/qr.svg?name=rig3"' in (await get(shown, f"{link}/worker?name=rig3", None)).text
    for path in (f"{link}/technician", f"{link}/technician.svg"):
        assert (await get(shown, path, None)).code == 404
    assert (await get(shown, link.replace("miner1", "miner2"), None)).code == 404
    assert (await get(shown, f"/statements/miner1/{DAY}", None)).code == 401


async def test_a_technicians_link_is_not_made_up_and_ends(site: Site, world: World) -> None:
    link = await _link(site)
    ticket = link.rpartition("/")[2]
    expiry, _, mac = ticket.partition(".")
    for made_up in (f"{int(expiry) + 1}.{mac}", f"{expiry}.{'A' * 22}", f"{expiry}.", "x", ticket + "A"):
        assert (await get(site, f"/miners/miner1/link/{made_up}", None)).code == 404, made_up
        assert (await get(site, f"{PAGE}/technician.svg?ticket={made_up}")).code == 404
    assert (await get(site, f"{PAGE}/technician.svg?ticket={ticket}")).code == 200
    world.now_us += LINK_SECONDS * 1_000_000 - 1
    assert (await get(site, link, None)).code == 200
    world.now_us += 1
    assert (await get(site, link, None)).code == 404
    link = await _link(site)
    await new_token(world.engine, "miner1", "a new one")
    assert (await get(site, link, None)).code == 404


# Streams


async def test_a_stream_sends_what_changed_and_ends_with_the_token_that_opened_it(
    site: Site, world: World
) -> None:
    async with streaming(site, f"{PAGE}/live?lang=en") as answer:
        first = await parts_of(answer)
        assert {"part-tiles", "part-workers", "part-money", "part-notices"} <= set(first)
        await world.tell(world.reject(1, "duplicate"))
        await world.work()
        changed = await parts_of(answer)
        while "part-rejects" not in changed:
            changed = await parts_of(answer)
        assert "duplicate" in changed["part-rejects"]
        assert "part-money" not in changed
        await new_token(world.engine, "miner1", "a new one")
        async with asyncio.timeout(20):
            await answer.content.read()
    async with streaming(site, f"{PAGE}/worker/live?name=rack-1", "a new one") as answer:
        await parts_of(answer)
        world.now_us += 2 * DAY_US
        async with asyncio.timeout(20):
            await answer.content.read()  # nobody remembers this worker; the stream ends in good order


async def test_streams_are_limited_in_all_and_for_each_account(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STREAMS", 3)
    monkeypatch.setattr(live, "STREAMS_EACH", 2)
    async with (
        serving(world.engine, world, tmp_path) as site,
        streaming(site, f"{PAGE}/live") as one,
        streaming(site, f"{PAGE}/worker/live?name=rig3") as two,
    ):
        await asyncio.gather(parts_of(one), parts_of(two))
        assert (await get(site, f"{PAGE}/live")).code == 429
        async with streaming(site, "/live", None) as three:
            await parts_of(three)
            assert (await get(site, "/miners/miner2/live", OTHER)).code == 503
            assert (await get(site, "/live")).code == 503
        assert (await get(site, PAGE)).code == 200, "the page itself is always there"


async def test_streams_end_when_the_server_stops_and_a_head_begins_none(world: World, tmp_path: Path) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as http:
        async with serving(world.engine, world, tmp_path) as site:
            async with http.head(f"{site.url}/live") as head:
                assert (head.status, head.content_type) == (200, "text/event-stream")
            answer = await http.get(f"{site.url}/live")
            await parts_of(answer)
        rest = await answer.content.read()
    assert b"parts" not in rest, "it ended, and was not cut off in the middle"


# In a browser


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with running_chromium() as made:
        await made.ask("Network.enable")
        await made.ask("Network.setExtraHTTPHeaders", headers=basic(OWN))
        yield made


async def test_it_fits_and_every_picture_has_its_words(browser: Browser, site: Site) -> None:
    paths = (f"{PAGE}?lang=kk", f"{PAGE}/worker?name=rig3&lang=ru", f"{PAGE}/technician", "/?lang=kk")
    for size, path in itertools.product((chromium.DESKTOP, SMALL_PHONE), paths):
        await browser.size(*size)
        await browser.open(site.url + path)
        assert await browser.evaluate("document.documentElement.scrollWidth") <= size[0], path
        assert await browser.evaluate(
            "[...document.images].every((one) => one.alt.length > 20 && one.complete && one.naturalWidth > 0)"
        ), path
        assert await browser.evaluate(
            "[...document.querySelectorAll('table')]"
            ".every((one) => one.caption && one.querySelector('th[scope]'))"
        )
        assert await browser.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select')]"
            ".every((one) => one.labels.length)"
        )
    assert browser.complaints == []


async def test_numbers_change_without_loading_and_the_form_searches(
    browser: Browser, site: Site, world: World
) -> None:
    await browser.open(f"{site.url}{PAGE}?lang=en")
    await browser.evaluate("document.querySelector('input[type=search]').value = 'rig12'")
    await browser.evaluate("document.querySelector('.tile dd').mine = 'kept'")
    await world.tell(world.share(1, "newcomer", target=SHARE))
    await world.work()
    await browser.until("document.querySelector('#part-workers').innerText.includes('newcomer')")
    assert await browser.evaluate("document.querySelector('.tile dd').mine") == "kept"
    assert await browser.evaluate("document.querySelector('input[type=search]').value") == "rig12"
    await browser.led_on(browser.evaluate("document.querySelector('form').requestSubmit()"))
    rows = "document.querySelectorAll('#part-workers tbody tr').length"
    assert await browser.evaluate(rows) == 1
    assert "rig12" in await browser.text("#part-workers")
    assert HOSTILE not in await browser.text()
    assert browser.complaints == []
