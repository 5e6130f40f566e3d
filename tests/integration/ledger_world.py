"""A small world for tests of the ledger: miners, a gateway that tells what we want, a node that we move."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms, Terms
from pool.gateway_store import register_gateway
from pool.intake import work_of
from pool.ledger import Ledger
from pool.node import ChainBlock, Earned, NodeDown, NodeError, NodeWrongChain
from pool.records import Found, Record, Reject, Share, encode_batch, encode_records
from pool.tables import batch, gateway
from register.miner import Miner
from register.rules import load_rules
from stratum.job import Template
from tests.integration.entering import enter_miner

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
UNITS = tuple(f"rig{number}" for number in range(1, 10))
"""Of each miner."""
BINS = ("230440000105", "940140000385", "040340000097")
NOON = 1_795_503_600_000_000
"""12:00 in Kazakhstan on 24 November 2026."""
DAY = dt.date(2026, 11, 24)
EASY = bytes([0x0F]) + b"\xff" * 31
"""A share's target: 16 hashes."""
NETWORK = bytes([0x00]) + b"\xff" * 31
"""A block's target: 256 hashes."""
SUBSIDY = 312_500_000
_numbers = count(1)


class FakeNode:
    """A chain of names: `main[h]` is the best chain's block at height h, `aside` are known blocks off it."""

    def __init__(self) -> None:
        self.main = [f"{0:064x}"]
        self.times: dict[str, int] = {}
        """Of headers, unix seconds; who has none was mined ten minutes a block after the first noon."""
        self.fees: dict[str, int] = {}
        self.aside: set[str] = set()
        self.down = False
        self.wrong_chain = False
        self.asked = 0

    name = "fake"

    async def tip(self) -> str:
        self._answer()
        return self.main[-1]

    async def height(self) -> int:
        self._answer()
        return len(self.main) - 1

    async def confirmations(self, block_hash: str) -> int | None:
        self._answer()
        self.asked += 1
        if block_hash in self.main:
            return len(self.main) - self.main.index(block_hash)
        return -1 if block_hash in self.aside else None

    async def block_at(self, height: int) -> ChainBlock:
        self._answer()
        if not 0 <= height < len(self.main):
            raise NodeError(f"node fake: has no block {height}")
        newest = sorted(self._time(one) for one in range(max(0, height - 10), height + 1))
        time = self._time(height)
        return ChainBlock(self.main[height], height, time, newest[len(newest) // 2], work_of(NETWORK))

    def _time(self, height: int) -> int:
        return self.times.get(self.main[height], NOON // 1_000_000 + 600 * height)

    async def earned(self, block_hash: str) -> Earned:
        self._answer()
        return Earned(SUBSIDY, self.fees.get(block_hash, 0))

    def _answer(self) -> None:
        if self.down:
            raise NodeDown("node fake: does not answer")

    def grow(self, blocks: int = 1) -> None:
        """Strangers' blocks on top."""
        self.main.extend(f"{next(_numbers):064x}" for _ in range(blocks))

    def reorganise(self, height: int) -> None:
        """All from `height` on leaves the chain, and one block more takes its place."""
        self.aside.update(self.main[height:])
        gone = len(self.main) - height
        del self.main[height:]
        self.grow(gone + 1)

    async def check(self) -> None:
        self._answer()
        if self.wrong_chain:
            raise NodeWrongChain("node fake: is on another chain")

    async def template(self, long_poll_id: str | None = None) -> Template:
        raise AssertionError("the ledger does not ask for this")

    def tips(self) -> AsyncIterator[str]:
        raise AssertionError("the ledger does not ask for this")

    async def submit(self, block: bytes) -> str | None:
        raise AssertionError("the ledger does not ask for this")

    async def close(self) -> None:
        raise AssertionError("the ledger does not ask for this")


class World:
    """Miners 1 to 3, one gateway, one node, one ledger whose clock is `now_us`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.node = FakeNode()
        self.now_us = NOON
        self.told: list[list[Record]] = []
        self.miners: list[Miner] = []
        self.terms = DatedTerms(Terms("pplns", 2, 150, "shared"))
        self.ledger = self.new_ledger()
        self._number = 0
        self._seq = 0

    def new_ledger(self) -> Ledger:
        return Ledger(self.engine, [self.node], RULES, self.terms, lambda: self.now_us)

    async def settle_in(self) -> None:
        """Enter the miners and the gateway."""
        for number, one in enumerate(BINS, 1):
            self.miners.append(await enter_miner(self.engine, f"miner{number}", one, workers=UNITS))
        self._number = await register_gateway(self.engine, uuid4(), "test")

    def memory(self) -> dict[str, Any]:
        """What it knows beside the database."""
        return {name: value for name, value in vars(self).items() if name not in ("engine", "ledger")}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on, on a copy of the database, where another world was."""
        vars(self).update(memory)
        self.ledger = self.new_ledger()

    async def tell(self, *records: Record) -> None:
        """The gateway forwards a batch."""
        self._seq += 1
        self.told.append(list(records))
        async with self.engine.begin() as connection:
            await connection.execute(
                sa.insert(batch).values(
                    gateway_number=self._number,
                    first_seq=self._seq,
                    last_seq=self._seq,
                    records=len(records),
                    payload=encode_batch([encode_records(list(records))]),
                )
            )
            await connection.execute(sa.update(gateway).values(last_seq=self._seq))

    async def work(self, ledger: Ledger | None = None) -> None:
        """The ledger does all that there is to do now, on a connection of its own."""
        async with self.engine.connect() as connection:
            await self.work_on(connection, ledger or self.ledger)

    async def work_on(self, connection: AsyncConnection, ledger: Ledger) -> None:
        busy = True
        while busy:
            busy = await ledger.tick(connection)
        await ledger.tick(connection)

    def share(
        self, miner_id: int, worker: str = "a", *, target: bytes = EASY, at_us: int | None = None
    ) -> Share:
        """A share whose header is like no other."""
        header = next(_numbers).to_bytes(80, "little")
        return Share(self.now_us if at_us is None else at_us, miner_id, worker, 1, target, header)

    def reject(self, miner_id: int, reason: str = "stale") -> Reject:
        return Reject(self.now_us, miner_id, "a", reason)

    def found(
        self,
        share: Share | None = None,
        *,
        height: int = 1,
        reward: int = 5_000_000_001,
        target: bytes = NETWORK,
        miner_id: int = 0,
    ) -> Found:
        """The block that a share solved; without one, a block found by somebody who was not authorised."""
        return Found(
            at_us=self.now_us,
            miner_id=share.miner_id if share else miner_id,
            worker=share.worker if share else "x",
            height=height,
            block_hash=block_hash(share.header if share else next(_numbers).to_bytes(80, "little")),
            previous_hash="00" * 32,
            network_target=target,
            reward_sat=reward,
            fees_sat=min(reward, 1),
            coinbase_txid=f"{next(_numbers):064x}",
            credited=share is not None,
        )

    async def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What a query answers."""
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(sa.text(statement))]

    async def states(self) -> dict[str, str]:
        return {str(name): str(state) for name, state in await self.rows("SELECT hash, state FROM block")}

    async def balances(self) -> dict[str, int]:
        rows = await self.rows("SELECT account, sum(amount)::bigint FROM journal_posting GROUP BY account")
        return {str(account): int(str(amount)) for account, amount in rows if amount}


def block_hash(header: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(header).digest()).digest()[::-1].hex()
