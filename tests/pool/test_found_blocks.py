"""Found blocks: on disk before they are sent, to all nodes at once, and again until one has answered (I9)."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from structlog.typing import EventDict

from pool import found_blocks
from pool.found_blocks import FoundBlock, FoundBlocks
from pool.node import NodeSyncing
from pool.records import Found
from tests.pool.fakes import FakeNode, down, until
from tests.stratum.fakes import sha256d

Make = Callable[..., FoundBlocks]


def block(number: int) -> FoundBlock:
    raw = bytes([number]) * 200
    record = Found(
        at_us=number,
        miner_id=1,
        worker="s17",
        height=800_000 + number,
        block_hash=sha256d(raw[:80])[::-1].hex(),
        previous_hash="00" * 32,
        network_target=b"\x01" * 32,
        reward_sat=312_500_000,
        fees_sat=0,
        coinbase_txid="11" * 32,
        credited=False,
    )
    return FoundBlock(record, raw)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_blocks, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(found_blocks, "CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(found_blocks, "LOOK_SECONDS", 0.02)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "blocks"


@pytest_asyncio.fixture
async def make(directory: Path, node: FakeNode) -> AsyncIterator[Make]:
    """Makes keepers over one directory; all are closed in the end."""
    made: list[FoundBlocks] = []

    def maker(
        *nodes: FakeNode,
        on_verdict: Callable[[str, str], object] = lambda name, word: None,
        on_place: Callable[[str], object] = lambda place: None,
    ) -> FoundBlocks:
        made.append(FoundBlocks(directory, nodes or (node,), on_verdict, on_place))
        return made[-1]

    yield maker
    for one in made:
        await one.close()


def marks(directory: Path, one: FoundBlock) -> set[str]:
    return {path.suffix for path in directory.glob(f"{one.name}.*")}


def keep(directory: Path, one: FoundBlock, *states: str) -> None:
    """The directory as an earlier run left it."""
    directory.mkdir(exist_ok=True)
    document = {"record": msgspec.json.encode(one.record).decode(), "block": one.block.hex()}
    (directory / f"{one.name}.json").write_text(json.dumps(document))
    for state in states:
        (directory / f"{one.name}.{state}").touch()


async def test_i9_written_before_it_is_sent(make: Make, node: FakeNode, directory: Path) -> None:
    seen: list[list[str]] = []
    send = node.submit

    async def submit(block: bytes) -> str | None:
        seen.append([path.name for path in directory.iterdir()])
        return await send(block)

    node.submit = submit  # type: ignore[method-assign]
    assert make().found(block(1))
    await until(lambda: marks(directory, block(1)) == {".json", ".answered"})
    assert seen == [[f"{block(1).name}.json"]]
    assert node.submitted == [block(1).block]


async def test_i9_to_all_nodes_at_once(make: Make, directory: Path) -> None:
    """The second node gets it while the first still thinks."""
    slow, quick = FakeNode("slow"), FakeNode("quick")
    blocked = asyncio.Event()

    async def submit(block: bytes) -> str | None:
        slow.submitted.append(block)
        await blocked.wait()
        return None

    slow.submit = submit  # type: ignore[method-assign]
    make(slow, quick).found(block(1))
    await until(lambda: bool(slow.submitted and quick.submitted))
    blocked.set()
    await until(lambda: ".answered" in marks(directory, block(1)))


async def test_i9_again_until_a_node_has_answered(make: Make, directory: Path) -> None:
    one, two = (
        FakeNode("one", fault=down("one")),
        FakeNode("two", verdicts=[NodeSyncing("two is loading")] * 3),
    )
    verdicts: list[tuple[str, str]] = []
    make(one, two, on_verdict=lambda name, word: verdicts.append((name, word))).found(block(1))
    await until(lambda: ".answered" in marks(directory, block(1)))
    assert verdicts == [("one", "unreachable"), ("two", "unreachable")] * 3 + [
        ("one", "unreachable"),
        ("two", "accepted"),
    ]


async def test_i9_a_fault_in_a_client_does_not_end_the_trying(
    make: Make, node: FakeNode, directory: Path
) -> None:
    node.verdicts = [ZeroDivisionError("a bug"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a bug")]
    make().found(block(1))
    await until(lambda: ".answered" in marks(directory, block(1)))
    assert len(node.submitted) == 3


async def test_a_rejection_is_an_answer(
    make: Make, node: FakeNode, directory: Path, told: list[EventDict]
) -> None:
    node.verdicts = ["bad-txnmrklroot"]
    make().found(block(1))
    await until(lambda: ".answered" in marks(directory, block(1)))
    await asyncio.sleep(0.05)
    assert len(node.submitted) == 1
    assert [one["log_level"] for one in told if one.get("verdict") == "bad-txnmrklroot"] == ["error"]


async def test_the_same_block_twice_is_one(make: Make, node: FakeNode, directory: Path) -> None:
    keeper = make()
    assert [keeper.found(block(1)) for _ in range(3)] == [True, False, False]
    await until(lambda: ".answered" in marks(directory, block(1)))
    assert len(node.submitted) == 1


async def test_i9_a_disk_that_refuses_does_not_keep_the_block_from_the_nodes(
    make: Make, node: FakeNode, monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    def full(self: FoundBlocks, one: FoundBlock) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FoundBlocks, "_write", full)
    make().found(block(1))
    await until(lambda: bool(node.submitted))
    assert "No space left" in next(one["reason"] for one in told if one["event"] == "block_unwritten")


async def test_i9_a_slow_disk_does_not_hold_the_block_up(
    make: Make, node: FakeNode, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, free = make(), threading.Event()
    monkeypatch.setattr(keeper, "_write", lambda found: free.wait(10))
    keeper.found(block(1))
    await until(lambda: node.submitted == [block(1).block])
    free.set()


async def test_i9_a_gateway_that_was_started_again_still_submits(make: Make, node: FakeNode) -> None:
    keeper = make()
    await keeper.close()
    keeper.recover()
    keeper.found(block(1))
    await until(lambda: node.submitted == [block(1).block])


async def test_i9_a_stop_right_after_the_find_still_writes_and_sends(
    make: Make, node: FakeNode, directory: Path
) -> None:
    keeper = make()
    keeper.found(block(1))
    await keeper.close()
    assert marks(directory, block(1)) == {".json", ".answered"}
    assert node.submitted == [block(1).block]


async def test_a_stop_does_not_wait_for_a_dead_node_for_ever(
    make: Make, node: FakeNode, directory: Path
) -> None:
    node.fault = down()
    keeper = make()
    keeper.found(block(1))
    await asyncio.wait_for(keeper.close(), 5)
    assert marks(directory, block(1)) == {".json"}, "kept for the next start"


@pytest.mark.parametrize(
    ("states", "lacking", "sent"),
    [
        ((), True, True),  # died between the writing and the sending
        (("answered",), True, False),  # sent, but its record is not in the spool
        (("spooled",), False, True),  # recorded, but no node has answered
        (("answered", "spooled"), False, False),
    ],
)
async def test_i9_recovery_at_each_step(
    make: Make, node: FakeNode, directory: Path, states: tuple[str, ...], lacking: bool, sent: bool
) -> None:
    keep(directory, block(1), *states)
    node.known[block(1).record.block_hash] = 3
    keeper = make()
    assert keeper.recover() == ([block(1).record] if lacking else [])
    await until(lambda: ".answered" in marks(directory, block(1)))
    await asyncio.sleep(0.03)
    assert node.submitted == ([block(1).block] if sent else [])
    assert not keeper.found(block(1)), "it is known"
    if lacking:
        keeper.spooled(block(1).record)
        await until(lambda: ".spooled" in marks(directory, block(1)))
        assert make().recover() == []


async def test_i9_blocks_go_out_oldest_first_each_after_its_parent_was_answered(
    make: Make, node: FakeNode, directory: Path
) -> None:
    for number in (3, 1, 2):
        keep(directory, block(number))
    node.verdicts = [down(), down()]
    make().recover()
    await until(lambda: ".answered" in marks(directory, block(3)))
    assert node.submitted == [block(number).block for number in (1, 1, 1, 2, 3)]


@pytest.mark.parametrize(("confirmations", "sent"), [(None, True), (-1, False), (1, False)])
async def test_i9_a_recent_block_that_the_node_has_lost_is_sent_again(
    make: Make, node: FakeNode, directory: Path, confirmations: int | None, sent: bool
) -> None:
    keep(directory, block(1), "answered", "spooled")
    if confirmations is not None:
        node.known[block(1).record.block_hash] = confirmations
    make().recover()
    await until(lambda: "confirmations" in node.asked)
    await asyncio.sleep(0.05)
    assert node.submitted == ([block(1).block] if sent else [])


async def test_i9_a_block_lost_in_a_power_cut_is_sent_when_the_node_is_up_again(
    make: Make, node: FakeNode, directory: Path
) -> None:
    """Pool and node start together, and the node takes a while: it is asked until it can answer."""
    keep(directory, block(1), "answered", "spooled")
    node.fault = NodeSyncing("node is loading")
    make().recover()
    await until(lambda: node.asked.count("confirmations") > 2)
    node.fault = None
    await until(lambda: bool(node.submitted))
    assert node.submitted == [block(1).block]


async def test_i9_a_lost_block_is_looked_up_at_the_first_node_that_answers(
    make: Make, directory: Path
) -> None:
    keep(directory, block(1), "answered", "spooled")
    dead, alive = FakeNode("dead", fault=down("dead")), FakeNode("alive")
    make(dead, alive).recover()
    await until(lambda: bool(alive.submitted))


async def test_i9_a_fault_in_a_client_does_not_end_the_recovery(
    make: Make, node: FakeNode, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(directory, block(1), "answered", "spooled")
    keep(directory, block(2), "spooled")

    async def confirmations(block_hash: str) -> int | None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(node, "confirmations", confirmations)
    make().recover()
    await until(lambda: ".answered" in marks(directory, block(2)))


async def test_i9_a_node_without_the_parent_has_not_answered_for_one_that_is_silent(
    make: Make, directory: Path
) -> None:
    """The node that gave the work is away for a moment; the other lags behind by a block."""
    source = FakeNode("source", fault=down("source"))
    behind = FakeNode("behind", verdicts=["prev-blk-not-found"] * 3)
    make(source, behind).found(block(1))
    await until(lambda: len(behind.submitted) > 2)
    assert ".answered" not in marks(directory, block(1))
    source.fault = None
    await until(lambda: ".answered" in marks(directory, block(1)))


async def test_a_block_whose_parent_no_node_knows_is_given_up(
    make: Make, node: FakeNode, directory: Path
) -> None:
    node.verdicts = ["prev-blk-not-found"]
    make().found(block(1))
    await until(lambda: ".answered" in marks(directory, block(1)))
    assert len(node.submitted) == 1


async def test_only_recent_blocks_are_looked_up(
    make: Make, node: FakeNode, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_blocks, "RECENT_BLOCKS", 2)
    for number in range(1, 6):
        keep(directory, block(number), "answered", "spooled")
        node.known[block(number).record.block_hash] = 1
    make().recover()
    await until(lambda: node.asked.count("confirmations") == 2)
    await asyncio.sleep(0.03)
    assert node.asked.count("confirmations") == 2


async def test_a_node_that_is_down_at_the_start_is_no_reason_to_fail(
    make: Make, node: FakeNode, directory: Path
) -> None:
    keep(directory, block(1), "answered", "spooled")
    keep(directory, block(2), "spooled")
    node.fault = down()
    make().recover()
    await until(lambda: len(node.submitted) > 2)
    node.fault = None
    await until(lambda: ".answered" in marks(directory, block(2)))


BROKEN = {
    "empty": b"",
    "truncated": b'{"record": "{\\"at_us\\":1,',
    "not JSON": b"\x00\xff\xfe",
    "a list": b"[]",
    "a text": b'"x"',
    "no record": b'{"block": "00"}',
    "no block": json.dumps({"record": msgspec.json.encode(block(9).record).decode()}).encode(),
    "record of another kind": b'{"record": "[1]", "block": "00"}',
    "record is a number": b'{"record": 5, "block": "00"}',
    "block is no hex": json.dumps(
        {"record": msgspec.json.encode(block(9).record).decode(), "block": "xyz"}
    ).encode(),
    "block is a list": json.dumps(
        {"record": msgspec.json.encode(block(9).record).decode(), "block": []}
    ).encode(),
    "another block": json.dumps(
        {"record": msgspec.json.encode(block(9).record).decode(), "block": "00" * 99}
    ).encode(),
    "another name": json.dumps(
        {"record": msgspec.json.encode(block(8).record).decode(), "block": block(8).block.hex()}
    ).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_i10_a_file_that_is_no_block_stops_neither_the_start_nor_the_other_blocks(
    make: Make, node: FakeNode, directory: Path, name: str, told: list[EventDict]
) -> None:
    keep(directory, block(1))
    (directory / f"{block(9).name}.json").write_bytes(BROKEN[name])
    keep(directory, block(10))
    assert make().recover() == [block(1).record, block(10).record]
    await until(lambda: ".answered" in marks(directory, block(10)))
    assert node.submitted == [block(1).block, block(10).block]
    assert block(9).name in next(one["path"] for one in told if one["event"] == "block_file_unreadable")
    assert (directory / f"{block(9).name}.json").read_bytes() == BROKEN[name], "left for people to look at"


@pytest.mark.parametrize(
    "name", ["x.json", "-.json", "800001.json", f"{block(1).name}.partial", "dir.json/x", "notes.txt"]
)
async def test_i10_strange_names_are_harmless(make: Make, node: FakeNode, directory: Path, name: str) -> None:
    keep(directory, block(2))
    strange = directory / name
    strange.parent.mkdir(exist_ok=True)
    strange.write_bytes(b"{}")
    assert make().recover() == [block(2).record]
    await until(lambda: ".answered" in marks(directory, block(2)))
    assert node.submitted == [block(2).block]


async def test_a_node_that_took_the_block_is_told_to_build_on_it(make: Make) -> None:
    """Core's preciousblock: of two blocks of one height a pool wants to build on its own."""
    one, two = FakeNode("one"), FakeNode("two", verdicts=["bad-prevblk"])
    make(one, two).found(block(1))
    await until(lambda: one.preferred == [block(1).record.block_hash])
    await asyncio.sleep(0.03)
    assert two.preferred == []


