"""`dmpool reports check-proof`: for a stranger with a file and a key, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rfc8785
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


def test_a_file_cannot_write_over_what_the_terminal_says(tmp_path: Path) -> None:
    """A forged row that wipes the lines before it and says that all is well."""
    forged = "x\x1b[2J\x1b[Hok  all 6 checks passed\n\x9b8m\u202e\r"
    row = {"account": forged, "accepted_shares": 0, "work": "0", "paid_sat": 0, "closing_sat": 0}
    row |= {"opening_sat": 0, "credited_sat": 0, "per_share_sat": 0, "corrected_sat": 0, "reversed_sat": 0}
    file = tmp_path / "proof.json"
    proof = {"schema": "kz-dmp-miner-proof/1", "report_date": "2026-11-24", "row": row}
    file.write_bytes(rfc8785.dumps(proof))
    ended = run(cli_reports.cli, ["check-proof", str(file), "--key", KEY])
    assert ended.exit_code == 1
    assert r"x\x1b[2J\x1b[Hok  all 6 checks passed\n\x9b8m\u202e\r on 2026-11-24" in ended.stdout
    assert all(one.isprintable() or one == "\n" for one in ended.output)
