"""The table of contents: every quirk row has a test that carries its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = (
    *range(1, 16),
    *range(20, 29),
    *range(30, 35),
    *range(40, 50),
    *range(50, 64),
    *range(70, 76),
)
"""Q-01 to Q-75 of the survey of firmware quirks."""


def names_of_tests() -> set[str]:
    """The names of all tests of the suite."""
    return {
        node.name
        for path in HERE.glob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_row_has_a_test() -> None:
    named = {int(found[1]) for name in names_of_tests() if (found := re.match(r"test_q(\d\d)_", name))}
    assert sorted(named) == list(ROWS)
