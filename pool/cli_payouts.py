"""`dmpool payouts`: what would be paid, runs by hand, PSBTs out and in, where each payout stands.

A command that changes something acts as the settler for a moment: it waits for the one of the running pool,
which gives its lock back between two looks. Operators and compliance officers may; auditors read. `preview`,
`list` and `status` ask the database alone, so that they answer with the node away.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import sqlalchemy as sa
import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from payouts.payout_plan import Plan
from pool import register_store, settlement_desk
from pool import settlement_store as store
from pool.cli_actor import ReasonOption, TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption, complain
from pool.cli_view import show, show_facts, told
from pool.config import ConfigError, Settings, load
from pool.node import NodeError
from pool.payout_transaction import WrongTransaction
from pool.payout_view import row_of, show_payout, signed
from pool.preflight import ALL_ROLES
from pool.resources import command_database, open_nodes, rules_of
from pool.settlement_setup import section_of, settler_of
from pool.settlement_store import Tenure
from pool.settler import Settler
from pool.tables import payout, payout_run
from pool.wallet import bitcoins
from register.person import PersonError, Role

cli = typer.Typer(no_args_is_help=True, help="Payments to the miners.")

LOCK_SECONDS: Final = 30.0
"""So long a command waits for the settler of the running pool."""
_SHOWN: Final = 50
IdArgument = Annotated[int, typer.Argument(metavar="PAYOUT", help="Number, as `payouts list` shows it.")]
_Result = TypeVar("_Result")


class _Desk(NamedTuple):
    """A settler to ask, without its lock, and who asks."""

    settler: Settler
    settings: Settings
    actor: str

    def clock(self, at_us: int) -> str:
        """An instant by Kazakhstan's clock."""
        return f"{self.settler.means.rules.local(at_us):%Y-%m-%d %H:%M:%S}"


@asynccontextmanager
async def _desk(settings: Settings, token_file: Path | None, *, writes: bool) -> AsyncIterator[_Desk]:
    section_of(settings)  # before anything is opened
    nodes = open_nodes(settings, ALL_ROLES)
    try:
        async with command_database(settings) as engine:
            actor = "nobody"
            if writes:
                person = await who_acts(engine, token_file or settings.compliance.token_file)
                if person.role not in (Role.OPERATOR, Role.COMPLIANCE):
                    raise PersonError(
                        f"{person.name}: the role {person.role} may look at payouts; an operator or a "
                        f"compliance officer makes them"
                    )
                actor = person.name
            yield _Desk(settler_of(settings, rules_of(settings), engine, nodes), settings, actor)
    finally:
        for node in nodes:
            await node.close()


def _look(config: Path | None, work: Callable[[_Desk], Awaitable[_Result]]) -> _Result:
    """One look at the database; a mistake ends the program with one line."""
    settings = load(config)

    async def ask() -> _Result:
        async with _desk(settings, None, writes=False) as desk:
            return await work(desk)

    with mistakes():
        return uvloop.run(ask())


def _act(
    config: Path | None, token_file: Path | None, work: Callable[[_Desk, Tenure], Awaitable[_Result]]
) -> _Result:
    """One change under the settler's lock; what stands in the way ends the program with one line."""
    settings = load(config)

    async def act() -> _Result:
        async with _desk(settings, token_file, writes=True) as desk:
            means = desk.settler.means
            async with store.tenure(means.engine, LOCK_SECONDS) as tenure:
                await means.wallet.prepare(means.change_address)
                return await work(desk, tenure)

    with mistakes():
        try:
            return uvloop.run(act())
        except (NodeError, WrongTransaction, store.Fenced) as error:
            complain(str(error))
            raise SystemExit(1) from None


# Looking


