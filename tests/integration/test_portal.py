"""The portal over HTTP: who sees which page, that every page and link of it is there, and what it says."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import create_engine
from pool.portal_pages import size_text, unbroken
from pool.tables import report
from pool.tables_door import regulator_access_event
from pool.tables_log import log_leaf
from register.catalogue import day_text, text
from register.miner import LANGUAGES, Language
from tests.conftest import Furnish
from tests.integration.ledger_world import DAY
from tests.integration.portal_visitor import Page, Visitor, plain, say
from tests.integration.portal_world import BODY, RECEIPT, TAXES, a_month, serving_portal
from tests.integration.web_world import KEY

FORM = "order-166-2023"
REPORT = f"reports/{DAY}/2"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
OPEN = ("", "log", "log/3", "verify", "addresses", "sign-in")
ALIKE = re.compile(r"/reports/2026-11-(0[2-9]|1\d|2[0126-9])|/log/(?!3$|3[1-6])\d")
"""Days without work, and their entries: one of them stands for all."""
GUARDED = {
    **dict.fromkeys(("reports", f"reports/{DAY}/1", REPORT, "reports/2026-11-01/1"), "reports"),
    **dict.fromkeys(("forms", f"forms/2026-11/{FORM}/1", "forms/2026-11/mof-2026-02-20/1"), "forms"),
    **dict.fromkeys(("submissions",), "forms"),
    **dict.fromkeys(("archive", f"archive/{DAY}"), "archive"),
}


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
async def visitor(engine: AsyncEngine, told: dict[str, Any], tmp_path: Path) -> AsyncIterator[Visitor]:
    """Somebody at the portal of a pool that opens nothing without a token."""
    async with serving_portal(engine, tmp_path, told["files"]) as site:
        yield Visitor(site)


async def test_a_stranger_sees_what_proves_and_is_sent_to_sign_in_for_the_rest(visitor: Visitor) -> None:
    for path in OPEN:
        answer = await visitor.get(f"/portal/kk/{path}")
        assert answer.code == 200, path
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    for path in GUARDED:
        answer = await visitor.get(f"/portal/kk/{path}")
        assert (answer.code, answer.text) == (303, "")
        assert answer.headers["Location"] == f"/portal/kk/sign-in?next=/portal/kk/{path}"


async def test_a_token_begins_a_session_and_signing_out_ends_it(
    visitor: Visitor, told: dict[str, Any]
) -> None:
    onward = f"/portal/ru/{REPORT}"
    asked = await visitor.get(f"/portal/ru/sign-in?next={onward}")
    assert f'name="next" value="{onward}"' in asked.text
    began = await visitor.sign_in(f"  {told['tokens']['ministry']}\n", onward, "ru")
    assert (began.code, began.headers["Location"]) == (303, onward)
    for flag in ("HttpOnly", "Secure", "SameSite=Strict"):
        assert flag in began.headers["Set-Cookie"]
    page = await visitor.get(onward)
    assert page.code == 200
    assert BODY.title in page.text
    cookie, csrf = visitor.cookie, re.findall(r'name="csrf" value="([0-9a-f]{64})"', page.text)[0]
    forged = await visitor.post("/portal/ru/sign-out", {"csrf": "0" * 64})
    assert forged.code == 403
    assert (await visitor.get(onward)).code == 200, "a forged form ends nothing"
    ended = await visitor.post("/portal/ru/sign-out", {"csrf": csrf})
    assert (ended.code, ended.headers["Location"]) == (303, "/portal/ru/")
    visitor.cookie = cookie
    gone = await visitor.get(onward)
    assert gone.headers["Location"] == f"/portal/ru/sign-in?next={onward}&ended=1"
    again = await visitor.get(gone.headers["Location"])
    assert say("ru", "session_ended") in plain(again.text)


@pytest.mark.parametrize("token", ["", "dmpool-reg-nobody", "x" * 5000, "жетон"])
async def test_a_wrong_token_opens_nothing_and_is_told_in_the_language(visitor: Visitor, token: str) -> None:
    answer = await visitor.sign_in(token, f"/portal/kk/{REPORT}", "kk")
    assert answer.code == 401
    assert "Set-Cookie" not in answer.headers
    assert say("kk", "wrong_token") in plain(answer.text)
    assert token == "" or token not in answer.text
    assert (await visitor.get(f"/portal/kk/{REPORT}")).code == 303


async def test_too_many_wrong_tokens_are_told_to_wait(visitor: Visitor, told: dict[str, Any]) -> None:
    codes = [(await visitor.sign_in(f"dmpool-reg-{number}")).code for number in range(12)]
    assert codes[0] == 401
    assert codes[-1] == 429
    answer = await visitor.sign_in("dmpool-reg-again", language="ru")
    assert int(answer.headers["Retry-After"]) > 0
    assert say("ru", "wrong_429") in plain(answer.text)


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/portal/en/../../api", "/portal/xx/", "/portal/en/\r\nX: y"],
)
async def test_after_signing_in_nobody_is_sent_elsewhere(
    visitor: Visitor, told: dict[str, Any], onward: str
) -> None:
    answer = await visitor.sign_in(told["tokens"]["ministry"], onward)
    target = urlsplit(urljoin("http://pool.example/portal/en/sign-in", answer.headers["Location"]))
    assert target.netloc == "pool.example"
    assert target.path.startswith("/portal/en/")
    assert "evil" not in answer.headers["Location"]


async def test_a_form_of_another_site_signs_nobody_in(visitor: Visitor, told: dict[str, Any]) -> None:
    fields = {"token": told["tokens"]["ministry"]}
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = await visitor.post("/portal/en/sign-in", fields, **foreign)
        assert answer.code == 403
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_token_opens_what_it_has_and_nothing_of_anothers(
    visitor: Visitor, told: dict[str, Any], language: Language
) -> None:
    await visitor.sign_in(told["tokens"]["kgd"])
    for path, scope in GUARDED.items():
        answer = await visitor.get(f"/portal/{language}/{path}")
        assert answer.code == (200 if scope == "forms" else 403), path
        if answer.code == 403:
            assert say(language, "refused_403_title") in plain(answer.text)
            assert "miner1" not in answer.text
    mine = plain((await visitor.get(f"/portal/{language}/submissions")).text)
    assert say(language, "addressee_tax_authority") in mine
    assert say(language, "addressee_authorised_body") not in mine
    assert RECEIPT.name in mine
    assert "letter 17" not in mine, "of the other body"


async def test_a_program_sends_its_token_as_a_header(visitor: Visitor, told: dict[str, Any]) -> None:
    right = {"Authorization": f"Bearer {told['tokens']['ministry']}"}
    assert (await visitor.get(f"/portal/en/{REPORT}", **right)).code == 200
    assert (await visitor.get(f"/portal/en/{REPORT}", Authorization="Bearer no")).code == 401


async def test_open_reports_open_reports_and_forms_and_no_more(
    engine: AsyncEngine, told: dict[str, Any], tmp_path: Path
) -> None:
    async with serving_portal(engine, tmp_path, told["files"], open_reports=True) as site:
        visitor = Visitor(site)
        for path, scope in GUARDED.items():
            closed = scope == "archive" or path == "submissions"
            assert (await visitor.get(f"/portal/en/{path}")).code == (303 if closed else 200), path


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_page_is_in_its_language_and_every_link_leads_somewhere(
    visitor: Visitor, told: dict[str, Any], language: Language
) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    waiting, seen = [f"/portal/{language}/"], dict[str, int]()
    elsewhere = tuple(f"/portal/{one}/" for one in LANGUAGES if one != language)
    while waiting:
        path = waiting.pop()
        if path in seen or urlsplit(path).path.rpartition("/")[0] in ("/static",):
            continue
        if "/pdf/" in path and f"/pdf/{language}" not in path:
            continue  # each is asked for by the test of its language
        if ALIKE.search(path):
            continue
        answer = await visitor.get(path)
        seen[path] = answer.code
        if answer.code == 303:
            seen[path] = 200
            waiting.append(answer.headers["Location"])
            continue
        if not path.startswith(f"/portal/{language}/"):
            continue
        page = Page(answer.text)
        assert page.of("html") == [{"lang": language}]
        assert len(page.of("h1")) == 1, path
        others = {one["hreflang"]: one["href"] for one in page.of("link") if one.get("hreflang")}
        assert others[language] == path
        for link in page.links:
            target = urlsplit(urljoin(f"http://pool{path}", link))
            inside = target.path if not target.query else f"{target.path}?{target.query}"
            if target.netloc == "pool" and not inside.startswith(elsewhere):
                waiting.append(inside)
    assert {path: code for path, code in seen.items() if code != 200} == {}
    for path in (*OPEN[:-1], *GUARDED):
        assert f"/portal/{language}/{path}" in seen, "no link leads there"
    for kind in ("pdf", "file", "annex", "proof", "signatures", "archive", "receipts"):
        wanted = kind != "receipts"
        assert any(f"/{kind}" in path and path.startswith("/api/") for path in seen) is wanted, kind


async def test_pages_are_sound_and_run_nothing(visitor: Visitor, told: dict[str, Any]) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    for path in (*OPEN, *GUARDED):
        page = Page((await visitor.get(f"/portal/kk/{path}")).text)
        for _, attributes in page.tags:
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for tag in ("script", "style", "img", "iframe", "base"):
            assert page.of(tag) == []
        ids = [one["id"] for _, one in page.tags if "id" in one]
        assert len(ids) == len(set(ids)), path
        labelled = {one.get("for") for one in page.of("label")}
        fields = [one for one in page.of("input") if one.get("type") != "hidden"]
        assert {one["id"] for one in fields} <= labelled
        assert {one["action"].partition("?")[0].split("/")[1] for one in page.of("form")} <= {"portal"}  # type: ignore[union-attr]
        anchors = {href[1:] for href in page.links if href.startswith("#")}
        assert anchors <= set(ids)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_reports_page_says_what_was_signed(
    visitor: Visitor, engine: AsyncEngine, told: dict[str, Any], language: Language
) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    seen = plain((await visitor.get(f"/portal/{language}/{REPORT}")).text)
    async with engine.connect() as connection:
        envelopes = await connection.scalars(
            sa.select(report.c.envelope).where(report.c.day == DAY).order_by(report.c.version)
        )
        first, second = (msgspec.json.decode(one) for one in envelopes)
    for words in (
        *(second["report_sha256"], first["report_sha256"], second["report"]["previous_report_sha256"]),
        *(second["report"]["correction_reason"], KEY.key_id, say(language, "key_in_force")),
        *(day_text(language, DAY), say(language, "version_n", version=1)),
        *(second["report"]["miners"][0]["name"], second["report"]["distributions"][0]["wallet_address"]),
    ):
        assert words in seen, words
    quantity = second["report"]["distributions"][0]["quantity"]
    assert quantity.replace(".", "." if language == "en" else ",") in seen
    assert say(language, "there_is_newer") not in seen
    old = plain((await visitor.get(f"/portal/{language}/reports/{DAY}/1")).text)
    assert say(language, "there_is_newer") in old
    unfinished = plain((await visitor.get(f"/portal/{language}/forms/2026-11/mof-2026-02-20/1")).text)
    assert text(language, "report.notice.not_final") in unfinished


async def test_a_day_is_found_and_lists_go_on(
    visitor: Visitor, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    found = await visitor.get(f"/portal/en/reports?day={DAY}")
    assert found.headers["Location"] == f"/portal/en/{REPORT}"
    assert (await visitor.get(f"/portal/en/reports/{DAY}")).headers["Location"] == f"/portal/en/{REPORT}"
    missing = plain((await visitor.get("/portal/kk/reports?day=2026-10-01")).text)
    assert "2026 ж. 1 қазан" in missing
    monkeypatch.setattr("pool.portal_documents.PAGE", 4)
    monkeypatch.setattr("pool.portal_log.PAGE", 7)
    for path, count in (("reports", 31), ("log", 37)):
        lines, onward = list[str](), f"/portal/en/{path}"
        while onward:
            page = (await visitor.get(onward)).text
            lines += re.findall(rf'<td class="lead[^"]*"><a href="(/portal/en/{path}/[^"]+)"', page)
            older = re.search(r'rel="next" href="([^"]+)"', page)
            onward = html.unescape(older.group(1)) if older else ""
        assert len(lines) == len(set(lines)) == count
    assert lines[0].endswith("/36")


@pytest.mark.parametrize(
    "path",
    [
        *("reports/2026-11-24/3", "reports/2026-11-24/x", "reports/yesterday", "reports/2026-10-01"),
        *("forms/2026-11/nothing", "forms/2026-11/order-166-2023/9", "archive/2026-01-01", "archive/x"),
        *("log/99", "log/-1", "log/1e3", "nothing", "reports/2026-11-24/99999999999999999999"),
    ],
)
async def test_what_is_not_there_is_told_in_the_language(
    visitor: Visitor, told: dict[str, Any], path: str
) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    answer = await visitor.get(f"/portal/ru/{path}")
    assert answer.code == 404
    assert say("ru", "refused_404_title") in plain(answer.text)


async def test_the_language_of_the_browser_is_taken_and_else_the_state_language(visitor: Visitor) -> None:
    for asked, language in (
        *(("ru-KZ,ru;q=0.9,en;q=0.5", "ru"), ("en-GB", "en"), ("kk", "kk"), ("de;q=1,en;q=0.1", "en")),
        *(("de", "kk"), ("", "kk"), ("en;q=x,ru", "ru"), ("*", "kk"), ("ru;q=0.1,kk;q=0.9", "kk")),
    ):
        answer = await visitor.get("/portal", **{"Accept-Language": asked})
        assert answer.headers["Location"] == f"/portal/{language}/", asked
    assert (await visitor.get("/portal/ru")).headers["Location"] == "/portal/ru/"
    strange = await visitor.get("/portal/de/reports", **{"Accept-Language": "ru"})
    assert strange.code == 404
    assert say("ru", "refused_404_title") in plain(strange.text)


async def test_o25_the_chain_tells_which_document_a_page_showed(
    visitor: Visitor, engine: AsyncEngine, told: dict[str, Any]
) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    await visitor.get(f"/portal/en/{REPORT}")
    newest = sa.select(regulator_access_event).order_by(regulator_access_event.c.seq.desc()).limit(1)
    async with engine.connect() as connection:
        event = (await connection.execute(newest)).one()
        sha256 = await connection.scalar(
            sa.select(report.c.sha256).where(report.c.day == DAY, report.c.version == 2)
        )
    body = msgspec.json.decode(event.body)
    assert (event.actor, event.kind, body["path"]) == ("ministry", "access", f"/portal/en/{REPORT}")
    assert body["sha256"] == sha256
    own = plain((await visitor.get("/portal/en/addresses")).text)
    assert f"/portal/en/{REPORT} 200" in own
    assert TAXES.title not in own


async def test_what_people_wrote_is_never_markup(
    visitor: Visitor, engine: AsyncEngine, told: dict[str, Any]
) -> None:
    await visitor.sign_in(told["tokens"]["ministry"])
    hostile = '{"at":"2026-12-04T00:00:00+00:00","kind":"<script>alert(1)</script>"}'
    async with engine.begin() as connection:
        last = await connection.scalar(sa.select(sa.func.max(log_leaf.c.index)))
        digest = sa.func.sha256(sa.literal(b"\x00" + hostile.encode()))
        values = {"index": last + 1, "previous": last, "kind": "report", "at_us": 1_796_300_000_000_000}
        await connection.execute(sa.insert(log_leaf).values(**values, data=hostile.encode(), hash=digest))
    page = (await visitor.get("/portal/en/log")).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<script" not in (await visitor.get(f"/portal/en/log/{last + 1}")).text


async def test_without_postgresql_the_page_is_plain_words_of_the_language(tmp_path: Path) -> None:
    away = create_engine(NOWHERE)
    async with serving_portal(away, tmp_path, {}, open_reports=True) as site:
        visitor = Visitor(site)
        for path in ("", "log", "verify", REPORT):
            answer = await visitor.get(f"/portal/kk/{path}")
            assert (answer.code, answer.headers["Retry-After"]) == (503, "5")
            assert say("kk", "refused_503") in plain(answer.text)
            assert "nobody" not in answer.text
        assert (await visitor.sign_in("dmpool-reg-x", language="kk")).code == 503
    await away.dispose()


# Pure


def test_sizes_and_days_are_written_for_people() -> None:
    assert [size_text(one) for one in (0, 9999, 10_000, 12_345_678)] == [
        "0 B",
        "9\u202f999 B",
        "10 kB",
        "12 MB",
    ]
    assert unbroken("<b>2026-11-24</b>") == '&lt;b&gt;<span class="nb">2026-11-24</span>&lt;/b&gt;'
    assert unbroken("1-2026-11-241") == "1-2026-11-241"
