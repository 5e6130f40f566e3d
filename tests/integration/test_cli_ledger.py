"""`dmpool ledger` against real PostgreSQL: what the journal says, and corrections by officers alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvloop

from pool.database import create_engine
from register.person import token_hash
from tests.integration.ledger_world import DAY, World
from tests.integration.office import Office
from tests.integration.paid_world import FEE, REWARD, confirm, mature, mine, reserve, send

PAID = 1_000_000


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Office:
    """A pool in which miner1 and miner2 have parts of a mature block, and miner1 was paid some of it."""

    async def live() -> None:
        engine = create_engine(database_url)
        try:
            world = World(engine)
            await world.settle_in()
            await mine(world, 1, {2: 3})
            await mature(world)
            number = await reserve(world, {1: PAID})
            await send(world, number)
            await confirm(world, number, {1: PAID})
        finally:
            await engine.dispose()

    uvloop.run(live())
    return Office(tmp_path, database_url)


def meddle(office: Office, statement: str) -> None:
    """What no program does: change the past behind the triggers' backs."""

    async def change() -> None:
        engine = create_engine(office.url)
        async with engine.begin() as connection:
            await connection.execute(sa.text("SET session_replication_role = replica"))
            await connection.execute(sa.text(statement))
        await engine.dispose()

    uvloop.run(change())


def balances(office: Office, prefix: str = "") -> dict[str, int]:
    rows = [line.split() for line in office.see("ledger balance", *([prefix] if prefix else [])).splitlines()]
    return {
        row[0]: int(next(cell for cell in row[1:] if cell.lstrip("-").isdigit()))
        for row in rows
        if row and ":" in row[0]
    }


def test_balances_are_shown_in_their_own_direction_and_sides_are_equal(office: Office) -> None:
    """I3."""
    found = balances(office)
    assert found["asset:coinbase:mature"] == REWARD - PAID - FEE
    assert found["pool:network_fees"] == -FEE
    owed = sum(amount for account, amount in found.items() if account.startswith("miner:"))
    assert found["asset:coinbase:mature"] == owed + sum(
        amount for account, amount in found.items() if account.startswith("pool:")
    )
    assert list(balances(office, "miner:1:")) == ["miner:1:immature", "miner:1:payable", "miner:1:paying"]
    assert "miner1" in office.see("ledger balance", "miner:1:payable")
    assert "none" in office.see("ledger balance", "--as-of", "2026-11-01")
    told = office.see("ledger trial-balance")
    assert "debits are credits, and every balance is that of its postings" in told
    assert f"{REWARD - PAID}" in told


def test_a_journal_that_does_not_balance_is_an_error(office: Office) -> None:
    """I3: a satoshi too much is seen, in the postings and in the kept balances."""
    meddle(
        office,
        "UPDATE account_day SET closing = closing + 1, debit = debit + 1 WHERE account = 'pool:network_fees'",
    )
    said = office.fail("ledger trial-balance", code=1, reason=None)
    assert f"account pool:network_fees: kept is {FEE + 1}, its postings sum to {FEE} satoshis" in said
    meddle(office, "UPDATE journal_posting SET amount = amount + 1 WHERE account = 'pool:network_fees'")
    said = office.fail("ledger trial-balance", code=1, reason=None)
    assert f"debits {REWARD - PAID + 1}, credits {REWARD - PAID}" in said


def test_entries_name_their_source_and_who_wrote_them(office: Office) -> None:
    told = office.see("ledger entries", "--from", str(DAY))
    for words in ("block_confirmed", "block_matured", "payout_reserved", "payout 1", f"-{PAID}", "settler"):
        assert words in told
    only = office.see("ledger entries", "--from", str(DAY), "--account", "pool:network_fees")
    assert "payout_confirmed" in only
    assert "block_matured" not in only
    assert "none" in office.see("ledger entries", "--from", "2026-11-01", "--to", "2026-11-02")


def test_a_statement_is_shown_and_written(office: Office) -> None:
    told = office.see("ledger statement", "miner1", str(DAY))
    for words in ("miner1 LLP", "credited", "confirmed", f"{1:064x}", "0.01000000", "mature"):
        assert words in told
    out = office.directory / "s.json"
    office.see("ledger statement", "miner1", "2026-11", "--out", str(out))
    assert json.loads(out.read_bytes())["paid_sat"] == PAID
    office.see("ledger statement", "miner1", "2026-11", "--out", str(out.with_suffix(".csv")))
    assert out.with_suffix(".csv").read_text().startswith("section,day,")
    for arguments, words in (
        (("nobody", "2026-11"), "no such account"),
        (("miner1", "2026-11-31"), "is no day and no month"),
        (("miner1", "2999-01"), "has not begun"),
        (("miner1", "2026-11", "--out", "s.pdf"), "is written to .csv or .json"),
    ):
        assert words in office.fail("ledger statement", *arguments, reason=None)
    assert "No such file" in office.fail(
        "ledger statement", "miner1", "2026-11", "--out", "/nowhere/s.csv", reason=None
    )


def test_a_correction_is_an_entry_with_reason_and_actor(office: Office) -> None:
    """I3: and nothing goes below zero by it."""
    before = balances(office)
    told = office.do(
        "ledger correct --from pool:correction --to miner:2:payable --amount 500", reason="letter 7"
    )
    assert "correction booked as entry" in told
    after = balances(office)
    assert after["miner:2:payable"] == before["miner:2:payable"] + 500
    assert after["pool:correction"] == -500
    assert "letter 7" in office.see("ledger entries", "--from", "2026-11-24", "--to", "2036-01-01")
    assert "debits are credits" in office.see("ledger trial-balance")
    for line, words in (
        ("--from miner:3:payable --to pool:correction --amount 1", "may not take it below zero"),
        ("--from pool:correction --to miner:9:payable --amount 1", "there is no miner 9"),
        ("--from miner:1:paying --to pool:correction --amount 1", "cannot be corrected"),
        ("--from asset:coinbase:mature --to pool:correction --amount 6000000000", "below zero"),
    ):
        assert words in office.fail(f"ledger correct {line}")
    assert balances(office) == after


def test_only_an_officer_corrects(office: Office) -> None:
    """I3: an operator's token is refused, an officer's is named in the entry."""
    tokens = {}
    for name, role in (("dana", "compliance"), ("oleg", "operator")):
        out = office.run(*f"people add {name} --role {role} --reason test".split())
        path = office.directory / name
        path.write_text(out.stdout)
        tokens[name] = path
        office.token = tokens["dana"]
    line = "ledger correct --from pool:correction --to miner:2:payable --amount 5"
    office.token = tokens["oleg"]
    assert "oleg: the role operator may not correct the journal" in office.fail(line)
    office.token = None
    assert "who acts is not known" in office.fail(line)
    office.token = tokens["dana"]
    office.do(line)
    assert "dana" in office.see(
        "ledger entries", "--from", str(DAY), "--to", "2036-01-01", "--account", "pool:correction"
    )


def test_a_miner_is_given_a_token_and_the_register_keeps_its_hash_alone(office: Office) -> None:
    first = office.run("miners", "token", "miner1", "--reason", "asked")
    second = office.run("miners", "token", "miner1", "--reason", "lost")
    kept = office.register().miner("miner1").statement_token_sha256
    tokens = [one.stdout.strip() for one in (first, second)]
    assert kept == token_hash(tokens[1]) != token_hash(tokens[0])
    assert not any(token in event.body for token in tokens for event in office.events())
    office.do("miners set miner1 --language ru")
    assert office.register().miner("miner1").statement_token_sha256 == kept
