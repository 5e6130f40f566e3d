"""An embedded regtest chain for demos and tests, validated by Bitcoin Core's consensus code. Not for money.

`py-bitcoinkernel` gives the chain: it refuses what Bitcoin Core refuses and says why. There is no network, no
mempool and no wallet, so a block holds its coinbase and nothing else, and every block comes from this pool.

Regtest asks for two hashes a block. So that a demo has shares that are no block, the templates carry a harder
target of the caller's choice, and a block that misses it is refused here ("high-hash").

The rule: a block that was accepted is on disk before the answer. The kernel writes its state only when its
chainstate manager is destroyed, so after each new block the manager is closed and opened again (some 50 ms).
All kernel calls run in one worker thread; the event loop never waits for the disk.

Sources: BIP22 (reject words), BIP113 (median time past), BIP141 (witness commitment).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

import pbk
import structlog

from pool.empty_template import COINBASE_ONLY_COMMITMENT, subsidy
from pool.node import (
    UNDECODABLE,
    ChainBlock,
    Earned,
    NodeDown,
    NodeError,
    NodeMeter,
    TipHeader,
    Unmeasured,
    target_of,
)
from stratum.difficulty import work_of
from stratum.job import Template

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

_MEDIAN_BLOCKS = 11
_VERSION = 0x2000_0000

_WORDS = {
    pbk.BlockValidationResult.CACHED_INVALID: "duplicate-invalid",
    pbk.BlockValidationResult.INVALID_HEADER: "bad-header",
    pbk.BlockValidationResult.MUTATED: "mutated",
    pbk.BlockValidationResult.MISSING_PREV: "prev-blk-not-found",
    pbk.BlockValidationResult.INVALID_PREV: "bad-prevblk",
    pbk.BlockValidationResult.TIME_FUTURE: "time-too-new",
}
"""Reject words by the kernel's coarse result, for a rejection whose exact word its log did not tell."""

