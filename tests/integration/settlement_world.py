"""A pool that pays on a private regtest: miners with balances, a wallet with coins, a settler.

Coins are real (mined by this node to the pool's address); what the pool owes is booked by hand, so that a
test says what it needs in a line. Time is `now_us`, which a test moves.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts import journal
from payouts.journal import Posting
from pool import journal_store
from pool import settlement_store as store
from pool.bitcoind import Bitcoind
from pool.settlement_config import SettlementSection
from pool.settlement_steps import Means
from pool.settlement_store import Payout, Tenure
from pool.settler import Settler, SettlerTask
from pool.signers import signer_of
from pool.wallet import COIN, Wallet
from register.miner import Miner
from tests.integration.bitcoind_process import BitcoindProcess, running_bitcoind
from tests.integration.entering import enter_miner, made_up_address
from tests.integration.ledger_world import NOON, RULES
from tests.register_world import bin_number

NOBODY = "raw(51)#8lvh9jxk"
"""Where blocks of strangers pay."""
OPTIONS = ("-disablewallet=0", "-txindex=0", "-keypool=1")
MATURE = 100


class SettlementWorld:
    """See the head of this file."""

    def __init__(self, engine: AsyncEngine, process: BitcoindProcess) -> None:
        self.engine = engine
        self.process = process
        self.node: Bitcoind = process.client()
        self.now_us = NOON
        self.address = ""
        self.miners: list[Miner] = []
        self.settings: dict[str, Any] = {"wallet": "pool", "signer": "node", "threshold_sat": 100_000}
        self._owed = 0

    async def rpc(self, method: str, *params: object, wallet: str | None = "pool") -> Any:
        """A call of the node or of one of its wallets."""
        return await self.node.call(method, *params, wallet=wallet)

    async def settle_in(self, miners: int = 3, coins: int = 3) -> None:
        """Miners, a wallet with keys, and coins of 50 bitcoin that are deep enough to be spent."""
        await self.rpc("createwallet", "pool", wallet=None)
        self.address = await self.rpc("getnewaddress", "", "bech32")
        await self.fill(coins)
        for number in range(1, miners + 1):
            name = f"miner{number}"
            self.miners.append(await enter_miner(self.engine, name, bin_number(number), workers=("rig1",)))

    async def fill(self, coins: int) -> None:
        """So many more coins of the pool, spendable."""
        await self.rpc("generatetoaddress", coins, self.address, wallet=None)
        await self.mine(MATURE + 1)

    async def mine(self, blocks: int = 1) -> list[str]:
        """Strangers' blocks."""
        return list(await self.rpc("generatetodescriptor", blocks, NOBODY, wallet=None))

    async def mine_empty(self, blocks: int = 1) -> None:
        """Strangers' blocks without a transaction of the mempool."""
        for _ in range(blocks):
            await self.rpc("generateblock", NOBODY, [], wallet=None)

    async def reorganise(self, blocks: int) -> None:
        """The last blocks leave the chain, and one more than they were, all empty, take their place."""
        height = await self.node.height()
        gone = await self.rpc("getblockhash", height - blocks + 1, wallet=None)
        await self.rpc("invalidateblock", gone, wallet=None)
        await self.mine_empty(blocks + 1)

    async def owe(self, amounts: Mapping[int, int]) -> None:
        """Book what miners may be paid, as if blocks had matured."""
        postings = [
            Posting(journal.COINBASE_MATURE, sum(amounts.values())),
            *(Posting(journal.miner_payable(miner_id), -amount) for miner_id, amount in amounts.items()),
        ]
        self._owed += sum(amounts.values())
        async with self.engine.begin() as connection:
            at_us = await journal_store.next_instant(connection, self.now_us)
            entry = journal.correction(postings, "opening for a test")
            await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "tester")

    def settler(self, kind: type[Settler] = Settler, **changes: object) -> Settler:
        """A settler by the settings, some of them changed."""
        section = SettlementSection.model_validate({**self.settings, **changes})
        wallet = Wallet(self.node, section.wallet)
        return kind(
            Means(
                engine=self.engine,
                wallet=wallet,
                signer=signer_of(section, wallet),
                rules=RULES,
                section=section,
                chain="regtest",
                change_address=self.address,
                now_us=lambda: self.now_us,
            )
        )

    @contextlib.asynccontextmanager
    async def acting(self) -> AsyncIterator[Tenure]:
        """The settler's lock."""
        async with store.tenure(self.engine, 10) as tenure:
            yield tenure

    async def run(self, settler: Settler) -> list[int]:
        """A run by hand, brought as far as it goes."""
        async with self.acting() as tenure:
            made = await settler.reserve(tenure, None, "tester", "a test")
            for payout_id in made:
                await settler.advance(tenure, payout_id)
        return made

    async def advance(self, settler: Settler, payout_id: int) -> str | None:
        """All that can be done for a payout now."""
        async with self.acting() as tenure:
            return await settler.advance(tenure, payout_id)

    async def tick(self, settler: Settler) -> None:
        """One look of the settler's task."""
        await SettlerTask(settler).tick()

    async def payout(self, payout_id: int) -> Payout:
        """A payout as it stands."""
        async with self.engine.connect() as connection:
            found = await store.read(connection, payout_id)
        assert found is not None
        return found

    async def rows_of_payouts(self) -> list[tuple[int, str, int]]:
        """Number, state and satoshis of every payout."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(sa.text("SELECT id, state, amount_sat FROM payout ORDER BY id"))
            return [(row.id, row.state, row.amount_sat) for row in rows]

    async def notes(self, payout_id: int) -> list[str]:
        """What its events say."""
        async with self.engine.connect() as connection:
            return [one.note for one in await store.events(connection, payout_id)]

    async def balances(self) -> dict[str, int]:
        """Every account of the journal that is not 0, as booked."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(
                sa.text("SELECT account, sum(amount)::bigint FROM journal_posting GROUP BY account")
            )
            return {row.account: row.sum for row in rows if row.sum}

    async def received(self, miner_id: int) -> int:
        """What the chain says that a miner's wallet was paid, in satoshis; the mempool does not count."""
        address = made_up_address(self.miners[miner_id - 1].name)
        found = await self.rpc("scantxoutset", "start", [f"addr({address})"], wallet=None)
        return int(found["total_amount"] * COIN)

    async def require_books_true(self, paid: Mapping[int, int]) -> None:
        """The chain paid `paid` and the journal says the same, to the satoshi; both sides sum up (I3, I5)."""
        balances = await self.balances()
        assert sum(balances.values()) == 0
        assert {miner_id: await self.received(miner_id) for miner_id in paid} == dict(paid)
        owed = -sum(amount for account, amount in balances.items() if account.startswith("miner:"))
        assert owed == self._owed - sum(paid.values())
        fees = balances.get(journal.NETWORK_FEES, 0)
        assert balances[journal.COINBASE_MATURE] == self._owed - sum(paid.values()) - fees


@contextlib.asynccontextmanager
async def settlement_world(
    engine: AsyncEngine, *, miners: int = 3, coins: int = 3, options: Sequence[str] = ()
) -> AsyncIterator[SettlementWorld]:
    """A world whose node ends with it."""
    async with running_bitcoind(options=[*OPTIONS, *options]) as process:
        world = SettlementWorld(engine, process)
        try:
            await world.settle_in(miners, coins)
            yield world
        finally:
            await world.node.close()
