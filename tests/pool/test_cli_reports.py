"""`dmpool reports check-proof`: for a stranger with a file and a key, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pool import cli_reports

run = CliRunner().invoke
KEY = "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"


@pytest.mark.parametrize(
    ("content", "key", "code"),
    [
        (json.dumps({"schema": "kz-dmp-miner-proof/1"}), KEY, 1),
        ("no proof", KEY, 1),
        ("{}", "12", 2),
        (None, KEY, 2),
    ],
)
def test_a_file_that_proves_nothing_ends_with_a_code(
    tmp_path: Path, content: str | None, key: str, code: int
) -> None:
    file = tmp_path / "proof.json"
    if content is not None:
        file.write_text(content)
    ended = run(cli_reports.cli, ["check-proof", str(file), "--key", key])
    assert ended.exit_code == code, ended.output
