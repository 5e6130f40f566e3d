"""What was distributed on some days, out of payouts, their events, and the register.

Told is what stands in the caller's snapshot: a payment counts for the day that the dated rule gives it, also
where its block was heard of after midnight, and no longer once the chain has taken that block back. So a day
that was reported already may read otherwise later; its report is then made anew, as the next version, and
the days of a month always sum to the month. Names and licences are those at the end of each day.

Reads only; the caller's transaction must see one moment (REPEATABLE READ).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.payout_plan import ASSET
from pool import register_store
from pool.payout_days import PaymentDays, since_us, standing
from pool.payout_transaction import outputs_of
from pool.tables import payment, payout_version
from register.licence import Licence
from register.register import Register
from register.rules import Rules
from reporting.distribution import Distribution

KINDS = ("miner", "licence")
"""What a distribution tells of the register."""


async def distributions(
    connection: AsyncConnection, rules: Rules, first: dt.date, last: dt.date
) -> list[Distribution]:
    """All payments that stand and count for the days from `first` to `last`, by day, miner and place.

    Raises LookupError for a miner that the register does not know, and ValueError where a stored transaction
    does not make a stored payment.
    """
    dated: list[_Dated] = []
    days = PaymentDays(connection, rules)
    for place in await _places(connection, since_us(rules, first)):
        if not days.may_count(place.block_time_us, last, first):
            continue
        for due, vout in await _payments(connection, place):
            day = await days.of(place.payout_id, place.block_time_us, due.miner_id)
            if first <= day <= last:
                dated.append(_Dated(due, place, vout, day, rules.day_of(place.block_time_us)))
    registers = await _registers(connection, rules, {one.day for one in dated})
    return sorted((_told(one, *registers[one.day]) for one in dated), key=_order)


class _Place(NamedTuple):
    """A payout that stands, the version of it that does, and its block."""

    payout_id: int
    block_hash: str
    block_height: int
    block_time_us: int
    version: int
    txid: str


class _Dated(NamedTuple):
    due: Any
    place: _Place
    vout: int
    day: dt.date
    received_on: dt.date


def _order(one: Distribution) -> tuple[dt.date, int, int, str, int]:
    return one.distributed_on, one.miner_id, one.block_height, one.txid, one.vout


async def _places(connection: AsyncConnection, begins_us: int) -> list[_Place]:
    """Payouts that stand in blocks of an instant or later."""
    newest = standing().subquery("newest")
    version = payout_version.c
    rows = await connection.execute(
        sa.select(
            newest.c.payout_id,
            newest.c.block_hash,
            newest.c.block_height,
            newest.c.block_time_us,
            version.number,
            version.txid,
        )
        .join(
            payout_version,
            sa.and_(version.payout_id == newest.c.payout_id, version.number == newest.c.version),
        )
        .where(newest.c.block_time_us >= begins_us, version.purpose == "pay")
        .order_by(newest.c.payout_id)
    )
    return [_Place(*row) for row in rows]


async def _payments(connection: AsyncConnection, place: _Place) -> list[tuple[Any, int]]:
    """The payments of a payout, each with the number of its output."""
    raw = sa.select(payout_version.c.raw).where(
        payout_version.c.payout_id == place.payout_id, payout_version.c.number == place.version
    )
    outputs = outputs_of((await connection.execute(raw)).scalar_one())
    wanted = sa.select(payment).where(payment.c.payout_id == place.payout_id).order_by(payment.c.number)
    found: list[tuple[Any, int]] = []
    taken: set[int] = set()
    for due in await connection.execute(wanted):
        pays = (bytes(due.script), due.amount_sat)
        vout = next((n for n, one in enumerate(outputs) if one == pays and n not in taken), None)
        if vout is None:
            raise ValueError(
                f"payout {place.payout_id}: transaction {place.txid} does not make payment {due.number}; "
                f"what is stored was changed: restore a backup"
            )
        taken.add(vout)
        found.append((due, vout))
    return found


async def _registers(
    connection: AsyncConnection, rules: Rules, days: Collection[dt.date]
) -> dict[dt.date, tuple[Register, Register]]:
    """For each day the register as it stood at its end, and as it is now."""
    now = await register_store.load(connection, KINDS) if days else Register()
    return {
        day: (await register_store.load(connection, KINDS, rules.day_bounds(day)[1]), now) for day in days
    }


def _told(one: _Dated, then: Register, now: Register) -> Distribution:
    """A miner that a clock behind ours entered later is told as it is now."""
    due, place = one.due, one.place
    miner = then.miners.get(due.miner_id) or now.miners.get(due.miner_id)
    if miner is None:
        raise LookupError(
            f"miner {due.miner_id} was paid by payout {place.payout_id} and is not in the register; "
            f"`dmpool register verify` checks its log"
        )
    licence: Licence | None = then.licences.get(due.licence) or now.licences.get(due.licence)
    return Distribution(
        miner_id=miner.id,
        account=miner.name,
        name=miner.title,
        bin=miner.bin,
        licence_number=due.licence,
        licence_issued_on=licence.issued_on if licence else None,
        licence_subtype=licence.subtype if licence else None,
        licence_status=due.licence_status,
        wallet_address=due.address,
        purpose=due.purpose,
        exchange=due.exchange,
        distributed_on=one.day,
        received_on=one.received_on,
        asset=ASSET,
        quantity_sat=due.amount_sat,
        commission_sat=due.commission_sat,
        txid=place.txid,
        vout=one.vout,
        block_hash=place.block_hash,
        block_height=place.block_height,
    )
