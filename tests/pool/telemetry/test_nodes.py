"""What is told of nodes: calls by method, pushes, heights, tips that differ, templates and clocks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest
import zmq
import zmq.asyncio
from aiohttp import web

from pool.bitcoind import Bitcoind
from pool.metrics import Metrics
from pool.node import NodeDown, NodeError, NodeSyncing
from pool.telemetry.node_meter import MeasuredNodes
from pool.telemetry.node_watch import NodeWatch
from tests.integration.free_port import free_port
from tests.pool.fakes import FakeNode, until
from tests.pool.test_bitcoind import failure, info, result, served
from tests.pool.test_node import answer, header
from tests.stratum.fakes import template


def read(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"dmpool_{name}", labels)


# Calls


async def test_calls_are_counted_by_method_and_a_long_poll_is_not() -> None:
    """A proposal goes by Bitcoin Core's name for a template, but is told apart: it takes longer."""

    def respond(request: web.Request, question: dict[str, Any]) -> web.Response:
        method, params = question["method"], question["params"]
        if method == "getblocktemplate" and "mode" in params[0]:
            return result(None)
        told = {"getblocktemplate": lambda: result(answer()), "getblockchaininfo": info}
        return told.get(method, lambda: result(7))()

    metrics = Metrics()
    async with served(respond) as node:
        node._meter = MeasuredNodes(metrics)
        await node.check()
        await node.template()
        await node.template("a long poll")
        await node.propose(b"\x00")
        await node.height()
        assert await node.call("getblockcount") == 7
    counted = {
        method: read(metrics, "node_rpc_seconds_count", node=node.name, method=method)
        for method in ("getblockchaininfo", "getblocktemplate", "getblocktemplate_proposal", "getblockcount")
    }
    assert counted == {
        "getblockchaininfo": 1,
        "getblocktemplate": 1,
        "getblocktemplate_proposal": 1,
        "getblockcount": 2,
    }
    errors = [read(metrics, "node_rpc_errors_total", node=node.name, method=method) for method in counted]
    assert errors == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("response", "errors", "answers"),
    [
        (lambda: failure(-5, "Block not found"), 0, 1),
        (lambda: failure(-28, "Loading block index"), 1, 0),
        (lambda: failure(-32603, "internal"), 1, 0),
        (lambda: web.Response(status=401), 1, 0),
        (lambda: web.Response(text="not JSON"), 1, 0),
        (lambda: result(header()), 0, 1),
    ],
    ids=["no such block", "starting", "its own error", "no entry", "no bitcoind", "good"],
)
async def test_an_error_is_what_brought_no_result(response: Any, errors: int, answers: int) -> None:
    """That a block is unknown is an answer to the question."""
    metrics = Metrics()
    async with served(lambda request, question: response()) as node:
        node._meter = MeasuredNodes(metrics)
        with suppress(NodeError):
            await node.confirmations("00" * 32)
    labels = {"node": node.name, "method": "getblockheader"}
    assert read(metrics, "node_rpc_errors_total", **labels) == errors
    assert (read(metrics, "node_rpc_seconds_count", **labels) or 0) == answers


async def test_a_node_that_is_away_counts_as_an_error_and_as_no_time() -> None:
    metrics = Metrics()
    node = Bitcoind(f"http://u:p@127.0.0.1:{free_port()}", "main", meter=MeasuredNodes(metrics))
    with pytest.raises(NodeDown):
        await node.height()
    await node.close()
    labels = {"node": node.name, "method": "getblockcount"}
    assert read(metrics, "node_rpc_errors_total", **labels) == 1
    assert read(metrics, "node_rpc_seconds_count", **labels) is None


# Pushes


async def test_the_push_channel_is_told_with_its_losses() -> None:
    """A real publisher that goes away and comes back."""
    address = f"tcp://127.0.0.1:{free_port()}"
    metrics = Metrics()
    node = Bitcoind("http://u:p@127.0.0.1:1", "main", zmq_url=address, meter=MeasuredNodes(metrics))
    heard: list[str] = []

    async def listen() -> None:
        async with aclosing(node.tips()) as tips:  # type: ignore[type-var]
            async for tip in tips:
                heard.append(tip)

    def told(name: str) -> float | None:
        list(metrics.registry.collect())
        return read(metrics, f"node_push_{name}", node=node.name)

    listening = asyncio.create_task(listen())
    await until(lambda: told("connected") == 0)
    assert told("age_seconds") is None
    for turn in range(2):
        context = zmq.asyncio.Context()
        publisher = context.socket(zmq.PUB)
        publisher.bind(address)
        await until(lambda: told("connected") == 1)
        pushed = len(heard)
        while len(heard) == pushed:
            await publisher.send_multipart([b"hashblock", bytes(32), b"\0\0\0\0"])
            await asyncio.sleep(0.01)
        assert told("reconnects_total") == turn
        publisher.close(linger=0)
        context.term()
        await until(lambda: told("connected") == 0)
    assert read(metrics, "node_pushes_total", node=node.name) == len(heard)
    age = told("age_seconds")
    assert age is not None
    assert 0 <= age < 60
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await node.close()


