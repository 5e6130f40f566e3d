"""Some days of a small pool, with all that an audit has to follow, archived as the pool archives them."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from sqlalchemy.ext.asyncio import AsyncEngine

from native import sha256d
from payouts import journal
from payouts.journal import Posting
from pool import archive, archive_book, journal_store
from pool.archive_book import Book
from pool.audit import Outcome, Request, audit
from pool.fpps_accrual import ChainDay, credit_day
from pool.records import Found, Share, Submitted
from pool.reports import Publisher, build_report
from pool.tables import payout_version
from reporting.daily import PoolFacts
from reporting.signing import SigningKey
from tests.integration import paid_world
from tests.integration.ledger_world import ADDRESS, BINS, DAY, EASY, NETWORK, NOON, RULES, World

KEY = SigningKey(b"\x07" * 32)
PUBLISHER = Publisher(
    PoolFacts(name="Test DMP LLP", bin=BINS[0], chain="regtest", address=ADDRESS, commission_bps=150),
    RULES,
    (KEY,),
    "0.1.0",
)
HOUR = 3_600_000_000
SECOND = 1_000_000
MORNING = NOON - 7 * HOUR
"""05:00 in Kazakhstan, when the UTC day begins."""
HEADER = struct.Struct("<I32s32sIII")
BITS = 0x2000FFFF
"""`NETWORK` as a header has it."""
SCRIPT = b"\x00\x14" + bytes(20)
"""What `paid_world` pays to."""


class Days(World):
    """A world whose clock goes on by itself: no two things happen at once."""

    def __init__(self, engine: AsyncEngine, directory: Path) -> None:
        super().__init__(engine)
        self.directory = directory
        self._nonce = 0
        self.now_us = MORNING

    def share(
        self, miner_id: int, worker: str = "a", *, target: bytes = EASY, at_us: int | None = None
    ) -> Share:
        """A share that was worked for."""
        return self._solved(miner_id, worker, target, target, self.now_us if at_us is None else at_us)

    def _solved(self, miner_id: int, worker: str, target: bytes, asked: bytes, at_us: int) -> Share:
        while True:
            self._nonce += 1
            header = HEADER.pack(0x20000000, bytes(32), bytes(32), at_us // SECOND, BITS, self._nonce)
            if sha256d(header)[::-1] <= asked:
                return Share(at_us, miner_id, worker, 1, target, header)

    async def work(self, *nothing: object) -> None:
        self.now_us += SECOND
        await super().work()
        self.now_us += SECOND

    async def mining(self, batches: int = 3) -> None:
        """All three miners work, not alike; some shares are refused."""
        for number in range(batches):
            shares = [self.share(1), self.share(2, "b"), self.share(2)]
            if number % 2:
                shares += [self.share(3), self.share(3, "c"), self.share(1, "d")]
            await self.tell(*shares, self.reject(2), self.reject(3, "duplicate"))
            await self.work()

    async def block(self, miner_id: int, *, kept: bool = True) -> Found:
        """A block among other work; a node takes it, and the chain keeps it or does not."""
        won = self._solved(miner_id, "a", EASY, NETWORK, self.now_us)
        found = self.found(won, height=len(self.node.main), reward=paid_world.REWARD)
        await self.tell(self.share(2), won, found, self.share(1))
        self.node.main.append(found.block_hash)
        await self.tell(Submitted(self.now_us + 1, found.block_hash, "node 1"))
        await self.work()
        if not kept:
            self.node.reorganise(found.height)
            await self.work()
        return found

    async def mature(self) -> None:
        """All blocks in the chain become a hundred deep."""
        self.node.grow(100)
        await self.work()

    async def pay(self, amounts: dict[int, int]) -> int:
        """A payout on its way from nothing to its first confirmation."""
        number = await paid_world.reserve(self, amounts)
        self.now_us += SECOND
        await self.sign(number, amounts)
        self.now_us += SECOND
        await paid_world.confirm(self, number, amounts)
        self.now_us += SECOND
        return number

    async def sign(self, number: int, amounts: dict[int, int]) -> None:
        """The payout's transaction, as far as an audit reads it: its signature is another's business."""
        coin = hashlib.sha256(b"coin %d" % number).digest()
        sums = [amount for _, amount in sorted(amounts.items())]
        outputs = [TransactionOutput(amount, Script(SCRIPT)) for amount in sums]
        worth = sum(sums) + paid_world.FEE + 600
        change = TransactionOutput(600, Script(b"\x00\x14" + b"\x01" * 20))
        bare = Transaction(2, [TransactionInput(coin, 0)], [*outputs, change])
        psbt = PSBT(bare)
        psbt.inputs[0].witness_utxo = TransactionOutput(worth, Script(SCRIPT))
        async with self.engine.begin() as connection:
            await connection.execute(
                sa.insert(payout_version).values(
                    payout_id=number,
                    number=1,
                    purpose="pay",
                    created_us=self.now_us,
                    psbt=psbt.to_string(),
                    inputs=[f"{coin.hex()}:0"],
                    fee_sat=paid_world.FEE,
                    fee_rate_sat_kvb=1000,
                    signed_us=self.now_us,
                    txid=bare.txid().hex(),
                    raw=bare.serialize(),
                    sent_us=self.now_us,
                )
            )

    async def correct(self, amount: int) -> None:
        """A person moves some satoshis of commission to a miner."""
        async with self.engine.begin() as connection:
            at_us = await journal_store.next_instant(connection, self.now_us)
            postings = [
                Posting(journal.COMMISSION_EARNED, amount),
                Posting(journal.miner_payable(1), -amount),
            ]
            entry = journal.correction(postings, "a fee that was promised to be waived")
            await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "person:aliya")
        self.now_us += SECOND

    async def credit(self, day: dt.date, chain: ChainDay | None = None) -> None:
        """FPPS pays for the work of a day; `chain` prices it."""
        async with self.engine.begin() as connection:
            await credit_day(connection, day, self.terms.on(day), chain, RULES.day_of, self.now_us)
        self.now_us += SECOND

    async def close(self) -> None:
        """The archive does what is due."""
        while await archive.close_next(self.engine, self.directory, self.now_us):
            pass
        day = dt.datetime.fromtimestamp(MORNING // SECOND, dt.UTC).date()
        while archive_book.start_of(day + dt.timedelta(days=1)) <= self.now_us:
            await archive_book.close_book(self.engine, self.directory, day, self.terms, RULES, self.now_us)
            day += dt.timedelta(days=1)

    def books(self) -> list[Book]:
        return archive_book.books(self.directory)

    async def report(self, day: dt.date, **how: object) -> bytes:
        self.now_us += SECOND
        made = await build_report(self.engine, day, PUBLISHER, self.now_us, **how)  # type: ignore[arg-type]
        self.now_us += SECOND
        return made

    async def live_three_days(self) -> None:
        """Work, blocks kept and lost, a payout, a correction, reports with a correction; all of it archived.

        The days in Kazakhstan begin at 19:00 UTC. Blocks are found on the first day and mature on the
        second, when a payout is made; a block that was paid is lost on the third.
        """
        for _ in range(4):
            await self.mining()
            self.now_us += HOUR
        await self.block(1)
        await self.block(3, kept=False)
        self.now_us += HOUR
        await self.mining()
        self.now_us = MORNING + 19 * HOUR + 120 * SECOND
        await self.report(DAY)
        await self.mining()
        await self.mature()
        await self.block(2)
        self.now_us += 3 * HOUR
        await self.pay({1: 1_000_000_000, 2: 70_000})
        await self.correct(5_000)
        await self.tell(self.share(3, at_us=NOON))  # from a gateway that was cut off
        await self.work()
        await self.report(DAY, reason="a gateway was cut off")
        self.now_us = MORNING + 43 * HOUR + 120 * SECOND
        await self.report(DAY + dt.timedelta(days=1))
        await self.mining()
        self.node.reorganise(1)
        await self.work()
        self.now_us = MORNING + 67 * HOUR + 120 * SECOND
        await self.report(DAY + dt.timedelta(days=2))
        self.now_us += 12 * HOUR
        await self.close()

    async def audit(self, first: dt.date, last: dt.date, **how: bool) -> Outcome:
        request = Request(self.directory, first, last, RULES, self.terms, self.now_us, KEY.public_key, **how)
        return await audit(self.engine, request)

    async def tamper(self, *statements: str) -> None:
        """Change the live database behind its triggers' back, as nobody may."""
        async with self.engine.begin() as connection:
            await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                await connection.execute(sa.text(statement))


def told(outcome: Outcome) -> list[str]:
    """The differences, for a failing test to show."""
    return [f"{one.kind} | {shown}" for one in outcome.tallies for shown in one.shown]


def content(envelope: bytes) -> dict[str, Any]:
    report = json.loads(envelope)["report"]
    assert isinstance(report, dict)
    return report
