"""Roles started from the command line: logging set up, and where everything listens told in a panel."""

from __future__ import annotations

import socket
import sys
from importlib import metadata
from pathlib import Path

import structlog
import uvloop
from rich.panel import Panel

from pool.cli_options import console
from pool.config import Listen, Settings, load
from pool.preflight import Addresses, Role
from pool.streams import print_no_more
from pool.telemetry import logs
from pool.telemetry.concealed import conceal_credentials

log = structlog.get_logger(__name__)


def serve(config: Path | None, roles: frozenset[Role]) -> None:
    """Run some roles until a signal ends them."""
    settings = load(config)
    as_json = logs.set_up(settings.logs, [role.value for role in roles], production=settings.production)
    logs.tell_crashes()
    conceal_secrets(settings)
    from pool import app as application  # noqa: PLC0415 - only a role has need of all of it

    uvloop.run(application.run(settings, roles, _listening if as_json else _banner))


def conceal_secrets(settings: Settings) -> None:
    """The secrets that stand in the configuration itself; those in files are named where they are read."""
    for node in settings.nodes:
        conceal_credentials(node.url.get_secret_value())
    if settings.database.url is not None:
        conceal_credentials(settings.database.url.get_secret_value())


def _listening(addresses: Addresses, settings: Settings) -> None:
    """The banner as an event: what reads the log takes lines of JSON and nothing else."""
    log.info(
        "started",
        version=metadata.version("dmpool"),
        pool=settings.pool.name,
        stratum=addresses.stratum and str(addresses.stratum),
        stratum_tls=addresses.stratum_tls and str(addresses.stratum_tls),
        web=addresses.web and str(addresses.web),
        door=addresses.door and str(addresses.door),
        metrics=str(addresses.metrics),
    )


def _banner(addresses: Addresses, settings: Settings) -> None:
    lines = []
    if addresses.stratum:
        account = "altai" if settings.demo_miners else "ACCOUNT"
        lines += [
            f"Stratum   stratum+tcp://{_reachable(addresses.stratum)}",
            f"          worker {account}.rig9, password x",
        ]
    if addresses.stratum_tls:
        lines.append(f"          stratum+ssl://{_reachable(addresses.stratum_tls)}")
    if addresses.web:
        lines.append(f"Page      http://{_reachable(addresses.web)}/")
    if addresses.door:
        lines.append(f"          https://{_reachable(addresses.door)}/portal/")
    lines.append(f"Metrics   http://{_reachable(addresses.metrics)}/metrics")
    if addresses.stratum and not settings.nodes:
        lines += [
            "",
            "The chain is an embedded regtest chain, for demos and tests: its coins have no value.",
        ]
    lines += ["", "Ctrl-C stops; the next start goes on where this one was."]
    try:
        console.print(Panel("\n".join(lines), title=settings.pool.name, expand=False))
        sys.stdout.flush()
    except (OSError, SystemExit):  # nobody reads: rich would end the program, but miners wait for it
        print_no_more()


def _reachable(listen: Listen) -> str:
    """An address that a miner in this network can type, also where we listen on all of them."""
    if not listen.everywhere:
        return str(listen)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; the kernel picks the outgoing address
            host = str(probe.getsockname()[0])
        except OSError:
            host = "127.0.0.1"
    return f"{host}:{listen.port}"
