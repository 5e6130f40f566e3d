"""The commands of the register, against real PostgreSQL: by hand, in bulk, by whom, and as it stood."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
import uvloop
from typer.testing import CliRunner, Result

from pool import (
    cli_centres,
    cli_compliance,
    cli_devices,
    cli_licences,
    cli_miners,
    cli_people,
    cli_pool,
    cli_register,
    register_store,
    spreadsheet,
)
from pool.database import create_engine
from register.event import Event
from register.register import Register
from register.tables import TABLES
from tests.campaign import extent
from tests.integration.pool_process import ADDRESS, PoolProcess

BIN, OTHER_BIN, HOST_BIN = "230440000105", "940140000385", "040340000097"
OTHER_ADDRESS = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
TODAY = dt.datetime.now(dt.UTC).date()
app = typer.Typer()
for module in (
    cli_centres, cli_compliance, cli_devices, cli_licences, cli_miners, cli_people, cli_pool, cli_register,
):  # fmt: skip
    app.add_typer(module.cli, name=module.__name__.removeprefix("pool.cli_"))


class Office:
    """Commands on one pool's register, and what its log says."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self.url = database_url
        self.config = PoolProcess(directory, database_url).config
        self.token: Path | None = None

    def run(self, *arguments: str) -> Result:
        token = ["--token-file", str(self.token)] if self.token and "--reason" in arguments else []
        return CliRunner().invoke(app, [*arguments, *token, "--config", str(self.config)])

    def do(self, line: str, *arguments: str, reason: str | None = "for a test") -> str:
        """A command that works; its words."""
        given = [*line.split(), *arguments, *(["--reason", reason] if reason else [])]
        result = self.run(*given)
        assert result.exit_code == 0, (given, result.output, result.exception)
        return result.output

    def see(self, line: str, *arguments: str) -> str:
        """A command that only reads."""
        return self.do(line, *arguments, reason=None)

    def fail(self, line: str, *arguments: str, code: int = 2, reason: str | None = "for a test") -> str:
        result = self.run(*line.split(), *arguments, *(["--reason", reason] if reason else []))
        assert result.exit_code == code, (result.output, result.exception)
        return result.stderr

    def four_eyes(self) -> None:
        self.config.write_text(
            self.config.read_text() + '\n[compliance]\nfour_eyes = ["payout_address", "licence_status"]\n'
        )

    def events(self) -> list[Event]:
        async def read() -> list[Event]:
            engine = create_engine(self.url)
            try:
                return await register_store.events(engine, limit=1_000_000)
            finally:
                await engine.dispose()

        return uvloop.run(read())

    def register(self) -> Register:
        async def read() -> Register:
            engine = create_engine(self.url)
            try:
                return await register_store.read(engine)
            finally:
                await engine.dispose()

        return uvloop.run(read())

    def enter_altai(self) -> None:
        """A miner of subtype I with its centre, licence, wallet and one unit."""
        self.do(
            f"miners add altai --title Altai --bin {BIN} --address {ADDRESS}", "--contact", "Aset;a@b.kz;"
        )
        self.enter_centre("C-1", BIN)
        self.do(
            "licences add L-1 --miner altai --subtype 1 --issued-on 2026-01-01 --valid-from 2026-01-01 "
            "--valid-to 2028-12-31"
        )
        self.enter_unit("KZ-1", "s17")

    def enter_centre(self, code: str, holder: str) -> None:
        self.do(
            f"centres add {code} --title Hall --address Ekibastuz --holder-bin {holder} --holder-title Hold "
            f"--legal-basis ownership --document deed"
        )

    def enter_unit(self, number: str, worker: str) -> None:
        self.do(
            f"devices add {number} --account altai --worker {worker} --manufacturer Bitmain --model S17 "
            f"--serial SN-{number} --nominal-ths 56.5 --nominal-w 2520 --owner-bin {BIN} --centre C-1 "
            f"--included-on 2026-01-01"
        )


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Office:
    return Office(tmp_path, database_url)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def device_rows(count: int, account: str = "altai", centre: str = "C-1") -> list[list[str]]:
    return [
        [
            f"N-{number}", account, f"rig{number}", "Bitmain", "S19", f"SN{number}", "95.5", "3250", BIN,
            centre, "hall 1", "", "2026-01-31", "",
        ]
        for number in range(count)
    ]  # fmt: skip


# By hand


