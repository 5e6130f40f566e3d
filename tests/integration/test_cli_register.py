"""The commands of the register, against real PostgreSQL: by hand, by whom, and as it stood."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvloop
from rich.console import Console

from pool import cli_view, spreadsheet
from pool.database import create_engine
from register.tables import TABLES
from tests.integration.office import BIN, OTHER_ADDRESS, OTHER_BIN, TODAY, Office, device_rows, enter_all
from tests.integration.pool_process import ADDRESS


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Office:
    return Office(tmp_path, database_url)


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


def test_a_miner_has_a_payout_threshold_of_its_own(office: Office) -> None:
    office.do(f"miners add altai --title Altai --bin {BIN} --payout-threshold 250000")
    assert "250,000 satoshis" in office.see("miners show altai")
    said = office.fail("miners set altai --payout-threshold 9999")
    assert "give 10000 to 10000000000, or 0" in said
    office.do("miners set altai --language kk")
    assert office.register().miner("altai").payout_threshold_sat == 250_000
    office.do("miners set altai --payout-threshold 0")
    assert office.register().miner("altai").payout_threshold_sat == 0
    assert "the pool's threshold" in office.see("miners show altai")


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
        (f"register verify --since {'9' * 20}:{'0' * 64}", "SEQ:HASH"),
        (f"register verify --since 1:{'z' * 64}", "SEQ:HASH"),
        ("register log --limit 99999999999999999999", "must be 1 to 1000000"),
        ("register log --limit 0", "must be 1 to 1000000"),
        ("register log --since 9999-12-31", "2199-12-31"),
        ("register log --since 9999-12-31T12:00", "2199-12-31"),
        ("register show --as-of 0001-01-01", "2009-01-03"),
        ("miners list --as-of 9999-12-31", "2199-12-31"),
        ("miners show altai --as-of 9999-12-31T23:59:59-14:00", "2199-12-31"),
        ("compliance digest --date 9999-12-31", "2199-12-31"),
        ("compliance digest --date 2000-01-01", "2009-01-03"),
        ("miners revoke altai --court-act C --on 9999-12-31", "2199-12-31"),
        ("miners resume altai --act A --on 0001-01-01", "2009-01-03"),
        ("miners suspend altai --decision D --reason-code 1 --from 9999-12-31 --until 9999-12-31", "2199"),
        ("miners suspend altai --decision D --reason-code 1 --from 2026-02-01 --until 9999-12-31", "9999"),
        ("licences suspend L-1 --decision D --reason-code 1 --from 9999-12-31 --until 9999-12-31", "term"),
        ("licences end L-1 --act A --on 9999-12-31", "outside its term"),
        ("licences correct L-1 --valid-to 9999-12-31", "2199-12-31"),
        ("devices exclude KZ-1 --on 9999-12-31", "2199-12-31"),
        ("pool accredit A-1 --issued-on 0001-01-01 --valid-to 9999-12-31", "2009-01-03"),
        ("register log --kind devices", "must be one of"),
        ("register approve 1", "is unknown"),
    ],
)
def test_a_mistake_is_one_clear_line(office: Office, line: str, words: str) -> None:
    office.enter_altai()
    before = len(office.events())
    reads = any(word in line for word in (" show", " verify", " log", " list", " digest"))
    said = office.fail(line, reason=None if reads else "for a test")
    assert words in said
    assert said.startswith("dmpool: ")
    assert len(said.splitlines()) == 1
    assert len(office.events()) == before


def test_an_act_is_taken_out_by_number_and_day(office: Office) -> None:
    """Decisions are numbered anew each year: two may bear one number."""
    office.enter_altai()
    first, second = TODAY, TODAY + dt.timedelta(days=5)
    until = TODAY + dt.timedelta(days=60)
    office.do(f"licences suspend L-1 --decision 7 --reason-code 3 --from {first} --until {until}")
    office.do(f"licences resume L-1 --act 7 --on {second}")
    assert f"2 acts 7, of {first}, {second}" in office.fail("licences correct L-1 --without-act 7")
    assert "has no act 7 of 2026-01-01" in office.fail("licences correct L-1 --without-act 7 --on 2026-01-01")
    assert "say which by --without-act" in office.fail(f"licences correct L-1 --on {first}")
    office.do(f"licences correct L-1 --without-act 7 --on {second}")
    assert [act.kind for act in office.register().licences["L-1"].acts] == ["suspended"]
    office.do("licences correct L-1 --without-act 7")
    assert office.register().licences["L-1"].acts == ()


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


def test_tables_of_a_terminal_of_80_columns_lose_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_all(office)
    title = "Limited liability partnership Ekibastuz digital mining of the north"
    office.do(f"miners set ile --bin {OTHER_BIN} --title", title)
    monkeypatch.setattr(cli_view, "console", Console(force_terminal=True, width=80, color_system=None))
    shown = office.see("miners list")
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    for whole in (BIN, OTHER_BIN, "2028-12-31", *title.split()):
        assert whole in shown


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
