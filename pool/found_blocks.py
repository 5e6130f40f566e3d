"""Found blocks: on disk, to every node at once, and again until some node has answered (I9).

The disk comes first as long as it is quick; a slow one does not hold the block up.

A node that took the block is told to build on it rather than on a rival of the same height. Then the block is
looked up until it is in some node's best chain; a node that has lost it gets it once more, and a block that
is in no chain after a minute is an error in the log and in the metrics.

Each block is one file in `directory`, named by height and hash, that holds the block and its `Found` record.
Two marks beside it say how far it came: `.answered` when a node gave a verdict, `.spooled` when the record is
in the spool. At a start, whatever lacks a mark is done again, and recent blocks that the first node to answer
does not know any more (it lost its last seconds, say) are sent once more.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import structlog

import native
from pool.node import Node, NodeError
from pool.records import Found

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
"""How long a stop waits for blocks that are being written or sent."""
WRITE_SECONDS = 0.05
"""How long the disk may take before the nodes get the block all the same."""
NO_PARENT = "prev-blk-not-found"
"""A node's verdict (BIP22) on a block whose parent it lacks: it is behind, another may not be."""
RECENT_BLOCKS = 200
"""How many of the newest blocks are looked up again at a start."""
LOOK_SECONDS = 5.0
LOOKS = 12
"""A block that was sent is looked up so often, so many times."""
IN_CHAIN, OFF_CHAIN, UNKNOWN, SILENT = "in_chain", "off_chain", "unknown", "silent"
"""Where a node has a block: in its best chain, beside it, not at all; or it does not say."""


def _nobody(*_told: object) -> None: ...


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block as it is kept."""

    record: Found
    block: bytes

    @property
    def name(self) -> str:
        """The file's name without its extension."""
        return f"{self.record.height:08d}-{self.record.block_hash}"


