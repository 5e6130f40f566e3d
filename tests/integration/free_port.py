"""Loopback ports for servers that a test starts.

A port that the kernel hands out may be handed to somebody else before the server binds it: with tests side by
side that happens. These lie below the range of outgoing connections, each worker has a slice of its own, and
none is given twice before the slice is through.
"""

from __future__ import annotations

import os
import socket
from itertools import cycle

FIRST = 10_000
AFTER = 32_768
"""Where Linux begins to number outgoing connections (ip_local_port_range)."""


def _slice() -> list[int]:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(FIRST, AFTER))[worker::workers]
    start = os.getpid() * 31 % len(ports)  # a second run beside this one begins elsewhere
    return ports[start:] + ports[:start]


_candidates = cycle(_slice())


def free_port() -> int:
    """A port on loopback that nobody listens on, and that nobody else here is given."""
    for port in _candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the candidates never end")
