"""The transparency log by itself: tells what is due each day, and goes a step further when the log has grown.

Reports and keys tell the log themselves, in the transaction in which they are made; here are the rules of
law, the register and the regulators' comings, which nobody else tells. One ledger is active and does this.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import log_entries, log_store
from pool.clock import unix_microseconds
from pool.config import ConfigError
from pool.database import REGISTER_LOCK, UNAVAILABLE, reason_of, settled
from pool.door_leaf import access_leaf
from pool.log_keeper import LogKeeper
from pool.log_store import LogError
from pool.reading import DatabaseAway
from pool.reports import GRACE_US
from register.rules import Rules
from reporting.keyring import RingError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 30.0
STANDBY_SECONDS: Final = 1.0
"""So often a ledger looks whether it has become the active one: a new pool has its log at once."""
AGAIN_SECONDS: Final = 900.0
"""So often also a log that has not grown: witnesses that did not answer, files that were lost."""
TROUBLES: Final[tuple[type[Exception], ...]] = (
    LogError,
    ConfigError,
    RingError,
    DatabaseAway,
    OSError,
    *UNAVAILABLE,
)
"""What passes, or waits for the operator."""


class LogTask:
    """Does it again and again, in the ledger that is active."""

    def __init__(
        self,
        keeper: LogKeeper,
        engine: AsyncEngine,
        rules: Rules,
        active: Callable[[], bool],
        now_us: Callable[[], int] = unix_microseconds,
    ) -> None:
        self._keeper = keeper
        self._engine = engine
        self._rules = rules
        self._active = active
        self._now_us = now_us
        self._advanced_us = 0
        self._trouble = ""

    async def run(self) -> None:
        """Until cancelled; what goes wrong is told once and tried again."""
        while True:
            active = self._active()
            if active:
                try:
                    await self.step()
                    self._trouble = ""
                except TROUBLES as error:
                    self._tell(reason_of(error))
            await asyncio.sleep(LOOK_SECONDS if active else STANDBY_SECONDS)

    async def step(self) -> None:
        """Tell what is due; sign and publish when the log has grown or a witness may answer by now."""
        now_us = self._now_us()
        yesterday = self._rules.day_of(now_us - GRACE_US) - dt.timedelta(days=1)
        await settled(self._engine, REGISTER_LOCK)
        async with self._engine.begin() as connection:
            await log_entries.rules_leaf(connection, self._rules, now_us)
            await log_entries.register_leaves(connection, self._rules, yesterday, now_us)
            await access_leaf(connection, self._rules, yesterday, now_us)
            last = await log_store.newest_checkpoint(connection)
            grown = last is None or await log_store.size(connection) > last.checkpoint.size
        if grown or now_us - self._advanced_us > AGAIN_SECONDS * 1_000_000:
            await self._keeper.advance()
            self._advanced_us = now_us

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("log_waits", reason=trouble)
        self._trouble = trouble
