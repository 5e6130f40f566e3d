"""Tables over HTTP: in one transaction or not at all, bad rows told, and out again as they came."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
import xlsxwriter
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_bulk, register_store, table_import
from pool.database import REGISTER_LOCK
from pool.register_bulk import FORMATS
from pool.spreadsheet import read
from register.tables import TABLES
from tests.conftest import Furnish
from tests.integration.register_site import (
    BASE,
    TOKENS,
    RegisterSite,
    Told,
    enter_everybody,
    new_centre,
    new_miner,
    serving_register,
)

HEADING = TABLES["device"].names


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("licensees", enter_everybody)
    return "licensees"


@pytest_asyncio.fixture
async def site(engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[RegisterSite]:
    """Three miners, and people."""
    async with serving_register(engine, tmp_path, "licence_status") as made:
        yield made


def row(number: int, **changed: str) -> list[str]:
    cells = {
        "registry_number": f"KZ-{number:05}",
        "account": "miner1",
        "worker": f"w{number}",
        "manufacturer": "Bitmain",
        "model": "S19",
        "serial_number": f"SN{number}",
        "nominal_ths": "95.5",
        "nominal_w": "3250",
        "owner_bin": "230440000105",
        "centre": "miner1-dc",
        "place": "",
        "contract": "",
        "included_on": "2026-11-01",
        "excluded_on": "",
    }
    return list((cells | changed).values())


def csv(*rows: Sequence[str]) -> bytes:
    return "\n".join(",".join(cells) for cells in (HEADING, *rows)).encode()


def xlsx(*rows: Sequence[str]) -> bytes:
    target = io.BytesIO()
    with xlsxwriter.Workbook(target) as book:
        sheet = book.add_worksheet()
        for line, cells in enumerate((HEADING, *rows)):
            for column, cell in enumerate(cells):
                sheet.write_string(line, column, cell)
    return target.getvalue()


def locked() -> bytes:
    content = bytearray(xlsx(row(1)))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 4)
    return bytes(content)


async def send(
    site: RegisterSite, data: bytes, question: str = "", who: str = "oleg", kind: str = "text/csv"
) -> Told:
    path = f"/import/devices?reason=letter%2017{question}"
    return await site.ask("POST", path, who, data, **{"Content-Type": kind})


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_a_table_comes_in_and_goes_out_as_it_was(
    site: RegisterSite, engine: AsyncEngine, tmp_path: Path, form: str
) -> None:
    data = {"csv": csv, "xlsx": xlsx}[form](*(row(number) for number in range(40)))
    told = await send(site, data, kind=FORMATS[form])
    assert told.code == 200, told.body
    counts = {name: told.json[name] for name in ("stored", "entered", "changed", "same", "bad", "proposed")}
    assert counts == {"stored": True, "entered": 40, "changed": 0, "same": 0, "bad": 0, "proposed": 0}
    assert (await site.get("/devices?search=KZ-")).json["total"] == 40
    [event] = await register_store.events(engine, told.json["seq"] - 1)
    assert (event.actor, event.reason, event.action) == ("oleg", "letter 17", "entered")
    out = await site.get(f"/export/devices?format={form}")
    assert (out.code, out.headers["Content-Type"].partition(";")[0]) == (200, FORMATS[form])
    assert out.headers["Content-Disposition"] == f'attachment; filename="devices.{form}"'
    path = tmp_path / f"out.{form}"
    path.write_bytes(out.body)
    rows = [one.cells for one in read(path).rows]
    assert [one for one in rows if one[0].startswith("KZ-")] == [row(number) for number in range(40)]
    again = await send(site, out.body, kind=FORMATS[form])
    assert (again.json["same"], again.json["entered"], again.json["seq"]) == (49, 0, told.json["seq"])


async def test_a_bad_row_keeps_all_out_unless_the_good_ones_are_wanted(site: RegisterSite) -> None:
    before = (await site.get("/head")).json["seq"]
    data = csv(row(1), row(2, nominal_ths="fast", centre="nowhere"), row(3, account="nobody"), row(4))
    told = await send(site, data)
    assert told.code == 422
    assert (told.json["stored"], told.json["seq"], told.json["entered"], told.json["bad"]) == (
        False,
        before,
        2,
        2,
    )
    errors = [(one["line"], one["column"]) for one in told.json["errors"]]
    assert errors == [(3, "nominal_ths"), (4, "account")]
    assert "TH/s" in told.json["errors"][0]["reason"]
    assert (await site.get("/head")).json["seq"] == before
    dry = await send(site, data, "&dry_run=true&partial=true")
    assert (dry.code, dry.json["stored"], dry.json["entered"]) == (200, False, 2)
    assert (await site.get("/head")).json["seq"] == before
    told = await send(site, data, "&partial=true")
    assert (told.code, told.json["stored"], told.json["entered"]) == (200, True, 2)
    assert (await site.get("/head")).json["seq"] == before + 2


async def test_no_more_errors_are_told_than_fit(site: RegisterSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_bulk, "ERRORS_TOLD", 3)
    told = await send(site, csv(*(row(number, nominal_w="x") for number in range(9))))
    assert (told.code, len(told.json["errors"]), told.json["errors_total"]) == (422, 3, 9)


@pytest.mark.parametrize(
    ("data", "kind", "code", "said"),
    [
        (b"", "text/csv", 422, "file: is empty"),
        (b"a,b\n1,2\n", "text/csv", 422, "column 'a' is unknown"),
        (b"\xff\xfe\x00", "text/csv", 422, "not UTF-8"),
        (b"no workbook", FORMATS["xlsx"], 422, "no XLSX workbook"),
        (b"PK\x03\x04" + bytes(100), FORMATS["xlsx"], 422, "no XLSX workbook"),
        (locked(), FORMATS["xlsx"], 422, "protected by a password"),
        (csv(row(1)), "application/json", 415, "text/csv"),
        (csv(row(1)), "application/x-www-form-urlencoded", 415, "text/csv"),
    ],
)
async def test_what_is_no_table_is_told(
    site: RegisterSite, data: bytes, kind: str, code: int, said: str
) -> None:
    """I10."""
    before = set(Path("/tmp").glob("dmpool-register-*"))
    told = await send(site, data, kind=kind)
    assert told.code == code, told.body
    assert said in told.detail
    assert "/tmp" not in told.detail
    assert set(Path("/tmp").glob("dmpool-register-*")) <= before


@asynccontextmanager
async def another_change(engine: AsyncEngine) -> AsyncIterator[None]:
    """Somebody holds the register's lock."""
    async with engine.begin() as connection:
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(REGISTER_LOCK)))
        yield


