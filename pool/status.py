"""What the status page and `/api/v1/status` show, read from PostgreSQL as plain data.

One look is a few queries in one snapshot, each of them bounded, and is kept for a second: a crowd of viewers
costs one look a second. How a number is written for people is the business of `pool.wording`.

Satoshis are integers; work and hashrates outgrow what JSON numbers carry and are decimal strings; times carry
the offset of Kazakhstan at that moment.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.block_state import State
from payouts.journal import direction, miner_immature, miner_payable
from pool import journal_store, register_store
from pool.clock import HOUR_US, microseconds
from pool.config import Settings
from pool.empty_template import subsidy
from pool.pages.history import WorkHistory
from pool.pages.luck import LuckView, RoundView
from pool.pages.luck_reader import LuckReader
from pool.reading import READ_SECONDS, DatabaseAway, reading
from pool.recent_work import Hashrates, RecentWork
from pool.statement_now import network_target
from pool.tables import block, gateway, miner, report
from register.licence import COVERING
from register.register import Register
from register.rules import Rules

KEEP_SECONDS = 1.0
TARGET_SECONDS = 10.0
FIRST_READ_SECONDS = 60.0
"""The first look counts a whole day's slices."""
GATEWAYS_SHOWN = 50
MINERS_SHOWN = 500
BLOCKS_SHOWN = 20
REPORTS_SHOWN = 30
ALIVE_US = 15_000_000
"""A gateway gives a sign of life every other second."""
_KINDS = ("miner", "licence", "accreditation")


@dataclass(frozen=True, slots=True)
class PoolView:
    """Who the pool is and how it splits."""

    name: str
    bin: str
    accreditation: str
    chain: str
    commission_bps: int
    window_multiple: int
    scheme: str
    """By which terms a block of today is divided; likewise the two above."""


@dataclass(frozen=True, slots=True)
class GatewayView:
    """A gateway; ages in seconds, None where there was none yet. Shares are counted since it started."""

    number: int
    name: str
    alive: bool
    connections: int
    job_height: int | None
    job_age_seconds: int | None
    seen_seconds: int | None
    shares_accepted: int
    shares_rejected: int


@dataclass(frozen=True, slots=True)
class MinerView:
    """A licensed miner, its work and what it is owed; shares are those of today."""

    account: str
    title: str
    licence_number: str | None
    """None where none was entered."""
    licence_valid_to: dt.date | None
    licence_status: str | None
    licence_in_force: bool
    hashrate_10m: str
    hashrate_1h: str
    shares_accepted: int
    shares_rejected: int
    immature_sat: int
    payable_sat: int


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block; `confirmations` is None unless it is in the chain and a gateway told the height."""

    height: int
    hash: str
    finder: str | None
    worker: str
    found_at: dt.datetime
    reward_sat: int
    commission_sat: int
    state: str
    confirmations: int | None


@dataclass(frozen=True, slots=True)
class MoneyView:
    """The journal as a whole. `difference_sat` is the sum of all postings: 0, or the journal is broken."""

    coinbase_immature_sat: int
    coinbase_mature_sat: int
    owed_immature_sat: int
    owed_payable_sat: int
    """What may be paid, and what is on its way."""
    commission_immature_sat: int
    commission_earned_sat: int
    assets_sat: int
    owed_sat: int
    commission_sat: int
    own_sat: int
    """The pool's own besides: fees of payouts, lost blocks that were paid, corrections; spent is negative."""
    difference_sat: int
    balances: bool


@dataclass(frozen=True, slots=True)
class ReportView:
    """A signed daily report; `sha256` is the hash of the report that its envelope carries."""

    sequence: int
    day: dt.date
    version: int
    sha256: str
    built_at: dt.datetime
    path: str


@dataclass(frozen=True, slots=True)
class JobView:
    """The newest job of a gateway that is alive; transaction fees come on top of the subsidy."""

    gateway: int
    height: int
    age_seconds: int
    subsidy_sat: int


@dataclass(frozen=True, slots=True)
class Status:
    """All of it, at one moment."""

    at: dt.datetime
    today: dt.date
    pool: PoolView
    hashrate_10m: str
    hashrate_1h: str
    hashrate_24h: str
    """Over the spans of ten minutes that are over, 24 hours of them at most."""
    connections: int
    job: JobView | None
    luck: tuple[LuckView, ...]
    round: RoundView | None
    """Since the newest block; None while no difficulty is known."""
    gateways: tuple[GatewayView, ...]
    miners_total: int
    miners: tuple[MinerView, ...]
    blocks_by_state: dict[str, int]
    blocks: tuple[BlockView, ...]
    money: MoneyView
    reports: tuple[ReportView, ...]


class MinerWork(NamedTuple):
    """What a miner does: hashes per second, and the shares of today."""

    hashrate_10m: int
    hashrate_1h: int
    shares_accepted: int
    shares_rejected: int


