"""Import and export by commands, with real PostgreSQL: all of a file or nothing, and every bad row told."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pool import spreadsheet, table_import
from pool.database import REGISTER_LOCK, create_engine
from register.tables import TABLES
from tests.campaign import extent
from tests.integration.office import (
    HOST_BIN,
    OTHER_ADDRESS,
    OTHER_BIN,
    TODAY,
    Office,
    device_rows,
    enter_all,
    import_,
)
from tests.integration.pool_process import ADDRESS


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Office:
    return Office(tmp_path, database_url)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


@contextmanager
def another_change(office: Office) -> Iterator[None]:
    """Somebody holds the register's lock."""
    held, done = threading.Event(), threading.Event()

    async def hold() -> None:
        engine = create_engine(office.url)
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(REGISTER_LOCK)))
            held.set()
            await asyncio.to_thread(done.wait)
        await engine.dispose()

    holder = threading.Thread(target=asyncio.run, args=(hold(),))
    holder.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        holder.join()


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_an_export_imported_again_changes_nothing(office: Office, suffix: str) -> None:
    enter_all(office)
    before = office.events()
    for kind in TABLES:
        path = office.directory / f"out.{kind}.{suffix}"
        office.see(f"{kind}s export", str(path))
        said = office.see(f"{kind}s import", str(path))
        count = len(list(spreadsheet.read(path).rows))
        assert count
        assert f"0 entered, 0 changed, {count} as before, 0 bad" in said.replace("\n", " ")
    assert office.events() == before
    wallet = office.register().addresses["2.1"]
    assert wallet.address == OTHER_ADDRESS


def test_an_import_changes_what_differs_and_names_its_file(office: Office) -> None:
    enter_all(office)
    before = len(office.events())
    rows = device_rows(3)[1:]
    rows[0][10], rows[1][13] = "hall 2", "2026-09-01"
    assert "0 entered, 2 changed, 0 as before" in import_(office, "device", rows).stdout
    new = office.events()[before:]
    assert [event.action for event in new] == ["changed", "excluded"]
    assert re.fullmatch(r"import of device\.csv, SHA-256 [0-9a-f]{64}", new[0].reason)
    path = office.directory / "places.csv"
    path.write_text("Registry_Number;PLACE\nN-1;hall 3\n")
    office.do("devices import", str(path), reason="they moved")
    assert office.register().devices["N-1"].place == "hall 3"
    assert office.events()[-1].reason == "they moved"


def test_nothing_of_a_bad_file_is_applied(office: Office) -> None:
    """Parse errors and the clerk's refusals alike come back, and every one of them."""
    office.enter_altai()
    before = office.events()
    rows = device_rows(6)
    rows[1][6], rows[1][12] = "fast", "soon"
    rows[2][1] = "nobody"
    rows[3][5] = "SN0"  # the serial number of the first
    rows[4][0] = "N-0"
    result = import_(office, "device", rows, code=1)
    assert office.events() == before
    assert "2 entered" in result.stdout
    assert "nothing was stored" in result.stdout
    assert "line 3: nominal_ths: 'fast'" in result.stderr
    told = rows_of(office.directory / "device.csv.errors.csv")
    assert told[0] == ["line", "column", "reason", *TABLES["device"].names]
    assert [(row[0], row[1]) for row in told[1:]] == [
        *(("3", "nominal_ths"), ("3", "included_on"), ("4", "account"), ("5", ""), ("6", "registry_number")),
    ]
    assert "SN0 stands under registry number N-0 already" in told[4][2]
    assert told[1][3:] == rows[1]
    assert not any(told[2][3:])


def test_the_good_rows_are_taken_when_asked_and_the_bad_ones_mended(office: Office) -> None:
    office.enter_altai()
    rows = device_rows(4)
    rows[1][6], rows[1][12] = "fast", "soon"
    errors = office.directory / "bad.csv"
    import_(office, "device", rows, "--partial", "--errors", str(errors), code=1)
    assert set(office.register().devices) == {"KZ-1", "N-0", "N-2", "N-3"}
    text = errors.read_text("utf-8-sig").replace("fast", "95").replace("soon", "2026-01-31", 2)
    errors.write_text(text)
    office.see("devices import", str(errors))
    assert office.register().devices["N-1"].nominal_ghs == 95_000


def test_a_dry_run_writes_nothing(office: Office) -> None:
    office.enter_altai()
    before = office.events()
    said = import_(office, "device", device_rows(3), "--dry-run").stdout
    assert "3 entered" in said
    assert "nothing was stored" in said
    assert office.events() == before


