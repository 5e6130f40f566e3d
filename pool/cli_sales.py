"""`dmpool sales`: what miners and exchanges say was sold, and where each miner stands (O-50 to O-52).

Operators and compliance officers enter sales, by hand or from a file, put them right and take them back;
every line of the book has its reason and stays. An import is one transaction: when a row is bad nothing is
written, unless `--partial` says to take the good ones. What the figures mean is told in docs/mandatory-
sale.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import register_store, sale_book, spreadsheet
from pool.cli_actor import ReasonOption, TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption, complain
from pool.cli_tables import DryRunOption, ErrorsOption, FileArgument, ImportReason, OutArgument, PartialOption
from pool.cli_view import View, instant, show, told
from pool.config import load
from pool.resources import command_database, rules_of
from pool.sale_book import Writer
from pool.sale_import import Outcome, prepare, take_in
from pool.sale_store import sale_facts
from pool.table_import import TooManyBadError, bad_rows
from pool.wording import bitcoin, percent
from register.register import Register
from register.rules import Rules
from register.tables import read_heading, write_row
from reporting.sale import (
    MINED,
    REALISED,
    SaleFacts,
    Standing,
    beyond_distributed,
    deliveries,
    is_eligible,
    measure,
    share_of,
)
from reporting.sale_confirmation import Told
from reporting.sale_period import Period, period_named, period_of
from reporting.sale_table import read_sale, table_of

cli = typer.Typer(no_args_is_help=True, help="The mandatory sale: what was sold, and who is short of it.")

_SHOWN: Final = 5
_KINDS: Final = ("miner", "person")
AccountOption = Annotated[str, typer.Option("--account", help="Account of a miner.")]
OneAccount = Annotated[str | None, typer.Option("--account", help="Account of a miner; else all.")]
QuarterOption = Annotated[
    str | None, typer.Option("--quarter", help="2026-Q4, or as the rule measures: 2026-11, 2026.")
]
_Result = TypeVar("_Result")


class _NotStored(Exception):
    """Leaves the transaction so that nothing of it stays."""


class _Book(NamedTuple):
    """What a command works on: the book and the register, at one moment."""

    connection: AsyncConnection
    register: Register
    rules: Rules
    now_us: int

    @property
    def view(self) -> View:
        """The register at that moment."""
        return View(self.register, self.rules, self.now_us)

    def account(self, miner_id: int) -> str:
        """The account of a miner."""
        return self.register.miners[miner_id].name

    def miner_id(self, account: str | None) -> int | None:
        """The miner of an account; None for all. Raises UnknownRecord."""
        return None if account is None else self.register.miner(account).id

    def period(self, name: str | None) -> Period:
        """The period of a name, else the one that runs; raises ValueError."""
        today = self.view.day
        if name is not None:
            return period_named(self.rules, name, today)
        running = period_of(self.rules, today)
        if running is None:
            raise ValueError(f"on {today} nothing has to be sold: no row of the rule mandatory_sale holds")
        return running


def _read(config: Path | None, work: Callable[[_Book], Awaitable[_Result]]) -> _Result:
    """One look; a mistake ends the program with one line."""
    settings = load(config)
    rules = rules_of(settings)

    async def look() -> _Result:
        async with command_database(settings) as engine, engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                register = await register_store.load(connection, ("miner",))
                return await work(_Book(connection, register, rules, instant(None, rules)))

    with mistakes():
        return uvloop.run(look())


def _write(
    config: Path | None,
    token_file: Path | None,
    reason: str,
    work: Callable[[_Book, Writer], Awaitable[_Result]],
) -> _Result:
    """One change of the book; nothing of it stays when `work` raises. For use inside `mistakes`."""
    settings = load(config)
    rules = rules_of(settings)

    async def write() -> _Result:
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            async with engine.begin() as connection:
                register = await register_store.load(connection, _KINDS)
                now_us = instant(None, rules)
                writer = await Writer.begin(connection, actor, register.people, reason, rules, now_us)
                return await work(_Book(connection, register, rules, now_us), writer)

    return uvloop.run(write())


# Entering


@cli.command("import")
def import_(
    file: FileArgument,
    partial: PartialOption = False,
    errors: ErrorsOption = None,
    dry_run: DryRunOption = False,
    reason: ImportReason = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter sales of a file; headings in English, Russian or Kazakh."""
    report = errors or file.with_name(f"{file.name}.errors.csv")
    kept: list[tuple[Outcome, list[str]]] = []

    async def work(book: _Book, writer: Writer) -> bool:
        prepared = prepare(sheet, book.rules, book.register, writer.today)
        outcome = await take_in(writer, prepared)
        kept.append((outcome, await _flags(book, outcome.entered)))
        if dry_run or (outcome.bad and not partial):
            raise _NotStored
        return True

    with mistakes():
        sheet = spreadsheet.read(file)
        try:
            stored = _write(config, token_file, reason or _reason(file), work)
        except _NotStored:
            stored = False
        except TooManyBadError as error:
            spreadsheet.write(report, *bad_rows(error.heading, error.bad))
            complain(f"{report}: the bad rows up to there")
            raise
        outcome, flags = kept[0]
        if outcome.bad:
            spreadsheet.write(report, *bad_rows(sheet.heading.cells, outcome.bad))
    aside = "" if stored else "; nothing was stored"
    told(f"{file}: sales: {len(outcome.entered)} entered, {outcome.bad_rows} bad{aside}")
    for flag in flags:
        told(flag)
    if outcome.bad:
        _complain(outcome, report, partial=partial or dry_run)
        raise SystemExit(1)