class StatusReader:
    """Reads the status, at most once a second; what failed is not tried again within that second either."""

    def __init__(
        self, engine: AsyncEngine, settings: Settings, rules: Rules, now_us: Callable[[], int]
    ) -> None:
        self._pool = settings.pool
        self._terms = settings.pool.dated_terms
        self._engine = engine
        self._rules = rules
        self._now_us = now_us
        self._recent = RecentWork()
        self._rates = Hashrates(0, {}), Hashrates(0, {})
        """Over ten minutes and an hour, as of the last look."""
        self.history = WorkHistory()
        """The last 24 hours, for charts."""
        self._luck = LuckReader(rules)
        self._target: bytes | None = None
        self._target_until = 0.0
        self._one_at_a_time = asyncio.Lock()
        self._kept: Status | DatabaseAway | None = None
        self._kept_until = 0.0

    def today_of(self, miner_id: int) -> MinerWork:
        """A miner's work as of the last look."""
        today = self._rules.day_of(self._now_us())
        return MinerWork(
            self._rates[0].by_miner.get(miner_id, 0),
            self._rates[1].by_miner.get(miner_id, 0),
            self._recent.accepted[today, miner_id],
            self._recent.rejected[today, miner_id],
        )

    async def current(self) -> Status:
        """The status, not older than a second; raises DatabaseAway."""
        async with self._one_at_a_time:
            if self._kept is None or time.monotonic() >= self._kept_until:
                try:
                    self._kept = await self._read()
                except DatabaseAway as error:
                    self._kept = error
                self._kept_until = time.monotonic() + KEEP_SECONDS
            kept = self._kept
        if isinstance(kept, DatabaseAway):
            raise DatabaseAway(str(kept)) from kept
        return kept

    async def _read(self) -> Status:
        now_us = self._now_us()
        seconds = READ_SECONDS if self._recent.started else FIRST_READ_SECONDS
        async with reading(self._engine, seconds) as connection:
            await self._recent.advance(connection, now_us, self._rules.day_of(now_us - HOUR_US))
            self._rates = self._recent.hashrates(now_us, 600), self._recent.hashrates(now_us, 3600)
            await self.history.advance(connection, now_us)
            luck = await self._luck.read(connection, now_us, await self._network_target(connection))
            gateways = await _gateways(connection, now_us)
            balances = await journal_store.balances_now(connection)
            register = await register_store.load(connection, _KINDS)
            heights = (one.job_height for one in gateways if one.alive and one.job_height is not None)
            return Status(
                at=self._rules.local(now_us),
                today=self._rules.day_of(now_us),
                pool=self._who(register, self._rules.day_of(now_us)),
                hashrate_10m=str(self._rates[0].pool),
                hashrate_1h=str(self._rates[1].pool),
                hashrate_24h=str(self.history.hashrate(now_us)),
                connections=sum(one.connections for one in gateways),
                job=self._job(gateways),
                luck=luck.lengths,
                round=luck.round,
                gateways=gateways,
                miners_total=len(register.miners),
                miners=self._miners(register, balances, now_us),
                blocks_by_state=await _blocks_by_state(connection),
                blocks=await _blocks(connection, self._rules, max(heights, default=0) - 1),
                money=money(balances),
                reports=await read_reports(connection, self._rules, REPORTS_SHOWN),
            )

    async def _network_target(self, connection: AsyncConnection) -> bytes | None:
        """Read from the newest shares, and not at each look: it changes every two weeks."""
        if self._target is None or time.monotonic() >= self._target_until:
            self._target = await network_target(connection, self._pool.chain)
            self._target_until = time.monotonic() + TARGET_SECONDS
        return self._target

    def _job(self, gateways: Iterable[GatewayView]) -> JobView | None:
        newest: JobView | None = None
        for one in gateways:
            if not one.alive or one.job_height is None or one.job_age_seconds is None:
                continue
            if newest is None or (one.job_height, newest.age_seconds) > (newest.height, one.job_age_seconds):
                reward = subsidy(self._pool.chain, one.job_height)
                newest = JobView(one.number, one.job_height, one.job_age_seconds, reward)
        return newest

    def _who(self, register: Register, today: dt.date) -> PoolView:
        pool, terms = self._pool, self._terms.on(today)
        return PoolView(
            name=pool.name,
            bin=pool.bin,
            accreditation=accreditation_of(register, today),
            chain=pool.chain,
            commission_bps=terms.commission_bps,
            window_multiple=terms.window_multiple,
            scheme=terms.scheme,
        )

    def _miners(self, register: Register, balances: Mapping[str, int], now_us: int) -> tuple[MinerView, ...]:
        recent, today = self._recent, self._rules.day_of(now_us)
        ten_minutes, hour = (one.by_miner for one in self._rates)
        views: list[MinerView] = []
        for _, one in sorted(register.miners.items())[:MINERS_SHOWN]:
            licence = register.standing(one, now_us, self._rules).licence
            status = licence.phase_at(now_us, self._rules).status if licence else None
            views.append(
                MinerView(
                    account=one.name,
                    title=one.title,
                    licence_number=licence.number if licence else None,
                    licence_valid_to=licence.valid_to if licence else None,
                    licence_status=str(status) if status else None,
                    licence_in_force=status in COVERING,
                    hashrate_10m=str(ten_minutes.get(one.id, 0)),
                    hashrate_1h=str(hour.get(one.id, 0)),
                    shares_accepted=recent.accepted[today, one.id],
                    shares_rejected=recent.rejected[today, one.id],
                    immature_sat=-balances.get(miner_immature(one.id), 0),
                    payable_sat=-balances.get(miner_payable(one.id), 0),
                )
            )
        return tuple(views)