async def test_a_dry_run_waits_for_nobody_and_nobody_waits_for_it(
    site: RegisterSite, engine: AsyncEngine
) -> None:
    async with another_change(engine):
        told = await send(site, csv(row(1), row(2, nominal_w="x")), "&dry_run=true")
    assert (told.code, told.json["entered"], told.json["bad"], told.json["stored"]) == (200, 1, 1, False)
    assert "reason" in (await send(site, csv(row(1)), "%0A&dry_run=true")).detail


async def test_a_file_is_read_before_the_register_is_locked(site: RegisterSite, engine: AsyncEngine) -> None:
    async with another_change(engine):
        for data in (b"a,b\n1,2\n", b"\xff\xfe", csv(["x" * 200_000])):
            assert (await send(site, data)).code == 422


@pytest.mark.parametrize("bad", [{"nominal_w": "x"}, {"centre": "nowhere"}], ids=["read", "written"])
@pytest.mark.parametrize("question", ["", "&partial=true", "&dry_run=true"])
async def test_a_file_of_bad_rows_is_given_up(
    site: RegisterSite, monkeypatch: pytest.MonkeyPatch, question: str, bad: dict[str, str]
) -> None:
    monkeypatch.setattr(table_import, "BAD_LIMIT", 5)
    before = (await site.get("/head")).json["seq"]
    told = await send(site, csv(row(1), *(row(number, **bad) for number in range(2, 30))), question)
    assert told.code == 422
    assert told.detail.startswith("line 7: 5 rows are bad by here and the rest was not looked at")
    assert "line 3: " in told.detail
    assert (await site.get("/head")).json["seq"] == before