def _reason(file: Path) -> str:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    name = "".join(letter for letter in file.name if letter.isprintable())[:150]
    return f"import of {name}, SHA-256 {sha256}"


def _complain(outcome: Outcome, report: Path, *, partial: bool) -> None:
    for one in outcome.bad[:_SHOWN]:
        complain(f"line {one.row.line}: {f'{one.column}: ' if one.column else ''}{one.reason}")
    if len(outcome.bad) > _SHOWN:
        complain(f"and {len(outcome.bad) - _SHOWN} more")
    advice = "" if partial else ", or take the good ones with --partial"
    complain(f"{report}: all bad rows with line, column and reason; mend and import it{advice}")


async def _flags(book: _Book, entered: Sequence[Told]) -> list[str]:
    """What is to be said of sales that were just entered."""
    if not entered:
        return []
    elsewhere = sum(not is_eligible(one.sale, book.rules) for one in entered)
    flags = [f"{elsewhere} of them are no mandatory sale: realised elsewhere"] if elsewhere else []
    facts = await sale_facts(
        book.connection, book.rules, book.view.day, min(one.sale.sold_on for one in entered)
    )
    beyond = beyond_distributed(facts)
    flags += [
        f"sale {one.seq} ({one.sale.reference!r}): {book.account(one.sale.miner_id)} has sold more with it "
        f"than this pool ever distributed to it; is the quantity right?"
        for one in entered
        if one.seq in beyond
    ]
    return flags


