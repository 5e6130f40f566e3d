"""The facts of one day as PostgreSQL has them, in the shape that `reporting.daily` builds from.

Reads only, all within the caller's snapshot. Shares are told by their own time, steps of blocks and entries
of the journal by the ledger's, the hours of the archive by the ledger's too. What concerns the register and
payments has files of its own: `report_facts_register` and `report_facts_payments`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.block_state import State
from pool import journal_store, report_facts_register
from pool import ledger_store as store
from pool.archive_file import parse_manifest
from pool.intake import work_of
from pool.report_facts_payments import payments
from pool.sale_store import sale_facts
from pool.tables import archive_hour, batch, block, block_event, miner_day, reject_day, split
from register.rules import Rules
from reporting.daily_facts import (
    Apart,
    BlockEvent,
    BlockFacts,
    HourFacts,
    HourOfMiner,
    Json,
    MinerFacts,
    Paid,
    RegisterFacts,
)
from reporting.sale import sale_rows
from reporting.standing import Held

_BOOKING = (State.CONFIRMED, State.MATURE, State.ORPHANED)


@dataclass(frozen=True, slots=True)
class Facts:
    """What `reporting.daily_facts.DayFacts` wants of the database."""

    register: RegisterFacts
    miners: list[MinerFacts]
    blocks: list[BlockFacts]
    paid: list[Paid]
    apart: list[Apart]
    sale: list[Json]
    seen: list[Json]
    opening: dict[str, int]
    entries: list[journal.Entry]
    closing: dict[str, int]
    hours: list[HourFacts]
    hours_complete: bool


async def gather(connection: AsyncConnection, day: dt.date, rules: Rules) -> Facts:
    """The facts of a day in Kazakhstan."""
    bounds = start_us, end_us = rules.day_bounds(day)
    closing = await journal_store.balances_until(connection, day)
    blocks = await _blocks(connection, start_us, end_us)
    paid, apart = await payments(connection, day, rules)
    sale = sale_rows(await sale_facts(connection, rules, day), rules, day)
    hours = await hours_of(connection, start_us, end_us)
    work = await _work(connection, day)
    named = {one.finder_id for one in blocks if one.finder_id is not None}
    named |= {miner_id for one in blocks for miner_id in one.split.amounts}
    named |= {miner_id for one in hours for miner_id in one.miners}
    named |= {one.miner_id for one in apart} | {one.distribution.miner_id for one in paid}
    named |= {one["miner_id"] for one in sale} | await report_facts_register.miners_seen(connection, day)
    named |= {int(account.split(":")[1]) for account in closing if account.startswith("miner:")}
    book = await report_facts_register.read_book(connection, named | work.keys(), *bounds)
    names = {id_: one.miner.name for id_, one in book.held.items()}
    return Facts(
        register=book.facts,
        miners=await _miners(connection, day, book.held, book.facts.seq, work),
        blocks=blocks,
        paid=paid,
        apart=apart,
        sale=sale,
        seen=await report_facts_register.seen(connection, day, rules, names),
        opening=await journal_store.balances_before(connection, day),
        entries=await journal_store.entries_of(connection, day),
        closing=closing,
        hours=hours,
        hours_complete=await hours_complete(connection, end_us),
    )


async def waiting_batches(connection: AsyncConnection, before: dt.datetime) -> int:
    """Batches that came before an instant and that the ledger has not taken yet."""
    waiting = sa.select(sa.func.count()).where(batch.c.position.is_(None), batch.c.received_at < before)
    return int(await connection.scalar(waiting) or 0)


@dataclass(slots=True)
class _Work:
    """What a miner did on a day."""

    accepted: Any = None
    """Its row of `miner_day`."""
    rejected: dict[str, int] = field(default_factory=dict)


async def _work(connection: AsyncConnection, day: dt.date) -> dict[int, _Work]:
    found: dict[int, _Work] = defaultdict(_Work)
    for row in await connection.execute(sa.select(miner_day).where(miner_day.c.day == day)):
        found[row.miner_id].accepted = row
    refused = sa.select(reject_day.c.miner_id, reject_day.c.reason, reject_day.c.count.label("shares"))
    for row in await connection.execute(refused.where(reject_day.c.day == day)):
        found[row.miner_id].rejected[row.reason] = row.shares
    return found


async def _miners(
    connection: AsyncConnection, day: dt.date, held: Mapping[int, Held], seq: int, work: Mapping[int, _Work]
) -> list[MinerFacts]:
    devices = await report_facts_register.devices(connection, day, seq, held)
    told: list[MinerFacts] = []
    for id_, one in sorted(held.items()):
        done = work.get(id_) or _Work()
        accepted = done.accepted
        told.append(
            MinerFacts(
                held=one,
                accepted=int(accepted.shares) if accepted else 0,
                rejected=done.rejected,
                work=int(accepted.work) if accepted else 0,
                first_us=accepted.first_us if accepted else None,
                last_us=accepted.last_us if accepted else None,
                devices=devices[id_],
            )
        )
    return told


# The archive


async def hours_of(connection: AsyncConnection, start_us: int, end_us: int) -> list[HourFacts]:
    """The closed hours that begin in the day."""
    rows = await connection.execute(
        sa.select(archive_hour.c.manifest, archive_hour.c.manifest_sha256)
        .where(archive_hour.c.hour_us >= start_us, archive_hour.c.hour_us < end_us)
        .order_by(archive_hour.c.hour_us)
    )
    return [hour_facts(row.manifest.encode(), row.manifest_sha256) for row in rows]


def hour_facts(content: bytes, sha256: str) -> HourFacts:
    """What a manifest of the archive says, as a report tells it; `sha256` is that of its bytes."""
    manifest = parse_manifest(content)
    return HourFacts(
        hour=manifest.hour,
        file_sha256=manifest.sha256,
        manifest_sha256=sha256,
        first_batch=manifest.first_batch,
        last_batch=manifest.last_batch,
        work_before=manifest.total_before,
        shares=manifest.shares,
        work=manifest.work,
        miners={
            int(id_): HourOfMiner(one.shares, one.work, one.digest or None)
            for id_, one in manifest.miners.items()
        },
    )


async def hours_complete(connection: AsyncConnection, end_us: int) -> bool:
    """Whether every batch that the ledger took before an instant is in a closed hour."""
    last = (
        sa.select(sa.func.coalesce(sa.func.max(archive_hour.c.last_batch), 0))
        .where(archive_hour.c.hour_us < end_us)
        .scalar_subquery()
    )
    behind = sa.select(batch.c.position).where(batch.c.position > last, batch.c.taken_us < end_us).limit(1)
    return await connection.scalar(behind) is None


# Blocks


async def _blocks(connection: AsyncConnection, start_us: int, end_us: int) -> list[BlockFacts]:
    """The blocks that took a step between two instants."""
    stepped = sa.select(block_event.c.hash).where(
        block_event.c.at_us >= start_us, block_event.c.at_us < end_us
    )
    parts: dict[str, list[Any]] = defaultdict(list)
    for row in await connection.execute(
        sa.select(split).where(split.c.hash.in_(stepped)).order_by(split.c.miner_id)
    ):
        parts[row.hash].append(row)
    history: dict[str, list[BlockEvent]] = defaultdict(list)
    for row in await connection.execute(
        sa.select(block_event).where(block_event.c.hash.in_(stepped)).order_by(block_event.c.id)
    ):
        history[row.hash].append(BlockEvent(State(row.state), row.at_us))
    lost = await journal_store.losses_of(connection, stepped)
    rows = await connection.execute(sa.select(block).where(block.c.hash.in_(stepped)).order_by(block.c.hash))
    return [_block(row, parts[row.hash], _with_losses(history[row.hash], lost.get(row.hash))) for row in rows]


def _with_losses(
    history: Sequence[BlockEvent], reversals: Sequence[Mapping[int, int]] | None
) -> list[BlockEvent]:
    """What the pool bears of a block at each step: as its last reversal before, or with it, left it."""
    if reversals is None:
        return list(history)
    told: list[BlockEvent] = []
    left, lost, booked = iter(reversals), journal.NOTHING, False
    for event in history:
        if event.state is State.ORPHANED and booked:
            lost, booked = next(left), False
        booked = booked or event.state is State.CONFIRMED
        told.append(event._replace(borne=lost) if event.state in _BOOKING else event)
    return told


def _block(row: Any, parts: Sequence[Any], history: Sequence[BlockEvent]) -> BlockFacts:
    network_work = work_of(row.network_target)
    return BlockFacts(
        height=row.height,
        hash=row.hash,
        previous_hash=row.previous_hash,
        coinbase_txid=row.coinbase_txid,
        finder_id=row.miner_id,
        finder_worker=row.worker,
        reward_sat=row.reward_sat,
        fees_sat=row.fees_sat,
        commission_bps=row.commission_bps,
        scheme=row.scheme,
        transaction_fees=row.transaction_fees,
        network_work=network_work,
        window_multiple=row.window_multiple,
        window_size=store.terms_of(row).window_size(network_work, credited=True),
        window=None if row.window_first is None else store.window_of(row, parts),
        split=store.split_of(row.commission_sat, parts),
        history=history,
    )
