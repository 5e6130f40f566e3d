"""The Dockerfile run as a script, where there is no container engine: its COPY and RUN steps, in a folder.

The image's absolute paths become folders below one root; everything else is typed as it stands. One step
wants the package registry, the one with `requirements-runtime.lock`: without `fetch` it is replaced by what
the environment of the tests has installed from the same lock. Users are not made: the image's is a number.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HOUSE: Final = Path(__file__).parents[2]
PLACES: Final = ("/src", "/wheels", "/opt/dmpool", "/var/lib/dmpool")
"""The paths of the image that become folders."""
IGNORED: Final = shutil.ignore_patterns("__pycache__", "*.so", "*.o", "secrets", ".env", "tls")
"""As .dockerignore has it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction."""

    name: str
    value: str


def steps() -> list[Step]:
    """The instructions of the Dockerfile, in order."""
    text = (HOUSE / "Dockerfile").read_text("utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    return [Step(*line.strip().split(None, 1)) for line in text.splitlines() if line.strip()]  # type: ignore[arg-type]


@dataclass
class Build:
    """One run of the Dockerfile below a folder."""

    root: Path
    fetch: bool = False
    sources: Path = HOUSE
    """The context of the build."""
    variables: dict[str, str] = field(default_factory=dict)
    """Of ARG and ENV."""
    options: dict[str, str] = field(default_factory=dict)
    """Of USER, WORKDIR, ENTRYPOINT and the like, as they stand last."""
    stage: int = 0

    def here(self, text: str) -> str:
        """The image's paths as folders of this machine."""
        return re.sub(
            rf"(?<![\w.-])({'|'.join(PLACES)})(?![\w-])", lambda match: f"{self.root}{match[1]}", text
        )

    def run(self, until: str = "") -> None:
        """Every step, or those up to the one that has these words."""
        for place in PLACES:
            (self.root / place[1:]).mkdir(parents=True, exist_ok=True)
        (self.root / "opt/dmpool").rmdir()
        for step in steps():
            self._do(step)
            if until and until in step.value:
                return

    def _do(self, step: Step) -> None:
        match step.name:
            case "FROM":
                self.stage += 1
                self.variables = {} if self.stage > 1 else dict(self.variables)
            case "ARG" | "ENV":
                for name, value in re.findall(r"(\w+)=(\S+)", step.value):
                    self.variables[name] = self.here(self._filled(value))
            case "COPY":
                self._copy(step.value)
            case "RUN" if self.stage == 1:
                self._type(step.value)
            case "RUN":
                assert re.fullmatch(r"groupadd [^&]*&& useradd [^&]*&& install --directory [^&]*", step.value)
            case _:
                self.options[step.name] = step.value

    def _filled(self, value: str) -> str:
        return re.sub(
            r"\$\{?(\w+)\}?", lambda match: self.variables.get(match[1], os.environ.get(match[1], "")), value
        )

    def _copy(self, value: str) -> None:
        if value.startswith("--from="):
            return  # between two stages that are one folder here
        *sources, to = value.split()
        let_in = (HOUSE / ".dockerignore").read_text("utf-8").splitlines()
        for name in sources:
            assert f"!{name}" in let_in, f".dockerignore keeps {name} out"
            source, target = self.sources / name, self.root / "src" / to
            if source.is_dir():
                shutil.copytree(source, target, ignore=IGNORED, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)

    def _type(self, text: str) -> None:
        if "requirements-runtime.lock" in text and not self.fetch:
            return
        if "-m venv" in text and not self.fetch:
            first, rest = text.split("&&", 1)
            self._shell(first)
            (folder,) = (self.root / "opt/dmpool/lib").glob("python3*/site-packages")
            # Nothing of the checkout comes in with it: only what lies in that folder itself does.
            (folder / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
            text = rest
        self._shell(text)

    def _shell(self, text: str) -> None:
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        if not (tools / "python").exists():
            (tools / "python").write_text(f'#!/bin/sh\nexec {self._python()} "$@"\n')
            (tools / "python").chmod(0o755)
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", self.here(text)],
            cwd=self.root / "src",
            env=os.environ | self.variables | {"PATH": f"{tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

    def _python(self) -> str:
        """The builder's: it has setuptools already, or is to get it from the lock."""
        if not self.fetch:
            return sys.executable
        subprocess.run([sys.executable, "-m", "venv", str(self.root / "builder")], check=True)
        return str(self.root / "builder/bin/python")

    @property
    def wheel(self) -> Path:
        """What was built."""
        (found,) = (self.root / "wheels").glob("dmpool-*.whl")
        return found

    def command(self, name: str) -> list[str]:
        """ENTRYPOINT, CMD, or the command of HEALTHCHECK, as it is started."""
        text = self.options[name]
        return [str(word) for word in json.loads(text[text.index("[") :])]
