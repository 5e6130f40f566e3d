"""configs/systemd: units that systemd understands, and that let the roles do little but their work."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.integration.pool_process import PROGRAM

UNITS: Final = Path(__file__).parents[2] / "configs" / "systemd"
SERVICES: Final = ("dmpool-gateway@.service", "dmpool-ledger.service", "dmpool-web.service")
EXPOSURE: Final = 15
"""Tenths of systemd's own scale from 0 to 10; a service without any wall has 96."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with the program where it is here, and one gateway of the template."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: install the package systemd")
    for path in UNITS.iterdir():
        text = path.read_text("utf-8").replace("/opt/dmpool/bin/dmpool", PROGRAM)
        (tmp_path / path.name).write_text(text)
    shutil.copy(tmp_path / SERVICES[0], tmp_path / "dmpool-gateway@eu1.service")
    return tmp_path


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_understands_the_units(units: Path) -> None:
    names = ["dmpool-gateway@eu1.service", *SERVICES[1:], "dmpool.target"]
    done = run("systemd-analyze", "verify", *(units / name for name in names))
    told = [line for line in done.stderr.splitlines() if str(units) in line or "dmpool" in line]
    assert (done.returncode, told) == (0, []), done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_hardened(units: Path, name: str) -> None:
    done = run("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", units / name)
    assert done.returncode == 0, done.stdout


def test_the_user_is_one_that_systemd_can_make(units: Path) -> None:
    done = run("systemd-sysusers", "--dry-run", units / "dmpool.sysusers")
    assert done.returncode == 0, done.stderr
    kept = {
        line.split()[1]: line.split()[2:5]
        for line in (units / "dmpool.tmpfiles").read_text().splitlines()
        if line[0] == "d"
    }
    assert kept["/etc/dmpool/secrets"] == ["0700", "root", "root"]
    assert kept["/etc/dmpool"] == ["0750", "root", "dmpool"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_mistake_in_the_configuration_is_not_tried_again(name: str) -> None:
    text = (UNITS / name).read_text("utf-8")
    assert "RestartPreventExitStatus=2" in text
    assert "Restart=always" in text
    assert re.search(r"^Type=notify$", text, re.M)


def test_roles_on_one_machine_have_ports_of_their_own() -> None:
    ports = [re.findall(r"DMPOOL_METRICS__LISTEN=\S+:(\d+)", (UNITS / name).read_text()) for name in SERVICES]
    assert ports == [[], ["9096"], ["9097"]]