def test_a_dry_run_and_a_file_that_is_no_table_do_not_wait_for_another_change(office: Office) -> None:
    office.enter_altai()
    path = office.directory / "table.csv"
    path.write_text("registry_number,acount\n")
    with another_change(office):
        assert "3 entered" in import_(office, "device", device_rows(3), "--dry-run").stdout
        assert "did you mean account" in office.fail("devices import", str(path), reason=None)


@pytest.mark.parametrize("column", [6, 9], ids=["read", "written"])
def test_a_file_of_bad_rows_is_given_up(office: Office, monkeypatch: pytest.MonkeyPatch, column: int) -> None:
    monkeypatch.setattr(table_import, "BAD_LIMIT", 5)
    office.enter_altai()
    before = office.events()
    rows = device_rows(30)
    for row in rows[1:]:
        row[column] = "nowhere"
    said = import_(office, "device", rows, "--partial", code=2).stderr
    assert "line 7: 5 rows are bad by here and the rest was not looked at" in said
    assert "the bad rows up to there" in said
    assert len(rows_of(office.directory / "device.csv.errors.csv")) == 6
    assert office.events() == before


def test_a_bad_miner_leaves_no_trace_in_a_partial_import(office: Office) -> None:
    office.enter_altai()
    rows = [
        ["ile", "Ile", OTHER_BIN, "", "", ADDRESS],  # another miner's wallet
        ["ulba", "Ulba", HOST_BIN, "", "", OTHER_ADDRESS.upper()],
        ["esil", "Esil", HOST_BIN, "", "", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"],
    ]
    result = import_(office, "miner", rows, "--partial", code=1)
    assert "another miner has it" in result.stderr
    assert [miner.name for miner in office.register().miners.values()] == ["altai", "ulba"]
    assert import_(office, "miner", rows[1:2]).stdout.count("1 as before") == 1


def test_acts_in_a_file_follow_those_of_the_register(office: Office) -> None:
    office.enter_altai()
    term = ["L-1", "altai", "1", "2026-01-01", "2026-01-01", "2028-12-31", ""]
    until = TODAY + dt.timedelta(days=60)
    suspended = f"suspended;D-1;{TODAY};1;{until}"
    import_(office, "licence", [[*term, suspended]])
    import_(office, "licence", [[*term, f"{suspended}|resumed;A-1;{TODAY + dt.timedelta(days=9)}"]])
    assert [act.kind for act in office.register().licences["L-1"].acts] == ["suspended", "resumed"]
    before = office.events()
    assert "which stay and stand first" in import_(office, "licence", [[*term, suspended]], code=1).stderr
    assert "which stay and stand first" in import_(office, "licence", [[*term, ""]], code=1).stderr
    assert office.events() == before
    term[6] = "Ministry"
    import_(office, "licence", [[*term, f"{suspended}|resumed;A-1;{TODAY + dt.timedelta(days=9)}"]])
    licence = office.register().licences["L-1"]
    assert (licence.issuer, len(licence.acts)) == ("Ministry", 2)


def test_an_import_that_waits_for_a_second_officer_is_asked_for_once(office: Office) -> None:
    office.enter_altai()
    office.four_eyes()
    rows = [["ile", "Ile", OTHER_BIN, "", "", OTHER_ADDRESS]]
    assert "1 of these changes wait" in import_(office, "miner", rows).stdout
    before = office.events()
    assert "1 as before" in import_(office, "miner", rows).stdout
    office.enter_centre("C-2", OTHER_BIN)
    licence = [["L-2", "ile", "1", "2026-01-01", "2026-01-01", "2028-12-31", "", ""]]
    import_(office, "licence", licence)
    assert "1 as before" in import_(office, "licence", licence).stdout
    assert [event.action for event in office.events()[len(before) :]] == ["entered", "proposed"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("registry_number,acount\n", "did you mean account"),
        ("", "is empty"),
        ('registry_number,account\n1,"x\n', "look at the quotes"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_line(office: Office, content: str, words: str) -> None:
    path = office.directory / "table.csv"
    path.write_text(content)
    assert words in office.fail("devices import", str(path), reason=None)


@pytest.mark.campaign
def test_devices_by_the_hundred_thousand(office: Office) -> None:
    """`make campaign` runs it whole; a slice shows that it works."""
    office.enter_altai()
    count = extent(2000, 100_000)
    started = time.monotonic()
    said = import_(office, "device", device_rows(count)).stdout
    print(f"{count} hardware units imported in {time.monotonic() - started:.1f} s")
    assert f"{count} entered, 0 changed, 0 as before, 0 bad" in said
    assert f"{count} as before" in import_(office, "device", device_rows(count)).stdout
    assert f"{count + 5} events" in office.see("register verify")
