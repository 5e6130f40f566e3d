"""Payouts on a real bitcoind: from a balance to a transaction that is final, by each way to sign.

Invariants 2, 3 and 5: integers, every satoshi accounted for, nothing paid twice.
"""

from __future__ import annotations

import base64
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import settlement_desk as desk
from pool.settlement_desk import DeskError
from tests.integration.bitcoind_process import PASSWORD, USER
from tests.integration.settlement_world import MATURE, SettlementWorld, settlement_world

OWED = {1: 1_234_567_890, 2: 100_000, 3: 99_999}
PAID = {1: 1_234_567_890, 2: 100_000}
"""The third is one satoshi below the threshold."""
NOBODY_PAID = dict.fromkeys(OWED, 0)


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[SettlementWorld]:
    async with settlement_world(engine) as made:
        yield made


async def test_the_nodes_wallet_pays_everybody_above_the_threshold(world: SettlementWorld) -> None:
    """I3, I5: from the balance to 100 confirmations."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    payout = await world.payout(payout_id)
    assert payout.state == "sent"
    assert {due.miner_id: due.amount_sat for due in payout.payments} == PAID
    (version,) = payout.versions
    assert await world.rpc("getrawmempool", wallet=None) == [version.txid]
    balances = await world.balances()
    assert {one: balances[f"miner:{one}:paying"] for one in PAID} == {one: -PAID[one] for one in PAID}

    await world.mine()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    await world.require_books_true(PAID | {3: 0})

    await world.mine(MATURE - 2)
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    await world.mine()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "final"
    await world.require_books_true(PAID | {3: 0})


async def test_nothing_is_left_to_pay_after_a_run(world: SettlementWorld) -> None:
    """I5: what is on its way is not payable."""
    await world.owe(OWED)
    settler = world.settler()
    await world.run(settler)
    assert await world.run(settler) == []


async def test_a_cold_key_signs_outside(world: SettlementWorld) -> None:
    """The default: the node only watches, the PSBT goes out and comes back."""
    await cold(world)
    await world.owe(OWED)
    settler = world.settler(signer="psbt")
    (payout_id,) = await world.run(settler)
    assert (await world.payout(payout_id)).state == "reserved"
    async with world.acting() as tenure:
        number, psbt = await desk.export(settler, tenure, payout_id, "operator")
    signed = await world.rpc("walletprocesspsbt", psbt, wallet="cold")
    async with world.acting() as tenure:
        came = await desk.take_signed(settler, tenure, [base64.b64decode(signed["psbt"])], "operator")
    assert (came.payout_id, came.version, came.complete, came.problem) == (payout_id, number, True, None)
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(PAID | {3: 0})


async def cold(world: SettlementWorld) -> None:
    """The keys move to a wallet "cold"; "pool" only watches from now on."""
    await world.rpc("createwallet", "cold", wallet=None)
    world.address = await world.rpc("getnewaddress", "", "bech32", wallet="cold")
    listed = await world.rpc("listdescriptors", wallet="cold")
    await world.rpc("createwallet", "watching", True, True, wallet=None)
    descriptors = [
        {"desc": one["desc"], "timestamp": "now", "active": one["active"], "internal": one["internal"]}
        for one in listed["descriptors"]
        if one["desc"].startswith("wpkh(")
    ]
    assert all(one["success"] for one in await world.rpc("importdescriptors", descriptors, wallet="watching"))
    world.settings["wallet"] = "watching"
    await world.fill(3)


async def test_two_of_three_keys_sign_one_after_the_other(world: SettlementWorld) -> None:
    """Multisig: each signer gives a part, in files of its own or one on top of the other."""
    keys = await multisig(world)
    await world.owe(OWED)
    settler = world.settler(signer="psbt")
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        _, psbt = await desk.export(settler, tenure, payout_id, "operator")
    parts = [str((await world.rpc("walletprocesspsbt", psbt, wallet=key))["psbt"]) for key in keys[:2]]
    async with world.acting() as tenure:
        half = await desk.take_signed(settler, tenure, [parts[0].encode()], "operator")
        assert not half.complete
        whole = await desk.take_signed(settler, tenure, [half.psbt.encode(), parts[1].encode()], "operator")
        assert whole.complete
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(PAID | {3: 0})


async def multisig(world: SettlementWorld) -> list[str]:
    """Three wallets with a key each; "shared" watches the address that wants two of them."""
    names, keys = ["key1", "key2", "key3"], []
    for name in names:
        await world.rpc("createwallet", name, wallet=None)
        listed = await world.rpc("listdescriptors", True, wallet=name)
        private = next(
            one["desc"]
            for one in listed["descriptors"]
            if one["desc"].startswith("wpkh(") and not one["internal"]
        )
        public = next(
            one["desc"]
            for one in (await world.rpc("listdescriptors", wallet=name))["descriptors"]
            if one["desc"].startswith("wpkh(") and not one["internal"]
        )
        keys.append((_inside(private), _inside(public)))
    for number, name in enumerate([*names, "shared"]):
        parts = [private if place == number else public for place, (private, public) in enumerate(keys)]
        bare = f"wsh(sortedmulti(2,{','.join(parts)}))"
        checksum = (await world.rpc("getdescriptorinfo", bare, wallet=None))["checksum"]
        if name == "shared":
            await world.rpc("createwallet", "shared", True, True, wallet=None)
        one = {"desc": f"{bare}#{checksum}", "timestamp": "now", "range": [0, 10]}
        (done,) = await world.rpc("importdescriptors", [one], wallet=name)
        assert done["success"], done
        if name == "shared":
            world.address = (await world.rpc("deriveaddresses", one["desc"], [0, 0], wallet=None))[0]
    world.settings["wallet"] = "shared"
    await world.fill(3)
    return names


def _inside(descriptor: str) -> str:
    return descriptor.partition("(")[2].partition(")")[0]


async def test_a_program_signs(world: SettlementWorld, tmp_path: Path) -> None:
    await cold(world)
    await world.owe(OWED)
    settler = world.settler(signer="command", command=signing_program(world, tmp_path))
    (payout_id,) = await world.run(settler)
    payout = await world.payout(payout_id)
    assert payout.state == "sent", await world.notes(payout_id)
    assert payout.versions[0].exported_us is not None
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(PAID | {3: 0})


def signing_program(world: SettlementWorld, directory: Path) -> tuple[str, ...]:
    """A program that signs with the keys of the wallet "cold"."""
    program = directory / "sign"
    program.write_text(
        f"""#!/usr/bin/env python3
