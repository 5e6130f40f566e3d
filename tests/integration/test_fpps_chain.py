"""A day by the chain: which blocks are of it and what they paid, on a chain of names and on real ones."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pytest
from bitcoin.core import CBlock, CMutableTransaction, CMutableTxIn, CMutableTxOut, COutPoint
from bitcoin.core.script import OP_TRUE, CScript

from payouts.fpps import Paid
from pool.embedded_chain import EmbeddedChain
from pool.empty_template import subsidy
from pool.fpps_accrual import ChainDay, chain_day
from pool.node import NodeError
from tests.integration.bitcoind_process import BitcoindProcess, running_bitcoind
from tests.integration.ledger_world import DAY, RULES, SUBSIDY, FakeNode
from tests.integration.solving import solve
from tests.pool.test_bitcoind import failure, served


def node_with(times: list[int]) -> FakeNode:
    """A chain of blocks with such times of headers, in seconds after the beginning of `DAY`."""
    node = FakeNode()
    node.grow(len(times) - 1)
    node.times = {
        hash_: RULES.day_bounds(DAY)[0] // 1_000_000 + time
        for hash_, time in zip(node.main, times, strict=True)
    }
    return node


BEFORE = [-7200 + 600 * number for number in range(12)]
AFTER = [86_400 + 600 * number for number in range(12)]


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        pytest.param([0, 600, 86_399], (12, 14, 3), id="within"),
        pytest.param([], (11, 11, 1), id="none: the newest before"),
        pytest.param([7200, -1, 600], (12, 14, 2), id="one of yesterday among them"),
        pytest.param([600, 86_400, 80_000], (12, 14, 2), id="one of tomorrow among them"),
    ],
)
async def test_a_day_has_the_blocks_whose_headers_say_so(
    between: list[int], expected: tuple[int, int, int]
) -> None:
    """However they are ordered."""
    node = node_with(BEFORE + between + AFTER)
    found = await chain_day(node, *RULES.day_bounds(DAY))
    assert found is not None
    assert (found.first_height, found.last_height, found.blocks) == expected
    assert found.paid == (SUBSIDY * found.blocks, 0, 256 * found.blocks)


async def test_each_block_of_a_long_chain_is_in_the_day_of_its_header_and_only_there() -> None:
    """Headers up to two hours off in both directions, over a week."""
    times = [600 * number + (number * 7919 % 13_000) - 6500 for number in range(144 * 7)]
    for place in range(1, len(times)):  # never before the median of the eleven before it
        times[place] = max(times[place], sorted(times[max(0, place - 11) : place])[min(place, 11) // 2] + 1)
    node = node_with(times)
    start = RULES.day_bounds(DAY)[0] // 1_000_000
    for day in range(6):
        found = await chain_day(node, *RULES.day_bounds(DAY + dt.timedelta(days=day)))
        inside = [
            height for height, hash_ in enumerate(node.main) if (node.times[hash_] - start) // 86_400 == day
        ]
        assert found == ChainDay(
            inside[0], inside[-1], len(inside), (SUBSIDY * len(inside), 0, 256 * len(inside))
        )
    assert await chain_day(node, *RULES.day_bounds(DAY + dt.timedelta(days=6))) is None


async def test_a_day_before_the_chain_cannot_be_priced() -> None:
    with pytest.raises(NodeError, match="its chain begins after"):
        await chain_day(node_with(AFTER), *RULES.day_bounds(DAY))


async def test_a_chain_that_changes_while_it_is_read_is_asked_again() -> None:
    node = node_with(BEFORE + AFTER)
    earned = node.earned
    calls = itertools.count()

    async def earned_amid_a_reorganisation(block_hash: str) -> Any:
        if next(calls) == 0:
            times = [node.times[one] for one in node.main]
            node.reorganise(5)
            node.times |= dict(zip(node.main, [*times, times[-1] + 1], strict=True))
        return await earned(block_hash)

    node.earned = earned_amid_a_reorganisation  # type: ignore[method-assign]
    with pytest.raises(NodeError, match="changed 6 blocks deep"):
        await chain_day(node, *RULES.day_bounds(DAY))
    assert await chain_day(node, *RULES.day_bounds(DAY)) is not None


# Real chains


ANYONE_CAN_SPEND = "raw(51)#8lvh9jxk"
SATOSHIS = 100_000_000


async def test_a_real_bitcoind_tells_what_its_blocks_paid_on_each_day() -> None:
    """Against its own blocks read another way: headers' times, coinbases and growth of chainwork."""
    async with running_bitcoind(options=["-acceptnonstdtxn=1"]) as process:
        client = process.client()
        start = RULES.day_bounds(DAY)[0] // 1_000_000
        mined: list[str] = []
        for number in range(106):
            await mine_at(process, mined, start + 1800 * number)
        for number in range(3):
            raw = await process.rpc("getblock", mined[number], 0)
            coin = CBlock.deserialize(bytes.fromhex(str(raw))).vtx[0]
            spend = CMutableTransaction(
                [CMutableTxIn(COutPoint(coin.GetTxid(), 0))],
                [CMutableTxOut(coin.vout[0].nValue - 70_000 - number, CScript([bytes(20), OP_TRUE]))],
                nVersion=2,
            )
            await process.rpc("sendrawtransaction", spend.serialize().hex(), 0)
        for number in range(106, 160):
            await mine_at(process, mined, start + 1800 * number)
        days = [await told_otherwise(process, mined, start + 86_400 * day) for day in range(3)]
        for day in range(3):
            found = await chain_day(client, *RULES.day_bounds(DAY + dt.timedelta(days=day)))
            assert found == days[day]
        assert [one.blocks for one in days] == [48, 48, 48]
        assert [one.paid.fees_sat for one in days] == [0, 0, 210_003]
        assert days[2].paid.reward_sat == 48 * 50 * SATOSHIS + 210_003
        assert await chain_day(client, *RULES.day_bounds(DAY + dt.timedelta(days=3))) is None
        with pytest.raises(NodeError, match="getblockhash"):
            await client.block_at(161)
        with pytest.raises(NodeError, match="getblockstats"):
            await client.earned("12" * 32)
        await client.close()


