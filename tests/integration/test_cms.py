"""A state signature beside a report: asked for from a service like NCANode, and stored as it came."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import rfc8785
import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool.clock import instant
from pool.cms_signer import CmsError, Service, Stored, beside, sign_beside
from pool.report_api import NOT_VERIFIED
from pool.signing_section import CmsSection
from pool.tables import report
from tests.integration.free_port import free_port
from tests.integration.ledger_world import DAY, NOON, World
from tests.integration.office import Office
from tests.integration.web_world import serving
from tests.reporting.cms import DETACHED, stating

PASSWORD = "Qwerty12-secret"
P12 = b"not really a PKCS#12"
REPORT = {"generated_at": "2026-11-24T12:00:00+05:00", "pool": {"name": "Қазақстан"}}
CANONICAL = rfc8785.dumps(REPORT)
SHA256 = hashlib.sha256(CANONICAL).hexdigest()
Answer = Callable[[Any], web.Response]


def signed(asked: Any) -> web.Response:
    """What NCANode answers."""
    cms = stating(base64.b64decode(asked["data"]))
    return web.json_response({"status": 200, "message": "OK", "cms": base64.encodebytes(cms).decode()})


class NcaNode:
    """Stands for the service; `answer` may be changed, `asked` is what it was sent."""

    def __init__(self, port: int, directory: Path) -> None:
        self.asked: list[Any] = []
        self.answer: Answer = signed
        key, password = directory / "state.p12", directory / "password"
        for path, content in ((key, P12), (password, PASSWORD.encode() + b"\n")):
            path.write_bytes(content)
            path.chmod(0o600)
        self.section = CmsSection(
            url=f"http://127.0.0.1:{port}/cms/sign", key_file=key, password_file=password
        )

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        return self.answer(self.asked[-1])


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[NcaNode]:
    port = free_port()
    made = NcaNode(port, tmp_path)
    application = web.Application(client_max_size=2**24)
    application.router.add_post("/cms/sign", made.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield made
    await runner.cleanup()


async def publish(engine: AsyncEngine) -> bytes:
    """A published report, as far as its place in the database goes."""
    envelope = rfc8785.dumps({"report": REPORT, "report_sha256": SHA256, "signatures": [{"type": "bip340"}]})
    async with engine.begin() as connection:
        await connection.execute(
            sa.insert(report).values(
                sequence=1, day=DAY, version=1, sha256=SHA256, envelope=envelope, built_at=instant(NOON)
            )
        )
    return envelope


async def ask(engine: AsyncEngine, service: NcaNode, sha256: str = SHA256) -> Stored:
    async with engine.begin() as connection:
        return await sign_beside(connection, sha256, Service(service.section), NOON, "aset")


async def kept(engine: AsyncEngine) -> list[Stored]:
    async with engine.connect() as connection:
        return await beside(connection, SHA256)


async def test_i7_it_stands_beside_the_report_and_never_in_it(engine: AsyncEngine, service: NcaNode) -> None:
    """The bytes that are signed are the canonical report's, and those of the published file do not change."""
    envelope = await publish(engine)
    stored = await ask(engine, service)
    assert service.asked == [
        {
            "data": base64.b64encode(CANONICAL).decode(),
            "signers": [{"key": base64.b64encode(P12).decode(), "password": PASSWORD, "keyAlias": None}],
            "withTsp": True,
            "detached": True,
        }
    ]
    assert stored == ("cms", stating(CANONICAL), NOON, "aset", stored.words)
    assert "1 signer: it states the report's SHA-256" in stored.words
    again = await ask(engine, service)
    assert await kept(engine) == [stored, again]
    async with engine.connect() as connection:
        assert bytes(await connection.scalar(sa.select(report.c.envelope)) or b"") == envelope
    start = envelope.index(b'{"report":') + len(b'{"report":')
    assert envelope[start : start + len(CANONICAL)] == CANONICAL, "how docs/keys.md cuts the signed bytes out"


def answered(**what: Any) -> Answer:
    return lambda _: web.Response(**what)


def cms(value: Any) -> Answer:
    return lambda _: web.json_response({"status": 200, "cms": value})


WRONG: list[tuple[Answer, str]] = [
    (answered(status=500, text=f'{{"message": "bad password {PASSWORD}"}}'), "HTTP status 500"),
    (answered(status=401), "HTTP status 401"),
    (answered(status=302, headers={"Location": "http://127.0.0.1:1/"}), "HTTP status 302"),
    (answered(text="<html>"), "answered what is no JSON"),
    (answered(body=b"\xff\xfe"), "answered what is no JSON"),
    (answered(text="[" * 100_000), "answered what is no JSON"),
    (answered(text="[]"), "JSON without a text `cms`"),
    (answered(text='{"status": 200, "message": "OK"}'), "JSON without a text `cms`"),
    (answered(body=b" " * (3 * 1024 * 1024)), "answered more than 2097152 bytes"),
    (cms(7), "JSON without a text `cms`"),
    (cms("not base64!"), "that is no base64"),
    (cms("Қ"), "that is no base64"),
    (cms(""), "is not stored: it ends too early"),
    (cms(base64.b64encode(b"hello").decode()), "is not stored: "),
    (cms(base64.b64encode(DETACHED[:-9]).decode()), "is not stored: it ends too early"),
    (cms(base64.b64encode(DETACHED).decode()), "is not stored: by its own words it signs other bytes"),
]


