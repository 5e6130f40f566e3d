"""The web role over real PostgreSQL and a real socket: what it says, and what it does when things break."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import status
from pool.config import Listen
from pool.database import create_engine, migrate
from pool.reports import build_report
from pool.resources import publisher
from pool.tables import slice_
from pool.web import HEADERS, REQUEST_HEAD_MAX, WebServer, create_app
from reporting.verify import verify
from tests.conftest import Furnish
from tests.integration import web_world
from tests.integration.entering import enter_miner
from tests.integration.ledger_world import DAY, NOON, RULES, World
from tests.integration.web_world import (
    KEY,
    MINUTE,
    PUBLISHER,
    REWARD,
    SHARE,
    SHARE_WORK,
    Site,
    a_morning,
    serving,
    settings_of,
)

HOSTILE = "<script>alert('x')</script> & \"ТОО\" <img src=x onerror=alert(1)>"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("morning", a_morning)
    return "morning"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    """A morning's work is done."""
    made = World(engine)
    made.recall(await furnish("morning", a_morning))
    return made


@pytest_asyncio.fixture
async def site(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """The page, read anew at every look."""
    monkeypatch.setattr(status, "KEEP_SECONDS", 0)
    async with serving(world.engine, world, tmp_path) as made:
        yield made


async def test_the_status_says_who_the_pool_is_and_what_it_does(site: Site) -> None:
    told = await site.status()
    assert told["at"] == "2026-11-24T12:00:00+05:00"
    assert told["pool"] == {
        "name": "Tengri Digital Pool LLP",
        "bin": "230440000105",
        "accreditation": "KZ00DMP0001",
        "chain": "regtest",
        "commission_bps": 150,
        "scheme": "pplns",
        "window_multiple": 2,
    }
    [gateway] = told["gateways"]
    assert (gateway["alive"], gateway["connections"], told["connections"]) == (True, 42, 42)
    assert (gateway["job_height"], gateway["job_age_seconds"], gateway["seen_seconds"]) == (126, 17, 2)


async def test_hashrates_are_work_by_time_in_integers(site: Site, world: World) -> None:
    """Twenty-six shares in the last ten minutes; the pool is fifty minutes old, so its hour is that long."""
    told = await site.status()
    assert told["hashrate_10m"] == str(26 * SHARE_WORK // 600)
    assert told["hashrate_1h"] == str(29 * SHARE_WORK // 3000)
    miners = {one["account"]: one for one in told["miners"]}
    assert miners["miner1"]["hashrate_10m"] == str(16 * SHARE_WORK // 600)
    world.now_us += 20 * MINUTE
    later = await site.status()
    assert (later["hashrate_10m"], later["hashrate_1h"]) == ("0", str(26 * SHARE_WORK // 3600))


async def test_todays_shares_are_counted_on_and_begin_again_at_midnight(site: Site, world: World) -> None:
    first = (await site.status())["miners"][0]
    assert (first["shares_accepted"], first["shares_rejected"]) == (17, 1)
    await world.tell(world.share(1, target=SHARE), world.reject(1), world.reject(1, "duplicate"))
    await world.work()
    first = (await site.status())["miners"][0]
    assert (first["shares_accepted"], first["shares_rejected"]) == (18, 3)
    world.now_us += 13 * 60 * MINUTE
    await world.tell(world.share(1, target=SHARE))
    await world.work()
    first = (await site.status())["miners"][0]
    assert (first["shares_accepted"], first["shares_rejected"]) == (1, 0)


async def test_a_second_reader_counts_from_the_start_what_the_first_counted_bit_by_bit(
    site: Site, world: World, tmp_path: Path
) -> None:
    for _ in range(3):
        await world.tell(world.share(2, target=SHARE), world.reject(3))
        await world.work()
        await site.status()
        world.now_us += 3 * MINUTE
    async with serving(world.engine, world, tmp_path) as other:
        assert await other.status() == await site.status()


async def test_money_is_what_the_journal_holds_and_balances(site: Site, world: World) -> None:
    """I3: three blocks matured, one is on its way, and every satoshi of them is somebody's."""
    told = await site.status()
    booked = await world.balances()
    for number, one in enumerate(told["miners"], 1):
        assert one["payable_sat"] == -booked.get(f"miner:{number}:payable", 0)
        assert one["immature_sat"] == -booked.get(f"miner:{number}:immature", 0)
    money = told["money"]
    assert (money["coinbase_mature_sat"], money["coinbase_immature_sat"]) == (3 * REWARD, REWARD)
    assert money["commission_earned_sat"] == 3 * (REWARD * 150 // 10_000)
    assert money["owed_sat"] + money["commission_sat"] == money["assets_sat"] == 4 * REWARD
    assert money["balances"] is True
    assert money["owed_payable_sat"] == sum(one["payable_sat"] for one in told["miners"])


async def test_blocks_stand_with_their_state_newest_first(site: Site) -> None:
    told = await site.status()
    seen = [(one["height"], one["state"], one["confirmations"], one["finder"]) for one in told["blocks"]]
    assert seen == [
        (126, "found", None, "miner3"),
        (115, "orphaned", None, None),
        (114, "confirmed", 12, "miner2"),
        (3, "mature", 123, "miner3"),
        (2, "mature", 124, "miner2"),
        (1, "mature", 125, "miner1"),
    ]
    assert told["blocks_by_state"] == {"found": 1, "submitted": 0, "confirmed": 1, "mature": 3, "orphaned": 1}
    assert told["blocks"][0]["found_at"] == "2026-11-24T11:55:00+05:00"
    page = (await site.get("/"))[2].decode()
    assert all(f'title="{one["hash"]}">…{one["hash"][-10:]}<' in page for one in told["blocks"])


async def test_no_more_is_shown_than_fits(site: Site, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAYS_SHOWN", "MINERS_SHOWN", "BLOCKS_SHOWN", "REPORTS_SHOWN"):
        monkeypatch.setattr(status, name, 1)
    told = await site.status()
    assert [len(told[name]) for name in ("gateways", "miners", "blocks", "reports")] == [1, 1, 1, 1]
    assert told["miners_total"] == 3
    assert b"The first 1 of 3 miners." in (await site.get("/"))[2]


async def test_a_silent_gateway_is_not_taken_for_alive(site: Site, world: World) -> None:
    world.now_us += 2 * MINUTE
    told = await site.status()
    assert (told["gateways"][0]["alive"], told["connections"]) == (False, 0)
    assert told["blocks"][2]["confirmations"] is None
    assert b"2 min ago" in (await site.get("/"))[2]


async def test_reports_come_byte_for_byte_and_verify(site: Site, world: World) -> None:
    """I7: what was signed is what is served; a correction stands beside it."""
    first = await build_report(world.engine, DAY, PUBLISHER, NOON, unfinished=True)
    await world.tell(world.share(1, target=SHARE))
    await world.work()
    second = await build_report(world.engine, DAY, PUBLISHER, NOON, unfinished=True)
    code, headers, body = await site.get(f"/api/v1/reports/{DAY}")
    assert (code, body) == (200, second)
    assert headers["Content-Type"] == "application/json"
    assert headers["ETag"] == f'"{json.loads(second)["report_sha256"]}"'
    number = json.loads(first)["report"]["version"]
    assert (await site.get(f"/api/v1/reports/{DAY}/{number}"))[2] == first
    key = json.loads((await site.get("/api/v1/public-key"))[2])
    assert key["public_key"] == KEY.public_key
    assert all(check.passed for check in verify(body, key["public_key"]))
    code, _, body = await site.get(f"/api/v1/reports/{DAY}", **{"If-None-Match": f'"x", {headers["ETag"]}'})
    assert (code, body) == (304, b"")
    assert (await site.get(f"/api/v1/reports/{DAY}/1", **{"If-None-Match": headers["ETag"]}))[0] == 200


async def test_reports_are_listed_newest_first_page_by_page(
    site: Site, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.tell(world.share(1, target=SHARE))
    await world.work()
    await build_report(world.engine, DAY, PUBLISHER, NOON, unfinished=True)
    told = json.loads((await site.get("/api/v1/reports"))[2])
    assert [(one["day"], one["version"]) for one in told["reports"]] == [("2026-11-24", 2), ("2026-11-24", 1)]
    assert told["next_before"] is None
    for one in told["reports"]:
        assert json.loads((await site.get(one["path"]))[2])["report_sha256"] == one["sha256"]
    monkeypatch.setattr("pool.report_api.PAGE", 1)
    page = json.loads((await site.get("/api/v1/reports"))[2])
    assert [one["version"] for one in page["reports"]] == [2]
    rest = json.loads((await site.get(f"/api/v1/reports?before={page['next_before']}"))[2])
    assert ([one["version"] for one in rest["reports"]], rest["next_before"]) == ([1], None)


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/api/v1/reports/2020-01-01", 404, "there is no report of 2020-01-01"),
        (f"/api/v1/reports/{DAY}/9", 404, "there is no version 9 of a report"),
        ("/api/v1/reports/yesterday", 422, "date"),
        (f"/api/v1/reports/{DAY}/0", 422, "greater than or equal to 1"),
        (f"/api/v1/reports/{DAY}/99999999999999999999", 422, "less than or equal to"),
        ("/api/v1/reports?before=x", 422, "integer"),
        ("/docs", 404, "Not Found"),
        ("/redoc", 404, "Not Found"),
        ("/static/../web.py", 404, "Not Found"),
        ("/static/..%2fweb.py", 404, "Not Found"),
    ],
)
async def test_a_bad_question_gets_a_clear_answer(site: Site, path: str, code: int, said: str) -> None:
    """I10."""
    answered, headers, body = await site.get(path)
    assert (answered, headers["Content-Type"]) == (code, "application/json")
    assert said in body.decode()


async def test_names_from_strangers_are_text_and_nothing_else(site: Site, world: World) -> None:
    ended = dt.date(2026, 6, 30)
    await enter_miner(
        world.engine, "stranger", "990140004654", title=HOSTILE, licence="KZ-<b>1</b>", last=ended
    )
    page = (await site.get("/"))[2].decode()
    assert "<script>alert" not in page
    assert page.count("<img") == page.count('<img class="chart"') == 1
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;ТОО&#34; &lt;img" in page
    assert "KZ-&lt;b&gt;1&lt;/b&gt;" in page
    assert "ended, until <time>2026-06-30</time>" in page
    assert (await site.status())["miners"][3]["title"] == HOSTILE


async def test_the_address_for_miners_is_the_name_that_the_browser_used(site: Site) -> None:
    page = (await site.get("/", Host="pool.example.kz:8080"))[2]
    assert b"<code>stratum+tcp://pool.example.kz:3333</code>" in page


async def test_a_configured_address_for_miners_is_shown_as_it_is(world: World, tmp_path: Path) -> None:
    async with serving(world.engine, world, tmp_path, stratum="10.1.2.3:4444") as site:
        assert b"<code>stratum+tcp://10.1.2.3:4444</code>" in (await site.get("/", Host="evil.example"))[2]


async def test_every_answer_carries_the_headers_that_keep_strangers_out(site: Site) -> None:
    for path in ("/", "/api/v1/status", "/static/page.css", "/nothing", "/healthz"):
        headers = (await site.get(path))[1]
        assert {name: headers[name] for name in HEADERS} == HEADERS, path
        assert "Server" not in headers


async def test_nothing_is_loaded_from_elsewhere(site: Site) -> None:
    parts = [(await site.get(path))[2] for path in ("/", "/static/page.css", "/static/refresh.js")]
    assert not [part for part in parts if b"http://" in part or b"https://" in part or b"url(" in part]


async def test_an_empty_pool_says_so_in_words(empty_database_url: str, tmp_path: Path) -> None:
    engine = create_engine(empty_database_url)
    await migrate(engine)
    world = World(engine)
    async with serving(engine, world, tmp_path) as site:
        page = (await site.get("/"))[2].decode()
        told = await site.status()
    for words in (
        "No block yet.",
        "No licensed miner yet.",
        "No gateway yet.",
        "No report yet.",
        "no job yet",
    ):
        assert words in page
    assert (told["hashrate_10m"], told["money"]["balances"]) == ("0", True)


async def test_without_postgresql_the_page_is_plain_words(world: World, tmp_path: Path) -> None:
    """Nothing of the database's address or of a stack trace gets out."""
    away = create_engine(NOWHERE)
    async with serving(away, world, tmp_path) as site:
        code, headers, body = await site.get("/")
        assert (code, headers["Retry-After"]) == (503, "5")
        assert b"The database does not answer." in body
        for path in ("/api/v1/status", "/api/v1/reports", f"/api/v1/reports/{DAY}"):
            code, headers, api = await site.get(path)
            assert (code, json.loads(api)) == (503, {"detail": "The database does not answer."})
            body += api
        assert (await site.get("/healthz"))[0] == 200
        code, _, ready = await site.get("/readyz")
        assert code == 503
        assert json.loads(ready) == {"ready": False, "reason": "The database does not answer."}
        for secret in (b"nobody", b"127.0.0.1:1", b"Traceback", b"asyncpg", b"refused"):
            assert secret not in body + ready
    await away.dispose()


async def test_a_database_without_our_schema_is_told_apart(
    empty_database_url: str, world: World, tmp_path: Path
) -> None:
    empty = create_engine(empty_database_url)
    async with serving(empty, world, tmp_path) as site:
        code, _, body = await site.get("/readyz")
        assert code == 503
        assert "its schema may be of another version" in json.loads(body)["reason"]
        assert (await site.get("/"))[0] == 503
    await empty.dispose()


async def test_the_page_comes_back_with_postgresql(
    site: Site, world: World, postgres: str, database_url: str
) -> None:
    name = sa.make_url(database_url).database
    before = await site.status()
    other = create_engine(
        sa.make_url(postgres).set(database="postgres").render_as_string(hide_password=False)
    )
    async with other.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        await connection.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
        assert (await site.get("/"))[0] == 503
        assert (await site.get("/readyz"))[0] == 503
        await connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    await other.dispose()
    assert (await site.get("/readyz"))[0] == 200
    assert await site.status() == before


async def test_a_database_that_was_set_back_is_counted_anew(site: Site, world: World) -> None:
    counted = await site.status()
    for _ in range(3):
        await world.tell(world.share(1, target=SHARE))
    await world.work()
    assert await site.status() != counted
    async with world.engine.begin() as connection:
        await connection.execute(sa.delete(slice_).where(slice_.c.batch_position > 18))
        await connection.execute(sa.text("DELETE FROM batch WHERE position > 18"))
    told = await site.status()
    for totals in ("luck", "round"):  # of rows that a backup would have set back, too
        del told[totals], counted[totals]
    assert told == counted


async def test_a_crowd_costs_one_look(world: World, tmp_path: Path) -> None:
    begun = 0

    def _count(_connection: sa.Connection) -> None:
        nonlocal begun
        begun += 1

    async with serving(world.engine, world, tmp_path) as site:
        sa.event.listen(world.engine.sync_engine, "begin", _count)
        started = time.monotonic()
        answers = await asyncio.gather(*(site.get("/" if n % 2 else "/api/v1/status") for n in range(60)))
        looks_possible = 1 + int((time.monotonic() - started) / status.KEEP_SECONDS)
    assert {code for code, _, _ in answers} == {200}
    assert 1 <= begun <= looks_possible


async def test_the_openapi_names_every_answer(site: Site) -> None:
    document = json.loads((await site.get("/openapi.json"))[2])
    assert set(document["paths"]) >= {
        *("/api/v1/status", "/api/v1/public-key", "/api/v1/keys", "/healthz", "/readyz"),
        *("/log/checkpoint", "/log/tile/{path}", "/statements/{account}/{period}"),
    }
    schema = document["components"]["schemas"]["Status"]["properties"]
    assert set(schema) == set(await site.status())


async def test_a_head_without_end_is_cut_off(site: Site) -> None:
    """I10: one connection, and nobody else's."""
    port = int(site.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nX: " + b"a" * (4 * REQUEST_HEAD_MAX))
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 400")
    writer.close()
    assert (await site.get("/healthz"))[0] == 200


async def test_a_taken_port_is_an_error_and_not_the_end_of_the_process(site: Site, world: World) -> None:
    listen = Listen(host="127.0.0.1", port=int(site.url.rpartition(":")[2]))
    app = create_app(world.engine, settings_of(Path()), RULES)
    with pytest.raises(OSError, match="in use"):
        await WebServer(app, listen).run()


async def test_stopping_frees_the_port_and_leaves_signals_alone(world: World, tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving(world.engine, world, tmp_path) as site:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        url = site.url
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(url)


async def test_page_and_report_go_by_the_terms_of_the_day(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = {"effective_from": DAY + dt.timedelta(days=1), "commission_bps": 80, "scheme": "solo"}
    monkeypatch.setitem(web_world.POOL, "terms", [later])
    async with serving(world.engine, world, tmp_path) as site:
        assert "PPLNS, window 2 × network difficulty" in (await site.get("/"))[2].decode()
    world.now_us += 86_400_000_000
    async with serving(world.engine, world, tmp_path) as site:
        told = (await site.status())["pool"]
        page = (await site.get("/"))[2].decode()
    assert (told["commission_bps"], told["scheme"]) == (80, "solo")
    assert "<span>SOLO</span>" in page
    assert "PPLNS" not in page
    settings = web_world.settings_of(tmp_path)
    days = (DAY, DAY + dt.timedelta(days=1))
    assert [publisher(settings, RULES, day).pool.commission_bps for day in days] == [150, 80]