def test_a_miner_by_hand_from_entry_to_the_end_of_its_licence(office: Office) -> None:
    office.enter_altai()
    shown = office.see("miners show altai")
    for part in ("Altai", BIN, ADDRESS, "1 registered", "C-1", "in force", "Aset, a@b.kz", "for a test"):
        assert part in shown
    office.do("miners set altai --language kk", "--contact", "")
    said = office.do(
        "miners suspend altai --decision D-1 --reason-code 3",
        *("--from", str(TODAY), "--until", str(TODAY + dt.timedelta(days=60))),
    )
    assert "licence L-1: suspended" in said
    assert "suspended" in office.see("licences list --status suspended")
    later = str(TODAY + dt.timedelta(days=20))
    office.do(f"licences resume L-1 --act A-1 --on {later}")
    office.do(f"licences revoke L-1 --court-act C-9 --on {TODAY + dt.timedelta(days=40)}")
    licence = office.register().licences["L-1"]
    assert [(act.kind, act.number) for act in licence.acts] == [
        ("suspended", "D-1"), ("resumed", "A-1"), ("revoked", "C-9"),
    ]  # fmt: skip
    office.do("licences correct L-1 --without-act C-9")
    assert len(office.register().licences["L-1"].acts) == 2
    miner = office.register().miner("altai")
    assert (miner.language, miner.contacts) == ("kk", ())


def test_a_unit_by_hand_changed_given_away_and_excluded(office: Office) -> None:
    office.enter_altai()
    office.do(f"miners add ile --title Ile --bin {OTHER_BIN}")
    assert "nothing differs" in office.do("devices set KZ-1 --worker s17")
    office.do("devices set KZ-1 --nominal-ths 57 --place hall-2")
    office.do(f"devices transfer KZ-1 --account ile --owner-bin {OTHER_BIN}")
    office.do("devices exclude KZ-1 --on 2026-03-01")
    assert [event.action for event in office.events() if event.kind == "device"] == [
        *("entered", "changed", "transferred", "excluded"),
    ]
    unit = office.register().devices["KZ-1"]
    assert (unit.nominal_ghs, unit.place, str(unit.excluded_on)) == (57_000, "hall-2", "2026-03-01")
    assert "excluded" in office.see("devices show KZ-1")


def test_a_later_address_waits_and_can_be_withdrawn(office: Office) -> None:
    office.enter_altai()
    assert "payments go there from" in office.do(f"miners address altai {OTHER_ADDRESS}")
    assert "only" not in office.do("miners withdraw-address 1.2")
    assert "none in use" in office.fail("miners withdraw-address 1.2")
    assert office.register().addresses["1.2"].withdrawn_us is not None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("miners add altai --title Again --bin 230440000105", "an account of that name exists"),
        ("miners show nobody", "no such account"),
        ("miners add ile --title Ile --bin 230440000106", "check digit"),
        ("miners suspend altai --decision D --reason-code 1 --from 2026-02-01 --until 2026-02-02", "O-08"),
        ("devices show KZ-9", "no such record"),
        ("devices set KZ-1 --nominal-ths many", "is no hashrate"),
        ("licences show L-9", "no such record"),
        ("register show --as-of yesterday", "write it like 2026-01-31"),
        ("register verify --since 7", "SEQ:HASH"),
        ("register log --kind devices", "must be one of"),
        ("register approve 1", "is unknown"),
    ],
)
def test_a_mistake_is_one_clear_line(office: Office, line: str, words: str) -> None:
    office.enter_altai()
    before = len(office.events())
    reads = " show" in line or "verify" in line or " log" in line
    said = office.fail(line, reason=None if reads else "for a test")
    assert words in said
    assert said.startswith("dmpool: ")
    assert len(said.splitlines()) == 1
    assert len(office.events()) == before


def test_a_change_needs_a_reason(office: Office) -> None:
    assert office.run("miners", "add", "altai", "--title", "Altai", "--bin", BIN).exit_code == 2
    assert office.events() == []


def test_the_register_as_it_stood(office: Office) -> None:
    office.enter_altai()
    then = dt.datetime.now(dt.UTC).isoformat()
    office.do("devices exclude KZ-1 --on 2026-02-01")
    office.do("miners set altai --title Altai-2")
    assert "Altai-2" in office.see("miners list")
    assert "Altai-2" not in office.see("miners list --as-of", then)
    assert "registered" in office.see("devices list --as-of", then)
    assert "1 registered, 0 to come, 0 excluded" in office.see("register show --as-of", then)
    assert "0 registered, 0 to come, 1 excluded" in office.see("register show")
    assert "0 hardware units" in office.see("devices list --as-of", str(TODAY - dt.timedelta(days=2)))


