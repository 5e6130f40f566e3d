"""The embedded demo chain: its target, its disk, its lock. What every node does is in test_nodes.py."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bitcoin.core import uint256_from_compact

from pool.embedded_chain import EmbeddedChain
from pool.node import NodeDown
from tests.integration.solving import block_hash, solve

REPOSITORY = Path(__file__).resolve().parents[2]
ANY_HASH = 1 << 256
HARDER = 1 << 250

MINE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from pool.embedded_chain import EmbeddedChain
from tests.integration.solving import block_hash, solve

async def mine():
    chain = EmbeddedChain(Path(sys.argv[1]), 1 << 256)
    while True:
        block = solve(await chain.template())
        assert await chain.submit(block) is None
        print(block_hash(block), flush=True)

asyncio.run(mine())
"""


async def mine(chain: EmbeddedChain, count: int) -> list[str]:
    """Blocks on the tip of `chain`; their hashes."""
    hashes = []
    for _ in range(count):
        block = solve(await chain.template())
        assert await chain.submit(block) is None
        hashes.append(block_hash(block))
    return hashes


async def test_the_template_is_what_consensus_asks(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    before = int(time.time())
    template = await chain.template()
    assert before <= template.current_time <= time.time()
    assert template.height == 1
    assert template.target == uint256_from_compact(template.bits) == 0x7FFFFF << 232
    assert (template.coinbase_value, template.fees, template.transactions) == (50 * 100_000_000, 0, ())
    root_and_nonce = hashlib.sha256(hashlib.sha256(bytes(64)).digest()).digest()
    assert template.witness_commitment == bytes.fromhex("6a24aa21a9ed") + root_and_nonce
    await chain.close()


async def test_time_stays_above_the_median_and_the_subsidy_halves(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    times = [1296688602]
    for height in range(1, 152):
        template = await chain.template()
        newest = sorted(times[-11:])
        assert template.min_time == newest[len(newest) // 2] + 1
        assert template.coinbase_value == (5_000_000_000 if height < 150 else 2_500_000_000)
        at = template.min_time + height * 7919 % 60  # out of order, so that the median is not the last
        assert await chain.submit(solve(template, at=at)) is None
        times.append(at)
    assert await chain.height() == 151
    await chain.close()


async def test_a_block_must_meet_the_harder_target(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, HARDER)
    template = await chain.template()
    assert template.target == HARDER
    assert template.bits == 0x207FFFFF, "the header carries regtest's own bits"
    for number in range(100):
        block = solve(template, number.to_bytes(2, "big"), target=0x7FFFFF << 232)
        if int(block_hash(block), 16) > HARDER:
            break
    assert await chain.submit(block) == "high-hash"
    assert await chain.height() == 0
    assert await chain.submit(solve(template)) is None
    await chain.close()


async def test_the_chain_is_there_after_a_restart_with_another_target(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    hashes = await mine(chain, 5)
    await chain.close()
    again = EmbeddedChain(tmp_path, HARDER)
    assert await again.tip() == hashes[-1]
    assert [await again.confirmations(one) for one in hashes] == [5, 4, 3, 2, 1]
    await mine(again, 1)
    assert await again.height() == 6
    await again.close()


def mine_until_killed(directory: Path, lines: int) -> list[str]:
    """Mine in another process, kill -9 it after so many blocks; every hash that it was told is accepted."""
    command = [sys.executable, "-c", MINE_FOR_EVER, str(directory)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        accepted = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        accepted += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    return accepted


async def test_no_accepted_block_is_lost_by_kill_9(tmp_path: Path) -> None:
    accepted: list[str] = []
    for lines in (1, 3, 7, 2, 12):
        accepted += await asyncio.to_thread(mine_until_killed, tmp_path, lines)
        chain = EmbeddedChain(tmp_path, ANY_HASH)
        height = await chain.height()
        assert height in (len(accepted), len(accepted) + 1), "at most the block whose answer was not yet read"
        known = [await chain.confirmations(one) for one in accepted]
        assert known == [height - number for number in range(len(accepted))]
        if height > len(accepted):
            accepted.append(await chain.tip())
        await chain.close()
    assert len(accepted) >= 25


async def test_the_directory_belongs_to_one_process(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    await chain.check()
    second = EmbeddedChain(tmp_path, ANY_HASH)
    with pytest.raises(NodeDown, match=rf"another process uses {tmp_path}"):
        await second.check()
    await chain.close()
    await second.check()
    await second.close()


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("")
    chain = EmbeddedChain(occupied, ANY_HASH)
    with pytest.raises(NodeDown, match=str(occupied)):
        await chain.check()
    await chain.close()


async def test_a_damaged_chain_is_named(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    await mine(chain, 2)
    await chain.close()
    for manifest in (tmp_path / "chainstate").glob("MANIFEST-*"):
        manifest.write_bytes(b"damaged")
    damaged = EmbeddedChain(tmp_path, ANY_HASH)
    with pytest.raises(NodeDown, match=str(tmp_path)):
        await damaged.check()
    await damaged.close()


async def test_closing_twice_and_using_it_afterwards(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    await mine(chain, 1)
    await chain.close()
    await chain.close()
    with pytest.raises(NodeDown, match="closed"):
        await chain.template()


async def test_every_listener_hears_of_the_newest_tip(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path, ANY_HASH)
    listeners = [chain.tips() for _ in range(3)]
    first = [asyncio.ensure_future(anext(one)) for one in listeners]
    await asyncio.sleep(0)
    hashes = await mine(chain, 1)
    assert await asyncio.gather(*first) == hashes * 3
    hashes = await mine(chain, 4)  # while nobody reads: only the newest counts
    assert [await anext(one) for one in listeners] == [hashes[-1]] * 3
    await chain.close()
