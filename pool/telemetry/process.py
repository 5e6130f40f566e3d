"""What every process tells of itself, whatever its roles: tasks, the event loop, the disk, the clock.

The probe of PostgreSQL is a query of its own: whether it answers this process, and what time it has. A
process without it goes on, so nothing here may raise.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import UNAVAILABLE
from pool.metrics import Metrics

log = structlog.get_logger(__name__)

RESTART_SECONDS: Final = 5.0
LAG_SECONDS: Final = 0.25
PROBE_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 10.0
"""A probe that takes longer counts as no answer."""


class Supervisor:
    """Background tasks that are started again when they fail, and what became of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._up = metrics.make.gauge("dmpool_task_up")
        self._restarts = metrics.make.counter("dmpool_task_restarts_total")

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """A task that starts its work again when it fails."""
        up, restarts = self._up.labels(name), self._restarts.labels(name)

        async def supervised() -> None:
            while True:
                up.set(1)
                try:
                    await work()
                except Exception:
                    log.exception("task_failed", task=name, again_seconds=RESTART_SECONDS)
                up.set(0)
                await asyncio.sleep(RESTART_SECONDS)
                restarts.inc()

        return asyncio.create_task(supervised(), name=name)


class ProcessWatch:
    """The process, its disk, and PostgreSQL as this process finds it."""

    def __init__(self, metrics: Metrics, engine: AsyncEngine, data_dir: Path) -> None:
        self._metrics = metrics
        self._engine = engine
        self._data_dir = data_dir
        self._answers: bool | None = None
        self._lag = metrics.make.histogram("dmpool_event_loop_lag_seconds")
        self._free = metrics.make.gauge("dmpool_disk_free_bytes").labels("data_dir")
        self._size = metrics.make.gauge("dmpool_disk_size_bytes").labels("data_dir")
        build = metrics.make.gauge("dmpool_build_info")
        for role in metrics.roles:
            build.labels(version("dmpool"), role).set(1)
        metrics.on_scrape(self._read_disk)

    def answers(self) -> bool | None:
        """Whether PostgreSQL answered when it was asked last; None before that."""
        return self._answers

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._measure_lag())
            tasks.create_task(self._probe())

    async def _measure_lag(self) -> None:
        while True:
            due = time.perf_counter() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self._lag.observe(max(time.perf_counter() - due, 0.0))

    async def _probe(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(PROBE_SECONDS)

    async def look(self) -> None:
        """Ask PostgreSQL for its time; without an answer there is no offset."""
        offset = self._metrics.clock_offset
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._engine.connect() as connection:
                asked = time.time()
                answer = await connection.execute(sa.select(sa.func.clock_timestamp()))
                now = (asked + time.time()) / 2
                told = answer.scalar_one().timestamp()
        except UNAVAILABLE:
            self._answers = False
            self._metrics.database_up.set(0)
            offset.remove("postgresql")
        else:
            self._answers = True
            self._metrics.database_up.set(1)
            offset.labels("postgresql").set(now - told)

    def _read_disk(self) -> None:
        usage = shutil.disk_usage(self._data_dir)
        self._free.set(usage.free)
        self._size.set(usage.total)
