"""Accounts for Prometheus: work, shares, what is owed, the part of the window, devices at work.

A few hundred licensed miners are few enough to be told one by one, their workers are not. Told are those
with the most work of today and yesterday, and how many are left out. Counters go on from what the ledger
has of all days, so that a restart sets none back. Every ledger process tells it, active or not.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.journal import direction, miner_immature, miner_payable, miner_paying
from pool import journal_store
from pool.clock import HOUR_US, unix_microseconds
from pool.live_register import LiveRegister
from pool.reading import reading
from pool.register_views import device_state
from pool.statement_now import Office, next_block
from pool.tables import miner, miner_day, miner_work, reject_day
from pool.tables_daily import worker_seen
from pool.telemetry.instruments import counter_family, gauge_family
from register.register import Register

ACCOUNTS_TOLD: Final = 200
DEVICES_US: Final = 60_000_000
"""Units are counted as often, or when an account is new."""
_ACCOUNTS: Final = {"immature": miner_immature, "payable": miner_payable, "paying": miner_paying}


@dataclass(slots=True)
class _Account:
    name: str
    work: int
    accepted: int = 0
    rejected: int = 0
    owed: dict[str, int] = field(default_factory=dict)
    registered: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class _Told:
    accounts: dict[int, _Account]
    untold: int
    window: Mapping[int, int] | None
    """The work of each miner in the window of a block found now; None while nobody can say."""


class AccountMetrics(Collector):
    """The series. There are none before the first `read`."""

    every: Final = 10.0
    """Seconds between two reads."""

    def __init__(
        self,
        engine: AsyncEngine,
        live: LiveRegister,
        office: Office,
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        self._engine = engine
        self._live = live
        self._office = office
        self._now_us = now_us
        self._before = _Before()
        self._devices: dict[int, tuple[int, int]] = {}
        self._devices_due_us = 0
        self._told: _Told | None = None

    async def read(self) -> None:
        """Read once; raises DatabaseAway."""
        now_us = self._now_us()
        today = self._office.rules.day_of(now_us)
        async with reading(self._engine) as connection:
            busiest, untold = await _busiest(connection, today)
            await self._before.count(connection, today - dt.timedelta(days=1), now_us)
            accounts = await self._accounts(connection, busiest)
            await _add_owed(connection, accounts)
            due = now_us >= self._devices_due_us or not accounts.keys() <= self._devices.keys()
            workers = await _workers_seen(connection, today) if due else {}
            block = await next_block(connection, self._office, now_us)
        window = None if block is None or block.window is None else dict(block.window.by_miner)
        if due:
            async with self._live.held() as register:  # in a thread: there may be a hundred thousand units
                self._devices = await asyncio.to_thread(_devices, register, accounts, workers, today)
            self._devices_due_us = now_us + DEVICES_US
        for miner_id, account in accounts.items():
            account.registered, account.seen = self._devices[miner_id]
        self._told = _Told(accounts, untold, window)

    async def _accounts(self, connection: AsyncConnection, busiest: Collection[int]) -> dict[int, _Account]:
        named = (
            sa.select(miner.c.id, miner.c.name, miner_work.c.total)
            .join(miner_work, miner_work.c.miner_id == miner.c.id)
            .where(miner.c.id.in_(busiest))
        )
        accounts = {row.id: _Account(row.name, row.total) for row in await connection.execute(named)}
        since = self._before.day
        for table, column, name in (
            (miner_day, miner_day.c.shares, "accepted"),
            (reject_day, reject_day.c.count, "rejected"),
        ):
            counted = _by_miner(table, column).where(table.c.day >= since, table.c.miner_id.in_(busiest))
            fresh = {row.miner_id: int(row.counted) for row in await connection.execute(counted)}
            for miner_id, account in accounts.items():
                before = self._before.shares[name, miner_id]
                setattr(account, name, before + fresh.get(miner_id, 0))
        return accounts

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        told = self._told
        if told is None:
            return
        work = counter_family("dmpool_account_work_hashes_total")
        shares = counter_family("dmpool_account_shares_total")
        owed = gauge_family("dmpool_account_owed_satoshis")
        devices = gauge_family("dmpool_account_devices")
        for one in told.accounts.values():
            work.add_metric([one.name], float(one.work))
            shares.add_metric([one.name, "accepted"], one.accepted)
            shares.add_metric([one.name, "rejected"], one.rejected)
            for state, amount in one.owed.items():
                owed.add_metric([one.name, state], amount)
            devices.add_metric([one.name, "registered"], one.registered)
            devices.add_metric([one.name, "seen_today"], one.seen)
        yield from (work, shares, owed, devices)
        yield _window(told)
        yield gauge_family("dmpool_accounts_untold", told.untold)


class _Before:
    """Shares of the days before one, counted once an hour: what is added up at each look stays small.

    Once an hour, since a gateway that was cut off brings work of days that are long over.
    """

    def __init__(self) -> None:
        self.day: dt.date | None = None
        self.shares: Counter[tuple[str, int]] = Counter()
        self._due_us = 0

    async def count(self, connection: AsyncConnection, day: dt.date, now_us: int) -> None:
        """Count those before `day`, unless that was done within the hour."""
        if self.day is not None and now_us < self._due_us:
            return
        for table, column, name in (
            (miner_day, miner_day.c.shares, "accepted"),
            (reject_day, reject_day.c.count, "rejected"),
        ):
            for row in await connection.execute(_by_miner(table, column).where(table.c.day < day)):
                self.shares[name, row.miner_id] = int(row.counted)
        self.day, self._due_us = day, now_us + HOUR_US


def _by_miner(table: sa.Table, column: sa.Column[Any]) -> sa.Select[Any]:
    return sa.select(table.c.miner_id, sa.func.sum(column).label("counted")).group_by(table.c.miner_id)


async def _busiest(connection: AsyncConnection, today: dt.date) -> tuple[list[int], int]:
    """The miners with the most work of today and yesterday, and how many more have worked."""
    worked = (
        sa.select(miner_day.c.miner_id)
        .where(miner_day.c.day >= today - dt.timedelta(days=1))
        .group_by(miner_day.c.miner_id)
        .order_by(sa.func.sum(miner_day.c.work).desc(), miner_day.c.miner_id)
    )
    found = list(await connection.scalars(worked))
    return found[:ACCOUNTS_TOLD], max(len(found) - ACCOUNTS_TOLD, 0)


async def _add_owed(connection: AsyncConnection, accounts: Mapping[int, _Account]) -> None:
    balances = await journal_store.balances_now(connection)
    for miner_id, account in accounts.items():
        for state, named in _ACCOUNTS.items():
            name = named(miner_id)
            account.owed[state] = balances.get(name, 0) * direction(name)


async def _workers_seen(connection: AsyncConnection, today: dt.date) -> dict[int, set[str]]:
    """By miner, the names of workers with an accepted share today."""
    seen: dict[int, set[str]] = {}
    wanted = sa.select(worker_seen.c.miner_id, worker_seen.c.workers).where(worker_seen.c.day == today)
    for row in await connection.execute(wanted):
        seen.setdefault(row.miner_id, set()).update(row.workers)
    return seen


def _devices(
    register: Register, miners: Iterable[int], workers: Mapping[int, set[str]], today: dt.date
) -> dict[int, tuple[int, int]]:
    """By miner, its registered units, and those of them that were at work today by one of their names."""
    counted = {}
    for miner_id in miners:
        units = [unit for unit in register.devices_of(miner_id) if device_state(unit, today) == "registered"]
        named = {
            unit.registry_number
            for worker in workers.get(miner_id, ())
            for unit in register.units_named(miner_id, worker.lower())
        }
        counted[miner_id] = (len(units), sum(unit.registry_number in named for unit in units))
    return counted


def _window(told: _Told) -> Metric:
    ratios = gauge_family("dmpool_account_window_ratio")
    whole = sum((told.window or {}).values())
    if told.window is not None and whole:
        for miner_id, one in told.accounts.items():
            ratios.add_metric([one.name], told.window.get(miner_id, 0) / whole)
    return ratios
