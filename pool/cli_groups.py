"""The groups of commands below `dmpool`, each imported when it is asked for: a command starts quickly."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

GROUPS: Final = (
    "ledger",
    *("miners", "licences", "devices", "centres", "pool", "people", "register", "compliance"),
    *("reports", "archive", "front", "payouts", "sales", "keys", "log", "income", "prices", "submissions"),
    *("regulators", "notices"),
)
"""`pool.cli_NAME` has the commands of each."""
COMMANDS: Final = ("audit", "health", "top")
"""Of these it has one, `command`."""


class Groups(TyperGroup):
    """Click's way to import commands late, with what Typer makes of them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, the roles first."""
        return [*super().list_commands(ctx), *GROUPS, *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None; its module is imported now."""
        if cmd_name in GROUPS:
            found: Any = typer.main.get_group(import_module(f"pool.cli_{cmd_name}").cli)
        elif cmd_name in COMMANDS:
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(import_module(f"pool.cli_{cmd_name}").command)
            found = typer.main.get_command(single)
        else:
            return super().get_command(ctx, cmd_name)
        found.name = cmd_name
        return found
