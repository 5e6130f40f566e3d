"""What calls to the nodes cost and how they end, and whether new blocks are pushed to us.

Told by the nodes themselves (`pool.node.NodeMeter`), whoever in the process calls them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from pool.metrics import Metrics


@dataclass(slots=True)
class _Push:
    connected: bool = False
    connections: int = 0
    pushed_at: float | None = None


class MeasuredNodes:
    """The `NodeMeter` of one process."""

    def __init__(self, metrics: Metrics) -> None:
        make = metrics.make
        self._seconds = make.histogram("dmpool_node_rpc_seconds")
        self._errors = make.counter("dmpool_node_rpc_errors_total")
        self._connected = make.gauge("dmpool_node_push_connected")
        self._pushes = make.counter("dmpool_node_pushes_total")
        self._push_age = make.gauge("dmpool_node_push_age_seconds")
        self._reconnects = make.counter("dmpool_node_push_reconnects_total")
        self._of: dict[str, _Push] = {}
        metrics.on_scrape(self._read_ages)

    def called(self, node: str, method: str, seconds: float | None) -> None:
        """A call ended: it took so long, or brought nothing (None)."""
        errors = self._errors.labels(node, method)  # told from the first call on, so that a rise is seen
        if seconds is None:
            errors.inc()
        else:
            self._seconds.labels(node, method).observe(seconds)

    def push_channel(self, node: str, *, connected: bool) -> None:
        """The push channel is connected, or is not (yet, or any more)."""
        push = self._of.setdefault(node, _Push())
        self._pushes.labels(node)
        reconnects = self._reconnects.labels(node)
        if connected and not push.connected:
            push.connections += 1
            if push.connections > 1:
                reconnects.inc()
        push.connected = connected
        self._connected.labels(node).set(connected)

    def pushed(self, node: str) -> None:
        """A new best block was pushed."""
        self._of.setdefault(node, _Push()).pushed_at = time.monotonic()
        self._pushes.labels(node).inc()

    def _read_ages(self) -> None:
        now = time.monotonic()
        for node, push in list(self._of.items()):
            if push.pushed_at is not None:
                self._push_age.labels(node).set(now - push.pushed_at)
