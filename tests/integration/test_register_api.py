"""The register over HTTP, read: who may, what is found, as of a day, and when it has changed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import rfc8785
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import register_auth, register_store
from pool.database import create_engine, migrate
from pool.register_views import LISTINGS
from register.clerk import Terms
from register.event import FIRST, Event, verify
from register.person import Actor, Role, token_hash
from tests.conftest import Furnish
from tests.integration.entering import made_up_address
from tests.integration.ledger_world import RULES
from tests.integration.register_site import (
    BASE,
    DAY_US,
    ROLES,
    TOKENS,
    RegisterSite,
    enter_everybody,
    enter_miners,
    enter_people,
    new_centre,
    new_device,
    new_licence,
    new_miner,
    serving_register,
)

READS = (
    *(f"/{one.path}" for one in LISTINGS.values()),
    *("/miners/miner1", "/licences/L-miner1", "/devices/miner1-rig1", "/centres/miner1-dc", "/addresses/1.1"),
    *("/head", "/events", "/digest", "/export/devices", "/export/miners?format=xlsx"),
)


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("licensees", enter_everybody)
    return "licensees"


@pytest_asyncio.fixture
async def site(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[RegisterSite]:
    """Three miners, and people."""
    async with serving_register(engine, tmp_path) as made:
        yield made


# Who may


@pytest.mark.parametrize("path", READS)
async def test_everybody_with_a_token_reads_and_nobody_else(site: RegisterSite, path: str) -> None:
    for who, role in ROLES.items():
        told = await site.get(path, who)
        assert told.code == (401 if who == "former" else 200), (who, role)
        if told.code == 200:
            assert told.headers["Vary"] == "Authorization"
            assert told.headers["Cache-Control"].startswith("private, no-")
    for headers in (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKENS['aliya']}x"},
        {"Authorization": f"Bearer {token_hash(TOKENS['aliya'])}"},
        {"Authorization": TOKENS["aliya"]},
        {"Authorization": f"Basic {TOKENS['aliya']}"},
    ):
        told = await site.get(path, None, **headers)
        assert told.code == 401
        assert told.headers["WWW-Authenticate"] == 'Bearer realm="dmpool register"'
        assert "token" in told.detail


async def test_every_path_of_the_register_asks_for_a_token(site: RegisterSite) -> None:
    """Whatever is added later too: the paths are those of the OpenAPI document."""
    document = (await site.get("/../openapi.json", None)).json
    paths = {path: way for path, way in document["paths"].items() if path.startswith(BASE)}
    assert len(paths) > 25
    for path, ways in paths.items():
        for method, way in ways.items():
            told = await site.ask(method.upper(), path.removeprefix(BASE), None, b"{}")
            assert told.code == 401, (method, path)
            assert way["security"] == [{"HTTPBearer": []}]
            assert {"401", "403", "429", "503"} <= set(way["responses"]), path


async def test_before_the_first_person_nobody_acts_over_http(empty_database_url: str, tmp_path: Path) -> None:
    engine = create_engine(empty_database_url)
    await migrate(engine)
    await enter_miners(engine)
    async with serving_register(engine, tmp_path) as site:
        for who in (None, "aliya"):
            told = await site.get("/miners", who)
            assert told.code == 403
            assert "`dmpool people add`" in told.detail
        assert (await site.post("/miners", new_miner())).code == 403
        assert "dmpool people add" in (await site.page()).body.decode()
        await enter_people(engine)
        assert (await site.get("/miners")).code == 200
    await engine.dispose()


async def test_a_revoked_token_is_dead_at_once(site: RegisterSite, engine: AsyncEngine) -> None:
    assert (await site.get("/head", "oleg")).code == 200
    async with register_store.writing(
        engine, Terms(RULES, "regtest"), Actor("aliya", Role.COMPLIANCE), "left"
    ) as clerk:
        clerk.put_person(msgspec.structs.replace(clerk.register.people["oleg"], revoked=True))
    assert (await site.get("/head", "oleg")).code == 401


async def test_one_guesser_is_shut_out_and_those_who_work_are_not(site: RegisterSite) -> None:
    assert (await site.get("/head", "audit")).code == 200
    codes = [(await site.get("/head", f"guess{number}")).code for number in range(register_auth.ATTEMPTS + 3)]
    assert codes == [401] * register_auth.ATTEMPTS + [429] * 3
    told = await site.get("/head", "guess")
    assert int(told.headers["Retry-After"]) >= 1
    assert (await site.get("/head", "audit")).code == 200
    assert (await site.get("/head", "oleg")).code == 429  # was never heard before; in a while


async def test_tokens_are_in_no_log(site: RegisterSite, told: list[EventDict]) -> None:
    await site.get("/head", "a-wrong-token")
    await site.get("/head", "audit")
    await site.page(password="another-wrong-token")
    assert {
        "event": "wrong_token",
        "door": "register",
        "address": "127.0.0.1",
        "log_level": "warning",
    } in told
    for secret in ("a-wrong-token", "another-wrong-token", TOKENS["audit"]):
        assert secret not in str(told)


# What is found


async def test_records_are_found_by_search_account_and_state(site: RegisterSite) -> None:
    await site.post("/devices/miner1-rig1/exclude", {"reason": "sold", "on": "2026-11-24"})
    await site.post("/devices", new_device("KZ-LATER", included_on="2026-12-01"))

    async def found(question: str) -> list[str]:
        told = (await site.get(f"/devices?{question}")).json
        assert told["total"] >= len(told["items"])
        return [one["registry_number"] for one in told["items"]]

    assert await found("account=miner1") == ["KZ-LATER", "miner1-rig1", "miner1-rig2", "miner1-rig3"]
    assert await found("search=RIG3") == ["miner1-rig3", "miner2-rig3", "miner3-rig3"]
    assert await found("state=excluded") == ["miner1-rig1"]
    assert await found("state=not_yet") == ["KZ-LATER"]
    assert await found("state=registered&account=miner1") == ["miner1-rig2", "miner1-rig3"]
    assert await found("limit=2&offset=1") == ["miner1-rig1", "miner1-rig2"]
    assert await found("offset=99999999999") == []
    assert (await site.get("/devices?limit=3")).json["total"] == 10
    assert [one["name"] for one in (await site.get("/miners?search=MINER2 llp")).json["items"]] == ["miner2"]
    assert (await site.get("/licences?state=suspended")).json["items"] == []


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/devices?state=broken", 422, "not_yet, registered, excluded"),
        ("/centres?state=open", 422, "not asked for here"),
        ("/centres?account=miner1", 422, "use search"),
        ("/devices?account=nobody", 404, "no such account"),
        ("/devices?limit=0", 422, "greater than or equal to 1"),
        ("/devices?limit=1001", 422, "less than or equal to 1000"),
        ("/devices?offset=-1", 422, "greater than or equal to 0"),
        ("/devices?as_of=yesterday", 422, "date"),
        ("/devices?as_of=0001-01-01", 422, "says nothing of"),
        (f"/devices?search={'x' * 101}", 422, "at most 100"),
        ("/devices/none", 404, "hardware units: there is none 'none'"),
        ("/devices/a%00b", 404, "there is none"),
        (f"/devices/{'9' * 500}", 404, "there is none"),
        ("/devices/' OR 1=1 --", 404, "there is none"),
        ("/miners/nobody", 404, "there is none"),
        ("/miners/1", 404, "there is none"),
        ("/proposals/x", 404, "there is none"),
        ("/people", 404, "Not Found"),
        ("/events?after=-1", 422, "greater than or equal to 0"),
        ("/events?after=99999999999999999999", 422, "less than or equal to"),
        ("/events?limit=5001", 422, "less than or equal to 5000"),
        ("/export/people", 422, "miners"),
        ("/export/devices?format=pdf", 422, "csv"),
    ],
)
async def test_a_bad_question_gets_a_clear_answer(
    site: RegisterSite, path: str, code: int, said: str
) -> None:
    """I10."""
    told = await site.get(path)
    assert told.code == code
    assert said in told.body.decode()


async def test_a_record_comes_with_its_history_and_where_it_stands(site: RegisterSite) -> None:
    """O-12."""
    suspension = {
        "reason": "decision 9",
        "kind": "suspended",
        "number": "D-9",
        "on": "2026-11-24",
        "reason_code": 2,
        "until": "2026-12-31",
    }
    assert (await site.post("/licences/L-miner1/acts", suspension)).code == 200
    told = (await site.get("/licences/L-miner1")).json
    assert (told["record"]["status"], told["record"]["account"]) == ("suspended", "miner1")
    assert told["record"]["status_since_us"] == site.clock.now_us
    assert [(one["action"], one["actor"], one["reason"]) for one in told["history"]] == [
        ("entered", "tester", "for a test"),
        ("suspended", "aliya", "decision 9"),
    ]
    site.clock.now_us += 60 * DAY_US
    assert (await site.get("/licences/L-miner1")).json["record"]["status"] == "awaiting_resumption"


async def test_a_number_with_a_stroke_is_found(site: RegisterSite) -> None:
    assert (await site.post("/devices", new_device("KZ/2026/17"))).code == 201
    for path in ("/devices/KZ/2026/17", "/devices/KZ%2F2026%2F17"):
        assert (await site.get(path)).json["record"]["registry_number"] == "KZ/2026/17"
    told = await site.post("/devices/KZ/2026/17/exclude", {"reason": "sold", "on": "2026-11-25"})
    assert told.json["record"]["excluded_on"] == "2026-11-25"


async def test_the_register_as_it_stood_on_a_day(site: RegisterSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_store, "CLOCK_SECONDS", 100 * 86_400)  # this site's clock is set ahead
    site.clock.now_us += 10 * DAY_US
    changed = {"reason": "renamed", "title": "Alpha LLP", "bin": "230440000105"}
    assert (await site.put("/miners/miner1", changed)).code == 200
    assert (await site.post("/miners", new_miner())).code == 201
    now, past = (await site.get("/miners")).json, (await site.get("/miners?as_of=2026-12-03")).json
    assert [one["title"] for one in now["items"]] == ["Alpha LLP", "miner2 LLP", "miner3 LLP", "newcomer LLP"]
    assert [one["title"] for one in past["items"]] == ["miner1 LLP", "miner2 LLP", "miner3 LLP"]
    assert past["seq"] == now["seq"] - 2
    assert (await site.get("/miners?as_of=2025-01-01")).json["items"] == []
    one = (await site.get("/miners/miner1?as_of=2026-12-03")).json
    assert (one["record"]["title"], len(one["history"])) == ("miner1 LLP", 1)
    assert (await site.get("/miners/newcomer?as_of=2026-12-03")).code == 404
    for day in ("2026-12-04", "2027-01-01", "9999-12-31"):  # today, and days to come, are as it stands
        assert (await site.get(f"/miners?as_of={day}")).json["items"] == now["items"]
    states = [
        (await site.get(f"/devices/miner1-rig1?as_of={day}")).json["record"]["state"]
        for day in ("2026-01-02", "2026-11-30")
    ]
    assert states == ["registered", "registered"]


async def test_the_past_is_loaded_once_for_one_day(site: RegisterSite, engine: AsyncEngine) -> None:
    asked: list[str] = []

    def _note(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    sa.event.listen(engine.sync_engine, "before_cursor_execute", _note)
    await asyncio.gather(*(site.get(f"/devices?as_of=2026-06-01&offset={n}") for n in range(9)))
    assert sum("DISTINCT ON" in statement and "seq <=" in statement for statement in asked) <= 2


# When it has changed


async def test_an_etag_holds_until_something_changes(site: RegisterSite) -> None:
    first = await site.get("/miners")
    tag = first.headers["ETag"]
    again = await site.get("/miners", **{"If-None-Match": f'"x", W/{tag}'})
    assert (again.code, again.body, again.headers["ETag"]) == (304, b"", tag)
    await site.post("/miners", new_miner())
    changed = await site.get("/miners", **{"If-None-Match": tag})
    assert changed.code == 200
    assert changed.headers["ETag"] != tag
    tag = changed.headers["ETag"]
    site.clock.now_us += DAY_US // 2 - 1
    assert (await site.get("/miners", **{"If-None-Match": tag})).code == 304
    site.clock.now_us += 1  # midnight in Kazakhstan: a licence may end
    assert (await site.get("/miners", **{"If-None-Match": tag})).code == 200
    past = (await site.get("/miners?as_of=2026-11-01")).headers["ETag"]
    site.clock.now_us += 5 * DAY_US
    assert (await site.get("/miners?as_of=2026-11-01", **{"If-None-Match": past})).code == 304


async def test_an_etag_changes_when_an_address_takes_effect(site: RegisterSite) -> None:
    wallet = {
        "reason": "letter",
        "account": "miner1",
        "purpose": "wallet",
        "address": made_up_address("other"),
    }
    assert (await site.post("/addresses", wallet)).code == 201
    site.clock.now_us += 2 * DAY_US + DAY_US // 4
    before = await site.get("/addresses?account=miner1")
    assert [one["state"] for one in before.json["items"]] == ["in_effect", "waiting"]
    site.clock.now_us = before.json["items"][1]["effective_us"]
    after = await site.get("/addresses?account=miner1", **{"If-None-Match": before.headers["ETag"]})
    assert [one["state"] for one in after.json["items"]] == ["replaced", "in_effect"]


# The log


async def test_the_log_is_read_page_by_page_and_verifies(site: RegisterSite) -> None:
    """The chain, by the program's own check and by the words of the documentation."""
    await site.post("/miners", new_miner(contacts=[{"name": "Әлия Қ.", "email": "a@example.kz"}]))
    events: list[dict[str, object]] = []
    after: int | None = 0
    while after is not None:
        told = (await site.get(f"/events?after={after}&limit=7")).json
        events.extend(told["events"])
        after = told["next_after"]
    head = (await site.get("/head")).json
    assert (len(events), events[-1]["sha256"]) == (head["seq"], head["sha256"])
    kept = [
        Event(**one | {"body": rfc8785.dumps(one["body"]).decode()})  # type: ignore[arg-type]
        for one in events
    ]
    assert verify(kept)[:2] == (head["seq"], head["sha256"])
    previous = FIRST
    for one in events:
        content = {name: value for name, value in one.items() if name != "sha256"}
        assert one["previous"] == previous
        assert hashlib.sha256(rfc8785.dumps(content)).hexdigest() == one["sha256"]  # type: ignore[arg-type]
        previous = str(one["sha256"])


