"""From the settings to the things that they name: nodes, the database, the key, the rules of law."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import ConfigError, Settings
from pool.database import UNAVAILABLE, DatabaseError, create_engine, migrate, reason_of, refused
from pool.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from pool.key_sources import signers_of, sources_of
from pool.node import Node, NodeMeter
from pool.preflight import ALL_ROLES, Role, in_use, make_directory, read_rules
from pool.reports import Publisher
from pool.software import software_version
from register.clerk import Terms
from register.proposal import FOUR_EYES
from register.rules import Rules
from reporting.daily import PoolFacts
from reporting.key_file import KeyFileError
from reporting.signing import Signer
from stratum.difficulty import difficulty

log = structlog.get_logger(__name__)

SHARES_PER_EMBEDDED_BLOCK = 30
RETRY_SECONDS = 1.0
DISPOSE_SECONDS = 3.0
"""How long the last words to PostgreSQL may take: one that fell silent would be waited for without end."""

_Result = TypeVar("_Result")


def open_nodes(settings: Settings, roles: frozenset[Role], meter: NodeMeter | None = None) -> list[Node]:
    """The nodes of the configuration, or the embedded chain. Nothing is connected yet."""
    if roles == frozenset({Role.WEB}):
        return []
    if settings.nodes:
        return [_bitcoind(settings, number, meter) for number in range(len(settings.nodes))]
    if roles != ALL_ROLES:
        raise ConfigError(
            "nodes: none is given, and the embedded chain lives in `dmpool run` alone; add [[nodes]]"
        )
    from pool.embedded_chain import EmbeddedChain  # noqa: PLC0415 - most commands have no need of a node

    target = difficulty(settings.stratum.policy.start).target // SHARES_PER_EMBEDDED_BLOCK
    return [EmbeddedChain(settings.data_dir / "chain", target, meter)]


def _bitcoind(settings: Settings, number: int, meter: NodeMeter | None) -> Node:
    from pool.bitcoind import Bitcoind  # noqa: PLC0415 - likewise

    section = settings.nodes[number]
    try:
        url = section.url.get_secret_value()
        return Bitcoind(url, settings.pool.chain, section.cookie_file, section.zmq, meter)
    except ValueError as error:
        raise ConfigError(f"nodes.{number}.url: {error}") from None


@asynccontextmanager
async def serving_database(settings: Settings, *, alone: Callable[[], bool]) -> AsyncIterator[AsyncEngine]:
    """The database of a process. An embedded server is stopped in the end if this process is `alone` then."""
    if settings.database.url is not None:
        engine = _engine(settings.database.url.get_secret_value())
        try:
            yield engine
        finally:
            await _dispose(engine)
        return
    embedded = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        engine = _engine(await asyncio.to_thread(embedded.start))
    except EmbeddedPostgresError as error:
        raise ConfigError(f"database: {error}") from error
    except asyncio.CancelledError:
        if alone():
            await asyncio.to_thread(embedded.stop)  # it waits for the start that goes on in its thread
        raise
    try:
        yield engine
    finally:
        await _dispose(engine)
        if alone():
            await asyncio.to_thread(embedded.stop)


async def _dispose(engine: AsyncEngine) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(DISPOSE_SECONDS):
            await engine.dispose()


@asynccontextmanager
async def command_database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """The database for one command: beside a running pool, or alone. Its schema is brought up to date."""
    if settings.demo_miners and not settings.data_dir.exists():
        raise ConfigError(
            f'data_dir: "{settings.data_dir}": no demo pool was ever run here; start it with `dmpool run`, '
            f"or name your pool with --config"
        )
    make_directory(settings.data_dir)
    async with serving_database(settings, alone=lambda: not in_use(settings.data_dir)) as engine:
        try:
            await migrate(engine)
        except UNAVAILABLE as error:
            reason = reason_of(error)
            raise ConfigError(f"database.url: PostgreSQL cannot be reached: {reason}") from error
        except DatabaseError as error:
            raise ConfigError(str(error)) from error
        yield engine


def _engine(url: str) -> AsyncEngine:
    try:
        return create_engine(url)
    except DatabaseError as error:
        raise ConfigError(f"database.url: {error}") from None


def rules_of(settings: Settings) -> Rules:
    """The rules of law that the configuration names, by which every role works."""
    return read_rules(settings, time.time_ns() // 1000)


def terms_of(settings: Settings, rules: Rules) -> Terms:
    """By what the register of this pool is kept."""
    wanted = settings.compliance.four_eyes
    if wanted is None:
        wanted = frozenset(FOUR_EYES) if settings.production else frozenset()
    return Terms(rules, settings.pool.chain, settings.production, frozenset[str](wanted))


def key_file(settings: Settings) -> Path:
    """Where the key that signs reports is, or will be, unless [signing] says otherwise."""
    return settings.data_dir / "keys" / "report.key"


def signers(settings: Settings) -> list[Signer]:
    """The keys that sign reports, as far as they are at hand; a key in a file is made at its first use."""
    try:
        return signers_of(settings.signing, key_file(settings))
    except KeyFileError as error:
        raise ConfigError(str(error)) from error


def missing_key(settings: Settings) -> Path | None:
    """A key file that would be made at its first use, if there is one."""
    files = [one.file for one in sources_of(settings.signing, key_file(settings)) if one.file is not None]
    return next((file for file in files if not file.exists()), None)


def key_problems(settings: Settings) -> list[str]:
    """What keeps the keys of reports from being used, for the operator; no key is made."""
    if missing_key(settings) is None:
        try:
            signers(settings)
        except ConfigError as error:
            return [str(error)]
    return []


def publisher(settings: Settings, rules: Rules, day: dt.date) -> Publisher:
    """Who signs this pool's report of a day."""
    pool = settings.pool
    return Publisher(
        pool=PoolFacts(
            name=pool.name,
            bin=pool.bin,
            chain=pool.chain,
            address=pool.address,
            commission_bps=pool.dated_terms.on(day).commission_bps,
        ),
        rules=rules,
        signers=signers(settings),
        software_version=software_version(),
    )


async def until_available(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """The result of a database call, when PostgreSQL is there; raises DatabaseError when it refuses."""
    waiting = False
    while True:
        try:
            return await call()
        except UNAVAILABLE as error:
            reason = reason_of(error)
            if refused(error):
                raise DatabaseError(f"database.url: PostgreSQL refuses: {reason}") from error
            if not waiting:
                log.warning("database_away", part="start", reason=reason, explained="waiting for it")
            waiting = True
            await asyncio.sleep(RETRY_SECONDS)