# Heights and tips


class Chain(FakeNode):
    """A fake node whose tip and height can be set."""

    async def tip(self) -> str:
        self.ask("tip")
        return self.best()

    async def height(self) -> int:
        self.ask("height")
        return self.height_now


class Syncing(Chain):
    """One that catches up: it has a height, and is of no use yet."""

    async def check(self) -> None:
        raise NodeSyncing("catches up")


class Watched:
    """Some nodes under a watch, and what is told of them."""

    def __init__(self, *nodes: FakeNode) -> None:
        self.nodes = nodes
        self.metrics = Metrics()
        self.failing: set[str] = set()
        self.watch = NodeWatch(nodes, self.metrics, lambda node: node.name in self.failing)

    async def look(self) -> None:
        for node in self.nodes:
            await self.watch.look(node)

    def __call__(self, name: str, **labels: str) -> float | None:
        return read(self.metrics, name, **labels)


async def test_tips_that_differ_are_told_until_they_agree() -> None:
    told = Watched(first := Chain("first"), second := Chain("second", height_now=100))
    await told.look()
    assert told("node_tips_diverged_seconds") == 0
    assert (told("node_height", node="first"), told("node_height", node="second")) == (100, 100)
    second.branch = 1
    await told.look()
    await asyncio.sleep(0.01)
    apart = told("node_tips_diverged_seconds")
    await told.look()
    later = told("node_tips_diverged_seconds")
    assert apart is not None
    assert later is not None
    assert 0 < apart < later, "a second look must not start the clock again"
    first.branch = 1
    await told.look()
    assert told("node_tips_diverged_seconds") == 0


async def test_a_node_that_catches_up_or_is_away_is_compared_with_nobody() -> None:
    told = Watched(Chain("good"), Syncing("syncing", height_now=50), away := Chain("away", height_now=7))
    away.fault = NodeDown("away")
    await told.look()
    assert told("node_tips_diverged_seconds") == 0
    assert [told("node_up", node=name) for name in ("good", "syncing", "away")] == [1, 0, 0]
    assert [told("node_height", node=name) for name in ("good", "syncing", "away")] == [100, 50, None]
    away.fault = None
    await told.look()
    assert told("node_up", node="away") == 1


async def test_a_node_that_gives_no_work_is_not_called_up_because_it_answers() -> None:
    told = Watched(Chain("first"))
    told.metrics.node_up.labels("first").set(0)
    told.failing.add("first")
    await told.look()
    assert told("node_up", node="first") == 0
    told.failing.clear()
    await told.look()
    assert told("node_up", node="first") == 1


async def test_a_slow_node_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pool.telemetry.node_watch.ASK_SECONDS", 0.001)

    class Stuck(Chain):
        async def height(self) -> int:
            await asyncio.Event().wait()
            return 0

    told = Watched(Stuck("stuck"), quick := Chain("quick"))
    watching = asyncio.create_task(told.watch.run())
    await until(lambda: told("node_height", node="quick") == 100)
    quick.height_now = 101
    await until(lambda: told("node_height", node="quick") == 101)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


# Clocks


def test_a_node_dates_its_templates_in_whole_seconds() -> None:
    metrics = Metrics()
    given = replace(template(), current_time=1000, min_time=900)
    metrics.tell_node_clock(given, 1003.5)
    assert read(metrics, "clock_offset_seconds", against="node") == 3.0


def test_a_template_that_its_chain_dates_tells_no_time() -> None:
    """On a test chain with many blocks a second the node's time runs ahead of every clock (BIP113)."""
    metrics = Metrics()
    metrics.tell_node_clock(replace(template(), current_time=9999, min_time=9999), 1000.0)
    assert read(metrics, "clock_offset_seconds", against="node") is None