def test_searching_and_paging(office: Office) -> None:
    office.enter_altai()
    for number in range(2):
        office.enter_unit(f"KZ-2{number}", f"shelf{number}")
    path = office.directory / "more.csv"
    spreadsheet.write(path, TABLES["device"].names, device_rows(60))
    office.see("devices import", str(path))
    assert "50 of 63 hardware units" in office.see("devices list")
    assert "63 hardware units" in office.see("devices list --all")
    assert "2 hardware units" in office.see("devices list --search SHELF")
    assert "60 hardware units" in office.see("devices list --search s19 --account altai --all")
    assert "0 hardware units" in office.see("devices list --state excluded")
    # Not a terminal: nothing is cut or folded.
    assert re.search(
        r"N-59 .*altai\.rig59 .*Bitmain S19 .*SN59 .*95\.5 .*C-1 .*registered",
        office.see("devices list --all"),
    )


def test_licences_that_end_soon(office: Office) -> None:
    office.enter_altai()
    assert "L-1" in office.see("licences list --ending 3000")
    assert "0 licences" in office.see("licences list --ending 10")
    assert "licence ends soon" not in office.see("compliance digest")
    told = office.see("compliance digest --date 2028-12-01")
    assert "licence ends soon (O-04): 1" in told
    made = json.loads(office.see("compliance digest --json --date 2028-12-01"))
    assert {note["kind"] for note in made["notes"]} >= {"licence_ending", "version_not_tested"}


def test_the_pools_own_data(office: Office) -> None:
    evidence = office.directory / "audit.pdf"
    evidence.write_bytes(b"evidence")
    office.do("pool accredit A-1 --issued-on 2026-01-01 --valid-to 2028-12-31 --issuer Ministry")
    office.do("pool site ekb --address Ekibastuz --role stratum --role backup")
    office.do("pool protocol P-1 --on 2026-01-01 --laboratory STS --version 0.1.0")
    office.do(
        "pool requirement R-1 --text Staff --source Rules --met-on 2026-02-02 --evidence", str(evidence)
    )
    shown = office.see("pool show")
    for part in ("A-1", "Ministry", "stratum, backup", "STS", "audit.pdf"):
        assert part in shown
    sha256 = hashlib.sha256(b"evidence").hexdigest()
    assert office.register().requirements["R-1"].evidence_sha256 == sha256
    assert "roles must be of" in office.fail("pool site x --address y --role kitchen")
    assert "name a file that can be read" in office.fail(
        "pool requirement R-2 --text T --source S --met-on 2026-01-01 --evidence nowhere.pdf"
    )


# Who acts


def test_once_there_are_people_only_a_token_acts(office: Office) -> None:
    first = office.run("people", "add", "aigul", "--role", "compliance", "--reason", "first")
    token = first.stdout.strip()
    assert re.fullmatch(r"[\w-]{43}", token)
    assert "who acts is not known" in office.fail("centres set C-1 --title x")
    office.token = office.directory / "aigul.token"
    office.token.write_text(f"{token}\n")
    office.do(f"miners add altai --title Altai --bin {BIN}")
    assert [event.actor for event in office.events()] == [office.events()[0].actor, "aigul"]
    assert office.events()[0].actor.startswith("os:")
    assert token not in "".join(event.body for event in office.events())
    office.do("people add dana --role auditor")
    assert "valid" in office.see("people list")
    other = office.run(
        "people", "new-token", "aigul", "--reason", "lost", "--token-file", str(office.token),
    )  # fmt: skip
    assert other.exit_code == 0
    assert "nobody's, or was revoked" in office.fail("people revoke dana")
    office.token.write_text(other.stdout)
    office.do("people revoke dana")
    assert "without a compliance officer" in office.fail("people revoke aigul")
    office.token.write_text("two words")
    assert "one token and nothing else" in office.fail("people revoke aigul")


def test_a_token_file_of_the_configuration_and_a_role_that_may_not(office: Office) -> None:
    officer = office.run("people", "add", "aigul", "--role", "compliance", "--reason", "first").stdout
    office.token = office.directory / "aigul.token"
    office.token.write_text(officer)
    auditor = office.run(
        "people", "add", "dana", "--role", "auditor", "--reason", "x", "--token-file", str(office.token)
    ).stdout
    kept = office.directory / "dana.token"
    kept.write_text(auditor)
    office.config.write_text(office.config.read_text() + f'\n[compliance]\ntoken_file = "{kept}"\n')
    office.token = None
    assert "dana: the role auditor may not write miner" in office.fail(
        f"miners add altai --title Altai --bin {BIN}"
    )