def accreditation_of(register: Register, day: dt.date) -> str:
    """Number of the pool's accreditation on a day; empty when it has none (O-20)."""
    held = [one for one in register.accreditations.values() if one.covers(day)]
    return max(held, key=lambda one: (one.issued_on, one.number)).number if held else ""


def money(balances: Mapping[str, int]) -> MoneyView:
    """The totals of booked balances by account; each is shown positive in its own direction."""

    def total(prefix: str, suffix: str = "") -> int:
        return sum(
            amount * direction(account)
            for account, amount in balances.items()
            if account.startswith(prefix) and account.endswith(suffix)
        )

    difference = sum(balances.values())
    return MoneyView(
        coinbase_immature_sat=total("asset:coinbase:immature"),
        coinbase_mature_sat=total("asset:coinbase:mature"),
        owed_immature_sat=total("miner:", ":immature"),
        owed_payable_sat=total("miner:", ":payable") + total("miner:", ":paying"),
        commission_immature_sat=total("pool:commission:immature"),
        commission_earned_sat=total("pool:commission:earned"),
        assets_sat=total("asset:"),
        owed_sat=total("miner:"),
        commission_sat=total("pool:commission:"),
        own_sat=total("pool:") - total("pool:commission:"),
        difference_sat=difference,
        balances=difference == 0,
    )


async def _gateways(connection: AsyncConnection, now_us: int) -> tuple[GatewayView, ...]:
    rows = await connection.execute(
        sa.select(gateway).order_by(gateway.c.seen_at.desc().nulls_last()).limit(GATEWAYS_SHOWN)
    )
    views: list[GatewayView] = []
    for row in rows:
        seen = _age_us(row.seen_at, now_us)
        job = _age_us(row.job_at, now_us)
        alive = seen is not None and seen <= ALIVE_US
        views.append(
            GatewayView(
                number=row.number,
                name=row.name,
                alive=alive,
                # What a silent gateway last said of its connections is no longer so.
                connections=row.connections or 0 if alive else 0,
                job_height=row.job_height,
                job_age_seconds=None if job is None else job // 1_000_000,
                seen_seconds=None if seen is None else seen // 1_000_000,
                shares_accepted=row.shares_accepted,
                shares_rejected=row.shares_rejected,
            )
        )
    return tuple(sorted(views, key=lambda view: view.number))


def _age_us(moment: dt.datetime | None, now_us: int) -> int | None:
    if moment is None:
        return None
    at_us = microseconds(moment)
    return max(now_us - at_us, 0)  # another machine's clock may be ahead


async def _blocks_by_state(connection: AsyncConnection) -> dict[str, int]:
    rows = await connection.execute(
        sa.select(block.c.state, sa.func.count().label("blocks")).group_by(block.c.state)
    )
    counted: dict[str, int] = {row.state: row.blocks for row in rows}
    return {state.value: counted.get(state.value, 0) for state in State}


async def _blocks(connection: AsyncConnection, rules: Rules, tip_height: int) -> tuple[BlockView, ...]:
    rows = await connection.execute(
        sa.select(block, miner.c.name.label("finder"))
        .join_from(block, miner, isouter=True)
        .order_by(block.c.height.desc(), block.c.found_us.desc())
        .limit(BLOCKS_SHOWN)
    )
    return tuple(
        BlockView(
            height=row.height,
            hash=row.hash,
            finder=row.finder,
            worker=row.worker,
            found_at=rules.local(row.found_us),
            reward_sat=row.reward_sat,
            commission_sat=row.commission_sat,
            state=row.state,
            confirmations=_confirmations(State(row.state), row.height, tip_height),
        )
        for row in rows
    )


def _confirmations(state: State, height: int, tip_height: int) -> int | None:
    in_chain = state in (State.CONFIRMED, State.MATURE)
    return tip_height - height + 1 if in_chain and tip_height >= height else None


async def read_reports(
    connection: AsyncConnection, rules: Rules, limit: int, before: int | None = None
) -> tuple[ReportView, ...]:
    """The newest reports, newest first; `before` a sequence number to go on from there."""
    columns = (report.c.sequence, report.c.day, report.c.version, report.c.sha256, report.c.built_at)
    wanted = sa.select(*columns).order_by(report.c.sequence.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(report.c.sequence < before)
    return tuple(
        ReportView(
            sequence=row.sequence,
            day=row.day,
            version=row.version,
            sha256=row.sha256,
            built_at=row.built_at.astimezone(dt.timezone(rules.utc_offset(row.built_at))),
            path=f"/api/v1/reports/{row.day}/{row.version}",
        )
        for row in await connection.execute(wanted)
    )
