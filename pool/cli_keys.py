"""`dmpool keys`: the keys that sign reports, and what becomes of them.

The list only grows; whoever verifies a report follows it from one key that they trust (docs/keys.md). A
compliance officer acts, on the machine where the keys are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import report_keys
from pool.cli_actor import ReasonOption, TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption, complain
from pool.cli_view import beginning, show, told
from pool.clock import instant, unix_microseconds
from pool.config import Settings, load
from pool.key_ceremony import Ceremony
from pool.resources import command_database, key_file, missing_key, rules_of, signers
from register.person import PersonError, Role
from reporting.key_file import KeyFileError
from reporting.keyring import Key, KeyRing
from reporting.signing import SigningError

cli = typer.Typer(no_args_is_help=True, help="The keys that sign reports.")

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY_ID", help="16 hex digits, as `keys list` shows them.")
]
_Result = TypeVar("_Result")


@cli.command("list")
def list_(config: ConfigOption = None) -> None:
    """All keys there ever were, the eldest first, and which of them this machine can sign with."""
    settings = load(config)

    async def read() -> KeyRing:
        async with command_database(settings) as engine, engine.connect() as connection:
            return await report_keys.read(connection)

    with mistakes():
        ring = uvloop.run(read())
        at_hand = [one.key_id for one in signers(settings)] if missing_key(settings) is None else []
    now = instant(unix_microseconds())
    show(
        ("key", "public key", "from", "state", "vouched for by", "at hand"),
        (
            (
                key.key_id,
                key.public_key,
                _clock(key.valid_from),
                _state(key, now),
                key.authorised_by or "itself: an anchor",
                "yes" if key.key_id in at_hand else "no",
            )
            for key in ring.keys.values()
        ),
    )
    for name in at_hand:
        if name not in ring.keys:
            told(f"key {name} is at hand and signs nothing: `dmpool keys introduce {name}` enters it")


@cli.command()
def introduce(
    key: KeyArgument,
    reason: ReasonOption,
    anchor: Annotated[
        bool, typer.Option("--anchor", help="No key in force is left to vouch for it: it begins a new line.")
    ] = False,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Enter a key that [signing] names: reports are signed with it too from now on."""
    public_key = _act(config, token_file, reason, lambda ceremony: ceremony.introduce(key, anchor=anchor))
    told(f"key {key} signs reports from now on; its public key: {public_key}")
    if anchor:
        told(
            "no key vouches for it: everybody who verifies reports must take it over, by a channel they trust"
        )


@cli.command()
def rotate(
    reason: ReasonOption,
    old: Annotated[str | None, typer.Option(help="The key to replace; else the one in force here.")] = None,
    new: Annotated[
        str | None, typer.Option(help="The key that takes its place, a source in [signing]; else a new file.")
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Put a key in another's place; the old one vouches for it. Killed half-way, it is finished when done
    again."""
    done = _act(config, token_file, reason, lambda ceremony: ceremony.rotate(old, new))
    told(f"key {done.key_id} signs reports in place of {done.replaced}; its public key: {done.public_key}")
    if done.old_secret is not None:
        told(f"the old secret is in {done.old_secret}: destroy it, or put it away off this machine")
    else:
        told(f"take the source of {done.replaced} out of [signing]")


@cli.command()
def revoke(
    key: KeyArgument,
    reason: ReasonOption,
    since: Annotated[
        str | None,
        typer.Option(help="Day or ISO timestamp from which on nothing it signed counts; else now."),
    ] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Nothing that a key signs counts any more; what it signed before that still does."""
    settings = load(config)
    with mistakes():
        since_us = None if since is None else beginning(since, rules_of(settings))
    _act(config, token_file, reason, lambda ceremony: ceremony.revoke(key, since_us))
    told(f"key {key} is revoked: tell whoever verifies reports to fetch the list of keys anew")


def _act(
    config: Path | None,
    token_file: Path | None,
    reason: str,
    work: Callable[[Ceremony], Awaitable[_Result]],
) -> _Result:
    settings = load(config)

    async def act() -> _Result:
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            if actor.role is not Role.COMPLIANCE:
                raise PersonError(
                    f"{actor.name}: the role {actor.role} may look at keys; a compliance officer changes them"
                )
            return await work(_ceremony(settings, engine, actor.name, reason))

    with mistakes():
        try:
            return uvloop.run(act())
        except (KeyFileError, SigningError, OSError) as error:
            complain(str(error))
            raise SystemExit(1) from None


def _ceremony(settings: Settings, engine: AsyncEngine, actor: str, reason: str) -> Ceremony:
    return Ceremony(
        engine, rules_of(settings), settings.signing, key_file(settings), actor, reason, unix_microseconds
    )


def _clock(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _state(key: Key, now: dt.datetime) -> str:
    if key.revoked_from is not None:
        return f"revoked from {_clock(key.revoked_from)} on: {key.revoked_reason}"
    if key.valid_to is not None:
        return f"replaced by {key.replaced_by} on {_clock(key.valid_to)}"
    return "in force" if key.refusal(now) is None else "not yet in force"
