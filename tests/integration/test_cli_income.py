"""`dmpool income`, `prices`, `submissions` on one pool's database: files, refusals, and who may do what."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import cli_income, cli_prices, cli_submissions, resources, spreadsheet
from pool.database import create_engine
from pool.prices_store import read_sheet
from pool.workbook import read_rows
from reporting.prices import COLUMNS, PriceError
from tests.integration.form_world import AFTER_US, FORM_1, FORM_2, live, report_days
from tests.integration.ledger_world import RULES, World
from tests.integration.office import Office

NAME_1 = "income-order-166-2023-2026-11-v1"
NAME_2 = "income-mof-2026-02-20-2026-11-v1-NOT-FINAL"
DAY_US = 86_400_000_000


class Clock:
    """The clock of the commands, for a test to move."""

    def __init__(self) -> None:
        self.now_us = AFTER_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (cli_income, cli_prices, cli_submissions):
        monkeypatch.setattr(module, "unix_microseconds", made)
    monkeypatch.setattr(resources, "migrate", _as_it_is)
    return made


async def _as_it_is(engine: AsyncEngine) -> None:
    """The database has its schema already; looking takes longer than the commands themselves."""


@pytest.fixture
def office(tmp_path: Path, database_url: str, clock: Clock) -> Office:
    """A pool that has paid two miners, and has reported each day of the month."""

    async def prepare() -> None:
        engine = create_engine(database_url)
        try:
            world = World(engine)
            await world.settle_in()
            await live(world)
            await report_days(engine)
        finally:
            await engine.dispose()

    uvloop.run(prepare())
    return Office(tmp_path, database_url)


def test_o41_forms_are_built_listed_and_written(office: Office) -> None:
    """Q-09: what is not final is told so wherever it is seen, and refused where it must be."""
    made = office.see("income build --month 2026-11")
    assert f"form {FORM_2} of 2026-11, version 1: sha256" in made
    assert made.count("NOT FINAL") == 1
    assert office.see("income build --month 2026-11") == made
    listed = rows_of(office.see("income list"))
    assert [line.split()[:3] for line in listed] == [[FORM_1, "2026-11", "1"], [FORM_2, "2026-11", "1"]]
    out = str(office.directory / "out")
    Path(out).mkdir()
    for kind in ("xlsx", "xlsx", "csv", "json"):
        office.see("income show --month 2026-11", "--format", kind, "--out", out)
    assert {one.name for one in Path(out).iterdir()} == {
        f"{name}.{kind}" for name in (NAME_1, NAME_2) for kind in ("xlsx", "csv", "json")
    }
    signed = json.loads((Path(out) / f"{NAME_1}.json").read_bytes())
    assert f"version 1: sha256 {signed['report_sha256']}" in made
    assert dict(read_rows(Path(out) / f"{NAME_1}.xlsx"))[7][2] == signed["report_sha256"]

    assert "not all of its columns are known" in office.fail(
        "income build --month 2026-11 --final", reason=None
    )
    refused = office.fail("income show --month 2026-11 --final", "--out", out, reason=None)
    assert f"form {FORM_2}: not all of its columns are known, so it is not final" in refused
    office.see("income show --month 2026-11 --final", "--form", FORM_1, "--out", out)
    (Path(out) / f"{NAME_1}.csv").write_text("mine")
    for line, why in (
        (f"income show --month 2026-11 --format csv --out {out}", "is there already, with other content"),
        ("income show --month 2026-11 --format pdf", "must be one of xlsx, csv, json"),
        ("income show --month 2026-11 --form x", "none is in force; in force are: order-166-2023, mof-2026"),
        ("income show --month 2026-11 --version 2", "no version 2 was made"),
        (f"income show --month 2026-11 --out {out}/nowhere", "name a directory that can be written"),
    ):
        assert why in office.fail(line, reason=None)
    assert "there is none of 2026-10-01" in office.fail("income build --month 2026-10", code=1, reason=None)


def rows_of(output: str) -> list[str]:
    """The lines of a table below its heading."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[next(number for number, line in enumerate(lines) if line.startswith("──")) + 1 :]


def test_o32_a_row_without_a_licence_is_told(office: Office) -> None:
    """The form wants number and date of it; whether it may go out so is for a person to say."""
    assert "no licence" not in office.see("income build --month 2026-11")

    async def forget() -> None:
        engine = create_engine(office.url)
        try:
            async with engine.begin() as connection:
                await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
                await connection.execute(sa.text("UPDATE payment SET licence = '' WHERE miner_id = 2"))
        finally:
            await engine.dispose()

    uvloop.run(forget())
    told = office.see("income build --month 2026-11", "--form", FORM_1)
    assert (
        f"form {FORM_1} of 2026-11, version 2: no licence, or no day of one, stands in rows of miner2;"
        in told
    )


def prices(office: Office, *rows: tuple[str, ...]) -> str:
    path = office.directory / "prices.csv"
    spreadsheet.write(path, COLUMNS[:4], rows)
    return str(path)


