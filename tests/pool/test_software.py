"""The digest of the program is what an inspector computes with the tools of any Unix."""

import subprocess
from pathlib import Path

import pytest

from pool import software
from pool.software import PACKAGES, note_software, software_digest, software_version

HOUSE = Path(__file__).parents[2]


def test_o23_the_digest_is_that_of_the_documented_command() -> None:
    command = (
        "find native payouts pool register reporting stratum -name '*.py' "
        "| LC_ALL=C sort | xargs sha256sum | sha256sum"
    )
    assert command in (HOUSE / "docs" / "report-schema.md").read_text("utf-8")
    made = subprocess.run(["sh", "-c", command], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert made.stdout.split() == [software_digest(), "-"]
    assert all((HOUSE / package / "__init__.py").exists() for package in PACKAGES)


def test_o23_what_is_installed_over_a_running_program_is_not_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report would name the new program, and perhaps its test protocol, while the old one makes it."""
    monkeypatch.setattr(software, "_HOUSE", tmp_path)
    monkeypatch.setattr(software, "version", lambda name: (tmp_path / "version").read_text())
    source = tmp_path / "pool" / "one.py"
    source.parent.mkdir()
    source.write_text("old")
    (tmp_path / "version").write_text("0.1.0")
    for one in (software_digest, software_version):
        one.cache_clear()
    try:
        note_software()
        running = software_digest()
        source.write_text("new")
        (tmp_path / "version").write_text("0.2.0")
        assert (software_digest(), software_version()) == (running, "0.1.0")
        software_digest.cache_clear()
        assert software_digest() != running
    finally:
        for one in (software_digest, software_version):
            one.cache_clear()
