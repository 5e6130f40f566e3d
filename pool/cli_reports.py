"""`dmpool reports`: signed daily reports, built, listed, shown and verified.

`verify` is for outsiders: it needs the file and the public key, and neither configuration nor database.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.table import Table

from pool import report_proofs, reports
from pool.cli_cms import cms, signatures
from pool.cli_options import ConfigOption, complain, console, tell_checks
from pool.cli_report_pdf import pdf
from pool.cli_verify import verify
from pool.config import ConfigError, Settings, load
from pool.log_store import LogError
from pool.reports import Listed, ReportError
from pool.resources import command_database, missing_key, publisher, rules_of, signers
from reporting import miner_proof
from reporting.daily import DoesNotReconcile
from reporting.dmpool_verify import Check
from reporting.verify import read_report

cli = typer.Typer(no_args_is_help=True, help="Signed daily reports.")
cli.command()(cms)
cli.command()(signatures)
cli.command()(pdf)
cli.command()(verify)

DateOption = Annotated[
    dt.datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Day in Kazakhstan time.")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write here; else to standard output.")]


@cli.command()
def build(
    date: DateOption,
    config: ConfigOption = None,
    out: OutOption = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Allow a day that is not over; the report says so.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, when this corrects an earlier version.")] = (
        reports.DEFAULT_REASON
    ),
) -> None:
    """Build and sign the report of a day; the same facts give the same report again."""
    settings = load(config)
    _require_writable(out)

    async def work() -> bytes:
        async with command_database(settings) as engine:
            await reports.settle(engine)
            return await reports.build_report(
                engine,
                date.date(),
                publisher(settings, rules_of(settings), date.date()),
                time.time_ns() // 1000,
                unfinished=unfinished,
                reason=reason,
            )

    try:
        envelope = uvloop.run(work())
    except (ReportError, DoesNotReconcile) as error:
        complain(str(error))
        raise SystemExit(1) from None
    _write(envelope, out)
    made = json.loads(envelope)
    key = made["signatures"][0]["public_key"]
    print(f"report of {date.date()}: sha256 {made['report_sha256']}, public key {key}", file=sys.stderr)


@cli.command("list")
def list_(config: ConfigOption = None) -> None:
    """All reports, newest last."""
    settings = load(config)

    async def read() -> list[Listed]:
        async with command_database(settings) as engine:
            return await reports.list_reports(engine)

    table = Table("sequence", "day", "version", "sha256", "built at")
    for listed in uvloop.run(read()):
        table.add_row(
            str(listed.sequence),
            str(listed.day),
            str(listed.version),
            listed.sha256,
            f"{listed.built_at:%Y-%m-%d %H:%M:%S} UTC",
        )
    console.print(table)


@cli.command()
def show(
    date: DateOption,
    config: ConfigOption = None,
    out: OutOption = None,
    version: Annotated[int | None, typer.Option(min=1, help="Which version; else the newest.")] = None,
) -> None:
    """The bytes of a published report."""
    settings = load(config)
    try:
        _write(uvloop.run(_get(settings, date.date(), version)), out)
    except ReportError as error:
        complain(str(error))
        raise SystemExit(1) from None


@cli.command()
def key(config: ConfigOption = None) -> None:
    """The public key of this machine's first source; `dmpool keys list` tells all keys and their lives."""
    settings = load(config)
    missing = missing_key(settings)
    if missing is not None:
        complain(f"{missing}: no key yet; it is made when the pool first runs or builds a report")
        raise SystemExit(1)
    print(signers(settings)[0].public_key)


@cli.command()
def proof(
    date: DateOption,
    account: Annotated[str, typer.Option("--account", help="The miner's account.")],
    config: ConfigOption = None,
    out: OutOption = None,
) -> None:
    """A file for a miner that proves its row in the published totals of a day, and shows no other row."""
    settings = load(config)
    _require_writable(out)

    async def work() -> bytes:
        async with command_database(settings) as engine:
            return await report_proofs.proof_of(engine, rules_of(settings), date.date(), account)

    try:
        _write(uvloop.run(work()), out)
    except (ReportError, LogError) as error:
        complain(str(error))
        raise SystemExit(1) from None


@cli.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="The proof.")],
    public_key: Annotated[
        str, typer.Option("--key", help="The pool's public key, 64 hex digits; or the log's, as a vkey.")
    ],
) -> None:
    """Check a miner's proof without trusting the pool; exits non-zero when anything is wrong."""
    try:
        checks = miner_proof.check(read_report(file), public_key)
    except (OSError, ValueError) as error:
        complain(str(error))
        raise SystemExit(2) from None
    _tell_checks(file, checks)


def _tell_checks(file: Path, checks: list[Check]) -> None:
    """One line for each check; exits with 1 unless all passed."""
    failed = tell_checks(checks)
    if failed:
        complain(f"{file}: {failed} of {len(checks)} checks failed: do not trust this file")
        raise SystemExit(1)
    console.print(f"{file}: all {len(checks)} checks passed", markup=False)


async def _get(settings: Settings, day: dt.date, version: int | None) -> bytes:
    async with command_database(settings) as engine:
        return await reports.get_report(engine, day, version)


def _require_writable(out: Path | None) -> None:
    """A report is published when it is built, so the file is tried first."""
    if out is not None:
        try:
            out.open("ab").close()
        except OSError as error:
            complain(f"--out {out}: {error.strerror}; name a file that can be written")
            raise SystemExit(2) from None


def _write(envelope: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.buffer.write(envelope)
        return
    try:
        out.write_bytes(envelope)
    except OSError as error:
        raise ConfigError(
            f'--out: "{out}": {error.strerror}; the report is kept: `dmpool reports show` writes it elsewhere'
        ) from error