def test_o63_values_are_imported_corrected_and_make_the_annex(office: Office) -> None:
    office.see("income build --month 2026-11", "--form", FORM_1)
    out = str(office.directory)
    stderr = office.fail("income annex --month 2026-11", "--out", out, code=1, reason=None)
    assert "3 rows have no value in tenge" in stderr

    weekday = prices(
        office,
        ("20.11.2026", "Bitcoin", "67890,12", "USD"),
        ("23.11.2026", "Bitcoin", "68000", "USD"),
        ("24.11.2026", "Bitcoin", "68 500.5", "USD"),
        ("2026-11-24", "USD", "512.34", "KZT"),
        ("2026-11-25", "day off", "", ""),
    )
    told = office.fail("prices import", weekday, reason=None)
    assert "line 6: value '': write it like 67890.12" in told
    weekday = prices(
        office,
        ("20.11.2026", "Bitcoin", "67890,12", "USD"),
        ("23.11.2026", "Bitcoin", "68000", "USD"),
        ("24.11.2026", "Bitcoin", "68 500.5", "USD"),
        ("2026-11-24", "USD", "512.34", "KZT"),
        ("2026-11-25", "", "day off", ""),
    )
    told = office.see("prices import --weekends", weekday)
    assert "4 values and 3 days of the calendar entered, 0 as before" in told
    assert "0 values and 0 days of the calendar entered, 7 as before" in office.see(
        "prices import --weekends", weekday
    )
    office.see("income annex --month 2026-11 --format json", "--out", out)
    annex = json.loads((office.directory / f"{NAME_1.replace('-v1', '-v1-annex')}.json").read_bytes())
    assert [row["amount_kzt"] for row in annex["rows"]] == ["350955.46", "701910.92", "1052866.39"]
    assert [row["price_date_used"] for row in annex["rows"]] == ["2026-11-24"] * 3

    wrong = prices(office, ("24.11.2026", "Bitcoin", "1", "USD"), ("24.11.2026", "USD", "1", "USD"))
    told = office.fail("prices import", wrong, reason=None)
    assert (
        "line 2: 2026-11-24: Bitcoin has the value 68500.5 USD already; a correction needs a reason" in told
    )
    assert "line 3: value of USD of 2026-11-24: a rate of the National Bank is in KZT, not in USD" in told
    office.see("prices add 2026-11-24 Bitcoin 70000 --currency USD --source kgd.gov.kz --reason misread")
    office.see("prices add 2026-11-24 USD 500 --source nationalbank.kz --reason misread")
    assert "the calendar has a day off there" in office.fail(
        "prices add 2026-11-25 Bitcoin 1 --source s", reason=None
    )
    office.see("prices calendar 2026-11-25 --working --source calendar --reason wrong")
    listed = rows_of(office.see("prices list --month 2026-11"))
    shown = [line for line in listed if line.startswith(("2026-11-24", "2026-11-25"))]
    assert len(listed) == 10
    assert ["misread" in line for line in shown] == [False, False, True, True, False, False]
    assert "day off" in shown[4]
    assert "working day" in shown[5]
    told = office.fail("income annex --month 2026-11 --format csv", "--out", out, code=1, reason=None)
    assert "1 rows have no value" in told


