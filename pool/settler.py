"""The settler: brings every payout from its reservation to a transaction that is final, whatever happens.

It looks at the database and the node, does the one step that comes next (`pool.settlement_steps`), and looks
again; so it goes on from wherever it, or another one, was killed. A payout counts as paid from its first
confirmation; a reorganisation takes that back, and the same transaction is sent again. What it was to pay is
payable again only when nothing can pay it any more: no version was ever out of this program's hands, or a
transaction that spends its coins otherwise is 100 blocks deep.

Each look is made under the settler's lock, which is given back in between, so that commands get it
(`pool.settlement_desk`). With the node or PostgreSQL away it waits. One payout's trouble stops no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from payouts.block_state import MATURITY, State, transition
from pool import settlement_store as store
from pool.database import UNAVAILABLE, reason_of, refused
from pool.node import NodeDown, NodeError, NodeSyncing
from pool.payout_schedule import Schedule
from pool.payout_transaction import Draft, WrongTransaction, stripped, unsigned
from pool.settlement_steps import ACTOR, Sighting, Steps, Stuck
from pool.settlement_store import UNPAID, Block, BusyError, Fenced, Payout, Tenure, Version
from pool.signers import Signer, SignerError
from pool.wallet import Balance, CoinTaken, Refused, WalletError

log = structlog.get_logger(__name__)

LIVE_SECONDS: Final = 5.0
"""Between two looks while a payout is under way."""
IDLE_SECONDS: Final = 30.0
PROBLEMS: Final = (WrongTransaction, SignerError, NodeError)
"""What one payout may raise without stopping the others."""
_STEPS: Final = 20
"""More than any payout can take at once; one that wants more goes on at the next look."""
_TROUBLE: Final[tuple[type[Exception], ...]] = (*UNAVAILABLE, NodeError, Fenced)
"""What ends a look, and may be over at the next."""
_MINUTE_US: Final = 60_000_000


class Health(NamedTuple):
    """What a look came to."""

    live: int
    """Payouts to which something may still happen."""
    problems: int
    """Those of them that wait for something that is wrong."""
    balance: Balance


class Settler(Steps):
    """Whoever acts on payouts: the task of the ledger's process, or a command."""

    # One payout, as far as it goes now

    async def advance(self, tenure: Tenure, payout_id: int, *, only_looking: bool = False) -> str | None:
        """Do all that can be done for a payout now; what is wrong, where something is.

        `only_looking`: what the chain says of it is stored, and nothing is drafted, signed or sent.
        Raises NodeDown or NodeSyncing when the node cannot serve, and Fenced.
        """
        try:
            for _ in range(_STEPS):
                payout = await self.read(tenure, payout_id)
                if payout is None or payout.state not in store.LIVE:
                    return None
                try:
                    again = await self._step(tenure, payout, only_looking)
                except CoinTaken:
                    # Perhaps by another version of ours that was mined a moment ago.
                    if (await self.look(payout)).confirmed is None:
                        raise await self._taken(payout) from None
                    continue
                if not again:
                    return None
        except (NodeDown, NodeSyncing):
            raise
        except PROBLEMS as error:
            await self.note(tenure, payout_id, str(error))
            return str(error)
        return None

    async def read(self, tenure: Tenure, payout_id: int) -> Payout | None:
        """A payout as it stands."""
        async with tenure.read() as connection:
            return await store.read(connection, payout_id)

    async def _step(self, tenure: Tenure, payout: Payout, only_looking: bool) -> bool:
        """The one next step; False when there is none now."""
        sighting = await self.look(payout)
        if await self._adopt(tenure, payout, sighting):
            return True
        if sighting.confirmed is not None:
            return await self._follow(tenure, payout, *sighting.confirmed)
        if payout.state == "confirmed":
            return await self._reverse_if_gone(tenure, payout, sighting)
        if only_looking:
            return False
        if payout.newest is None:
            await self._draft(tenure, payout)
            return True
        if payout.newest.txid is None and self.means.signer is not None:
            await self._sign_or_go_on(tenure, payout, payout.newest, self.means.signer)
            return True
        if payout.wanted is None:
            return False
        return await self._keep_sending(tenure, payout, payout.wanted)

    async def _draft(self, tenure: Tenure, payout: Payout) -> None:
        await self.lock_coins(tenure)
        draft = await self.fund(payout, await self.rate())
        await self.store_version(
            tenure, payout, draft, "pay", ACTOR, f"drafted, fee {draft.fee_sat} satoshis"
        )

    async def _sign_or_go_on(self, tenure: Tenure, payout: Payout, version: Version, signer: Signer) -> None:
        """Sign; where that fails, what was signed before stays on its way all the same."""
        try:
            await self._sign(tenure, payout, version, signer)
        except PROBLEMS as error:
            if payout.wanted is not None and not isinstance(error, (NodeDown, NodeSyncing, CoinTaken)):
                await self._keep_sending(tenure, payout, payout.wanted)
            raise

    async def _sign(self, tenure: Tenure, payout: Payout, version: Version, signer: Signer) -> None:
        if signer.hands_out:
            await self.hand_out(tenure, payout, version, ACTOR)
        raw = await self.sign(version, signer)
        await self.store_signed(tenure, payout, version, raw, ACTOR, "signed")

    async def _adopt(self, tenure: Tenure, payout: Payout, sighting: Sighting) -> bool:
        """A version that was signed and sent elsewhere without being imported is ours all the same."""
        for version in payout.versions:
            place = sighting.places.get(version.number)
            if version.txid is None and place is not None and stripped(place.raw) == unsigned(version.psbt):
                await self.store_signed(
                    tenure, payout, version, place.raw, ACTOR, "was signed and sent elsewhere"
                )
                return True
        return False

    async def _keep_sending(self, tenure: Tenure, payout: Payout, version: Version) -> bool:
        if version.txid is None or version.raw is None:
            return False
        if await self.means.wallet.fees_in_mempool(version.txid) is None:
            try:
                await self.broadcast(version.raw)
            except CoinTaken:
                raise
            except Refused:
                if await self._bump_if_late(tenure, payout, version):
                    return True
                raise
        if version.sent_us is None:
            await self.store_sent(tenure, payout, version)
            return True
        return await self._bump_if_late(tenure, payout, version)

    # In the chain, and out of it

    async def _follow(
        self, tenure: Tenure, payout: Payout, version: Version, block: Block, confirmations: int
    ) -> bool:
        """A version is in the chain."""
        if payout.state == "confirmed":
            async with tenure.read() as connection:
                booked = await store.confirmed_in(connection, payout.id)
            if booked is not None and booked[1].hash != block.hash:
                await self.store_reversed(tenure, payout, *booked)
                return True
        if version.purpose == "cancel":
            if confirmations < MATURITY:
                return False
            note = f"cancelled: {version.txid} is {MATURITY} blocks deep"
            await self.store_released(tenure, payout, version, ACTOR, note)
            return True
        if payout.state in UNPAID:
            await self.store_confirmed(tenure, payout, version, block)
            return True
        if confirmations >= MATURITY:
            await self.store_final(tenure, payout, version)
        return False

    async def _reverse_if_gone(self, tenure: Tenure, payout: Payout, sighting: Sighting) -> bool:
        """Only a chain that went another way counts: a node that starts may lack its newest blocks."""
        async with tenure.read() as connection:
            booked = await store.confirmed_in(connection, payout.id)
        if booked is None:
            return False
        node, (number, block) = self.means.wallet.node, booked
        confirmations = await node.confirmations(block.hash)
        if transition(State.CONFIRMED, confirmations, block.height, await node.height()) is State.ORPHANED:
            await self.store_reversed(tenure, payout, number, block)
            return True
        if confirmations is not None and confirmations >= 1 and number not in sighting.places:
            raise Stuck(
                f"the wallet does not know the transaction of this payout in block {block.hash}; let the "
                f"node run rescanblockchain {max(block.height - MATURITY, 0)} on it"
            )
        return False

    async def _taken(self, payout: Payout) -> Stuck:
        """What to say when a transaction of ours cannot be mined as the chain stands."""
        coins = [coin for coin in payout.versions[0].inputs if not await self.means.wallet.in_chain(coin)]
        return Stuck(
            f"{f'coin {coins[0]}' if coins else 'a coin'} of this payout was spent by a transaction that is "
            f"none of ours: it pays nobody unless the chain takes that back; find out who uses the wallet, "
            f"then see `dmpool payouts abandon {payout.id}`"
        )

    # Fees

    async def rate(self) -> int:
        """What a new transaction pays, in satoshis for 1000 virtual bytes; raises Stuck above the cap."""
        wallet, section = self.means.wallet, self.means.section
        least, cap = await wallet.least_rate(), section.max_rate_sat_kvb
        if least > cap:
            raise Stuck(
                f"the node's mempool takes only what pays more than settlement.max_fee_rate allows, {least} "
                f"satoshis for 1000 virtual bytes and not {cap}; wait, or raise it"
            )
        return min(max(await wallet.estimate(section.fee_target_blocks) or 0, least), cap)

    async def _bump_if_late(self, tenure: Tenure, payout: Payout, version: Version) -> bool:
        """Raise the fee when the time is over and what the network asks has risen since."""
        late_us = self.means.section.bump_after_minutes * _MINUTE_US
        newest = payout.newest
        if newest is None or newest.txid is None:
            return False  # a newer version waits for its signature
        if self.means.now_us() < (version.sent_us or version.created_us) + late_us:
            return False
        rate = await self.rate()
        if rate <= newest.rate:
            return False
        await self.bump(tenure, payout, rate, ACTOR, "not mined in time, and the estimate has risen")
        return True

    async def bump(self, tenure: Tenure, payout: Payout, rate: int, actor: str, reason: str) -> Draft:
        """One more version of the newest one that pays at least `rate`: it can replace all others."""
        return await self.replace(
            tenure, payout, rate, "cancel" if payout.cancelling else "pay", actor, reason
        )

    async def replace(
        self, tenure: Tenure, payout: Payout, rate: int, purpose: str, actor: str, reason: str
    ) -> Draft:
        """A version that the network takes in place of every one before; raises Stuck."""
        await self.lock_coins(tenure)
        draft = await self._replacement(payout, rate, purpose)
        what = "to take it back" if purpose == "cancel" else "with a higher fee"
        note = f"drafted {what}, fee {draft.fee_sat} satoshis: {reason}"
        await self.store_version(tenure, payout, draft, purpose, actor, note)
        return draft

    async def _replacement(self, payout: Payout, rate: int, purpose: str) -> Draft:
        """Higher in rate, and in fee by what relaying it costs (BIP125, rules 3 and 4)."""
        wallet, cap = self.means.wallet, self.means.section.max_rate_sat_kvb
        step = await wallet.least_raise()
        rate = max(rate, max(one.rate for one in payout.versions) + step)
        paid = max(one.fee_sat for one in payout.versions)
        for version in payout.versions:
            if version.txid is not None:  # with what miners may have spent of it already
                paid = max(paid, await wallet.fees_in_mempool(version.txid) or 0)
        while rate <= cap:
            draft = await self._draft_at(payout, rate, purpose)
            size = draft.fee_sat * 1000 // rate + 1  # at least: what was too little for change is fee too
            wanted = paid + size * step // 1000 + 1
            if draft.fee_sat >= wanted:
                return draft
            rate = max(rate + step, wanted * 1000 // size + 1)
        raise Stuck(
            f"to replace what there is, {rate} satoshis for 1000 virtual bytes must be paid, and "
            f"settlement.max_fee_rate allows {cap}; wait, or raise it"
        )

    async def _draft_at(self, payout: Payout, rate: int, purpose: str) -> Draft:
        if purpose == "cancel":
            return await self.sweep(payout, rate)
        return await self.fund(payout, rate, payout.versions[-1].inputs)


class SettlerTask:
    """The settler of a ledger's process, for ever."""

    def __init__(
        self, settler: Settler, report: Callable[[Health | None], None] = lambda health: None
    ) -> None:
        """`report` hears of every look that was made, and with None of those that could not be."""
        self._settler = settler
        self._report = report
        section = settler.means.section
        self._schedule = Schedule.parse(section.schedule) if section.schedule else None
        self._trouble = ""

    async def run(self) -> None:
        """Look after the payouts until cancelled."""
        while True:
            live, trouble = 0, ""
            try:
                health = await self.tick()
                live = health.live - health.problems  # a signer that fails is not asked every few seconds
                self._report(health)
            except BusyError:
                live = 1  # somebody else is at it: come back soon
            except _TROUBLE as error:
                if isinstance(error, UNAVAILABLE) and refused(error):
                    raise
                trouble, live = reason_of(error), 1
                self._report(None)
            if trouble and trouble != self._trouble:
                log.warning("settler_waits", reason=trouble)
            self._trouble = trouble
            # Whole, however long the look took: commands wait for the lock meanwhile.
            await asyncio.sleep(LIVE_SECONDS if live else IDLE_SECONDS)

    async def tick(self) -> Health:
        """One look at everything; raises BusyError where another settler is at work."""
        settler, means = self._settler, self._settler.means
        async with store.tenure(means.engine) as tenure:
            await means.wallet.prepare(means.change_address)
            overdue = await self._run_if_due(tenure)
            async with tenure.read() as connection:
                live = await store.live_ids(connection)
            problems = [await settler.advance(tenure, payout_id) for payout_id in live]
            if live:
                await settler.lock_coins(tenure)
            return Health(
                len(live) + overdue, sum(map(bool, problems)) + overdue, await means.wallet.balance()
            )

    async def _run_if_due(self, tenure: Tenure) -> bool:
        """Whether a run is due and cannot be made."""
        if self._schedule is None:
            return False
        means = self._settler.means
        due = self._schedule.last_due(means.now_us(), means.rules)
        async with tenure.read() as connection:
            if await store.has_run(connection, due):
                return False
        try:
            made = await self._settler.reserve(tenure, due, ACTOR, f"scheduled for {due}")
        except WalletError as error:
            log.error("payout_run_failed", day=str(due), reason=str(error))
            return True
        log.info("payout_run", day=str(due), transactions=len(made))
        return False
