"""The desk beside the active ledger: what happened becomes notices, notices go into the channels' boxes.

It works on connections of its own, so that the ledger never waits for it. Each source is read in its own
transaction: what it had becomes notices together with how far it was read. On the first start of all nothing
is told of what is more than an hour old, so that an old database does not send its years.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool.clock import unix_microseconds
from pool.database import UNAVAILABLE, reason_of, refused
from pool.income_due import read_dues
from pool.live_register import LiveRegister
from pool.notices import outbox, standing, store
from pool.notices.courier import Courier, sender_of
from pool.notices.notice import Draft
from pool.notices.numbers import NoticeNumbers
from pool.notices.section import ChannelSection
from pool.notices.sources import BATCH, Source, sources
from pool.reading import DatabaseAway
from pool.tables_notices import notice
from register.rules import Rules

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 2.0
STANDING_US: Final = 60_000_000
"""How often it is looked what follows from time."""
FRESH_US: Final = 3_600_000_000
"""What happened so shortly before the first start is told."""
RESTART_SECONDS: Final = 30.0
QUERY_SECONDS: Final = 30.0
_BEGAN: Final = "began"
_AWAY: Final[tuple[type[Exception], ...]] = (*UNAVAILABLE, DatabaseAway)


class NoticeDesk:
    """See the head of this file. One for a ledger's process; `active` says whether its ledger is the one."""

    def __init__(
        self,
        engine: AsyncEngine,
        live: LiveRegister,
        rules: Rules,
        channels: Sequence[ChannelSection],
        *,
        pool: str,
        signed_by_hand: bool,
        active: Callable[[], bool],
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        self.numbers = NoticeNumbers([one.name for one in channels])
        self._engine = engine
        self._live = live
        self._rules = rules
        self._channels = channels
        self._active = active
        self._now_us = now_us
        self._sources = sources(rules, signed_by_hand=signed_by_hand)
        self._couriers = [
            Courier(engine, one, sender_of(one, pool), self.numbers.channels[one.name], now_us)
            for one in channels
        ]
        newest = [*(source.newest for source in self._sources), sa.select(sa.func.max(notice.c.id))]
        self._newest = sa.select(*(one.scalar_subquery() for one in newest))
        self._seen: tuple[int | None, ...] | None = None
        """Up to where all was read: a look at what has not changed costs one question."""
        self._failing: set[str] = set()
        self._looked_us = 0
        self._began_us: int | None = None
        """None until the places of all are known."""

    async def run(self) -> None:
        """Work until cancelled; what fails at one channel is told and begins again, alone."""
        async with asyncio.TaskGroup() as working:
            for courier in self._couriers:
                working.create_task(_kept(courier, self._active))
            working.create_task(self._derive())

    async def _derive(self) -> None:
        away = False
        while True:
            try:
                if self._active():
                    await self.tick()
                else:
                    self.numbers.stand_by()
                    self._began_us = self._seen = None
                away = False
            except _AWAY as error:
                if not away:
                    log.warning("notices_wait_for_database", reason=reason_of(error))
                away = True
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """One look at everything; raises what a lost database raises."""
        if self._began_us is None:
            async with self._transaction() as connection:
                began_us = await self._begin(connection)
            self._began_us = began_us
        async with self._transaction() as connection:
            newest = tuple((await connection.execute(self._newest)).one())
            await self._count(connection)
        # Also when the clock was set back: nobody waits until it is again as late as it was.
        time_is_up = abs(self._now_us() - self._looked_us) >= STANDING_US
        if newest == self._seen and not time_is_up and not self._failing:
            return
        for source in self._sources:
            await self._guarded(source.name, partial(self._read_on, source))
        if time_is_up:
            await self._guarded("time", partial(self._look_at_time, self._began_us))
            self._looked_us = self._now_us()
        async with self._transaction() as connection:
            for channel in self._channels:
                await outbox.hand_out(connection, channel, self._now_us())
            await self._count(connection)
        self._seen = newest

    async def _count(self, connection: AsyncConnection) -> None:
        if not self._channels:
            return
        for name, stands in (await outbox.waiting(connection, list(self.numbers.channels))).items():
            numbers = self.numbers.channels[name]
            numbers.waiting, numbers.oldest_us = stands.waiting, stands.oldest_us

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with asyncio.timeout(QUERY_SECONDS), self._engine.begin() as connection:
            yield connection

    async def _begin(self, connection: AsyncConnection) -> int:
        """The places of what is new here, before anything is told; since when there are notices."""
        await outbox.welcome(connection, list(self.numbers.channels))
        long_ago_us = self._now_us() - FRESH_US
        for source in self._sources:
            if await store.reached(connection, source.name) is None:
                old = await connection.scalar(source.newest.where(source.before(long_ago_us))) or 0
                await store.reach(connection, source.name, old)
        began_us = await store.reached(connection, _BEGAN)
        if began_us is None:
            began_us = self._now_us()
            await store.reach(connection, _BEGAN, began_us)
        return began_us

    async def _guarded(self, source: str, read: Callable[[], Awaitable[None]]) -> None:
        """One source's trouble stops no other; told once, tried again at the next look."""
        try:
            await read()
        except Exception as error:
            if isinstance(error, _AWAY) and not refused(error):
                raise
            if source not in self._failing:
                log.exception("notice_source_failed", source=source)
            self._failing.add(source)
        else:
            self._failing.discard(source)

    async def _read_on(self, source: Source) -> None:
        while await self._read(source) == BATCH:
            pass

    async def _read(self, source: Source) -> int:
        """What a source has now becomes notices; how many of its events that were."""
        async with self._transaction() as connection:
            reached = await store.reached(connection, source.name) or 0
            found = await source.read(connection, reached)
            if found.reached > reached:
                await store.add(connection, found.drafts, self._now_us())
                await store.reach(connection, source.name, found.reached)
        return found.events

    async def _look_at_time(self, began_us: int) -> None:
        now_us = self._now_us()
        drafts: list[Draft] = []
        async with self._live.held() as register:
            drafts += standing.licences(register, self._rules, now_us, began_us)
            drafts += standing.accreditations(register, self._rules, now_us, began_us)
        async with self._transaction() as connection:
            drafts += await standing.late_report(connection, self._rules, now_us)
            dues = await read_dues(connection, self._rules, self._rules.day_of(now_us))
            drafts += standing.forms(dues, self._rules, now_us, began_us)
            await store.add(connection, drafts, now_us)


async def _kept(courier: Courier, active: Callable[[], bool]) -> None:
    """A courier that begins again when it fails, whatever the others do."""
    while True:
        try:
            await courier.run(active)
        except Exception:
            log.exception("notice_courier_failed", channel=courier.section.name)
        await asyncio.sleep(RESTART_SECONDS)