@cli.command()
def preview(config: ConfigOption = None) -> None:
    """What a run would pay at this moment, and what it would hold and why. Nothing is written."""

    async def work(desk: _Desk) -> tuple[Plan, dict[int, str]]:
        means = desk.settler.means
        async with means.engine.connect() as connection, connection.begin():
            made = await desk.settler.plan(connection, means.now_us())
        register = await register_store.read(means.engine, ("miner",))
        return made, {one.id: one.name for one in register.miners.values()}

    made, names = _look(config, work)
    show(
        ("miner", "to", "address", "BTC", "commission", "licence"),
        (
            (
                names.get(due.miner_id, str(due.miner_id)),
                due.exchange or "wallet",
                due.address,
                bitcoins(due.amount_sat),
                bitcoins(due.commission_sat),
                f"{due.licence} {due.status}".strip(),
            )
            for due in made.payments
        ),
        f"to be paid: {bitcoins(made.payments_sat)} BTC in {len(made.payments)} payments",
    )
    show(
        ("miner", "BTC", "why"),
        ((one.name, signed(one.amount_sat), one.sentence) for one in made.held),
        f"held: {signed(made.held_sat)} BTC of {len(made.held)} miners",
    )


@cli.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over, newest first.")] = False,
    config: ConfigOption = None,
) -> None:
    """Payouts under way, or all."""

    async def work(desk: _Desk) -> list[tuple[str, ...]]:
        wanted = sa.select(payout.c.id).order_by(payout.c.id.desc()).limit(None if everything else _SHOWN)
        if not everything:
            wanted = wanted.where(payout.c.state.in_(store.LIVE))
        rows = []
        async with desk.settler.means.engine.connect() as connection:
            for payout_id in (await connection.execute(wanted)).scalars().all():
                one = await store.read(connection, payout_id)
                if one is not None:
                    rows.append(row_of(one, desk.clock))
        return rows

    show(("payout", "run", "made", "state", "payments", "BTC", "fee", "now"), _look(config, work))


@cli.command()
def status(
    payout_id: Annotated[int | None, typer.Argument(metavar="PAYOUT", help="One payout; else all.")] = None,
    config: ConfigOption = None,
) -> None:
    """The wallet and how payouts stand, or all about one of them."""
    if payout_id is None:
        _look(config, _overall)
        return

    async def work(desk: _Desk) -> None:
        async with desk.settler.means.engine.connect() as connection:
            one = await store.read(connection, payout_id)
            events = await store.events(connection, payout_id)
        if one is None:
            raise settlement_desk.DeskError(f"payout {payout_id}: there is none; see `dmpool payouts list`")
        show_payout(one, events, desk.clock)

    _look(config, work)


async def _overall(desk: _Desk) -> None:
    means = desk.settler.means
    async with means.engine.connect() as connection:
        grouped = sa.select(payout.c.state, sa.func.count(), sa.func.sum(payout.c.amount_sat))
        states = (await connection.execute(grouped.group_by(payout.c.state).order_by(payout.c.state))).all()
        last = (
            await connection.execute(sa.select(payout_run).order_by(payout_run.c.id.desc()).limit(1))
        ).one_or_none()
    facts = [
        ("signer", means.section.signer),
        ("schedule", means.section.schedule or "by hand"),
        ("last run", f"{desk.clock(last.at_us)} by {last.actor}: {last.reason}" if last else "none yet"),
    ]
    try:
        await means.wallet.prepare(means.change_address)
        balance, deep = await means.wallet.balance(), await means.wallet.deep_sat()
    except NodeError as error:
        facts.append(("wallet", str(error)))
    else:
        facts += [
            ("wallet", f"{bitcoins(balance.trusted)} BTC, and {bitcoins(balance.immature)} immature"),
            ("for payouts now", f"{bitcoins(deep)} BTC in coins 100 blocks deep"),
        ]
    show_facts(facts)
    show(("state", "payouts", "BTC"), ((one[0], str(one[1]), bitcoins(int(one[2]))) for one in states))


# Acting


