"""The command `dmpool`: the roles, and what looks at a configuration or plays a fleet of miners.

Every command reads the same configuration file; without one it works on the demo's. A mistake of the operator
ends it with one line and exit code 2, a check that failed with exit code 1.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib import metadata
from typing import Annotated

import typer
import uvloop
from rich.live import Live
from rich.table import Table

from pool import preflight
from pool.cli_groups import Groups
from pool.cli_options import ConfigOption, complain, console
from pool.cli_serve import serve
from pool.config import ConfigError, load
from pool.notices.secret import secret_problems
from pool.preflight import ALL_ROLES, Role
from pool.simulate import SimulatedMiner
from pool.streams import open_streams
from pool.telemetry import logs

COMMANDS = logs.LogsSection(format="console", level="warning")
"""What a command says besides its answer."""

cli = typer.Typer(
    cls=Groups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The server of an accredited digital mining pool.",
)


def main() -> None:
    """Entry point: turns the operator's mistakes into one line."""
    open_streams()
    try:
        cli()
    except ConfigError as error:
        complain(str(error))
        raise SystemExit(2) from None


@cli.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Options that stand before any command."""
    if show:
        print(f"dmpool {metadata.version('dmpool')}")
        raise typer.Exit
    logs.set_up(COMMANDS)


@cli.command()
def run(config: ConfigOption = None) -> None:
    """Run the whole pool in one process."""
    serve(config, ALL_ROLES)


@cli.command()
def gateway(config: ConfigOption = None) -> None:
    """Run a gateway: node client, jobs, Stratum, share checks, spool."""
    serve(config, frozenset({Role.GATEWAY}))


@cli.command()
def web(config: ConfigOption = None) -> None:
    """Run the status page and its API."""
    serve(config, frozenset({Role.WEB}))


@cli.command("check-config")
def check_config(config: ConfigOption = None) -> None:
    """Say what is wrong with a configuration, where, and what to write instead."""
    from pool.resources import key_problems, open_nodes  # noqa: PLC0415 - no other command here needs them

    settings = load(config)

    async def look() -> list[str]:
        nodes = open_nodes(settings, ALL_ROLES)
        try:
            return await preflight.problems(settings, nodes)
        finally:
            for node in nodes:
                await node.close()

    found = [*uvloop.run(look()), *key_problems(settings), *secret_problems(settings.notices)]
    for problem in found:
        complain(problem)
    if found:
        raise SystemExit(2)
    console.print(f"{config or 'the demo configuration'}: fine", markup=False)


@cli.command()
def simulate(
    user: Annotated[str, typer.Option(help="Account, or account.worker for one machine.")],
    url: Annotated[str, typer.Option(help="Where the pool listens.")] = "stratum+tcp://127.0.0.1:3333",
    count: Annotated[int, typer.Option("--miners", min=1, max=1000, help="How many machines.")] = 1,
    hashrate: Annotated[float, typer.Option(min=1, help="Hashes per second of each.")] = 100_000,
    seconds: Annotated[float | None, typer.Option(min=1, help="Stop after this; else with Ctrl-C.")] = None,
) -> None:
    """Run simulated miners that really hash, against any Stratum V1 pool at low difficulty."""
    names = [user] if count == 1 else [f"{user}.sim{number + 1}" for number in range(count)]
    try:
        machines = [SimulatedMiner(url, name, hashrate) for name in names]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    with suppress(KeyboardInterrupt):
        uvloop.run(_simulate(machines, seconds))
    console.print(_fleet(machines))
    if not any(machine.status.accepted for machine in machines):
        raise SystemExit(1)


async def _simulate(machines: list[SimulatedMiner], seconds: float | None) -> None:
    tasks = [asyncio.create_task(machine.run()) for machine in machines]
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds if seconds else None
    try:
        with Live(_fleet(machines), console=console, refresh_per_second=2, transient=True) as live:
            while end is None or loop.time() < end:
                await asyncio.sleep(0.5)
                live.update(_fleet(machines))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fleet(machines: list[SimulatedMiner], rows: int = 20) -> Table:
    table = Table("worker", "state", "difficulty", "accepted", "rejected", title="simulated miners")
    for machine in machines[:rows]:
        status = machine.status
        state = status.refusal or status.state
        rejected = ", ".join(f"{count} {reason}" for reason, count in status.rejected.items())
        table.add_row(
            machine.username, state, f"{status.difficulty:g}", str(status.accepted), rejected or "0"
        )
    if len(machines) > rows:
        accepted = sum(machine.status.accepted for machine in machines)
        table.add_row(f"all {len(machines)}", "", "", str(accepted), "")
    return table
