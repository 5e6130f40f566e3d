"""What every `Node` must do, run on each: the embedded chain, and a real bitcoind on two chains."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pool.embedded_chain import EmbeddedChain
from pool.empty_template import empty_template
from pool.node import Node
from stratum.job import Template
from tests.integration.bitcoind_process import running_bitcoind
from tests.integration.solving import block_hash, solve

DEMO_TARGET = 1 << 250
UNKNOWN = "12" * 32


@pytest.fixture(params=["embedded", "regtest", "signet"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    if request.param == "embedded":
        embedded = EmbeddedChain(tmp_path / "chain", DEMO_TARGET)
        yield embedded
        await embedded.close()
        return
    async with running_bitcoind(request.param) as process:
        client = process.client()
        yield client
        await client.close()


def on(parent: bytes, template: Template) -> Template:
    """A template for the block after `parent`, which the node need not know."""
    return dataclasses.replace(
        template,
        height=template.height + 1,
        previous_block=bytes.fromhex(block_hash(parent))[::-1],
        current_time=template.current_time + 1,
    )


async def test_a_solved_template_becomes_the_tip(node: Node) -> None:
    await node.check()
    template = await node.template()
    assert template.height == await node.height() + 1
    assert template.previous_block[::-1].hex() == await node.tip()
    block = solve(template)
    assert await node.submit(block) is None
    assert await node.tip() == block_hash(block)
    assert await node.height() == template.height
    assert (await node.template()).previous_block[::-1].hex() == block_hash(block)
    assert await node.submit(block) is None, "a duplicate is an answer, not a failure"
    assert await node.height() == template.height


async def test_confirmations(node: Node) -> None:
    assert await node.confirmations(UNKNOWN) is None
    first = solve(await node.template())
    assert await node.confirmations(block_hash(first)) is None
    await node.submit(first)
    assert await node.confirmations(block_hash(first)) == 1
    await node.submit(solve(await node.template()))
    assert await node.confirmations(block_hash(first)) == 2


async def test_the_header_of_a_tip_tells_what_the_next_template_will_say(
    node: Node, request: pytest.FixtureRequest
) -> None:
    """All but transactions and time; and a block of it is taken, on signet too."""
    chain = "signet" if "signet" in request.node.name else "regtest"
    assert await node.header(UNKNOWN) is None
    for _ in range(13):  # more than the blocks whose median time counts
        mined = await node.template()
        assert await node.submit(solve(mined)) is None
        header = await node.header(await node.tip())
        assert header is not None
        assert (header.height, header.previous) == (mined.height, mined.previous_block[::-1].hex())
        empty = empty_template(chain, header, mined, mined.current_time)
        assert empty is not None
        full = await node.template()
        assert empty == dataclasses.replace(full, current_time=empty.current_time, long_poll_id="")
    assert await node.submit(solve(empty)) is None
    assert await node.height() == empty.height


async def test_a_side_chain_has_no_header(node: Node) -> None:
    template = await node.template()
    ours, rival = solve(template, b"ours"), solve(template, b"rival")
    await node.submit(ours)
    await node.submit(rival)
    assert await node.header(block_hash(ours)) is not None
    assert await node.header(block_hash(rival)) is None
    await node.prefer(block_hash(ours))
    assert await node.tip() == block_hash(ours)


async def test_a_block_leaves_the_main_chain_and_comes_back(node: Node) -> None:
    template = await node.template()
    ours, rival = solve(template, b"ours"), solve(template, b"rival")
    assert await node.submit(ours) is None
    assert await node.submit(rival) is None, "stored beside the best chain: an answer (BIP22 inconclusive)"
    assert await node.confirmations(block_hash(rival)) == -1
    after = on(rival, template)
    longer = solve(after)
    assert await node.submit(longer) is None
    assert await node.tip() == block_hash(longer)
    assert await node.confirmations(block_hash(ours)) == -1
    assert await node.confirmations(block_hash(rival)) == 2
    back = solve(on(ours, template), b"back")
    assert await node.submit(back) is None
    assert await node.submit(solve(on(back, after), b"back")) is None
    assert await node.confirmations(block_hash(ours)) == 3
    assert await node.confirmations(block_hash(longer)) == -1


async def test_reject_words_are_those_of_bitcoin_core(node: Node) -> None:
    template = await node.template()
    before = await node.tip()
    greedy = solve(template, value=template.coinbase_value + 1)
    mutated = bytearray(solve(template))
    mutated[-5] ^= 1  # the last byte of the coinbase's witness: the header stays solved
    refused = {
        "bad-cb-amount": greedy,
        "bad-cb-height": solve(template, height=300),
        "time-too-old": solve(template, at=template.min_time - 1),
        "time-too-new": solve(template, at=template.current_time + 3 * 3600),
        "bad-witness-merkle-match": bytes(mutated),
        "high-hash": solve(template, target=(1 << 256) - 1)[:76] + unsolved_nonce(template),
        "Block decode failed": b"no block",
    }
    words = {expected: await node.submit(block) for expected, block in refused.items()}
    assert words == {expected: expected for expected in refused}
    assert await node.submit(greedy) == "duplicate-invalid"
    assert await node.tip() == before
    assert await node.submit(solve(template)) is None, "the chain still takes a good block"


def unsolved_nonce(template: Template) -> bytes:
    """The rest of a block, from its nonce on, that misses every target (found by trying)."""
    block = solve(template, target=(1 << 256) - 1)
    for nonce in range(1 << 20):
        tail = nonce.to_bytes(4, "little") + block[80:]
        if bytes.fromhex(block_hash(block[:76] + tail))[0] == 0xFF:
            return tail
    raise AssertionError("no hash starts with ff")


async def test_tips_are_pushed(node: Node) -> None:
    tips = node.tips()
    pushed = asyncio.ensure_future(anext(tips))
    block = b""
    async with asyncio.timeout(60):
        while not pushed.done():  # a ZMQ subscription takes a moment: blocks before it are not pushed
            block = solve(await node.template())
            await node.submit(block)
            await asyncio.wait([pushed], timeout=0.2)
    assert await node.confirmations(await pushed) is not None
    following = solve(await node.template())
    await node.submit(following)
    async with asyncio.timeout(60):
        while await anext(tips) != block_hash(following):
            pass


async def test_a_long_poll_waits_for_the_next_tip(node: Node) -> None:
    template = await node.template()
    polls = [asyncio.ensure_future(node.template(template.long_poll_id)) for _ in range(2)]
    done, _ = await asyncio.wait(polls, timeout=0.5)
    assert not done
    assert await node.height() == template.height - 1, "other calls are served meanwhile"
    block = solve(template)
    await node.submit(block)
    for fresh in await asyncio.wait_for(asyncio.gather(*polls), 60):
        assert fresh.height == template.height + 1
        assert fresh.previous_block[::-1].hex() == block_hash(block)
    stale = await asyncio.wait_for(node.template(template.long_poll_id), 60)
    assert stale.height == template.height + 1, "an old id is answered at once"


async def test_a_cancelled_long_poll_harms_nobody(node: Node) -> None:
    template = await node.template()
    poll = asyncio.ensure_future(node.template(template.long_poll_id))
    await asyncio.wait([poll], timeout=0.2)
    poll.cancel()
    await asyncio.wait([poll])
    assert poll.cancelled()
    assert await node.submit(solve(template)) is None
    assert (await node.template()).height == template.height + 1
