"""The RPC client against a server that misbehaves in every way a real one rarely does."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pool.bitcoind import Bitcoind
from pool.node import NodeDown, NodeError, NodeSyncing, NodeWrongChain
from tests.integration.free_port import free_port
from tests.pool.test_node import answer, header

SECRET = "s3cr3t"
Answer = Callable[[web.Request, dict[str, Any]], web.Response]


def result(value: Any) -> web.Response:
    return web.json_response({"result": value, "error": None, "id": 0})


def failure(code: int, message: str, status: int = 500) -> web.Response:
    return web.json_response(
        {"result": None, "error": {"code": code, "message": message}, "id": 0}, status=status
    )


def info(**changes: Any) -> web.Response:
    chain = {
        "chain": "main",
        "blocks": 10,
        "headers": 10,
        "initialblockdownload": False,
        "verificationprogress": 0.5,
    }
    return result(chain | changes)


@contextlib.asynccontextmanager
async def served(
    respond: Answer, chain: str = "main", cookie_file: Path | None = None
) -> AsyncIterator[Bitcoind]:
    async def handle(request: web.Request) -> web.Response:
        return respond(request, await request.json())

    application = web.Application(client_max_size=1 << 26)
    application.router.add_post("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    login = "" if cookie_file else f"pool:{SECRET}@"
    node = Bitcoind(f"http://{login}127.0.0.1:{port}", chain, cookie_file=cookie_file)
    try:
        yield node
    finally:
        await node.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("response", "error", "named"),
    [
        (lambda: web.Response(status=401), NodeDown, "rpcauth"),
        (lambda: web.Response(status=403), NodeDown, "rpcallowip"),
        (lambda: web.Response(status=503, text="Work queue depth exceeded"), NodeDown, "rpcworkqueue"),
        (lambda: web.Response(text="<html>"), NodeDown, "RPC port"),
        (lambda: web.json_response([1]), NodeDown, "RPC port"),
        (lambda: web.Response(body=b'{"result": "\xff"}'), NodeDown, "RPC port"),
        (lambda: result(None), NodeDown, "like no bitcoind"),
        (lambda: result({"chain": "main"}), NodeDown, "like no bitcoind"),
        (lambda: failure(-28, "Loading block index…"), NodeSyncing, "Loading block index"),
        (lambda: failure(-10, "is in initial sync"), NodeSyncing, "initial sync"),
        (lambda: failure(-9, "is not connected!"), NodeSyncing, "peers"),
        (lambda: failure(-32601, "Method not found", 404), NodeError, "Method not found"),
        (lambda: info(chain="test"), NodeWrongChain, "'test'"),
        (lambda: info(initialblockdownload=True), NodeSyncing, "10 of 10 blocks"),
    ],
)
async def test_check_says_what_is_wrong_without_the_password(
    response: Callable[[], web.Response], error: type[NodeError], named: str
) -> None:
    async with served(lambda _request, _call: response()) as node:
        with pytest.raises(NodeError) as raised:
            await node.check()
        assert type(raised.value) is error or (error is NodeError)
        assert named in str(raised.value)
        assert node.name in str(raised.value)
        assert SECRET not in f"{raised.value!r} {raised.value.__cause__!r} {node.name}"


@pytest.mark.parametrize(
    ("chain", "blocks", "headers", "syncing"),
    [
        ("main", 10, 10, True),
        ("testnet4", 10, 10, True),
        ("signet", 10, 10, False),
        ("regtest", 0, 0, False),
        ("signet", 9, 10, True),
        ("regtest", 9, 10, True),
    ],
)
async def test_the_flag_of_initial_download_counts_by_chain(
    chain: str, blocks: int, headers: int, syncing: bool
) -> None:
    response = {"chain": chain, "blocks": blocks, "headers": headers, "initialblockdownload": True}
    async with served(lambda _request, _call: info(**response), chain) as node:
        if syncing:
            with pytest.raises(NodeSyncing, match=f"{blocks} of {headers}"):
                await node.check()
        else:
            await node.check()


async def test_the_credentials_are_decoded_from_the_url() -> None:
    seen: list[str] = []

    def respond(request: web.Request, _call: dict[str, Any]) -> web.Response:
        seen.append(request.headers["Authorization"])
        return result(7)

    async with served(respond) as node:
        quoted = Bitcoind(f"http://a%3Ab:p%40s%2F%23é@{node.name.split()[1]}", "main")
        assert await quoted.height() == 7
        await quoted.close()
    assert base64.b64decode(seen[0].removeprefix("Basic ")).decode() == "a:b:p@s/#é"


async def test_a_cookie_that_the_node_rewrote_is_read_again(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    current = "__cookie__:first"

    def respond(request: web.Request, _call: dict[str, Any]) -> web.Response:
        expected = "Basic " + base64.b64encode(current.encode()).decode()
        return result(1) if request.headers["Authorization"] == expected else web.Response(status=401)

    async with served(respond, cookie_file=cookie) as node:
        with pytest.raises(NodeDown, match="cookie"):
            await node.height()
        cookie.write_text(current)
        assert await node.height() == 1
        current = "__cookie__:second"
        with pytest.raises(NodeDown, match=str(cookie)):
            await node.height()
        cookie.write_text(current)
        assert await node.height() == 1


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (None, None),
        ("duplicate", None),
        ("inconclusive", None),
        ("duplicate-inconclusive", None),
        ("duplicate-invalid", "duplicate-invalid"),
        ("bad-cb-amount", "bad-cb-amount"),
        ("rejected", "rejected"),
    ],
)
async def test_verdicts_on_a_block(verdict: str | None, word: str | None) -> None:
    calls: list[dict[str, Any]] = []

    def respond(_request: web.Request, call: dict[str, Any]) -> web.Response:
        calls.append(call)
        return result(verdict)

    async with served(respond) as node:
        assert await node.submit(b"\x01\x02") == word
    assert (calls[0]["method"], calls[0]["params"]) == ("submitblock", ["0102"])


@pytest.mark.parametrize("code", [-28, -1, -32603])
async def test_no_verdict_on_a_block_is_an_error(code: int) -> None:
    """I9: only a verdict ends the sending of a block."""
    async with served(lambda _request, _call: failure(code, "later")) as node:
        with pytest.raises(NodeError, match="later"):
            await node.submit(b"\x01")


async def test_header() -> None:
    answers = [
        result(header()),
        result(header(confirmations=-1)),
        failure(-5, "Block not found"),
        result({"hash": 1}),
        failure(-28, "Loading"),
    ]
    calls: list[dict[str, Any]] = []

    def respond(_request: web.Request, call: dict[str, Any]) -> web.Response:
        calls.append(call)
        return answers[len(calls) - 1]

    async with served(respond) as node:
        found = await node.header("ab" * 32)
        assert found is not None
        assert found.height == 7
        assert await node.header("ab" * 32) is None
        assert await node.header("ab" * 32) is None
        with pytest.raises(NodeError, match=rf"{node.name}.*unusable block header"):
            await node.header("ab" * 32)
        with pytest.raises(NodeSyncing):
            await node.header("ab" * 32)
    assert (calls[0]["method"], calls[0]["params"]) == ("getblockheader", ["ab" * 32])


async def test_a_proposal_and_its_verdicts() -> None:
    answers = [
        result(None),
        result("bad-cb-height"),
        failure(-22, "Block decode failed"),
        failure(-1, "later"),
    ]
    calls: list[dict[str, Any]] = []

    def respond(_request: web.Request, call: dict[str, Any]) -> web.Response:
        calls.append(call)
        return answers[len(calls) - 1]

    async with served(respond) as node:
        assert await node.propose(b"\x01\x02") is None
        assert await node.propose(b"\x01\x02") == "bad-cb-height"
        assert await node.propose(b"\x01\x02") == "Block decode failed"
        with pytest.raises(NodeError, match="later"):
            await node.propose(b"\x01\x02")
    assert calls[0]["method"] == "getblocktemplate"
    assert calls[0]["params"] == [{"mode": "proposal", "data": "0102", "rules": ["segwit"]}]


async def test_prefer() -> None:
    calls: list[dict[str, Any]] = []

    def respond(_request: web.Request, call: dict[str, Any]) -> web.Response:
        calls.append(call)
        return result(None)

    async with served(respond) as node:
        await node.prefer("ab" * 32)
    assert (calls[0]["method"], calls[0]["params"]) == ("preciousblock", ["ab" * 32])


@pytest.mark.parametrize(("chain", "rules"), [("main", ["segwit"]), ("signet", ["segwit", "signet"])])
async def test_template_names_its_rules_and_the_long_poll(chain: str, rules: list[str]) -> None:
    calls: list[dict[str, Any]] = []

    def respond(_request: web.Request, call: dict[str, Any]) -> web.Response:
        calls.append(call["params"][0])
        return result(answer())

    async with served(respond, chain) as node:
        template = await node.template()
        await node.template(template.long_poll_id)
    assert calls == [{"rules": rules}, {"rules": rules, "longpollid": template.long_poll_id}]


async def test_a_template_of_many_megabytes_is_read() -> None:
    transaction = {"data": "ab" * 5_000, "txid": "cd" * 32, "fee": 1}
    body = json.dumps({"result": answer(transactions=[transaction] * 1_500), "error": None}).encode()
    assert len(body) > 14_000_000
    async with served(lambda _request, _call: web.Response(body=body)) as node:
        template = await node.template()
    assert (len(template.transactions), template.fees) == (1_500, 1_500)


async def test_a_bad_template_names_the_node_and_the_field() -> None:
    async with served(lambda _request, _call: result(answer(target=None))) as node:
        with pytest.raises(NodeError, match=rf"{node.name}.*`target`"):
            await node.template()


async def test_nobody_listens() -> None:
    node = Bitcoind(f"http://pool:{SECRET}@127.0.0.1:{free_port()}", "main")
    with pytest.raises(NodeDown, match="cannot be reached") as raised:
        await node.check()
    assert SECRET not in repr(raised.value.__cause__) + str(raised.value)
    await node.close()


async def test_a_connection_that_breaks_in_the_middle() -> None:
    async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
        writer.close()

    port = free_port()
    server = await asyncio.start_server(slam, "127.0.0.1", port)
    node = Bitcoind(f"http://pool:{SECRET}@127.0.0.1:{port}", "main")
    with pytest.raises(NodeDown):
        await node.submit(b"\x01")
    await node.close()
    server.close()


@pytest.mark.parametrize(
    "url",
    [
        f"http://pool:{SECRET}/1@127.0.0.1:8332",
        f"http://pool:{SECRET}#1@127.0.0.1:8332",
        f"ftp://pool:{SECRET}@127.0.0.1:8332",
        f"http://pool:{SECRET}@127.0.0.1:port",
        f"http://pool:{SECRET}@127.0.0.1",
        f"pool:{SECRET}@127.0.0.1:8332",
    ],
)
def test_an_unusable_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as raised:
        Bitcoind(url, "main")
    assert SECRET not in repr(raised.value)


def test_a_url_without_credentials_needs_a_cookie() -> None:
    with pytest.raises(ValueError, match="cookie_file"):
        Bitcoind("http://127.0.0.1:8332", "main")


async def test_tips_without_zmq_end_at_once_and_a_bad_address_is_named() -> None:
    silent = Bitcoind("http://a:b@127.0.0.1:8332", "main")
    assert [tip async for tip in silent.tips()] == []
    wrong = Bitcoind("http://a:b@127.0.0.1:8332", "main", zmq_url="carrier://pigeon")
    with pytest.raises(NodeError, match="carrier://pigeon"):
        await anext(wrong.tips())
