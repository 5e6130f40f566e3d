"""The journal's SQL: entries in, balances out.

Whoever writes the journal, or decides by a balance what to write, holds its lock until the transaction ends
(`next_instant` takes it): the ledger, a settler and a person who corrects something are written one after the
other, in the order of their instants. Balances come from `account_day`, which the database keeps by trigger.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.journal import EntryKind
from pool.database import JOURNAL_LOCK
from pool.tables import account_day, block_event, journal_entry, journal_posting, ledger_head, payout_run

LEDGER = "ledger"
"""The actor of entries that follow from the chain."""
_NOW: Final = sa.text(
    """
    WITH RECURSIVE names (account) AS (
        (SELECT account FROM account_day ORDER BY account LIMIT 1)
        UNION ALL
        SELECT (SELECT account FROM account_day WHERE account > names.account ORDER BY account LIMIT 1)
        FROM names WHERE names.account IS NOT NULL
    )
    SELECT names.account, newest.closing FROM names CROSS JOIN LATERAL (
        SELECT closing FROM account_day WHERE account = names.account ORDER BY day DESC LIMIT 1
    ) AS newest
    """
)
"""The newest balance of each account, by as many look-ups as there are accounts."""


async def next_instant(connection: AsyncConnection, now_us: int, block_hash: str | None = None) -> int:
    """Now, but never before the ledger's clock, the journal's last entry or the block's last event.

    Holds the journal's lock.
    """
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(JOURNAL_LOCK)))
    entry = sa.select(journal_entry.c.at_us).order_by(journal_entry.c.id.desc()).limit(1).scalar_subquery()
    event = (
        sa.select(sa.func.max(block_event.c.at_us)).where(block_event.c.hash == block_hash).scalar_subquery()
    )
    taken = sa.select(ledger_head.c.taken_us).scalar_subquery()
    return int(await connection.scalar(sa.select(sa.func.greatest(now_us, taken, entry, event))) or now_us)


async def book(
    connection: AsyncConnection, entry: journal.Entry, at_us: int, day: dt.date, actor: str = LEDGER
) -> int | None:
    """Append an entry to the journal; its id. One without postings (a block that pays nothing) is left out.

    `at_us` is what `next_instant` gave. The database refuses to book the same step of a block or a payout
    twice without a reversal between.
    """
    if not entry.postings:
        return None
    entry_id = await connection.scalar(
        sa.insert(journal_entry)
        .values(
            at_us=at_us,
            day=day,
            kind=entry.kind.value,
            block_hash=entry.block_hash,
            payout_id=entry.payout_id,
            round=_round(entry),
            memo=entry.memo,
            actor=actor,
        )
        .returning(journal_entry.c.id)
    )
    await connection.execute(
        sa.insert(journal_posting),
        [
            {"entry_id": entry_id, "account": posting.account, "amount": posting.amount}
            for posting in entry.postings
        ],
    )
    return int(entry_id or 0)


def _round(entry: journal.Entry) -> Any:
    """How often the block, or the payout, was reversed before."""
    if entry.block_hash is not None:
        source, kind = journal_entry.c.block_hash == entry.block_hash, EntryKind.BLOCK_REVERSED
    elif entry.payout_id is not None:
        source, kind = journal_entry.c.payout_id == entry.payout_id, EntryKind.PAYOUT_REVERSED
    else:
        return None
    before = sa.select(sa.func.count()).where(source, journal_entry.c.kind == kind.value)
    return before.scalar_subquery()


async def newest_entry(
    connection: AsyncConnection,
    kind: EntryKind,
    *,
    block_hash: str | None = None,
    payout_id: int | None = None,
) -> journal.Entry | None:
    """The last entry of a kind of a block or a payout."""
    source = (
        journal_entry.c.block_hash == block_hash if block_hash else journal_entry.c.payout_id == payout_id
    )
    newest = (
        sa.select(sa.func.max(journal_entry.c.id))
        .where(source, journal_entry.c.kind == kind.value)
        .scalar_subquery()
    )
    found = await _read(connection, journal_entry.c.id == newest)
    return found[0] if found else None


async def losses_of(
    connection: AsyncConnection, blocks: sa.Select[tuple[str]]
) -> dict[str, list[dict[int, int]]]:
    """For each reversal of those of some blocks that ever cost the pool anything: its losses by miner."""
    reversals = await _read(
        connection,
        sa.and_(
            journal_entry.c.kind == EntryKind.BLOCK_REVERSED.value, journal_entry.c.block_hash.in_(blocks)
        ),
    )
    losses: dict[str, list[dict[int, int]]] = defaultdict(list)
    for entry in reversals:
        losses[str(entry.block_hash)].append(journal.lost_of(entry))
    return {block: parts for block, parts in losses.items() if any(parts)}


async def entries_of(connection: AsyncConnection, day: dt.date) -> list[journal.Entry]:
    """The entries of a day in Kazakhstan, in the order in which they were booked."""
    return await _read(connection, journal_entry.c.day == day)


async def named_by_people(connection: AsyncConnection, txids: Iterable[str]) -> set[str]:
    """Those of some txids that the reason of a correction or of a payout run names: paid by hand, booked."""
    corrections = sa.select(journal_entry.c.memo).where(journal_entry.c.kind == EntryKind.CORRECTION.value)
    found = await connection.execute(corrections.union_all(sa.select(payout_run.c.reason)))
    reasons = "\n".join(found.scalars())
    return {txid for txid in txids if txid in reasons}


async def balances_before(connection: AsyncConnection, day: dt.date) -> dict[str, int]:
    """The booked balance of every account that had moved before a day, at the day's beginning."""
    return await balances(connection, account_day.c.day < day)


