"""A real bitcoind (Bitcoin Core or its kin) behind the pool's `Node` interface: JSON-RPC and ZMQ.

It translates and nothing more: no retries, no choice between nodes, no caching. Whoever calls decides when to
ask again. Each call has its own connection when others are busy, so a block never waits behind a long poll.

The rule: the password is in the Authorization header and nowhere else: not in `name`, an error, or a log.

A long poll has no time limit, on purpose: the node keeps a worker thread for each one until its tip changes,
also when the client has gone. TCP keep-alive finds the dead host instead.

Sources: Bitcoin Core's RPC documentation and `src/rpc/protocol.h` (error codes), doc/zmq.md (hashblock).
"""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

import aiohttp
import msgspec
import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from pool.node import (
    ChainBlock,
    Earned,
    NodeDown,
    NodeError,
    NodeMeter,
    NodeSyncing,
    NodeWrongChain,
    TipHeader,
    Unmeasured,
    parse_block_at,
    parse_earned,
    parse_header,
    parse_template,
)
from pool.telemetry.concealed import conceal
from stratum.job import Template

_CONNECT_SECONDS = 5
_CALL = aiohttp.ClientTimeout(total=30, sock_connect=_CONNECT_SECONDS)
_SUBMIT = aiohttp.ClientTimeout(total=120, sock_connect=_CONNECT_SECONDS)
_LONG_POLL = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
_ZMQ_HEARTBEAT_MS = 10_000

_NOT_KEPT = -1
_NOT_FOUND = -5
_NOT_CONNECTED = -9
_INITIAL_DOWNLOAD = -10
_BAD_BLOCK = -22
_WARMING_UP = -28
_ANSWERS = frozenset({_NOT_FOUND, _BAD_BLOCK})
"""Errors that answer the question: there is no such block, and why a block is refused."""
_PROPOSAL = "getblocktemplate_proposal"
"""How a proposal is measured: it takes longer than a template."""
_NOT_READY = frozenset({_NOT_CONNECTED, _INITIAL_DOWNLOAD, _WARMING_UP})

_HAVE_BLOCK = frozenset({"duplicate", "inconclusive", "duplicate-inconclusive"})
_TIP_IS_RECENT = frozenset({"main", "testnet4"})
"""Chains that the world mines: an old tip there means that the node is catching up."""


class RpcError(NodeError):
    """The node answered a call with an error of its own; `code` is that of Bitcoin Core's RPCErrorCode."""

    def __init__(self, text: str, code: int, message: str) -> None:
        super().__init__(text)
        self.code = code
        self.message = message


class _ErrorBody(msgspec.Struct):
    code: int
    message: str


class _Reply(msgspec.Struct):
    result: Any = None
    error: _ErrorBody | None = None


_plainly = msgspec.json.Decoder(_Reply)
_exactly = msgspec.json.Decoder(_Reply, float_hook=Decimal)
"""Amounts of bitcoin are written with a point: read as they stand, never as floats."""


class _ChainInfo(msgspec.Struct):
    chain: str
    blocks: int
    headers: int
    initialblockdownload: bool
    verificationprogress: float


