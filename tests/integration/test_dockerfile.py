"""The image without a container engine: linted, built step by step in clean folders, started from there.

What is started is what the steps have installed, without the checkout, as a user without rights where the
tests are root; it is asked for its health as the image asks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.campaign import extent
from tests.integration.dockerfile_steps import HOUSE, Build, steps
from tests.integration.free_port import free_port

pytestmark = pytest.mark.campaign
UID = 10001
NOBODY = 65534
"""A user without rights whom every machine knows: PostgreSQL wants one with a name, as the image makes it."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that other users can look into."""
    made = Path(tempfile.mkdtemp(prefix="dmpool-image-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def image(folder: Path) -> Build:
    """The Dockerfile, done."""
    build = Build(folder / "one", fetch=extent(False, True))
    build.run()
    return build


def test_the_dockerfile_is_linted() -> None:
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([program, HOUSE / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_two_builds_give_the_same_wheel(image: Build, folder: Path) -> None:
    """O-23: whoever builds the same commit can compare; where and when it is built makes no difference."""
    other = Build(folder / "somewhere" / "else", sources=image.root / "src")
    other.run(until="--wheel-dir /wheels .")
    digests = [hashlib.sha256(one.wheel.read_bytes()).hexdigest() for one in (image, other)]
    assert digests[0] == digests[1]
    for part in zipfile.ZipFile(image.wheel).infolist():
        assert part.date_time[:3] == (2026, 1, 1), part.filename


def test_the_image_has_no_secrets_and_no_more_rights_than_it_needs(image: Build) -> None:
    assert image.options["USER"] == f"{UID}:{UID}"
    assert image.options["STOPSIGNAL"] == "SIGTERM"
    assert not [step for step in steps() if step.name == "ADD"]
    names = [path.name for path in (image.root / "opt/dmpool").rglob("*")]
    assert not [name for name in names if name.endswith((".key", ".pem", ".env", ".token")) or name == "pip"]


def test_what_was_installed_runs_without_the_checkout(image: Build, folder: Path) -> None:
    data = image.root / "var/lib/dmpool"
    ports = {name: free_port() for name in ("STRATUM", "WEB", "METRICS")}
    environment = {"PATH": image.variables["PATH"], "HOME": str(data)}
    environment |= {f"DMPOOL_{name}__LISTEN": f"127.0.0.1:{port}" for name, port in ports.items()}
    user = NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(data, user, user)
    arguments = {
        "cwd": data,
        "env": environment,
        "user": user,
        "group": user,
        "extra_groups": [] if user else None,
    }
    log = folder / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            image.command("ENTRYPOINT") + image.command("CMD"),
            stdout=said,
            stderr=said,
            **arguments,  # type: ignore[call-overload]
        )
    try:
        while process.poll() is None and b'"started"' not in log.read_bytes():
            time.sleep(0.1)
        health = subprocess.run(
            image.command("HEALTHCHECK"),
            capture_output=True,
            text=True,
            check=False,
            **arguments,  # type: ignore[call-overload]
        )
        assert health.returncode == 0, f"{health.stderr}\n{log.read_text()[-3000:]}"
        pages = Path(_origin(image, "pool")).parent.parent / "docs"
        assert (pages / "operate" / "deploy.md").exists()
        assert (pages / "metrics.md").exists()
        assert str(HOUSE) not in _origin(image, "pool")
    finally:
        process.send_signal(signal.Signals[image.options["STOPSIGNAL"]])
        assert process.wait(60) == 0, log.read_text()[-3000:]


def _origin(image: Build, package: str) -> str:
    python = str(image.root / "opt/dmpool/bin/python")
    code = f"import {package}; print({package}.__file__)"
    return subprocess.run(
        [python, "-c", code], cwd="/", capture_output=True, text=True, check=True
    ).stdout.strip()


def _pins(name: str) -> dict[str, str]:
    lines = (HOUSE / name).read_text("utf-8").splitlines()
    pinned = [line.split(" ")[0].split("==") for line in lines if line and line[0] not in " #"]
    return {canonicalize_name(package.split("[")[0]): version for package, version in pinned}


def test_the_image_installs_what_was_tested_and_no_tools_of_developers() -> None:
    tested, installed = _pins("requirements.lock"), _pins("requirements-runtime.lock")
    assert installed.items() <= tested.items(), "run `make lock`"
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {canonicalize_name(Requirement(one).name) for one in project["dependencies"]}
    assert asked <= installed.keys()
    assert not {"pytest", "mypy", "hypothesis", "ruff"} & installed.keys()
