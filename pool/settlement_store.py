"""Settlement's SQL, and the fence: who may write it.

Whoever acts as the settler holds an advisory lock on the connection that it writes on, and raised a number
(the token) when it began. Each of its transactions first holds the row with that number and looks whether it
is still its own. So a settler that lost its lock without noticing can write nothing once another has begun
(`Fenced`), and the other one waits until what was under way is written or gone.

Everything else here works inside such a transaction and decides nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts import journal
from payouts.payout_plan import Due
from pool import journal_store
from pool.database import SETTLEMENT_LOCK
from pool.payout_transaction import Draft
from pool.tables import payment, payout, payout_event, payout_run, payout_version, settler

UNPAID: Final = ("reserved", "signed", "sent")
"""States in which a payout is under way and has paid nobody yet."""
LIVE: Final = (*UNPAID, "confirmed")
"""States in which something may still happen: from `final` and `abandoned` nothing comes back."""
_TRY_SECONDS: Final = 0.2


class Fenced(Exception):
    """Another settler has begun: whoever gets this has to stop."""


class BusyError(ValueError):
    """Another settler is at work. The message is for whoever asked."""


def by_miner(dues: Iterable[Due]) -> dict[int, int]:
    """Satoshis by miner of some payments."""
    sums: dict[int, int] = {}
    for due in dues:
        sums[due.miner_id] = sums.get(due.miner_id, 0) + due.amount_sat
    return sums


@dataclass(frozen=True, slots=True)
class Version:
    """One transaction of a payout; `purpose` is pay or cancel. Signed when it has a txid."""

    number: int
    purpose: str
    created_us: int
    psbt: str
    inputs: tuple[str, ...]
    fee_sat: int
    rate: int
    exported_us: int | None
    signed_us: int | None
    txid: str | None
    raw: bytes | None
    sent_us: int | None

    @property
    def out(self) -> bool:
        """Whether anybody may be able to have it confirmed."""
        return self.exported_us is not None or self.txid is not None


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout as it stands, with all of its versions, oldest first."""

    id: int
    run_id: int
    number: int
    state: str
    created_us: int
    amount_sat: int
    payments: tuple[Due, ...]
    versions: tuple[Version, ...]

    @property
    def amounts(self) -> dict[int, int]:
        """Satoshis by miner."""
        return by_miner(self.payments)

    @property
    def newest(self) -> Version | None:
        """The version that is wanted."""
        return self.versions[-1] if self.versions else None

    @property
    def cancelling(self) -> bool:
        """Whether it is to be taken back."""
        return bool(self.versions) and self.versions[-1].purpose == "cancel"

    @property
    def wanted(self) -> Version | None:
        """The newest signed version that the network shall have; of a cancelled payout only what cancels."""
        purpose = "cancel" if self.cancelling else "pay"
        signed = [one for one in self.versions if one.purpose == purpose and one.txid is not None]
        return signed[-1] if signed else None


class Event(NamedTuple):
    """What happened to a payout."""

    at_us: int
    state: str
    version: int | None
    block_hash: str | None
    block_height: int | None
    block_time_us: int | None
    actor: str
    note: str


class Block(NamedTuple):
    """A block that has a payout's transaction."""

    hash: str
    height: int
    time_us: int


# Who may write