@cli.command()
def run(
    reason: ReasonOption,
    booked: Annotated[
        list[str] | None,
        typer.Option(help="Txid of a payment by hand that the journal has by a correction; may repeat."),
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Pay everybody who is to be paid now: reserve it, make the transactions, sign and send what can be."""

    async def work(desk: _Desk, tenure: Tenure) -> dict[int, str | None]:
        made = await desk.settler.reserve(tenure, None, desk.actor, reason, frozenset(booked or ()))
        problems: dict[int, str | None] = {}
        with _progress("payouts", len(made)) as done:
            for payout_id in made:
                problems[payout_id] = await desk.settler.advance(tenure, payout_id)
                done()
        return problems

    problems = _act(config, token_file, work)
    if not problems:
        told("nobody is to be paid now; `dmpool payouts preview` says what is held and why")
        return
    list_(config=config)
    for payout_id, problem in problems.items():
        if problem:
            complain(f"payout {payout_id}: {problem}")
    if any(problems.values()):
        raise SystemExit(1)


@cli.command()
def export(
    payout_id: IdArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the PSBT here (binary); else print base64.")
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """The PSBT of a payout, to be signed. From then on it can only be taken back by another transaction."""
    _require_new(out)

    async def work(desk: _Desk, tenure: Tenure) -> tuple[int, str]:
        return await settlement_desk.export(desk.settler, tenure, payout_id, desk.actor)

    number, psbt = _act(config, token_file, work)
    if out is None:
        print(psbt)
        return
    _write(out, psbt)
    told(f"{out}: payout {payout_id}, version {number}; sign it and give it to `dmpool payouts import`")


def _require_new(out: Path | None) -> None:
    if out is not None and out.exists():
        raise ConfigError(f'--out: "{out}": is there already; name a new file')


def _write(out: Path, psbt: str) -> None:
    """For its owner's eyes alone: it names miners' addresses and sums."""
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(settlement_desk.binary(psbt))
    except OSError as error:
        raise ConfigError(f'--out: "{out}": {error.strerror}; ask for it again elsewhere') from error


@cli.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Signed PSBTs, or a transaction.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where signatures are missing: all there are, for the next signer."),
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Take what was signed elsewhere, check it and send it. Parts of several signers may come together."""
    _require_new(out)
    contents = []
    for file in files:
        try:
            contents.append(file.read_bytes())
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}; name the file that the signer wrote") from error

    async def work(desk: _Desk, tenure: Tenure) -> settlement_desk.Signed:
        return await settlement_desk.take_signed(desk.settler, tenure, contents, desk.actor)

    came = _act(config, token_file, work)
    what = f"payout {came.payout_id}, version {came.version}"
    if not came.complete:
        if out is not None:
            _write(out, came.psbt)
        where = f"; {out} has those that were given" if out else "; import the parts of all signers together"
        complain(f"{what}: signatures are missing{where}")
        raise SystemExit(1)
    if came.problem:
        complain(f"{what}: is signed and stored, but {came.problem}")
        raise SystemExit(1)
    told(f"{what}: signed, stored and sent")


@cli.command()
def bump(
    payout_id: IdArgument,
    reason: ReasonOption,
    fee_rate: Annotated[
        int | None,
        typer.Option(min=1, help="At least so many satoshis for a virtual byte; else the estimate."),
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Replace a payout's transaction by one with the same payments and a higher fee."""
    rate = None if fee_rate is None else fee_rate * 1000

    async def work(desk: _Desk, tenure: Tenure) -> str | None:
        return await settlement_desk.bump(desk.settler, tenure, payout_id, rate, desk.actor, reason)

    problem = _act(config, token_file, work)
    if problem:
        complain(f"payout {payout_id}: {problem}")
        raise SystemExit(1)
    status(payout_id, config)


@cli.command()
def abandon(
    payout_id: IdArgument, reason: ReasonOption, token_file: TokenOption = None, config: ConfigOption = None
) -> None:
    """Take a payout back: at once if it was never signed nor given out, else by a transaction."""

    async def work(desk: _Desk, tenure: Tenure) -> str:
        return await settlement_desk.abandon(desk.settler, tenure, payout_id, desk.actor, reason)

    told(f"payout {payout_id}: {_act(config, token_file, work)}")


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    watched = Console(stderr=True)
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
