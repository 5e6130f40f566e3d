"""`dmpool reports cms` and `dmpool reports signatures`: what stands beside a report, and asking for one more.

Such a signature is made by a service outside with a state key (`[signing.cms]`). It is stored and handed out
as it came, and nothing here claims to have verified it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.cli_actor import TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption, complain
from pool.cli_view import show, told
from pool.clock import unix_microseconds
from pool.cms_signer import CmsError, Service, Stored, beside, sign_beside
from pool.config import ConfigError, load
from pool.resources import command_database, rules_of
from pool.tables import report
from register.person import PersonError, Role

DayOption = Annotated[
    dt.datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Day in Kazakhstan time.")
]
_Result = TypeVar("_Result")
VersionOption = Annotated[int | None, typer.Option(min=1, help="Which version; else the newest.")]


def cms(
    date: DayOption,
    version: VersionOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Ask the service of [signing.cms] for a detached CMS signature of a report, and keep it beside it."""
    settings = load(config)

    async def ask() -> Stored:
        if settings.signing.cms is None:
            raise ConfigError("signing.cms: is missing; it names the service that makes CMS signatures")
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            if actor.role not in (Role.OPERATOR, Role.COMPLIANCE):
                raise PersonError(f"{actor.name}: the role {actor.role} may look; an operator asks for them")
            async with engine.begin() as connection:
                sha256 = await _chosen(connection, date.date(), version)
                service = Service(settings.signing.cms)
                return await sign_beside(connection, sha256, service, unix_microseconds(), actor.name)

    with mistakes():
        stored = _run(ask())
    told(f"stored beside the report of {date.date()}, not verified: {stored.words}")


def signatures(
    date: DayOption,
    version: VersionOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the newest one here, as it came.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """What signatures stand beside a report. None of them was verified by this program."""
    settings = load(config)

    async def read() -> list[Stored]:
        async with command_database(settings) as engine, engine.connect() as connection:
            return await beside(connection, await _chosen(connection, date.date(), version))

    with mistakes():
        rules = rules_of(settings)
        found = _run(read())
    show(
        ("type", "received", "asked for by", "bytes", "not verified"),
        (
            (
                one.type,
                f"{rules.local(one.signed_us):%Y-%m-%d %H:%M:%S}",
                one.actor,
                str(len(one.value)),
                one.words,
            )
            for one in found
        ),
    )
    if out is not None:
        _write(found, out)


def _write(found: list[Stored], out: Path) -> None:
    if not found:
        complain(f"{out}: there is no signature to write")
        raise SystemExit(1)
    try:
        out.write_bytes(found[-1].value)
    except OSError as error:
        complain(f"--out {out}: {error.strerror}; name a file that can be written")
        raise SystemExit(2) from None


def _run(work: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        return uvloop.run(work)
    except CmsError as error:
        complain(str(error))
        raise SystemExit(1) from None


async def _chosen(connection: AsyncConnection, day: dt.date, version: int | None) -> str:
    wanted = sa.select(report.c.sha256).where(report.c.day == day)
    if version is not None:
        wanted = wanted.where(report.c.version == version)
    sha256: str | None = await connection.scalar(wanted.order_by(report.c.version.desc()).limit(1))
    if sha256 is None:
        raise CmsError(f"there is no such report of {day}; `dmpool reports list` shows all")
    return sha256
