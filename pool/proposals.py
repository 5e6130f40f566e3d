"""The pool's own first job, checked by others: by each node as a proposal (BIP23), and by a second decoder.

A pool that builds blocks which no node takes finds out with its first block, a month of work too late. So at
a start, and when the script that is paid changes, a job is put together as a block without proof of work:
every node says what it would object to, and python-bitcoinlib reads what the coinbase pays. It runs beside
the work and never delays it; a node that cannot answer now is asked again with the next job.

Sources: BIP23 (block proposal), Bitcoin Core `src/rpc/mining.cpp`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence

import structlog
from bitcoin.core import CTransaction

import native
from pool.metrics import Metrics
from pool.node import NO_VERDICT, Node, NodeError
from stratum.job import EXTRANONCE1_SIZE, EXTRANONCE2_SIZE, Job

log = structlog.get_logger(__name__)

_EXTRANONCES = (bytes(EXTRANONCE1_SIZE), bytes(EXTRANONCE2_SIZE))


class ProposalCheck:
    """Asks each node once for each script; the metric is 1 for a node that has no objection."""

    def __init__(self, nodes: Sequence[Node], metrics: Metrics) -> None:
        self._nodes = nodes
        self._ok = metrics.proposal_ok
        self._passed: dict[str, bytes] = {}
        """By node, the script of the job that it had no objection to."""
        self._told: dict[str, str] = {}
        self._newest: tuple[Job, bytes] | None = None
        self._offered = asyncio.Event()

    def offer(self, job: Job, script: bytes) -> None:
        """A job was sent whose coinbase is meant to pay `script`."""
        if any(self._passed.get(node.name) != script for node in self._nodes):
            self._newest = (job, script)
            self._offered.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            offered, self._newest = self._newest, None
            if offered is not None:
                job, script = offered
                open_ = [node for node in self._nodes if self._passed.get(node.name) != script]
                await asyncio.gather(*(self._check(node, job, script) for node in open_))

    async def _check(self, node: Node, job: Job, script: bytes) -> None:
        objection = coinbase_fault(job, script)
        if objection is None:
            try:
                objection = await node.propose(unsolved_block(job))
            except NodeError as error:
                log.debug("proposal_unanswered", node=node.name, job=job.id, reason=str(error))
                return
            except Exception:  # a fault in our client must not end the work
                log.exception("proposal_failed", node=node.name, job=job.id)
                return
            if objection is not None and objection.startswith(NO_VERDICT):
                return
        self._ok.labels(node.name).set(objection is None)
        if objection is None:
            self._passed[node.name] = script
            self._told.pop(node.name, None)
            log.info("node_would_take_blocks", node=node.name)
        elif self._told.get(node.name) != objection:
            self._told[node.name] = objection
            log.error(
                "node_would_refuse_blocks",
                node=node.name,
                reason=objection,
                explained="no block can be earned like this; "
                "look at pool.address, pool.tag and the versions of node and pool",
            )


def unsolved_block(job: Job) -> bytes:
    """The job as a whole block whose header nobody has worked on."""
    template = job.template
    root = native.merkle_root(
        native.sha256d(job.coinbase(*_EXTRANONCES)), native.merkle_branches(template.txids)
    )
    header = struct.pack(
        "<L32s32sLLL",
        template.version & 0xFFFFFFFF,
        template.previous_block,
        root,
        template.current_time,
        template.bits,
        0,
    )
    return job.block(header, *_EXTRANONCES)


def coinbase_fault(job: Job, script: bytes) -> str | None:
    """What is wrong with the outputs of the job's coinbase, read by a decoder that is not ours."""
    template = job.template
    coinbase = CTransaction.deserialize(job.coinbase(*_EXTRANONCES))
    paid = [(output.nValue, bytes(output.scriptPubKey)) for output in coinbase.vout]
    wanted = [(template.coinbase_value, script)]
    if template.witness_commitment:
        wanted.append((0, template.witness_commitment))
    if paid == wanted:
        return None
    told = ", ".join(f"{value} sat to script {script.hex()}" for value, script in paid)
    return f"its coinbase pays {told or 'nobody'}; wanted: {template.coinbase_value} sat to {script.hex()}"
