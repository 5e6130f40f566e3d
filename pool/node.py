"""What the pool needs of a Bitcoin node, whichever it is, and how a node fails.

Two things stand behind `Node`: a real bitcoind (`pool/bitcoind.py`) and the embedded regtest chain of demos
and tests (`pool/embedded_chain.py`). Everybody else in the pool knows only this interface.

The rule: every failure is a `NodeError` whose text names the node, the value and the remedy, so that it can
go to a log or a status page as it is. A method that raises has learned nothing: ask again later, or another.

Sources: BIP22 and BIP23 (getblocktemplate, submitblock), BIP9 (rules), BIP145 (segwit in templates).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec

from stratum.difficulty import work_of
from stratum.job import Template

UNDERSTOOD_RULES = frozenset({"segwit", "signet"})
"""The rules a template may demand of its client (BIP9: marked with "!")."""

UNDECODABLE = "Block decode failed"
"""The reject word for bytes that are no block at all, as Bitcoin Core says it."""
NO_VERDICT = "inconclusive"
"""How the word on a proposal begins that the node could not judge, its tip being another one (BIP23)."""


class NodeError(Exception):
    """A node could not do what was asked; the text says which node, what, and what to do."""


class NodeDown(NodeError):
    """The node does not answer, or does not let us in."""


class NodeSyncing(NodeError):
    """The node answers but cannot serve yet: starting, loading, or catching up with its chain."""


class NodeWrongChain(NodeError):
    """The node is on another chain than the pool is configured for."""


@dataclass(frozen=True, slots=True)
class TipHeader:
    """What a node says of a block in its best chain. Hashes are display hex."""

    block_hash: str
    previous: str
    height: int
    bits: int
    median_time: int
    """Median of the times of this block and the ten before it: the next block must be later (BIP113)."""


@dataclass(frozen=True, slots=True)
class ChainBlock:
    """A block of the best chain: its times, and the work that it took. The hash is display hex."""

    block_hash: str
    height: int
    time: int
    """Of its header, unix seconds: what its miner said."""
    median_time: int
    """Never earlier than that of the block before; the next block's time must be later (BIP113)."""
    work: int
    """The expected number of hashes of a block like it."""


class Earned(NamedTuple):
    """What a block brings whoever mines it, in satoshis."""

    subsidy: int
    fees: int


class NodeMeter(Protocol):
    """Who measures what is asked of nodes; long polls are not told, since they wait on purpose."""

    def called(self, node: str, method: str, seconds: float | None) -> None:
        """A call by Bitcoin Core's name for it ended: it took so long, or brought nothing (None)."""
        ...

    def push_channel(self, node: str, *, connected: bool) -> None:
        """A node's push channel is connected, or is not (yet, or any more)."""
        ...

    def pushed(self, node: str) -> None:
        """A node pushed a new best block."""
        ...


class Unmeasured:
    """A `NodeMeter` for those who tell nobody: commands, tests."""

    def called(self, node: str, method: str, seconds: float | None) -> None:
        """Nothing is kept."""

    def push_channel(self, node: str, *, connected: bool) -> None:
        """Nothing is kept."""

    def pushed(self, node: str) -> None:
        """Nothing is kept."""


class Node(Protocol):
    """One Bitcoin node. Hashes in and out are display hex: 64 lower-case digits, most significant first."""

    @property
    def name(self) -> str:
        """How logs, errors and metrics call this node; never holds a password."""
        ...

    async def check(self) -> None:
        """Return when the node can serve; else raise NodeDown, NodeSyncing, NodeWrongChain or NodeError."""
        ...

    async def template(self, long_poll_id: str | None = None) -> Template:
        """What to mine now. With the id of an earlier template: waits until there is a better one (BIP22).

        Raises NodeError. A long poll may take hours on a quiet chain; do not put a timer on it.
        """
        ...

    async def tip(self) -> str:
        """The hash of the best block. Raises NodeError."""
        ...

    def tips(self) -> AsyncIterator[str]:
        """Hashes of new best blocks as the node pushes them, from the first `anext` on.

        A hint and not a log: pushes may be missed while the node or the network is away, and it reconnects by
        itself. Never ends, except at once when no push channel is configured. Raises NodeError.
        """
        ...

    async def submit(self, block: bytes) -> str | None:
        """Give the node a whole block (with witness). None when it has it, else its reject word (BIP22).

        None also covers "had it already" and "stored, but not on the best chain": both are an answer, so the
        block need not be sent again; `confirmations` tells what became of it.
        Raises NodeError when there was no verdict: send the block again.
        """
        ...

    async def confirmations(self, block_hash: str) -> int | None:
        """1 for the best block and more below it, -1 off the main chain, None unknown. Raises NodeError."""
        ...

    async def header(self, block_hash: str) -> TipHeader | None:
        """What a block of the best chain says of itself; None for any other block. Raises NodeError."""
        ...

    async def block_at(self, height: int) -> ChainBlock:
        """The block of the best chain at a height from 0 up to the tip's. Raises NodeError."""
        ...

    async def earned(self, block_hash: str) -> Earned:
        """Subsidy and transaction fees of a block that the node has whole. Raises NodeError."""
        ...

    async def propose(self, block: bytes) -> str | None:
        """What the node would object to in a block without proof of work (BIP23); None when to nothing.

        A word that starts with `NO_VERDICT` is no verdict. Raises NodeError.
        """
        ...

    async def prefer(self, block_hash: str) -> None:
        """Treat a block that the node has as if it had come before others of the same work.

        A node builds on the block it saw first; a pool wants to build on its own. Raises NodeError.
        """
        ...

    async def height(self) -> int:
        """The height of the best block; the genesis block is 0. Raises NodeError."""
        ...

    async def close(self) -> None:
        """Let go of connections and files; the node itself goes on."""
        ...


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Transaction(msgspec.Struct):
    data: str
    txid: str
    fee: _Count


