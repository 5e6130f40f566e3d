"""What all commands share: the option that names the configuration, and how they speak."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reporting.dmpool_verify import Check

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (TOML); none: the demo.")
]

console = Console()
_SPACES = "\u00a0\u202f"
"""Those that stand in numbers."""
_complaints = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def complain(text: str) -> None:
    """One line to the operator, on standard error."""
    _complaints.print("\n".join(plain(line) for line in f"dmpool: {text}".split("\n")))


def plain(text: str) -> str:
    """A line fit for a terminal: what a stranger's file says must not move its cursor or hide a word."""
    return "".join(
        one if one.isprintable() or one in _SPACES else one.encode("unicode_escape").decode() for one in text
    )


def tell_checks(checks: Iterable[Check]) -> int:
    """One line for each check of a stranger's file; how many failed."""
    failed = 0
    for check in checks:
        failed += not check.passed
        console.print("[green]ok  [/]" if check.passed else "[red]FAIL[/]", end=" ")
        line = plain(f"{check.name}: {check.detail}")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return failed
