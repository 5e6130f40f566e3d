"""`dmpool audit`: recompute a period from the archive, in a database of its own, and say where it differs.

It reads the archive and both databases and changes nothing. Exit code 1: something differs, or the audit
cannot be made.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pool.audit import Outcome, Request, audit
from pool.audit_sources import AuditError
from pool.cli_options import ConfigOption, complain, console
from pool.clock import unix_microseconds
from pool.config import Settings, load
from pool.resources import command_database, missing_key, rules_of, signers

_DAYS = ["%Y-%m-%d"]
FromOption = Annotated[
    dt.datetime, typer.Option("--from", formats=_DAYS, help="First day, in Kazakhstan time.")
]
ToOption = Annotated[dt.datetime, typer.Option("--to", formats=_DAYS, help="Last day, included.")]
ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", help="The share archive; else data_dir/archive.")
]


def command(
    first: FromOption,
    last: ToOption,
    config: ConfigOption = None,
    archive: ArchiveOption = None,
    prove_work: Annotated[
        bool, typer.Option("--prove-work", help="Check the proof of work of every share too.")
    ] = False,
) -> None:
    """Recompute orders, windows, splits, balances and reports from the archive; every byte must agree."""
    settings = load(config)
    request = Request(
        archive=archive or settings.data_dir / "archive",
        first=first.date(),
        last=last.date(),
        rules=rules_of(settings),
        terms=settings.pool.dated_terms,
        now_us=unix_microseconds(),
        public_key=signers(settings)[0].public_key if missing_key(settings) is None else None,
        prove_work=prove_work,
    )
    try:
        outcome = uvloop.run(_audit(settings, request))
    except AuditError as error:
        complain(str(error))
        raise SystemExit(1) from None
    _tell(request, outcome)
    if not outcome.agrees:
        complain(f"{sum(one.different for one in outcome.tallies)} differences: see the lines above")
        raise SystemExit(1)


async def _audit(settings: Settings, request: Request) -> Outcome:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        async with command_database(settings) as engine:
            return await audit(
                engine,
                request,
                lambda what, done, whole: bar.update(task, description=what, completed=done, total=whole),
            )


def _tell(request: Request, outcome: Outcome) -> None:
    table = Table("what", "agree", "differ", "only archived")
    for one in outcome.tallies:
        differ = f"[red]{one.different:,}[/]" if one.different else "0"
        table.add_row(
            one.kind, f"{one.agree:,}", differ, f"{one.only_archived:,}" if one.only_archived else ""
        )
    console.print(table)
    for one in outcome.tallies:
        for key, rebuilt, kept in one.shown:
            _line(f"{one.kind} {key}: rebuilt {rebuilt}; kept {kept}")
        if one.different > len(one.shown):
            _line(f"{one.kind}: {one.different - len(one.shown):,} more differences")
    for (reason, said), count in sorted(outcome.refused.items()):
        _line(f"refused as {reason}, {said}: {count:,}")
    for note in outcome.notes:
        _line(f"note: {note}")
    _line(
        f"{request.first} to {request.last}: {outcome.shares:,} shares of the hours {outcome.hours[0]} to "
        f"{outcome.hours[1]} counted again; "
        + ("everything agrees" if outcome.agrees else "it does NOT agree")
    )


def _line(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