import base64, json, sys, urllib.request
login = base64.b64encode({f"{USER}:{PASSWORD}".encode()!r}).decode()
body = json.dumps({{"method": "walletprocesspsbt", "params": [sys.stdin.read()], "id": 1}}).encode()
url = "{world.process.bare_url}/wallet/cold"
request = urllib.request.Request(url, body, {{"Authorization": "Basic " + login}})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
print(json.load(opener.open(request))["result"]["psbt"])
"""
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return (str(program),)


async def test_signed_and_sent_by_the_signer_itself_is_recognised(world: SettlementWorld) -> None:
    """I5: the operator pressed "broadcast" in the signing software; it is the payout's all the same."""
    await cold(world)
    await world.owe(OWED)
    settler = world.settler(signer="psbt")
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        _, psbt = await desk.export(settler, tenure, payout_id, "operator")
    signed = await world.rpc("walletprocesspsbt", psbt, wallet="cold")
    await world.rpc("sendrawtransaction", signed["hex"], wallet=None)
    await world.mine()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    await world.require_books_true(PAID | {3: 0})


async def test_a_higher_fee_replaces_and_never_adds(world: SettlementWorld) -> None:
    """I5: of all versions one is mined."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    for _ in range(3):
        async with world.acting() as tenure:
            assert await desk.bump(settler, tenure, payout_id, None, "operator", "slow") is None
    versions = (await world.payout(payout_id)).versions
    assert [one.fee_sat for one in versions] == sorted({one.fee_sat for one in versions})
    assert await world.rpc("getrawmempool", wallet=None) == [versions[-1].txid]
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(PAID | {3: 0})


async def test_a_fee_rises_by_itself_when_the_time_is_over(world: SettlementWorld) -> None:
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    await world.tick(settler)
    assert len((await world.payout(payout_id)).versions) == 1
    world.now_us += 121 * 60_000_000
    settler.rate = lambda: _const(5_000)  # type: ignore[method-assign]
    await world.tick(settler)
    versions = (await world.payout(payout_id)).versions
    assert [one.rate for one in versions] == [versions[0].rate, 5_000]
    assert await world.rpc("getrawmempool", wallet=None) == [versions[-1].txid]


async def _const(value: int) -> int:
    return value


async def test_the_cap_is_never_passed(world: SettlementWorld) -> None:
    await world.owe(OWED)
    settler = world.settler(max_fee_rate=1)
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        with pytest.raises(Exception, match="max_fee_rate"):
            await desk.bump(settler, tenure, payout_id, 50_000, "operator", "slow")


async def test_what_was_never_out_is_taken_back_at_once(world: SettlementWorld) -> None:
    await world.owe(OWED)
    settler = world.settler(signer="psbt")
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        said = await desk.abandon(settler, tenure, payout_id, "operator", "wrong")
    assert "payable again" in said
    assert (await world.payout(payout_id)).state == "abandoned"
    await world.require_books_true(NOBODY_PAID)
    (again,) = await world.run(world.settler())
    assert (await world.payout(again)).amounts == PAID
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(PAID | {3: 0})


async def test_what_was_out_is_payable_again_only_when_its_coins_are_back_for_good(
    world: SettlementWorld,
) -> None:
    """I5: a signed transaction that somebody may still have must lose its coins first, for good."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        await desk.abandon(settler, tenure, payout_id, "operator", "wrong")
    pay, cancel = (await world.payout(payout_id)).versions
    assert cancel.purpose == "cancel"
    assert await world.rpc("getrawmempool", wallet=None) == [cancel.txid]
    assert await world.run(settler) == []
    await world.mine(MATURE - 1)
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "sent"
    await world.mine()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "abandoned"
    await world.require_books_true(NOBODY_PAID)
    assert (await world.balances())["pool:network_fees"] == cancel.fee_sat
    assert pay.raw is not None
    with pytest.raises(Exception, match="inputs-missingorspent"):
        await world.rpc("sendrawtransaction", pay.raw.hex(), wallet=None)
    assert len(await world.run(settler)) == 1
    await world.mine()
    await world.tick(settler)
    await world.require_books_true(PAID | {3: 0})