async def test_the_digest_is_that_of_the_register(site: RegisterSite) -> None:
    told = (await site.get("/digest")).json
    assert told["day"] == "2026-11-24"
    assert told["sha256"] == (await site.get("/head")).json["sha256"]
    assert "not_accredited" in {note["kind"] for note in told["notes"]}


async def test_what_another_process_wrote_is_there_with_the_next_request(
    site: RegisterSite, tmp_path: Path
) -> None:
    async with serving_register(site.engine, tmp_path) as other:
        await other.post("/miners", new_miner())
        await other.post("/centres", new_centre())
        await other.post("/licences", new_licence())
        assert (await site.get("/licences/KZ-NEW-1")).json["record"]["account"] == "newcomer"
        assert (await site.get("/licences")).body == (await other.get("/licences")).body


async def test_without_postgresql_the_answer_is_plain_words(tmp_path: Path) -> None:
    away = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    async with serving_register(away, tmp_path) as site:
        for told in (await site.get("/miners"), await site.post("/miners", new_miner())):
            assert (told.code, told.headers["Retry-After"]) == (503, "5")
            assert told.detail == "The database does not answer."
        page = await site.page(password=TOKENS["aliya"])
        assert (page.code, page.headers["Retry-After"]) == (503, "5")
        assert b"The database does not answer." in page.body
    await away.dispose()


async def test_the_openapi_describes_records_bodies_and_answers(site: RegisterSite) -> None:
    document = (await site.get("/../openapi.json", None)).json
    for listing in LISTINGS.values():
        told = document["paths"][f"{BASE}/{listing.path}"]["get"]["responses"]["200"]
        properties = told["content"]["application/json"]["schema"]["properties"]
        assert properties["items"]["items"]["properties"].keys() == set(listing.shown.__struct_fields__)
    body = document["paths"][f"{BASE}/licences/{{key}}/acts"]["post"]["requestBody"]["content"]
    assert "reason_code" in body["application/json"]["schema"]["properties"]
    assert '"$ref": "Licence' not in msgspec.json.encode(document).decode()
