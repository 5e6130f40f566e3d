"""`dmpool ledger`: what the journal says, account by account, and the one way for a person to put it right.

Balances are shown in each account's own direction: what is owed is positive, and so are coins; the trial
balance alone shows both sides as they are booked. Accounts of miners carry the miner's number, as they do in
the journal; the account's name stands beside them. Without a command, `dmpool ledger` is the role itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import sqlalchemy as sa
import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.statement import Period, StatementError
from pool import corrections, journal_store, register_store, statement_text, trial_balance
from pool.cli_actor import ReasonOption, TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption, complain
from pool.cli_serve import serve
from pool.cli_view import AsOfOption, calendar_day, instant, show, told
from pool.config import ConfigError, Settings, load
from pool.preflight import Role
from pool.resources import command_database, rules_of
from pool.statement_now import office_of
from pool.statements import KINDS, statement
from pool.tables import journal_entry, journal_posting
from pool.wording import bitcoin
from register.register import Register
from register.rules import Rules

cli = typer.Typer(help="The ledger: the role itself, and what the journal says.")
ENTRIES_SHOWN = 200
AccountOption = Annotated[str, typer.Option("--account", help="Account, or the beginning of its name.")]
_Result = TypeVar("_Result")


class _Ledger(NamedTuple):
    """What a command reads: the journal and the register, in one snapshot."""

    connection: AsyncConnection
    register: Register
    rules: Rules
    settings: Settings
    now_us: int

    def owner(self, account: str) -> str:
        """The name of the miner that an account is of; empty for the pool's own."""
        number = journal_owner(account)
        miner = self.register.miners.get(number) if number is not None else None
        return miner.name if miner else ""


def journal_owner(account: str) -> int | None:
    """The number of the miner whose account it is; None for the pool's own accounts."""
    parts = account.split(":")
    if parts[0] == "miner" or parts[1] == "orphan_loss":
        return int(parts[1] if parts[0] == "miner" else parts[2])
    return None


def _ask(config: Path | None, work: Callable[[_Ledger], Awaitable[_Result]]) -> _Result:
    """One look at the ledger; a mistake ends the program with one line."""
    settings = load(config)

    async def look() -> _Result:
        async with command_database(settings) as engine, engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                register = await register_store.load(connection, KINDS)
                rules = rules_of(settings)
                return await work(_Ledger(connection, register, rules, settings, instant(None, rules)))

    with mistakes():
        try:
            return uvloop.run(look())
        except StatementError as error:
            complain(str(error))
            raise SystemExit(1) from None


def _day(text: str | None, ledger: _Ledger) -> dt.date:
    """The day that was asked for, today without one; the journal has no balances within a day."""
    return ledger.rules.day_of(instant(text, ledger.rules))


@cli.callback(invoke_without_command=True)
def role(context: typer.Context, config: ConfigOption = None) -> None:
    """Run the ledger: order, splits, journal, confirmations. With a command, ask it what it has booked."""
    if context.invoked_subcommand is None:
        serve(config, frozenset({Role.LEDGER}))
    elif config is not None:
        raise ConfigError(
            "--config: write it behind the command, as in `dmpool ledger balance --config FILE`"
        )


@cli.command()
def balance(
    prefix: Annotated[str, typer.Argument(help="Account, or the beginning of its name; else all.")] = "",
    as_of: AsOfOption = None,
    config: ConfigOption = None,
) -> None:
    """Balances of accounts at the end of a day, in each account's own direction."""

    async def read(ledger: _Ledger) -> tuple[dt.date, list[tuple[str, str, int]]]:
        day = _day(as_of, ledger)
        balances = await journal_store.balances_until(ledger.connection, day)
        shown = {one: amount * journal.direction(one) for one, amount in balances.items()}
        return day, [(one, ledger.owner(one), shown[one]) for one in _in_order(shown, prefix)]

    day, found = _ask(config, read)
    rows = [(account, owner, str(amount), bitcoin(amount)) for account, owner, amount in found]
    show(("account", "miner", "satoshis", "BTC"), rows, f"balances at the end of {day}")
    owed = sum(amount for account, _, amount in found if account.startswith("miner:"))
    held = sum(amount for account, _, amount in found if account.startswith("asset:"))
    if found and not prefix:
        told(f"coins {bitcoin(held)} BTC, owed to miners {bitcoin(owed)} BTC")


def _in_order(balances: Mapping[str, int], prefix: str) -> list[str]:
    """Accounts that begin with `prefix`: coins, then miners by number, then the pool's."""
    chosen = [one for one in balances if one.startswith(prefix)]
    return sorted(chosen, key=lambda one: (one.split(":")[0], journal_owner(one) or 0, one))


