"""`dmpool regulators` on a real database: who may come, with what, and who came."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from pool import door_chain
from pool.database import create_engine, migrate
from pool.door_regulators import Book
from pool.schema import alembic_config
from register.person import token_hash
from tests.integration.office import Office
from tests.integration.test_door_tls import Authority


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Office:
    return Office(tmp_path, database_url)


def add(office: Office, name: str, *more: str) -> str:
    return office.do(f"regulators add {name} --authority tax_authority --title", f"Комитет {name}", *more)


def token_of(office: Office, line: str) -> tuple[str, str]:
    """Id and secret of a token that a command makes; the secret alone is on standard output."""
    result = office.run(*f"regulators token {line} --reason asked".split())
    assert result.exit_code == 0, result.output
    [secret] = result.stdout.split()
    said = re.search(r"token ([0-9a-f]{12}) of", result.stderr)
    assert said is not None
    assert secret not in result.stderr
    return said.group(1), secret


def book_of(office: Office) -> Book:
    async def read() -> Book:
        engine = create_engine(office.url)
        async with engine.connect() as connection:
            book = await door_chain.read_book(connection)
        await engine.dispose()
        return book

    return asyncio.run(read())


def test_a_regulator_from_the_first_day_to_the_last(office: Office) -> None:
    assert "regulator tax: entered" in add(
        office, "tax", "--network", "192.0.2.0/24", "--network", "2001:db8::/32"
    )
    first, secret = token_of(office, "tax --scope forms --scope reports --days 30")
    second, _ = token_of(office, "tax --scope archive --from 2099-01-01")
    book = book_of(office)
    assert book.tokens[first].token_sha256 == token_hash(secret)
    assert book.tokens[first].scopes == ("forms", "reports")
    assert book.tokens[first].expires_us - book.tokens[first].not_before_us == 30 * 86_400_000_000
    assert book.regulators["tax"].networks == ("192.0.2.0/24", "2001:db8::/32")
    shown = office.see("regulators list")
    for words in ("Комитет tax", "192.0.2.0/24", first, second, "not yet", "good"):
        assert words in shown
    assert secret not in shown

    assert f"token {first} of tax: revoked" in office.do(f"regulators revoke {first}")
    assert office.do("regulators change tax --close") == "regulator tax: changed\n"
    assert office.do("regulators change tax --close") == "nothing differs: nothing was written\n"
    assert (
        office.do("regulators change tax --open --anywhere --title", "Комитет") == "regulator tax: changed\n"
    )
    assert (book_of(office).regulators["tax"].networks, book_of(office).regulators["tax"].title) == (
        (),
        "Комитет",
    )
    told = office.see("regulators access")
    for words in ("token", "issued", "revoked", "closed", "opened", "for a test"):
        assert words in told
    verified = office.see("regulators verify")
    assert verified.startswith("6 events, every hash is right; keep 6:")
    kept = verified.rpartition(" ")[2].strip()
    assert office.see(f"regulators verify --since {kept}") == verified


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("regulators add Tax --authority other --title T", "regulator 'Tax': use 2 to 32 of a-z"),
        ("regulators add tax --authority other --title T", "is there already; `dmpool regulators change`"),
        (
            "regulators add new --authority other --title T --network 192.0.2.1/24",
            "network '192.0.2.1/24': 192.0.2.1/24 has host bits set; write it as 192.0.2.0/24",
        ),
        ("regulators change none --open", "regulator 'none': there is none; `dmpool regulators list`"),
        ("regulators change tax --anywhere --network 192.0.2.0/24", "say either what it needs, or"),
        ("regulators token none --scope forms", "regulator 'none': there is none"),
        ("regulators token tax --scope money", "--scope 'money': must be one of reports, forms"),
        ("regulators token tax --scope forms --days 733", "it must end after it begins, and within 732 days"),
        ("regulators token tax --scope forms --from tomorrow", "--from 'tomorrow': write the day like"),
        ("regulators token tax --scope forms --from 2020-01-01", "its end has passed already"),
        ("regulators revoke 0123456789ab", "token '0123456789ab': there is none"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(office: Office, line: str, said: str) -> None:
    add(office, "tax")
    assert said in " ".join(office.fail(line).split())
    assert office.see("regulators verify").startswith("1 events")


def test_only_a_compliance_officer_with_a_token_decides(office: Office, tmp_path: Path) -> None:
    files = {}
    for name, role in (("boss", "compliance"), ("hand", "operator")):
        result = office.run(*f"people add {name} --role {role} --reason first".split())
        assert result.exit_code == 0, result.output
        files[name] = tmp_path / name
        files[name].write_text(result.stdout)
        files[name].chmod(0o600)
        office.token = files["boss"]
    office.token = None
    assert "who acts is not known" in office.fail("regulators add tax --authority other --title T")
    office.token = files["hand"]
    assert "may not decide on regulators; ask a compliance officer" in " ".join(
        office.fail("regulators add tax --authority other --title T").split()
    )
    office.token = files["boss"]
    add(office, "tax")
    assert "boss (compliance)" in office.see("regulators access")


def test_a_certificate_is_known_by_its_hash(office: Office, tmp_path: Path) -> None:
    file, key, sha256 = Authority(tmp_path, "authority").issue("ministry")
    add(office, "ministry", "--certificate", str(file))
    assert book_of(office).regulators["ministry"].certificate_sha256 == sha256
    assert sha256[:16] in office.see("regulators list")
    assert "holds no certificate" in office.fail("regulators change ministry --certificate", str(key))
    assert "No such file" in office.fail("regulators change ministry --certificate", str(tmp_path / "none"))
    office.do("regulators change ministry --no-certificate")
    assert book_of(office).regulators["ministry"].certificate_sha256 == ""


def test_a_changed_chain_and_a_lost_event_are_found(office: Office) -> None:
    add(office, "tax")
    add(office, "other")
    kept = office.see("regulators verify").rpartition(" ")[2].strip()

    async def forge(*statements: str) -> None:
        engine = create_engine(office.url)
        async with engine.begin() as connection:
            await connection.execute(sa.text("ALTER TABLE regulator_access_event DISABLE TRIGGER USER"))
            for statement in statements:
                await connection.execute(sa.text(statement))
        await engine.dispose()

    asyncio.run(forge("DELETE FROM regulator_access_event WHERE seq = 2"))
    assert office.see("regulators verify").startswith("1 events"), "the end can be cut off unseen,"
    assert "access event 2: does not have the hash" in office.fail(
        f"regulators verify --since {kept}", code=1, reason=None
    ), "but not from who kept it"
    asyncio.run(forge("UPDATE regulator_access_event SET reason = 'another' WHERE seq = 1"))
    assert "access event 1: its content does not have the hash" in office.fail(
        "regulators verify", code=1, reason=None
    )
    assert "write it as NUMBER:HASH" in office.fail("regulators verify --since 7", reason=None)


async def test_an_empty_chain_can_be_taken_away_and_a_begun_one_not(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    await migrate(engine)

    async def back() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(lambda plain: command.downgrade(alembic_config(plain), "0010"))

    await back()
    await migrate(engine)
    async with engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO regulator_access_event VALUES "
                "(1, 1, 'a', 'a', 'a', 'access', 'a', 'a', '{}', NULL, 'x')"
            )
        )
    with pytest.raises(RuntimeError, match="restore a backup"):
        await back()
    await engine.dispose()
