"""`import` and `export` of every kind of record that comes in tables.

An import is one transaction. When a row is bad nothing is written, unless `--partial` says to take the good
ones. The bad ones come back in a file with line, column and reason, which can be mended and imported as it
is. An export imported again changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pool import register_store, spreadsheet
from pool.cli_actor import Acting, TokenOption, acting, mistakes
from pool.cli_options import ConfigOption, complain
from pool.cli_view import View, told
from pool.config import load
from pool.spreadsheet import Sheet
from pool.table_import import Outcome, TooManyBadError, bad_rows, prepare, take_in
from register.clerk import Clerk
from register.tables import TABLES, Table, write_row

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV (UTF-8) or XLSX; first line: headings.")
]
OutArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Write here: .csv or .xlsx.")]
PartialOption = Annotated[bool, typer.Option("--partial", help="Take the good rows, leave out the bad ones.")]
ErrorsOption = Annotated[
    Path | None, typer.Option("--errors", help="Where bad rows go; else FILE.errors.csv.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Look at everything, write nothing.")]
ImportReason = Annotated[
    str | None, typer.Option("--reason", help="Why; else the file's name and its SHA-256.")
]
_SHOWN: Final = 5
_NAME_SHOWN: Final = 150
_PLURALS: Final = {
    "device": "hardware units",
    "licence": "licences",
    "centre": "data centres",
    "miner": "miners",
}


class _NotStored(Exception):
    """Leaves the transaction so that nothing of it stays."""


def offer_import(cli: typer.Typer, kind: str, text: str) -> None:
    """Give a group of commands its `import`; `text` is the help of it."""

    @cli.command("import", help=text)
    def _import(
        file: FileArgument,
        partial: PartialOption = False,
        errors: ErrorsOption = None,
        dry_run: DryRunOption = False,
        reason: ImportReason = None,
        token_file: TokenOption = None,
        config: ConfigOption = None,
    ) -> None:
        take(kind, file, config, token_file, reason, partial=partial, errors=errors, dry_run=dry_run)


def take(
    kind: str,
    file: Path,
    config: Path | None,
    token_file: Path | None,
    reason: str | None,
    *,
    partial: bool,
    errors: Path | None,
    dry_run: bool,
) -> None:
    """Import a file; ends the program with exit code 1 when a row is bad."""
    settings = load(config)
    report = errors or file.with_name(f"{file.name}.errors.csv")

    with mistakes():
        sheet = spreadsheet.read(file)

        async def work() -> tuple[Outcome, bool]:
            async with acting(settings, token_file, reason or _reason(file)) as act:
                return await _work(act, TABLES[kind], sheet, partial=partial, dry_run=dry_run)

        try:
            outcome, stored = uvloop.run(work())
        except TooManyBadError as error:
            spreadsheet.write(report, *bad_rows(sheet.heading.cells, error.bad))
            complain(f"{report}: the bad rows up to there")
            raise
        if outcome.bad:
            spreadsheet.write(report, *bad_rows(sheet.heading.cells, outcome.bad))
    _tell(kind, file, outcome, stored=stored)
    if outcome.bad:
        _complain(outcome, report, stored=stored or dry_run)
        raise SystemExit(1)


async def _work(
    act: Acting, table: Table, sheet: Sheet, *, partial: bool, dry_run: bool
) -> tuple[Outcome, bool]:
    """What came of a file, and whether it is stored; the register is locked only while rows are written."""
    miners = await register_store.read(act.engine, ("miner",))
    with _progress("reading") as progress:
        prepared = prepare(table, sheet, miners, progress)

    def write(clerk: Clerk) -> Outcome:
        with _progress("writing", len(prepared.rows)) as progress:
            outcome = take_in(clerk, act.terms, table, prepared, progress)
        outcome.counts["proposed"] = sum(event.action == "proposed" for event in clerk.events)
        return outcome

    if dry_run:
        return write(await act.trying()), False
    try:
        async with act.writing() as clerk:
            outcome = write(clerk)
            _leave_unless(partial or not outcome.bad)
    except _NotStored:
        return outcome, False
    return outcome, True


def _leave_unless(stored: bool) -> None:
    if not stored:
        raise _NotStored


def give(kind: str, file: Path, records: Iterable[msgspec.Struct], view: View) -> None:
    """Export records."""
    table = TABLES[kind]
    rows = [write_row(table, record, view.register, view.at_us) for record in records]
    with mistakes():
        spreadsheet.write(file, table.names, rows)
    told(f"{file}: {len(rows)} {_PLURALS[kind]} as of {view.clock(view.at_us)}")


def _reason(file: Path) -> str:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    name = "".join(letter for letter in file.name if letter.isprintable())[:_NAME_SHOWN]
    return f"import of {name}, SHA-256 {sha256}"


@contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    watched = Console(stderr=True)
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


def _tell(kind: str, file: Path, outcome: Outcome, *, stored: bool) -> None:
    counts = outcome.counts
    what = f"{counts['entered']} entered, {counts['changed']} changed, {counts['same']} as before"
    told(
        f"{file}: {_PLURALS[kind]}: {what}, {counts['bad']} bad" + ("" if stored else "; nothing was stored")
    )
    if counts["proposed"] and stored:
        told(
            f"{counts['proposed']} of these changes wait for another compliance officer: "
            f"`dmpool register pending`"
        )


def _complain(outcome: Outcome, report: Path, *, stored: bool) -> None:
    for one in outcome.bad[:_SHOWN]:
        complain(f"line {one.row.line}: {f'{one.column}: ' if one.column else ''}{one.reason}")
    rest = len(outcome.bad) - _SHOWN
    if rest > 0:
        complain(f"and {rest} more")
    advice = "" if stored else ", or take the good ones with --partial"
    complain(f"{report}: all bad rows with line, column and reason; mend and import it{advice}")
