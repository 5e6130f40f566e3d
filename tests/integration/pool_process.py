"""`dmpool` as a process of its own, for tests: its configuration, its start and its end.

It is started as an operator would start it, ends by SIGINT or SIGKILL to the very process started here, and
its ports are free ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pool.config import RULES_FILE
from tests.integration.entering import enter_alone, made_up_address
from tests.integration.free_port import free_port

START_SECONDS = 60.0
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SIGNET_ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
PROGRAM = str(Path(sys.executable).parent / "dmpool")


@dataclass
class PoolProcess:
    """One pool in one directory; may be ended and started again."""

    directory: Path
    database_url: str
    chain: str = "regtest"
    address: str = ADDRESS
    nodes: Sequence[str] = ()
    """TOML of [[nodes]] sections."""
    start_difficulty: float = 2.0**-17
    role: str = "run"
    pplns_window: int = 2
    unknown_device: str = "strict"
    """What the dated rule says of workers that are no hardware units."""
    stratum_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """The configuration file, written anew each time."""
        path = self.directory / "dmpool.toml"
        rules = self.directory / "rules.toml"
        shipped = RULES_FILE.read_text("utf-8")
        rules.write_text(shipped.replace('mode = "strict"', f'mode = "{self.unknown_device}"'), "utf-8")
        path.write_text(
            f"""
rules_file = "{rules}"
data_dir = "{self.directory / "data"}"

[pool]
name = "Test DMP LLP"
bin = "230440000105"
chain = "{self.chain}"
address = "{self.address}"
commission_bps = 137
pplns_window = {self.pplns_window}

[stratum]
listen = "127.0.0.1:{self.stratum_port}"
start_difficulty = {self.start_difficulty!r}
min_difficulty = {self.start_difficulty!r}
shares_per_minute = 600

[database]
url = "{self.database_url}"

[web]
listen = "127.0.0.1:{self.web_port}"

[metrics]
listen = "127.0.0.1:{self.metrics_port}"
"""
            + "\n".join(self.nodes)
        )
        return path

    @property
    def stratum_url(self) -> str:
        """Where its miners go."""
        return f"stratum+tcp://127.0.0.1:{self.stratum_port}"

    @property
    def log(self) -> str:
        """Everything that it has said so far."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start and wait until it listens; raises with its log when it does not."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, self.role, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                self.metrics()
                if self.role in ("run", "gateway"):
                    socket.create_connection(("127.0.0.1", self.stratum_port), timeout=5).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"dmpool {self.role} did not start:\n{self.log}")

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Ctrl-C; the exit code. A pool that does not end is killed and counts as -9."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `dmpool` command on the same configuration."""
        return subprocess.run(
            [PROGRAM, *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def add_miner(self, name: str, bin_number: str, address: str | None = None) -> None:
        """A miner with a licence in force and hardware units rig0 to rig200, crowd and honest."""
        paid = address or made_up_address(name, self.address[: self.address.rindex("1")])
        entering = enter_alone(self.database_url, self.chain, name, bin_number, paid)
        with ThreadPoolExecutor(1) as beside_the_running_loop:
            beside_the_running_loop.submit(asyncio.run, entering).result()

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics, by its name with labels."""
        return {
            match[1]: float(match[2])
            for match in re.finditer(r"^([a-z_]+(?:\{.*\})?) (\S+)$", self.metrics_text(), re.MULTILINE)
        }

    def metrics_text(self) -> str:
        """/metrics as it is served."""
        return _get(f"http://127.0.0.1:{self.metrics_port}/metrics").decode()

    def status(self) -> dict[str, object]:
        """The status of the web role."""
        answer: dict[str, object] = json.loads(_get(f"http://127.0.0.1:{self.web_port}/api/v1/status"))
        return answer


def _get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        content: bytes = answer.read()
        return content
