"""A pool for each test, on a loop whose time the test can move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio

from tests.conformance.pool_world import PoolWorld, TravellingLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Server and models of this suite live on loops that can be moved on."""
    return {"travelling": TravellingLoop}


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[PoolWorld]:
    """A pool with a first job, at difficulties that a test can hash."""
    world = PoolWorld()
    async with world.serving():
        yield world


@pytest_asyncio.fixture
async def real_pool() -> AsyncIterator[PoolWorld]:
    """A pool with the difficulties of real machines; shares cannot be hashed here."""
    world = PoolWorld(real=True)
    async with world.serving():
        yield world


@pytest_asyncio.fixture
async def rental_pool() -> AsyncIterator[PoolWorld]:
    """A pool whose operator has let rental services in."""
    world = PoolWorld(rental="accept")
    async with world.serving():
        yield world
