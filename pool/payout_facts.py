"""What a payout plan wants to know, as PostgreSQL and the register have it.

Reads only. What each miner is owed and what it was paid before come from one statement, so that they are of
one instant. Who reserves what a plan says holds the journal's lock first (`journal_store.next_instant`), so
that it is still so then.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.block_state import State
from payouts.journal import EntryKind
from payouts.payout_plan import Payee
from pool.tables import (
    account_day,
    block,
    fpps_credit,
    journal_entry,
    journal_posting,
    miner,
    payment,
    payout,
    split,
)
from register.licence import Licence, Status, counting
from register.payout_address import address_at
from register.register import Register
from register.rules import Rules


async def payees(
    connection: AsyncConnection, register: Register, rules: Rules, at_us: int, default_threshold: int
) -> list[Payee]:
    """All miners whose payable balance is not 0, by id, as the register has them at an instant.

    `default_threshold` (satoshis) is the pool's, for miners that have none of their own. Raises LookupError
    when the register does not know a miner that is owed something: it is older than the journal.
    """
    found: list[Payee] = []
    for row in await connection.execute(_owed()):
        known = register.miners.get(row.id)
        if known is None:
            raise LookupError(
                f"miner {row.id} has {row.payable_sat} satoshis payable and is not in the register as it was "
                f"read; read the register after the journal; `dmpool register verify` checks the log"
            )
        held = register.addresses_of(known.id)
        licence, status = _standing(register, known.id, rules, at_us)
        found.append(
            Payee(
                miner_id=known.id,
                name=known.name,
                payable_sat=row.payable_sat,
                threshold_sat=known.payout_threshold_sat or default_threshold,
                wallet=address_at(held, "wallet", at_us),
                exchange=address_at(held, "exchange_deposit", at_us),
                licence=licence.number if licence else "",
                status=status,
                sale_due=int(row.sale_due),
                exchange_paid_sat=int(row.exchange_paid_sat),
                commission_total_sat=int(row.commission_total_sat),
                commission_told_sat=int(row.commission_told_sat),
            )
        )
    return found


async def credited_days(connection: AsyncConnection, payout_id: int) -> dict[int, dt.date]:
    """By miner, the day of the newest reward that a payout pays: what `credited` means as a date (Q-07).

    A reward is credited when its block is confirmed, FPPS and corrections when they are booked; a payout pays
    what is payable when it is reserved. A miner to whom nothing was credited before is left out.
    """
    rows = await connection.execute(_credited(payout_id))
    return {row.miner_id: row.day for row in rows}


def _standing(
    register: Register, miner_id: int, rules: Rules, at_us: int
) -> tuple[Licence | None, Status | None]:
    """The licence that counts at an instant, and where it stands."""
    held = sorted(register.licences_of(miner_id), key=lambda one: (one.valid_from, one.number))
    standing = [(licence, licence.phase_at(at_us, rules).status) for licence in held]
    return counting(standing, lambda pair: pair[1]) or (None, None)


def _owed() -> sa.Select[Any]:
    """A row for each miner with a balance, and the sums of what came before."""
    last = (
        sa.select(account_day.c.closing)
        .where(account_day.c.account == sa.func.concat("miner:", miner.c.id, ":payable"))
        .order_by(account_day.c.day.desc())
        .limit(1)
        .lateral("last")
    )
    under_rule = payment.c.sale_share_bps.is_not(None)
    to_exchange = sa.and_(under_rule, payment.c.purpose == "exchange_deposit")
    # numeric: all bitcoin times ten thousand is more than a bigint holds
    share = sa.cast(payment.c.amount_sat, sa.Numeric) * payment.c.sale_share_bps
    paid = (
        sa.select(
            payment.c.miner_id,
            sa.func.sum(payment.c.commission_sat).label("told"),
            sa.func.sum(share).filter(under_rule).label("due"),
            sa.func.sum(payment.c.amount_sat).filter(to_exchange).label("exchange"),
        )
        .join(payout, payout.c.id == payment.c.payout_id)
        .where(payout.c.state != "abandoned")
        .group_by(payment.c.miner_id)
        .subquery("paid")
    )
    of_blocks = (
        sa.select(split.c.miner_id, split.c.commission_sat)
        .join(block, block.c.hash == split.c.hash)
        .where(block.c.state == State.MATURE.value)
    )
    of_shares = sa.select(fpps_credit.c.miner_id, fpps_credit.c.commission_sat)
    borne = sa.union_all(of_blocks, of_shares).subquery("borne")
    earned = (
        sa.select(borne.c.miner_id, sa.func.sum(borne.c.commission_sat).label("commission"))
        .group_by(borne.c.miner_id)
        .subquery("earned")
    )
    return (
        sa.select(
            miner.c.id,
            (-last.c.closing).label("payable_sat"),
            sa.func.coalesce(paid.c.due, 0).label("sale_due"),
            sa.func.coalesce(paid.c.exchange, 0).label("exchange_paid_sat"),
            sa.func.coalesce(earned.c.commission, 0).label("commission_total_sat"),
            sa.func.coalesce(paid.c.told, 0).label("commission_told_sat"),
        )
        .select_from(
            miner.join(last, sa.true())
            .outerjoin(paid, paid.c.miner_id == miner.c.id)
            .outerjoin(earned, earned.c.miner_id == miner.c.id)
        )
        .where(last.c.closing != 0)
        .order_by(miner.c.id)
    )


def _credited(payout_id: int) -> sa.Select[Any]:
    """The newest day for each miner of a payout."""
    entry, booked = journal_entry.c, journal_posting.c
    reserved = (
        sa.select(sa.func.min(entry.id))
        .where(entry.payout_id == payout_id, entry.kind == EntryKind.PAYOUT_RESERVED.value)
        .scalar_subquery()
    )
    confirmed = journal_entry.alias("confirmed")
    confirmed_on = (
        sa.select(confirmed.c.day)
        .where(
            confirmed.c.block_hash == entry.block_hash,
            confirmed.c.kind == EntryKind.BLOCK_CONFIRMED.value,
            confirmed.c.id < entry.id,
        )
        .order_by(confirmed.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    paid = sa.select(payment.c.miner_id).where(payment.c.payout_id == payout_id).distinct().subquery("paid")
    kinds = (EntryKind.BLOCK_MATURED, EntryKind.FPPS_CREDITED, EntryKind.CORRECTION)
    return (
        sa.select(paid.c.miner_id, sa.func.max(sa.func.coalesce(confirmed_on, entry.day)).label("day"))
        .select_from(
            paid.join(
                journal_posting, booked.account == sa.func.concat("miner:", paid.c.miner_id, ":payable")
            ).join(journal_entry, entry.id == booked.entry_id)
        )
        .where(booked.amount < 0, entry.kind.in_([kind.value for kind in kinds]), entry.id < reserved)
        .group_by(paid.c.miner_id)
    )
