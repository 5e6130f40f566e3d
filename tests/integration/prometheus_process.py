"""Debian's Prometheus as a process of one's own for a test, with the committed configuration and rules.

Only the addresses of the targets are replaced, and the intervals, so that a test need not wait a minute for
what the configuration says shall happen in one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.bitcoind_process import REPOSITORY
from tests.integration.free_port import free_port


def program_or_skip(name: str) -> str:
    """prometheus or promtool; skips the test with the remedy where there is none."""
    cached = REPOSITORY / ".cache" / "prometheus" / "usr" / "bin" / name
    found = str(cached) if cached.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: run tests/integration/install_prometheus.sh")
    return found


class Prometheus:
    """A server that scrapes, and what it answers."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query: the vector, or a scalar as a vector of one. Raises ValueError for a bad one."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return list(data["result"])

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range of time."""
        return list(self._get("query_range", query=expression, start=start, end=end, step=step)["result"])

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, and how its last evaluation went."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def ready(self) -> bool:
        """Whether it answers yet."""
        try:
            self.query("1")
        except OSError:
            return False
        return True

    def _get(self, what: str, **parameters: object) -> Any:
        address = f"{self._url}{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with self._opener.open(address, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {json.load(error)['error']}") from None


@contextlib.contextmanager
def running_prometheus(directory: Path, *metrics_ports: int, interval: str = "1s") -> Iterator[Prometheus]:
    """One that scrapes processes on these ports, until the end."""
    program = program_or_skip("prometheus")
    port = free_port()
    targets = ", ".join(f'"127.0.0.1:{one}"' for one in metrics_ports)
    text = (REPOSITORY / "configs" / "prometheus.yml").read_text("utf-8")
    text = text.replace('"127.0.0.1:9090"', targets).replace('"127.0.0.1:9093"', "")
    text = text.replace("_interval: 5s", f"_interval: {interval}").replace(
        "_interval: 15s", f"_interval: {interval}"
    )
    (directory / "prometheus.yml").write_text(text, "utf-8")
    shutil.copy(REPOSITORY / "configs" / "alerts.yml", directory)
    server = subprocess.Popen(
        [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(directory / "prometheus.log").open("wb"),
    )
    try:
        yield Prometheus(port)
    finally:
        server.terminate()
        server.wait(30)