class Bitcoind:
    """One bitcoind: `Node` over JSON-RPC, with `tips()` over its ZMQ `hashblock` when an address is given.

    `url` is http://user:password@host:port, or without the credentials when `cookie_file` names the node's
    `.cookie`. `chain` is main, testnet4, signet or regtest. Raises ValueError for a url that cannot be used.
    """

    def __init__(
        self,
        url: str,
        chain: str,
        cookie_file: Path | None = None,
        zmq_url: str | None = None,
        meter: NodeMeter | None = None,
    ) -> None:
        parts = _split(url)
        self.name = f"bitcoind {parts.netloc.rpartition('@')[2]}"
        self.last_push_at: float | None = None
        """`time.monotonic()` of the last ZMQ message."""
        self._meter = meter or Unmeasured()
        self._chain = chain
        self._rules = ["segwit", "signet"] if chain == "signet" else ["segwit"]
        self._endpoint = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
        self._zmq_url = zmq_url
        self._session: aiohttp.ClientSession | None = None
        self._credentials: str | Path
        if cookie_file is not None:
            self._credentials = cookie_file
        elif parts.username and parts.password is not None:
            self._credentials = f"{unquote(parts.username)}:{unquote(parts.password)}"
        else:
            raise ValueError(f"{self.name}: give user:password in the url, or a cookie_file")

    async def check(self) -> None:
        result = await self._call("getblockchaininfo")
        try:
            info = msgspec.convert(result, _ChainInfo)
        except msgspec.ValidationError as error:
            raise NodeDown(
                f"{self.name} answered getblockchaininfo like no bitcoind ({error}); is this its RPC port?"
            ) from None
        if info.chain != self._chain:
            raise NodeWrongChain(
                f"{self.name} is on the chain {info.chain!r}, the pool on {self._chain!r}: "
                f"correct pool.chain, or the url of this node"
            )
        # On a private signet or regtest the tip may be years old for good: there only missing blocks count.
        if info.initialblockdownload and (self._chain in _TIP_IS_RECENT or info.blocks < info.headers):
            raise NodeSyncing(
                f"{self.name} is catching up with its chain: {info.blocks} of {info.headers} blocks, "
                f"{info.verificationprogress:.1%} verified; wait for it"
            )

    async def template(self, long_poll_id: str | None = None) -> Template:
        request: dict[str, object] = {"rules": self._rules}
        if long_poll_id is not None:
            request["longpollid"] = long_poll_id
        result = await self._call(
            "getblocktemplate", request, limit=_CALL if long_poll_id is None else _LONG_POLL
        )
        try:
            return parse_template(result)
        except NodeError as error:
            raise NodeError(f"{self.name}: {error}") from None

    async def tip(self) -> str:
        return str(await self._call("getbestblockhash"))

    async def tips(self) -> AsyncIterator[str]:
        if self._zmq_url is None:
            return
        context = zmq.asyncio.Context()
        subscriber = context.socket(zmq.SUB)
        self._meter.push_channel(self.name, connected=False)
        # Before the connection is made: a handshake that is over by then is never told.
        events = subscriber.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        watching = asyncio.create_task(self._watch_channel(events))
        try:
            # A publisher that vanished without a word is noticed by the heartbeat and connected to again.
            subscriber.setsockopt(zmq.HEARTBEAT_IVL, _ZMQ_HEARTBEAT_MS)
            subscriber.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * _ZMQ_HEARTBEAT_MS)
            subscriber.setsockopt(zmq.SUBSCRIBE, b"hashblock")
            try:
                subscriber.connect(self._zmq_url)
            except zmq.ZMQError as error:
                raise NodeError(
                    f"{self.name}: cannot use the zmq address {self._zmq_url!r} ({error}): "
                    f"write it as tcp://127.0.0.1:28332, the zmqpubhashblock of bitcoin.conf"
                ) from error
            while True:
                topic, block_hash, *_ = await subscriber.recv_multipart()
                if topic == b"hashblock" and len(block_hash) == 32:
                    self.last_push_at = time.monotonic()
                    self._meter.pushed(self.name)
                    yield block_hash.hex()
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            self._meter.push_channel(self.name, connected=False)
            context.destroy(linger=0)

    async def _watch_channel(self, events: zmq.asyncio.Socket) -> None:
        """Tell whether the channel is there, by what libzmq says of its connection."""
        while True:
            event = await recv_monitor_message(events)
            connected = event["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._meter.push_channel(self.name, connected=connected)

    async def submit(self, block: bytes) -> str | None:
        try:
            verdict = await self._call("submitblock", block.hex(), limit=_SUBMIT)
        except RpcError as error:
            if error.code == _BAD_BLOCK:
                return error.message
            raise
        return None if verdict is None or verdict in _HAVE_BLOCK else str(verdict)

    async def confirmations(self, block_hash: str) -> int | None:
        try:
            header = await self._call("getblockheader", block_hash)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        return int(header["confirmations"])

    async def header(self, block_hash: str) -> TipHeader | None:
        try:
            result = await self._call("getblockheader", block_hash)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        try:
            return parse_header(result)
        except NodeError as error:
            raise NodeError(f"{self.name}: {error}") from None

    async def block_at(self, height: int) -> ChainBlock:
        result = await self._call("getblockheader", await self._call("getblockhash", height))
        try:
            return parse_block_at(result)
        except NodeError as error:
            raise NodeError(f"{self.name}: {error}") from None

    async def earned(self, block_hash: str) -> Earned:
        try:
            return parse_earned(await self._call("getblockstats", block_hash, ["subsidy", "totalfee"]))
        except RpcError as error:
            if error.code != _NOT_KEPT:
                raise
            raise NodeError(
                f"{error}; a pruned node must keep the blocks of some days: make prune of bitcoin.conf "
                f"larger, or name a node that has block {block_hash}"
            ) from None

    async def propose(self, block: bytes) -> str | None:
        request = {"mode": "proposal", "data": block.hex(), "rules": self._rules}
        try:
            verdict = await self._call("getblocktemplate", request, limit=_SUBMIT, told=_PROPOSAL)
        except RpcError as error:
            if error.code == _BAD_BLOCK:
                return error.message
            raise
        return None if verdict is None else str(verdict)

    async def prefer(self, block_hash: str) -> None:
        await self._call("preciousblock", block_hash)

    async def height(self) -> int:
        return int(await self._call("getblockcount"))

    async def call(self, method: str, *params: object, wallet: str | None = None) -> Any:
        """A call that is not in `Node`, of the node or of one of its wallets; raises NodeError.

        What has a point comes as Decimal, so that an amount of bitcoin is exact.
        """
        request = msgspec.json.encode({"jsonrpc": "1.0", "id": 0, "method": method, "params": params})
        path = "" if wallet is None else f"/wallet/{quote(wallet, safe='')}"
        with self._measured(method):
            status, body = await self._post(method, request, _SUBMIT, path)
            return self._result(method, status, body, _exactly)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(
        self, method: str, *params: object, limit: aiohttp.ClientTimeout = _CALL, told: str | None = None
    ) -> Any:
        request = msgspec.json.encode({"jsonrpc": "1.0", "id": 0, "method": method, "params": params})
        with nullcontext() if limit is _LONG_POLL else self._measured(told or method):
            status, body = await self._post(method, request, limit)
            return self._result(method, status, body)

    @contextmanager
    def _measured(self, method: str) -> Iterator[None]:
        """Tell the meter how the call inside ends; one that is cancelled tells nothing."""
        started = time.perf_counter()
        try:
            yield
        except NodeError as error:
            answers = isinstance(error, RpcError) and error.code in _ANSWERS
            self._meter.called(self.name, method, time.perf_counter() - started if answers else None)
            raise
        self._meter.called(self.name, method, time.perf_counter() - started)

    async def _post(
        self, method: str, request: bytes, limit: aiohttp.ClientTimeout, path: str = ""
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=_keepalive_socket)
            )
        headers = {"Authorization": self._authorization(), "Content-Type": "application/json"}
        try:
            async with self._session.post(
                self._endpoint + path, data=request, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                return response.status, await response.read()
        except TimeoutError as error:
            raise NodeDown(
                f"{self.name} does not answer {method} within {limit.total or _CONNECT_SECONDS} s: "
                f"is the host reachable, and the node not overloaded?"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise NodeDown(
                f"{self.name} cannot be reached ({error}): start it, or correct the url of this node"
            ) from error

    def _authorization(self) -> str:
        if isinstance(self._credentials, str):
            return _basic(self._credentials)
        try:  # read for every call: the node writes a new cookie at every start
            return _basic(self._credentials.read_text().strip())
        except OSError as error:
            raise NodeDown(
                f"{self.name}: cannot read the cookie {self._credentials} ({error.strerror}): "
                f"is the node running, and may this user read the file?"
            ) from None

    def _result(
        self, method: str, status: int, body: bytes, decoder: msgspec.json.Decoder[_Reply] = _plainly
    ) -> Any:
        if status in (401, 403):
            if status == 403:
                remedy = "allow this host with rpcallowip, and the method with rpcwhitelist, in bitcoin.conf"
            elif isinstance(self._credentials, str):
                remedy = "compare user and password with rpcuser/rpcpassword or rpcauth of bitcoin.conf"
            else:
                remedy = f"is {self._credentials} the cookie of this node?"
            raise NodeDown(f"{self.name} refuses {method} (HTTP {status}): {remedy}")
        try:
            reply = decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NodeDown(
                f"{self.name} answered {method} with HTTP {status} and not JSON-RPC: {body[:80]!r}; "
                f"is this the RPC port of a bitcoind, and is rpcworkqueue large enough?"
            ) from None
        if reply.error is None:
            return reply.result
        code, message = reply.error.code, reply.error.message
        if code in _NOT_READY:
            raise NodeSyncing(
                f"{self.name} is not ready (code {code}: {message}); wait, or look at its peers"
            )
        raise RpcError(f"{self.name} answered {method} with code {code}: {message}", code, message)


def _split(url: str) -> SplitResult:
    # urllib's own error would quote a part of the password.
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            "the url of a node is http://user:password@host:port, with reserved characters of the password "
            "percent-encoded ('/' is %2F, '@' is %40, '#' is %23)"
        ) from None
    return parts


def _basic(credentials: str) -> str:
    conceal(credentials, credentials.partition(":")[2])
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def _keepalive_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    connection = socket.socket(family, kind, protocol)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection
