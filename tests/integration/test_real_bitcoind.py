"""What only a real bitcoind can show: its chains, its start, its restart, its cookie, its mempool."""

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
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

import native
from pool.bitcoind import Bitcoind
from pool.empty_template import empty_template
from pool.metrics import Metrics
from pool.node import NodeDown, NodeError, NodeSyncing, NodeWrongChain
from pool.proposals import unsolved_block
from pool.work import Work
from stratum.job import CoinbaseTerms, Job, JobBook, Template
from tests.integration.bitcoind_process import BitcoindProcess, bitcoind_or_skip, running_bitcoind
from tests.integration.solving import block_hash, solve, transaction_ids
from tests.pool.fakes import until
from tests.stratum.fakes import MASK, TERMS, WireJob, read_notify

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


@pytest.mark.parametrize("height", [1, 144, 149, 150, 151, 299, 300])
async def test_an_empty_job_is_a_valid_block_also_where_the_subsidy_halves(height: int) -> None:
    """The pool's own job, from a tip's header alone; and one satoshi more would be too many."""
    async with running_bitcoind() as process:
        client = process.client()
        if height > 2:
            await generate(process, height - 2)
        mined = await client.template()
        if height > 1:
            await client.submit(solve(mined))
            header = await client.header(await client.tip())
            assert header is not None
            empty = empty_template("regtest", header, mined, int(time.time()))
            assert empty is not None
        else:
            empty = mined
        greedy = dataclasses.replace(empty, coinbase_value=empty.coinbase_value + 1)
        assert await client.submit(solved_by_job(greedy)) == "bad-cb-amount"
        assert await client.submit(solved_by_job(empty)) is None
        assert await client.height() == height
        await client.close()


def solved_by_job(template: Template) -> bytes:
    """A block of the pool's own job, its nonce found."""
    job, _ = JobBook(7, MASK).add(template, TERMS)
    block = unsolved_block(job)
    nonce = native.scan(block[:80], 0, 1 << 20, template.target.to_bytes(32, "big"))
    assert nonce is not None
    return block[:76] + nonce.to_bytes(4, "little") + block[80:]


class Miner:
    """Reads the notify lines that Work sends, and builds blocks from nothing else."""

    def __init__(self) -> None:
        self.book = JobBook(1, MASK)
        self.metrics = Metrics()
        self.jobs: list[WireJob] = []

    def send(self, job: Job, clean: bool, done: Callable[[], object]) -> None:
        line = job.notify_clean if clean else job.notify
        self.jobs.append(read_notify(msgspec.json.decode(line)["params"]))

    @property
    def tip(self) -> str:
        """What the newest job builds on."""
        return self.jobs[-1].previous[::-1].hex()

    def block(self, job: WireJob) -> bytes:
        """A block with only its coinbase, which must be all that the job has."""
        assert job.branches == []
        extranonces = bytes(4), bytes(8)
        header = job.header(*extranonces, job.ntime, 0)
        nonce = native.scan(header, 0, 1 << 20, (0x7FFFFF << 232).to_bytes(32, "big"))
        assert nonce is not None
        known = self.book.find(job.job_id)
        assert known is not None
        return known.block(header[:76] + nonce.to_bytes(4, "little"), *extranonces)


