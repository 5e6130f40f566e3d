"""Every satoshi of a month: what the pool booked against a second book, kept the slow way (I2, I3, I4, I5).

84 miners, a network block each ten minutes by chance, forks, orphans, payouts; see `tests.month.month`. CI
lives two days in which the pool is a quarter of the network; `make campaign` thirty, with five million
slices.
"""

from __future__ import annotations

import datetime as dt
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.pplns import Entry, window
from pool.audit import Request, audit
from pool.tables import split
from tests.campaign import extent
from tests.integration.ledger_world import RULES
from tests.month.fleet import MINERS, work_of
from tests.month.month import AFTER, BEFORE, FIRST_DAY, SUBSIDY_SAT, Block, Month, Scale
from tests.payouts.reference_pplns import Parts, split_by_fractions, window_by_line

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(7200)]
SCALE = Scale(days=extent(2, 30), runs_a_day=extent(48, 2060), pool_per_cent=extent(25, 6))
WHOLE_STORY = 4
"""Days until everything has happened that a month has."""
REFERENCES = extent(1000, 12)
"""How many windows the slowest reference is asked for."""


async def test_every_satoshi_of_a_month(engine: AsyncEngine, tmp_path: Path) -> None:
    month = Month(engine, tmp_path, SCALE, seed=2026)
    begin = time.perf_counter()
    async with month.lived():
        lived = time.perf_counter() - begin
        books = Books(month)
        await books.read()
        books.check_the_order_of_work()
        books.check_every_split()
        books.check_states()
        books.check_accounts_and_days()
        books.check_each_miner()
        books.check_the_whole()
        await books.check_what_is_held()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(month.fleet.ledger):,} slices, {len(month.blocks)} blocks, {month.reorganisations} "
        f"reorganisations, {len(books.paid)} payouts confirmed, {month.payouts_lost} taken back on the way, "
        f"{books.lost:,} sat lost by orphans after payout; lived in {lived:.0f} s, {memory:.0f} MiB at most"
    )
    begin = time.perf_counter()
    last = FIRST_DAY + dt.timedelta(SCALE.days - 1)
    request = Request(
        archive=tmp_path,
        first=FIRST_DAY,
        last=last,
        rules=RULES,
        terms=month.terms,
        now_us=month.now_us,
    )
    outcome = await audit(engine, request)
    print(f"audited in {time.perf_counter() - begin:.0f} s: {outcome.shares:,} shares")
    assert outcome.agrees, [one for one in outcome.tallies if one.different]


