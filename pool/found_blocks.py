"""Found blocks: on disk first, then to every node at once, and again until some node has answered (I9).

Each block is one file in `directory`, named by height and hash, that holds the block and its `Found` record.
Two marks beside it say how far it came: `.answered` when a node gave a verdict, `.spooled` when the record is
in the spool. At a start, whatever lacks a mark is done again, and recent blocks that the first node to answer
does not know any more (it lost its last seconds, say) are sent once more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import native
from pool.node import Node, NodeError
from pool.records import Found

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
"""How long a stop waits for blocks that are being written or sent."""
NO_PARENT = "prev-blk-not-found"
"""A node's verdict (BIP22) on a block whose parent it lacks: it is behind, another may not be."""
RECENT_BLOCKS = 200
"""How many of the newest blocks are looked up again at a start."""


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
        self, directory: Path, nodes: Sequence[Node], on_verdict: Callable[[str, str], object]
    ) -> None:
        """`on_verdict(node, verdict)` is called for each answer: "accepted", a reject word, "unreachable"."""
        self._directory = directory
        self._nodes = nodes
        self._on_verdict = on_verdict
        self._known: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
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
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, names: list[str]) -> None:
        """Files of old blocks that a node has answered and the spool has had: they have done their work."""
        for name in names:
            marks = [self._directory / f"{name}.{mark}" for mark in ("answered", "spooled")]
            if all(mark.exists() for mark in marks):
                for path in (self._directory / f"{name}.json", *marks):
                    path.unlink(missing_ok=True)

    async def _keep_and_submit(self, block: FoundBlock) -> None:
        try:
            await asyncio.to_thread(self._write, block)
        except OSError as error:
            log.error("block %s could not be written: %s; submitting all the same", block.name, error)
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
                    log.info("submitting block %s again", name)
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
                log.exception("block %s could not be looked up at %s", block_hash, node.name)
                return False
        return None

    async def _submit_until_answered(self, block: FoundBlock) -> None:
        while True:
            verdicts = await asyncio.gather(*(self._submit_to(node, block) for node in self._nodes))
            if all(verdicts) or any(word not in (None, NO_PARENT) for word in verdicts):
                await asyncio.to_thread(self._mark, block.name, "answered")
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _submit_to(self, node: Node, block: FoundBlock) -> str | None:
        """The node's verdict; None when it gave none."""
        try:
            verdict = await node.submit(block.block) or "accepted"
        except NodeError as error:
            log.error("block %s: %s did not answer: %s", block.name, node.name, error)
            self._on_verdict(node.name, "unreachable")
            return None
        except Exception:  # a fault in our client must not end the trying (I9)
            log.exception("block %s: submission to %s failed", block.name, node.name)
            self._on_verdict(node.name, "unreachable")
            return None
        log.log(
            logging.INFO if verdict == "accepted" else logging.ERROR,
            "block %s: %s says %s",
            block.name,
            node.name,
            verdict,
        )
        self._on_verdict(node.name, verdict)
        return verdict

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
            log.error("block %s: the mark .%s could not be written: %s", name, mark, error)

    def _read(self, name: str) -> FoundBlock | None:
        """A kept block; None, and a line in the log, when its file is not one."""
        path = self._directory / f"{name}.json"
        try:
            document = json.loads(path.read_text("utf-8"))
            record = msgspec.json.decode(document["record"], type=Found)
            block = FoundBlock(record, bytes.fromhex(document["block"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, msgspec.MsgspecError) as error:
            log.error("%s is no found block (%s); passed over, look at it by hand", path, error)
            return None
        if block.name != name or native.sha256d(block.block[:80])[::-1].hex() != record.block_hash:
            log.error("%s: its name, record and block are of different blocks; passed over", path)
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
