"""Who acts on the command line, and one change of the register by a command.

While no person is in the register, whoever may run commands on this machine acts, as a compliance officer
under the login's name; that is how the first person gets in. From then on only a token says who acts. It
stands in a file, named by `--token-file` or `compliance.token_file`, and never on a command line or in a log.

A change that needs two pairs of eyes is told as what it is: a proposal that waits, and how to approve it.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.cli_options import complain
from pool.cli_view import told
from pool.clock import unix_microseconds
from pool.config import ConfigError, Settings, load
from pool.resources import command_database, rules_of, terms_of
from register.clerk import Clerk, Terms
from register.event import Event
from register.person import Actor, PersonError, Role, whose
from register.records import decode
from register.register import Register

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stands in the log for good.")]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", help="File with your token; else compliance.token_file.")
]
NOUNS: Final = {
    "device": "hardware unit",
    "centre": "data centre",
    "protocol": "test protocol",
}
"""What a kind of record is called; the others are called what they are."""
_LONGEST_TOKEN: Final = 1000
_Result = TypeVar("_Result")


class Acting(NamedTuple):
    """Somebody who is about to change the register, for a reason."""

    engine: AsyncEngine
    terms: Terms
    actor: Actor
    reason: str

    def writing(self) -> AbstractAsyncContextManager[Clerk]:
        """One change: what the clerk wrote is stored when the block ends without an exception."""
        return register_store.writing(self.engine, self.terms, self.actor, self.reason)

    async def trying(self) -> Clerk:
        """A clerk whose work is thrown away, on the register as it stands; nobody waits for it."""
        register = await register_store.read(self.engine)
        return Clerk(register, self.terms, self.actor, self.reason, unix_microseconds())


@asynccontextmanager
async def acting(settings: Settings, token_file: Path | None, reason: str) -> AsyncIterator[Acting]:
    """Who acts, on the database of the configuration."""
    terms = terms_of(settings, rules_of(settings))
    async with command_database(settings) as engine:
        actor = await who_acts(engine, token_file or settings.compliance.token_file)
        yield Acting(engine, terms, actor, reason)


async def who_acts(engine: AsyncEngine, token_file: Path | None) -> Actor:
    """See the head of this file; raises PersonError or ConfigError."""
    people = (await register_store.read(engine, kinds=("person",))).people
    if not people:
        return Actor(f"os:{_login()}", Role.COMPLIANCE)
    if token_file is None:
        raise PersonError(
            "who acts is not known: name the file with your token by --token-file or compliance.token_file"
        )
    person = whose(_token_in(token_file), people.values())
    if person is None:
        raise PersonError(
            f"token file {token_file}: its token is nobody's, or was revoked; "
            f"ask a compliance officer for `dmpool people new-token`"
        )
    return Actor(person.name, person.role, person.token_sha256)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        return str(os.getuid())


def _token_in(path: Path) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"token file: {path}: cannot be read: {error}; it holds what `dmpool people add` printed"
        ) from error
    if not 1 <= len(token) <= _LONGEST_TOKEN or len(token.split()) != 1:
        raise ConfigError(f"token file: {path}: must hold one token and nothing else")
    return token


def change(
    config: Path | None,
    token_file: Path | None,
    reason: str,
    work: Callable[[Clerk], _Result],
    *,
    aside: bool = False,
) -> _Result:
    """One change by a command; ends the program when it cannot be.

    What came of it is told on standard output, or `aside` on standard error.
    """
    settings = load(config)

    async def write() -> tuple[_Result, Clerk]:
        async with acting(settings, token_file, reason) as act, act.writing() as clerk:
            return work(clerk), clerk

    with mistakes():
        result, clerk = uvloop.run(write())
    for event in clerk.events:
        told(say(event, clerk.register), aside=aside)
    if not clerk.events:
        told("nothing differs from what the register has: nothing was written", aside=aside)
    return result


@contextmanager
def mistakes() -> Iterator[None]:
    """A mistake of whoever typed the command ends it with one line and exit code 2."""
    try:
        yield
    except (ValueError, ConfigError) as error:
        complain(str(error))
        raise SystemExit(2) from None


def say(event: Event, register: Register) -> str:
    """One line on an event that was just written."""
    if event.kind != "proposal":
        return f"{named(event.kind, event.key, register)}: {event.action} (register event {event.seq})"
    proposal = register.proposals[int(event.key)]
    what = f"{named(proposal.kind, proposal.key, register, proposal.body)}, {proposal.action}"
    if event.action != "proposed":
        return f"proposal {proposal.id} ({what}): {event.action} (register event {event.seq})"
    return (
        f"proposal {proposal.id} ({what}): nothing changes before another compliance officer approves it: "
        f"`dmpool register approve {proposal.id} --reason ...`"
    )


def named(kind: str, key: str, register: Register, body: str = "") -> str:
    """A record as people call it; `body` is that of one which is not in the register yet."""
    match kind:
        case "miner":
            return f"miner {register.miners[int(key)].name}"
        case "address":
            address = decode("address", body) if body else register.addresses[key]
            account = register.miners[address.miner_id].name  # type: ignore[attr-defined]
            return f"address {address.address} of {account}"  # type: ignore[attr-defined]
        case _:
            return f"{NOUNS.get(kind, kind)} {key}"
