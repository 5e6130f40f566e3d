"""The recipe for a real bitcoind: it uses what is there, says what is missing, and names no host."""

import os
import re
import subprocess
from pathlib import Path

from tests.integration.bitcoind_process import REPOSITORY

SCRIPT = REPOSITORY / "tests" / "integration" / "install_bitcoind.sh"


def run(path: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(SCRIPT), str(folder)],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def program(path: Path, version: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


def test_a_bitcoind_on_path_is_used(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "bitcoind", "mine v1")
    outcome = run(f"{tmp_path / 'bin'}:/usr/bin:/bin", tmp_path / "folder")
    assert outcome.returncode == 0
    assert f"on PATH already: {tmp_path / 'bin' / 'bitcoind'} (mine v1)" in outcome.stdout
    assert not (tmp_path / "folder").exists()


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    program(tmp_path / "folder" / "bin" / "bitcoind", "unpacked v1")
    outcome = run("/usr/bin:/bin", tmp_path / "folder")
    assert outcome.returncode == 0
    assert "there already" in outcome.stdout
    assert [one.name for one in (tmp_path / "folder").iterdir()] == ["bin"]


def test_without_apt_the_error_gives_the_way_out(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("dirname", "realpath"):
        (tools / tool).symlink_to(f"/usr/bin/{tool}")
    outcome = run(str(tools), tmp_path / "folder")
    assert outcome.returncode == 1
    assert "apt-get" in outcome.stderr
    assert "BITCOIND" in outcome.stderr
    assert not (tmp_path / "folder").exists()


def test_the_script_names_no_host() -> None:
    text = SCRIPT.read_text()
    assert "://" not in text
    assert not re.search(r"\b[\w-]+\.(org|com|net|io)\b", text)
