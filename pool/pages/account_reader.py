"""Looks at one account for its page: some small queries in one snapshot, and the workers in memory.

A look is kept for some seconds and shared by all who see the page in the same language; looks are made one
after the other, so that many pages cost time and not the database. What a block found now would pay is
looked up for all accounts together, and why somebody is not paid once a minute.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.journal import EntryKind
from payouts.payout_plan import Held
from pool import journal_store
from pool.notices import store as notice_store
from pool.pages import account_view as view
from pool.pages.worker_reader import WorkerReader
from pool.pages.worker_rows import Moment, Query, Row, counts_of, registered, rows_of, view_of, worker_view
from pool.reading import reading
from pool.register_desk import Desk
from pool.report_facts_register import salt_secret
from pool.statement_now import NextBlock, Office, held_of, next_block
from pool.status import StatusReader
from pool.tables import (
    account_day,
    journal_entry,
    journal_posting,
    miner_day,
    payment,
    payout,
    payout_version,
    reject_day,
)
from register.device import Device
from register.licence import COVERING
from register.miner import Language, Miner

KEEP_SECONDS = 3.0
COUNT_SECONDS = 1.0
"""So often the workers are counted on for looks, at most."""
NEXT_BLOCK_SECONDS: Final = 10.0
HELD_SECONDS: Final = 60.0
PAYMENTS_SHOWN: Final = 5
NOTICES_SHOWN: Final = 10
_BPS: Final = 10_000
_EARNED: Final = (EntryKind.BLOCK_CONFIRMED, EntryKind.FPPS_CREDITED, EntryKind.BLOCK_REVERSED)


@dataclass(frozen=True, slots=True)
class Account:
    """Who is looked at, as the register has it."""

    miner: Miner
    units: tuple[Device, ...]
    licence: view.LicenceView | None


class AccountReader:
    """See the head of this file."""

    def __init__(self, desk: Desk, office: Office, status: StatusReader, workers: WorkerReader) -> None:
        self._desk = desk
        self._office = office
        self._status = status
        self._workers = workers
        self._one_at_a_time = asyncio.Lock()
        self._kept: dict[Any, tuple[float, Any]] = {}
        self._units: dict[int, tuple[tuple[int, dt.date], tuple[Device, ...]]] = {}
        """Of miners that were looked at, as of a state of the register and a day."""
        self._secret: bytes | None = None

    async def secret(self) -> bytes:
        """What links of technicians are signed with; raises DatabaseAway."""
        if self._secret is None:
            async with reading(self._desk.engine) as connection:
                self._secret = await salt_secret(connection)
        return self._secret

    async def find(self, name: str) -> Account | None:
        """An account of the register; raises DatabaseAway."""
        desk = self._desk
        now_us = desk.now_us()
        today = desk.rules.day_of(now_us)
        async with desk.live.held() as register:
            miner = register.find_miner(name)
            if miner is None:
                return None
            kept = self._units.get(miner.id)
            if kept is None or kept[0] != (register.seq, today):
                units = registered(register.devices_of(miner.id), today)
                kept = self._units[miner.id] = ((register.seq, today), units)
            licence = register.standing(miner, now_us, desk.rules).licence
            status = licence.phase_at(now_us, desk.rules).status if licence else None
            shown = (
                view.LicenceView(licence.number, str(status), status in COVERING, licence.valid_to)
                if licence
                else None
            )
            return Account(miner, kept[1], shown)

    async def look(self, account: Account, language: Language) -> view.AccountView:
        """An account as of some seconds ago at most; raises DatabaseAway."""
        key = ("look", account.miner.id, language)
        async with self._one_at_a_time:
            kept = self._fresh(key)
            if kept is None:
                kept = await self._look(account, language)
                self._keep(key, KEEP_SECONDS, kept)
            found: view.AccountView = kept
            return found

    async def page(self, account: Account, query: Query) -> view.WorkersView:
        """A page of an account's workers, as of some seconds ago at most; raises DatabaseAway."""
        key = ("list", account.miner.id, query)
        async with self._one_at_a_time:
            kept: Any = self._fresh(key)
            if kept is None:
                rows = await self._rows(account)
                kept = await asyncio.to_thread(self._list, rows, query)
                self._keep(key, KEEP_SECONDS, kept)
            found: view.WorkersView = kept
            return found

    async def worker(self, account: Account, name: str) -> view.WorkerView | None:
        """One worker or unit of an account; None for a name that is neither."""
        async with self._one_at_a_time:
            for one in await self._rows(account):
                if one.name.lower() == name.lower():
                    return worker_view(one, self._moment())
        return None

    # Workers

    async def _count(self) -> None:
        if self._fresh(("counted",)) is None:
            await self._workers.advance()
            self._keep(("counted",), COUNT_SECONDS, True)

    def _moment(self) -> Moment:
        now_us = self._desk.now_us()
        rules = self._desk.rules
        since_us = self._workers.workers.since_us or now_us
        return Moment(now_us, since_us, rules.day_of(now_us).toordinal(), rules.local)

    async def _rows(self, account: Account) -> Sequence[Row]:
        key = ("rows", account.miner.id)
        kept: Any = self._fresh(key)
        if kept is None:
            await self._count()
            kept = await asyncio.to_thread(self._joined, account, self._desk.now_us())
            self._keep(key, KEEP_SECONDS, kept)
        rows: Sequence[Row] = kept
        return rows

    def _joined(self, account: Account, now_us: int) -> Sequence[Row]:
        with self._workers.still:
            workers = self._workers.workers
            since_us = workers.since_us or now_us
            return rows_of(workers.of(account.miner.id), account.units, now_us, since_us)

    def _list(self, rows: Sequence[Row], query: Query) -> view.WorkersView:
        with self._workers.still:
            return view_of(rows, query, self._moment())

    # The rest

    async def _look(self, account: Account, language: Language) -> view.AccountView:
        rules, miner = self._desk.rules, account.miner
        await self._status.current()
        rows = await self._rows(account)
        states = counts_of(rows)
        moment = self._moment()
        now_us = moment.now_us
        today = rules.day_of(now_us)
        work = self._status.today_of(miner.id)
        async with reading(self._desk.engine) as connection:
            following = await self._next_block(connection, now_us)
            last_us = await _last_share(connection, miner.id, today)
            counted_us = max((one.worker.last_us for one in rows if one.worker), default=0)
            return view.AccountView(
                at=rules.local(now_us),
                account=miner.name,
                title=miner.title,
                licence=account.licence,
                hashrate_10m=str(work.hashrate_10m),
                hashrate_1h=str(work.hashrate_1h),
                hashrate_24h=str(self._status.history.hashrate(now_us, miner.id)),
                shares_accepted=work.shares_accepted,
                rejected=await _rejected(connection, miner.id, today),
                last_share_at=rules.local(max(last_us, counted_us)) if last_us or counted_us else None,
                workers=view.WorkerCounts(
                    working=states["working"],
                    behind=states["behind"],
                    silent=states["silent"],
                    absent=states["absent"],
                    since=rules.local(moment.since_us) if self._workers.workers.since_us else None,
                    whole=self._workers.whole,
                ),
                units=view.UnitCounts(len(account.units), sum(one.nominal_ghs for one in account.units)),
                money=await self._money(connection, miner, today, now_us),
                preview=_preview(following, miner.id) if following else None,
                payments=await _payments(connection, miner.id, rules.local),
                notices=await self._notices(connection, miner.id, language),
            )

    async def _next_block(self, connection: AsyncConnection, now_us: int) -> NextBlock | None:
        kept = self._fresh(("next",))
        if kept is None:
            kept = (await next_block(connection, self._office, now_us),)
            self._keep(("next",), NEXT_BLOCK_SECONDS, kept)
        found: NextBlock | None = kept[0]
        return found

    async def _money(
        self, connection: AsyncConnection, miner: Miner, today: dt.date, now_us: int
    ) -> view.MoneyView:
        owed = await _owed(connection, miner.id)
        earned = await _earned(connection, miner.id, today.replace(day=1))
        held = await self._held(connection, miner.id, now_us) if owed[1] else None
        return view.MoneyView(
            earned_today_sat=earned.get(today, 0),
            earned_month_sat=sum(earned.values()),
            immature_sat=owed[0],
            payable_sat=owed[1],
            paying_sat=owed[2],
            held_reason=held.reason.value if held else None,
            threshold_sat=held.threshold_sat if held and held.reason == "below_threshold" else None,
        )

    async def _held(self, connection: AsyncConnection, miner_id: int, now_us: int) -> Held | None:
        key = ("held", miner_id)
        kept = self._fresh(key)
        if kept is None:
            async with self._desk.live.held() as register:
                kept = (await held_of(connection, self._office, register, miner_id, now_us),)
            self._keep(key, HELD_SECONDS, kept)
        found: Held | None = kept[0]
        return found

    async def _notices(
        self, connection: AsyncConnection, miner_id: int, language: Language
    ) -> tuple[view.NoticeView, ...]:
        local = self._desk.rules.local
        return tuple(
            view.NoticeView(local(one.at_us), one.kind, one.severity, one.subject, one.text)
            for one in await notice_store.for_miner(connection, miner_id, NOTICES_SHOWN, language)
        )

    def _fresh(self, key: Any) -> Any | None:
        kept = self._kept.get(key)
        return kept[1] if kept is not None and time.monotonic() < kept[0] else None

    def _keep(self, key: Any, seconds: float, value: Any) -> None:
        """For so long; what is over goes, so that many different questions do not fill the memory."""
        now = time.monotonic()
        self._kept = {one: kept for one, kept in self._kept.items() if now < kept[0]}
        self._kept[key] = (now + seconds, value)


