"""Work: from the nodes' signals to the newest job in every session.

Templates come from the first node in the configured order that answers. A new block is heard from the ZMQ of
any node, from the long poll of the node in use, and from a poll of the tip twice a second; whichever speaks
first wins. Where the node takes its time to choose transactions, miners get a job without any meanwhile.

A job is repeated, not clean, at least every JOB_SECONDS, so that no firmware thinks the pool dead (peers:
Q-07, Q-25); with no node able to give work the last one is repeated for a while, the pool says which node
failed and why, and recovers. Miners are not sent back to an older tip while a node is just slow to hear.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from prometheus_client import Histogram

from pool.empty_template import empty_template
from pool.metrics import Metrics
from pool.node import Node, NodeError, TipHeader
from pool.proposals import ProposalCheck
from stratum.job import CoinbaseTerms, Job, JobBook, Template

log = structlog.get_logger(__name__)

JOB_SECONDS = 25.0
"""A fresh template becomes a job at least this often."""
REPEAT_SECONDS = 28.0
"""The newest job is repeated when no fresh template has come by then."""
GIVE_UP_SECONDS = 300.0
"""Nothing is repeated when no node has spoken for the job's tip for so long: better a miner's backup pool."""
EMPTY_AFTER_SECONDS = 0.05
"""How long the full template of a new tip may take before an empty job goes ahead."""
HEADER_SECONDS = 1.0
"""A header that takes longer is not waited for."""
HOLD_SECONDS = 15.0
"""So long after a new tip, nodes that do not know it yet cannot draw the miners back."""
POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0
LISTEN_AGAIN_SECONDS = 60.0
BENCH_SECONDS = 5.0
"""A node that failed is not asked for work again for this long while another can give it."""
SIGNALS_KEPT = 16


@dataclass(slots=True)
class _Signal:
    """A tip that was heard of."""

    at: float
    asked: set[str] = field(default_factory=set)
    """Nodes whose header of it was asked for."""


class Work:
    """Keeps the job book at the tip of the chain."""

    def __init__(
        self,
        nodes: Sequence[Node],
        book: JobBook,
        terms: CoinbaseTerms,
        broadcast: Callable[[Job, bool, Callable[[], object]], None],
        metrics: Metrics,
        empty_blocks_on: str | None = None,
    ) -> None:
        """`broadcast(job, clean, done)` calls `done` after the last socket was written to.

        `empty_blocks_on` is the chain by whose rules empty jobs go ahead of full ones; None: none do.
        """
        self._nodes = nodes
        self._book = book
        self._terms = terms
        self._broadcast = broadcast
        self._metrics = metrics
        self._empty_blocks_on = empty_blocks_on
        self._proposals = ProposalCheck(nodes, metrics)
        self._checked: set[str] = set()
        """Nodes whose chain was looked at since they last failed."""
        self._failed_at: dict[str, float] = {}
        self._fault: dict[str, str] = {}
        self._active: Node = nodes[0]
        self._signal = asyncio.Event()
        self._signals: dict[str, _Signal] = {}
        """The tips heard of that have no full job yet, oldest first."""
        self._seen = ""
        """Long-poll id of the newest template, whether it became a job or not."""
        self._is_empty = False
        """Whether the newest job was made from a header alone."""
        self._job_at = 0.0
        self._template_at = 0.0
        """When the newest job was sent, and the newest that was no repetition."""
        self._tip_at = 0.0
        self._confirmed_at = 0.0
        """When a node last said that the newest job is on its tip."""
        self.job_at: dt.datetime | None = None
        """When the newest job was sent."""
        self._started_at = time.monotonic()
        self._given_at: dict[str, float] = {}
        """When each node last gave a template."""
        for node in nodes:
            metrics.node_in_use.labels(node.name).set(0)
        metrics.on_scrape(self._read_ages)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refresh())
            tasks.create_task(self._poll(tasks))
            tasks.create_task(self._long_poll())
            tasks.create_task(self._repeat())
            tasks.create_task(self._proposals.run())
            for node in self._nodes:
                tasks.create_task(self._listen(node, tasks))

    async def _refresh(self) -> None:
        while True:
            self._signal.clear()
            template = await self._template()
            if template is None or not self._accept(template):
                await self._signalled(RETRY_SECONDS)
                continue
            due = self._template_at + JOB_SECONDS - time.monotonic()
            if self._active is not self._nodes[0]:
                due = min(due, BENCH_SECONDS)  # the first of the list may be back
            await self._signalled(max(due, 0.05))

    async def _signalled(self, seconds: float) -> None:
        """Wait for a signal, but not longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of 3.11 may swallow a cancellation
                await self._signal.wait()

    def _accept(self, template: Template) -> bool:
        """Make the template a job, unless it brings nothing new and the last job is young.

        False when it cannot be a job: the miners stay with the one that they have.
        """
        self._seen = template.long_poll_id
        self._confirmed_at = now = time.monotonic()
        current = self._book.current
        new_tip = current is None or current.template.previous_block != template.previous_block
        if new_tip and current is not None:
            self._note(_parent(template))
        due = new_tip or self._is_empty or now - self._template_at >= JOB_SECONDS
        if not due and not _gains(current, template):
            return True
        return self._send(template, empty=False)

    def _send(self, template: Template, *, empty: bool) -> bool:
        try:
            job, clean = self._book.add(template, self._terms)
        except (ValueError, OverflowError) as error:
            log.error("template_unusable", height=template.height, reason=str(error))
            return False
        followed_empty, self._is_empty = self._is_empty and not clean, empty
        signal = self._signals.get(_parent(template))
        latencies = [self._metrics.broadcast_seconds] if clean else []
        if not empty and (clean or followed_empty):
            latencies.append(self._metrics.full_job_seconds)
        self._sent(job, clean, _stopwatch(signal.at, latencies) if signal else _nobody)
        self._template_at = self._job_at
        if clean:
            self._tip_at = self._job_at
            log.debug("job_sent", height=template.height, empty=empty)
        if empty:
            self._metrics.empty_jobs.inc()
        else:
            self._signals.pop(_parent(template), None)
            self._proposals.offer(job, self._terms.script)
        return True

    def _sent(self, job: Job, clean: bool, done: Callable[[], object]) -> None:
        self._job_at = time.monotonic()
        self.job_at = dt.datetime.now(dt.UTC)
        self._broadcast(job, clean, done)
        self._metrics.jobs.labels(str(clean).lower()).inc()
        self._metrics.tell_job(job.template)

    async def _repeat(self) -> None:
        """Keep the miners when templates fail to come, as long as the job may still be the right one."""
        while True:
            await asyncio.sleep(min(POLL_SECONDS, REPEAT_SECONDS))
            now = time.monotonic()
            current = self._book.current
            due = now - self._job_at >= REPEAT_SECONDS and now - self._confirmed_at < GIVE_UP_SECONDS
            if current is not None and due:
                self._sent(self._book.fresh(current.number, now), False, _nobody)
                self._metrics.jobs_repeated.inc()

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
            took = time.perf_counter() - started
            self._metrics.template_seconds.labels(node.name).observe(took)
            self._given_at[node.name] = time.monotonic()
            if self._is_behind(template):
                behind = behind or (node, template)  # back from a failure, it may lack the newest blocks
                continue
            self._node_works(node)
            self._metrics.tell_node_clock(template, time.time() - took / 2)
            return template
        if behind is None or time.monotonic() - self._tip_at < HOLD_SECONDS:
            return None
        self._node_works(behind[0])
        log.warning("work_goes_back", height=behind[1].height, explained="no node knows a later tip")
        return behind[1]

    def _is_behind(self, template: Template) -> bool:
        current = self._book.current
        return current is not None and template.height < current.template.height

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
        self._metrics.node_in_use.labels(node.name).set(0)
        if node is self._active:
            self._metrics.clock_offset.remove("node")
        # A node that catches up says other figures each time; the words are told once.
        words = "".join(character for character in str(error) if not character.isdigit())
        if self._fault.get(node.name) != words:
            self._fault[node.name] = words
            log.error("node_failed", node=node.name, reason=str(error), explained="waiting for it")

    def failing(self, node: Node) -> bool:
        """Whether the node could not be used a moment ago."""
        failed_at = self._failed_at.get(node.name)
        return failed_at is not None and time.monotonic() - failed_at < 3 * BENCH_SECONDS

    def _node_works(self, node: Node) -> None:
        self._metrics.node_up.labels(node.name).set(1)
        self._metrics.node_in_use.labels(self._active.name).set(0)
        self._metrics.node_in_use.labels(node.name).set(1)
        if self._fault.pop(node.name, None) is not None:
            log.info("node_works_again", node=node.name)
        if node is not self._active:
            log.warning("work_source", node=node.name)
            self._active = node

    async def _poll(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            node = self._active
            try:
                self._heard(node, await node.tip(), tasks)
            except NodeError as error:
                self._node_failed(node, error)
                self._signal.set()

    async def _long_poll(self) -> None:
        while True:
            seen = self._seen
            if self._book.current is None:
                await asyncio.sleep(POLL_SECONDS)
                continue
            node = self._active
            try:
                template = await node.template(seen)
            except NodeError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._given_at[node.name] = time.monotonic()
            if node is self._active:
                if self._is_behind(template):
                    self._signal.set()  # late, or the chain went back: whoever asks all nodes will see
                else:
                    self._accept(template)
            if self._seen == seen:
                await asyncio.sleep(RETRY_SECONDS)  # the node does not wait, or has nothing for us

    async def _listen(self, node: Node, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                async for block_hash in node.tips():
                    self._heard(node, block_hash, tasks)
            except NodeError as error:
                log.error(
                    "node_push_failed",
                    node=node.name,
                    reason=str(error),
                    explained="new blocks of this node are heard by polling",
                )
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
            else:
                return

    def _heard(self, node: Node, tip: str, tasks: asyncio.TaskGroup) -> None:
        current = self._book.current
        if current is None:
            self._signal.set()
            return
        if _parent(current.template) == tip:
            if node is self._active:
                self._confirmed_at = time.monotonic()
            return
        signal = self._note(tip)
        if self._empty_blocks_on is not None and node.name not in signal.asked:
            signal.asked.add(node.name)
            # Before the signal: the node should get this small question ahead of the one for a template.
            tasks.create_task(self._send_empty(self._empty_blocks_on, node, tip))
        self._signal.set()

    def _note(self, tip: str) -> _Signal:
        signal = self._signals.setdefault(tip, _Signal(time.monotonic()))
        while len(self._signals) > SIGNALS_KEPT:
            del self._signals[next(iter(self._signals))]
        return signal

    async def _send_empty(self, chain: str, node: Node, tip: str) -> None:
        """An empty job on a tip that `node` told of, unless the full template is quicker."""
        heard = time.monotonic()
        header: TipHeader | None = None
        try:
            async with asyncio.timeout(HEADER_SECONDS):
                header = await node.header(tip)
        except (NodeError, TimeoutError) as error:
            log.debug("empty_job_missed", tip=tip, reason=str(error) or "the header took too long")
        await asyncio.sleep(heard + EMPTY_AFTER_SECONDS - time.monotonic())
        current = self._book.current
        if header is None or current is None:
            return
        template = empty_template(chain, header, current.template, int(time.time()))
        if template is not None:
            self._send(template, empty=True)

    def _read_ages(self) -> None:
        now = time.monotonic()
        self._metrics.job_age.set(now - (self._job_at or self._started_at))
        self._metrics.template_age.clear()
        given_at = self._given_at.get(self._active.name)
        if given_at is not None:
            self._metrics.template_age.labels(self._active.name).set(now - given_at)


def _parent(template: Template) -> str:
    """The tip that the template builds on, in display hex."""
    return template.previous_block[::-1].hex()


def _gains(current: Job | None, template: Template) -> bool:
    """Whether the template pays at least one part in a thousand more than the current job."""
    return (
        current is not None
        and (template.coinbase_value - current.template.coinbase_value) * 1000
        > current.template.coinbase_value
    )


def _stopwatch(started: float, latencies: Sequence[Histogram]) -> Callable[[], None]:
    """What tells each of the histograms how long ago `started` is, when it is called."""

    def stop() -> None:
        for latency in latencies:
            latency.observe(time.monotonic() - started)

    return stop


def _nobody() -> None:
    """Nobody wants to know when the last socket was written to."""
