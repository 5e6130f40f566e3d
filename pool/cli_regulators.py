"""`dmpool regulators`: who comes through the regulator's door, with which tokens, and who came.

Compliance officers decide; every change has its reason and stands in the chain of access events for good. A
token is printed once, on standard output, and never again: only its hash is kept. What each part means is
told in docs/door.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec
import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import door_chain
from pool.cli_actor import ReasonOption, TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption, complain
from pool.cli_view import show, told
from pool.clock import unix_microseconds
from pool.config import ConfigError, Settings, load
from pool.door_chain import Passage
from pool.door_clerk import DoorClerk
from pool.door_regulators import Authority, Book, Regulator, RegulatorError, Scope, Token, networks_of
from pool.resources import command_database, rules_of
from register.event import FIRST, ChainError, Event
from register.rules import Rules

cli = typer.Typer(no_args_is_help=True, help="Regulators: who may read what from outside, and who did.")

DAYS: Final = 365
"""A token is good for so long unless something else is said."""
_DAY_US: Final = 86_400_000_000
_CERTIFICATE_LIMIT: Final = 100_000
_Result = TypeVar("_Result")

NameArgument = Annotated[str, typer.Argument(help="Name, as commands and the chain call it.")]
AuthorityOption = Annotated[
    Literal["authorised_body", "tax_authority", "other"],
    typer.Option(help="Whose part it is; submissions are shown to their addressee alone."),
]
NetworkOption = Annotated[
    list[str] | None,
    typer.Option("--network", help="From where alone it may come, like 192.0.2.0/24; repeat."),
]
CertificateOption = Annotated[
    Path | None, typer.Option("--certificate", help="Its client certificate (PEM), needed beside each token.")
]


@cli.command()
def add(
    name: NameArgument,
    title: Annotated[str, typer.Option(help="As it calls itself.")],
    authority: AuthorityOption,
    reason: ReasonOption,
    network: NetworkOption = None,
    certificate: CertificateOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a regulator; it has no token yet."""
    with mistakes():
        regulator = Regulator(
            name,
            title,
            Authority(authority),
            networks_of(f"regulator {name[:40]}", network or ()),
            _fingerprint(certificate) if certificate else "",
        )
    _change(config, token_file, reason, lambda clerk: clerk.add(regulator))
    told(
        f"regulator {name}: entered; `dmpool regulators token {name} --scope ... --reason ...` makes a token"
    )


