"""Payouts that are taken back, or cannot be signed as things stand; all on a real bitcoind (I5)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from payouts import journal
from pool import settlement_desk as desk
from pool.wallet import WalletError
from tests.integration.settlement_world import MATURE, NOBODY, SettlementWorld, settlement_world

OWED = {1: 1_234_567_890, 2: 100_000}
NOBODY_PAID = dict.fromkeys(OWED, 0)


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[SettlementWorld]:
    async with settlement_world(engine) as made:
        yield made


async def mempool(world: SettlementWorld) -> list[str]:
    return list(await world.rpc("getrawmempool", wallet=None))


async def test_a_paid_payout_whose_block_goes_and_whose_cancelling_is_mined_is_payable_again(
    world: SettlementWorld,
) -> None:
    """I3, I5: confirmed, sent, abandoned; the journal follows the chain at each turn."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        await desk.abandon(settler, tenure, payout_id, "operator", "wrong")
    pay, cancel = (await world.payout(payout_id)).versions
    assert pay.raw is not None
    assert cancel.raw is not None
    block = (await world.rpc("generateblock", NOBODY, [pay.raw.hex()], wallet=None))["hash"]
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"

    await world.rpc("invalidateblock", block, wallet=None)
    await world.rpc("generateblock", NOBODY, [cancel.raw.hex()], wallet=None)
    await world.mine_empty()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "sent"
    balances = await world.balances()
    assert {one: -balances[journal.miner_paying(one)] for one in OWED} == OWED
    await world.require_books_true(NOBODY_PAID)

    await world.mine(MATURE)
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "abandoned"
    await world.require_books_true(NOBODY_PAID)
    balances = await world.balances()
    assert {one: -balances[journal.miner_payable(one)] for one in OWED} == OWED
    assert balances[journal.NETWORK_FEES] == cancel.fee_sat


async def test_taking_back_what_was_only_reserved_makes_no_transaction(world: SettlementWorld) -> None:
    """I5: the address of a miner was wrong: the key that is at hand must not sign for it on this occasion."""
    await world.owe(OWED)
    settler = world.settler()
    async with world.acting() as tenure:
        (payout_id,) = await settler.reserve(tenure, None, "operator", "a run")
        await desk.abandon(settler, tenure, payout_id, "operator", "a wrong address")
    payout = await world.payout(payout_id)
    assert (payout.state, payout.versions) == ("abandoned", ())
    assert await mempool(world) == []


async def test_taking_back_what_was_only_drafted_signs_nothing(world: SettlementWorld) -> None:
    """I5: the same a step later."""
    await world.owe(OWED)
    (payout_id,) = await world.run(world.settler(signer="psbt"))
    async with world.acting() as tenure:
        await desk.abandon(world.settler(), tenure, payout_id, "operator", "a wrong address")
    payout = await world.payout(payout_id)
    assert (payout.state, [one.txid for one in payout.versions]) == ("abandoned", [None])
    assert await mempool(world) == []


async def test_taking_back_what_was_signed_sends_only_what_cancels_it(world: SettlementWorld) -> None:
    """I5: stored and never sent, as by a crash between: the network hears of the cancelling alone."""
    await world.owe(OWED)
    (payout_id,) = await world.run(world.settler(signer="psbt"))
    settler = world.settler()
    payout = await world.payout(payout_id)
    (version,) = payout.versions
    assert settler.means.signer is not None
    async with world.acting() as tenure:
        raw = await settler.sign(version, settler.means.signer)
        await settler.store_signed(tenure, payout, version, raw, "settler", "signed")
        await desk.abandon(settler, tenure, payout_id, "operator", "a wrong address")
    pay, cancel = (await world.payout(payout_id)).versions
    assert (pay.sent_us, cancel.purpose) == (None, "cancel")
    assert await mempool(world) == [cancel.txid]
    assert await settler.means.wallet.place(str(pay.txid)) is None


async def test_a_higher_fee_that_cannot_be_signed_does_not_keep_the_older_one_from_being_sent(
    engine: AsyncEngine,
) -> None:
    """I5: what is signed stays on its way, whatever became of the key since."""
    forgetful = ("-persistmempool=0", "-walletbroadcast=0")
    async with settlement_world(engine, options=forgetful) as world:
        await world.owe(OWED)
        settler = world.settler()
        (payout_id,) = await world.run(settler)
        await world.rpc("encryptwallet", "passphrase")
        async with world.acting() as tenure:
            problem = await desk.bump(settler, tenure, payout_id, None, "operator", "slow")
        assert "is locked" in str(problem)
        first, second = (await world.payout(payout_id)).versions
        assert second.txid is None
        world.process.stop()
        await world.process.start()
        assert await mempool(world) == []
        await world.tick(settler)
        assert await mempool(world) == [first.txid]
        await world.rpc("walletpassphrase", "passphrase", 600)
        await world.tick(settler)
        assert await mempool(world) == [(await world.payout(payout_id)).versions[1].txid]
        await world.mine()
        await world.tick(settler)
        await world.require_books_true(OWED)


async def test_an_address_of_the_pool_that_is_not_native_segwit_is_refused(world: SettlementWorld) -> None:
    """I5: the txid of what is signed elsewhere would not be known before."""
    await world.owe(OWED)
    for kind in ("legacy", "p2sh-segwit"):
        world.address = await world.rpc("getnewaddress", "", kind)
        with pytest.raises(WalletError, match="is not native segwit"):
            await world.tick(world.settler(schedule="daily 12:00"))
    assert await world.rows_of_payouts() == []


async def test_a_coin_that_is_not_native_segwit_is_not_spent(engine: AsyncEngine) -> None:
    """I5: the same for what else is in the wallet; once such coins are elsewhere the payout goes on."""
    async with settlement_world(engine, coins=0) as world:
        pools = world.address
        world.address = await world.rpc("getnewaddress", "", "p2sh-segwit")
        await world.fill(1)
        world.address = pools
        await world.owe(OWED)
        settler = world.settler()
        (payout_id,) = await world.run(settler)
        payout = await world.payout(payout_id)
        assert (payout.state, payout.versions) == ("reserved", ())
        assert "not native segwit" in (await world.notes(payout_id))[-1]
        await world.rpc("send", [{pools: 49}], None, "unset", 5)
        await world.mine(MATURE)
        await world.rpc("lockunspent", False, await _old_coins(world, pools))
        await world.tick(settler)
        assert (await world.payout(payout_id)).state == "sent", await world.notes(payout_id)
        await world.mine()
        await world.tick(settler)
        await world.require_books_true(OWED)


async def _old_coins(world: SettlementWorld, pools: str) -> list[dict[str, object]]:
    """Coins of the wallet that are at other addresses than the pool's."""
    return [
        {"txid": one["txid"], "vout": one["vout"]}
        for one in await world.rpc("listunspent")
        if one["address"] != pools
    ]
