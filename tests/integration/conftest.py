"""Fixtures for tests against real servers."""

from __future__ import annotations

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.ledger_world import World


@pytest_asyncio.fixture
async def world(engine: AsyncEngine) -> World:
    """Three miners, a gateway, a node and a ledger."""
    made = World(engine)
    await made.settle_in()
    return made