async def mine_at(process: BitcoindProcess, mined: list[str], time: int) -> None:
    await process.rpc("setmocktime", time)
    answer: Any = await process.rpc("generatetodescriptor", 1, ANYONE_CAN_SPEND)
    mined += answer


async def told_otherwise(process: BitcoindProcess, mined: list[str], start: int) -> ChainDay:
    heights, reward, fees, work = [], 0, 0, 0
    for hash_ in mined:
        block: Any = await process.rpc("getblock", hash_, 1)
        if not start <= block["time"] < start + 86_400:
            continue
        heights.append(block["height"])
        raw = await process.rpc("getblock", hash_, 0)
        coinbase = CBlock.deserialize(bytes.fromhex(str(raw))).vtx[0]
        brought = sum(output.nValue for output in coinbase.vout)
        reward += brought
        fees += brought - subsidy("regtest", block["height"])
        before: Any = await process.rpc("getblockheader", block["previousblockhash"])
        work += int(block["chainwork"], 16) - int(before["chainwork"], 16)
    return ChainDay(heights[0], heights[-1], len(heights), Paid(reward, fees, work))


async def test_a_pruned_node_says_what_to_do() -> None:
    async with served(lambda _request, _call: failure(-1, "Block not available (pruned data)")) as node:
        with pytest.raises(NodeError, match=r"pruned data.*make prune of bitcoin.conf larger"):
            await node.earned("12" * 32)


async def test_the_embedded_chain_tells_what_its_blocks_paid(tmp_path: Path) -> None:
    """By the harder target of a demo: a share of it is worth its part of a block."""
    target = 1 << 250
    chain = EmbeddedChain(tmp_path, target)
    start = RULES.day_bounds(DAY)[0] // 1_000_000
    for number in range(25):
        at = start - 86_400 * 30 + 7200 * number
        assert await chain.submit(solve(await chain.template(), at=at)) is None
    found = await chain_day(chain, *RULES.day_bounds(DAY - dt.timedelta(days=30)))
    assert found == ChainDay(1, 12, 12, Paid(12 * 50 * SATOSHIS, 0, 12 * (2**256 // (target + 1))))
    with pytest.raises(NodeError, match="has no block 26: its newest is 25"):
        await chain.block_at(26)
    with pytest.raises(NodeError, match="has no block 1212"):
        await chain.earned("12" * 32)
    await chain.close()