class FoundBlocks:
    """Keeps and submits the blocks of one gateway."""

    def __init__(
        self,
        directory: Path,
        nodes: Sequence[Node],
        on_verdict: Callable[[str, str], object],
        on_place: Callable[[str], object] = _nobody,
        on_taken: Callable[[str, str], object] = _nobody,
        on_answer: Callable[[str, float], object] = _nobody,
    ) -> None:
        """`on_verdict(node, verdict)` is called for each answer: "accepted", a reject word, "unreachable".

        `on_taken(block_hash, node)` is called when the first node has taken a block, and `on_answer(node,
        seconds)` for how long each took to give a verdict.

        `on_place(place)` is called once for each block that was taken: "in_chain", or where it was last seen.
        """
        self._directory = directory
        self._nodes = nodes
        self._on_verdict = on_verdict
        self._on_place = on_place
        self._on_taken = on_taken
        self._on_answer = on_answer
        self._known: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._afterwards: set[asyncio.Task[None]] = set()
        """Work on blocks that have been answered: no stop waits for it."""
        self._disk = ThreadPoolExecutor(1, "found-blocks")
        """A thread of its own: whatever else keeps threads busy, a block does not wait for it."""
        directory.mkdir(parents=True, exist_ok=True)

    def found(self, block: FoundBlock) -> bool:
        """Start to keep and submit a block; False when it is known already."""
        if block.record.block_hash in self._known:
            return False
        self._known.add(block.record.block_hash)
        self._start(self._keep_and_submit(block))
        return True

    def spooled(self, record: Found) -> None:
        """The record of a block is durable in the spool."""
        name = f"{record.height:08d}-{record.block_hash}"
        self._start(asyncio.to_thread(self._mark, name, "spooled"))

    def recover(self) -> list[Found]:
        """Take up what an earlier run left: submits again, and returns the records the spool may lack."""
        names = sorted(path.stem for path in self._directory.glob("*.json"))
        self._known.update(map(_hash_in, names))
        unspooled = [name for name in names if not (self._directory / f"{name}.spooled").exists()]
        lacking = [block.record for name in unspooled if (block := self._read(name)) is not None]
        self._start(self._submit_again(names))
        self._start(asyncio.to_thread(self._forget, names[:-RECENT_BLOCKS]))
        return lacking

    async def close(self) -> None:
        """Finish what can be finished soon, then stop; what has no answer yet is tried at the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        left = [*self._tasks, *self._afterwards]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _forget(self, names: list[str]) -> None:
        """Files of old blocks that a node has answered and the spool has had: they have done their work."""
        for name in names:
            marks = [self._directory / f"{name}.{mark}" for mark in ("answered", "spooled")]
            if all(mark.exists() for mark in marks):
                for path in (self._directory / f"{name}.json", *marks):
                    path.unlink(missing_ok=True)

    async def _keep_and_submit(self, block: FoundBlock) -> None:
        writing = asyncio.get_running_loop().run_in_executor(self._disk, self._write, block)
        writing.add_done_callback(partial(_written, block.name))
        await asyncio.wait({writing}, timeout=WRITE_SECONDS)
        await self._submit_until_answered(block)

    async def _submit_again(self, names: list[str]) -> None:
        """Oldest first, one after the other: a block needs its parent."""
        unanswered = {name for name in names if not (self._directory / f"{name}.answered").exists()}
        waiting = sorted(unanswered.union(names[-RECENT_BLOCKS:]))
        while waiting:
            unsure: list[str] = []
            for name in waiting:
                lost: bool | None = True
                if name not in unanswered:
                    lost = None if unsure else await self._lost(_hash_in(name))
                if lost is None:
                    unsure.append(name)
                elif lost and (block := await asyncio.to_thread(self._read, name)) is not None:
                    log.info("block_submitted_again", block=_hash_in(name))
                    await self._submit_until_answered(block)
            waiting = unsure
            if waiting:
                await asyncio.sleep(RETRY_SECONDS)

    async def _lost(self, block_hash: str) -> bool | None:
        """Whether the first node that answers lacks the block; None when none does, after a power cut say."""
        for node in self._nodes:
            try:
                return await node.confirmations(block_hash) is None
            except NodeError:
                continue
            except Exception:  # a fault in our client must not end the recovery (I9)
                log.exception("block_look_up_failed", block=block_hash, node=node.name)
                return False
        return None

    async def _submit_until_answered(self, block: FoundBlock) -> None:
        while True:
            verdicts = await asyncio.gather(*(self._submit_to(node, block) for node in self._nodes))
            if all(verdicts) or any(word not in (None, NO_PARENT) for word in verdicts):
                if "accepted" in verdicts:
                    taker = self._nodes[verdicts.index("accepted")]
                    self._on_taken(block.record.block_hash, taker.name)
                await asyncio.to_thread(self._mark, block.name, "answered")
                if "accepted" in verdicts:
                    willing = (None, NO_PARENT, "accepted")
                    nodes = [n for n, word in zip(self._nodes, verdicts, strict=True) if word in willing]
                    self._start(self._follow(block, nodes), self._afterwards)
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _submit_to(self, node: Node, block: FoundBlock) -> str | None:
        """The node's verdict; None when it gave none."""
        started = time.perf_counter()
        try:
            verdict = await node.submit(block.block) or "accepted"
        except NodeError as error:
            log.error("block_unanswered", block=_hash_in(block.name), node=node.name, reason=str(error))
            self._on_verdict(node.name, "unreachable")
            return None
        except Exception:  # a fault in our client must not end the trying (I9)
            log.exception("block_submission_failed", block=_hash_in(block.name), node=node.name)
            self._on_verdict(node.name, "unreachable")
            return None
        _tell_verdict(_hash_in(block.name), node.name, verdict)
        self._on_answer(node.name, time.perf_counter() - started)
        self._on_verdict(node.name, verdict)
        if verdict == "accepted":
            self._start(self._prefer(node, block.record.block_hash), self._afterwards)
        return verdict

    async def _prefer(self, node: Node, block_hash: str) -> None:
        """Have the node build on our block, should a rival of the same height have come first."""
        try:
            await node.prefer(block_hash)
        except NodeError as error:
            log.warning("block_not_preferred", block=block_hash, node=node.name, reason=str(error))
        except Exception:
            log.exception("block_not_preferred", block=block_hash, node=node.name)

    async def _follow(self, block: FoundBlock, nodes: Sequence[Node]) -> None:
        """Look the block up until it is in a best chain; give it again to a node that does not know it."""
        places: list[str] = []
        for _ in range(LOOKS):
            await asyncio.sleep(LOOK_SECONDS)
            places = [await self._place(node, block.record.block_hash) for node in nodes]
            if IN_CHAIN in places:
                log.info("block_in_best_chain", block=_hash_in(block.name))
                self._on_place(IN_CHAIN)
                return
            for node, place in zip(nodes, places, strict=True):
                if place == UNKNOWN:
                    await self._submit_to(node, block)
        told = ", ".join(f"{node.name}: {place}" for node, place in zip(nodes, places, strict=True))
        place = min(places, key=(OFF_CHAIN, UNKNOWN, SILENT).index)
        _tell_place(_hash_in(block.name), place, told)
        self._on_place(place)

    async def _place(self, node: Node, block_hash: str) -> str:
        try:
            confirmations = await node.confirmations(block_hash)
        except NodeError:
            return SILENT
        except Exception:  # a fault in our client must not end the looking
            log.exception("block_look_up_failed", block=block_hash, node=node.name)
            return SILENT
        if confirmations is None:
            return UNKNOWN
        return IN_CHAIN if confirmations > 0 else OFF_CHAIN

    def _start(
        self, work: Coroutine[object, object, None], tasks: set[asyncio.Task[None]] | None = None
    ) -> None:
        among = self._tasks if tasks is None else tasks
        task = asyncio.ensure_future(work)
        among.add(task)
        task.add_done_callback(among.discard)

    def _write(self, block: FoundBlock) -> None:
        path = self._directory / f"{block.name}.json"
        partial = path.with_suffix(".partial")
        document = {"record": msgspec.json.encode(block.record).decode(), "block": block.block.hex()}
        with partial.open("w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _sync_directory(self._directory)

    def _mark(self, name: str, mark: str) -> None:
        try:
            (self._directory / f"{name}.{mark}").touch()
            _sync_directory(self._directory)
        except OSError as error:
            log.error("block_mark_unwritten", block=_hash_in(name), mark=mark, reason=str(error))

    def _read(self, name: str) -> FoundBlock | None:
        """A kept block; None, and a line in the log, when its file is not one."""
        path = self._directory / f"{name}.json"
        try:
            document = json.loads(path.read_text("utf-8"))
            record = msgspec.json.decode(document["record"], type=Found)
            block = FoundBlock(record, bytes.fromhex(document["block"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, msgspec.MsgspecError) as error:
            log.error(
                "block_file_unreadable",
                path=str(path),
                reason=str(error),
                explained="it is no found block; passed over, look at it by hand",
            )
            return None
        if block.name != name or native.sha256d(block.block[:80])[::-1].hex() != record.block_hash:
            log.error(
                "block_file_unreadable",
                path=str(path),
                reason="its name, record and block are of different blocks",
                explained="passed over, look at it by hand",
            )
            return None
        return block


def _hash_in(name: str) -> str:
    return name.rpartition("-")[2]


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(name: str, writing: asyncio.Future[None]) -> None:
    if not writing.cancelled() and (error := writing.exception()) is not None:
        log.error(
            "block_unwritten",
            block=_hash_in(name),
            reason=str(error),
            explained="it is submitted all the same",
        )


def _tell_place(block_hash: str, place: str, told: str) -> None:
    """Of a block in no best chain. A lost race is chance, silence the nodes' fault, a lost block neither."""
    seconds = LOOKS * LOOK_SECONDS
    if place == UNKNOWN:
        log.error(
            "block_in_no_chain",
            block=block_hash,
            seconds=seconds,
            reason=told,
            explained="a node took it, and no node has it",
        )
    elif place == OFF_CHAIN:
        log.warning("block_off_chain", block=block_hash, seconds=seconds, reason=told)
    else:
        log.warning("block_not_looked_up", block=block_hash, seconds=seconds, reason=told)


def _tell_verdict(block_hash: str, node: str, verdict: str) -> None:
    if verdict == "accepted":
        log.info("block_submitted", block=block_hash, node=node, verdict=verdict)
    else:
        log.error("block_refused", block=block_hash, node=node, verdict=verdict)
