"""The register's series: what they count, that they keep up, and what they say without PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.database import create_engine
from pool.live_register import LiveRegister
from pool.reading import DatabaseAway, keep_reading
from pool.register_metrics import RegisterMetrics
from pool.tables import register_event
from register.clerk import Terms
from register.person import Actor, Role
from tests.integration.ledger_world import NOON, RULES
from tests.integration.register_site import TODAY, enter_a_troubled_pool


def metrics_of(engine: AsyncEngine, live: LiveRegister | None = None) -> RegisterMetrics:
    return RegisterMetrics(engine, live or LiveRegister(engine), RULES, "0.1.0", lambda: NOON)


def lines(metrics: RegisterMetrics) -> set[str]:
    registry = CollectorRegistry()
    registry.register(metrics)
    told = generate_latest(registry).decode().splitlines()
    return {line for line in told if not line.startswith(("#", "dmpool_register_age_seconds"))}


async def test_the_series_count_what_there_is(engine: AsyncEngine) -> None:
    """O-04: ending within 30, 60 and 90 days, each within the next."""
    await enter_a_troubled_pool(engine)
    metrics = metrics_of(engine)
    assert lines(metrics) == set()
    await metrics.read()
    async with engine.connect() as connection:
        newest = await connection.scalar(sa.select(sa.func.max(register_event.c.seq)))
    assert lines(metrics) == {
        'dmpool_licences{status="not_yet"} 1.0',
        'dmpool_licences{status="in_force"} 5.0',
        'dmpool_licences{status="suspended"} 1.0',
        'dmpool_licences{status="awaiting_resumption"} 1.0',
        'dmpool_licences{status="resumed"} 0.0',
        'dmpool_licences{status="ended"} 0.0',
        'dmpool_licences{status="revoked"} 1.0',
        'dmpool_licences_ending{days="30"} 1.0',
        'dmpool_licences_ending{days="60"} 2.0',
        'dmpool_licences_ending{days="90"} 2.0',
        'dmpool_devices{state="not_yet"} 0.0',
        'dmpool_devices{state="registered"} 9.0',
        'dmpool_devices{state="excluded"} 0.0',
        'dmpool_sightings_today{kind="unregistered"} 1.0',
        'dmpool_sightings_today{kind="foreign"} 1.0',
        'dmpool_sightings_today{kind="duplicate"} 1.0',
        'dmpool_sightings_today{kind="overrate"} 1.0',
        'dmpool_sightings_today{kind="refused"} 1.0',
        "dmpool_proposals_waiting 2.0",
        "dmpool_addresses_waiting 1.0",
        f"dmpool_register_events_total {float(newest or 0)}",
        'dmpool_licence_enforcement{mode="strict"} 1.0',
        'dmpool_licence_enforcement{mode="quarantine"} 0.0',
        'dmpool_licence_enforcement{mode="monitor"} 0.0',
    }


ALIYA = Actor("aliya", Role.COMPLIANCE)


async def test_they_follow_the_register(engine: AsyncEngine) -> None:
    await enter_a_troubled_pool(engine)
    metrics = metrics_of(engine)
    following = asyncio.create_task(keep_reading(metrics.read, 0.01, "register metrics"))
    async with register_store.writing(engine, Terms(RULES, "regtest"), ALIYA, "sold") as clerk:
        clerk.exclude_device("miner1-rig1", TODAY)
    async with asyncio.timeout(20):
        while 'dmpool_devices{state="excluded"} 1.0' not in lines(metrics):
            await asyncio.sleep(0.01)
    following.cancel()


async def test_without_postgresql_the_last_values_stay_and_their_age_grows(engine: AsyncEngine) -> None:
    await enter_a_troubled_pool(engine)
    live = LiveRegister(engine)
    metrics = metrics_of(engine, live)
    await metrics.read()
    before = lines(metrics)
    away = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    lost = metrics_of(away, live)
    with pytest.raises(DatabaseAway):
        await lost.read()
    assert lines(metrics) == before
    assert live.age_seconds is not None
    await away.dispose()
