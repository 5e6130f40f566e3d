"""`dmpool sales` with real PostgreSQL: files in three languages, every bad row told, what is shown."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import Result

from pool import register_store, sale_book, spreadsheet, table_import
from pool.database import create_engine
from register.clerk import Terms
from register.person import Person, Role, token_hash
from reporting.sale_confirmation import Told
from reporting.sale_period import period_of
from reporting.sale_table import HEADINGS
from tests.integration.entering import TESTER, enter_miner
from tests.integration.ledger_world import BINS, RULES, World
from tests.integration.office import Office
from tests.integration.test_sales import STEPPE, pay

PEOPLE = {"aliya": Role.COMPLIANCE, "oleg": Role.OPERATOR, "audit": Role.AUDITOR}
TODAY = RULES.day_of(int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000))
ENGLISH = list(HEADINGS)
RUSSIAN, KAZAKH = ([names[place] for names in HEADINGS.values()] for place in (0, 1))
_Result = TypeVar("_Result")


class SaleOffice(Office):
    """Commands, and what the book says behind them."""

    def ask(self, work: Callable[[AsyncEngine], Awaitable[_Result]]) -> _Result:
        async def run() -> _Result:
            engine = create_engine(self.url)
            try:
                return await work(engine)
            finally:
                await engine.dispose()

        return uvloop.run(run())

    def book(self, *, all_: bool = False) -> list[Told]:
        async def read(engine: AsyncEngine) -> list[Told]:
            async with engine.connect() as connection:
                return await sale_book.read(connection, all_=all_)

        return self.ask(read)

    def take(
        self, name: str, heading: Sequence[str], rows: Sequence[Sequence[str]], *options: str, code: int = 0
    ) -> Result:
        """Import a table."""
        path = self.directory / name
        spreadsheet.write(path, heading, rows)
        result = self.run("sales", "import", str(path), *options)
        assert result.exit_code == code, (result.output, result.exception)
        return result


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> SaleOffice:
    made = SaleOffice(tmp_path, database_url)

    async def enter(engine: AsyncEngine) -> None:
        for number, bin_number in enumerate(BINS[:2], 1):
            await enter_miner(engine, f"miner{number}", bin_number, workers=())

    made.ask(enter)
    return made


def row(reference: str, quantity: str = "0.5", account: str = "miner1", **changes: str) -> list[str]:
    cells = dict(
        zip(
            ENGLISH,
            [
                account,
                "miner",
                STEPPE,
                "AFSA",
                "AFSA-A-1",
                reference,
                str(TODAY),
                quantity,
                "KZT",
                "1250000.50",
            ],
            strict=True,
        )
    )
    return list((cells | changes).values())


def errors_of(office: SaleOffice, name: str) -> list[list[str]]:
    with (office.directory / f"{name}.errors.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", ["sales.csv", "sales.xlsx"])
def test_files_in_three_languages_are_one_book_and_come_back(office: SaleOffice, name: str) -> None:
    """What is exported holds what was entered; entered again it is refused, row by row."""
    said = office.take(name, RUSSIAN, [row("=T-1"), row("T-2", "0.00000001", told_by="биржа")]).stdout
    assert "sales: 2 entered, 0 bad" in said
    said = office.take(
        name, KAZAKH, [row("T-3", account="miner2", licensor="", licence="")], "--reason", "хат 7"
    ).stdout
    assert "1 of them are no mandatory sale: realised elsewhere" in said
    assert "sale 3 ('T-3'): miner2 has sold more with it than this pool ever distributed" in said
    office.take(name, ENGLISH, [row("T-4", exchange="Другая биржа")])
    book = office.book()
    assert [one.sale.reference for one in book] == ["=T-1", "T-2", "T-3", "T-4"]
    assert book[0].reason.startswith(f"import of {name}, SHA-256 ")
    assert (book[2].reason, book[2].role, book[1].sale.told_by) == ("хат 7", "compliance", "exchange")
    assert book[1].sale.quantity_sat == 1
    out = office.directory / f"out-{name}"
    assert f"{out}: 4 sales as of" in office.see("sales export", str(out)).replace("\n", "")
    result = office.run("sales", "import", str(out))
    assert result.exit_code == 1
    assert "0 entered, 4 bad; nothing was stored" in result.stdout
    assert result.stderr.count("just so; leave it out") == 4
    assert office.book() == book


def test_nothing_of_a_bad_file_is_stored_and_every_bad_row_is_told(office: SaleOffice) -> None:
    office.take("first.csv", ENGLISH, [row("T-0"), row("T-00")])
    tomorrow = TODAY + dt.timedelta(days=2)
    rows = [
        row("T-1"),
        row("T-2", "much", date="soon", amount="1 000"),
        row("T-3", account="nobody"),
        row("T-4", told_by="broker"),
        row("T-5", licence=""),
        row("T-6", licensor="SEC"),
        row("T-7", date=str(tomorrow)),
        row("T-8", "0"),
        row("T-9", currency="₸"),
        row("T-1", "0.1"),
        row("T-0"),
        row("T-00", "0.1", exchange=STEPPE.upper()),
        row("", exchange=""),
        [*row("T-10"), "more"],
    ]
    result = office.take("bad.csv", RUSSIAN, rows, code=1)
    assert "sales: 1 entered, 13 bad; nothing was stored" in result.stdout
    assert "line 3: date: 'soon' is no day" in result.stderr
    assert "and 11 more" in result.stderr
    assert "take the good ones with --partial" in result.stderr
    assert len(office.book()) == 2
    told = errors_of(office, "bad.csv")
    assert told[0] == ["line", "column", "reason", *RUSSIAN]
    wanted = [
        *(("3", "date", "is no day"), ("3", "quantity_btc", "no quantity"), ("3", "amount", "no amount")),
        ("4", "account", "no such account"),
        ("5", "told_by", "must be miner or exchange"),
        ("6", "", "give both licensor and licence"),
        ("7", "", "licensor 'SEC' must be one of AFSA, NBK"),
        ("8", "", f"day {tomorrow} must be from 2009-01-03 to today"),
        ("9", "", "quantity of 0 satoshis"),
        ("10", "", "currency '₸'"),
        ("11", "", "stands on line 2 already"),
        ("12", "", "stands already as sale 1, just so; leave it out"),
        ("13", "", "with other values; put it right by `dmpool sales add --corrects 2`"),
        *(("14", "exchange", "is empty"), ("14", "reference", "is empty")),
        ("15", "", "more cells than the first line"),
    ]
    assert len(told) == len(wanted) + 1
    told_of = ""
    for (line, column, reason, *cells), expected in zip(told[1:], wanted, strict=True):
        assert (line, column) == expected[:2]
        assert expected[2] in reason, reason
        assert cells[:10] == (rows[int(line) - 2][:10] if line != told_of else [""] * 10)
        told_of = line


def test_the_good_rows_are_taken_when_asked_and_the_bad_ones_mended(office: SaleOffice) -> None:
    rows = [row("T-1"), row("T-2", "much", date="soon")]
    assert "1 entered, 1 bad" in office.take("x.csv", KAZAKH, rows, "--partial", code=1).stdout
    path = office.directory / "x.csv.errors.csv"
    path.write_text(
        path.read_text("utf-8-sig").replace("much", "0.25").replace("soon", str(TODAY), 2), "utf-8"
    )
    assert "1 entered, 0 bad" in office.see("sales import", str(path))
    assert [one.sale.quantity_sat for one in office.book()] == [50_000_000, 25_000_000]


def test_a_dry_run_stores_nothing_and_a_file_that_is_no_table_is_one_line(
    office: SaleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = office.take("x.csv", ENGLISH, [row("T-1"), row("T-2", account="miner2")], "--dry-run").stdout
    assert "2 entered, 0 bad; nothing was stored" in said
    assert "sale 1 ('T-1'): miner1 has sold more with it" in said
    assert office.book() == []
    path = office.directory / "y.csv"
    path.write_text("account;количество\n", "utf-8")
    assert "column 'количество' is unknown; did you mean количество btc" in office.fail(
        "sales import", str(path), reason=None
    )
    assert "No such file" in office.fail("sales import", str(path.with_name("none.csv")), reason=None)
    monkeypatch.setattr(table_import, "BAD_LIMIT", 3)
    rows = [row("T-1", "x")] * 9
    assert "line 4: 3 rows are bad by here" in office.take("z.csv", ENGLISH, rows, "--partial", code=2).stderr
    assert len(errors_of(office, "z.csv")) == 4


ADD = (
    f"sales add --account miner1 --told-by miner --licensor afsa --licence AFSA-A-1 --reference T-1 "
    f"--date {TODAY} --currency kzt --amount 10.00"
).split()


def test_by_hand_put_right_and_taken_back_by_whom_it_may(office: SaleOffice) -> None:
    """A token says who acts; an auditor may not, and nothing is entered by a mistake."""

    async def people(engine: AsyncEngine) -> None:
        async with register_store.writing(engine, Terms(RULES, "regtest"), TESTER, "for a test") as clerk:
            for name, role in PEOPLE.items():
                clerk.put_person(Person(name, role, token_hash(name * 9)))

    office.ask(people)
    office.token = office.directory / "token"
    office.token.write_text("audit" * 9)
    add = [*ADD, "--exchange", STEPPE, "--quantity"]
    assert "the role auditor may not confirm sales" in office.fail("", *add, "0.5")
    office.token.write_text("oleg" * 9)
    assert "sale 1 of miner1: 0.50000000 BTC entered" in office.do("", *add, "0.5")
    assert "stands already as sale 1, with other values" in office.fail("", *add, "0.6")
    assert "write BTC with a point" in office.fail("", *add, "0,6")
    assert "0.60000000 BTC corrected, in the place of 1" in office.do("", *add, "0.6", "--corrects", "1")
    assert "sale 1 does not stand: line 2 replaces it" in office.fail("sales withdraw 1")
    assert "sale 2 of miner1: 0.60000000 BTC withdrawn by line 3" in office.do(
        "sales withdraw 2", reason="no trade"
    )
    assert [(one.action, one.replaces, one.actor, one.role) for one in office.book(all_=True)] == [
        ("entered", None, "oleg", "operator"),
        ("corrected", 1, "oleg", "operator"),
        ("withdrawn", 2, "oleg", "operator"),
    ]
    assert office.book() == []
    assert "none" in office.see("sales list")
    listed = office.see("sales list --all --account miner1")
    for words in ("corrected 1", "withdrawn 2", "oleg (operator)", "no trade", "AFSA AFSA-A-1", "10 KZT"):
        assert words in listed


def test_status_shows_both_readings_and_deposits_against_sales(office: SaleOffice) -> None:
    """O-52, Q-02: by account or for all, of the quarter that runs or one that is over."""
    running = period_of(RULES, TODAY)
    assert running is not None

    async def paid(engine: AsyncEngine) -> None:
        world = World(engine)
        world.now_us = RULES.day_bounds(running.first)[0] - 4 * 3_600_000_000
        await pay(world, (1, 400, ""))  # in the quarter before
        world.now_us = RULES.day_bounds(TODAY)[1] - 1
        await pay(world, (1, 75_000_000, STEPPE), (1, 25_000_000, ""), (2, 4, ""))

    office.ask(paid)
    office.take("x.csv", ENGLISH, [row("T-1"), row("T-2", "0.1", exchange="abroad", licensor="", licence="")])
    said = office.see("sales status")
    assert f"{running.name}: {running.first} to {running.last}, runs, told up to {TODAY}" in said
    assert "75.00\u202f% on exchanges licensed by AFSA" in said
    assert "base in force: mined (Q-02); mode: monitor" in said
    cells = [" ".join(line.split()) for line in said.splitlines()]
    amounts = "1.00000000 0.75000000 0.60000000 0.50000000 50.00 % 83.33 % 0.25000000 0.00000000"
    assert f"miner1 {amounts} yet to sell" in cells
    assert any(line.startswith("miner2 0.00000004") for line in cells)
    assert f"miner1 {STEPPE} 0.00000000 0.75000000 0.50000000 0.25000000" in cells
    assert "miner2" not in office.see("sales status --account miner1")
    last = period_of(RULES, running.first - dt.timedelta(days=1))
    assert last is not None
    said = office.see(f"sales status --quarter {last.name}")
    assert f"{last.name}: {last.first} to {last.last}, over" in said
    (short,) = [line for line in said.splitlines() if line.lstrip().startswith("miner1")]
    assert short.rstrip().endswith("SHORT")
    assert short.count("0.00000400") == 1
    assert "there is no period '2023-Q4' until today" in office.fail(
        "sales status --quarter 2023-Q4", reason=None
    )
    assert "no such account" in office.fail("sales status --account nobody", reason=None)
    assert "short of the mandatory sale of the period that ended last (O-52): 1" in office.see(
        "compliance digest"
    )