async def test_a_wrong_answer_is_told_and_nothing_is_stored(
    engine: AsyncEngine, service: NcaNode, told: list[EventDict]
) -> None:
    await publish(engine)
    for service.answer, said in WRONG:
        with pytest.raises(CmsError, match=said) as caught:
            await ask(engine, service)
        for said_of_it in (str(caught.value), str(told)):
            assert PASSWORD not in said_of_it
            assert base64.b64encode(P12).decode() not in said_of_it
    assert await kept(engine) == []
    assert len(service.asked) == len(WRONG)


async def test_a_service_that_is_away_or_silent(engine: AsyncEngine, service: NcaNode) -> None:
    await publish(engine)
    away = service.section.model_copy(update={"url": f"http://127.0.0.1:{free_port()}/cms/sign"})
    with pytest.raises(CmsError, match=r"cannot be reached \(ClientConnectorError\)"):
        await Service(away).sign(CANONICAL)

    port = free_port()
    server = await asyncio.start_server(lambda *_: asyncio.sleep(3600), "127.0.0.1", port)
    async with server:
        deaf = service.section.model_copy(update={"url": f"http://127.0.0.1:{port}/cms/sign"})
        with pytest.raises(CmsError, match=r"did not answer within 0\.2 s"):
            await Service(deaf, seconds=0.2).sign(CANONICAL)
    with pytest.raises(CmsError, match="there is no report with SHA-256 00"):
        await ask(engine, service, "00")


async def test_keys_and_passwords_that_cannot_be_used(
    service: NcaNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(**what: Any) -> Service:
        return Service(service.section.model_copy(update=what))

    (tmp_path / "empty").touch(mode=0o600)
    for made, said in (
        (changed(key_file=tmp_path / "nothing"), "nothing: No such file"),
        (changed(password_file=tmp_path / "empty"), "empty: holds no password"),
        (changed(password_file=None, password_environment="STATE_KEY"), "STATE_KEY: holds no password"),
    ):
        with pytest.raises(CmsError, match=said):
            await made.sign(CANONICAL)
    service.section.key_file.chmod(0o640)
    with pytest.raises(CmsError, match="has mode 0640: others may read it; run chmod 600"):
        await changed().sign(CANONICAL)
    service.section.key_file.chmod(0o600)
    assert service.asked == []
    monkeypatch.setenv("STATE_KEY", PASSWORD)
    await changed(password_file=None, password_environment="STATE_KEY", time_mark=False).sign(CANONICAL)
    assert (service.asked[0]["signers"][0]["password"], service.asked[0]["withTsp"]) == (PASSWORD, False)


async def test_it_is_handed_out_and_nobody_claims_to_have_verified_it(
    world: World, service: NcaNode, tmp_path: Path
) -> None:
    await publish(world.engine)
    path = f"/api/v1/reports/{DAY}/1/signatures"
    async with serving(world.engine, world, tmp_path) as site:
        assert json.loads((await site.get(path))[2]) == {"signatures": []}
        await ask(world.engine, service)
        (told,) = json.loads((await site.get(path))[2])["signatures"]
    assert base64.b64decode(told.pop("value")) == stating(CANONICAL)
    assert told == {
        "type": "cms",
        "report_sha256": SHA256,
        "received_at": "2026-11-24T12:00:00+05:00",
        "status": NOT_VERIFIED,
    }


async def test_the_commands(engine: AsyncEngine, service: NcaNode, tmp_path: Path, database_url: str) -> None:
    office = Office(tmp_path, database_url)

    async def told(work: Callable[..., str], line: str, **how: Any) -> str:
        return await asyncio.to_thread(work, f"reports {line} --date {DAY}", reason=None, **how)

    assert "signing.cms: is missing" in await told(office.fail, "cms")
    with office.config.open("a") as file:
        section = service.section
        file.write(
            f'\n[signing.cms]\nurl = "{section.url}"\nkey_file = "{section.key_file}"\n'
            f'password_file = "{section.password_file}"\n'
        )
    assert "there is no such report of 2026-11-24" in await told(office.fail, "cms", code=1)
    await publish(engine)
    assert "not verified: detached CMS, 1 signer" in await told(office.do, "cms")
    out = tmp_path / "report.p7s"
    shown = await told(office.do, f"signatures --out {out}")
    assert "not verified" in shown
    assert out.read_bytes() == stating(CANONICAL)
    service.answer = answered(status=500)
    assert f"CMS service {section.url}: answered with HTTP status 500" in await told(
        office.fail, "cms", code=1
    )
