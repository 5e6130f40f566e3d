"""From the settings to the things that they name: nodes, the database, the key, the rules of law."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from pool.bitcoind import Bitcoind
from pool.config import ConfigError, Settings
from pool.database import UNAVAILABLE, DatabaseError, create_engine, migrate, refused
from pool.embedded_chain import EmbeddedChain
from pool.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from pool.node import Node
from pool.preflight import ALL_ROLES, Role, in_use, make_directory
from pool.reports import Publisher
from register.rules import Rules
from reporting.daily import PoolFacts
from reporting.signing import KeyFileError, SigningKey, load_or_create
from stratum.difficulty import difficulty

log = logging.getLogger(__name__)

RULES_FILE = Path(__file__).resolve().parent.parent / "configs" / "rules.toml"
SHARES_PER_EMBEDDED_BLOCK = 30
RETRY_SECONDS = 1.0

_Result = TypeVar("_Result")


def open_nodes(settings: Settings, roles: frozenset[Role]) -> list[Node]:
    """The nodes of the configuration, or the embedded chain. Nothing is connected yet."""
    if roles == frozenset({Role.WEB}):
        return []
    if settings.nodes:
        return [_bitcoind(settings, number) for number in range(len(settings.nodes))]
    if roles != ALL_ROLES:
        raise ConfigError(
            "nodes: none is given, and the embedded chain lives in `dmpool run` alone; add [[nodes]]"
        )
    target = difficulty(settings.stratum.policy.start).target // SHARES_PER_EMBEDDED_BLOCK
    return [EmbeddedChain(settings.data_dir / "chain", target)]


def _bitcoind(settings: Settings, number: int) -> Node:
    section = settings.nodes[number]
    try:
        return Bitcoind(section.url.get_secret_value(), settings.pool.chain, section.cookie_file, section.zmq)
    except ValueError as error:
        raise ConfigError(f"nodes.{number}.url: {error}") from None


@asynccontextmanager
async def serving_database(settings: Settings, *, whole: bool) -> AsyncIterator[AsyncEngine]:
    """The database of a serving process. A `whole` pool stops its embedded server when it ends."""
    if settings.database.url is not None:
        engine = _engine(settings.database.url.get_secret_value())
        try:
            yield engine
        finally:
            await engine.dispose()
        return
    embedded = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        engine = _engine(await asyncio.to_thread(embedded.start))
    except EmbeddedPostgresError as error:
        raise ConfigError(f"database: {error}") from error
    try:
        yield engine
    finally:
        await engine.dispose()
        if whole:
            await asyncio.to_thread(embedded.stop)


@asynccontextmanager
async def command_database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The database for one command: beside a running pool, or alone. Its schema is brought up to date."""
    make_directory(settings.data_dir)
    async with serving_database(settings, whole=not in_use(settings.data_dir)) as engine:
        try:
            await migrate(engine)
        except UNAVAILABLE as error:
            reason = str(error).split("\n", 1)[0] or type(error).__name__
            raise ConfigError(f"database.url: PostgreSQL cannot be reached: {reason}") from error
        except DatabaseError as error:
            raise ConfigError(str(error)) from error
        yield engine


def _engine(url: str) -> AsyncEngine:
    try:
        return create_engine(url)
    except DatabaseError as error:
        raise ConfigError(f"database.url: {error}") from None


def signing_key(settings: Settings) -> SigningKey:
    """The key that signs reports, made at its first use."""
    directory = settings.data_dir / "keys"
    make_directory(directory, mode=0o700)
    try:
        return load_or_create(directory / "report.key")
    except (KeyFileError, OSError) as error:
        raise ConfigError(f"data_dir: {error}") from error


def publisher(settings: Settings, rules: Rules) -> Publisher:
    """Who signs the reports of this pool."""
    pool = settings.pool
    return Publisher(
        pool=PoolFacts(
            name=pool.name,
            bin=pool.bin,
            chain=pool.chain,
            address=pool.address,
            commission_bps=pool.commission_bps,
        ),
        rules=rules,
        key=signing_key(settings),
        software_version=version("dmpool"),
    )


async def until_available(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """The result of a database call, when PostgreSQL is there to give it."""
    waiting = False
    while True:
        try:
            return await call()
        except UNAVAILABLE as error:
            if refused(error):
                raise
            if not waiting:
                reason = str(error).split("\n", 1)[0] or type(error).__name__
                log.warning("PostgreSQL cannot be reached (%s); waiting for it", reason)
            waiting = True
            await asyncio.sleep(RETRY_SECONDS)
