"""The steps of a payout, each small and named, so that the next one follows from the database alone.

reserve; fund, store_version; hand_out, sign, store_signed; broadcast, store_sent; look, store_confirmed,
store_reversed, store_final, store_released. A step at the node stands outside of any transaction: what it
made is stored by the step after it, or forgotten. Invariant 5 holds because a transaction is stored before it
is sent, and because all versions of a payout spend the coins of its first one: one at most is mined.

Which step comes next is decided in `pool.settler`; when a person asks for one, in `pool.settlement_desk`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import journal
from payouts.batching import batches
from payouts.block_state import MATURITY
from payouts.payout_plan import Plan, PlanSettings, plan
from pool import journal_store, payout_facts, register_store
from pool import settlement_store as store
from pool.clock import unix_microseconds
from pool.payout_transaction import (
    Draft,
    WrongTransaction,
    check_signed,
    read_draft,
    txid_signed,
    txid_unsigned,
    worth_of,
)
from pool.settlement_config import SettlementSection
from pool.settlement_store import UNPAID, Block, Payout, Tenure, Version
from pool.signers import Signer
from pool.wallet import Place, Wallet, WalletError
from register.address import Chain, script_for
from register.rules import Rules

log = structlog.get_logger(__name__)

ACTOR: Final = "settler"
"""Who acts where no person does."""
REGISTER_KINDS: Final = ("miner", "licence", "address")
"""What of the register a plan asks for."""


class Stuck(WalletError):
    """Something that time does not mend: a person has to decide."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a settler works with."""

    engine: AsyncEngine
    wallet: Wallet
    signer: Signer | None
    """None where a person signs."""
    rules: Rules
    section: SettlementSection
    chain: Chain
    change_address: str
    """The pool's own: pool.address."""
    now_us: Callable[[], int] = unix_microseconds

    @property
    def change_script(self) -> bytes:
        """What pays the change address."""
        return script_for(self.change_address, self.chain)


class Sighting(NamedTuple):
    """What the node says of a payout's versions: the one in the chain, and what the wallet knows of each."""

    confirmed: tuple[Version, Block, int] | None
    """With its block and its confirmations."""
    places: dict[int, Place]
    """By version number."""


