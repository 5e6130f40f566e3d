"""`dmpool top`: how the pool does, live in a terminal, or once as plain text for a script."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated, Final

import typer
import uvloop

from pool.cli_options import ConfigOption, complain
from pool.cli_view import told
from pool.config import ConfigError, Settings, load
from pool.terminal.history import History
from pool.terminal.looker import looking
from pool.terminal.pages import View, page
from pool.terminal.reading import Reading, Target

_UNCUT: Final = 10_000
_TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="host:port of a process's metrics listener; repeat it."),
]


def command(
    target: _TargetOption = None,
    interval: Annotated[float, typer.Option(min=0.5, max=3600, help="Seconds between looks.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="One look as plain text; exits 1 when critical.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """How the pool does, live: gateways, sessions, blocks, spool, ledger, nodes, and what is wrong."""
    # With targets alone nothing of this machine is asked.
    settings = load(config) if config is not None or not target else None
    targets = [target_of(one) for one in target or ()] or [_own(settings)]
    if once:
        look = uvloop.run(_once(targets, settings))
        raise SystemExit(_print(look))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        complain("the live view needs a terminal; write --once for one look as plain text")
        raise SystemExit(2)
    uvloop.run(_live(targets, settings, interval))


def target_of(text: str) -> Target:
    """What `--target` names; raises ConfigError."""
    host, _, port = text.removeprefix("http://").rstrip("/").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f'--target: "{text}": write it as "host:port", for example "kz1.pool.kz:9090"')
    return Target(host.strip("[]"), int(port))


def _own(settings: Settings | None) -> Target:
    """This machine's process."""
    if settings is None:
        raise ConfigError("--target: none is given; name one, or a configuration with --config")
    listen = settings.metrics.listen
    local = "::1" if listen.host == "::" else "127.0.0.1"
    return Target(local if listen.everywhere else listen.host, listen.port)


async def _once(targets: list[Target], settings: Settings | None) -> Reading:
    async with looking(targets, settings) as looker:
        return await looker.look()


def _print(look: Reading) -> int:
    history = History()
    history.add(look)
    view = View(look, history, _UNCUT)
    told(f"dmpool top  {dt.datetime.fromtimestamp(look.at, dt.UTC):%Y-%m-%dT%H:%M:%SZ}")
    for line in page("overview", view):
        told(line.text)
    return int(any(one.level == "critical" for one in view.wrong()))


async def _live(targets: list[Target], settings: Settings | None, interval: float) -> None:
    from pool.terminal.app import Top  # noqa: PLC0415 - `--once` has no need of a screen

    async with looking(targets, settings) as looker:
        await Top(looker, interval).run_async()
