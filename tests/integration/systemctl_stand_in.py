"""`systemctl` for tests of the runbooks, where there is no systemd: it starts what our units start.

It reads `ExecStart=`, `Environment=` and `LoadCredential=` of the unit, waits for `READY=1` of `Type=notify`,
and ends a process by SIGTERM. `postgresql` and `bitcoind` are programs of the site, told in SITE/units.json.
What it cannot do is the hardening.

    systemctl_stand_in.py SITE HOST start|stop|restart|enable|disable [--now] UNIT...
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path(__file__).parents[2] / "configs" / "systemd"
SECONDS = 60.0


class Unit:
    """One unit on one machine of a site."""

    def __init__(self, site: Path, host: str, name: str) -> None:
        self.name = name.removesuffix(".service")
        self.site = site
        self.told = json.loads((site / "units.json").read_text())
        own = self.told["programs"].get(f"{host}/{self.name}")
        self.start_command: list[str] | None = own and own["start"]
        self.stop_command: list[str] | None = own and own.get("stop")
        self.place = site / "run" / (f"{host}-{self.name}" if own else self.name)
        self.place.mkdir(parents=True, exist_ok=True)
        self._ready: socket.socket | None = None

    @property
    def pid_file(self) -> Path:
        """Where the number of its process stands."""
        return self.place / "pid"

    def begin(self) -> None:
        """Start it, without waiting until it is ready."""
        if self.start_command is not None and self.stop_command is not None:
            subprocess.run(self.start_command, check=True, stdout=subprocess.DEVNULL)
            return
        command, environment = self.start_command, dict(os.environ)
        if command is None:
            command, more = self._read()
            environment |= more
            address = self.place / "notify"
            address.unlink(missing_ok=True)
            self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._ready.bind(str(address))
            environment["NOTIFY_SOCKET"] = str(address)
        with (self.place / "log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid_file.write_text(str(process.pid))

    def wait(self) -> None:
        """Until it says that it is ready."""
        if self._ready is None:
            return
        self._ready.settimeout(1.0)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if not self._alive():
                break
            try:
                if b"READY=1" in self._ready.recv(4096):
                    return
            except TimeoutError:
                continue
        raise SystemExit(f"{self.name} does not start:\n{(self.place / 'log').read_text()[-4000:]}")

    def end(self) -> None:
        """Stop it, if it runs."""
        if self.stop_command is not None:
            subprocess.run(self.stop_command, check=False, capture_output=True)
            return
        if not self.pid_file.exists():
            return
        pid = int(self.pid_file.read_text())
        if self._alive():
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + SECONDS
        while self._alive():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name} does not end:\n{(self.place / 'log').read_text()[-4000:]}")
            time.sleep(0.02)
        self.pid_file.unlink()

    def _alive(self) -> bool:
        try:
            state = Path(f"/proc/{self.pid_file.read_text()}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, IndexError):
            return False
        return state != "Z"

    def _read(self) -> tuple[list[str], dict[str, str]]:
        template, at, instance = self.name.partition("@")
        text = (UNITS / f"{template}{at}.service").read_text("utf-8")
        for old, new in self.told["words"]:
            text = text.replace(old, new)
        credentials = self.place / "credentials"
        text = text.replace("%i", instance).replace("%d", str(credentials))
        keys = [line.partition("=")[::2] for line in text.splitlines() if not line.startswith("#")]
        shutil.rmtree(credentials, ignore_errors=True)
        credentials.mkdir(mode=0o700)
        for name, path in (value.split(":", 1) for key, value in keys if key == "LoadCredential"):
            shutil.copy(path, credentials / name)
            (credentials / name).chmod(0o400)
        pairs = [pair for key, value in keys if key == "Environment" for pair in shlex.split(value)]
        (command,) = [value for key, value in keys if key == "ExecStart"]
        return shlex.split(command), dict(pair.split("=", 1) for pair in pairs)


def main() -> None:
    """Obey one command line."""
    site, host, verb, *names = sys.argv[1:]
    now = verb in ("start", "stop", "restart") or "--now" in names
    units = [Unit(Path(site), host, name) for name in names if not name.startswith("--")]
    if now and verb in ("stop", "restart", "disable"):
        for unit in units:
            unit.end()
    if now and verb in ("start", "restart", "enable"):
        for unit in units:
            unit.begin()
        for unit in units:
            unit.wait()


if __name__ == "__main__":
    main()
