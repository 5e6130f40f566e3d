"""The register over HTTP, changed: each change is one event by the token's owner, or a clear refusal."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_bodies, register_store
from pool.register_bodies import BODY_LIMIT
from pool.register_changes import ROUTES
from tests.conftest import Furnish
from tests.integration.entering import made_up_address
from tests.integration.register_site import (
    BASE,
    DAY_US,
    NEW_BIN,
    TOKENS,
    RegisterSite,
    enter_everybody,
    new_centre,
    new_device,
    new_licence,
    new_miner,
    serving_register,
)

HOSTILE = "<script>alert('x')</script> \"; DROP TABLE register_event; --"
REJECTED = {"reason": "not yet"}


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("licensees", enter_everybody)
    return "licensees"


@pytest_asyncio.fixture
async def site(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[RegisterSite]:
    """Three miners, and people; one pair of eyes is enough."""
    async with serving_register(engine, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def four_eyes(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[RegisterSite]:
    """The same, and payout addresses and licence status need two pairs."""
    async with serving_register(engine, tmp_path, "payout_address", "licence_status") as made:
        yield made


def wallet(account: str = "miner1", name: str = "other", **more: Any) -> dict[str, Any]:
    return {
        "reason": "letter 17",
        "account": account,
        "purpose": "wallet",
        "address": made_up_address(name),
        **more,
    }


SUSPENSION = {
    "reason": "decision 9",
    "kind": "suspended",
    "number": "D-9",
    "on": "2026-11-24",
    "reason_code": 2,
    "until": "2026-12-31",
}
CHANGES: Mapping[tuple[str, str], tuple[str, Any]] = {
    ("POST", "/miners"): ("/miners", new_miner()),
    ("PUT", "/miners/{key}"): (
        "/miners/miner1",
        {
            "reason": "renamed",
            "title": "Alpha",
            "bin": "230440000105",
            "language": "kk",
            "payout_threshold_sat": 50_000,
        },
    ),
    ("POST", "/centres"): ("/centres", new_centre()),
    ("PUT", "/centres/{key:path}"): (
        "/centres/miner1-dc",
        {name: value for name, value in new_centre().items() if name != "code"}
        | {"holder_bin": "230440000105"},
    ),
    ("POST", "/licences"): (
        "/licences",
        new_licence("KZ-7", "miner1", valid_from="2029-01-01", issued_on="2028-12-31", valid_to="2031-12-30"),
    ),
    ("PUT", "/licences/{key:path}"): (
        "/licences/L-miner1",
        {
            "reason": "a slip of the pen",
            "subtype": 1,
            "issued_on": "2026-01-01",
            "valid_from": "2026-01-01",
            "valid_to": "2028-12-30",
        },
    ),
    ("POST", "/licences/{key:path}/acts"): ("/licences/L-miner1/acts", SUSPENSION),
    ("POST", "/devices"): ("/devices", new_device()),
    ("PUT", "/devices/{key:path}"): (
        "/devices/miner1-rig1",
        {name: value for name, value in new_device().items() if name != "registry_number"}
        | {"worker": "rig1", "place": "hall 2"},
    ),
    ("POST", "/devices/{key:path}/exclude"): (
        "/devices/miner1-rig1/exclude",
        {"reason": "sold", "on": "2026-11-25"},
    ),
    ("POST", "/devices/{key:path}/transfer"): (
        "/devices/miner1-rig1/transfer",
        {"reason": "sold", "account": "miner2", "worker": "rig9", "centre": "miner2-dc"},
    ),
    ("POST", "/addresses"): ("/addresses", wallet()),
    ("POST", "/addresses/{key}/withdraw"): ("/addresses/1.1/withdraw", {"reason": "lost"}),
    ("PUT", "/accreditations/{key:path}"): (
        "/accreditations/KZ00/DMP 1",
        {"reason": "certificate", "issued_on": "2026-01-10", "issuer": "the ministry"},
    ),
    ("PUT", "/sites/{key:path}"): (
        "/sites/ekb-1",
        {"reason": "rented", "address": "Ekibastuz", "country": "KZ", "roles": ["stratum", "node"]},
    ),
    ("POST", "/protocols"): (
        "/protocols",
        {"reason": "tested", "number": "P-1", "on": "2026-02-03", "laboratory": "STS", "version": "0.1.0"},
    ),
    ("PUT", "/requirements/{key:path}"): (
        "/requirements/backup",
        {"reason": "read the Rules", "text": "A backup each day", "source": "Rules p. 7"},
    ),
    ("POST", "/proposals/{key}/approve"): ("/proposals/1/approve", {"reason": "seen"}),
    ("POST", "/proposals/{key}/reject"): ("/proposals/1/reject", REJECTED),
}
"""Of each route, a change that can be made."""
OPERATORS = {"miner", "centre", "device", "address", "site"}


def test_every_route_is_tried() -> None:
    assert set(CHANGES) == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_each_route_with_each_role(four_eyes: RegisterSite, engine: AsyncEngine, route: Any) -> None:
    """A change has an actor and a reason; who may not make it leaves no trace."""
    if route.kind == "proposal":
        assert (await four_eyes.post("/addresses", wallet(), "dana")).code == 202
    path, body = CHANGES[route.method, route.path]
    before = (await four_eyes.get("/head")).json["seq"]
    refused = {"audit": 403, "former": 401, None: 401}
    if route.kind not in OPERATORS:
        refused |= {"oleg": 403}
    for who, code in refused.items():
        told = await four_eyes.ask(route.method, path, who, body)
        assert told.code == code, who
        assert told.detail
    assert (await four_eyes.get("/head")).json["seq"] == before
    by = "aliya" if "oleg" in refused else "oleg"
    told = await four_eyes.ask(route.method, path, by, body)
    expected = 202 if route.may_propose and body.get("kind") != "suspended" else 200
    new = route.method == "POST" and "{" not in route.path
    assert told.code == (201 if new and expected == 200 else expected), told.body
    assert told.json["seq"] == (await four_eyes.get("/head")).json["seq"] > before
    [event, *_] = await register_store.events(engine, before)
    assert (event.actor, event.reason) == (by, body["reason"])
    assert event.kind == ("proposal" if expected == 202 else route.kind)


# Two pairs of eyes


async def test_an_address_waits_for_a_second_officer_and_then_for_its_hours(four_eyes: RegisterSite) -> None:
    told = await four_eyes.post("/addresses", wallet(), "oleg")
    assert told.code == 202
    assert told.json["proposal"] == 1
    assert "second compliance officer" in told.json["detail"]
    assert (await four_eyes.get("/addresses?account=miner1")).json["total"] == 1
    [waiting] = (await four_eyes.get("/proposals?state=waiting")).json["items"]
    assert (waiting["actor"], waiting["body"]["address"]) == ("oleg", wallet()["address"])
    assert waiting["base"]["number"] == 1  # from the wallet that it would take the place of
    assert (await four_eyes.post("/proposals/1/approve", {"reason": "seen"}, "oleg")).code == 403
    assert (await four_eyes.post("/proposals/1/approve", {"reason": "called back"}, "dana")).code == 200
    items = (await four_eyes.get("/addresses?account=miner1")).json["items"]
    assert [one["state"] for one in items] == ["in_effect", "waiting"]
    assert items[1]["effective_us"] >= four_eyes.clock.now_us + 2 * DAY_US
    again = await four_eyes.post("/proposals/1/approve", {"reason": "seen"}, "aliya")
    assert (again.code, "is approved" in again.detail) == (409, True)


async def test_nobody_approves_what_they_asked_for(four_eyes: RegisterSite) -> None:
    assert (await four_eyes.post("/addresses", wallet(), "aliya")).code == 202
    told = await four_eyes.post("/proposals/1/approve", {"reason": "seen"}, "aliya")
    assert told.code == 409
    assert "another officer must approve" in told.detail


async def test_a_proposal_is_taken_back_by_who_made_it_and_by_no_other_operator(
    four_eyes: RegisterSite,
) -> None:
    await four_eyes.post("/addresses", wallet(), "dana")
    await four_eyes.post("/addresses", wallet("miner2", "second"), "oleg")
    assert (await four_eyes.post("/proposals/1/reject", REJECTED, "oleg")).code == 403
    assert (await four_eyes.post("/proposals/2/reject", REJECTED, "oleg")).code == 200
    assert (await four_eyes.post("/proposals/1/reject", REJECTED, "aliya")).code == 200
    assert (await four_eyes.post("/proposals/1/reject", REJECTED, "aliya")).code == 409
    for key in ("3", "0", "-1", "x", "٣", "9" * 30):
        assert (await four_eyes.post(f"/proposals/{key}/reject", REJECTED)).code == 404


async def test_what_stops_work_does_not_wait_and_what_lets_it_go_on_does(
    four_eyes: RegisterSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_store, "CLOCK_SECONDS", 100 * 86_400)  # this site's clock is set ahead
    assert (await four_eyes.post("/licences/L-miner1/acts", SUSPENSION)).code == 200
    four_eyes.clock.now_us += 10 * DAY_US
    resumed = {"reason": "act 5", "kind": "resumed", "number": "R-5", "on": "2026-12-04"}
    assert (await four_eyes.post("/licences/L-miner1/acts", resumed)).code == 202
    assert (await four_eyes.get("/licences/L-miner1")).json["record"]["status"] == "suspended"
    assert (await four_eyes.post("/proposals/1/approve", {"reason": "act seen"}, "dana")).code == 200
    assert (await four_eyes.get("/licences/L-miner1")).json["record"]["status"] == "resumed"


# What cannot be


async def test_what_is_there_is_not_entered_again(site: RegisterSite) -> None:
    for path, body in (
        ("/miners", new_miner("miner1")),
        ("/centres", new_centre("miner1-dc")),
        ("/licences", new_licence("L-miner1", "miner1")),
        ("/devices", new_device("miner1-rig1")),
    ):
        told = await site.post(path, body)
        assert told.code == 409, path
        assert "exists" in told.detail or "already" in told.detail
    protocol = CHANGES["POST", "/protocols"][1]
    assert (await site.post("/protocols", protocol)).code == 201
    assert (await site.post("/protocols", protocol)).code == 409


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/miners/nobody", CHANGES["PUT", "/miners/{key}"][1]),
        ("PUT", "/centres/none", CHANGES["PUT", "/centres/{key:path}"][1]),
        ("PUT", "/licences/none", CHANGES["PUT", "/licences/{key:path}"][1]),
        ("POST", "/licences/none/acts", SUSPENSION),
        ("PUT", "/devices/none", CHANGES["PUT", "/devices/{key:path}"][1]),
        ("POST", "/devices/none/exclude", {"reason": "sold", "on": "2026-11-25"}),
        ("POST", "/devices/none/transfer", {"reason": "sold", "account": "miner2"}),
        ("POST", "/addresses/9.9/withdraw", {"reason": "lost"}),
        ("POST", "/proposals/9/approve", {"reason": "seen"}),
        ("POST", "/proposals/9/reject", REJECTED),
    ],
)
async def test_what_is_not_there_is_not_changed(
    site: RegisterSite, method: str, path: str, body: Any
) -> None:
    told = await site.ask(method, path, "aliya", body)
    assert told.code == 404
    assert "none" in told.detail or "no such" in told.detail or "there is" in told.detail


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/miners", new_miner(reason=""), "reason"),
        ("/miners", new_miner(reason="x" * 301), "reason"),
        ("/miners", new_miner(reason=" padded "), "reason"),
        ("/miners", new_miner("a.b"), "no dot"),
        ("/miners", new_miner(bin="990140004653"), "check digit"),
        ("/miners", new_miner(title="two\nlines"), "printable"),
        ("/miners", new_miner(title="nul\0"), "printable"),
        ("/miners", new_miner(language="de"), "Invalid enum value 'de'"),
        ("/miners", new_miner(contacts=[{"name": "x", "email": "nowhere"}]), "must look like"),
        ("/miners", new_miner(colour="red"), "unknown field `colour`"),
        ("/miners", new_miner(id=7), "unknown field `id`"),
        ("/miners", {"reason": "r", "name": "x"}, "missing required field `title`"),
        ("/miners", [], "Expected `object`, got `array`"),
        ("/miners", b"{", "body:"),
        ("/miners", b"", "body:"),
        ("/miners", b"\xff\xfe", "body:"),
        ("/miners", b'{"reason": "\\ud800"}', "body:"),
        ("/miners", b"[" * 5000, "body:"),
        ("/licences", new_licence(account="nobody"), "there is no such miner"),
        ("/licences", new_licence(account="miner1", subtype=3), "Invalid enum value 3"),
        ("/licences", new_licence(account="miner1", valid_to="2029-11-02"), "3 years"),
        ("/licences", new_licence(account="miner1", valid_to="someday"), "RFC3339"),
        ("/licences", new_licence(account="miner1"), "overlaps"),
        ("/licences/L-miner1/acts", SUSPENSION | {"until": None}, "term"),
        ("/licences/L-miner1/acts", SUSPENSION | {"reason_code": 7}, "1 to 6"),
        ("/licences/L-miner1/acts", SUSPENSION | {"until": "2027-11-24"}, "1 to 6 months"),
        ("/licences/L-miner1/acts", SUSPENSION | {"kind": "resumed"}, "belong to a suspension"),
        ("/licences/L-miner1/acts", SUSPENSION | {"kind": "annulled"}, "Invalid enum value"),
        ("/devices", new_device(centre="nowhere"), "is unknown"),
        ("/devices", new_device(worker="rig1"), "another worker name"),
        ("/devices", new_device(nominal_ghs=1.5), "Expected `int`, got `float`"),
        ("/devices", new_device(nominal_ghs="95000"), "Expected `int`, got `str`"),
        ("/devices", new_device(nominal_ghs=10**30), "must be 1 to"),
        ("/devices", new_device(nominal_w=-1), "must be 1 to"),
        ("/devices", new_device(owner_bin="1"), "12 digits"),
        ("/devices", new_device(included_on="2026-02-30"), "body:"),
        ("/addresses", wallet(address="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "regtest"),
        ("/addresses", wallet(name="miner2"), "another miner has it"),
        ("/addresses", wallet(purpose="savings"), "Invalid enum value"),
    ],
)
async def test_what_cannot_be_is_told_and_leaves_no_trace(
    site: RegisterSite, path: str, body: Any, said: str
) -> None:
    """I10: O-02, O-04, O-07, O-08 and shapes."""
    before = (await site.get("/head")).json
    told = await site.post(path, body)
    assert told.code == 422, told.body
    assert said in told.detail
    assert (await site.get("/head")).json == before


async def test_days_at_the_ends_of_time_are_no_errors_of_the_server(site: RegisterSite) -> None:
    for day in ("0001-01-01", "1970-01-01", "9999-12-31"):
        for path, body in (
            ("/licences", new_licence("X", "miner1", issued_on=day, valid_from=day, valid_to=day)),
            ("/licences/L-miner1/acts", SUSPENSION | {"on": day, "until": day}),
            ("/devices", new_device(f"U-{day}", included_on=day)),
            ("/devices/miner1-rig1/exclude", {"reason": "sold", "on": day}),
        ):
            assert (await site.post(path, body)).code in (200, 201, 422), (path, day)
        site_body = {"reason": "x", "issued_on": day, "valid_to": day}
        assert (await site.put("/accreditations/A", site_body)).code in (200, 422)
        assert (await site.get("/digest")).code == 200
        assert (await site.page(password=TOKENS["aliya"])).code == 200
        for what in ("licences", "devices", "accreditations"):
            assert (await site.get(f"/{what}")).code == 200


async def test_hostile_text_is_kept_as_text(site: RegisterSite, engine: AsyncEngine) -> None:
    """I10: what strangers write is data, for PostgreSQL, for JSON and for the page."""
    assert (await site.post("/miners", new_miner(title=HOSTILE, reason=HOSTILE))).code == 201
    [one] = (await site.get("/miners?search=drop table")).json["items"]
    assert one["title"] == HOSTILE
    page = (await site.page(password=TOKENS["aliya"])).body.decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    head = await register_store.verify_chain(engine)
    assert head.seq == (await site.get("/head")).json["seq"]


# Bodies, and other sites


async def test_a_body_is_json_by_name_and_within_its_limit(site: RegisterSite) -> None:
    body = b'{"reason": "x", "name": "form"}'
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""):
        told = await site.ask("POST", "/miners", "aliya", body, **{"Content-Type": kind})
        assert told.code == 415, kind
    large = new_miner(title="x" * BODY_LIMIT)
    told = await site.post("/miners", large)
    assert told.code == 413
    assert str(BODY_LIMIT) in told.detail
    assert (await site.get("/miners?search=form")).json["total"] == 0


async def test_a_body_without_a_length_is_read_no_further_than_its_limit(site: RegisterSite) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 8192

    headers = {"Authorization": f"Bearer {TOKENS['aliya']}", "Content-Type": "application/json"}
    url = f"{site.url}{BASE}/miners"
    try:
        async with site.http.post(url, data=endless(), headers=headers) as answer:
            assert answer.status == 413
    except aiohttp.ClientError:
        pass  # the server hung up while we were still sending
    assert (await site.get("/head")).code == 200


async def test_a_stranger_is_refused_before_a_body_is_read(site: RegisterSite) -> None:
    port = int(site.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {BASE}/miners HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: 1000000000\r\n\r\n".encode()
    )
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_body_that_does_not_come_is_given_up(
    site: RegisterSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_bodies, "BODY_SECONDS", 0.2)
    port = int(site.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {BASE}/miners HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS['aliya']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode()
    )
    assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_a_password_of_the_browser_changes_nothing(site: RegisterSite) -> None:
    """Another site can make a browser send it along: it opens the page and nothing else."""
    page = await site.page(password=TOKENS["aliya"])
    assert page.code == 200
    assert "Set-Cookie" not in page.headers
    told = await site.page(password=TOKENS["aliya"], path=f"{BASE}/miners")
    assert told.code == 401
    given = base64.b64encode(f"x:{TOKENS['aliya']}".encode()).decode()
    told = await site.ask("POST", "/miners", None, new_miner(), Authorization=f"Basic {given}")
    assert told.code == 401
    assert (await site.ask("POST", "/../compliance", "aliya", {})).code == 405


# Many at once


async def test_writers_at_once_all_have_their_say(site: RegisterSite, engine: AsyncEngine) -> None:
    answers = await asyncio.gather(
        *(site.post("/devices", new_device(f"KZ-{number}"), "oleg") for number in range(12)),
        *(site.get("/devices?search=KZ-") for _ in range(12)),
    )
    assert [told.code for told in answers] == [201] * 12 + [200] * 12
    assert (await site.get("/devices?search=KZ-")).json["total"] == 12
    await register_store.verify_chain(engine)


async def test_a_name_is_given_to_one_of_two_who_want_it(site: RegisterSite) -> None:
    answers = await asyncio.gather(*(site.post("/miners", new_miner(bin=NEW_BIN)) for _ in range(2)))
    assert sorted(told.code for told in answers) == [201, 409]
