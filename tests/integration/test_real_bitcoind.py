"""What only a real bitcoind can show: its chains, its start, its restart, its cookie, its mempool."""

import asyncio
import tempfile
from pathlib import Path

import pytest
import uvloop
from bitcoin.core import (
    CBlock,
    CMutableTransaction,
    CMutableTxIn,
    CMutableTxOut,
    COutPoint,
)
from bitcoin.core.script import OP_TRUE, CScript

from pool.bitcoind import Bitcoind
from pool.node import NodeDown, NodeError, NodeSyncing, NodeWrongChain
from tests.integration.bitcoind_process import BitcoindProcess, bitcoind_or_skip, running_bitcoind
from tests.integration.solving import block_hash, solve, transaction_ids

ANYONE_CAN_SPEND = "raw(51)#8lvh9jxk"


async def test_a_node_on_another_chain_is_refused() -> None:
    async with running_bitcoind("regtest") as process:
        client = process.client(chain="signet")
        with pytest.raises(NodeWrongChain, match="'regtest'"):
            await client.check()
        await client.close()


async def test_a_wrong_password_is_refused() -> None:
    async with running_bitcoind() as process:
        client = Bitcoind(process.bare_url.replace("//", "//dmpool:guess@"), "regtest")
        with pytest.raises(NodeDown, match="rpcauth"):
            await client.check()
        await client.close()


async def test_the_cookie_of_each_start_is_used() -> None:
    async with running_bitcoind(credentials=False) as process:
        client = Bitcoind(process.bare_url, "regtest", cookie_file=process.cookie_file)
        await client.check()
        first = process.cookie_file.read_text()
        process.stop()
        with pytest.raises(NodeDown):
            await client.check()
        await process.start(credentials=False)
        assert process.cookie_file.read_text() != first
        await client.check()
        await client.close()


async def test_from_the_first_instant_a_start_is_down_or_syncing_then_healthy() -> None:
    with tempfile.TemporaryDirectory(prefix="dmpool-bitcoind-") as directory:
        process = BitcoindProcess(bitcoind_or_skip(), Path(directory), "regtest")
        client = process.client()
        process.launch()
        try:
            states = await states_until_healthy(client)
        finally:
            process.stop()
            await client.close()
    assert states[0] is NodeDown
    assert set(states) <= {NodeDown, NodeSyncing}


async def states_until_healthy(client: Bitcoind) -> list[type[NodeError]]:
    states: list[type[NodeError]] = []
    async with asyncio.timeout(60):
        while True:
            try:
                await client.check()
            except NodeError as error:
                states.append(type(error))
                await asyncio.sleep(0.005)
            else:
                return states


async def test_a_header_without_its_block_is_syncing() -> None:
    async with running_bitcoind("regtest") as process:
        client = process.client()
        await client.check()
        block = solve(await client.template())
        await process.rpc("submitheader", block[:80].hex())
        with pytest.raises(NodeSyncing, match="0 of 1 blocks"):
            await client.check()
        assert await client.confirmations(block_hash(block)) == -1
        await client.submit(block)
        await client.check()
        await client.close()


async def test_a_tip_of_another_miner_wakes_the_long_poll_and_zmq() -> None:
    async with running_bitcoind() as process:
        client = process.client()
        template = await client.template()
        poll = asyncio.ensure_future(client.template(template.long_poll_id))
        push = asyncio.ensure_future(anext(client.tips()))
        async with asyncio.timeout(60):
            mined: list[object] = []
            while not push.done():
                mined += await generate(process, 1)
                await asyncio.wait([push], timeout=0.2)
            assert (await poll).height >= template.height + 1
        assert push.result() in mined
        assert client.last_push_at is not None
        await client.close()


async def generate(process: BitcoindProcess, count: int) -> list[object]:
    hashes = await process.rpc("generatetodescriptor", count, ANYONE_CAN_SPEND)
    assert isinstance(hashes, list)
    return hashes


async def test_a_template_with_transactions_and_fees_is_mined() -> None:
    async with running_bitcoind(options=["-acceptnonstdtxn=1"]) as process:
        client = process.client()
        hashes = await generate(process, 103)
        for number in range(3):
            raw = await process.rpc("getblock", hashes[number], 0)
            coin = CBlock.deserialize(bytes.fromhex(str(raw))).vtx[0]
            spend = CMutableTransaction(
                [CMutableTxIn(COutPoint(coin.GetTxid(), 0))],
                [CMutableTxOut(coin.vout[0].nValue - 1000 - number, CScript([bytes(20), OP_TRUE]))],
                nVersion=2,
            )
            await process.rpc("sendrawtransaction", spend.serialize().hex(), 0)
        template = await client.template()
        assert len(template.transactions) == 3
        assert template.fees == 3003
        assert template.coinbase_value == 50 * 100_000_000 + 3003
        assert template.txids == transaction_ids(template)
        block = solve(template)
        assert await client.submit(block) is None
        assert await client.tip() == block_hash(block)
        await client.close()


async def test_the_client_recovers_by_itself_when_the_node_restarts() -> None:
    async with running_bitcoind() as process:
        client = process.client()
        tips = client.tips()
        push = asyncio.ensure_future(anext(tips))
        template = await client.template()
        poll = asyncio.ensure_future(client.template(template.long_poll_id))
        await asyncio.wait([poll], timeout=0.2)
        block = solve(template)
        process.stop()
        await asyncio.wait([poll], timeout=60)
        assert poll.done(), "a node that goes away ends the long poll, with an error or a last template"
        poll.exception()
        with pytest.raises(NodeDown):
            await client.submit(block)
        await process.start()
        await client.check()
        assert await client.submit(block) is None
        async with asyncio.timeout(60):
            while not push.done():  # the old subscription finds the new process
                await generate(process, 1)
                await asyncio.wait([push], timeout=0.2)
        await client.close()


def test_the_client_works_on_uvloop() -> None:
    async def mine() -> None:
        async with running_bitcoind() as process:
            client = process.client()
            push = asyncio.ensure_future(anext(client.tips()))
            async with asyncio.timeout(60):
                while not push.done():
                    assert await client.submit(solve(await client.template())) is None
                    await asyncio.wait([push], timeout=0.2)
            assert await client.confirmations(push.result()) is not None
            await client.close()

    bitcoind_or_skip()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(mine())