class Tenure:
    """Being the settler, for as long as the connection and the token are ours."""

    def __init__(self, connection: AsyncConnection, token: int) -> None:
        self._connection = connection
        self.token = token

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction; raises Fenced when another settler has begun."""
        async with self._connection.begin():
            held = await self._connection.scalar(
                sa.select(settler.c.token).where(settler.c.id == 1).with_for_update(read=True)
            )
            if held != self.token:
                raise Fenced(f"another settler has begun (token {held}, ours is {self.token})")
            yield self._connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        async with self._connection.begin():
            yield self._connection


@asynccontextmanager
async def tenure(engine: AsyncEngine, wait_seconds: float = 0.0) -> AsyncIterator[Tenure]:
    """Be the settler; raises BusyError when another one still is after so long."""
    async with engine.connect() as connection:
        await _lock(connection, wait_seconds)
        try:
            raised = sa.update(settler).values(token=settler.c.token + 1).returning(settler.c.token)
            async with connection.begin():
                token = int((await connection.execute(raised)).scalar_one())
            yield Tenure(connection, token)
        finally:
            # Closing the connection gives back the lock, whatever state it is in.
            await connection.invalidate()


async def _lock(connection: AsyncConnection, wait_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_seconds
    while True:
        held = await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(SETTLEMENT_LOCK)))
        await connection.commit()
        if held:
            return
        if loop.time() >= end:
            raise BusyError("another settler is at work on the payouts; try again in a moment")
        await asyncio.sleep(_TRY_SECONDS)


# Reading


async def live_ids(connection: AsyncConnection) -> list[int]:
    """Payouts to which something may still happen, oldest first."""
    found = sa.select(payout.c.id).where(payout.c.state.in_(LIVE)).order_by(payout.c.id)
    return list((await connection.execute(found)).scalars())


async def read(connection: AsyncConnection, payout_id: int) -> Payout | None:
    """A payout; None when there is none of that number."""
    row = (await connection.execute(sa.select(payout).where(payout.c.id == payout_id))).one_or_none()
    if row is None:
        return None
    payments = sa.select(payment).where(payment.c.payout_id == payout_id).order_by(payment.c.number)
    versions = (
        sa.select(payout_version)
        .where(payout_version.c.payout_id == payout_id)
        .order_by(payout_version.c.number)
    )
    return Payout(
        id=row.id,
        run_id=row.run_id,
        number=row.number,
        state=row.state,
        created_us=row.created_us,
        amount_sat=row.amount_sat,
        payments=tuple(_due(one) for one in await connection.execute(payments)),
        versions=tuple(_version(one) for one in await connection.execute(versions)),
    )


def _due(row: Any) -> Due:
    return Due(
        miner_id=row.miner_id,
        purpose=row.purpose,
        address=row.address,
        script=row.script,
        amount_sat=row.amount_sat,
        commission_sat=row.commission_sat,
        sale_share_bps=row.sale_share_bps,
        exchange=row.exchange,
        licence=row.licence,
        status=row.licence_status,
    )


def _version(row: Any) -> Version:
    return Version(
        number=row.number,
        purpose=row.purpose,
        created_us=row.created_us,
        psbt=row.psbt,
        inputs=tuple(row.inputs),
        fee_sat=row.fee_sat,
        rate=row.fee_rate_sat_kvb,
        exported_us=row.exported_us,
        signed_us=row.signed_us,
        txid=row.txid,
        raw=row.raw,
        sent_us=row.sent_us,
    )


async def events(connection: AsyncConnection, payout_id: int) -> list[Event]:
    """All that happened to a payout, oldest first."""
    columns = [payout_event.c[name] for name in Event._fields]
    found = sa.select(*columns).where(payout_event.c.payout_id == payout_id).order_by(payout_event.c.id)
    return [Event(*row) for row in await connection.execute(found)]


async def confirmed_in(connection: AsyncConnection, payout_id: int) -> tuple[int, Block] | None:
    """The version that was confirmed last, and its block."""
    row = (
        await connection.execute(
            sa.select(payout_event)
            .where(payout_event.c.payout_id == payout_id, payout_event.c.block_hash.is_not(None))
            .order_by(payout_event.c.id.desc())
            .limit(1)
        )
    ).one_or_none()
    return None if row is None else (row.version, Block(row.block_hash, row.block_height, row.block_time_us))


async def coins(connection: AsyncConnection) -> tuple[dict[str, int], set[str]]:
    """The coins of live payouts with the payout of each, and those of payouts that are over."""
    rows = await connection.execute(
        sa.select(payout_version.c.inputs, payout.c.id, payout.c.state).join(
            payout, payout.c.id == payout_version.c.payout_id
        )
    )
    live: dict[str, int] = {}
    over: set[str] = set()
    for row in rows:
        if row.state in LIVE:
            live |= dict.fromkeys(row.inputs, row.id)
        else:
            over.update(row.inputs)
    return live, over - set(live)


async def known_transactions(connection: AsyncConnection) -> tuple[str, set[str]]:
    """A block before which nothing is unknown (empty: no such block), and all txids of payouts."""
    # What was sent before the last run was looked at then; a block that was told of later may lie behind.
    before = payout_event.c.at_us < sa.select(sa.func.max(payout_run.c.at_us)).scalar_subquery()
    seen = sa.select(payout_event.c.block_hash).where(payout_event.c.block_hash.is_not(None), before)
    last = seen.order_by(payout_event.c.id.desc()).limit(1)
    txids = sa.select(payout_version.c.txid).where(payout_version.c.txid.is_not(None))
    return await connection.scalar(last) or "", set((await connection.execute(txids)).scalars())


async def unsigned_psbts(connection: AsyncConnection) -> list[str]:
    """PSBTs that did not come back signed."""
    found = sa.select(payout_version.c.psbt).where(payout_version.c.txid.is_(None))
    return list((await connection.execute(found)).scalars())


async def has_run(connection: AsyncConnection, schedule: str) -> bool:
    """Whether there was a run for a date of the schedule."""
    found = sa.select(payout_run.c.id).where(payout_run.c.schedule == schedule)
    return await connection.scalar(found) is not None


# Writing


async def insert_run(
    connection: AsyncConnection, at_us: int, day: dt.date, schedule: str | None, actor: str, reason: str
) -> int:
    """A new run; its id."""
    row = sa.insert(payout_run).values(at_us=at_us, day=day, schedule=schedule, actor=actor, reason=reason)
    return int((await connection.execute(row.returning(payout_run.c.id))).scalar_one())


async def insert_payout(
    connection: AsyncConnection, run_id: int, number: int, dues: Sequence[Due], at_us: int
) -> int:
    """A payout with its payments, in state reserved; its id."""
    row = sa.insert(payout).values(
        run_id=run_id,
        number=number,
        state="reserved",
        created_us=at_us,
        amount_sat=sum(due.amount_sat for due in dues),
    )
    payout_id = int((await connection.execute(row.returning(payout.c.id))).scalar_one())
    await connection.execute(
        sa.insert(payment),
        [
            {
                "payout_id": payout_id,
                "number": place,
                "miner_id": due.miner_id,
                "purpose": due.purpose,
                "address": due.address,
                "script": due.script,
                "amount_sat": due.amount_sat,
                "commission_sat": due.commission_sat,
                "sale_share_bps": due.sale_share_bps,
                "exchange": due.exchange,
                "licence": due.licence,
                "licence_status": due.status,
            }
            for place, due in enumerate(dues, 1)
        ],
    )
    return payout_id


async def insert_version(
    connection: AsyncConnection, payout_id: int, number: int, purpose: str, draft: Draft, at_us: int
) -> None:
    """A new version of a payout; the database refuses a number twice."""
    await connection.execute(
        sa.insert(payout_version).values(
            payout_id=payout_id,
            number=number,
            purpose=purpose,
            created_us=at_us,
            psbt=draft.psbt,
            inputs=list(draft.inputs),
            fee_sat=draft.fee_sat,
            fee_rate_sat_kvb=draft.rate,
        )
    )


async def update_version(
    connection: AsyncConnection, payout_id: int, number: int, values: Mapping[str, object]
) -> None:
    """What became of a version: exported_us; signed_us, txid and raw; sent_us. Each is written once."""
    await connection.execute(
        sa.update(payout_version)
        .where(payout_version.c.payout_id == payout_id, payout_version.c.number == number)
        .values(**values)
    )


async def move(connection: AsyncConnection, payout_id: int, before: Sequence[str], after: str) -> bool:
    """Put a payout into another state; False when it is in none of `before`."""
    moved = await connection.execute(
        sa.update(payout).where(payout.c.id == payout_id, payout.c.state.in_(before)).values(state=after)
    )
    return bool(moved.rowcount == 1)


async def tell(
    connection: AsyncConnection,
    payout_id: int,
    at_us: int,
    actor: str,
    note: str,
    version: int | None = None,
    block: Block | None = None,
) -> None:
    """Append an event, with the state that the payout is in."""
    state = sa.select(payout.c.state).where(payout.c.id == payout_id).scalar_subquery()
    await connection.execute(
        sa.insert(payout_event).values(
            payout_id=payout_id,
            at_us=at_us,
            state=state,
            version=version,
            block_hash=block and block.hash,
            block_height=block and block.height,
            block_time_us=block and block.time_us,
            actor=actor,
            note=note,
        )
    )


async def last_note(connection: AsyncConnection, payout_id: int) -> str | None:
    """What the last event of a payout says."""
    last = (
        sa.select(payout_event.c.note)
        .where(payout_event.c.payout_id == payout_id)
        .order_by(payout_event.c.id.desc())
        .limit(1)
    )
    return await connection.scalar(last)


async def book(
    connection: AsyncConnection,
    entry: journal.Entry,
    now_us: int,
    day_of: Callable[[int], dt.date],
    actor: str,
) -> int:
    """Book an entry of a payout at the next instant of the journal; that instant."""
    at_us = await journal_store.next_instant(connection, now_us)
    await journal_store.book(connection, entry, at_us, day_of(at_us), actor)
    return at_us
