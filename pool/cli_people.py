"""`dmpool people`: who may read or write the register, and their tokens.

A token is made here at random, printed once on standard output and never again: only its hash is kept. Keep
it in a file that nobody else can read and name that file by `--token-file` or `compliance.token_file`.
"""

from __future__ import annotations

import secrets
import sys
from typing import Annotated, Literal

import msgspec
import typer

from pool.cli_actor import ReasonOption, TokenOption, change, mistakes
from pool.cli_options import ConfigOption
from pool.cli_view import AsOfOption, look, show
from register.clerk import Clerk
from register.person import Person, PersonError, Role, token_hash

cli = typer.Typer(no_args_is_help=True, help="People who read or write the register.")

NameArgument = Annotated[str, typer.Argument(help="Name, as the log shows it.")]
RoleOption = Annotated[
    Literal["auditor", "operator", "compliance"],
    typer.Option(
        help="auditor reads; operator keeps miners, hardware, centres, sites; compliance does everything."
    ),
]
_TOKEN_BYTES = 32


@cli.command()
def add(
    name: NameArgument,
    role: RoleOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a person and print the token."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)

    def work(clerk: Clerk) -> None:
        if name in clerk.register.people:
            raise PersonError(f"person {name}: is there already; use set-role or new-token")
        clerk.put_person(Person(name, Role(role), token_hash(token)))

    change(config, token_file, reason, work, aside=True)
    _hand_over(name, token)


@cli.command()
def set_role(
    name: NameArgument,
    role: RoleOption,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Give a person another role."""

    def work(clerk: Clerk) -> None:
        _put(clerk, name, role=Role(role))

    change(config, token_file, reason, work)


@cli.command()
def new_token(
    name: NameArgument,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Print another token for a person; the old one is no longer good."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    change(
        config,
        token_file,
        reason,
        lambda clerk: _put(clerk, name, token_sha256=token_hash(token)),
        aside=True,
    )
    _hand_over(name, token)


@cli.command()
def revoke(
    name: NameArgument,
    reason: ReasonOption,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """A person may no longer read or write."""
    change(config, token_file, reason, lambda clerk: _put(clerk, name, revoked=True))


def _put(clerk: Clerk, name: str, **changes: Role | str | bool) -> None:
    before = clerk.register.people.get(name)
    if before is None:
        raise PersonError(f"person {name[:40]!r}: is not in the register; `dmpool people list` shows all")
    if before.revoked:
        raise PersonError(f"person {name}: was revoked, which is for good; enter a person of another name")
    after = msgspec.structs.replace(before, **changes)
    if after != before:
        clerk.put_person(after)


def _hand_over(name: str, token: str) -> None:
    print(
        f"token of {name}, shown once and good as soon as the register has it; "
        f"keep it in a file that only {name} can read:",
        file=sys.stderr,
    )
    print(token)


@cli.command("list")
def list_(as_of: AsOfOption = None, config: ConfigOption = None) -> None:
    """Everybody, with their roles."""
    with mistakes():
        view = look(config, as_of, ("person",))
    people = sorted(view.register.people.values(), key=lambda one: one.name)
    show(
        ("name", "role", "token"),
        ((one.name, one.role.value, "revoked" if one.revoked else "valid") for one in people),
    )