class _BlockTemplate(msgspec.Struct):
    version: int
    previousblockhash: str
    bits: str
    target: str
    height: Annotated[int, msgspec.Meta(ge=1)]
    coinbasevalue: _Count
    curtime: _Count
    mintime: _Count
    longpollid: str
    transactions: list[_Transaction]
    rules: list[str] = []
    default_witness_commitment: str = ""


def parse_template(result: Mapping[str, Any]) -> Template:
    """The result of `getblocktemplate` as a Template; raises NodeError that names the field at fault.

    The version comes as given: the bits that miners may roll (BIP320) are the job's business.
    """
    try:
        raw = msgspec.convert(dict(result), _BlockTemplate)
    except msgspec.ValidationError as error:
        raise NodeError(f"unusable block template: {error}; is the node a current one?") from None
    for rule in raw.rules:
        if rule.startswith("!") and rule[1:] not in UNDERSTOOD_RULES:
            raise NodeError(f"the block template demands the unknown rule {rule[1:]!r}: update dmpool")
    fees = sum(transaction.fee for transaction in raw.transactions)
    if fees > raw.coinbasevalue:
        raise NodeError(f"unusable block template: fees {fees} exceed coinbasevalue {raw.coinbasevalue}")
    return Template(
        height=raw.height,
        version=raw.version,
        previous_block=_hex("previousblockhash", raw.previousblockhash, 32)[::-1],
        bits=int.from_bytes(_hex("bits", raw.bits, 4), "big"),
        target=int.from_bytes(_hex("target", raw.target, 32), "big"),
        coinbase_value=raw.coinbasevalue,
        fees=fees,
        current_time=raw.curtime,
        min_time=raw.mintime,
        transactions=tuple(_hex("transactions.data", one.data) for one in raw.transactions),
        txids=b"".join(_hex("transactions.txid", one.txid, 32)[::-1] for one in raw.transactions),
        witness_commitment=_hex("default_witness_commitment", raw.default_witness_commitment),
        long_poll_id=raw.longpollid,
    )


class _Header(msgspec.Struct):
    hash: str
    confirmations: int
    height: _Count
    bits: str
    time: _Count
    mediantime: _Count
    previousblockhash: str = ""


def parse_header(result: Mapping[str, Any]) -> TipHeader | None:
    """The result of `getblockheader`; None when the block is not in the best chain.

    Raises NodeError that names the field at fault.
    """
    raw, bits = _read_header(result)
    if raw.confirmations < 1:
        return None
    return TipHeader(raw.hash, raw.previousblockhash, raw.height, bits, raw.mediantime)


def parse_block_at(result: Mapping[str, Any]) -> ChainBlock:
    """The result of `getblockheader` for a block of the best chain; raises NodeError that names the field."""
    raw, bits = _read_header(result)
    return ChainBlock(raw.hash, raw.height, raw.time, raw.mediantime, work_of(target_of(bits)))


def _read_header(result: Mapping[str, Any]) -> tuple[_Header, int]:
    try:
        raw = msgspec.convert(result, _Header)
        bits = int.from_bytes(bytes.fromhex(raw.bits), "big")
    except (ValueError, msgspec.ValidationError) as error:
        raise NodeError(f"unusable block header: {error}; is the node a current one?") from None
    return raw, bits


def target_of(bits: int) -> int:
    """The target that a header's compact bits stand for; 0 for what no block has, negative or too large.

    Source: arith_uint256::SetCompact of Bitcoin Core.
    """
    exponent, mantissa = bits >> 24, bits & 0x7F_FFFF
    target = mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)
    return 0 if bits & 0x80_0000 or target >= 1 << 256 else target


class _Stats(msgspec.Struct):
    subsidy: _Count
    totalfee: _Count


def parse_earned(result: Mapping[str, Any]) -> Earned:
    """The result of `getblockstats`; raises NodeError that names the field at fault."""
    try:
        raw = msgspec.convert(result, _Stats)
    except msgspec.ValidationError as error:
        raise NodeError(f"unusable block statistics: {error}; is the node a current one?") from None
    return Earned(raw.subsidy, raw.totalfee)


def _hex(field: str, text: str, size: int | None = None) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise NodeError(f"unusable block template: {field} is not hex: {text[:80]!r}") from None
    if size is not None and len(value) != size:
        raise NodeError(f"unusable block template: {field} is not {size} bytes: {text[:80]!r}")
    return value
