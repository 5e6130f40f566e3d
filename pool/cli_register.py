"""`dmpool register`: the log of events behind the register, as a whole.

`verify` walks the chain of hashes; who wrote down a number and a hash earlier can have it checked that they
still stand. `show` is the register as it stood on any day, `log` who changed what and why, and `pending`,
`approve` and `reject` are for changes that need two pairs of eyes.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.cli_actor import ReasonOption, TokenOption, change, mistakes, named
from pool.cli_devices import state_of
from pool.cli_miners import show_miners
from pool.cli_options import ConfigOption, complain
from pool.cli_view import AsOfOption, View, beginning, instant, look, show, show_events, show_facts, told
from pool.config import load
from pool.register_store import Head
from pool.resources import command_database, rules_of
from register.clerk import Clerk
from register.event import ChainError, Event
from register.proposal import Proposal
from register.records import KINDS
from register.register import Register

cli = typer.Typer(no_args_is_help=True, help="The log of events behind the register.")

NumbersArgument = Annotated[list[int], typer.Argument(help="Numbers, as `pending` shows them.")]
_SEQ = re.compile(r"[0-9]{1,18}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_KNOWN_HASH = "is written as SEQ:HASH, like 120:9f86d0...; HASH has 64 hex digits"
_MOST_EVENTS = 1_000_000


@cli.command()
def verify(
    since: Annotated[
        str | None, typer.Option(help="SEQ:HASH that was known earlier; it must still stand.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Check every hash of the log; exits with 1 when the log does not hold together."""
    settings = load(config)
    with mistakes():
        known = _known_hash(since) if since else None

    async def work() -> tuple[Head, str | None]:
        async with command_database(settings) as engine:
            newest = await _walk(engine)
            async with engine.connect() as connection:
                return newest, await register_store.hash_at(connection, known[0]) if known else None

    try:
        newest, sha256 = uvloop.run(work())
    except ChainError as error:
        complain(str(error))
        raise SystemExit(1) from None
    told(f"{newest.seq} events, each with its hash and that of the one before; the last is")
    told(f"{newest.seq}:{newest.sha256}")
    if known and sha256 != known[1]:
        stands = f"carries the hash {sha256}" if sha256 else "is not there"
        complain(
            f"register event {known[0]}: {stands}, not {known[1]}: the log is not the one that was known"
        )
        raise SystemExit(1)
    if known:
        told(f"event {known[0]} still carries the hash that was known")


async def _walk(engine: AsyncEngine) -> Head:
    async with engine.connect() as connection:
        total = (await register_store.head(connection)).seq
    watched = Console(stderr=True)
    columns = TextColumn("verifying"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal) as bar:
        task = bar.add_task("", total=total)
        return await register_store.verify_chain(engine, lambda seq: bar.update(task, completed=seq))


def _known_hash(text: str) -> tuple[int, str]:
    seq, _, sha256 = text.partition(":")
    if not _SEQ.fullmatch(seq) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"--since {text[:90]!r}: {_KNOWN_HASH}")
    return int(seq), sha256.lower()


@cli.command()
def log(
    kind: Annotated[str | None, typer.Option(help=f"One of {', '.join(KINDS)}.")] = None,
    key: Annotated[str | None, typer.Option(help="Of one record of that kind.")] = None,
    limit: Annotated[int, typer.Option(help="Show the newest so many.")] = 50,
    since: Annotated[
        str | None, typer.Option(help="From a day (its beginning in Kazakhstan) or ISO timestamp on.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Who changed what, when and why (O-12)."""
    settings = load(config)
    rules = rules_of(settings)
    with mistakes():
        if kind is not None and kind not in KINDS:
            raise ValueError(f"--kind {kind[:40]!r} must be one of {', '.join(KINDS)}")
        if key is not None and kind is None:
            raise ValueError(f"--key {key[:40]!r}: say of which --kind")
        if not 1 <= limit <= _MOST_EVENTS:
            raise ValueError(f"--limit {limit}: must be 1 to {_MOST_EVENTS}")
        since_us = beginning(since, rules) if since else 0

    async def read() -> list[Event]:
        async with command_database(settings) as engine:
            if kind is not None and key is not None:
                events = await register_store.history(engine, kind, key)
                return [event for event in events if event.at_us >= since_us][-limit:]
            return await _newest(engine, kind, since_us, limit)

    show_events(uvloop.run(read()), View(Register(), rules, instant(None, rules)))


async def _newest(engine: AsyncEngine, kind: str | None, since_us: int, limit: int) -> list[Event]:
    async with engine.connect() as connection:
        after = (await register_store.head(connection, since_us)).seq
        if kind is None:
            after = max(after, (await register_store.head(connection)).seq - limit)
    kept: deque[Event] = deque(maxlen=limit)
    while chunk := await register_store.events(engine, after, kinds=None if kind is None else (kind,)):
        kept.extend(chunk)
        after = chunk[-1].seq
    return list(kept)


@cli.command("show")
def show_(as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """The register as it stands, or as it stood on a day: how much of what, and where every miner stands."""
    with mistakes():
        view = look(config, as_of)
    register = view.register
    units = Counter(state_of(one, view.day) for one in register.devices.values())
    show_facts(
        (
            ("at", view.clock(view.at_us)),
            ("newest event", f"{register.seq}:{register.sha256}"),
            ("miners", str(len(register.miners))),
            ("licences", str(len(register.licences))),
            ("data centres", str(len(register.centres))),
            (
                "hardware units",
                f"{units['registered']} registered, {units['to_come']} to come, {units['excluded']} excluded",
            ),
            ("changes that wait", str(len(_waiting(register)))),
        )
    )
    show_miners([one for _, one in sorted(register.miners.items())], view)


@cli.command()
def pending(config: ConfigOption = None) -> None:
    """Changes that wait for a second compliance officer."""
    with mistakes():
        view = look(config, None, ("miner", "licence", "address", "proposal"))
    show(
        ("number", "change", "asked for by", "reason"),
        (
            (
                str(one.id),
                f"{named(one.kind, one.key, view.register, one.body)}: {one.action}",
                one.actor,
                one.reason,
            )
            for one in _waiting(view.register)
        ),
    )


@cli.command()
def approve(
    numbers: NumbersArgument,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Make proposed changes; another compliance officer than the one who asked for them."""
    _decide(numbers, reason, token_file, config, approved=True)


@cli.command()
def reject(
    numbers: NumbersArgument,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Turn proposed changes down, or take back one's own."""
    _decide(numbers, reason, token_file, config, approved=False)


def _decide(
    numbers: list[int], reason: str, token_file: Path | None, config: Path | None, *, approved: bool
) -> None:
    def work(clerk: Clerk) -> None:
        for number in numbers:
            if approved:
                clerk.approve(number)
            else:
                clerk.reject(number)

    change(config, token_file, reason, work)


def _waiting(register: Register) -> list[Proposal]:
    return [one for _, one in sorted(register.proposals.items()) if one.state == "waiting"]
