"""The facts of one day as PostgreSQL has them, in the shape that `reporting.daily` builds from.

Reads only, all within the caller's snapshot. Shares are told by their own time, steps of blocks and entries
of the journal by the ledger's. The register is read as it stood when the day began, and lived through to its
end: what a correction says in the afternoon does not undo the morning.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.block_state import State
from pool import journal_store, register_store
from pool import ledger_store as store
from pool.intake import work_of
from pool.tables import batch, block, block_event, miner_day, reject_day, split
from register.event import Event
from register.payout_address import address_at
from register.register import Register
from register.rules import Rules
from reporting.daily import BlockEvent, BlockFacts, MinerFacts
from reporting.standing import Held, Version, live_through

_KINDS = ("miner", "licence", "address")
"""What a report tells of the register."""
_CHUNK = 1000
_BOOKING = (State.CONFIRMED, State.MATURE, State.ORPHANED)


@dataclass(frozen=True, slots=True)
class Facts:
    """What `reporting.daily.DayFacts` wants of the database."""

    miners: list[MinerFacts]
    blocks: list[BlockFacts]
    opening: dict[str, int]
    entries: list[journal.Entry]
    closing: dict[str, int]


async def gather(connection: AsyncConnection, day: dt.date, rules: Rules) -> Facts:
    """The facts of a day in Kazakhstan."""
    start_us, end_us = rules.day_bounds(day)
    closing = await journal_store.balances_until(connection, day)
    blocks = await _blocks(connection, start_us, end_us)
    named = {one.finder_id for one in blocks if one.finder_id is not None}
    named |= {miner_id for one in blocks for miner_id in one.split.amounts}
    return Facts(
        miners=await _miners(connection, day, (start_us, end_us), closing, named),
        blocks=blocks,
        opening=await journal_store.balances_before(connection, day),
        entries=await journal_store.entries_of(connection, day),
        closing=closing,
    )


async def waiting_batches(connection: AsyncConnection, before: dt.datetime) -> int:
    """Batches that came before an instant and that the ledger has not taken yet."""
    waiting = sa.select(sa.func.count()).where(batch.c.position.is_(None), batch.c.received_at < before)
    return int(await connection.scalar(waiting) or 0)


async def _miners(
    connection: AsyncConnection,
    day: dt.date,
    bounds: tuple[int, int],
    closing: dict[str, int],
    named: set[int],
) -> list[MinerFacts]:
    accepted = {
        row.miner_id: row
        for row in await connection.execute(sa.select(miner_day).where(miner_day.c.day == day))
    }
    rejected: dict[int, dict[str, int]] = defaultdict(dict)
    refused = sa.select(reject_day.c.miner_id, reject_day.c.reason, reject_day.c.count.label("shares"))
    for row in await connection.execute(refused.where(reject_day.c.day == day)):
        rejected[row.miner_id][row.reason] = row.shares
    owed = {int(account.split(":")[1]) for account in closing if account.startswith("miner:")}
    held = await _held(connection, {*accepted, *rejected, *owed, *named}, *bounds)
    return [
        MinerFacts(
            held=one,
            accepted=int(accepted[id_].shares) if id_ in accepted else 0,
            rejected=rejected.get(id_, {}),
            work=int(accepted[id_].work) if id_ in accepted else 0,
        )
        for id_, one in sorted(held.items())
    ]


async def _held(connection: AsyncConnection, told: set[int], start_us: int, end_us: int) -> dict[int, Held]:
    """All miners that the register knew when the day ended, and any others that must be told of."""
    register = await register_store.load(connection, _KINDS, start_us)
    events = await _events(connection, register.seq, end_us)
    versions = live_through(register, events)
    held = {id_: _holding(register, id_, versions.get(id_, ()), end_us) for id_ in register.miners}
    late = told - held.keys()  # entered later than a clock says they worked
    if late:
        now = await register_store.load(connection, _KINDS)
        for id_ in late & now.miners.keys():
            held[id_] = _holding(now, id_, [Version(one) for one in now.licences_of(id_)], end_us)
    return held


def _holding(register: Register, miner_id: int, versions: Sequence[Version], end_us: int) -> Held:
    wallet = address_at(register.addresses_of(miner_id), "wallet", end_us - 1)
    return Held(register.miners[miner_id], wallet, versions)


async def _events(connection: AsyncConnection, after: int, before_us: int) -> list[Event]:
    """What became of the register behind an event and before an instant."""
    found: list[Event] = []
    while chunk := await register_store.read_events(connection, after, _CHUNK, _KINDS):
        found += [event for event in chunk if event.at_us < before_us]
        after = chunk[-1].seq
        if chunk[-1].at_us >= before_us:
            break
    return found


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
    return BlockFacts(
        height=row.height,
        hash=row.hash,
        coinbase_txid=row.coinbase_txid,
        finder_id=row.miner_id,
        finder_worker=row.worker,
        reward_sat=row.reward_sat,
        fees_sat=row.fees_sat,
        commission_bps=row.commission_bps,
        scheme=row.scheme,
        transaction_fees=row.transaction_fees,
        window_size=store.terms_of(row).window_size(work_of(row.network_target), credited=True),
        window=None if row.window_first is None else store.window_of(row, parts),
        split=store.split_of(row.commission_sat, parts),
        history=history,
    )
