"""The command line: an operator's mistake is one line and an exit code, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from pool import cli_reports
from pool.config import ConfigError


@pytest.mark.parametrize("out", ["nowhere/report.json", "."])
def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path, out: str) -> None:
    """It is published by then: the line says how to get it."""
    with pytest.raises(ConfigError, match=r"--out.*reports show"):
        cli_reports._write(b"{}", tmp_path / out)