@cli.command()
def change(
    name: NameArgument,
    reason: ReasonOption,
    title: Annotated[str | None, typer.Option(help="As it calls itself.")] = None,
    network: NetworkOption = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="It may come from any address.")] = False,
    certificate: CertificateOption = None,
    no_certificate: Annotated[
        bool, typer.Option("--no-certificate", help="It needs no client certificate any more.")
    ] = False,
    closed: Annotated[
        bool | None,
        typer.Option("--close/--open", help="Whether its tokens open nothing, whatever they are."),
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a regulator; networks that are named replace all that were."""
    with mistakes():
        if (network and anywhere) or (certificate and no_certificate):
            raise RegulatorError(f"regulator {name[:40]}: say either what it needs, or that it needs nothing")
        changes: dict[str, object] = {}
        if title is not None:
            changes["title"] = title
        if network or anywhere:
            changes["networks"] = networks_of(f"regulator {name[:40]}", network or ())
        if certificate or no_certificate:
            changes["certificate_sha256"] = _fingerprint(certificate) if certificate else ""
        if closed is not None:
            changes["closed"] = closed

    def replaced(before: Regulator) -> Regulator:
        return msgspec.structs.replace(before, **changes)

    changed = _change(config, token_file, reason, lambda clerk: clerk.change(name, replaced))
    told(f"regulator {name}: changed" if changed else "nothing differs: nothing was written")


@cli.command()
def token(
    name: NameArgument,
    scope: Annotated[
        list[str], typer.Option("--scope", help=f"What it opens, of {', '.join(Scope)}; repeat for several.")
    ],
    reason: ReasonOption,
    days: Annotated[int, typer.Option(min=1, help="For so many days it is good.")] = DAYS,
    begin: Annotated[
        str | None, typer.Option("--from", help="Day on which it becomes good, like 2027-01-01; else now.")
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a token of a regulator and print it; earlier ones stay good."""
    settings = load(config)
    now_us = unix_microseconds()
    with mistakes():
        scopes = [_scope(one) for one in scope]
        begin_us = now_us if begin is None else rules_of(settings).day_bounds(_day(begin))[0]
    ends_us = begin_us + days * _DAY_US

    async def issue(clerk: DoorClerk) -> tuple[Token, str]:
        return await clerk.issue(name, scopes, begin_us, ends_us)

    made, secret = _change(config, token_file, reason, issue)
    ends = rules_of(settings).local(ends_us)
    print(
        f"token {made.id} of {name}, good until {ends:%Y-%m-%d %H:%M}, opens {', '.join(made.scopes)}; it is "
        f"shown once: give it to {name} over a channel that you trust, and keep no copy:",
        file=sys.stderr,
    )
    print(secret)


@cli.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Id of the token, as `list` shows it.")],
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A token is no longer good, from this moment on."""
    revoked = _change(config, token_file, reason, lambda clerk: clerk.revoke(token_id))
    told(f"token {revoked.id} of {revoked.regulator}: revoked")


@cli.command("list")
def list_(config: ConfigOption = None) -> None:
    """All regulators and all of their tokens."""
    settings = load(config)
    book = _read(settings, door_chain.read_book)
    regulators = sorted(book.regulators.values(), key=lambda one: one.name)
    show(
        ("regulator", "title", "authority", "from", "certificate", "state"),
        [
            (
                one.name,
                one.title,
                one.authority.value,
                ", ".join(one.networks) or "anywhere",
                one.certificate_sha256[:16] or "none",
                "closed" if one.closed else "open",
            )
            for one in regulators
        ],
    )
    rules, now_us = rules_of(settings), unix_microseconds()
    show(
        ("token", "regulator", "opens", "good from", "until", "state"),
        [_token_line(one, book, rules, now_us) for one in book.tokens.values()],
        title="Tokens",
    )


def _token_line(one: Token, book: Book, rules: Rules, now_us: int) -> tuple[str, ...]:
    states = (
        (one.revoked, "revoked"),
        (book.regulators[one.regulator].closed, "closed"),
        (now_us >= one.expires_us, "expired"),
        (now_us < one.not_before_us, "not yet"),
    )
    state = next((name for is_so, name in states if is_so), "good")
    times = (f"{rules.local(at):%Y-%m-%d %H:%M}" for at in (one.not_before_us, one.expires_us))
    return (one.id, one.regulator, ", ".join(one.scopes), *times, state)


@cli.command()
def access(
    regulator: Annotated[str | None, typer.Option("--regulator", help="Whose; else everything.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many, the newest.")] = 50,
    config: ConfigOption = None,
) -> None:
    """Who came, what was given, who was refused, and what was changed; the newest last."""
    settings = load(config)
    rules = rules_of(settings)
    events = _read(settings, lambda connection: door_chain.newest_of(connection, regulator, limit))
    show(
        ("event", "at", "who", "from", "what", "answer"),
        [_event_line(one, rules) for one in reversed(events)],
    )


def _event_line(event: Event, rules: Rules) -> tuple[str, ...]:
    at = f"{rules.local(event.at_us):%Y-%m-%d %H:%M:%S}"
    if event.kind in door_chain.CHANGES:
        what = f"{event.kind} {event.key} {event.action}"
        return (str(event.seq), at, f"{event.actor} ({event.role})", "", what, event.reason)
    passage = msgspec.json.decode(event.body, type=Passage)
    said = f"{passage.status} {event.reason or passage.given}".strip()
    if passage.unrecorded:
        said += f" (and {passage.unrecorded} more refusals before it)"
    who = event.actor or "a stranger"
    return (str(event.seq), at, who, passage.address, f"{event.action} {passage.path}", said)


@cli.command()
def verify(
    since: Annotated[
        str | None, typer.Option(help="NUMBER:HASH of an event that you kept: it must still be there.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Check every hash of the chain; ends with exit code 1 when one is wrong."""
    settings = load(config)
    with mistakes():
        number, sha256 = (0, FIRST) if since is None else _kept(since)

    async def check() -> tuple[door_chain.Head, str | None]:
        async with command_database(settings) as engine:
            head = await door_chain.verify_chain(engine)
            async with engine.connect() as connection:
                return head, await door_chain.hash_at(connection, number)

    try:
        head, found = uvloop.run(check())
    except ChainError as error:
        complain(str(error))
        raise SystemExit(1) from None
    if found != sha256:
        complain(f"access event {number}: does not have the hash {sha256} that you kept")
        raise SystemExit(1)
    told(f"{head.seq} events, every hash is right; keep {head.seq}:{head.sha256}")


def _kept(since: str) -> tuple[int, str]:
    number, separator, sha256 = since.partition(":")
    if not separator or not number.isascii() or not number.isdigit():
        raise RegulatorError(f"--since {since[:80]!r}: write it as NUMBER:HASH, as `verify` printed it")
    return int(number), sha256


def _scope(name: str) -> Scope:
    try:
        return Scope(name)
    except ValueError:
        raise RegulatorError(f"--scope {name[:20]!r}: must be one of {', '.join(Scope)}") from None


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise RegulatorError(f"--from {text[:20]!r}: write the day like 2027-01-01") from None


def _fingerprint(path: Path) -> str:
    """SHA-256 of the first certificate of a PEM file; raises RegulatorError or ConfigError."""
    try:
        text = path.read_text("ascii")[:_CERTIFICATE_LIMIT]
    except OSError as error:
        raise ConfigError(f"--certificate: {path}: {error.strerror}; name a PEM file") from error
    except UnicodeDecodeError:
        text = ""
    begin, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    try:
        der = ssl.PEM_cert_to_DER_cert(text[begin : end + len("-----END CERTIFICATE-----")])
    except ValueError:
        raise RegulatorError(f"--certificate: {path}: holds no certificate; name a PEM file") from None
    return hashlib.sha256(der).hexdigest()


def _read(settings: Settings, work: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
    async def look() -> _Result:
        async with command_database(settings) as engine, engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                return await work(connection)

    return uvloop.run(look())


def _change(
    config: Path | None,
    token_file: Path | None,
    reason: str,
    work: Callable[[DoorClerk], Awaitable[_Result]],
) -> _Result:
    """One change by a command; ends the program when it cannot be."""
    settings = load(config)

    async def write() -> _Result:
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            async with engine.begin() as connection:
                return await work(DoorClerk(connection, actor, reason, unix_microseconds()))

    with mistakes():
        return uvloop.run(write())
