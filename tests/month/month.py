"""A month of the pool in simulated time: real PostgreSQL, the pool's own ledger, archive and payout plan.

Batches go in as gateways send them, and the ledger takes them. The network finds a block each ten minutes on
average, by chance, and the pool its part of these. Some of the pool's blocks lose against others, the chain
forks and comes back, at last so deep that blocks which were paid are lost. Each noon whoever is due is paid.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms, Terms, TermsFrom
from pool import register_store, settlement_store
from pool.archive import Archive
from pool.gateway_store import register_gateway
from pool.ledger import Ledger
from pool.records import Record, encode_batch, encode_records
from pool.tables import batch, gateway
from tests.integration.entering import enter_miner
from tests.integration.ledger_world import RULES
from tests.month.chain import Chain, Fork
from tests.month.fleet import MINERS, Fleet, Win, target_of
from tests.month.till import Till
from tests.register_world import bin_number

SECOND: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND
DAY_US: Final = 24 * HOUR_US
FIRST_DAY: Final = dt.date(2026, 11, 1)
NETWORK_SECONDS: Final = 600
SUBSIDY_SAT: Final = 312_500_000
FEES_SAT: Final = 30_000_000
"""The most that the fees of a block come to."""
DEEPEST: Final = 190
"""How many blocks leave the chain at worst; FINAL_DEPTH of `pool.block_watch` is a little more."""
BEFORE: Final = Terms("pplns", 2, 150, "shared")
AFTER: Final = Terms("pplns", 3, 100, "pool")
"""The terms of the second half."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of the month is lived."""

    days: int
    runs_a_day: int
    pool_per_cent: int
    """The pool's part of the network."""


class Block(NamedTuple):
    """A block of the pool as it was found."""

    hash: str
    win: Win
    last_slice: int
    found_us: int


