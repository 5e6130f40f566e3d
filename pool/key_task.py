"""The list of keys is begun by whoever builds reports; nobody else makes a key up (I7).

A task beside each ledger: it waits for PostgreSQL and for the sources of keys, introduces the first key where
there is none, and rests.
"""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import report_keys
from pool.clock import unix_microseconds
from pool.config import ConfigError, Settings
from pool.database import migrate
from pool.resources import signers, until_available
from register.rules import Rules
from reporting.keyring import RingError
from reporting.signing import SigningError

log = structlog.get_logger(__name__)

KEY_SECONDS = 60.0
"""How often a source of keys that is away is asked again."""


async def first_key(settings: Settings, rules: Rules, engine: AsyncEngine) -> None:
    """Introduce the key at hand, as soon as that can be done; then rest until cancelled."""
    await until_available(lambda: migrate(engine))
    while True:
        try:
            await until_available(lambda: _introduce(settings, rules, engine))
        except (ConfigError, SigningError, RingError) as error:
            log.error("report_key_unusable", reason=str(error), explained="no report can be signed")
            await asyncio.sleep(KEY_SECONDS)
        else:
            await asyncio.Event().wait()


async def _introduce(settings: Settings, rules: Rules, engine: AsyncEngine) -> None:
    at_hand = await asyncio.to_thread(signers, settings)
    await report_keys.introduce_first(engine, rules, at_hand, unix_microseconds)
