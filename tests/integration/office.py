"""The commands of the register on one pool's database, for tests, and registers entered by them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import uvloop
from typer.testing import CliRunner, Result

from pool import register_store, spreadsheet
from pool.cli import cli
from pool.database import create_engine
from register.event import Event
from register.register import Register
from register.tables import TABLES
from tests.integration.pool_process import ADDRESS, PoolProcess

BIN, OTHER_BIN, HOST_BIN = "230440000105", "940140000385", "040340000097"
OTHER_ADDRESS = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
TODAY = dt.datetime.now(dt.UTC).date()


class Office:
    """Commands on one pool's register, and what its log says."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self.url = database_url
        self.config = PoolProcess(directory, database_url).config
        self.token: Path | None = None

    def run(self, *arguments: str) -> Result:
        token = ["--token-file", str(self.token)] if self.token and "--reason" in arguments else []
        return CliRunner().invoke(cli, [*arguments, *token, "--config", str(self.config)])

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


def device_rows(count: int, account: str = "altai", centre: str = "C-1") -> list[list[str]]:
    return [
        [
            f"N-{number}", account, f"rig{number}", "Bitmain", "S19", f"SN{number}", "95.5", "3250", BIN,
            centre, "hall 1", "", "2026-01-31", "",
        ]
        for number in range(count)
    ]  # fmt: skip


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