@pytest.mark.parametrize("trouble", [down(), ZeroDivisionError("a bug"), "hangs"], ids=str)
async def test_i9_a_node_that_cannot_prefer_a_block_holds_up_nothing(
    make: Make, node: FakeNode, directory: Path, trouble: Exception | str
) -> None:
    async def prefer(block_hash: str) -> None:
        if isinstance(trouble, Exception):
            raise trouble
        await asyncio.sleep(60)

    node.prefer = prefer  # type: ignore[method-assign]
    places: list[str] = []
    keeper = make(on_place=places.append)
    keeper.found(block(1))
    await until(lambda: places == ["in_chain"])
    assert ".answered" in marks(directory, block(1))
    await asyncio.wait_for(keeper.close(), 0.4)


async def test_a_block_that_was_taken_is_looked_up_until_it_is_in_a_best_chain(
    make: Make, told: list[EventDict]
) -> None:
    """Here a rival came first everywhere, and the next block decides for ours."""
    block_hash = block(1).record.block_hash
    one, two = FakeNode("one", known={block_hash: -1}), FakeNode("two", known={block_hash: -1})
    places: list[str] = []
    make(one, two, on_place=places.append).found(block(1))
    await until(lambda: two.asked.count("confirmations") > 2)
    assert places == []
    two.known[block_hash] = 2
    await until(lambda: places == ["in_chain"])
    asked = one.asked.count("confirmations")
    await asyncio.sleep(0.06)
    assert one.asked.count("confirmations") == asked, "no more questions"
    assert not [one for one in told if one["log_level"] == "error"]


