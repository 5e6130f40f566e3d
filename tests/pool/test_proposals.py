"""The pool's own job as a proposal: asked once of each node, and its coinbase read by another decoder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from bitcoin.core import CBlock
from structlog.typing import EventDict

from pool.metrics import Metrics
from pool.proposals import ProposalCheck, coinbase_fault, unsolved_block
from stratum.job import Job, JobBook
from tests.pool.fakes import FakeNode, down, until
from tests.stratum.fakes import MASK, TERMS, template


def job(number: int = 1, **changes: object) -> Job:
    return JobBook(number, MASK).add(template(**changes), TERMS)[0]


@asynccontextmanager
async def checking(*nodes: FakeNode) -> AsyncIterator[tuple[ProposalCheck, Metrics]]:
    metrics = Metrics()
    check = ProposalCheck(nodes, metrics)
    task = asyncio.create_task(check.run())
    try:
        yield check, metrics
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


def ok(metrics: Metrics, node: str = "node") -> float | None:
    return metrics.registry.get_sample_value("dmpool_job_proposal_ok", {"node": node})


async def test_each_node_is_asked_once_for_a_script_and_again_for_another() -> None:
    one, two = FakeNode("one"), FakeNode("two")
    async with checking(one, two) as (check, metrics):
        for number in range(1, 4):
            check.offer(job(number), TERMS.script)
            await asyncio.sleep(0.02)
        assert (len(one.proposed), len(two.proposed)) == (1, 1)
        assert ok(metrics, "one") == ok(metrics, "two") == 1
        other = replace(TERMS, script=b"\x51")
        check.offer(JobBook(9, MASK).add(template(), other)[0], other.script)
        await until(lambda: (len(one.proposed), len(two.proposed)) == (2, 2))


@pytest.mark.parametrize(
    "no_verdict", [down(), "inconclusive-not-best-prevblk", ZeroDivisionError("a bug")], ids=str
)
async def test_a_node_that_gave_no_verdict_is_asked_with_the_next_job(no_verdict: str | Exception) -> None:
    node = FakeNode(objections=[no_verdict])
    async with checking(node) as (check, metrics):
        check.offer(job(1), TERMS.script)
        await until(lambda: len(node.proposed) == 1)
        await asyncio.sleep(0.02)
        assert ok(metrics) is None
        check.offer(job(2), TERMS.script)
        await until(lambda: ok(metrics) == 1)
    assert len(node.proposed) == 2


async def test_an_objection_is_an_error_told_once_in_the_words_of_the_node(
    told: list[EventDict],
) -> None:
    node = FakeNode(objections=["bad-cb-length", "bad-cb-length", "bad-cb-height"])
    async with checking(node) as (check, metrics):
        for number, times in ((1, 1), (2, 1), (3, 2)):
            check.offer(job(number), TERMS.script)
            await until(lambda number=number: len(node.proposed) == number)  # type: ignore[misc]
            await asyncio.sleep(0.02)
            assert ok(metrics) == 0
            assert len([one for one in told if one["log_level"] == "error"]) == times
        check.offer(job(4), TERMS.script)
        await until(lambda: ok(metrics) == 1)
    assert "bad-cb-length" in [one.get("reason") for one in told]


async def test_a_coinbase_that_pays_another_script_is_not_even_proposed(
    told: list[EventDict],
) -> None:
    node = FakeNode()
    async with checking(node) as (check, metrics):
        check.offer(job(), b"\x51")
        await until(lambda: ok(metrics) == 0)
    assert node.proposed == []
    assert TERMS.script.hex() in str(told)


async def test_a_slow_node_holds_up_no_work() -> None:
    """offer() only leaves the job there."""
    node = FakeNode()
    blocked = asyncio.Event()

    async def propose(block: bytes) -> str | None:
        node.proposed.append(block)
        await blocked.wait()
        return None

    node.propose = propose  # type: ignore[method-assign]
    async with checking(node) as (check, metrics):
        for number in range(1, 5):
            check.offer(job(number), TERMS.script)
            await asyncio.sleep(0.01)
        assert len(node.proposed) == 1
        blocked.set()
        await until(lambda: ok(metrics) == 1)


def test_the_proposal_is_a_whole_block_of_the_job() -> None:
    one = job(coinbase_value=7)
    block = CBlock.deserialize(unsolved_block(one))
    assert block.hashPrevBlock == one.template.previous_block
    assert block.hashMerkleRoot == block.calc_merkle_root()
    assert (block.nTime, block.nBits) == (one.template.current_time, one.template.bits)
    assert block.vtx[0].vout[0].nValue == 7


@pytest.mark.parametrize("commitment", [b"", b"\x6a\x24" + bytes(36)])
def test_coinbase_fault(commitment: bytes) -> None:
    one = job(witness_commitment=commitment)
    assert coinbase_fault(one, TERMS.script) is None
    assert coinbase_fault(one, TERMS.script + b"\x51") is not None
    one.template = replace(one.template, coinbase_value=one.template.coinbase_value + 1)
    assert "312500000 sat" in (coinbase_fault(one, TERMS.script) or "")