class Books:
    """What PostgreSQL has, beside what the month has seen."""

    def __init__(self, month: Month) -> None:
        self.month = month
        self.fleet = month.fleet
        self.height = {block_hash: height for height, block_hash in enumerate(month.chain.main)}
        self.wanted: dict[str, Parts] = {}
        """The split of each block, by the reference."""
        self.balance: dict[str, int] = {}
        self.paid = month.till.confirmed
        self.lost = 0

    async def read(self) -> None:
        self.blocks = {row.hash: row for row in await self._rows("SELECT * FROM block")}
        self.splits: dict[str, list[Any]] = {block_hash: [] for block_hash in self.blocks}
        async with self.month.engine.connect() as connection:
            for row in await connection.execute(sa.select(split)):
                self.splits[row.hash].append(row)
            head = (await connection.execute(sa.text("SELECT * FROM ledger_head"))).one()
        self.head = head
        self.days = await self._rows("SELECT * FROM account_day ORDER BY account, day")
        self.miner_days = await self._rows("SELECT * FROM miner_day")
        self.reject_days = await self._rows("SELECT * FROM reject_day")
        self.postings = await self._rows(
            "SELECT account, day, sum(amount)::bigint AS amount FROM journal_posting "
            "JOIN journal_entry ON journal_entry.id = entry_id GROUP BY account, day"
        )
        for row in self.postings:
            self.balance[row.account] = self.balance.get(row.account, 0) + row.amount

    async def _rows(self, statement: str) -> list[Any]:
        async with self.month.engine.connect() as connection:
            return list(await connection.execute(sa.text(statement)))

    def check_the_order_of_work(self) -> None:
        """I1, I4: as many slices as there were, all work, and each day's by miner."""
        ledger = self.fleet.ledger
        assert self.head.slice_position == len(ledger)
        assert self.head.total == sum(one.work for one in ledger)
        assert {(row.day, row.miner_id): row.shares for row in self.miner_days} == self.fleet.shares
        assert {(row.day, row.miner_id): row.work for row in self.miner_days} == self.fleet.work
        rejects = {(row.day, row.miner_id, row.reason): row.count for row in self.reject_days}
        assert rejects == self.fleet.rejects

    def check_every_split(self) -> None:
        """I2, I4: window and split of each block, recomputed from the order of work by the page's rules."""
        assert self.blocks.keys() == {one.hash for one in self.month.blocks}
        every = -(-len(self.month.blocks) // REFERENCES)
        for number, one in enumerate(self.month.blocks):
            day = RULES.day_of(one.found_us)
            terms = AFTER if day >= self.month.middle else BEFORE
            size = terms.window_multiple * work_of(one.win.network_target)
            by_miner = self._window(one, size, slow=number % every == 0)
            kept = one.win.fees_sat if terms.transaction_fees == "pool" else 0
            parts = split_by_fractions(one.win.reward_sat, terms.commission_bps, by_miner, kept)
            self.wanted[one.hash] = parts
            rows = self.splits[one.hash]
            assert self.blocks[one.hash].commission_sat == parts.commission
            assert {row.miner_id: row.work for row in rows} == by_miner
            assert {row.miner_id: row.amount_sat for row in rows} == parts.amounts
            assert {row.miner_id: row.commission_sat for row in rows} == parts.commissions

    def _window(self, one: Block, size: int, slow: bool) -> dict[int, int]:
        ledger, row = self.fleet.ledger, self.blocks[one.hash]
        if slow:
            found = window_by_line(ledger, one.last_slice, size)
            first, taken, last, total, by_miner = found
        else:
            newest = range(one.last_slice, 0, -1)
            pure = window((Entry(place, *ledger[place - 1]) for place in newest), size)
            first, taken, last, total = (
                pure.first_order,
                pure.first_taken_work,
                pure.last_order,
                pure.work_total,
            )
            by_miner = dict(pure.by_miner)
        assert (row.window_first, row.window_first_work) == (first, taken)
        assert (row.window_last, row.window_work) == (last, total)
        return by_miner

    def check_states(self) -> None:
        """Each block is where the chain has it."""
        top = len(self.month.chain.main)
        for one in self.month.blocks:
            height = self.height.get(one.hash)
            wanted = "orphaned" if height is None else "mature" if top - height >= 100 else "confirmed"
            assert self.blocks[one.hash].state == wanted, one.hash

    def check_accounts_and_days(self) -> None:
        """I3: each day closes where the next opens, and moves by its postings; all accounts sum to 0."""
        assert sum(self.balance.values()) == 0
        moved = {(row.account, row.day): row.amount for row in self.postings}
        closing: dict[str, int] = {}
        for row in self.days:
            assert row.opening == closing.get(row.account, 0)
            assert row.closing == row.opening + moved.pop((row.account, row.day))
            closing[row.account] = row.closing
        assert not moved
        assert closing == self.balance

    def _in_chain(self) -> list[Block]:
        return [one for one in self.month.blocks if one.hash in self.height]

    def _owed(self, account: str) -> int:
        return -self.balance.get(account, 0)

    def check_each_miner(self) -> None:
        """I3, I5: what a miner has, is being paid and was paid is its parts of the blocks in the chain.

        And what it was paid of blocks that are not in the chain any more, which the pool bears.
        """
        earned: Counter[int] = Counter()
        for one in self._in_chain():
            earned.update(self.wanted[one.hash].amounts)
        paid: Counter[int] = Counter()
        for payout_id in self.paid:
            paid.update(self.month.till.amounts[payout_id])
        sent: Counter[int] = Counter()
        for payout_id in self.month.till.sent:
            sent.update(self.month.till.amounts[payout_id])
        for miner_id in range(1, MINERS + 1):
            borne = self.balance.get(f"pool:orphan_loss:{miner_id}", 0)
            assert borne >= 0
            self.lost += borne
            owed = [self._owed(f"miner:{miner_id}:{what}") for what in ("immature", "payable", "paying")]
            assert owed[2] == sent[miner_id]
            assert sum(owed) + paid[miner_id] == earned[miner_id] + borne

    def check_the_whole(self) -> None:
        """I2, I3: miners, commission and held are subsidy and fees of the blocks in the chain."""
        blocks = self._in_chain()
        rewards = sum(SUBSIDY_SAT + one.win.fees_sat for one in blocks)
        commission = sum(self.wanted[one.hash].commission for one in blocks)
        assert rewards == commission + sum(sum(self.wanted[one.hash].amounts.values()) for one in blocks)
        assert commission == sum(self._owed(f"pool:commission:{one}") for one in ("immature", "earned"))
        fees = sum(fee for _, fee in self.paid.values())
        assert self.balance["pool:network_fees"] == fees
        paid = sum(sum(self.month.till.amounts[payout_id].values()) for payout_id in self.paid)
        coins = sum(self.balance.get(f"asset:coinbase:{one}", 0) for one in ("immature", "mature"))
        assert coins == rewards - paid - fees
        miners = sum(self._owed(account) for account in self.balance if account.startswith("miner:"))
        assert miners + paid + commission == rewards + self.lost
        mature = [one for one in blocks if self.blocks[one.hash].state == "mature"]
        assert self._owed("pool:commission:earned") == sum(self.wanted[one.hash].commission for one in mature)
        # Else the month was too quiet to show anything.
        assert self.lost > 0 or SCALE.days < WHOLE_STORY  # in the slice they may not come
        assert self.paid
        assert self.month.payouts_lost > 0 or SCALE.days < WHOLE_STORY

    async def check_what_is_held(self) -> None:
        """What the plan pays and what it holds is all that is payable, to the satoshi."""
        due = await self.month.till.plan()
        payable = sum(self._owed(account) for account in self.balance if account.endswith(":payable"))
        assert due.payments_sat + due.held_sat == payable
        assert self.month.till.held["below_threshold"] > 0
