"""What is told of shares on their way: luck, the time to an answer, what waits in the spool."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pool import gateway
from pool.metrics import GatewayCounts, Metrics
from pool.node import NodeDown
from pool.records import Share
from pool.spool import Spool
from pool.work import Work
from stratum.job import Job, JobBook
from tests.pool.fakes import FakeNode, until
from tests.pool.recorder_desk import spooling
from tests.stratum.fakes import TERMS, template

Steps = list[tuple[int, list[int]]]


@given(
    st.lists(
        st.tuples(st.integers(1, 2**80), st.lists(st.integers(1, 2**60), max_size=5)), min_size=1, max_size=6
    )
)
def test_expected_blocks_are_work_at_the_difficulty_of_its_time(steps: Steps) -> None:
    """Each share counts by the block of its own job, however the difficulty changes."""
    counts = GatewayCounts()
    exact = Fraction(0)
    for block_work, shares in steps:
        counts.set_block_work(block_work)
        for work in shares:
            counts.work += work
            exact += Fraction(work, block_work)
    assert abs(Fraction(counts.blocks_expected) - exact) <= exact / 10**9


def test_no_work_is_expected_to_find_nothing() -> None:
    assert GatewayCounts().blocks_expected == 0


class _Told:
    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def __call__(self, name: str, **labels: str) -> float | None:
        list(self.metrics.registry.collect())
        return self.metrics.registry.get_sample_value(f"dmpool_{name}", labels)


async def test_a_job_tells_what_it_is_made_of_and_which_node_gave_it() -> None:
    metrics = Metrics()
    told = _Told(metrics)
    first, second = FakeNode("first"), FakeNode("second")
    book = JobBook(1, 0x1FFFE000)

    def send(job: Job, clean: bool, done: Any) -> None:
        done()

    work = Work([first, second], book, TERMS, send, metrics)
    assert told("job_height") is None
    age = told("job_age_seconds")
    assert age is not None
    assert 0 <= age < 60, "before the first job its age is that of the process, so that the alarm sounds"
    assert [told("node_in_use", node=name) for name in ("first", "second")] == [0, 0]
    running = asyncio.create_task(work.run())
    await until(lambda: told("job_height") == 101)
    given_ = template(101)
    assert told("job_reward_satoshis") == first.value
    assert told("job_transactions") == len(given_.transactions)
    difficulty = told("network_difficulty")
    assert difficulty is not None
    assert abs(difficulty * given_.target / (0xFFFF << 208) - 1) < 1e-9
    assert metrics.gateway.block_work == 2**256 // (given_.target + 1)
    assert [told("node_in_use", node=name) for name in ("first", "second")] == [1, 0]
    assert told("node_template_age_seconds", node="first") is not None
    assert told("node_template_age_seconds", node="second") is None
    first.fault = second.fault = NodeDown("away")
    await until(lambda: told("node_in_use", node="first") == told("node_in_use", node="second") == 0)
    second.fault = None
    await until(lambda: told("node_in_use", node="second") == 1)
    assert told("node_template_age_seconds", node="first") is None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class _Session:
    """Who hears of an answer."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def acknowledge(self, answer: bytes) -> None:
        self.answers.append(answer)


def test_the_stopwatch_passes_the_answer_on_and_tells_its_time() -> None:
    metrics, session = Metrics(), _Session()
    at_us = int((time.time() - 2) * 1e6)
    gateway._Stopwatch(session, at_us, metrics.answer_seconds).acknowledge(b"true")  # type: ignore[arg-type]
    told = _Told(metrics)
    assert session.answers == [b"true"]
    seconds = told("share_answer_seconds_sum")
    assert seconds is not None
    assert 2 <= seconds < 60
    ahead = int((time.time() + 99) * 1e6)
    gateway._Stopwatch(session, ahead, metrics.answer_seconds).acknowledge(b"")  # type: ignore[arg-type]
    assert told("share_answer_seconds_count") == 2, "a step of the clock back counts as no time"


def share(at_us: int) -> Share:
    return Share(at_us, 1, "rig", 1, bytes(32), bytes(80))


async def test_the_age_of_the_spool_is_that_of_its_oldest_record(tmp_path: Path) -> None:
    async with spooling(tmp_path) as spool:
        assert spool.oldest_us() is None
        for at_us in (1_000, 2_000, 3_000):
            spool.append(share(at_us))
            spool.append(share(at_us + 1))
            await spool.settled()
        assert spool.oldest_us() == 1_000
        spool.trim(2)
        assert spool.oldest_us() == 3_000
        spool.trim(3)
        assert spool.oldest_us() is None
        assert spool.size_bytes() > 0


async def test_the_age_outlives_a_restart(tmp_path: Path) -> None:
    """I1: what waits in an old spool has waited since it was written."""
    async with spooling(tmp_path) as spool:
        spool.append(share(5_000))
        await spool.settled()
    again = Spool(tmp_path / "spool.db", asyncio.get_running_loop(), lambda seconds, records: None)
    assert again.oldest_us() == 5_000
    await again.close()
