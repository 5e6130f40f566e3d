"""The regulator's door over real PostgreSQL and a real socket: who is let in, and what is kept of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import door_record, reading
from pool.door_chain import verify_chain
from pool.door_clerk import DoorClerk
from pool.door_regulators import Authority, Regulator, RegulatorError, Scope
from pool.log_keeper import LogKeeper
from pool.log_task import LogTask
from pool.tables_log import log_leaf
from register.event import ChainError
from register.person import Actor, PersonError, Role
from tests.conftest import Furnish
from tests.integration.door_world import DAY_US, RECEIPTS, Entrance, entrance, furnished
from tests.integration.ledger_world import DAY, RULES, World
from tests.integration.web_world import settings_of
from tests.reporting.form_world import FORM_1

REPORT = f"/api/v1/reports/{DAY}/1"
FORM = f"/api/v1/forms/2026-11/{FORM_1}/1"
BEHIND = {
    Scope.REPORTS: [
        "/api/v1/reports",
        REPORT,
        f"{REPORT}/signatures",
        f"{REPORT}/proof",
        f"/api/v1/reports/{DAY}",
    ],
    Scope.FORMS: [
        *("/api/v1/forms", FORM, f"{FORM}/file/xlsx", f"{FORM}/annex/csv", f"{FORM}/proof"),
        *(f"/api/v1/forms/2026-11/{FORM_1}", "/api/v1/submissions"),
    ],
    Scope.ARCHIVE: ["/api/v1/archive", "/api/v1/archive/2026/11/24/06.parquet"],
    Scope.REGISTER: ["/api/v1/register/head", "/api/v1/register/events", "/api/v1/register/miners"],
}
"""What each scope opens."""


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("door", furnished)
    return "door"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("door", furnished))
    return made


@pytest_asyncio.fixture
async def pool(world: World, tmp_path: Path) -> AsyncIterator[Entrance]:
    """A pool with a shut door, an archive and a log, and one regulator of each body."""
    async with entrance(world, tmp_path) as made:
        await made.archive()
        await made.log()
        await made.enter("ministry")
        await made.enter("tax", Authority.TAX_AUTHORITY)
        yield made


# Who is let in


@pytest.mark.parametrize("path", [path for scope, paths in BEHIND.items() for path in paths])
async def test_a_stranger_gets_nothing(pool: Entrance, path: str) -> None:
    code, headers, body = await pool.get(path)
    assert code == (403 if "/register/" in path else 401), "nobody is in the register of this pool yet"
    assert set(json.loads(body)) == {"detail"}
    if code == 401:
        assert headers["WWW-Authenticate"] == 'Bearer realm="dmpool door"'
    code, _, body = await pool.get(path, "dmpool-reg-" + "x" * 43)
    assert (code, json.loads(body)["detail"]) == (401, "the token is nobody's: ask the pool for another one")


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_token_opens_its_own_scope_and_no_other(pool: Entrance, scope: Scope) -> None:
    _, token = await pool.give("ministry", scope)
    for other, paths in BEHIND.items():
        for path in paths:
            code, _, body = await pool.get(path, token)
            assert code == (200 if other is scope else 403), (path, body)
            if other is not scope:
                assert f"does not open {other}; it opens {scope}" in json.loads(body)["detail"]


async def test_what_proves_the_pool_is_open_to_everybody(pool: Entrance) -> None:
    for path in (
        "/api/v1/keys",
        "/api/v1/public-key",
        "/log/checkpoint",
        "/log/tile/0/000.p/1",
        "/openapi.json",
    ):
        assert (await pool.get(path))[0] in (200, 404), path
    assert [one for one in await pool.chain() if one.kind in ("access", "refusal")] == []


async def test_a_token_is_good_from_its_first_instant_to_its_last(pool: Entrance, world: World) -> None:
    start = world.now_us + DAY_US
    _, token = await pool.give("ministry", Scope.REPORTS, begin_us=start, days=2)
    for now_us, code, said in (
        (start - 1, 401, "ministry: this token is not good yet; ask the pool"),
        (start, 200, ""),
        (start + 2 * DAY_US - 1, 200, ""),
        (start + 2 * DAY_US, 401, "ministry: this token has expired; ask the pool"),
    ):
        world.now_us = now_us
        answered, _, body = await pool.get(REPORT, token)
        assert answered == code
        assert not said or json.loads(body)["detail"] == said


async def test_a_revoked_token_is_dead_at_once_and_others_live_on(pool: Entrance) -> None:
    (first, token), (_, other) = await pool.give("ministry"), await pool.give("ministry")
    assert (await pool.get(REPORT, token))[0] == 200
    await pool.clerk(lambda clerk: clerk.revoke(first.id))
    code, _, body = await pool.get(REPORT, token)
    assert (code, json.loads(body)["detail"]) == (401, "ministry: this token was revoked; ask the pool")
    assert (await pool.get(REPORT, other))[0] == 200
    with pytest.raises(RegulatorError, match="was revoked already, which is for good"):
        await pool.clerk(lambda clerk: clerk.revoke(first.id))


async def test_a_closed_regulator_has_no_good_token_and_gets_none(pool: Entrance) -> None:
    _, token = await pool.give("ministry")
    _, other = await pool.give("tax")

    def closed(before: Regulator) -> Regulator:
        return Regulator(before.name, before.title, before.authority, closed=True)

    assert await pool.clerk(lambda clerk: clerk.change("ministry", closed))
    assert not await pool.clerk(lambda clerk: clerk.change("ministry", closed)), "nothing differs"
    assert (await pool.get(REPORT, token))[0] == 401
    assert (await pool.get(REPORT, other))[0] == 200
    with pytest.raises(RegulatorError, match="ministry: is closed"):
        await pool.give("ministry")


async def test_only_from_its_networks_as_a_known_proxy_tells_them(world: World, tmp_path: Path) -> None:
    async with entrance(world, tmp_path, proxies=["127.0.0.0/8", "10.9.0.0/16"]) as pool:
        await pool.enter("ministry", networks=("192.0.2.0/24", "2001:db8::/32"))
        _, token = await pool.give("ministry")
        for forwarded, code in (
            ("192.0.2.77", 200),
            ("::ffff:192.0.2.77", 200),
            ("2001:db8::7", 200),
            ("198.51.100.1, 192.0.2.1, 10.9.1.1", 200),
            ("192.0.2.1, 198.51.100.1", 403),
            ("nonsense", 403),
        ):
            answered, _, body = await pool.get(REPORT, token, X_Forwarded_For=forwarded)
            assert answered == code, (forwarded, body)
        assert (await pool.get(REPORT, token))[0] == 403, "the proxy itself is in none of its networks"
    async with entrance(world, tmp_path) as pool:
        code, _, body = await pool.get(REPORT, token, X_Forwarded_For="192.0.2.77")
        assert code == 403, "nobody may say where he comes from"
        assert "127.0.0.1 is not among the addresses" in json.loads(body)["detail"]


async def test_a_certificate_is_needed_where_one_is_known(pool: Entrance) -> None:
    await pool.enter("careful", certificate_sha256="ab" * 32)
    _, token = await pool.give("careful")
    code, _, body = await pool.get(REPORT, token)
    assert (code, "client certificate is needed" in body.decode()) == (403, True)


async def test_guessing_is_stopped_and_a_right_token_still_heard(pool: Entrance) -> None:
    """I10."""
    _, token = await pool.give("ministry")
    assert (await pool.get(REPORT, token))[0] == 200
    codes = [(await pool.get(REPORT, f"guess-{number}"))[0] for number in range(15)]
    assert codes == [401] * 10 + [429] * 5
    code, headers, _ = await pool.get(REPORT, "guess")
    assert code == 429
    assert 1 <= int(headers["Retry-After"]) <= 6
    assert (await pool.get(REPORT, token))[0] == 200


async def test_a_regulator_that_asks_too_much_waits_and_no_other_does(world: World, tmp_path: Path) -> None:
    async with entrance(world, tmp_path, requests_per_minute=4) as pool:
        await pool.enter("ministry")
        await pool.enter("tax", Authority.TAX_AUTHORITY)
        (_, first), (_, second) = await pool.give("ministry"), await pool.give("ministry")
        codes = [(await pool.get(REPORT, token))[0] for token in (first, second, first, second, first)]
        assert codes == [200] * 4 + [429], "two tokens do not make two regulators"
        assert int((await pool.get(REPORT, first))[1]["Retry-After"]) in range(1, 16)
        assert (await pool.get(REPORT, (await pool.give("tax"))[1]))[0] == 200


async def test_open_reports_need_no_token_but_a_wrong_one_is_refused(world: World, tmp_path: Path) -> None:
    async with entrance(world, tmp_path, open_reports=True, public_requests_per_minute=12) as pool:
        for path in (*BEHIND[Scope.REPORTS][:3], *BEHIND[Scope.FORMS][:4]):
            assert (await pool.get(path))[0] == 200, path
        assert (await pool.get(REPORT, "wrong"))[0] == 401
        for path in ("/api/v1/archive", "/api/v1/door", "/api/v1/access"):
            assert (await pool.get(path))[0] == 401, path
        assert (await pool.told("/api/v1/submissions")) == {"submissions": []}
        assert {(await pool.get(REPORT))[0] for _ in range(6)} == {200, 429}
        assert {one.kind for one in await pool.chain()} == {"refusal"}, "who has no name is not recorded"


# To whom what belongs


@pytest.mark.parametrize(
    ("authority", "sees"),
    [
        (Authority.AUTHORISED_BODY, ["authorised_body"] * 2),
        (Authority.TAX_AUTHORITY, ["tax_authority"] * 2),
        (Authority.OTHER, []),
    ],
)
async def test_a_submission_and_its_receipt_belong_to_their_addressee(
    pool: Entrance, authority: Authority, sees: list[str]
) -> None:
    """O-40."""
    await pool.enter("one", authority)
    _, token = await pool.give("one", Scope.FORMS)
    shown = (await pool.told("/api/v1/submissions", token))["submissions"]
    assert [one["addressee"] for one in shown] == sees
    assert [(one["form"], one["period"]) for one in shown] == [(FORM_1, "2026-11"), ("", str(DAY))][
        : len(sees)
    ]
    opened = {}
    for number in range(1, 5):
        for receipt in (1, 2, 3):
            code, _, body = await pool.get(f"/api/v1/submissions/{number}/receipts/{receipt}", token)
            assert code in (200, 404)
            if code == 200:
                opened[number, receipt] = body
    assert list(opened.values()) == [RECEIPTS[authority] for _ in sees[:1]]
    if shown:
        texts = [(one["text"], one["path"]) for one in shown[1]["receipts"]]
        [(number, receipt)] = opened
        assert texts == [("taken in", ""), ("", f"/api/v1/submissions/{number}/receipts/{receipt}")]


async def test_a_regulator_sees_its_own_comings_and_nobody_elses(pool: Entrance) -> None:
    (mine, token), (_, other) = await pool.give("ministry"), await pool.give("tax")
    await pool.get(REPORT, token)
    await pool.get(FORM, other)
    told = await pool.told("/api/v1/access", token)
    assert [(one["path"], one["status"], one["token"]) for one in told["events"]] == [(REPORT, 200, mine.id)]
    head = (await pool.chain())[-2]
    assert told["head"] == {"seq": head.seq, "sha256": head.sha256}, "as it was before this question"
    who = await pool.told("/api/v1/door", other)
    assert (who["name"], who["authority"], who["scopes"]) == ("tax", "tax_authority", sorted(Scope))


async def test_a_regulator_reads_the_register_and_never_writes_it(pool: Entrance) -> None:
    _, token = await pool.give("ministry", Scope.REGISTER)
    head = await pool.told("/api/v1/register/head", token)
    async with pool.site.http.post(
        f"{pool.site.url}/api/v1/register/miners",
        json={"record": {}, "reason": "mine"},
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        assert answer.status == 403
        assert "the role auditor reads and does not write" in (await answer.json())["detail"]
    assert await pool.told("/api/v1/register/head", token) == head
    assert [one.action for one in await pool.chain("ministry")] == ["GET", "POST", "GET"]


# What is kept of it


async def test_every_coming_is_an_event_with_what_was_given(pool: Entrance) -> None:
    made, token = await pool.give("ministry", Scope.REPORTS)
    code, headers, body = await pool.get(REPORT, token)
    assert code == 200
    digest = json.loads(body)["report_sha256"]
    assert headers["ETag"] == f'"{digest}"'
    assert (await pool.get(REPORT, token, If_None_Match=headers["ETag"]))[0] == 304
    assert (await pool.get(REPORT, token, Range="bytes=0-9"))[0] == 206
    assert (await pool.get("/api/v1/reports/2020-01-01?token=secret", token))[0] == 404
    assert (await pool.get(FORM, token))[0] == 403
    events = await pool.chain("ministry")
    assert [(one.kind, one.action, one.role, one.reason) for one in events] == [
        *[("access", "GET", "regulator", "")] * 4,
        ("refusal", "GET", "regulator", "scope"),
    ]
    report = {"given": f"daily report of {DAY}, version 1", "sha256": digest}
    same = {"path": REPORT, "address": "127.0.0.1", "token": made.id}
    assert [json.loads(one.body) for one in events] == [
        {**same, "status": 200, **report},
        {**same, "status": 304, **report},
        {**same, "status": 206, **report, "part": f"bytes 0-9/{len(body)}"},
        {**same, "status": 404, "path": "/api/v1/reports/2020-01-01"},
        {**same, "status": 403, "path": FORM},
    ]
    assert token not in "".join(one.body for one in await pool.chain())


async def test_a_stranger_cannot_fill_the_disk(pool: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    """I10: some refusals are told one by one, the rest is counted."""
    told = door_record.REFUSALS_TOLD
    for _ in range(told + 12):
        assert (await pool.get(REPORT))[0] == 401
    strangers = [one for one in await pool.chain() if one.role == "stranger"]
    assert len(strangers) == told
    _, token = await pool.give("ministry", Scope.REPORTS)
    await pool.get(REPORT, token)
    await pool.get(REPORT, token)
    counted = [json.loads(one.body).get("unrecorded", 0) for one in await pool.chain("ministry")]
    assert counted == [12, 0]


async def test_a_path_is_kept_short_and_plain(pool: Entrance) -> None:
    for path in ("/api/v1/reports/" + "%D2%9B" * 200, "/api/v1/reports/%00%22%0a<x>"):
        assert (await pool.get(path))[0] == 401
    kept = [json.loads(one.body)["path"] for one in await pool.chain() if one.kind == "refusal"]
    assert len(kept[0]) == door_record.PATH_LIMIT
    assert kept[1].isascii()
    assert kept[1].isprintable()
    await verify_chain(pool.engine)


async def test_the_chain_holds_and_a_change_of_the_past_is_found(pool: Entrance) -> None:
    _, token = await pool.give("ministry")
    for _ in range(3):
        await pool.get(REPORT, token)
    events = await pool.chain()
    head = await verify_chain(pool.engine)
    assert (head.seq, head.sha256) == (len(events), events[-1].sha256)
    assert [one.seq for one in events] == list(range(1, len(events) + 1))
    async with pool.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE regulator_access_event DISABLE TRIGGER USER"))
        await connection.execute(
            sa.text("UPDATE regulator_access_event SET body = replace(body, '127.0.0.1', '192.0.2.1')")
        )
    with pytest.raises(ChainError, match=r"access event 4: its content does not have the hash"):
        await verify_chain(pool.engine)


async def test_the_log_tells_the_chain_once_a_day_when_somebody_came(pool: Entrance, world: World) -> None:
    """Who keeps a checkpoint of the log can tell that nothing older was taken out of the chain."""
    task = LogTask(
        *(LogKeeper(pool.engine, settings_of(pool.directory), lambda: world.now_us), pool.engine, RULES),
        active=lambda: True,
        now_us=lambda: world.now_us,
    )
    _, token = await pool.give("ministry")
    await pool.get(REPORT, token)
    events = await pool.chain()
    for _ in range(3):
        world.now_us += DAY_US
        await task.step()
    async with pool.engine.connect() as connection:
        data = await connection.scalars(sa.select(log_leaf.c.data).where(log_leaf.c.kind == "access"))
        told = [json.loads(one) for one in data]
    assert [(one["day"], one["events"], one["head_sha256"]) for one in told] == [
        (str(DAY + dt.timedelta(days=1)), len(events), events[-1].sha256)
    ]


async def test_a_long_chain_is_not_read_for_each_request(pool: Entrance, world: World) -> None:
    """What each request asks of the chain goes by an index, however many have come."""
    asked: list[str] = []
    _, token = await pool.give("ministry")
    sa.event.listen(
        pool.engine.sync_engine, "before_cursor_execute", lambda *given: asked.append(str(given[2]))
    )
    await pool.get(REPORT, token)
    queries = [one for one in asked if "FROM regulator_access_event" in one and "WHERE sha256" not in one]
    assert len(queries) >= 2
    async with pool.engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        for query in queries:
            plan = "\n".join(await connection.scalars(sa.text(f"EXPLAIN {query}")))
            assert "Index" in plan
            assert "Filter" not in plan, plan


async def test_crowds_at_the_door_do_not_fork_the_chain(pool: Entrance) -> None:
    tokens = [(await pool.give(name))[1] for name in ("ministry", "tax")]
    answers = await asyncio.gather(*(pool.get(REPORT, tokens[number % 2]) for number in range(40)))
    assert {code for code, _, _ in answers} == {200}
    assert (await verify_chain(pool.engine)).seq == 4 + 40


async def test_what_cannot_be_recorded_is_not_given(
    pool: Entrance, monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    _, token = await pool.give("ministry")
    monkeypatch.setattr(door_record, "RECORD_SECONDS", 0.2)
    async with pool.engine.begin() as held:
        await held.execute(sa.text("LOCK TABLE regulator_access_event IN EXCLUSIVE MODE"))
        code, headers, body = await pool.get(REPORT, token)
    assert (code, json.loads(body)) == (503, {"detail": reading.AWAY})
    assert headers["Retry-After"] == "5"
    assert [one for one in told if one["log_level"] == "error"] == [], "and nothing comes behind it"
    assert (await pool.get(REPORT, token))[0] == 200
    assert len(await pool.chain("ministry")) == 1


# Who decides


async def test_only_a_compliance_officer_decides(pool: Entrance) -> None:
    regulator = Regulator("new", "New", Authority.OTHER)
    for role in (Role.AUDITOR, Role.OPERATOR, Role.SYSTEM):
        async with pool.engine.begin() as connection:
            clerk = DoorClerk(connection, Actor("somebody", role), "for a test", pool.world.now_us)
            with pytest.raises(PersonError, match="ask a compliance officer"):
                await clerk.add(regulator)
    with pytest.raises(RegulatorError, match="is there already"):
        await pool.enter("tax")
