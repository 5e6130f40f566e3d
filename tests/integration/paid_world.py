"""Blocks and payouts in the small world of the ledger, each step written as the settler writes it."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from bitcoin.core import CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.journal import EntryKind
from pool import journal_store
from pool.records import Found
from pool.tables import payment, payout, payout_event, payout_run, payout_version
from tests.integration.entering import made_up_address
from tests.integration.ledger_world import RULES, World

REWARD = 5_000_000_001
FEE = 1_234


async def mine(world: World, miner_id: int = 1, others: Mapping[int, int] | None = None) -> Found:
    """A miner finds a block that is in the chain; `others` have worked so many shares before."""
    shares = [world.share(other) for other, count in (others or {}).items() for _ in range(count)]
    won = world.share(miner_id)
    height = len(world.node.main)
    found = world.found(won, height=height, reward=REWARD)
    await world.tell(*shares, won, found, world.reject(miner_id))
    world.node.main.append(found.block_hash)
    await world.work()
    return found


async def mature(world: World) -> None:
    """All blocks in the chain become a hundred deep."""
    world.node.grow(100)
    await world.work()
    await world.work()


async def _event(connection: AsyncConnection, number: int, state: str, at_us: int, **block: object) -> None:
    await connection.execute(sa.update(payout).where(payout.c.id == number).values(state=state))
    await connection.execute(
        sa.insert(payout_event).values(
            payout_id=number, at_us=at_us, state=state, version=1, actor="settler", note="", **block
        )
    )


async def reserve(world: World, amounts: Mapping[int, int]) -> int:
    """A payout run of one payout; its number."""
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        day = RULES.day_of(at_us)
        run = await connection.scalar(
            sa.insert(payout_run)
            .values(at_us=at_us, day=day, actor="oleg", reason="by hand")
            .returning(payout_run.c.id)
        )
        number = await connection.scalar(
            sa.insert(payout)
            .values(
                run_id=run, number=1, state="reserved", created_us=at_us, amount_sat=sum(amounts.values())
            )
            .returning(payout.c.id)
        )
        assert number is not None
        await connection.execute(
            sa.insert(payment),
            [
                {
                    "payout_id": number,
                    "number": place,
                    "miner_id": miner_id,
                    "purpose": "wallet",
                    "address": made_up_address(f"miner{miner_id}"),
                    "script": b"\x00\x14" + bytes(20),
                    "amount_sat": amount,
                    "commission_sat": 7,
                    "sale_share_bps": None,
                    "exchange": "",
                    "licence": f"L-miner{miner_id}",
                    "licence_status": "in_force",
                }
                for place, (miner_id, amount) in enumerate(sorted(amounts.items()), 1)
            ],
        )
        await journal_store.book(connection, journal.payout_reserved(number, amounts), at_us, day, "settler")
        await _event(connection, number, "reserved", at_us)
        return int(number)


async def send(world: World, number: int) -> str:
    """The payout's transaction is signed and sent; its txid."""
    txid = f"{number:064x}"
    async with world.engine.begin() as connection:
        due = sa.select(payment).where(payment.c.payout_id == number).order_by(payment.c.number)
        paid = [CTxOut(one.amount_sat, CScript(one.script)) for one in await connection.execute(due)]
        await connection.execute(
            sa.insert(payout_version).values(
                payout_id=number,
                number=1,
                purpose="pay",
                created_us=world.now_us,
                psbt="cHNidP8=",
                inputs=[f"{'ab' * 32}:0"],
                fee_sat=FEE,
                fee_rate_sat_kvb=1000,
                signed_us=world.now_us,
                txid=txid,
                raw=CTransaction([CTxIn()], paid).serialize(),
                sent_us=world.now_us,
            )
        )
        await _event(connection, number, "sent", world.now_us)
    return txid


async def confirm(world: World, number: int, amounts: Mapping[int, int], height: int = 200) -> None:
    """The transaction is in a block whose own time is two hours ago."""
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        entry = journal.payout_confirmed(number, amounts, FEE)
        await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "settler")
        await _event(
            connection,
            number,
            "confirmed",
            at_us,
            block_hash=f"{height:064x}",
            block_height=height,
            block_time_us=at_us - 7_200_000_000,
        )


async def lose(world: World, number: int) -> None:
    """The block that confirmed it has left the chain."""
    async with world.engine.begin() as connection:
        at_us = await journal_store.next_instant(connection, world.now_us)
        booked = await journal_store.newest_entry(connection, EntryKind.PAYOUT_CONFIRMED, payout_id=number)
        assert booked is not None
        entry = journal.payout_reversed(number, booked)
        await journal_store.book(connection, entry, at_us, RULES.day_of(at_us), "settler")
        await _event(connection, number, "sent", at_us)