def test_two_pairs_of_eyes(office: Office) -> None:
    office.enter_altai()
    tokens = {}
    for name in ("aigul", "bolat"):
        made = office.run(
            *("people", "add", name, "--role", "compliance", "--reason", "x"),
            *(["--token-file", str(office.token)] if office.token else []),
        )
        tokens[name] = office.token = office.directory / f"{name}.token"
        office.token.write_text(made.stdout)
        office.token = tokens["aigul"]
    office.four_eyes()
    said = office.do(f"miners address altai {OTHER_ADDRESS}")
    assert "dmpool register approve 1" in said
    assert "payments go there from" not in said
    assert OTHER_ADDRESS in office.see("register pending")
    assert "another officer must approve" in office.fail("register approve 1")
    office.token = tokens["bolat"]
    office.do("register approve 1")
    assert office.register().addresses["1.2"].address == OTHER_ADDRESS
    office.do("licences suspend L-1 --decision D --reason-code 1",
              *("--from", str(TODAY), "--until", str(TODAY + dt.timedelta(days=60))))  # fmt: skip
    assert office.register().licences["L-1"].acts != ()
    office.do(f"licences resume L-1 --act A --on {TODAY + dt.timedelta(days=9)}")
    office.do("register reject 2")
    assert len(office.register().licences["L-1"].acts) == 1


# The log


def test_the_chain_verifies_and_a_known_hash_is_asked_for(office: Office) -> None:
    office.enter_altai()
    said = office.see("register verify")
    events = office.events()
    assert f"{len(events)} events" in said
    assert f"{events[-1].seq}:{events[-1].sha256}" in said
    office.do("devices set KZ-1 --place x")
    office.see(f"register verify --since {events[2].seq}:{events[2].sha256}")
    assert "not the one that was known" in office.fail(
        f"register verify --since {events[2].seq}:{events[1].sha256}", code=1, reason=None
    )
    assert "is not there" in office.fail(
        f"register verify --since 99:{events[1].sha256}", code=1, reason=None
    )


def test_a_changed_past_is_found(office: Office) -> None:
    """Of whoever could get round the trigger that guards the log."""
    office.enter_altai()

    async def tamper() -> None:
        engine = create_engine(office.url)
        async with engine.begin() as connection:
            await connection.execute(sa.text("SET session_replication_role = replica"))
            await connection.execute(sa.text("UPDATE register_event SET reason = 'x' WHERE seq = 2"))
        await engine.dispose()

    uvloop.run(tamper())
    said = office.fail("register verify", code=1, reason=None)
    assert "register event 2: its content does not have the hash" in said


def test_the_log_tells_who_changed_what(office: Office) -> None:
    office.enter_altai()
    office.do("devices set KZ-1 --place x", reason="moved to another hall")
    assert "moved to another hall" in office.see("register log --kind device --key KZ-1")
    assert "moved to another hall" not in office.see("register log --kind miner")
    newest = office.see("register log --limit 1")
    assert "moved" in newest
    assert "entered" not in newest
    assert "moved" in office.see("register log --since", str(TODAY - dt.timedelta(days=1)))
    assert "moved" not in office.see("register log --since", str(TODAY + dt.timedelta(days=2)))


# In bulk


def import_(office: Office, kind: str, rows: Sequence[Sequence[str]], *options: str, code: int = 0) -> Result:
    path = office.directory / f"{kind}.csv"
    spreadsheet.write(path, TABLES[kind].names, rows)
    result = office.run(f"{kind}s", "import", str(path), *options)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def enter_all(office: Office) -> None:
    """A register with something in every table."""
    office.enter_altai()
    office.enter_centre("C-2", HOST_BIN)
    import_(
        office, "miner", [["ile", '=Ile; +"Co"', OTHER_BIN, "ru", "-A\\;B;x@y.kz|C;;+7 701 1", OTHER_ADDRESS]]
    )
    import_(
        office,
        "licence",
        [["L-2", "ile", "II", "2026-01-01", "2026-01-01", "31.12.2028", "@Ministry",
          f"suspended;D-1;{TODAY};2;{TODAY + dt.timedelta(days=70)}"]],
    )  # fmt: skip
    row = device_rows(1, "ile", "C-2")[0]
    row[8], row[11] = OTHER_BIN, "H-1"
    import_(office, "device", [*device_rows(3)[1:], row])


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