@asynccontextmanager
async def mining(*clients: Bitcoind) -> AsyncIterator[Miner]:
    miner = Miner()
    work = Work(clients, miner.book, TERMS, miner.send, miner.metrics, empty_blocks_on="regtest")
    task = asyncio.create_task(work.run())
    try:
        await until(lambda: bool(miner.jobs))
        yield miner
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_an_empty_job_reaches_the_miner_first_and_the_full_one_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node chooses transactions for long, so to speak; a block of the empty job is taken meanwhile."""
    async with running_bitcoind() as process:
        client = process.client()
        await generate(process, 1)
        thinks = asyncio.Event()
        thinks.set()
        answer = client.template

        async def template(long_poll_id: str | None = None) -> Template:
            answered = await answer(long_poll_id)
            await thinks.wait()
            return answered

        monkeypatch.setattr(client, "template", template)
        async with mining(client) as miner:
            thinks.clear()
            await generate(process, 1)
            await until(lambda: len(miner.jobs) == 2)
            empty = miner.jobs[1]
            assert empty.clean
            assert empty.previous[::-1].hex() == await client.tip()
            block = miner.block(empty)
            thinks.set()
            await until(lambda: len(miner.jobs) == 3)
            assert not miner.jobs[2].clean
            assert miner.jobs[2].previous == empty.previous
            assert await client.submit(block) is None, "a share on the empty job may come later"
            assert await client.tip() == block_hash(block)
            await until(lambda: miner.jobs[-1].clean and len(miner.jobs) > 3)
        await client.close()


async def test_the_push_of_the_second_node_is_enough_while_the_first_lags() -> None:
    """Two real nodes that do not know each other; the block comes to the second alone."""
    async with running_bitcoind() as first, running_bitcoind() as second:
        slow, quick = first.client(zmq=False), second.client()
        async with mining(slow, quick) as miner:
            for _ in range(100):  # a subscription takes a moment: until it is there both get each block
                block = solve(await quick.template())
                assert await quick.submit(block) is None
                with suppress(TimeoutError):
                    await until(lambda: miner.tip == block_hash(block), 0.3)  # noqa: B023
                    break
                await slow.submit(block)
                await until(lambda: miner.tip == block_hash(block))  # noqa: B023
            told = len(miner.jobs)
            assert await slow.tip() != miner.tip
            await asyncio.sleep(1.5)
            assert {job.previous for job in miner.jobs[told - 1 :]} == {miner.jobs[-1].previous}, (
                "not drawn back by the node that lags"
            )
            assert not any(job.clean for job in miner.jobs[told:])
        for client in (slow, quick):
            await client.close()


async def test_the_node_judges_the_pools_first_job() -> None:
    async with running_bitcoind() as process:
        client = process.client()
        async with mining(client) as miner:
            read = miner.metrics.registry.get_sample_value
            await until(lambda: read("dmpool_job_proposal_ok", {"node": client.name}) == 1)
        await client.close()


async def test_proposals_are_judged_like_blocks_but_for_their_work() -> None:
    async with running_bitcoind() as process:
        client = process.client()
        template = await client.template()

        def proposal(changed: Template, terms: CoinbaseTerms = TERMS) -> bytes:
            return unsolved_block(JobBook(7, MASK).add(changed, terms)[0])

        assert await client.propose(proposal(template)) is None
        assert await client.tip() == template.previous_block[::-1].hex(), "nothing was added"
        refused = {
            "bad-cb-amount": {"coinbase_value": template.coinbase_value + 1},
            "bad-cb-height": {"height": template.height + 1},
            "bad-witness-merkle-match": {"witness_commitment": b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32)},
            "time-too-new": {"current_time": template.current_time + 3 * 3600},
        }
        words = {
            word: await client.propose(proposal(dataclasses.replace(template, **changes)))
            for word, changes in refused.items()
        }
        assert words == {word: word for word in refused}
        assert await client.propose(b"no block") == "Block decode failed"
        await client.submit(solve(template))
        assert await client.propose(proposal(template)) == "inconclusive-not-best-prevblk"
        await client.close()


async def test_a_node_builds_on_the_block_that_it_is_told_to_prefer() -> None:
    async with running_bitcoind() as process:
        client = process.client()
        template = await client.template()
        rival, ours = solve(template, b"rival"), solve(template, b"ours")
        assert await client.submit(rival) is None
        assert await client.submit(ours) is None
        assert await client.confirmations(block_hash(ours)) == -1
        await client.prefer(block_hash(ours))
        assert await client.tip() == block_hash(ours)
        longer = solve(await client.template())
        await client.submit(longer)
        await client.prefer(block_hash(rival))
        assert await client.tip() == block_hash(longer), "more work still decides"
        with pytest.raises(NodeError, match="Block not found"):
            await client.prefer("12" * 32)
        await client.close()