def _preview(found: NextBlock, miner_id: int) -> view.PreviewView:
    told = found.for_miner(miner_id)
    window_work = told.window.work_total if told.window else 0
    return view.PreviewView(
        height=told.height,
        scheme=told.terms.scheme,
        network_work=str(told.network_work),
        subsidy_sat=told.reward_sat,
        own_work=str(told.own_work),
        window_work=str(window_work),
        share_bps=told.own_work * _BPS // window_work if window_work else None,
        amount_sat=told.amount_sat,
    )


def _accounts(miner_id: int) -> tuple[str, str, str]:
    return journal.miner_immature(miner_id), journal.miner_payable(miner_id), journal.miner_paying(miner_id)


async def _owed(connection: AsyncConnection, miner_id: int) -> tuple[int, ...]:
    accounts = _accounts(miner_id)
    found = await journal_store.balances(connection, account_day.c.account.in_(accounts))
    return tuple(-found.get(account, 0) for account in accounts)


async def _earned(connection: AsyncConnection, miner_id: int, since: dt.date) -> dict[dt.date, int]:
    """What was credited less what was reversed, by day; the journal books what is owed as negative."""
    rows = await connection.execute(
        sa.select(journal_entry.c.day, sa.func.sum(-journal_posting.c.amount).label("earned"))
        .join(journal_posting, journal_posting.c.entry_id == journal_entry.c.id)
        .where(
            journal_entry.c.day >= since,
            journal_entry.c.kind.in_([one.value for one in _EARNED]),
            journal_posting.c.account.in_(_accounts(miner_id)),
        )
        .group_by(journal_entry.c.day)
    )
    return {row.day: int(row.earned) for row in rows}


