"""Work: the first healthy node gives it, a block is heard by any means, and failures are recovered from."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.typing import EventDict

from pool import work as works
from pool.metrics import Metrics
from pool.node import NodeError, NodeSyncing, NodeWrongChain, TipHeader
from pool.work import Work
from stratum.job import Job, JobBook, Template
from tests.pool.fakes import FakeNode, down, until
from tests.stratum.fakes import MASK, TERMS, sha256d

JOB_SECONDS, REPEAT_SECONDS, POLL_SECONDS = works.JOB_SECONDS, works.REPEAT_SECONDS, works.POLL_SECONDS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machinery on a scale of milliseconds."""
    monkeypatch.setattr(works, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(works, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(works, "BENCH_SECONDS", 0.05)
    monkeypatch.setattr(works, "LISTEN_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(works, "JOB_SECONDS", 30.0)
    monkeypatch.setattr(works, "EMPTY_AFTER_SECONDS", 0.01)
    monkeypatch.setattr(works, "HOLD_SECONDS", 0.05)


class Seen:
    """The jobs that were sent."""

    def __init__(self) -> None:
        self.book = JobBook(1, MASK)
        self.jobs: list[tuple[Job, bool]] = []
        self.metrics = Metrics()

    def send(self, job: Job, clean: bool, done: Callable[[], object]) -> None:
        self.jobs.append((job, clean))
        done()

    @property
    def heights(self) -> list[int]:
        return [job.template.height for job, _ in self.jobs]

    @property
    def kinds(self) -> list[tuple[int, bool, bool]]:
        """Height, clean, empty: of every job."""
        return [(job.template.height, clean, not job.template.long_poll_id) for job, clean in self.jobs]

    def up(self, node: str) -> float | None:
        return self.metrics.registry.get_sample_value("dmpool_node_up", {"node": node})

    def measured(self, histogram: str) -> tuple[float, float]:
        """How often, and the sum."""
        read = self.metrics.registry.get_sample_value
        return read(f"{histogram}_count") or 0.0, read(f"{histogram}_sum") or 0.0


@asynccontextmanager
async def working(*nodes: FakeNode, empty_blocks_on: str | None = None) -> AsyncIterator[Seen]:
    seen = Seen()
    work = Work(nodes, seen.book, TERMS, seen.send, seen.metrics, empty_blocks_on)
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


async def test_a_push_channel_that_fails_ends_nothing(told: list[EventDict]) -> None:
    node = FakeNode(tips_fault=NodeError("node: cannot use the zmq address"))
    async with working(node) as seen:
        await until(lambda: bool(seen.jobs))
        await asyncio.sleep(0.05)
        node.pushes, node.tips_fault = asyncio.Queue(), None
        node.tip_polls = node.long_polls = False
        await asyncio.sleep(0.05)
        node.advance()
        await until(lambda: seen.heights == [101, 102])
    assert "zmq address" in next(one["reason"] for one in told if one["event"] == "node_push_failed")


async def test_q07_q25_a_job_is_repeated_and_the_repetition_is_not_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert JOB_SECONDS < REPEAT_SECONDS
    assert REPEAT_SECONDS + 2 * POLL_SECONDS <= 30
    monkeypatch.setattr(works, "JOB_SECONDS", 0.06)
    async with working(FakeNode()) as seen:
        await until(lambda: len(seen.jobs) >= 4)
    assert [clean for _, clean in seen.jobs][:4] == [True, False, False, False]
    assert all(one.id != other.id for (one, _), (other, _) in pairwise(seen.jobs)), "Q-53: always a new id"


async def test_q07_q25_with_nodes_that_fail_the_last_job_is_repeated_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that starts again must not cost the pool its miners; one that is gone must not keep them."""
    monkeypatch.setattr(works, "REPEAT_SECONDS", 0.04)
    monkeypatch.setattr(works, "GIVE_UP_SECONDS", 0.4)
    node = FakeNode()
    async with working(node) as seen:
        await until(lambda: bool(seen.jobs))
        node.fault = down()
        await until(lambda: len(seen.jobs) >= 4)
        assert {clean for _, clean in seen.jobs[1:]} == {False}
        assert len({job.id for job, _ in seen.jobs}) == len(seen.jobs), "Q-53"
        await asyncio.sleep(0.6)
        told = len(seen.jobs)
        await asyncio.sleep(0.1)
        assert len(seen.jobs) == told
        node.fault = None
        node.advance()
        await until(lambda: seen.heights[-1] == 102)
        assert seen.jobs[-1][0].id not in {job.id for job, _ in seen.jobs[:-1]}


async def test_q07_a_template_that_does_not_come_does_not_stop_the_repetition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does the repetition pass for a fresh template."""
    monkeypatch.setattr(works, "JOB_SECONDS", 0.03)
    monkeypatch.setattr(works, "REPEAT_SECONDS", 0.04)
    node = FakeNode()
    async with working(node) as seen:
        await until(lambda: bool(seen.jobs))
        node.thinks = asyncio.Event()
        await asyncio.sleep(0.05)
        told = len(seen.jobs)
        await until(lambda: len(seen.jobs) >= told + 3)
        node.value += 1
        node.thinks.set()
        await until(lambda: seen.jobs[-1][0].template.coinbase_value == node.value)
    assert [clean for _, clean in seen.jobs] == [True] + [False] * (len(seen.jobs) - 1)


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
async def test_a_node_that_cannot_is_named_once_and_recovered_from(kind: str, told: list[EventDict]) -> None:
    node = FakeNode("one", fault=FAULTS[kind])
    async with working(node) as seen:
        await until(lambda: node.asked.count("check") > 5)
        assert seen.jobs == []
        assert seen.up("one") == 0
        node.fault = None
        await until(lambda: seen.heights == [101])
        assert seen.up("one") == 1
    failed = [(one["node"], one["reason"]) for one in told if one["event"] == "node_failed"]
    assert failed == [("one", str(FAULTS[kind]))]
    assert "node_works_again" in [one["event"] for one in told]


async def test_progress_of_a_syncing_node_is_not_told_each_second(told: list[EventDict]) -> None:
    node = FakeNode("one", fault=NodeSyncing("one: 1 of 900 blocks"))
    async with working(node):
        for blocks in range(2, 30):
            node.fault = NodeSyncing(f"one: {blocks} of 900 blocks")
            await asyncio.sleep(0.005)
        node.fault = down("one")
        await until(lambda: "does not answer" in str(told))
    assert len([one for one in told if "of 900 blocks" in one.get("reason", "")]) == 1


async def test_a_template_that_cannot_be_a_job_leaves_the_miners_with_what_they_have(
    told: list[EventDict],
) -> None:
    node = FakeNode("one")
    async with working(node) as seen:
        await until(lambda: seen.heights == [101])
        node.value = -1
        node.advance()
        await until(lambda: "template_unusable" in [one["event"] for one in told])
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


async def test_a_node_that_is_slow_to_hear_does_not_draw_the_miners_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one that told of the block is gone a moment later; the other hears of it soon."""
    monkeypatch.setattr(works, "HOLD_SECONDS", 30.0)
    one, two = FakeNode("one"), FakeNode("two")
    async with working(one, two) as seen:
        await until(lambda: seen.heights == [101])
        one.fault = down("one")
        two.advance()
        await until(lambda: seen.heights == [101, 102])
        one.fault, two.fault = None, down("two")
        asked = one.asked.count("template")
        await until(lambda: one.asked.count("template") > asked + 3)
        assert seen.heights == [101, 102]
        one.advance()
        one.advance()
        await until(lambda: seen.heights[-1] == 103)
    assert seen.heights == [101, 102, 103]


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


@asynccontextmanager
async def thinking(node: FakeNode, *others: FakeNode) -> AsyncIterator[Seen]:
    """Work that has its first job, from a node that will think about the next template for long."""
    async with working(node, *others, empty_blocks_on="regtest") as seen:
        await until(lambda: bool(seen.jobs))
        node.thinks = asyncio.Event()
        yield seen
        node.thinks.set()


@pytest.mark.parametrize("means", MEANS)
async def test_an_empty_job_goes_ahead_of_a_template_that_takes_its_time(means: str) -> None:
    node = FakeNode()
    MEANS[means](node)
    async with thinking(node) as seen:
        await asyncio.sleep(0.03)
        node.advance()
        if means == "long poll":  # it is the template itself that speaks: nobody knows of the block before
            await until(lambda: "long poll answered" in node.asked)
            await asyncio.sleep(0.05)
            assert seen.kinds == [(101, True, False)]
            return
        await until(lambda: seen.kinds == [(101, True, False), (102, True, True)])
        empty = seen.jobs[-1][0].template
        assert (empty.transactions, empty.fees) == ((), 0)
        assert empty.previous_block == node.now().previous_block
        assert seen.measured("dmpool_job_broadcast_seconds")[0] == 1
        assert seen.measured("dmpool_full_job_broadcast_seconds")[0] == 0
        assert node.thinks is not None
        node.thinks.set()
        await until(lambda: seen.kinds[2:] == [(102, False, False)])
        first, full = map(
            seen.measured, ("dmpool_job_broadcast_seconds", "dmpool_full_job_broadcast_seconds")
        )
        assert first[0] == full[0] == 1
        assert first[1] < full[1], "both are counted from the same first signal"
        await asyncio.sleep(0.05)
        assert len(seen.jobs) == 3, "each once"
    assert not seen.jobs[-2][0].stale
    assert seen.metrics.registry.get_sample_value("dmpool_empty_jobs_total") == 1


async def test_the_full_job_follows_an_empty_one_even_if_it_pays_less() -> None:
    node = FakeNode(value=1)
    async with thinking(node) as seen:
        node.advance()
        await until(lambda: seen.kinds[1:] == [(102, True, True)])
        assert node.thinks is not None
        node.thinks.set()
        await until(lambda: seen.kinds[2:] == [(102, False, False)])


async def test_a_quick_template_leaves_no_room_for_an_empty_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "EMPTY_AFTER_SECONDS", 0.1)
    node = FakeNode()
    only_push(node)
    async with working(node, empty_blocks_on="regtest") as seen:
        await until(lambda: bool(seen.jobs))
        for _ in range(3):
            node.advance()
            await asyncio.sleep(0.2)
    assert seen.kinds == [(height, True, False) for height in (101, 102, 103, 104)]
    assert "header" in node.asked
    assert seen.measured("dmpool_job_broadcast_seconds")[0] == 3
    assert seen.measured("dmpool_full_job_broadcast_seconds")[0] == 3


async def test_without_the_option_or_on_a_chain_without_a_rule_there_is_no_empty_job() -> None:
    for chain in (None, "testnet4"):
        node = FakeNode()
        async with working(node, empty_blocks_on=chain) as seen:
            await until(lambda: bool(seen.jobs))
            node.thinks = asyncio.Event()
            node.advance()
            await asyncio.sleep(0.1)
            assert seen.kinds == [(101, True, False)]
            node.thinks.set()
            await until(lambda: seen.kinds[1:] == [(102, True, False)])


async def test_a_push_of_the_second_node_is_used_while_the_first_is_slow() -> None:
    one = FakeNode("one", tip_polls=False, long_polls=False)
    two = FakeNode("two", pushes=asyncio.Queue())
    async with thinking(one, two) as seen:
        one.height_now += 1
        two.advance()
        await until(lambda: seen.kinds[1:] == [(102, True, True)])
        assert "header" in two.asked
        assert one.thinks is not None
        one.value = 4_000_000_000
        one.thinks.set()
        await until(lambda: seen.kinds[2:] == [(102, False, False)])
        assert seen.jobs[-1][0].template.coinbase_value == 4_000_000_000


async def test_the_next_node_to_tell_is_asked_when_the_first_is_slow_with_its_header() -> None:
    one = FakeNode("one", pushes=asyncio.Queue(), tip_polls=False, long_polls=False)
    two = FakeNode("two", pushes=asyncio.Queue())
    async with thinking(one, two) as seen:
        one.header_thinks = asyncio.Event()
        one.advance()
        await asyncio.sleep(0.05)
        assert seen.kinds[1:] == []
        two.advance()
        await until(lambda: seen.kinds[1:] == [(102, True, True)])
        one.header_thinks.set()
        await asyncio.sleep(0.05)
        assert seen.kinds[1:] == [(102, True, True)], "the late header brings no second empty job"


@pytest.mark.parametrize("trouble", ["fails", "slow", "unknown"])
async def test_a_header_that_cannot_be_had_delays_nothing(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "HEADER_SECONDS", 0.05)
    node = FakeNode()

    async def header(block_hash: str) -> TipHeader | None:
        node.ask("header")
        if trouble == "fails":
            raise NodeError("node: no such method")
        if trouble == "slow":
            await asyncio.sleep(60)
        return None

    monkeypatch.setattr(node, "header", header)
    async with thinking(node) as seen:
        node.advance()
        await until(lambda: "header" in node.asked)
        await asyncio.sleep(0.1)
        assert seen.kinds == [(101, True, False)]
        assert node.thinks is not None
        node.thinks.set()
        await until(lambda: seen.kinds[1:] == [(102, True, False)])
    assert node.asked.count("header") == 1, "asked once for each tip"


async def test_a_node_on_another_fork_or_ahead_gives_no_empty_job() -> None:
    one, two = FakeNode("one"), FakeNode("two", pushes=asyncio.Queue())
    async with thinking(one, two) as seen:
        two.fault = down("two")  # no templates of it, only its pushes and headers
        two.ask = two.asked.append  # type: ignore[method-assign]
        two.branch = 1
        two.advance()
        two.branch = 0
        two.height_now += 1
        two.advance()
        await until(lambda: two.asked.count("header") >= 2)
        await asyncio.sleep(0.05)
        assert all(not empty for _, _, empty in seen.kinds)


async def test_miners_stay_on_the_empty_job_while_the_active_node_lags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node that told of the block cannot give templates; the active one still offers the old height."""
    monkeypatch.setattr(works, "HOLD_SECONDS", 30.0)
    one, two = FakeNode("one"), FakeNode("two", pushes=asyncio.Queue())

    async def template(long_poll_id: str | None = None) -> Template:
        raise down("two")

    two.template = template  # type: ignore[method-assign]
    async with working(one, two, empty_blocks_on="regtest") as seen:
        await until(lambda: bool(seen.jobs))
        two.advance()
        await until(lambda: seen.kinds[1:] == [(102, True, True)])
        asked = one.asked.count("template")
        await until(lambda: one.asked.count("template") > asked + 5)
        assert seen.kinds[1:] == [(102, True, True)], "not flipped back and forth"
        one.advance()
        await until(lambda: seen.kinds[2:] == [(102, False, False)])


async def test_an_answer_about_the_old_tip_that_comes_after_the_empty_job_is_asked_for_again() -> None:
    node = FakeNode(pushes=asyncio.Queue(), tip_polls=False, long_polls=False)
    async with working(node, empty_blocks_on="regtest") as seen:
        await until(lambda: bool(seen.jobs))
        old = node.now()
        answered = asyncio.Event()
        answers = [old]
        now = node.now

        async def template(long_poll_id: str | None = None) -> Template:
            node.ask("template in time")
            await answered.wait()
            return answers.pop() if answers else now()

        node.template = template  # type: ignore[method-assign]
        assert node.pushes is not None
        node.pushes.put_nowait("ab" * 32)
        await until(lambda: "template in time" in node.asked)
        node.advance()
        await until(lambda: seen.kinds[1:] == [(102, True, True)])
        answered.set()
        await until(lambda: seen.kinds[2:] == [(102, False, False)])
        await asyncio.sleep(0.05)
        assert len(seen.jobs) == 3


async def test_two_blocks_in_quick_succession_give_two_empty_jobs() -> None:
    node = FakeNode(pushes=asyncio.Queue(), tip_polls=False, long_polls=False)
    async with thinking(node) as seen:
        node.advance()
        await until(lambda: len(seen.jobs) == 2)
        node.advance()
        await until(lambda: len(seen.jobs) == 3)
        assert seen.kinds[1:] == [(102, True, True), (103, True, True)]
        assert node.thinks is not None
        node.thinks.set()
        await until(lambda: seen.kinds[3:] == [(103, False, False)])


async def test_a_sibling_tip_of_the_same_height_is_clean_work() -> None:
    """Two blocks of one height: whichever the node in use builds on is mined."""
    node = FakeNode()
    async with working(node, empty_blocks_on="regtest") as seen:
        await until(lambda: seen.heights == [101])
        ours, rival = node.now(), sha256d(b"rival")
        node.now = lambda: replace(ours, previous_block=rival, long_poll_id="rival")  # type: ignore[method-assign]
        await until(lambda: len(seen.jobs) == 2)
        await asyncio.sleep(0.05)
    assert seen.kinds == [(101, True, False)] * 2
    assert seen.jobs[-1][0].template.previous_block == rival


async def test_the_first_signal_of_any_node_starts_the_clock() -> None:
    one = FakeNode("one", tip_polls=False, long_polls=False, pushes=asyncio.Queue())
    two = FakeNode("two", pushes=asyncio.Queue())
    async with working(one, two) as seen:
        await until(lambda: bool(seen.jobs))
        one.thinks = two.thinks = asyncio.Event()
        two.advance()
        await asyncio.sleep(0.1)
        one.advance()
        await asyncio.sleep(0.02)
        one.thinks.set()
        await until(lambda: seen.heights[-1] == 102)
        count, seconds = seen.measured("dmpool_job_broadcast_seconds")
    assert count == 1
    assert seconds >= 0.1, "from the signal of the second node on"


async def test_a_rival_tip_that_is_never_mined_does_not_count_for_the_next_block() -> None:
    one, two = FakeNode("one"), FakeNode("two", pushes=asyncio.Queue())
    async with working(one, two) as seen:
        await until(lambda: bool(seen.jobs))
        assert two.pushes is not None
        two.pushes.put_nowait("ab" * 32)
        await asyncio.sleep(0.2)
        one.advance()
        await until(lambda: seen.heights[-1] == 102)
        assert seen.measured("dmpool_job_broadcast_seconds")[1] < 0.2


async def test_the_first_job_is_proposed_to_each_node_and_full_ones_only() -> None:
    one, two = FakeNode("one"), FakeNode("two", objections=[down("two")])
    async with thinking(one, two) as seen:
        await until(lambda: one.asked.count("propose") == 1 and two.asked.count("propose") == 1)
        one.advance()
        two.advance()
        await until(lambda: seen.kinds[1:] == [(102, True, True)])
        await asyncio.sleep(0.03)
        assert two.asked.count("propose") == 1
        assert one.thinks is not None
        one.thinks.set()
        await until(lambda: two.asked.count("propose") == 2)
        read = seen.metrics.registry.get_sample_value
        await until(lambda: read("dmpool_job_proposal_ok", {"node": "two"}) == 1)
    assert one.asked.count("propose") == 1