@cli.command()
def add(
    account: AccountOption,
    told_by: Annotated[Literal["miner", "exchange"], typer.Option(help="Whose word it is.")],
    exchange: Annotated[str, typer.Option(help="Where it was sold; without an exchange, to whom.")],
    reference: Annotated[str, typer.Option(help="How the exchange names the trade.")],
    date: Annotated[str, typer.Option(help="Day in Kazakhstan, or time with its offset.")],
    quantity: Annotated[str, typer.Option(help="BTC, with a point: 0.12345678.")],
    currency: Annotated[str, typer.Option(help="What it was sold for: KZT, USD.")],
    amount: Annotated[str, typer.Option(help="How much of that.")],
    reason: ReasonOption,
    licensor: Annotated[str, typer.Option(help="Who licensed the exchange: AFSA or NBK.")] = "",
    licence: Annotated[str, typer.Option(help="Number of its licence.")] = "",
    corrects: Annotated[int | None, typer.Option(help="Number of the sale that this puts right.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter one sale, or put one right."""
    cells = [account, told_by, exchange, licensor, licence, reference, date, quantity, currency, amount]

    async def work(book: _Book, writer: Writer) -> tuple[Told, list[str]]:
        table = table_of(book.rules)
        sale = read_sale(table, read_heading(table, table.names), cells, book.register)
        entered = (
            (await writer.enter([sale]))[0] if corrects is None else await writer.correct(corrects, sale)
        )
        return entered, await _flags(book, [entered])

    with mistakes():
        entered, flags = _write(config, token_file, reason, work)
    replaced = f", in the place of {corrects}" if corrects is not None else ""
    quantity = bitcoin(entered.sale.quantity_sat)
    told(f"sale {entered.seq} of {account}: {quantity} BTC {entered.action}{replaced}")
    for flag in flags:
        told(flag)


@cli.command()
def withdraw(
    number: Annotated[int, typer.Argument(help="Of the sale, as `list` shows it.")],
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Take a sale back: it does not count any more, and stays in the book."""

    async def work(book: _Book, writer: Writer) -> tuple[Told, str]:
        taken = await writer.withdraw(number)
        return taken, book.account(taken.sale.miner_id)

    with mistakes():
        taken, account = _write(config, token_file, reason, work)
    told(f"sale {number} of {account}: {bitcoin(taken.sale.quantity_sat)} BTC withdrawn by line {taken.seq}")


# Reading


@cli.command("list")
def list_(
    account: OneAccount = None,
    quarter: QuarterOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what was put right or taken back.")] = False,
    config: ConfigOption = None,
) -> None:
    """The sales that stand, or the whole book."""

    async def read(book: _Book) -> tuple[list[Told], _Book]:
        return await _sales(book, account, quarter, all_=all_), book

    found, book = _read(config, read)
    rows = [
        (
            str(one.seq),
            str(one.sale.sold_on),
            book.account(one.sale.miner_id),
            bitcoin(one.sale.quantity_sat),
            f"{one.sale.amount} {one.sale.currency}",
            one.sale.exchange,
            f"{one.sale.licensor} {one.sale.licence}".strip(),
            one.sale.reference,
            "yes" if is_eligible(one.sale, book.rules) else "no",
            one.sale.told_by,
            *(
                (
                    one.action + (f" {one.replaces}" if one.replaces else ""),
                    book.view.clock(one.at_us),
                    f"{one.actor} ({one.role})",
                    one.reason,
                )
                if all_
                else ()
            ),
        )
        for one in found
    ]
    heading = [
        "sale",
        "sold on",
        "account",
        "BTC",
        "for",
        "exchange",
        "licence",
        "reference",
        "eligible",
        "told by",
    ]
    show([*heading, *(("line", "when", "who", "reason") if all_ else ())], rows)


async def _sales(book: _Book, account: str | None, quarter: str | None, *, all_: bool = False) -> list[Told]:
    period = None if quarter is None else book.period(quarter)
    which = sale_book.sold(
        period.first if period else None, period.last if period else None, book.miner_id(account)
    )
    return await sale_book.read(book.connection, *which, all_=all_)


@cli.command()
def export(
    file: OutArgument, account: OneAccount = None, quarter: QuarterOption = None, config: ConfigOption = None
) -> None:
    """Write the sales that stand to a file with the columns that `import` reads."""

    async def read(book: _Book) -> tuple[list[Told], _Book]:
        return await _sales(book, account, quarter), book

    found, book = _read(config, read)
    table = table_of(book.rules)
    rows = [write_row(table, one.sale, book.register, book.now_us) for one in found]
    with mistakes():
        spreadsheet.write(file, table.names, rows)
    told(f"{file}: {len(rows)} sales as of {book.view.clock(book.now_us)}")


@cli.command()
def status(quarter: QuarterOption = None, account: OneAccount = None, config: ConfigOption = None) -> None:
    """Where each miner stands in a quarter, by both readings, and deposits against sales."""

    async def read(book: _Book) -> tuple[Period, SaleFacts, int | None, _Book]:
        period, miner_id = book.period(quarter), book.miner_id(account)
        facts = await sale_facts(book.connection, book.rules, book.view.day, period.first)
        return period, facts, miner_id, book

    period, facts, miner_id, book = _read(config, read)
    besides = () if miner_id is None else (miner_id,)
    standings = [
        one for one in measure(facts, book.rules, period, besides) if miner_id in (None, one.miner_id)
    ]
    over = "over" if period.last < facts.day else f"runs, told up to {facts.day}"
    told(f"{period.name}: {period.first} to {period.last}, {over}")
    for line in _law(standings):
        told(line)
    show(
        ("account", "mined", "delivered", "realised", "sold", "of mined", "of realised", "short of mined",
         "short of realised", "short"),
        [_standing_row(one, book) for one in standings],
        "BTC; sold is on exchanges that count",
    )  # fmt: skip
    waiting = [one for one in deliveries(facts, period) if miner_id in (None, one.miner_id)]
    if waiting:
        rows = [
            (
                *(book.account(one.miner_id), one.exchange, bitcoin(one.opening_sat)),
                *(bitcoin(one.delivered_sat), bitcoin(one.sold_sat), bitcoin(one.open_sat)),
            )
            for one in waiting
        ]
        show(
            ("account", "exchange", "open before", "delivered", "said to be sold", "open"),
            rows,
            "paid to deposit addresses, against what is said to be sold there",
        )


def _law(standings: Sequence[Standing]) -> list[str]:
    """What the rule says; it is the same for all miners of a period."""
    if not standings:
        return []
    one = standings[0]
    lines = [
        f"{part.stretch.first} to {part.stretch.last}: {percent(part.stretch.share_bps)} on exchanges "
        f"licensed by {', '.join(part.stretch.licensors)}"
        for part in one.parts
    ]
    return [*lines, f"base in force: {one.base} (Q-02); mode: {one.mode}"]


def _standing_row(one: Standing, book: _Book) -> tuple[str, ...]:
    sold = one.sold_eligible_sat
    shares = [share_of(sold, whole) for whole in (one.mined_sat, one.realised_sat)]
    flag = "" if not one.short_sat else "SHORT" if one.period.last < book.view.day else "yet to sell"
    return (
        book.account(one.miner_id),
        *map(bitcoin, (one.mined_sat, one.delivered_sat, one.realised_sat, sold)),
        *("" if share is None else percent(share) for share in shares),
        *(bitcoin(one.shortfall_sat(base)) for base in (MINED, REALISED)),
        flag,
    )