@pytest.mark.parametrize(
    ("confirmations", "place", "said"),
    [
        (-1, "off_chain", ("block_off_chain", "warning")),
        (None, "unknown", ("block_in_no_chain", "error")),
        ("down", "silent", ("block_not_looked_up", "warning")),
    ],
)
async def test_a_block_that_is_in_no_best_chain_is_an_alarm(
    make: Make,
    node: FakeNode,
    monkeypatch: pytest.MonkeyPatch,
    told: list[EventDict],
    confirmations: int | str | None,
    place: str,
    said: tuple[str, str],
) -> None:
    monkeypatch.setattr(found_blocks, "LOOKS", 3)

    async def look(block_hash: str) -> int | str | None:
        if confirmations == "down":
            raise down()
        return confirmations

    node.confirmations = look  # type: ignore[method-assign]
    places: list[str] = []
    make(on_place=places.append).found(block(1))
    await until(lambda: places == [place])
    (event,) = [one for one in told if one["event"] == said[0]]
    assert event["log_level"] == said[1]
    assert (event["block"], event["reason"]) == (block(1).record.block_hash, f"node: {place}")


async def test_i9_a_node_that_lost_the_block_or_missed_it_gets_it_again(make: Make) -> None:
    one, two = FakeNode("one"), FakeNode("two", fault=down("two"))
    places: list[str] = []
    make(one, two, on_place=places.append).found(block(1))
    await until(lambda: bool(one.submitted and two.submitted))
    one.known.clear()  # its power failed
    two.fault = None
    await until(lambda: places == ["in_chain"])
    assert len(one.submitted) >= 2
    assert len(two.submitted) >= 2


async def test_a_refused_block_is_not_followed(make: Make, node: FakeNode, directory: Path) -> None:
    node.verdicts = ["bad-cb-amount"]
    places: list[str] = []
    make(on_place=places.append).found(block(1))
    await until(lambda: ".answered" in marks(directory, block(1)))
    await asyncio.sleep(0.1)
    assert (places, node.preferred, node.asked.count("confirmations")) == ([], [], 0)
    assert len(node.submitted) == 1
