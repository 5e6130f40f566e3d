"""`dmpool prices`: official values of assets, rates of the National Bank, and which days are days off
(O-63).

Nothing is ever fetched: a person enters what the authority published, and says where it stands. Only the
annex in tenge is made of them; the forms themselves have none.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from pool import prices_store, spreadsheet
from pool.cli_actor import TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption
from pool.cli_tables import FileArgument
from pool.cli_view import calendar_day, show, told
from pool.clock import unix_microseconds
from pool.config import load
from pool.prices_store import Entered, Line, Shown
from pool.resources import command_database, rules_of
from register.rules import Rules
from reporting.income import month
from reporting.prices import DAY_OFF, TENGE, CalendarDay, Quote, read_value

cli = typer.Typer(no_args_is_help=True, help="Official values and rates, for the annex in tenge.")

SourceOption = Annotated[str, typer.Option("--source", help="Where it was published.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why, when it corrects what was entered before.")]
_NAME_SHOWN: Final = 100


@cli.command("import")
def import_(
    file: FileArgument,
    source: Annotated[str, typer.Option("--source", help="Where they were published; else the file.")] = "",
    reason: WhyOption = "",
    weekends: Annotated[
        bool, typer.Option("--weekends", help="Saturdays and Sundays without a value are days off.")
    ] = False,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Take in a file with the columns date, asset, value, currency, source, reason; all of it or nothing.

    The asset of a rate is its currency (USD). A day off has "day off" for a value, and no asset.
    """
    with mistakes():
        name = "".join(letter for letter in file.name if letter.isprintable())[:_NAME_SHOWN]
        lines = prices_store.read_sheet(
            spreadsheet.read(file), source or f"file {name}", reason, weekends=weekends
        )
        _tell(_enter(config, token_file, lines))


@cli.command()
def add(
    day: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"])],
    asset: Annotated[str, typer.Argument(help="Bitcoin, or a currency for its rate: USD.")],
    value: Annotated[str, typer.Argument(help="Of one unit, with a point: 67890.12.")],
    source: SourceOption,
    currency: Annotated[str, typer.Option(help="In which it is given.")] = TENGE,
    reason: WhyOption = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter one value or rate."""
    with mistakes():
        quote = Quote(day.date(), asset, read_value(value), currency, source, reason)
        _tell(_enter(config, token_file, [Line(quote)]))


@cli.command()
def calendar(
    day: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"])],
    source: SourceOption,
    working: Annotated[bool, typer.Option("--working/--off", help="A working day, or a day off.")] = False,
    reason: WhyOption = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Say that a day is a day off, which takes the value of the working day before, or that it is none."""
    with mistakes():
        _tell(_enter(config, token_file, [Line(CalendarDay(day.date(), working, source, reason))]))


@cli.command("list")
def list_(
    period: Annotated[str | None, typer.Option("--month", help="Like 2026-11; else all.")] = None,
    config: ConfigOption = None,
) -> None:
    """What was entered, corrections included, by day; of two rows of a day the later one counts."""
    settings = load(config)
    rules = rules_of(settings)
    with mistakes():
        wanted = month(period) if period else None

    async def read() -> list[Shown]:
        days = (wanted.first, wanted.last) if wanted else ()
        async with command_database(settings) as engine, engine.connect() as connection:
            return await prices_store.read_rows(connection, *days)

    rows = sorted(uvloop.run(read()), key=lambda one: (one.record.day, one.entered_us))
    show(
        ("day", "asset", "value", "currency", "source", "entered", "by", "reason"),
        [_row(one, rules) for one in rows],
    )


def _row(one: Shown, rules: Rules) -> tuple[str, ...]:
    record = one.record
    if isinstance(record, Quote):
        what = (record.asset, f"{record.value:f}", record.currency)
    else:
        what = ("", "working day" if record.working else DAY_OFF, "")
    entered = f"{rules.local(one.entered_us):%Y-%m-%d %H:%M:%S}"
    return (str(record.day), *what, record.source, entered, one.actor, record.reason)


def _enter(config: Path | None, token_file: Path | None, lines: list[Line]) -> Entered:
    settings = load(config)
    rules = rules_of(settings)
    for line in lines:
        calendar_day(line.record.day)

    async def write() -> Entered:
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            return await prices_store.enter(engine, lines, rules, actor, unix_microseconds())

    return uvloop.run(write())


def _tell(entered: Entered) -> None:
    told(f"{entered.values} values and {entered.days} days of the calendar entered, {entered.same} as before")
