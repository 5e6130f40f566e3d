"""From a gateway's batch to the ledger: its place in the order, its slices, its blocks and their splits.

One batch is one transaction: after a crash it is either all there or not at all. Batches are taken in the
order of their ids, which for one gateway is the order of its spool, and get positions 1, 2, 3 and on;
slices get positions of their own without a gap. That is the one order of all work (invariant I4), and it
never changes.

A block's window and split are computed here, when the block is found, by the terms of that day, and frozen.
What becomes of the block is `pool.block_watch`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg  # type: ignore[import-untyped]
import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts.slices import Share as LedgerShare
from payouts.slices import Slice, cut, of_miners
from payouts.terms import DatedTerms
from pool import ledger_store as store
from pool import workers_seen
from pool.database import refused
from pool.records import Found, Record, Reject, Share, Submitted, decode_batch
from pool.workers_seen import WorkersSeen
from stratum import difficulty

log = structlog.get_logger(__name__)

DayOf = Callable[[int], dt.date]


class LedgerError(Exception):
    """The ledger cannot go on without a person. The message names the batch or block and what to do."""


class FoundAt(NamedTuple):
    """A block, and how many of its batch's slices of miners are before it."""

    found: Found
    slices_before: int


@dataclass(frozen=True, slots=True)
class Sorted:
    """The records of a batch as the ledger keeps them."""

    workers: list[Slice]
    """The slices of each worker."""
    miners: list[Slice]
    """The same put together by miner: what the ledger keeps."""
    rejects: Counter[store.RejectKey]
    founds: list[FoundAt]
    submitted: list[Submitted]


class Taken(NamedTuple):
    """A batch that the ledger has taken: its position, its gateway, the slices of workers cut from it."""

    position: int
    gateway_number: int
    slices: Sequence[Slice]


def work_of(target: bytes) -> int:
    """The expected number of hashes of a share or block with this target (32 bytes, big-endian)."""
    return difficulty.work_of(int.from_bytes(target, "big"))


def sort_records(records: Iterable[Record], day_of: DayOf) -> Sorted:
    """Cuts a batch into slices; each block found ends a run, so that its window ends right there.

    Raises ValueError for a share without work or an instant without a day.
    """
    kept = Sorted([], [], Counter(), [], [])
    run: list[Share] = []
    for record in records:
        match record:
            case Share():
                run.append(record)
            case Reject():
                if record.miner_id == 0:
                    continue  # nobody's; the batch keeps it
                day = day_of(record.at_us)
                kept.rejects[store.RejectKey(record.miner_id, record.worker, day, record.reason)] += 1
            case Found():
                _end_run(kept, run, record, day_of)
                kept.founds.append(FoundAt(record, len(kept.miners)))
                run = []
            case Submitted():
                kept.submitted.append(record)
    _end_run(kept, run, None, day_of)
    return kept


def _end_run(kept: Sorted, run: list[Share], found: Found | None, day_of: DayOf) -> None:
    slices = cut(_ledger_shares(run, found), day_of)
    kept.workers.extend(slices)
    kept.miners.extend(of_miners(slices))


def _ledger_shares(run: list[Share], found: Found | None) -> Iterator[LedgerShare]:
    for share in run:
        wins = found is not None and found.credited and share is run[-1] and solves(share, found)
        yield LedgerShare(
            share.at_us,
            share.miner_id,
            share.worker,
            work_of(share.target),
            found.block_hash if found is not None and wins else None,
        )


def solves(share: Share, found: Found) -> bool:
    """Whether the share's header is the block's; else its window ends behind the share all the same."""
    digest = hashlib.sha256(hashlib.sha256(share.header).digest()).digest()
    if digest[::-1].hex() == found.block_hash:
        return True
    log.warning(
        "block_share_differs",
        block=found.block_hash,
        explained="the share before it does not hash to it; its window ends there all the same",
    )
    return False


async def take_batch(
    connection: AsyncConnection, terms: DatedTerms, day_of: DayOf, now_us: int, seen: WorkersSeen
) -> Taken | None:
    """Take the next batch into the ledger, in one transaction; None when there is none.

    `now_us` is the ledger's clock: no block is found after the ledger has heard of it. `seen` are the names
    that this ledger has written. Raises LedgerError for a batch that cannot be read or cannot be true.
    """
    waiting = None
    try:
        async with connection.begin():
            waiting = await store.next_batch(connection)
            if waiting is None:
                return None
            kept = sort_records(decode_batch(waiting.payload), day_of)
            fresh = seen.fresh(kept.workers)
            position = await _keep(connection, waiting, kept, terms, day_of, now_us)
            await workers_seen.write(connection, position, fresh)
        seen.written(fresh)
    except (ValueError, sa.exc.DBAPIError, asyncpg.PostgresError) as error:
        if waiting is None or not (isinstance(error, ValueError) or refused(error)):
            raise
        raise LedgerError(
            f"ledger stopped at batch {waiting.id} (gateway {waiting.gateway_number}, spool rows "
            f"{waiting.first_seq} to {waiting.last_seq}): {str(error).splitlines()[0]}. Nothing of it is "
            f"booked. Restore the batch from a backup, or have it looked at; it must not be skipped"
        ) from error
    return Taken(position, waiting.gateway_number, kept.workers)


async def _keep(
    connection: AsyncConnection,
    waiting: Any,
    kept: Sorted,
    terms: DatedTerms,
    day_of: DayOf,
    now_us: int,
) -> int:
    head = await store.move_head(connection, now_us)
    await store.place_batch(connection, waiting, head, kept.miners)
    await store.append_slices(connection, head, kept.miners)
    await store.append_rejects(connection, head, kept.rejects)
    for found, slices_before in kept.founds:
        if await store.block_known(connection, found.block_hash):
            log.info("block_told_again", block=found.block_hash, height=found.height)
            continue
        window_last = head.slice_position + slices_before
        await _keep_block(connection, _by_now(found, head.taken_us), window_last, terms, day_of)
    for one in kept.submitted:
        await store.mark_submitted(connection, one.block_hash, min(one.at_us, head.taken_us), one.node)
    return head.batch_position + 1


def _by_now(found: Found, now_us: int) -> Found:
    """A gateway whose clock is ahead would date the block's bookings, and all that follow, in the future."""
    if found.at_us <= now_us:
        return found
    ahead = (found.at_us - now_us) // 1_000_000
    log.warning(
        "block_from_the_future",
        block=found.block_hash,
        ahead_seconds=ahead,
        explained="its gateway's clock is ahead; taken as found now",
    )
    return msgspec.structs.replace(found, at_us=now_us)


async def _keep_block(
    connection: AsyncConnection, found: Found, window_last: int, dated: DatedTerms, day_of: DayOf
) -> None:
    """Freeze a block's window and split. With no work that it pays for, the reward is the pool's."""
    day = day_of(found.at_us)
    terms = dated.on(day)
    size = terms.window_size(work_of(found.network_target), found.credited)
    window = await store.read_window(connection, window_last, size)
    if window is None:
        log.warning(
            "block_without_work",
            block=found.block_hash,
            explained="it pays for nobody's work, its whole reward is the pool's",
        )
    split = terms.divide(found.reward_sat, found.fees_sat, window)
    await store.insert_block(connection, store.NewBlock(found, day, terms, window, split))
    log.info(
        "block_split",
        block=found.block_hash,
        height=found.height,
        reward_sat=found.reward_sat,
        miners=len(split.amounts),
        commission_sat=split.commission,
    )