async def test_if_the_payment_is_mined_before_its_cancelling_it_was_paid(world: SettlementWorld) -> None:
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        await desk.abandon(settler, tenure, payout_id, "operator", "wrong")
    pay = (await world.payout(payout_id)).versions[0]
    assert pay.raw is not None
    await world.rpc("generateblock", "raw(51)#8lvh9jxk", [pay.raw.hex()], wallet=None)
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    await world.require_books_true(PAID | {3: 0})


@pytest.mark.parametrize("depth", [1, 6, 99])
async def test_a_reorganisation_takes_a_payment_back_and_it_is_made_again(
    world: SettlementWorld, depth: int
) -> None:
    """I5, I3: the same transaction is sent again; the journal tells each turn."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    await world.mine(depth)
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    txid = (await world.payout(payout_id)).versions[0].txid
    await world.reorganise(depth)
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "sent"
    await world.require_books_true(NOBODY_PAID)
    assert await world.rpc("getrawmempool", wallet=None) == [txid]
    await world.mine()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    assert len((await world.payout(payout_id)).versions) == 1
    await world.require_books_true(PAID | {3: 0})


async def test_mined_again_in_another_block_is_booked_under_that_block(world: SettlementWorld) -> None:
    """The date of distribution follows the block that counts."""
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    (first,) = await world.mine()
    await world.tick(settler)
    await world.rpc("invalidateblock", first, wallet=None)
    await world.mine_empty()
    (second,) = await world.mine()
    await world.tick(settler)
    notes = await world.notes(payout_id)
    assert [one for one in notes if first in one and "left the chain" in one]
    assert (await world.payout(payout_id)).state == "confirmed"
    assert second != first
    await world.require_books_true(PAID | {3: 0})


async def test_a_coin_spent_behind_our_back_is_told_and_released_when_it_is_deep(
    world: SettlementWorld,
) -> None:
    """I5: nothing is paid again while the stored transaction could still come back."""
    await world.owe(OWED)
    settler = world.settler(signer="psbt")
    (payout_id,) = await world.run(settler)
    async with world.acting() as tenure:
        await desk.export(settler, tenure, payout_id, "operator")
    coins = (await world.payout(payout_id)).versions[0].inputs
    await world.rpc("lockunspent", True)
    txid, _, number = coins[0].partition(":")
    elsewhere = await world.rpc("getnewaddress")
    made = await world.rpc(
        "send",
        [{elsewhere: 1}],
        None,
        "unset",
        5,
        {"inputs": [{"txid": txid, "vout": int(number)}], "add_inputs": True},
    )
    assert made["complete"]
    await world.mine()
    hot = world.settler(signer="node")
    problem = await world.advance(hot, payout_id)
    assert problem is not None
    assert "none of ours" in problem
    async with world.acting() as tenure:
        with pytest.raises(DeskError, match="deep"):
            await desk.abandon(hot, tenure, payout_id, "operator", "theft")
    await world.mine(MATURE)
    async with world.acting() as tenure:
        await desk.abandon(hot, tenure, payout_id, "operator", "theft")
    assert (await world.payout(payout_id)).state == "abandoned"
    await world.require_books_true(NOBODY_PAID)


async def test_many_payments_go_into_several_transactions_on_coins_of_their_own(engine: AsyncEngine) -> None:
    """I5: no two live payouts share a coin."""
    async with settlement_world(engine, miners=70, coins=4) as world:
        owed = {miner.id: 1_000_000 + miner.id for miner in world.miners}
        await world.owe(owed)
        settler = world.settler(max_weight=7_000)
        made = await world.run(settler)
        assert len(made) == 3
        payouts = [await world.payout(one) for one in made]
        coins = [coin for one in payouts for coin in one.versions[0].inputs]
        assert len(coins) == len(set(coins))
        await world.mine()
        await world.tick(settler)
        await world.require_books_true(owed)


async def test_without_coins_it_waits_and_pays_when_they_are_deep(engine: AsyncEngine) -> None:
    async with settlement_world(engine, coins=1) as world:
        await world.owe({1: 6_000_000_000})
        settler = world.settler()
        (payout_id,) = await world.run(settler)
        assert (await world.payout(payout_id)).state == "reserved"
        assert "not enough coins" in (await world.notes(payout_id))[-1]
        await world.fill(1)
        await world.tick(settler)
        assert (await world.payout(payout_id)).state == "sent"


async def test_a_node_that_restarts_has_its_wallet_loaded_again(world: SettlementWorld) -> None:
    await world.owe(OWED)
    settler = world.settler()
    (payout_id,) = await world.run(settler)
    world.process.stop()
    await world.process.start()
    await world.tick(settler)
    await world.mine()
    await world.tick(settler)
    assert (await world.payout(payout_id)).state == "confirmed"
    await world.require_books_true(PAID | {3: 0})


async def test_the_schedule_runs_once_for_its_date(world: SettlementWorld) -> None:
    await world.owe(OWED)
    settler = world.settler(schedule="daily 12:00")
    await world.tick(settler)
    await world.tick(settler)
    await world.owe({1: 5_000_000})
    await world.tick(settler)
    assert await runs(world) == ["2026-11-24 12:00"]
    world.now_us += 24 * 3600 * 1_000_000
    await world.tick(settler)
    assert await runs(world) == ["2026-11-24 12:00", "2026-11-25 12:00"]


async def runs(world: SettlementWorld) -> list[str]:
    async with world.engine.connect() as connection:
        found = await connection.execute(sa.text("SELECT schedule FROM payout_run ORDER BY id"))
        return list(found.scalars())