class Steps:
    """What a settler can do, step by step; each may be the last one before a crash."""

    def __init__(self, means: Means) -> None:
        self.means = means

    # From what is owed to a reservation

    async def plan(self, connection: AsyncConnection, at_us: int) -> Plan:
        """Whom a run would pay now, inside the caller's transaction."""
        means = self.means
        register = await register_store.read(means.engine, REGISTER_KINDS)
        payees = await payout_facts.payees(
            connection, register, means.rules, at_us, means.section.threshold_sat
        )
        return plan(payees, PlanSettings(means.chain), at_us, means.rules)

    async def reserve(
        self,
        tenure: Tenure,
        schedule: str | None,
        actor: str,
        reason: str,
        booked: frozenset[str] = frozenset(),
    ) -> list[int]:
        """A run: all that is to be paid now, reserved; the payouts that it made.

        A run of the schedule that has nothing to pay is kept too, so that its date is over. `booked` are
        txids of payments by hand that a person has booked (`require_known`); that is kept with the run.
        """
        means = self.means
        await self.require_known(tenure, booked)
        if booked:
            reason = f"{reason}; booked by hand: {', '.join(sorted(booked))}"
        async with tenure.write() as connection:
            at_us = await journal_store.next_instant(connection, means.now_us())
            groups = batches((await self.plan(connection, at_us)).payments, means.section.max_weight)
            if not groups and schedule is None and not booked:
                return []
            day = means.rules.day_of(at_us)
            run_id = await store.insert_run(connection, at_us, day, schedule, actor, reason)
            made = []
            for number, dues in enumerate(groups, 1):
                payout_id = await store.insert_payout(connection, run_id, number, dues, at_us)
                entry = journal.payout_reserved(payout_id, store.by_miner(dues))
                await journal_store.book(connection, entry, at_us, day, actor)
                await store.tell(connection, payout_id, at_us, actor, f"reserved by run {run_id}: {reason}")
                made.append(payout_id)
            return made

    async def require_known(self, tenure: Tenure, booked: frozenset[str]) -> None:
        """Raises Stuck when the wallet has paid a miner by a transaction that the database does not know."""
        async with tenure.read() as connection:
            since, known = await store.known_transactions(connection)
        sent = await self.means.wallet.sent_since(since)
        register = await register_store.read(self.means.engine, ("address",))
        addresses = {one.address for one in register.addresses.values()}
        unknown = sent.keys() - known - booked
        if unknown:
            unknown -= {txid_unsigned(psbt) for psbt in await self._unsigned(tenure)}
            async with tenure.read() as connection:
                unknown -= await journal_store.named_by_people(connection, unknown)
        for txid in sorted(unknown):
            if not addresses.isdisjoint(sent[txid]):
                raise Stuck(
                    f"the wallet has sent {txid}, which pays miners and is no payout's: the database is "
                    f"older than the wallet (restored from a backup?), or somebody pays by hand; a run would "
                    f"pay twice. Restore a newer backup; or book what was paid with `dmpool ledger correct`, "
                    f"and name the txid in its reason, or say so with `dmpool payouts run --booked {txid}`"
                )

    async def _unsigned(self, tenure: Tenure) -> list[str]:
        async with tenure.read() as connection:
            return await store.unsigned_psbts(connection)

    # From a reservation to a transaction

    async def lock_coins(self, tenure: Tenure) -> dict[str, int]:
        """Keep the wallet off the coins of live payouts; these coins, with the payout of each."""
        async with tenure.read() as connection:
            live, over = await store.coins(connection)
        await self.means.wallet.reserve(live, over)
        return live

    async def fund(self, payout: Payout, rate: int, coins: Sequence[str] = ()) -> Draft:
        """A draft that pays all of a payout; it spends all of `coins`."""
        wallet, address = self.means.wallet, self.means.change_address
        payments = [(due.address, due.amount_sat) for due in payout.payments]
        psbt = await wallet.fund(payments, address, rate, coins)
        scripts = [(due.script, due.amount_sat) for due in payout.payments]
        return read_draft(psbt, scripts, self.means.change_script, rate)

    async def sweep(self, payout: Payout, rate: int) -> Draft:
        """A draft that takes the coins of a payout's first version, which all others spend too, back."""
        change = self.means.change_script
        first = payout.versions[0]
        worth = worth_of(first.psbt)
        psbt = await self.means.wallet.sweep(first.inputs, worth, self.means.change_address, rate)
        return read_draft(psbt, [], change, rate)

    async def store_version(
        self, tenure: Tenure, payout: Payout, draft: Draft, purpose: str, actor: str, note: str
    ) -> None:
        """Store a draft as the newest version; refuses one on a coin of another live payout (I5)."""
        number = len(payout.versions) + 1
        first = payout.versions[0].inputs if payout.versions else draft.inputs
        if not set(first) <= set(draft.inputs):
            raise WrongTransaction(
                f"payout {payout.id} version {number} leaves out a coin of the first: both could be mined"
            )
        now_us = self.means.now_us()
        async with tenure.write() as connection:
            live, _ = await store.coins(connection)
            for coin in draft.inputs:
                if live.get(coin, payout.id) != payout.id:
                    raise WrongTransaction(
                        f"payout {payout.id}: the wallet chose coin {coin}, which is payout {live[coin]}'s"
                    )
            await store.insert_version(connection, payout.id, number, purpose, draft, now_us)
            await store.tell(connection, payout.id, now_us, actor, note, number)

    async def hand_out(self, tenure: Tenure, payout: Payout, version: Version, actor: str) -> None:
        """Note that somebody outside is about to get a PSBT: from now on it may come back signed."""
        if version.exported_us is not None:
            return
        now_us = self.means.now_us()
        async with tenure.write() as connection:
            await store.update_version(connection, payout.id, version.number, {"exported_us": now_us})
            await store.tell(connection, payout.id, now_us, actor, "given out to be signed", version.number)

    async def sign(self, version: Version, signer: Signer) -> bytes:
        """The signed transaction of a version, checked."""
        raw = await self.means.wallet.finalize(await signer.sign(version.psbt))
        if raw is None:
            raise Stuck(
                "the signer's signatures are not enough: the wallet lacks a key; give it the key, or set "
                'settlement.signer = "psbt" and export'
            )
        await self.check(version, raw)
        return raw

    async def check(self, version: Version, raw: bytes) -> None:
        """Raises WrongTransaction or Refused unless it is the version, well signed, and can be mined."""
        check_signed(version.psbt, raw)
        await self.means.wallet.require_valid(raw)

    async def store_signed(
        self, tenure: Tenure, payout: Payout, version: Version, raw: bytes, actor: str, note: str
    ) -> None:
        """Store the transaction with its txid, before anybody sends it (I5)."""
        txid = txid_signed(version.psbt, raw)
        now_us = self.means.now_us()
        async with tenure.write() as connection:
            signed = {"signed_us": now_us, "txid": txid, "raw": raw}
            await store.update_version(connection, payout.id, version.number, signed)
            await store.move(connection, payout.id, ("reserved",), "signed")
            await store.tell(connection, payout.id, now_us, actor, f"{note}: {txid}", version.number)

    # From a transaction to the chain

    async def broadcast(self, raw: bytes) -> None:
        """Give the network the stored transaction, as often as it takes."""
        await self.means.wallet.send(raw)

    async def store_sent(self, tenure: Tenure, payout: Payout, version: Version) -> None:
        """The node has taken it."""
        now_us = self.means.now_us()
        async with tenure.write() as connection:
            await store.update_version(connection, payout.id, version.number, {"sent_us": now_us})
            await store.move(connection, payout.id, ("signed",), "sent")
            await store.tell(connection, payout.id, now_us, ACTOR, f"sent: {version.txid}", version.number)

    async def look(self, payout: Payout) -> Sighting:
        """Where the versions of a payout are."""
        confirmed, places = None, {}
        for version in payout.versions:
            place = await self.means.wallet.place(version.txid or txid_unsigned(version.psbt))
            if place is None:
                continue
            places[version.number] = place
            if place.block_hash is not None and place.height is not None and place.time_us is not None:
                block = Block(place.block_hash, place.height, place.time_us)
                confirmed = (version, block, place.confirmations)
        return Sighting(confirmed, places)

    async def store_confirmed(self, tenure: Tenure, payout: Payout, version: Version, block: Block) -> None:
        """A version is in the chain: the miners are paid."""
        entry = journal.payout_confirmed(payout.id, payout.amounts, version.fee_sat)
        async with tenure.write() as connection:
            if await store.move(connection, payout.id, UNPAID, "confirmed"):
                at_us = await self._book(connection, entry)
                note = f"in block {block.height}: {version.txid}"
                await store.tell(connection, payout.id, at_us, ACTOR, note, version.number, block)

    async def store_reversed(self, tenure: Tenure, payout: Payout, number: int, block: Block) -> None:
        """The block that had it left the chain: not paid, and on its way again."""
        async with tenure.write() as connection:
            booked = await journal_store.newest_entry(
                connection, journal.EntryKind.PAYOUT_CONFIRMED, payout_id=payout.id
            )
            if booked is not None and await store.move(connection, payout.id, ("confirmed",), "sent"):
                at_us = await self._book(connection, journal.payout_reversed(payout.id, booked))
                note = f"block {block.hash} left the chain; it is sent again"
                await store.tell(connection, payout.id, at_us, ACTOR, note, number)

    async def store_final(self, tenure: Tenure, payout: Payout, version: Version) -> None:
        """So deep that nothing takes it back."""
        async with tenure.write() as connection:
            if await store.move(connection, payout.id, ("confirmed",), "final"):
                note = f"{MATURITY} blocks deep"
                await store.tell(connection, payout.id, self.means.now_us(), ACTOR, note, version.number)

    async def store_released(
        self, tenure: Tenure, payout: Payout, cancelled_by: Version | None, actor: str, note: str
    ) -> None:
        """Nothing can pay it any more: what it was to pay is payable again."""
        if cancelled_by is None:
            entry = journal.payout_released(payout.id, payout.amounts)
        else:
            entry = journal.payout_cancelled(payout.id, payout.amounts, cancelled_by.fee_sat)
        async with tenure.write() as connection:
            if await store.move(connection, payout.id, UNPAID, "abandoned"):
                at_us = await self._book(connection, entry, actor)
                number = cancelled_by.number if cancelled_by else None
                await store.tell(connection, payout.id, at_us, actor, note, number)

    async def note(self, tenure: Tenure, payout_id: int, text: str) -> None:
        """Tell once what a payout waits for; other numbers behind the first comma are no news."""
        async with tenure.write() as connection:
            last = await store.last_note(connection, payout_id) or ""
            if last.partition(",")[0] != text.partition(",")[0]:
                await store.tell(connection, payout_id, self.means.now_us(), ACTOR, text)
                log.error("payout_waits", payout=payout_id, reason=text)

    async def _book(self, connection: AsyncConnection, entry: journal.Entry, actor: str = ACTOR) -> int:
        return await store.book(connection, entry, self.means.now_us(), self.means.rules.day_of, actor)
