"""The settler of the month: plans, reserves, sends, and follows payouts, with made-up transactions.

The plan, the SQL and the journal are the pool's own; only wallet and network are not there. What signing and
sending is like is shown against a real node in tests/integration/test_settlement*.py.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Final

from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import journal
from payouts.batching import batches
from payouts.journal import EntryKind
from payouts.payout_plan import Due, Plan, PlanSettings, plan
from pool import journal_store, payout_facts
from pool import settlement_store as store
from pool.payout_transaction import read_draft
from pool.settlement_store import Block, Tenure
from register.register import Register
from register.rules import Rules

THRESHOLD_SAT: Final = 2_000_000
MAX_WEIGHT: Final = 6_000
"""Small, so that a run makes several transactions."""
ACTOR: Final = "settler"
_UNPAID: Final = ("reserved", "signed", "sent")


class Till:
    """Live payouts, and a second count of what left the pool."""

    def __init__(
        self, tenure: Tenure, engine: AsyncEngine, register: Register, rules: Rules, now_us: Callable[[], int]
    ) -> None:
        self._tenure = tenure
        self._engine = engine
        self._register = register
        self._rules = rules
        self._now_us = now_us
        self.sent: dict[int, int] = {}
        """Fee by payout, of those that wait for a block."""
        self.confirmed: dict[int, tuple[str, int]] = {}
        """Block and fee by payout."""
        self.amounts: dict[int, dict[int, int]] = {}
        self.held: Counter[str] = Counter()
        self._dues: dict[int, list[Due]] = {}

    async def plan(self) -> Plan:
        """Whom a run would pay now."""
        async with self._tenure.read() as connection:
            owed = await payout_facts.payees(
                connection, self._register, self._rules, self._now_us(), THRESHOLD_SAT
            )
        return plan(owed, PlanSettings("regtest"), self._now_us(), self._rules)

    async def run(self) -> list[int]:
        """Reserve everybody who is due; the payouts."""
        due = await self.plan()
        self.held.update(one.reason.value for one in due.held)
        made: list[int] = []
        if not due.payments:
            return made
        async with self._tenure.write() as connection:
            at_us = await journal_store.next_instant(connection, self._now_us())
            day = self._rules.day_of(at_us)
            run_id = await store.insert_run(connection, at_us, day, f"daily {day}", ACTOR, "daily")
            for number, dues in enumerate(batches(due.payments, MAX_WEIGHT), 1):
                payout_id = await store.insert_payout(connection, run_id, number, dues, at_us)
                self._dues[payout_id] = dues
                amounts: Counter[int] = Counter()
                for one in dues:
                    amounts[one.miner_id] += one.amount_sat
                self.amounts[payout_id] = dict(amounts)
                entry = journal.payout_reserved(payout_id, amounts)
                await journal_store.book(connection, entry, at_us, day, ACTOR)
                await store.tell(connection, payout_id, at_us, ACTOR, f"reserved by run {run_id}")
                made.append(payout_id)
        return made

    async def send(self, payout_id: int, fee_sat: int) -> None:
        """Build, sign, store, and broadcast, all at once."""
        now_us = self._now_us()
        dues = [(one.script, one.amount_sat) for one in self._dues[payout_id]]
        made = self._transaction(payout_id, fee_sat)
        raw, txid = made.tx.serialize(), made.tx.txid().hex()
        draft = read_draft(made.to_string(), dues, b"", 1000)
        async with self._tenure.write() as connection:
            await store.insert_version(connection, payout_id, 1, "pay", draft, now_us)
            await store.tell(connection, payout_id, now_us, ACTOR, "funded", 1)
            signed = {"signed_us": now_us, "txid": txid, "raw": raw}
            await store.update_version(connection, payout_id, 1, signed)
            await store.move(connection, payout_id, ("reserved",), "signed")
            await store.tell(connection, payout_id, now_us, ACTOR, f"signed: {txid}", 1)
            await store.update_version(connection, payout_id, 1, {"sent_us": now_us})
            await store.move(connection, payout_id, ("signed",), "sent")
            await store.tell(connection, payout_id, now_us, ACTOR, f"sent: {txid}", 1)
        self.sent[payout_id] = fee_sat

    def _transaction(self, payout_id: int, fee_sat: int) -> PSBT:
        """A coin of just that worth to the payments; nobody signs it."""
        coin = TransactionInput(hashlib.sha256(f"coin {payout_id}".encode()).digest(), 0)
        outputs = [TransactionOutput(one.amount_sat, Script(one.script)) for one in self._dues[payout_id]]
        made = PSBT(Transaction(vin=[coin], vout=outputs))
        worth = sum(one.value for one in outputs) + fee_sat
        made.inputs[0].witness_utxo = TransactionOutput(worth, outputs[0].script_pubkey)
        return made

    async def abandon(self, payout_id: int) -> None:
        """Taken back before anybody could sign it."""
        entry = journal.payout_released(payout_id, self.amounts.pop(payout_id))
        async with self._tenure.write() as connection:
            assert await store.move(connection, payout_id, _UNPAID, "abandoned")
            at_us = await self._book(connection, entry)
            await store.tell(connection, payout_id, at_us, ACTOR, "abandoned")

    async def mined(self, block_hash: str, height: int) -> None:
        """A block has all that was sent."""
        block = Block(block_hash, height, self._now_us())
        for payout_id, fee_sat in self.sent.items():
            entry = journal.payout_confirmed(payout_id, self.amounts[payout_id], fee_sat)
            async with self._tenure.write() as connection:
                assert await store.move(connection, payout_id, _UNPAID, "confirmed")
                at_us = await self._book(connection, entry)
                await store.tell(connection, payout_id, at_us, ACTOR, f"in block {height}", 1, block)
            self.confirmed[payout_id] = (block_hash, fee_sat)
        self.sent.clear()

    async def follow(self, in_chain: Callable[[str], bool]) -> int:
        """Payouts whose block left the chain are on their way again; how many there were."""
        lost = [payout_id for payout_id, (block, _) in self.confirmed.items() if not in_chain(block)]
        for payout_id in lost:
            async with self._tenure.write() as connection:
                booked = await journal_store.newest_entry(
                    connection, EntryKind.PAYOUT_CONFIRMED, payout_id=payout_id
                )
                assert booked is not None
                assert await store.move(connection, payout_id, ("confirmed",), "sent")
                at_us = await self._book(connection, journal.payout_reversed(payout_id, booked))
                await store.tell(connection, payout_id, at_us, ACTOR, "its block left the chain", 1)
            self.sent[payout_id] = self.confirmed.pop(payout_id)[1]
        return len(lost)

    async def _book(self, connection: AsyncConnection, entry: journal.Entry) -> int:
        return await store.book(connection, entry, self._now_us(), self._rules.day_of, ACTOR)
