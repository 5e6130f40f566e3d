"""Work: the first healthy node gives it, a block is heard by any means, and failures are recovered from."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest

from pool import work as works
from pool.metrics import Metrics
from pool.node import NodeError, NodeSyncing, NodeWrongChain
from pool.work import Work
from stratum.job import Job, JobBook
from tests.pool.fakes import FakeNode, down, until
from tests.stratum.fakes import MASK, TERMS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machinery on a scale of milliseconds."""
    monkeypatch.setattr(works, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(works, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(works, "BENCH_SECONDS", 0.05)
    monkeypatch.setattr(works, "LISTEN_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(works, "JOB_SECONDS", 30.0)


class Seen:
    """The jobs that were sent."""

    def __init__(self) -> None:
        self.book = JobBook(1, MASK)
        self.jobs: list[tuple[Job, bool]] = []
        self.metrics = Metrics()

    def send(self, job: Job, clean: bool) -> None:
        self.jobs.append((job, clean))

    @property
    def heights(self) -> list[int]:
        return [job.template.height for job, _ in self.jobs]

    def up(self, node: str) -> float | None:
        return self.metrics.registry.get_sample_value("dmpool_node_up", {"node": node})


@asynccontextmanager
async def working(*nodes: FakeNode) -> AsyncIterator[Seen]:
    seen = Seen()
    work = Work(nodes, seen.book, TERMS, seen.send, seen.metrics)
    task = asyncio.create_task(work.run())
    try:
        yield seen
        assert not task.done(), "work goes on whatever happened"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_first_job_is_clean_and_of_the_first_node() -> None:
    one, two = FakeNode("one"), FakeNode("two", height_now=500)
    async with working(one, two) as seen:
        await until(lambda: bool(seen.jobs))
    assert [(job.template.height, clean) for job, clean in seen.jobs] == [(101, True)]
    assert "template" not in two.asked
    assert one.asked[0] == "check", "the chain is looked at before its work is taken"


def only_push(node: FakeNode) -> None:
    node.pushes = asyncio.Queue()
    node.tip_polls = node.long_polls = False


MEANS: dict[str, Callable[[FakeNode], None]] = {
    "poll": lambda node: setattr(node, "long_polls", False),
    "long poll": lambda node: setattr(node, "tip_polls", False),
    "push": only_push,
}


@pytest.mark.parametrize("means", MEANS)
async def test_a_new_block_is_heard_by_each_means_alone(means: str) -> None:
    node = FakeNode()
    MEANS[means](node)
    async with working(node) as seen:
        for height in (101, 102, 103):
            await until(lambda height=height: seen.heights[-1:] == [height])  # type: ignore[misc]
            await asyncio.sleep(0.03)
            node.advance()
        await until(lambda: seen.heights[-1:] == [104])
    assert seen.heights == [101, 102, 103, 104], "once each"
    assert all(clean for _, clean in seen.jobs)


async def test_a_push_of_any_node_is_heard() -> None:
    """The node in use gives the work, another one was quicker to tell."""
    one = FakeNode("one", tip_polls=False, long_polls=False)
    two = FakeNode("two", pushes=asyncio.Queue())
    async with working(one, two) as seen:
        await until(lambda: bool(seen.jobs))
        one.height_now += 1
        two.advance()
        await until(lambda: seen.heights == [101, 102])


async def test_a_push_channel_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    node = FakeNode(tips_fault=NodeError("node: cannot use the zmq address"))
    async with working(node) as seen:
        await until(lambda: bool(seen.jobs))
        await asyncio.sleep(0.05)
        node.pushes, node.tips_fault = asyncio.Queue(), None
        node.tip_polls = node.long_polls = False
        await asyncio.sleep(0.05)
        node.advance()
        await until(lambda: seen.heights == [101, 102])
    assert "zmq address" in caplog.text


async def test_q07_q25_a_job_is_repeated_and_the_repetition_is_not_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert works.JOB_SECONDS <= 30
    monkeypatch.setattr(works, "JOB_SECONDS", 0.06)
    async with working(FakeNode()) as seen:
        await until(lambda: len(seen.jobs) >= 4)
    assert [clean for _, clean in seen.jobs][:4] == [True, False, False, False]
    assert all(one.id != other.id for (one, _), (other, _) in pairwise(seen.jobs)), "Q-53: always a new id"


@pytest.mark.parametrize(("more", "sent"), [(0, False), (5_000_000, False), (5_000_001, True)])
async def test_better_fees_are_worth_a_job_that_is_not_clean(more: int, sent: bool) -> None:
    node = FakeNode()
    async with working(node) as seen:
        await until(lambda: bool(seen.jobs))
        node.value += more
        seen_asks = len(node.asked)
        assert node.pushes is None
        node.frozen_tip, node.tip_polls = "00" * 32, False  # a signal, though the tip is the same
        await until(lambda: node.asked[seen_asks:].count("template") >= 2)
    assert [clean for _, clean in seen.jobs] == [True, False][: 1 + sent]


FAULTS = {
    "down": down("one"),
    "syncing": NodeSyncing("one is catching up: 5 of 9 blocks; wait"),
    "wrong chain": NodeWrongChain("one is on 'main', the pool on 'regtest': correct it"),
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_node_that_cannot_is_named_once_and_recovered_from(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pool.work")
    node = FakeNode("one", fault=FAULTS[kind])
    async with working(node) as seen:
        await until(lambda: node.asked.count("check") > 5)
        assert seen.jobs == []
        assert seen.up("one") == 0
        node.fault = None
        await until(lambda: seen.heights == [101])
        assert seen.up("one") == 1
    told = [record.message for record in caplog.records if str(FAULTS[kind]) in record.message]
    assert len(told) == 1
    assert "one gives work again" in caplog.text


async def test_progress_of_a_syncing_node_is_not_told_each_second(caplog: pytest.LogCaptureFixture) -> None:
    node = FakeNode("one", fault=NodeSyncing("one: 1 of 900 blocks"))
    async with working(node):
        for blocks in range(2, 30):
            node.fault = NodeSyncing(f"one: {blocks} of 900 blocks")
            await asyncio.sleep(0.005)
        node.fault = down("one")
        await until(lambda: "does not answer" in caplog.text)
    assert len([record for record in caplog.records if "of 900 blocks" in record.message]) == 1


async def test_a_template_that_cannot_be_a_job_leaves_the_miners_with_what_they_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = FakeNode("one")
    async with working(node) as seen:
        await until(lambda: seen.heights == [101])
        node.value = -1
        node.advance()
        await until(lambda: "cannot be a job" in caplog.text)
        node.value = 5_000_000_000
        node.advance()
        await until(lambda: seen.heights == [101, 103])


async def test_failover_and_return() -> None:
    one, two = FakeNode("one"), FakeNode("two", value=4_000_000_000)
    async with working(one, two) as seen:
        await until(lambda: seen.heights == [101])
        one.fault = down("one")
        two.advance()
        await until(lambda: seen.heights == [101, 102])
        assert seen.jobs[-1][0].template.coinbase_value == 4_000_000_000
        two.advance()
        await until(lambda: seen.heights == [101, 102, 103])
        one.fault, one.height_now = None, two.height_now
        await asyncio.sleep(works.BENCH_SECONDS * 2)
        for _ in range(20):  # the long poll of the second may be the quicker for a block or two
            one.advance()
            two.advance()
            await until(lambda: seen.heights[-1] == two.height_now + 1)
            if seen.jobs[-1][0].template.coinbase_value == 5_000_000_000:
                break
        else:
            pytest.fail("never back at the first of the list")
    assert one.asked.count("check") >= 2, "looked at again before it was used again"


async def test_i9_a_node_that_is_back_but_behind_does_not_draw_the_miners_to_an_old_tip() -> None:
    one, two = FakeNode("one"), FakeNode("two")
    async with working(one, two) as seen:
        await until(lambda: seen.heights == [101])
        one.fault = down("one")
        for height in (102, 103):
            two.advance()
            await until(lambda height=height: seen.heights[-1] == height)  # type: ignore[misc]
        one.fault = None
        await asyncio.sleep(works.BENCH_SECONDS * 2)
        two.advance()
        await until(lambda: seen.heights[-1] == 104)
        await asyncio.sleep(0.05)
        assert seen.heights == [101, 102, 103, 104]
        two.fault = down("two")
        await until(lambda: seen.heights[-1] == 101)  # the only one left; better old work than none


async def test_a_late_answer_of_the_node_that_was_left_is_not_taken() -> None:
    one = FakeNode("one", tip_polls=False)
    two = FakeNode("two", value=4_000_000_000)
    async with working(one, two) as seen:
        await until(lambda: "long poll" in one.asked)
        answer = one.template

        async def only_long_polls(long_poll_id: str | None = None) -> object:
            if long_poll_id is None:
                raise down("one")
            return await answer(long_poll_id)

        one.template = only_long_polls  # type: ignore[assignment, method-assign]
        one.frozen_tip = "00" * 32
        two.height_now += 1
        await until(lambda: seen.heights == [101, 102])
        one.branch = 7  # a block of its own
        one.height_now += 1
        one.advance()
        await until(lambda: "long poll answered" in one.asked)
        await asyncio.sleep(0.03)
        assert seen.heights == [101, 102]


async def test_all_nodes_down_and_one_comes_back() -> None:
    one, two = FakeNode("one", fault=down("one")), FakeNode("two", fault=down("two"))
    async with working(one, two) as seen:
        await until(lambda: one.asked.count("check") > 2 and two.asked.count("check") > 2)
        two.fault = None
        await until(lambda: seen.heights == [101])
        two.fault = down("two")
        await asyncio.sleep(0.05)
        one.fault = None
        one.height_now = 105
        await until(lambda: seen.heights == [101, 106])


async def test_a_reorganisation_gives_clean_work_on_the_new_branch() -> None:
    node = FakeNode()
    async with working(node) as seen:
        await until(lambda: bool(seen.jobs))
        node.branch = 1
        node.advance()
        await until(lambda: len(seen.jobs) == 2)
        assert seen.jobs[-1][1]
        assert seen.jobs[0][0].stale


@pytest.mark.parametrize("turns", range(6))
async def test_a_stop_at_the_moment_of_a_signal_is_a_stop(turns: int) -> None:
    seen = Seen()
    work = Work([FakeNode()], seen.book, TERMS, seen.send, seen.metrics)
    task = asyncio.create_task(work.run())
    await until(lambda: bool(seen.jobs))
    await asyncio.sleep(0.02)
    work._signal.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert task.done()