@cli.command("trial-balance")
def trial_balance_(as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """All accounts with their sides; ends with exit code 1 unless debits are credits."""

    async def read(ledger: _Ledger) -> tuple[dt.date, trial_balance.TrialBalance]:
        day = _day(as_of, ledger)
        return day, await trial_balance.read(ledger.connection, day)

    day, found = _ask(config, read)
    rows = [(one.account, str(one.debit or ""), str(one.credit or "")) for one in found.sides]
    rows.append(("together", str(found.debit), str(found.credit)))
    show(("account", "debit, sat", "credit, sat"), rows, f"trial balance at the end of {day}")
    for one in found.differing:
        complain(f"account {one.account}: kept is {one.kept}, its postings sum to {one.posted} satoshis")
    if not found.holds:
        complain(f"the journal does not balance: debits {found.debit}, credits {found.credit} satoshis")
        raise SystemExit(1)
    told("debits are credits, and every balance is that of its postings")


@cli.command("statement")
def statement_(
    account: Annotated[str, typer.Argument(help="Account, as in account.worker.")],
    period: Annotated[str, typer.Argument(help="Day or month: 2026-11-24 or 2026-11.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here, .csv or .json; else show it.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """A miner's work, its part of each block, and where every satoshi went."""

    async def read(ledger: _Ledger) -> Any:
        miner = ledger.register.miner(account)
        office = office_of(ledger.settings, ledger.rules)
        wanted = Period.parse(period)
        return await statement(
            ledger.connection, office, ledger.register, miner, wanted, ledger.now_us
        ), ledger.rules

    with mistakes():
        if out is not None and out.suffix.lower() not in (".csv", ".json"):
            raise ValueError(f"--out {out}: a statement is written to .csv or .json")
    made, rules = _ask(config, read)
    if out is None:
        statement_text.tell(made, rules)
        return
    try:
        out.write_bytes(statement_text.written(made, rules, out.suffix.lower()))
    except OSError as error:
        complain(f"--out {out}: {error.strerror}; name a file that can be written")
        raise SystemExit(2) from None
    told(f"{out}: statement of {account} for {period}")


@cli.command()
def entries(
    first: Annotated[
        dt.datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day in Kazakhstan.")
    ],
    last: Annotated[
        dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day; else the same.")
    ] = None,
    account: AccountOption = "",
    config: ConfigOption = None,
) -> None:
    """Entries of the journal with their postings, in order."""

    async def read(ledger: _Ledger) -> list[tuple[str, ...]]:
        days = calendar_day(first.date()), calendar_day((last or first).date())
        return [_entry_row(row, ledger) for row in await _entries(ledger.connection, days, account)]

    rows = _ask(config, read)
    heading = ("entry", "when", "what", "of", "account", "miner", "satoshis", "by", "memo")
    show(heading, rows[:ENTRIES_SHOWN])
    if len(rows) > ENTRIES_SHOWN:
        told(f"the first {ENTRIES_SHOWN} of {len(rows)} postings; ask for fewer days, or one --account")


async def _entries(connection: AsyncConnection, days: tuple[dt.date, dt.date], prefix: str) -> list[Any]:
    rows = await connection.execute(
        sa.select(journal_entry, journal_posting.c.account, journal_posting.c.amount)
        .join(journal_posting, journal_posting.c.entry_id == journal_entry.c.id)
        .where(
            journal_entry.c.day.between(*days), journal_posting.c.account.startswith(prefix, autoescape=True)
        )
        .order_by(journal_entry.c.id, journal_posting.c.id)
    )
    return list(rows.all())


def _entry_row(row: Any, ledger: _Ledger) -> tuple[str, ...]:
    source = f"payout {row.payout_id}" if row.payout_id is not None else row.block_hash or ""
    return (
        str(row.id),
        f"{ledger.rules.local(row.at_us):%Y-%m-%d %H:%M:%S}",
        row.kind,
        source,
        row.account,
        ledger.owner(row.account),
        f"{row.amount * journal.direction(row.account):+d}",
        row.actor,
        row.memo,
    )


@cli.command()
def correct(
    from_account: Annotated[str, typer.Option("--from", help="Account that falls.")],
    to_account: Annotated[str, typer.Option("--to", help="Account that the satoshis go to.")],
    amount: Annotated[int, typer.Option(help="Satoshis.")],
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Book a correction: for a compliance officer. It is an entry of its own, and stays."""
    settings = load(config)
    rules = rules_of(settings)

    async def write() -> corrections.Corrected:
        entry = corrections.correction(from_account, to_account, amount, reason)
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            async with engine.begin() as connection:
                register = await register_store.load(connection, ("miner", "person"))
                return await corrections.correct(
                    connection, entry, register, rules, actor, instant(None, rules)
                )

    with mistakes():
        booked = uvloop.run(write())
    rows = [(one, str(booked.before[one]), str(booked.after[one])) for one in booked.before]
    show(("account", "before, sat", "after, sat"), rows, f"correction booked as entry {booked.entry_id}")
