"""`dmpool front`: the Stratum front of a running gateway on this machine, looked at and directed.

It speaks to the control socket in the gateway's data directory, so it must run as the gateway's user.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer
import uvloop
from rich.markup import escape
from rich.table import Table

from pool.cli_options import ConfigOption, complain, console
from pool.config import ConfigError, load
from pool.control import ControlError, Drain, ask

cli = typer.Typer(no_args_is_help=True, help="Connections of a running gateway: limits, bans, drain.")


@cli.command()
def status(
    of: Annotated[
        str | None, typer.Option(help="An account or a worker: its connections, as the log names them.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Connections, who waits, who was turned away, and the bans in force."""
    if of is not None:
        _connections(config, of)
        return
    state = _ask(config, "GET", "/status")
    table = Table(title="draining" if state["draining"] else None, show_header=False)
    for key in ("connections", "waiting", "parked"):
        table.add_row(key, str(state[key]))
    for key in ("closed", "refused"):
        for reason, count in sorted(state[key].items()):
            table.add_row(f"{key}: {reason}", str(count))
    console.print(table)
    bans = Table("banned address", "last offence", "until (UTC)")
    for ban in state["bans"]:
        until = dt.datetime.fromtimestamp(ban["until"], dt.UTC)
        bans.add_row(ban["address"], ban["reason"], f"{until:%Y-%m-%d %H:%M:%S}")
    if state["bans"]:
        console.print(bans)


def _connections(config: Any, of: str) -> None:
    told = _ask(config, "GET", f"/connections?of={quote(of, safe='')}")
    table = Table("connection", "peer", "class", "worker", "names", title=f"{told['all']} of {of}")
    for one in told["connections"]:
        table.add_row(
            one["connection"], one["peer"], one["device"], escape(one["worker"]), str(one["workers"])
        )
    console.print(table)


@cli.command()
def unban(address: str, config: ConfigOption = None) -> None:
    """Let a banned address in again before its time."""
    _ask(config, "POST", "/unban", address.encode())
    console.print(f"{address} may connect again")


@cli.command()
def drain(
    to: Annotated[str, typer.Option("--to", help="host:port of another gateway in the same domain.")],
    over: Annotated[float, typer.Option("--over", help="Seconds over which the miners are sent.")] = 60.0,
    config: ConfigOption = None,
) -> None:
    """Take no new connections, send every miner elsewhere, and close those that stay."""
    host, _, port = to.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f'--to: "{to}": write it as "host:port", for example "eu2.pool.kz:3333"')
    _ask(config, "POST", "/drain", msgspec.json.encode(Drain(host, int(port), over)))
    console.print(f"miners are sent to {to} over {over:g} s; follow it with: dmpool front status")


@cli.command()
def message(text: str, config: ConfigOption = None) -> None:
    """Show a line on the screens of the miners that can show one."""
    _ask(config, "POST", "/message", text.encode())


def _ask(config: Any, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
    settings = load(config)
    try:
        return uvloop.run(ask(settings.data_dir, method, path, body))
    except ControlError as error:
        complain(str(error))
        raise typer.Exit(1) from None
