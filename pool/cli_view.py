"""How commands read the register and show it: now or as it stood on a day, in tables.

A day is one in Kazakhstan and is looked at from its end; an instant is given as an ISO timestamp, which is
Kazakhstan's clock when it names no offset. In a terminal a table fits its width, by folding; when the output
goes to a file or another program, no cell is folded or cut.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
import uvloop
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pool import register_store
from pool.cli_options import console
from pool.clock import microseconds, unix_microseconds
from pool.config import load
from pool.resources import command_database, rules_of
from register.event import Event
from register.fields import day_of
from register.licence import Licence
from register.register import Register
from register.rules import Rules

AsOfOption = Annotated[
    str | None, typer.Option("--as-of", help="Day (its end in Kazakhstan) or ISO timestamp; else now.")
]
SearchOption = Annotated[str, typer.Option("--search", help="Part of a name or number, any case.")]
Day = Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"])]
DayOption = Annotated[dt.datetime | None, typer.Option(formats=["%Y-%m-%d"])]
LastDay = Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day in force.")]
OnOption = Annotated[
    dt.datetime, typer.Option("--on", formats=["%Y-%m-%d"], help="In effect from 00:00 of this day.")
]
SUBTYPES: Final = {1: "I", 2: "II"}
_UNBOUNDED: Final = 100_000
_NEVER_FOLDED: Final = re.compile(r"[0-9-]{0,12}")
"""A day, a BIN, a number of something: a column of these stays in one piece, the others make room."""
_aside = Console(stderr=True)


class View(NamedTuple):
    """The register at an instant."""

    register: Register
    rules: Rules
    at_us: int

    @property
    def day(self) -> dt.date:
        """The day in Kazakhstan."""
        return self.rules.day_of(self.at_us)

    def clock(self, at_us: int) -> str:
        """An instant by Kazakhstan's clock."""
        return f"{self.rules.local(at_us):%Y-%m-%d %H:%M:%S}"


def look(
    config: Path | None, as_of: str | None, kinds: Sequence[str] = register_store.STANDING_KINDS
) -> View:
    """The register of a command's configuration; raises ValueError for an `as_of` that is no instant."""
    settings = load(config)
    rules = rules_of(settings)
    at_us = instant(as_of, rules)

    async def read() -> Register:
        async with command_database(settings) as engine:
            return await register_store.read(engine, kinds, None if as_of is None else at_us + 1)

    return View(uvloop.run(read()), rules, at_us)


def instant(text: str | None, rules: Rules) -> int:
    """Unix microseconds: the last of a day, those of a timestamp, or now."""
    if text is None:
        return unix_microseconds()
    day, time = _parsed(text)
    start, end = rules.day_bounds(day)
    return end - 1 if time is None else _moment(time, start)


def beginning(text: str, rules: Rules) -> int:
    """Unix microseconds: the first of a day, or those of a timestamp."""
    day, time = _parsed(text)
    start = rules.day_bounds(day)[0]
    return start if time is None else _moment(time, start)


def _parsed(text: str) -> tuple[dt.date, dt.datetime | None]:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = None
    if day is not None:
        return calendar_day(day), None
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text[:40]!r} is no day and no time; write it like 2026-01-31 or 2026-01-31T18:00+05:00"
        ) from None
    return calendar_day(time.date()), time


def calendar_day(day: dt.date) -> dt.date:
    """A day that was given; raises ValueError beyond the calendar."""
    return day_of("the calendar", "day", day, ValueError)


def _moment(time: dt.datetime, start_us: int) -> int:
    if time.tzinfo is None:
        midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
        return start_us + (time - midnight) // dt.timedelta(microseconds=1)
    return microseconds(time)


def found(search: str, *texts: str) -> bool:
    """Whether one of the texts holds what is searched."""
    return any(search.lower() in text.lower() for text in texts)


def standing(licence: Licence | None, view: View) -> str:
    """Where a licence stands."""
    if licence is None:
        return "no licence"
    return licence.phase_at(view.at_us, view.rules).status.value.replace("_", " ")


def show(heading: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table; see the head of this file. Cells are shown as they are: none is markup."""
    cells = [[Text(cell) for cell in row] for row in rows]
    if title:
        told(title)
    if not cells:
        told("none")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, column in zip(heading, zip(*cells, strict=True), strict=True):
        whole = all(_NEVER_FOLDED.fullmatch(cell.plain) for cell in column)
        table.add_column(name, overflow="fold", no_wrap=whole)
    for row in cells:
        table.add_row(*row)
    _print(table)


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, Text(value))
    _print(table)


def _print(table: Table) -> None:
    target = console if console.is_terminal else Console(file=sys.stdout, width=_UNBOUNDED)
    target.print(table)


def show_events(events: Iterable[Event], view: View) -> None:
    """Events of the log."""
    show(
        ("event", "when", "who", "change", "reason"),
        (
            (
                str(one.seq),
                view.clock(one.at_us),
                f"{one.actor} ({one.role})",
                f"{one.kind} {one.key} {one.action}",
                one.reason,
            )
            for one in events
        ),
    )


def told(text: str, *, aside: bool = False) -> None:
    """One line as it is, on standard output, or aside on standard error."""
    (_aside if aside else console).print(text, markup=False, highlight=False, soft_wrap=True)


def put_file(directory: Path, name: str, content: bytes) -> None:
    """A file that a command made; one that is there already is replaced only by the same bytes."""
    path = directory / name
    try:
        if path.exists() and path.read_bytes() != content:
            raise ValueError(f"{path}: is there already, with other content; name another --out")
        path.write_bytes(content)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; name a directory that can be written") from error
    told(str(path))
