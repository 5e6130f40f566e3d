"""`dmpool notices`: what was told of by itself, to whom it went, whether a channel works, and once more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import sqlalchemy as sa
import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.cli_options import ConfigOption, complain, plain
from pool.cli_view import show, told
from pool.clock import unix_microseconds
from pool.config import Settings, load
from pool.notices import outbox
from pool.notices.courier import LONGEST_SEND_SECONDS, sender_of
from pool.notices.notice import Message
from pool.notices.secret import SecretError
from pool.notices.section import ChannelSection
from pool.notices.sending import NotSent
from pool.notices.words import subject_of, text_of
from pool.resources import command_database, rules_of
from pool.tables_notices import notice, notice_delivery

cli = typer.Typer(no_args_is_help=True, help="Notices: of blocks, payouts, alarms, licences and reports.")

_Result = TypeVar("_Result")
_STATES: Final = {"sent": "sent", "waiting": "waits", "given_up": "given up"}
_Channel = Annotated[str | None, typer.Option("--channel", help="Of this channel alone.")]


@cli.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 30,
    open_: Annotated[
        bool, typer.Option("--open", help="Only what a channel has not got, the oldest.")
    ] = False,
    channel: _Channel = None,
    config: ConfigOption = None,
) -> None:
    """The newest notices, newest last, and what became of each at each channel."""
    settings = load(config)
    rules = rules_of(settings)

    async def read(connection: AsyncConnection) -> list[tuple[str, ...]]:
        delivery = notice_delivery.c
        chosen = sa.select(notice).where(notice.c.audience != "miner")
        if open_ or channel is not None:
            of = sa.select(delivery.notice_id).where(delivery.state != "sent" if open_ else sa.true())
            of = of.where(delivery.channel == channel) if channel is not None else of
            chosen = chosen.where(notice.c.id.in_(of))
        # Of what waits the first holds up the others, and has the error: of what is critical, else of all.
        order = (notice.c.severity != "critical", notice.c.id) if open_ else (notice.c.id.desc(),)
        rows = (await connection.execute(chosen.order_by(*order).limit(limit))).all()
        ids = [row.id for row in rows]
        deliveries = (
            await connection.execute(
                sa.select(notice_delivery)
                .where(delivery.notice_id.in_(ids))
                .order_by(delivery.notice_id, delivery.channel)
            )
        ).all()
        return [
            (
                f"{rules.local(row.at_us):%Y-%m-%d %H:%M:%S}",
                row.severity,
                row.subject,
                "; ".join(
                    _went(one.channel, one.state, one.attempts, one.error)
                    for one in deliveries
                    if one.notice_id == row.id and channel in (None, one.channel)
                ),
            )
            for row in sorted(rows, key=lambda row: row.id)
        ]

    show(("when", "severity", "notice", "channels"), _asked(settings, read))


def _went(channel: str, state: str, attempts: int, error: str) -> str:
    tries = f" after {attempts} tries" if attempts > 1 else ""
    return f"{channel}: {_STATES[state]}{tries}{f' ({plain(error)})' if error else ''}"


@cli.command("test")
def try_channels(
    channel: Annotated[str | None, typer.Argument(help="Its name; else all.", show_default=False)] = None,
    config: ConfigOption = None,
) -> None:
    """Send a test to a channel now, past the queue; exits non-zero where it is not taken."""
    settings = load(config)
    chosen = _channels(settings, channel)
    if not chosen:
        told("there are no channels; add a [[notices.channels]] section (docs/operate/notices.md)")
        return
    failed = 0
    for section in chosen:
        trouble = uvloop.run(_try(section, settings.pool.name))
        failed += bool(trouble)
        told(f"{section.name}: {plain(trouble) if trouble else 'taken'}")
    if failed:
        raise SystemExit(1)


async def _try(section: ChannelSection, pool: str) -> str:
    now_us = unix_microseconds()
    data = {"channel": section.name, "pool": pool}
    message = Message(
        key=f"test:{section.name}:{now_us}",
        at_us=now_us,
        kind="alarm",
        event="test",
        severity="info",
        data=data,
        subject=subject_of("test", data, section.language),
        text=text_of("test", data, section.language),
    )
    try:
        async with asyncio.timeout(LONGEST_SEND_SECONDS):
            await sender_of(section, pool).send(message)
    except (NotSent, SecretError, TimeoutError) as error:
        return str(error) or "takes too long"
    return ""


@cli.command()
def retry(channel: _Channel = None, config: ConfigOption = None) -> None:
    """What was given up waits again, for another day; whatever waits is tried within seconds."""
    settings = load(config)
    if channel is not None:
        _channels(settings, channel)

    async def again(connection: AsyncConnection) -> int:
        return await outbox.retry(connection, unix_microseconds(), channel)

    told(f"{_asked(settings, again)} wait again")


def _channels(settings: Settings, name: str | None) -> tuple[ChannelSection, ...]:
    """The channel of a name, or all; ends the command where there is none of that name."""
    channels = settings.notices.channels
    chosen = tuple(one for one in channels if name in (None, one.name))
    if name is not None and not chosen:
        known = ", ".join(one.name for one in channels) or "none"
        complain(f"there is no channel {name[:40]!r}; [[notices.channels]] has {known}")
        raise SystemExit(2)
    return chosen


def _asked(settings: Settings, ask: Callable[[AsyncConnection], Awaitable[_Result]]) -> _Result:
    async def asked() -> _Result:
        async with command_database(settings) as engine, engine.begin() as connection:
            return await ask(connection)

    return uvloop.run(asked())
