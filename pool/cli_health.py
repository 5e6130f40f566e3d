"""`dmpool health`: whether the process of a configuration lives and its roles can serve, by its own listener.

For a container's health check, a load balancer's or an operator's question: the exit code is the answer.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pool.cli_options import ConfigOption, complain, console
from pool.config import Listen, load

ANSWER_SECONDS = 5.0


def command(
    alive: Annotated[
        bool, typer.Option("--alive", help="Ask only whether the process lives, not whether it can serve.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Ask the running process of this configuration how it is; exit code 1 when it is not well."""
    listen = load(config).metrics.listen
    try:
        well, told = _ask(listen, "healthz" if alive else "readyz")
    except (OSError, ValueError) as error:
        complain(f"metrics.listen: {listen}: no health is told there ({error}); is the process running?")
        raise SystemExit(1) from None
    if alive:
        console.print(told.get("reason", told["status"]), markup=False)
    else:
        table = Table("role", "", "why")
        for role, one in told["roles"].items():
            words = "; ".join([*one["reasons"], *one["notes"]])
            table.add_row(role, "ready" if one["ready"] else "not ready", escape(words))
        console.print(table)
    if not well:
        raise SystemExit(1)


def _ask(listen: Listen, path: str) -> tuple[bool, dict[str, Any]]:
    """What it answers; a refusal is an answer as well. Raises OSError and ValueError."""
    host = ("::1" if ":" in listen.host else "127.0.0.1") if listen.everywhere else listen.host
    where = f"[{host}]:{listen.port}" if ":" in host else f"{host}:{listen.port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{where}/{path}", timeout=ANSWER_SECONDS) as answer:
            return True, json.load(answer)
    except urllib.error.HTTPError as refused:
        if refused.code != 503:
            raise
        return False, json.load(refused)
