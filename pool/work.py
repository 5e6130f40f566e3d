"""Work: from the nodes' signals to the newest job in every session.

Templates come from the first node in the configured order that answers. A new block is heard from the ZMQ of
any node, from the long poll of the node in use, and from a poll of the tip twice a second; whichever speaks
first wins. A job is repeated, not clean, at least every JOB_SECONDS, so that no firmware thinks the pool dead
(peers: Q-07, Q-25). With no node able to give work the pool waits, says which node and why, and recovers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pool.metrics import Metrics
from pool.node import Node, NodeError
from stratum.job import CoinbaseTerms, Job, JobBook, Template

log = logging.getLogger(__name__)

JOB_SECONDS = 25.0
"""A job at least this often."""
POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0
LISTEN_AGAIN_SECONDS = 60.0
BENCH_SECONDS = 5.0
"""A node that failed is not asked for work again for this long while another can give it."""


class Work:
    """Keeps the job book at the tip of the chain."""

    def __init__(
        self,
        nodes: Sequence[Node],
        book: JobBook,
        terms: CoinbaseTerms,
        broadcast: Callable[[Job, bool], None],
        metrics: Metrics,
    ) -> None:
        self._nodes = nodes
        self._book = book
        self._terms = terms
        self._broadcast = broadcast
        self._metrics = metrics
        self._checked: set[str] = set()
        """Nodes whose chain was looked at since they last failed."""
        self._failed_at: dict[str, float] = {}
        self._fault: dict[str, str] = {}
        self._active: Node = nodes[0]
        self._signal = asyncio.Event()
        self._signalled_at: float | None = None
        self._seen = ""
        """Long-poll id of the newest template, whether it became a job or not."""
        self._job_at = 0.0
        self.job_at: dt.datetime | None = None
        """When the newest job was sent."""
        metrics.on_scrape(self._read_age)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refresh())
            tasks.create_task(self._poll())
            tasks.create_task(self._long_poll())
            for node in self._nodes:
                tasks.create_task(self._listen(node))

    async def _refresh(self) -> None:
        while True:
            self._signal.clear()
            template = await self._template()
            if template is None:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not self._accept(template):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            due = self._job_at + JOB_SECONDS - time.monotonic()
            if self._active is not self._nodes[0]:
                due = min(due, BENCH_SECONDS)  # the first of the list may be back
            with suppress(TimeoutError):
                async with asyncio.timeout(max(due, 0.05)):  # wait_for of 3.11 may swallow a cancellation
                    await self._signal.wait()

    def _accept(self, template: Template) -> bool:
        """Make the template a job, unless it brings nothing new and the last job is young.

        False when it cannot be a job: the miners stay with the one that they have.
        """
        self._seen = template.long_poll_id
        current = self._book.current
        now = time.monotonic()
        new_tip = current is None or current.template.previous_block != template.previous_block
        if not new_tip and now - self._job_at < JOB_SECONDS and not _gains(current, template):
            return True
        try:
            job, clean = self._book.add(template, self._terms)
        except (ValueError, OverflowError) as error:
            log.error("the template of height %d cannot be a job: %s", template.height, error)
            return False
        self._job_at = now
        self.job_at = dt.datetime.now(dt.UTC)
        self._broadcast(job, clean)
        self._metrics.jobs.labels(str(clean).lower()).inc()
        self._metrics.job_height.set(template.height)
        if clean and self._signalled_at is not None:
            self._metrics.broadcast_seconds.observe(time.monotonic() - self._signalled_at)
            log.debug("new work at height %d", template.height)
        self._signalled_at = None
        return True

    async def _template(self) -> Template | None:
        """A template of the first node that can give one at the height we are; None when none can at all."""
        behind: tuple[Node, Template] | None = None
        for node in self._candidates():
            try:
                if node.name not in self._checked:
                    await node.check()
                    self._checked.add(node.name)
                started = time.perf_counter()
                template = await node.template()
            except NodeError as error:
                self._node_failed(node, error)
                continue
            self._metrics.template_seconds.labels(node.name).observe(time.perf_counter() - started)
            current = self._book.current
            if current is not None and template.height < current.template.height:
                behind = behind or (node, template)  # back from a failure, it may lack the newest blocks
                continue
            self._node_works(node)
            return template
        if behind is None:
            return None
        self._node_works(behind[0])
        return behind[1]

    def _candidates(self) -> list[Node]:
        now = time.monotonic()
        rested = [
            node
            for node in self._nodes
            if now - self._failed_at.get(node.name, -BENCH_SECONDS) >= BENCH_SECONDS
        ]
        return rested or list(self._nodes)

    def _node_failed(self, node: Node, error: NodeError) -> None:
        self._failed_at[node.name] = time.monotonic()
        self._checked.discard(node.name)
        self._metrics.node_up.labels(node.name).set(0)
        # A node that catches up says other figures each time; the words are told once.
        words = "".join(character for character in str(error) if not character.isdigit())
        if self._fault.get(node.name) != words:
            self._fault[node.name] = words
            log.error("%s; waiting for it", error)

    def _node_works(self, node: Node) -> None:
        self._metrics.node_up.labels(node.name).set(1)
        if self._fault.pop(node.name, None) is not None:
            log.info("node %s gives work again", node.name)
        if node is not self._active:
            log.warning("work now comes from node %s", node.name)
            self._active = node

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                self._heard(await self._active.tip())
            except NodeError as error:
                self._node_failed(self._active, error)
                self._signal.set()

    async def _long_poll(self) -> None:
        while True:
            current, seen = self._book.current, self._seen
            if current is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            node = self._active
            try:
                template = await node.template(seen)
            except NodeError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            newest = self._book.current or current
            if node is self._active and (newest is current or newest.template.height <= template.height):
                if template.previous_block != newest.template.previous_block:
                    self._signalled_at = self._signalled_at or time.monotonic()
                self._accept(template)
            if self._seen == seen:
                await asyncio.sleep(RETRY_SECONDS)  # the node does not wait, or has nothing for us

    async def _listen(self, node: Node) -> None:
        while True:
            try:
                async for block_hash in node.tips():
                    self._heard(block_hash)
            except NodeError as error:
                log.error("%s; new blocks of this node are heard by polling", error)
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
            else:
                return

    def _heard(self, block_hash: str) -> None:
        current = self._book.current
        if current is None or current.template.previous_block[::-1].hex() != block_hash:
            if self._signalled_at is None:
                self._signalled_at = time.monotonic()
            self._signal.set()

    def _read_age(self) -> None:
        if self._job_at:
            self._metrics.job_age.set(time.monotonic() - self._job_at)


def _gains(current: Job | None, template: Template) -> bool:
    """Whether the template pays at least one part in a thousand more than the current job."""
    return (
        current is not None
        and (template.coinbase_value - current.template.coinbase_value) * 1000
        > current.template.coinbase_value
    )
