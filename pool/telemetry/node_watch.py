"""Every node is asked for its best block now and then, whether it gives work or not.

`pool.work` asks the first node that answers; that the second is down, or on another branch of the chain,
would be found out when it is needed. One task for each node: a slow one delays no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pool.metrics import Metrics
from pool.node import Node, NodeError
from pool.telemetry.instruments import filled, gauge_family

ASK_SECONDS: Final = 5.0


class NodeWatch(Collector):
    """Asks, and tells heights and since when the nodes' tips differ."""

    def __init__(self, nodes: Sequence[Node], metrics: Metrics, failing: Callable[[Node], bool]) -> None:
        """`failing` says whether a node that answers here could not give work a moment ago."""
        self._nodes = nodes
        self._up = metrics.node_up
        self._failing = failing
        self._asked: dict[str, tuple[int | None, str | None]] = {}
        """Of each node the height and the tip that it told last, None where it did not."""
        self._apart_since: float | None = None
        metrics.registry.register(self)

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for node in self._nodes:
                tasks.create_task(self._follow(node))

    async def _follow(self, node: Node) -> None:
        while True:
            await self.look(node)
            await asyncio.sleep(ASK_SECONDS)

    async def look(self, node: Node) -> None:
        """Ask one node. One that catches up has a height, but its tip is compared with nobody's."""
        height = tip = None
        try:
            height = await node.height()
            await node.check()
            tip = await node.tip()
            if not self._failing(node):
                self._up.labels(node.name).set(1)
        except NodeError:
            self._up.labels(node.name).set(0)
        self._asked[node.name] = (height, tip)
        tips = {one for _, one in self._asked.values() if one is not None}
        self._apart_since = (self._apart_since or time.monotonic()) if len(tips) > 1 else None

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        heights = {node: height for node, (height, _) in list(self._asked.items()) if height is not None}
        yield filled(gauge_family("dmpool_node_height"), heights)
        since = self._apart_since
        apart = 0.0 if since is None else time.monotonic() - since
        yield gauge_family("dmpool_node_tips_diverged_seconds", apart)