class Month:
    """See the head of this file. What happened is in `blocks`, `chain`, `fleet` and `till`."""

    def __init__(self, engine: AsyncEngine, archive: Path, scale: Scale, seed: int) -> None:
        self.engine = engine
        self.scale = scale
        self.now_us = RULES.day_bounds(FIRST_DAY)[0]
        self.end_us = RULES.day_bounds(FIRST_DAY + dt.timedelta(scale.days - 1))[1]
        self.middle = FIRST_DAY + dt.timedelta(scale.days // 2)
        self.terms = DatedTerms(BEFORE, [TermsFrom(self.middle, AFTER)])
        self.fleet = Fleet(seed, 86_400 // scale.runs_a_day, RULES.day_of)
        self.chain = Chain()
        self.blocks: list[Block] = []
        self.reorganisations = self.payouts_lost = 0
        self.ledger = Ledger(engine, [self.chain], RULES, self.terms, lambda: self.now_us)
        self.archive = Archive(engine, archive, self.terms, RULES, lambda: True, lambda: self.now_us)
        self.till: Till
        self._chance = random.Random(seed + 1)
        self._waiting: list[tuple[int, list[Record]]] = []
        self._forks = self._drawn_forks()
        self._away: tuple[int, Fork] | None = None
        """A fork that is to come back, and with which network block."""
        self._step = 0
        self._deepest: int | None = scale.days * 144 * 7 // 10
        """Behind the first payment after so many network blocks what was paid is lost; None afterwards."""
        self._just_paid = False
        self._seq = self._gateway = 0
        self._noon_us = self.now_us + DAY_US // 2
        self._archive_us = self.now_us + DAY_US // 8

    @asynccontextmanager
    async def lived(self) -> AsyncIterator[None]:
        """Live the month; the till stays open."""
        for number in range(1, MINERS + 1):
            await enter_miner(self.engine, f"farm{number}", bin_number(number), workers=(f"rig{number}",))
        self._gateway = await register_gateway(self.engine, UUID(int=1), "month")
        register = await register_store.read(self.engine, ("miner", "licence", "address"))
        async with settlement_store.tenure(self.engine) as tenure, self.engine.connect() as connection:
            self.till = Till(tenure, self.engine, register, RULES, lambda: self.now_us)
            await self.archive.step()
            for block_us, run_times in self._times():
                for at_us in run_times:
                    self._waiting.append((at_us, self.fleet.run(at_us)[0]))
                self.now_us = block_us
                await self._block(connection)
            for _ in range(3):  # on a slow machine an answer of the node may still be on its way
                await self.ledger.tick(connection)
            self.now_us += HOUR_US // 2  # the last hour is closed some minutes after its end
            await self.archive.step()
            yield

    def _times(self) -> Iterator[tuple[int, list[int]]]:
        """When the network finds blocks, and the runs before each."""
        every = DAY_US // self.scale.runs_a_day
        run_us, at_us = self.now_us, self.now_us
        while at_us < self.end_us:
            wait = self._chance.expovariate(1 / NETWORK_SECONDS)
            at_us = min(at_us + 1 + int(wait * SECOND), self.end_us)
            runs = list(range(run_us, at_us, every))
            run_us += every * len(runs)
            yield at_us, runs

    async def _block(self, connection: AsyncConnection) -> None:
        """The network has a block, perhaps the pool's; everybody takes note."""
        if self._chance.random() * 100 < self.scale.pool_per_cent:
            self._win()
        else:
            self.chain.grow()
        self._reorganise()
        await self._tell(connection)
        while await self.ledger.tick(connection):
            pass
        self.payouts_lost += await self.till.follow(self.chain.main.__contains__)
        await self.till.mined(self.chain.main[-1], len(self.chain.main) - 1)
        if self.now_us >= self._noon_us:
            self._noon_us += DAY_US
            await self._pay()
            self._just_paid = self._deepest is not None and self._step >= self._deepest
        if self.now_us >= self._archive_us:
            self._archive_us += DAY_US
            await self.archive.step()

    def _win(self) -> None:
        fees = self._chance.randrange(FEES_SAT)
        stranger = self._chance.random() < 0.03
        win = Win(
            0 if stranger else self.fleet.solver(),
            len(self.chain.main),
            self.chain.main[-1],
            self.network_target(),
            SUBSIDY_SAT + fees,
            fees,
        )
        records, block_hash, last = self.fleet.run(self.now_us, win)
        assert block_hash is not None
        self._waiting.append((self.now_us, records))
        self.blocks.append(Block(block_hash, win, last, self.now_us))
        if self._chance.random() < 0.03:
            self.chain.beaten(block_hash)
        else:
            self.chain.append(block_hash)

    def network_target(self) -> bytes:
        """The difficulty rises by 4 % in the middle."""
        work = self.fleet.rate * NETWORK_SECONDS * 100 // self.scale.pool_per_cent
        return target_of(work * 104 // 100 if RULES.day_of(self.now_us) >= self.middle else work)

    def _drawn_forks(self) -> dict[int, tuple[int, int | None]]:
        """By the number of a network block: how many leave the chain, and after how many they are back."""
        blocks = self.scale.days * 144
        drawn: dict[int, tuple[int, int | None]] = {}
        for _ in range(12):
            back = self._chance.randint(1, 12) if self._chance.random() < 0.7 else None
            drawn[self._chance.randrange(20, blocks * 7 // 10)] = (self._chance.randint(1, 6), back)
        drawn[blocks * 72 // 100] = (99, 5)
        drawn[blocks * 80 // 100] = (110, 20)
        return drawn

    def _reorganise(self) -> None:
        self._step += 1
        if self._just_paid and self._away is None:
            self._just_paid = False
            self._deepest = None
            self.chain.fork(DEEPEST)
            self.reorganisations += 1
            return
        if self._away is not None:
            back, fork = self._away
            if back <= self._step:
                self.chain.restore(fork)
                self.reorganisations += 1
                self._away = None
        elif self._step in self._forks:
            depth, after = self._forks[self._step]
            fork = self.chain.fork(depth)
            self.reorganisations += 1
            self._away = None if after is None else (self._step + after, fork)

    async def _tell(self, connection: AsyncConnection) -> None:
        """What the gateway has sent since the last time."""
        rows: list[dict[str, Any]] = []
        for at_us, records in self._waiting:
            self._seq += 1
            at = dt.datetime.fromtimestamp(at_us // SECOND, dt.UTC)
            rows.append(
                {
                    "gateway_number": self._gateway,
                    "received_on": at.date(),
                    "received_at": at,
                    "first_seq": self._seq,
                    "last_seq": self._seq,
                    "records": len(records),
                    "payload": encode_batch([encode_records(records)]),
                }
            )
        self._waiting.clear()
        if rows:
            async with connection.begin():
                await connection.execute(sa.insert(batch), rows)
                await connection.execute(sa.update(gateway).values(last_seq=self._seq))

    async def _pay(self) -> None:
        for payout_id in await self.till.run():
            if self._chance.random() < 0.1:
                await self.till.abandon(payout_id)
            else:
                await self.till.send(payout_id, self._chance.randint(1_000, 50_000))
