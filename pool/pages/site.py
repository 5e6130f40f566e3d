"""The status page and the miner's page as one part of the web role: what they share, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from fastapi import APIRouter

from pool.config import Settings
from pool.pages.account_reader import AccountReader
from pool.pages.live import Streams
from pool.pages.miner_access import MinerAccess
from pool.pages.miner_api import miner_api
from pool.pages.miner_page import MinerPages, miner_router
from pool.pages.status_page import StatusPages, status_router
from pool.pages.worker_reader import WorkerReader
from pool.reading import DatabaseAway
from pool.register_desk import Desk
from pool.statement_now import office_of
from pool.status import StatusReader

log = structlog.get_logger(__name__)

FOLLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LivePages:
    """See the head of this file."""

    desk: Desk
    reader: StatusReader
    streams: Streams
    workers: WorkerReader
    accounts: AccountReader
    status: StatusPages
    miners: MinerPages

    def routers(self) -> Sequence[APIRouter]:
        """The routes, to be put at the root."""
        desk, reader, accounts = self.desk, self.reader, self.accounts
        access = MinerAccess(desk, accounts)
        return (
            status_router(self.status, reader, self.streams, desk.rules),
            miner_router(self.miners, access, self.streams, desk, reader),
            miner_api(access, accounts, desk, reader),
        )

    async def follow(self) -> None:
        """Count workers until cancelled, so that a look at a miner's page finds them counted."""
        while True:
            try:
                await self.workers.advance()
                await self.workers.keep()
            except DatabaseAway as error:
                log.debug("workers_not_counted", reason=str(error))
            await asyncio.sleep(FOLLOW_SECONDS)

    def close(self) -> None:
        """End all streams: the server stops."""
        self.streams.close()


def open_pages(settings: Settings, desk: Desk, reader: StatusReader) -> LivePages:
    """The pages of a process."""
    workers = WorkerReader(desk.engine, desk.rules, settings.data_dir, desk.now_us)
    accounts = AccountReader(desk, office_of(settings, desk.rules), reader, workers)
    return LivePages(
        desk=desk,
        reader=reader,
        streams=Streams(),
        workers=workers,
        accounts=accounts,
        status=StatusPages(settings, reader, desk.rules),
        miners=MinerPages(settings, desk, accounts, reader),
    )
