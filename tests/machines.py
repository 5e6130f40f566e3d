"""Simulated machines at work for as long as a test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pool.simulate import SimulatedMiner


@asynccontextmanager
async def at_work(*machines: SimulatedMiner) -> AsyncIterator[None]:
    """They mine, each over a connection of its own, until the block ends."""
    tasks = [asyncio.create_task(machine.run()) for machine in machines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
