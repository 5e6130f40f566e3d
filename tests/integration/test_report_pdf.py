"""`dmpool reports pdf` on one pool's database: the right document, its place in the log, three languages."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import log_store, resources
from pool.clock import microseconds
from pool.config import Settings
from pool.database import create_engine
from pool.documents import Document, DocumentError, find_form, find_report
from pool.log_keeper import origin
from pool.report_pdf import pdf_name, pdf_of, place_of, printed
from pool.reports import build_report
from pool.tables_log import log_leaf
from reporting.merkle import leaf_hash
from tests.integration.form_world import AFTER_US, FORM_1, FORM_2, PUBLISHER, build, live, report_days
from tests.integration.ledger_world import ADDRESS, DAY, World
from tests.integration.office import Office
from tests.reporting.print_world import poppler

OLD = DAY - dt.timedelta(days=4)
"""Of its report the log does not tell."""


async def prepared(world: World) -> None:
    """A real report of the day on which miners were paid, one that no leaf tells of, and both forms."""
    await live(world)
    await build_report(world.engine, DAY, PUBLISHER, AFTER_US)
    await report_days(world.engine, [DAY + dt.timedelta(days=one) for one in range(-23, 7) if one])
    for name in (FORM_1, FORM_2):
        await build(world.engine, name)


@pytest.fixture
def office(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Office:
    async def fill() -> None:
        engine = create_engine(database_url)
        try:
            world = World(engine)
            await world.settle_in()
            await prepared(world)
        finally:
            await engine.dispose()

    async def as_it_is(engine: AsyncEngine) -> None:
        """The database has its schema already; looking takes longer than the commands themselves."""

    monkeypatch.setattr(resources, "migrate", as_it_is)
    uvloop.run(fill())
    return Office(tmp_path, database_url)


def names(directory: Path) -> set[str]:
    return {one.name for one in directory.iterdir()}


def test_a_report_and_the_forms_of_a_month_are_written(office: Office) -> None:
    out = office.directory / "out"
    out.mkdir()
    told = office.see(f"reports pdf --date {DAY} --out {out}")
    assert names(out) == {f"report-{DAY}-v1-{one}.pdf" for one in ("kk", "ru", "en")}
    assert all(name in told for name in names(out))
    before = (out / f"report-{DAY}-v1-kk.pdf").read_bytes()
    office.see(f"reports pdf --date {DAY} --out {out} --language kk")
    assert (out / f"report-{DAY}-v1-kk.pdf").read_bytes() == before
    read = poppler("pdftotext", out / f"report-{DAY}-v1-kk.pdf", "-")
    assert "Цифрлық майнингтік пулдың күнделікті есебі" in read
    assert "0,02000000" in read

    office.see(f"reports pdf --month 2026-11 --out {out} -l ru -l en")
    assert names(out) - {f"report-{DAY}-v1-{one}.pdf" for one in ("kk", "ru", "en")} == {
        f"income-{form}-2026-11-v1-{one}{mark}.pdf"
        for form, mark in ((FORM_1, ""), (FORM_2, "-NOT-FINAL"))
        for one in ("ru", "en")
    }
    read = poppler("pdftotext", out / f"income-{FORM_1}-2026-11-v1-en.pdf", "-")
    assert "Реквизиты" in read, "the Russian heading stands with the translation"
    assert "0.06000000" in read

    (out / f"report-{DAY}-v1-kk.pdf").write_text("mine")
    for line, why in (
        (f"reports pdf --date {DAY} --out {out}", "is there already, with other content"),
        (f"reports pdf --date {DAY} --out {out}/nowhere", "name a directory that can be written"),
        (f"reports pdf --date {DAY} --version 2", "no version 2 was made"),
        (f"reports pdf --date {DAY} --language de", "must be one of en, ru, kk"),
        (f"reports pdf --date {DAY} --form {FORM_1}", "name it by --month"),
        (f"reports pdf --date {DAY} --month 2026-11", "name a day by --date, or a month by --month"),
        ("reports pdf", "name a day by --date, or a month by --month"),
        ("reports pdf --month 2026-10", "none was made"),
        ("reports pdf --month 2026-11 --form x", "none is in force; in force are: order-166-2023, mof-2026"),
        ("reports pdf --month november", "is no month"),
    ):
        assert why in office.fail(line, reason=None), line
    assert names(office.directory) & {"nowhere"} == set()


def settings(**door: str) -> Settings:
    pool = {"name": "P", "bin": "940140000385", "chain": "regtest", "address": ADDRESS}
    return Settings.model_validate({"data_dir": "/nowhere", "pool": pool, "door": door})


async def test_the_place_is_that_of_the_leaf_of_just_this_version(world: World) -> None:
    """A later version names the hash of the first, and is another entry."""
    await prepared(world)
    await world.tell(world.share(2, at_us=microseconds(dt.datetime(2026, 11, 24, 7, tzinfo=dt.UTC))))
    await world.work()
    await build_report(world.engine, DAY, PUBLISHER, AFTER_US + 1, reason="late")
    async with world.engine.begin() as connection:
        again = {"form": FORM_1, "period": "2026-11", "version": 2, "sha256": "cd" * 32}
        first = await find_form(connection, FORM_1, "2026-11", 1)
        again["replaces_sha256"] = first.sha256
        await log_store.append(connection, "form", again, AFTER_US + 2)
        leaves = list(await connection.execute(sa.select(log_leaf).order_by(log_leaf.c.index)))
        for document in (
            await find_report(connection, DAY, 1),
            await find_report(connection, DAY, 2),
            first,
            await find_form(connection, FORM_2, "2026-11"),
        ):
            (leaf,) = (one for one in leaves if json.loads(one.data).get("sha256") == document.sha256)
            place = await place_of(connection, document, "kk", settings())
            assert place is not None
            assert (place.index, place.leaf_hash_hex) == (leaf.index, leaf_hash(leaf.data).hex())
            assert (place.origin, place.url) == (origin(settings()), None)
            public = settings(public_url="https://pool.example")
            place = await place_of(connection, document, "ru", public)
            assert place is not None
            assert place.url == f"https://pool.example/portal/ru/log/{leaf.index}"
        old = await find_report(connection, OLD)
        assert await place_of(connection, old, "kk", settings()) is None


async def test_what_the_database_gives_is_printed_only_when_its_hash_is_right(world: World) -> None:
    await prepared(world)
    async with world.engine.connect() as connection:
        document = await find_report(connection, DAY)
        made = await pdf_of(connection, document, "kk", settings())
        place = await place_of(connection, document, "kk", settings())
    assert made == printed(document, "kk", place)
    assert made.startswith(b"%PDF-")
    assert pdf_name(document, "kk") == f"report-{DAY}-v1-kk.pdf"
    name = json.dumps(document.told["pool"]["name"], ensure_ascii=False).encode()
    changed = Document(*document[:-1], document.envelope.replace(name, b'"Another"'))
    with pytest.raises(DocumentError, match=r"daily report of 2026-11-24, version 1: .* is not printed"):
        printed(changed, "kk", place)
