"""`python -m configs.grafana` writes every dashboard's JSON anew (`make dashboards`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from configs.grafana.account import account
from configs.grafana.board import Board
from configs.grafana.compliance import compliance
from configs.grafana.gateways import gateways
from configs.grafana.money import money
from configs.grafana.node import node
from configs.grafana.overview import overview
from configs.grafana.reports import reports

FOLDER: Final = Path(__file__).with_name("dashboards")


def boards() -> list[Board]:
    """All of them, in the order in which an operator reads them."""
    return [overview(), gateways(), node(), money(), compliance(), reports(), account()]


def write(folder: Path) -> None:
    """Each into a file of its name."""
    folder.mkdir(exist_ok=True)
    for board in boards():
        (folder / f"{board.uid}.json").write_text(board.json(), "utf-8")


if __name__ == "__main__":
    write(FOLDER)