async def test_who_may_import_what(site: RegisterSite) -> None:
    for who, code in (("audit", 403), ("former", 401), ("oleg", 200)):
        assert (await send(site, csv(row(1)), who=who)).code == code
    licences = b"number,account,subtype,issued_on,valid_from,valid_to\n"
    for who, code in (("oleg", 403), ("aliya", 200)):
        told = await site.ask(
            "POST", "/import/licences?reason=x", who, licences, **{"Content-Type": "text/csv"}
        )
        assert told.code == code
    assert (
        await site.ask("POST", "/import/devices", "oleg", b"x", **{"Content-Type": "text/csv"})
    ).code == 422
    assert (await site.ask("POST", "/import/people?reason=x", "aliya", b"x")).code == 422


async def test_what_needs_a_second_officer_is_proposed(site: RegisterSite) -> None:
    await site.post("/miners", new_miner())
    await site.post("/centres", new_centre())
    heading = b"number,account,subtype,issued_on,valid_from,valid_to\n"
    table = heading + b"KZ-N,newcomer,1,2026-11-01,2026-11-01,2029-10-31\n"
    told = await site.ask("POST", "/import/licences?reason=x", "aliya", table, **{"Content-Type": "text/csv"})
    assert (told.code, told.json["proposed"]) == (200, 1)
    assert (await site.get("/licences/KZ-N")).code == 404
    assert (await site.post("/proposals/1/approve", {"reason": "seen"}, "dana")).code == 200
    assert (await site.get("/licences/KZ-N")).json["record"]["account"] == "newcomer"


async def test_a_file_too_large_is_not_taken(site: RegisterSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_bulk, "FILE_LIMIT", 1000)
    told = await send(site, csv(*(row(number) for number in range(20))))
    assert (told.code, "1000 bytes" in told.detail) == (413, True)
    assert (await send(site, csv(row(1)))).code == 200


async def test_one_file_at_a_time_and_the_rest_goes_on(site: RegisterSite) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield csv(row(1))
        begun.set()
        await uploading.wait()

    begun, uploading = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(_sent(site, slow()))
    await begun.wait()
    told = await send(site, csv(row(2)))
    assert (told.code, told.headers["Retry-After"]) == (503, "5")
    assert (await site.get("/export/devices")).code == 503
    assert (await site.get("/devices?limit=1")).code == 200
    uploading.set()
    assert await first == 200
    assert (await send(site, csv(row(3)))).code == 200


async def _sent(site: RegisterSite, data: AsyncIterator[bytes]) -> int:
    headers = {"Authorization": f"Bearer {TOKENS['oleg']}", "Content-Type": "text/csv"}
    async with site.http.post(
        f"{site.url}{BASE}/import/devices?reason=x", data=data, headers=headers
    ) as answer:
        return answer.status


async def test_every_table_goes_out_as_of_a_day(site: RegisterSite) -> None:
    await site.post("/miners", new_miner())
    for what, now, then in (("miners", 4, 3), ("licences", 3, 3), ("devices", 9, 9), ("centres", 3, 3)):
        lines = (await site.get(f"/export/{what}")).body.decode("utf-8-sig").splitlines()
        assert len(lines) == 1 + now, what
        lines = (await site.get(f"/export/{what}?as_of=2026-11-01")).body.decode("utf-8-sig").splitlines()
        assert len(lines) == 1 + then, what
    assert b"bcrt1" in (await site.get("/export/miners?as_of=2026-11-01")).body


async def test_whoever_waits_too_long_is_told_to_try_again(
    site: RegisterSite, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_store, "LOCK_SECONDS", 1)
    async with another_change(engine):
        for told in (await send(site, csv(row(1))), await site.post("/miners", new_miner())):
            assert (told.code, told.headers["Retry-After"]) == (503, "5")
            assert told.detail == "another change of the register is at work; try again"
