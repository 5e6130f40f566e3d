"""`dmpool archive`: what the share archive holds, and whether it is whole.

With `--archive` the files of a directory alone are looked at, without a database: so does an auditor with a
copy. Else it is the archive of the configuration, and `verify` also compares it with what PostgreSQL says was
closed. Days are those of Kazakhstan, hours of the archive those of UTC.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Final

import sqlalchemy as sa
import typer
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pool.archive_check import Checked, check, kept_until, sha256
from pool.archive_file import ArchiveError, Manifest, hours, manifest_bytes, paths_of, read_manifest
from pool.cli_options import ConfigOption, complain, console
from pool.cli_view import beginning, show, show_facts, told
from pool.clock import hour_of
from pool.config import Settings, load
from pool.resources import command_database, rules_of
from pool.tables import archive_hour
from register.rules import Rules

cli = typer.Typer(no_args_is_help=True, help="The share archive: every share, an hour a file, for years.")

ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", help="Directory of a copy; else the pool's own.")
]
FromOption = Annotated[
    dt.datetime | None,
    typer.Option("--from", formats=["%Y-%m-%d"], help="First day in Kazakhstan; else the oldest."),
]
ToOption = Annotated[
    dt.datetime | None,
    typer.Option("--to", formats=["%Y-%m-%d"], help="Last day in Kazakhstan; else the newest."),
]
_ALWAYS: Final = 2**62


@cli.command("list")
def list_(
    first: FromOption = None,
    last: ToOption = None,
    archive: ArchiveOption = None,
    config: ConfigOption = None,
) -> None:
    """The closed hours: what is in them, and until when they must be kept."""
    settings = load(config)
    rules = rules_of(settings)
    rows = []
    size = records = 0
    for place in hours(_directory(settings, archive), *_bounds(rules, first, last)):
        manifest = _read(place.manifest)
        size, records = size + manifest.bytes, records + manifest.rows
        rows.append(
            (
                manifest.hour,
                f"{manifest.first_batch} to {manifest.last_batch}",
                str(manifest.shares),
                str(sum(manifest.rejects.values())),
                str(manifest.founds),
                str(manifest.bytes),
                str(kept_until(rules, manifest.hour_us)),
                manifest.sha256[:16],
            )
        )
    show(("hour (UTC)", "batches", "shares", "rejected", "blocks", "bytes", "keep until", "sha256"), rows)
    told(f"{len(rows)} hours, {records} records, {size} bytes")


@cli.command(name="show")
def show_(
    hour: Annotated[str, typer.Argument(help="An instant in it: 2026-11-24T12:00 in Kazakhstan, or ...Z.")],
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as it is.")] = False,
    archive: ArchiveOption = None,
    config: ConfigOption = None,
) -> None:
    """One hour: its manifest, with the work of each miner."""
    settings = load(config)
    rules = rules_of(settings)
    try:
        at_us = beginning(hour, rules)
    except ValueError as error:
        complain(str(error))
        raise SystemExit(2) from None
    manifest = _read(paths_of(_directory(settings, archive), hour_of(at_us)).manifest)
    if as_json:
        print(manifest_bytes(manifest).decode())
        return
    show_facts(
        (
            ("hour", f"{manifest.hour}, {rules.local(manifest.hour_us):%Y-%m-%d %H:%M} in Kazakhstan"),
            ("file", f"{manifest.file}, {manifest.bytes} bytes"),
            ("sha256", manifest.sha256),
            ("manifest", sha256(manifest)),
            ("manifest before", manifest.previous or "none, it is the first"),
            ("batches", f"{manifest.first_batch} to {manifest.last_batch}"),
            ("slices", f"{manifest.slices} from {manifest.first_slice} on"),
            ("work before it", manifest.total_before),
            ("work in it", str(manifest.work)),
            ("shares", str(manifest.shares)),
            ("blocks found", str(manifest.founds)),
            ("keep until", str(kept_until(rules, manifest.hour_us))),
        )
    )
    work = sorted(manifest.miners.items(), key=lambda one: int(one[0]))
    show(("miner", "shares", "work"), [(name, str(one.shares), one.work) for name, one in work], "accepted")
    show(("reason", "shares"), [(name, str(n)) for name, n in sorted(manifest.rejects.items())], "rejected")


@cli.command()
def verify(
    first: FromOption = None,
    last: ToOption = None,
    archive: ArchiveOption = None,
    config: ConfigOption = None,
) -> None:
    """Read every file whole and say what is not as it was closed; exits non-zero when anything is."""
    settings = load(config)
    directory = _directory(settings, archive)
    bounds = _bounds(rules_of(settings), first, last)
    closed = {} if archive else uvloop.run(_closed(settings, *bounds))
    found: dict[int, Checked] = {}
    problems = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=len(hours(directory, *bounds)))
        for one in check(directory, *bounds):
            found[one.place.hour_us] = one
            problems += _complain_of(str(one.place.manifest), one.problems)
            progress.advance(task)
    problems += sum(
        _complain_of(str(paths_of(directory, hour_us).manifest), _against(found.get(hour_us), sha))
        for hour_us, sha in closed.items()
    )
    if not archive:
        unknown = [found[hour_us] for hour_us in sorted(found.keys() - closed.keys())]
        problems += sum(
            _complain_of(str(one.place.manifest), ["PostgreSQL does not say that this hour is closed"])
            for one in unknown
        )
    if problems:
        complain(f"{directory}: {problems} problems; restore what is named from a backup, and verify again")
        raise SystemExit(1)
    newest = next((one.manifest for one in reversed(found.values()) if one.manifest), None)
    records = sum(one.manifest.rows for one in found.values() if one.manifest)
    told(f"{directory}: {len(found)} hours with {records} records are as they were closed")
    if newest:
        told(f"newest manifest: {newest.hour} {sha256(newest)}")


async def _closed(settings: Settings, first_us: int, last_us: int) -> dict[int, str]:
    """Hours that PostgreSQL says are closed, with the hash of the manifest."""
    async with command_database(settings) as engine, engine.connect() as connection:
        rows = await connection.execute(
            sa.select(archive_hour.c.hour_us, archive_hour.c.manifest_sha256)
            .where(archive_hour.c.hour_us.between(first_us, last_us))
            .order_by(archive_hour.c.hour_us)
        )
        return {row.hour_us: row.manifest_sha256 for row in rows}


def _against(found: Checked | None, closed: str) -> list[str]:
    if found is None:
        return ["is missing, and PostgreSQL says that this hour was closed"]
    if found.manifest is not None and sha256(found.manifest) != closed:
        return [f"is not the manifest that PostgreSQL says was closed, {closed}"]
    return []


def _complain_of(name: str, problems: list[str]) -> int:
    for problem in problems:
        complain(f"{name}: {problem}")
    return len(problems)


def _directory(settings: Settings, archive: Path | None) -> Path:
    return archive or settings.data_dir / "archive"


def _bounds(rules: Rules, first: dt.datetime | None, last: dt.datetime | None) -> tuple[int, int]:
    """The first and the last microsecond of the days; of everything where none is given."""
    return (
        rules.day_bounds(first.date())[0] if first else -_ALWAYS,
        rules.day_bounds(last.date())[1] - 1 if last else _ALWAYS,
    )


def _read(path: Path) -> Manifest:
    try:
        return read_manifest(path)
    except ArchiveError as error:
        complain(str(error))
        raise SystemExit(1) from None
