"""Closed, full or abandoned standard streams end no process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVE = """
import sys
from pool.cli_serve import _banner
from pool.config import DEMO, Settings
from pool.preflight import ALL_ROLES, addresses_of
from pool.streams import open_streams
open_streams()
settings = Settings(**DEMO)
_banner(addresses_of(settings, ALL_ROLES), settings)
import socket
assert socket.socket().fileno() > 2
print("more", flush=True)
sys.exit(7)
"""


@pytest.mark.parametrize(
    "streams",
    ["0<&- 1>&- 2>&-", "1>/dev/full 2>/dev/full", "1> >(true)"],
    ids=["closed", "full", "abandoned"],
)
def test_whoever_does_not_listen_stops_nothing(streams: str, tmp_path: Path) -> None:
    program = tmp_path / "serve.py"
    program.write_text(SERVE)
    shell = f'exec "{sys.executable}" "{program}" {streams}'
    ended = subprocess.run(["bash", "-c", shell], check=False, capture_output=True, timeout=60)
    assert ended.returncode == 7, ended.stderr