_CHECKED_LINE = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=([a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class _Kernel:
    manager: Any
    chain: Any


class EmbeddedChain:
    """`Node` on a regtest chain of its own, kept in `directory`. For demos and tests.

    `target` is the number that a block's hash must not exceed; regtest's own limit caps it. The directory
    belongs to one process at a time. Nothing is opened before the first call (best: `check`).
    """

    name = "embedded demo chain (regtest)"

    def __init__(self, directory: Path, target: int, meter: NodeMeter | None = None) -> None:
        self._directory = directory
        self._meter = meter or Unmeasured()
        self._target = target
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-chain")
        self._listeners: set[asyncio.Queue[str]] = set()
        self._lock: TextIO | None = None
        self._log: Any = None
        self._kernel: _Kernel | None = None
        self._checked: dict[str, tuple[Any, Any]] = {}
        self._words: dict[str, str] = {}
        self._closed = False

    async def check(self) -> None:
        await self._run("getblockchaininfo", self._opened)

    async def template(self, long_poll_id: str | None = None) -> Template:
        with self._listening() as pushes:
            while True:
                template = await self._run("getblocktemplate", self._template)
                if template.long_poll_id != long_poll_id:
                    return template
                await pushes.get()

    async def tip(self) -> str:
        return await self._run("getbestblockhash", lambda: _tip(self._opened()))

    async def tips(self) -> AsyncIterator[str]:
        with self._listening() as pushes:
            self._meter.push_channel(self.name, connected=True)
            while True:
                tip = await pushes.get()
                self._meter.pushed(self.name)
                yield tip

    async def submit(self, block: bytes) -> str | None:
        loop = asyncio.get_running_loop()
        return await self._run("submitblock", lambda: self._submit(block, loop))

    async def confirmations(self, block_hash: str) -> int | None:
        return await self._run("getblockheader", lambda: self._confirmations(block_hash))

    async def header(self, block_hash: str) -> TipHeader | None:
        return await self._run("getblockheader", lambda: self._header(block_hash))

    async def block_at(self, height: int) -> ChainBlock:
        return await self._run("getblockheader", lambda: self._block_at(height))

    async def earned(self, block_hash: str) -> Earned:
        """The subsidy: no block here has a transaction that could pay fees."""
        header = await self.header(block_hash)
        if header is None:
            raise NodeError(f"{self.name} has no block {block_hash} in its chain; ask for one that it has")
        return Earned(subsidy("regtest", header.height), 0)

    async def propose(self, block: bytes) -> str | None:
        """No objection: the kernel's interface judges whole blocks only."""
        return None

    async def prefer(self, block_hash: str) -> None:
        """Nothing to do: all blocks come from this pool."""

    async def height(self) -> int:
        return await self._run("getblockcount", lambda: int(self._opened().chain.height))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._worker, self._shut)
            self._worker.shutdown(wait=False)

    async def _run(self, method: str, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise NodeDown(f"{self.name} in {self._directory} is closed")
        started = time.perf_counter()
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except NodeError:
            self._meter.called(self.name, method, None)
            raise
        self._meter.called(self.name, method, time.perf_counter() - started)
        return result

    @contextlib.contextmanager
    def _listening(self) -> Iterator[asyncio.Queue[str]]:
        pushes: asyncio.Queue[str] = asyncio.Queue(maxsize=1)
        self._listeners.add(pushes)
        try:
            yield pushes
        finally:
            self._listeners.discard(pushes)

    def _push(self, tip: str) -> None:
        for pushes in self._listeners:
            if pushes.full():  # only the newest tip matters
                pushes.get_nowait()
            pushes.put_nowait(tip)

    # From here on everything runs in the worker thread.

    def _opened(self) -> _Kernel:
        if self._lock is None:
            self._lock = self._take_lock()
            pbk.enable_log_category(pbk.LogCategory.VALIDATION)
            self._log = pbk.LoggingConnection(self._on_log)
        if self._kernel is None:
            self._kernel = self._open_kernel()
        return self._kernel

    def _take_lock(self) -> TextIO:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = (self._directory / "lock").open("w")
        except OSError as error:
            raise NodeDown(
                f"{self.name} cannot use {self._directory} ({error.strerror}): make data_dir writable"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise NodeDown(
                f"{self.name}: another process uses {self._directory}: stop it, or choose another data_dir"
            ) from None
        return lock

    def _open_kernel(self) -> _Kernel:
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._on_checked)
        try:
            manager = pbk.load_chainman(self._directory, pbk.ChainType.REGTEST, callbacks)
        except RuntimeError as error:
            raise NodeDown(
                f"{self.name} cannot open the chain in {self._directory} ({error}): is the disk full or the "
                f"folder damaged? Removing the folder starts a new demo chain"
            ) from error
        return _Kernel(manager, manager.get_active_chain())

    def _close_kernel(self) -> None:
        if self._kernel is not None:
            kernel, self._kernel = self._kernel, None
            kernel.manager.__exit__(None, None, None)  # the only flush that the kernel's interface has

    def _shut(self) -> None:
        self._close_kernel()
        if self._lock is not None:
            self._log.__exit__(None, None, None)
            self._lock.close()

    def _on_checked(self, _user_data: object, block: Any, state: Any) -> None:
        self._checked[str(block.block_hash)] = (state.validation_mode, state.block_validation_result)

    def _on_log(self, line: str) -> None:
        if found := _CHECKED_LINE.search(line):
            self._words[found[1]] = found[2]
        elif "[error]" in line or "[warning]" in line:
            _log.warning("chain_warns", node=self.name, reason=line.rstrip())

    def _template(self) -> Template:
        chain = self._opened().chain
        height = chain.height
        tip = chain.block_tree_entries[height]
        min_time = _median_time(chain, height) + 1
        bits = int(tip.block_header.bits)  # regtest never retargets
        return Template(
            height=height + 1,
            version=_VERSION,
            previous_block=bytes(tip.block_hash),
            bits=bits,
            target=min(self._target, target_of(bits)),
            coinbase_value=subsidy("regtest", height + 1),
            fees=0,
            current_time=max(int(time.time()), min_time),
            min_time=min_time,
            transactions=(),
            txids=b"",
            witness_commitment=COINBASE_ONLY_COMMITMENT,
            long_poll_id=str(tip.block_hash),
        )

    def _submit(self, raw: bytes, loop: asyncio.AbstractEventLoop) -> str | None:
        kernel = self._opened()
        try:
            block = pbk.Block(raw)
        except RuntimeError:
            return UNDECODABLE
        if int.from_bytes(bytes(block.block_hash), "little") > self._target:
            return "high-hash"
        before = _tip(kernel)
        self._checked.clear()
        self._words.clear()
        try:
            is_new = kernel.manager.process_block(block)
        except pbk.ProcessBlockException:
            is_new = False
            if not self._checked:
                raise NodeError(
                    f"{self.name} gave no verdict on a block: see its errors in the log"
                ) from None
        if is_new:
            self._close_kernel()
        tip = _tip(self._opened())
        if tip != before:
            loop.call_soon_threadsafe(self._push, tip)
        return self._verdict(str(block.block_hash))

    def _verdict(self, block_hash: str) -> str | None:
        """The reject word of the block just processed; None when it is valid, known, or on a side chain."""
        valid = (pbk.ValidationMode.VALID, pbk.BlockValidationResult.UNSET)
        mode, result = self._checked.get(block_hash, valid)
        if mode == pbk.ValidationMode.VALID:
            return None
        if mode == pbk.ValidationMode.INTERNAL_ERROR:
            raise NodeError(f"{self.name} failed inside: is the disk of {self._directory} full?")
        return self._words.get(block_hash) or _WORDS.get(result, "rejected")

    def _header(self, block_hash: str) -> TipHeader | None:
        kernel = self._opened()
        entry = _entry(kernel, block_hash)
        if entry is None or kernel.chain.block_tree_entries[entry.height] != entry:
            return None
        header = entry.block_header
        return TipHeader(
            block_hash,
            str(header.prev_hash),
            int(entry.height),
            int(header.bits),
            _median_time(kernel.chain, int(entry.height)),
        )

    def _block_at(self, height: int) -> ChainBlock:
        chain = self._opened().chain
        if not 0 <= height <= chain.height:
            raise NodeError(f"{self.name} has no block {height}: its newest is {chain.height}")
        entry = chain.block_tree_entries[height]
        header = entry.block_header
        return ChainBlock(
            str(entry.block_hash),
            height,
            int(header.timestamp.timestamp()),
            _median_time(chain, height),
            work_of(min(self._target, target_of(int(header.bits)))),
        )

    def _confirmations(self, block_hash: str) -> int | None:
        kernel = self._opened()
        entry = _entry(kernel, block_hash)
        if entry is None:
            return None
        height = int(kernel.chain.height)
        if entry.height > height or kernel.chain.block_tree_entries[entry.height] != entry:
            return -1
        return height - int(entry.height) + 1


def _tip(kernel: _Kernel) -> str:
    return str(kernel.chain.block_tree_entries[kernel.chain.height].block_hash)


def _entry(kernel: _Kernel, block_hash: str) -> Any:
    """The block's place in the tree; None for a block that the chain has never seen."""
    try:
        return kernel.manager.block_tree_entries[pbk.BlockHash(bytes.fromhex(block_hash)[::-1])]
    except KeyError:
        return None


def _median_time(chain: Any, height: int) -> int:
    """BIP113: the median time of the block of that height and the ten before it."""
    newest = range(max(0, height - _MEDIAN_BLOCKS + 1), height + 1)
    times = sorted(int(chain.block_tree_entries[one].block_header.timestamp.timestamp()) for one in newest)
    return times[len(times) // 2]