async def balances_until(connection: AsyncConnection, day: dt.date) -> dict[str, int]:
    """The booked balance of every account that has moved by the end of a day."""
    return await balances(connection, account_day.c.day <= day)


async def balances_now(connection: AsyncConnection) -> dict[str, int]:
    """The booked balance of every account that ever moved, as it was committed last."""
    return {row.account: row.closing for row in await connection.execute(_NOW)}


async def payable_of(connection: AsyncConnection, miner_ids: Mapping[int, object]) -> dict[int, int]:
    """What some miners may be paid now, in satoshis; call it after `next_instant`, under its lock."""
    accounts = {journal.miner_payable(miner_id): miner_id for miner_id in miner_ids}
    found = await balances(connection, account_day.c.account.in_(list(accounts)))
    return {accounts[account]: -amount for account, amount in found.items()}


async def balances(connection: AsyncConnection, *which: sa.ColumnElement[bool]) -> dict[str, int]:
    """The newest booked balance of each account in those rows of `account_day` for which all of it holds."""
    rows = await connection.execute(
        sa.select(account_day.c.account, account_day.c.closing)
        .ext(distinct_on(account_day.c.account))
        .where(*which)
        .order_by(account_day.c.account, account_day.c.day.desc())
    )
    return {row.account: row.closing for row in rows}


async def _read(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> list[journal.Entry]:
    rows = await connection.execute(
        sa.select(journal_entry, journal_posting.c.account, journal_posting.c.amount)
        .join(journal_posting, journal_posting.c.entry_id == journal_entry.c.id)
        .where(which)
        .order_by(journal_entry.c.id, journal_posting.c.id)
    )
    heads: dict[int, Any] = {}
    postings: dict[int, list[journal.Posting]] = defaultdict(list)
    for row in rows:
        heads[row.id] = row
        postings[row.id].append(journal.Posting(row.account, row.amount))
    return [
        journal.Entry(EntryKind(row.kind), row.block_hash, row.memo, tuple(postings[entry_id]), row.payout_id)
        for entry_id, row in heads.items()
    ]
