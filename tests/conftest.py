"""One PostgreSQL server for the whole test run, and a fresh database with our schema for each test.

Hypothesis has no deadlines here: how long a thing takes is measured in benchmarks, never in a test.
"""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
import structlog
from hypothesis import settings
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from structlog.typing import EventDict

from pool.database import create_engine, migrate
from pool.embedded_postgres import EmbeddedPostgres
from pool.telemetry import logs

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything is installed, so a skipped test there is a missing piece and not a pass."""
    if _skipped and os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        print(f"\nskipped in CI, where nothing may be: {', '.join(_skipped)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


settings.register_profile("dmpool", deadline=None)
settings.load_profile("dmpool")
logs.set_up(logs.LogsSection(format="console"))

TEMPLATE = "dmpool_template"
IN_MEMORY = Path("/dev/shm")
ROOM = 8 << 30
"""Bytes that must be free in memory for the server to lie there: hundreds of databases come and go."""
_numbers = count(1)


@pytest.fixture
def told() -> Iterator[list[EventDict]]:
    """The events of the log, from info on; `log_level` is the level."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logs.LEVELS["info"]))
    with capture_logs([structlog.contextvars.merge_contextvars]) as events:
        yield events
    structlog.configure(**before)


async def administer(url: str, *statements: str) -> None:
    """Run statements that want no transaction, on the server's own database."""
    engine = create_engine(named(url, "postgres"))
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in statements:
            await connection.execute(sa.text(statement))
    await engine.dispose()


def named(url: str, database: str) -> str:
    """The same server, another database."""
    return sa.make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running server; it holds a template with the current schema."""
    roomy = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM
    directory = Path(tempfile.mkdtemp(prefix="dmpool-postgres-", dir=IN_MEMORY if roomy else None))
    server = EmbeddedPostgres(directory / "data")
    try:
        url = server.start()
        asyncio.run(_make_template(url))
        yield url
    finally:
        server.stop()
        shutil.rmtree(directory)


async def _make_template(url: str) -> None:
    # Nothing that a test writes has to outlive a power cut.
    await administer(
        url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", f"CREATE DATABASE {TEMPLATE}"
    )
    engine = create_engine(named(url, TEMPLATE))
    await migrate(engine)
    await engine.dispose()


@pytest_asyncio.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """A database without any table."""
    name = f"empty_{next(_numbers)}"
    await administer(postgres, f"CREATE DATABASE {name}")
    yield named(postgres, name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


Fill = Callable[[AsyncEngine], Awaitable[Any]]
Furnish = Callable[[str, Fill], Awaitable[Any]]


@pytest.fixture(scope="session")
def furnish(postgres: str) -> Furnish:
    """`await furnish(name, fill)`: a template that `fill` fills, once; gives a copy of what `fill` gave."""
    filled: dict[str, Any] = {}

    async def furnished(name: str, fill: Fill) -> Any:
        if name not in filled:
            await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
            made = create_engine(named(postgres, name))
            filled[name] = await fill(made)
            await made.dispose()
        return copy.deepcopy(filled[name])

    return furnished


@pytest.fixture
def template() -> str:
    """Which template `database_url` copies; a module whose tests all begin alike has its own."""
    return TEMPLATE


@pytest_asyncio.fixture
async def database_url(postgres: str, template: str) -> AsyncIterator[str]:
    """A database with our schema; with no rows but those of the template."""
    name = f"test_{next(_numbers)}"
    await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield named(postgres, name)
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database of its own."""
    made = create_engine(database_url)
    yield made
    await made.dispose()
