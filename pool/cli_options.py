"""What all commands share: the option that names the configuration, and how they speak."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file (TOML); none: the demo.")
]

console = Console()
_complaints = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def complain(text: str) -> None:
    """One line to the operator, on standard error."""
    _complaints.print(f"dmpool: {text}")