def test_o63_the_weekend_between_two_months_is_off_in_both_files(office: Office) -> None:
    """Unless somebody said of a day that it is a working day, or it has a value: that is never undone."""

    def enter(*days: str) -> str:
        rows = [(day, "Bitcoin", "60000", "USD") for day in days]
        return office.see("prices import --weekends", prices(office, *rows))

    assert "2 values and 2 days" in enter("2026-10-29", "2026-10-30")  # Friday, and the weekend behind it
    assert "1 values and 0 days of the calendar entered, 2 as before" in enter("2026-11-02")
    assert "1 values and 2 days" in enter("2026-11-06")
    office.see("prices calendar 2026-11-14 --working --source decree")
    office.see("prices add 2026-11-21 Bitcoin 61000 --currency USD --source kgd.gov.kz")
    told = enter("2026-11-13", "2026-11-16", "2026-11-20", "2026-11-23")
    assert "4 values and 2 days of the calendar entered, 0 as before" in told  # both Sundays
    assert "0 values and 0 days of the calendar entered, 3 as" in enter("2026-11-13", "2026-11-16")
    listed = office.see("prices list --month 2026-11")
    assert [line.split()[0] for line in rows_of(listed) if "day off" in line] == [
        f"2026-11-{day:02d}" for day in (1, 7, 8, 15, 22)
    ]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [("day", "asset", "value", "currency")],
            "headings are day, asset, value, currency; they must be date",
        ),
        ([("date", "asset", "value")], "they must be date, asset, value, currency, source, reason"),
        (
            [COLUMNS[:4], ("2026-11-20", "USD", "1", "KZT"), ("2026-11-20", "USD", "1", "KZT")],
            "line 3: the same stands on line 2 already; keep one of them",
        ),
        (
            [("date", "asset", "currency", "value"), ("2026-11-20", "Bitcoin", "USD", "67890", "12")],
            "line 2: has more cells than the first line has headings; a value with a comma stands in quotes",
        ),
        ([COLUMNS[:4], ("9999-12-31", "Bitcoin", "1", "KZT")], "must be a day from 2009-01-03 to 2199-12-31"),
    ],
)
def test_a_file_of_values_that_is_none_is_told(rows: list[tuple[str, ...]], why: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    spreadsheet.write(path, rows[0], rows[1:])
    with pytest.raises(PriceError, match=why):
        read_sheet(spreadsheet.read(path), "file", "", weekends=False)


def test_o40_what_was_submitted_to_whom_with_its_receipts(office: Office, clock: Clock) -> None:
    office.see("income build --month 2026-11")
    due = rows_of(office.see("income due"))
    assert [line.split()[:5] for line in due] == [
        ["2026-11", form, to, "2026-12-15", "12"]
        for form in (FORM_1, FORM_2)
        for to in ("authorised_body", "tax_authority")
    ]
    told = office.see(f"submissions send --month 2026-11 --form {FORM_1} --to authorised_body --note first")
    (outbox,) = (office.directory / "data" / "outbox").rglob("*.xlsx")
    assert str(outbox) in told.replace("\n", "")
    sha256 = hashlib.sha256(outbox.read_bytes()).hexdigest()
    assert outbox.relative_to(office.directory / "data" / "outbox") == Path(
        f"authorised_body/{NAME_1}-{sha256[:12]}.xlsx"
    )
    receipt = office.directory / "receipt.pdf"
    receipt.write_bytes(b"%PDF accepted")
    clock.now_us += DAY_US
    office.see(
        f"submissions record --month 2026-11 --form {FORM_2} --to tax_authority --sent 2026-12-03",
        "--receipt",
        "12/7",
        "--receipt-file",
        str(receipt),
    )
    office.see("submissions record --report 2026-11-24 --to authorised_body --sent 2026-12-03T10:00")
    office.see("submissions receipt 1 --text accepted")
    listed = [line.split() for line in rows_of(office.see("submissions list"))]
    assert [line[0:2] for line in listed] == [["1", FORM_1], ["2", FORM_2], ["3", "daily"]]
    saved = office.directory / "saved"
    saved.mkdir()
    one = office.see("submissions show 2", "--save", str(saved))
    assert hashlib.sha256(b"%PDF accepted").hexdigest() in one
    assert "tax_authority: State Revenue Committee of the Ministry of Finance" in one
    assert (saved / "receipt.pdf").read_bytes() == b"%PDF accepted"
    assert "receipt.pdf" in office.fail("submissions show 2", "--save", str(saved), reason=None)
    assert hashlib.sha256(outbox.read_bytes()).hexdigest() in office.see("submissions show 1")

    clock.now_us = RULES.day_bounds(dt.date(2026, 12, 16))[0]
    late = office.run("income", "due")
    assert late.exit_code == 1
    assert [line.split()[1:3] for line in rows_of(late.stdout)] == [
        [FORM_1, "tax_authority"],
        [FORM_2, "authorised_body"],
    ]
    assert late.stdout.count("late") == 2


def test_o40_what_cannot_be_submitted_is_told(office: Office) -> None:
    office.see("income build --month 2026-11")
    form = f"--month 2026-11 --form {FORM_1}"
    for line, why in (
        (f"submissions send --month 2026-11 --form {FORM_2} --to tax_authority", "it is not final"),
        (f"submissions send {form} --to ../../etc", "addressee '../../etc' must be one of authorised_body"),
        ("submissions send --month 2026-11 --to tax_authority", "name one document"),
        ("submissions send --report 2026-12-01 --to tax_authority", "none was made; `dmpool reports list`"),
        (f"submissions record {form} --to tax_authority --sent 2026-12-04", "2026-12-04 00:00 is to come"),
        (
            f"submissions record {form} --to tax_authority --sent 2026-12-02",
            "it was made at 2026-12-03 00:00:00, after 2026-12-02 23:59:59; name the version",
        ),
        ("submissions receipt 1 --text x", "no such submission"),
        ("submissions receipt 1", "text '' must be 1 to 500"),
        ("submissions receipt 1 --file /nowhere", "name a file that can be read"),
        ("submissions show 1", "none has this number"),
    ):
        assert why in office.fail(line, reason=None), line
    assert not (office.directory / "data" / "outbox").exists()
    assert office.see("submissions list").strip() == "none"

    tokens = {}
    for name, role in (("dana", "compliance"), ("alma", "auditor")):
        tokens[name] = office.directory / name
        tokens[name].write_text(office.run(*f"people add {name} --role {role} --reason test".split()).stdout)
        office.token = tokens["dana"]
    record = f"submissions record {form} --to tax_authority --sent 2026-12-03"
    for line in (record, "prices add 2026-11-24 Bitcoin 1 --source s"):
        told = office.fail(line, "--token-file", str(tokens["alma"]), reason=None)
        assert "alma: the role auditor may not" in told, line
    office.see(record, "--token-file", str(tokens["dana"]))
    assert rows_of(office.see("submissions list"))[0].split()[-1] == "dana"