async def _rejected(connection: AsyncConnection, miner_id: int, day: dt.date) -> dict[str, int]:
    rows = await connection.execute(
        sa.select(reject_day.c.reason, reject_day.c["count"].label("shares"))
        .where(reject_day.c.day == day, reject_day.c.miner_id == miner_id)
        .order_by(reject_day.c["count"].desc(), reject_day.c.reason)
    )
    return {row.reason: row.shares for row in rows}


async def _last_share(connection: AsyncConnection, miner_id: int, today: dt.date) -> int:
    """Of this day or the one before; 0 where there was none."""
    days = (today, today - dt.timedelta(days=1))
    last = sa.select(sa.func.max(miner_day.c.last_us)).where(
        miner_day.c.miner_id == miner_id, miner_day.c.day.in_(days)
    )
    return int(await connection.scalar(last) or 0)


async def _payments(connection: AsyncConnection, miner_id: int, local: Any) -> tuple[view.PaymentView, ...]:
    txid = (
        sa.select(payout_version.c.txid)
        .where(
            payout_version.c.payout_id == payment.c.payout_id,
            payout_version.c.purpose == "pay",
            payout_version.c.txid.is_not(None),
        )
        .order_by(payout_version.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = await connection.execute(
        sa.select(payment, payout.c.state, payout.c.created_us, txid.label("txid"))
        .join(payout, payout.c.id == payment.c.payout_id)
        .where(payment.c.miner_id == miner_id)
        .order_by(payment.c.payout_id.desc(), payment.c.number)
        .limit(PAYMENTS_SHOWN)
    )
    return tuple(
        view.PaymentView(
            payout=row.payout_id,
            state=row.state,
            created_at=local(row.created_us),
            amount_sat=row.amount_sat,
            address=row.address,
            exchange=row.exchange,
            txid=row.txid,
        )
        for row in rows
    )
