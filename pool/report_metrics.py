"""Reports, their keys and the transparency log for Prometheus, as they stand in PostgreSQL.

The newest report is read back and verified as a regulator would (`reporting.verify`): when it is new, and
each hour again, since what is stored may have been spoilt. Every ledger process tells it, active or not.
Without PostgreSQL the series keep their last values; ages go on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import rfc8785
import sqlalchemy as sa
import structlog
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool import log_store, report_keys
from pool.clock import instant, unix_microseconds
from pool.cms_signer import certificate_end
from pool.log_section import WitnessSection
from pool.reading import reading
from pool.signing_section import CmsSection
from pool.tables import report
from pool.telemetry.instruments import filled, gauge_family
from register.rules import Rules
from reporting.equalities import MALFORMED
from reporting.keyring import Key, KeyRing, RingError
from reporting.verify import verify

log = structlog.get_logger(__name__)

VERIFY_US: Final = 3600 * 1_000_000


@dataclass(slots=True)
class _Told:
    """What was read last."""

    versions: int
    corrections: int
    last_day_end: float | None
    key_end: float | None
    log_entries: int
    checkpoint_us: int | None
    behind: dict[str, int] = field(default_factory=dict)
    """Entries of the newest checkpoint that each witness has not cosigned."""


class ReportMetrics(Collector):
    """The series. There are none before the first `read`."""

    every: Final = 30.0
    """Seconds between two reads."""

    def __init__(
        self,
        engine: AsyncEngine,
        rules: Rules,
        witnesses: Iterable[WitnessSection],
        now_us: Callable[[], int] = unix_microseconds,
        cms: CmsSection | None = None,
    ) -> None:
        """`cms` names the state key, whose certificate ends some day."""
        self._engine = engine
        self._rules = rules
        self._witnesses = tuple(witnesses)
        self._now_us = now_us
        self._cms = cms
        self._cms_end: dt.datetime | None = None
        self._cms_read_us = 0
        self._told: _Told | None = None
        self._sequence = 0
        """Of the report that was verified last."""
        self._verified_us = 0
        self._good = False

    async def read(self) -> None:
        """Read once, and verify what is new; raises DatabaseAway."""
        now_us = self._now_us()
        if self._cms is not None and now_us - self._cms_read_us >= VERIFY_US:
            self._cms_end = await asyncio.to_thread(certificate_end, self._cms)  # it is slow on purpose
            self._cms_read_us = now_us
        async with reading(self._engine) as connection:
            ring = await _ring(connection)
            keys = [] if ring is None else list(ring.keys.values())
            ends = key_ends(keys, instant(now_us)) + ([] if self._cms_end is None else [self._cms_end])
            self._told = await self._look(connection, ends)
            newest = await connection.scalar(sa.select(sa.func.max(report.c.sequence)))
            if newest is None or (newest == self._sequence and now_us - self._verified_us < VERIFY_US):
                return
            wanted = sa.select(report.c.envelope).where(report.c.sequence == newest)
            envelope = bytes(await connection.scalar(wanted) or b"")
        fault = await asyncio.to_thread(fault_of, envelope, ring)
        if fault is not None:
            log.error("report_not_verified", sequence=newest, reason=fault)
        self._sequence, self._verified_us, self._good = newest, now_us, fault is None

    async def _look(self, connection: AsyncConnection, ends: Iterable[dt.datetime]) -> _Told:
        counted = sa.select(
            sa.func.count(), sa.func.count().filter(report.c.version > 1), sa.func.max(report.c.day)
        )
        versions, corrections, day = (await connection.execute(counted)).one()
        last = await log_store.newest_checkpoint(connection)
        behind = {}
        if last is not None and self._witnesses:
            known = await log_store.cosigned(connection)
            for one in self._witnesses:
                upto = known.get((one.key.name, one.key.key_id.hex()), 0)
                behind[one.name] = max(last.checkpoint.size - upto, 0)
        return _Told(
            versions=versions,
            corrections=corrections,
            last_day_end=None if day is None else self._rules.day_bounds(day)[1] / 1e6,
            key_end=min((end.timestamp() for end in ends), default=None),
            log_entries=await log_store.size(connection),
            checkpoint_us=None if last is None else last.signed_us,
            behind=behind,
        )

    def collect(self) -> Iterator[Metric]:
        """The series of this scrape."""
        told = self._told
        if told is None:
            return
        yield gauge_family("dmpool_report_versions", told.versions)
        yield gauge_family("dmpool_report_corrections", told.corrections)
        if told.last_day_end is not None:
            yield gauge_family("dmpool_report_last_day_timestamp_seconds", told.last_day_end)
        if self._sequence:
            yield gauge_family("dmpool_report_verified", self._good)
            yield gauge_family("dmpool_report_verified_timestamp_seconds", self._verified_us / 1e6)
        if told.key_end is not None:
            yield gauge_family("dmpool_report_key_end_timestamp_seconds", told.key_end)
        yield gauge_family("dmpool_log_entries", told.log_entries)
        if told.checkpoint_us is not None:
            age = max(self._now_us() - told.checkpoint_us, 0) / 1e6
            yield gauge_family("dmpool_log_checkpoint_age_seconds", age)
        yield filled(gauge_family("dmpool_log_witness_behind_entries"), told.behind)


async def _ring(connection: AsyncConnection) -> KeyRing | None:
    """The list of keys; None where what is stored does not hold, and then no report can be verified."""
    try:
        return await report_keys.read(connection)
    except RingError as error:
        log.error("keys_do_not_hold", reason=str(error))
        return None


def fault_of(envelope: bytes, ring: KeyRing | None) -> str | None:
    """The first check that a stored report fails, in words; None for one that is good.

    The anchor of the pool's own list of keys is trusted here: that nobody replaced both is for whoever kept
    the public key, and for the witnesses of the log.
    """
    if ring is None:
        return "the list of keys does not hold"
    try:
        signatures = json.loads(envelope)["signatures"]
        known = {key.public_key for key in ring.keys.values()}
        ours = next(one["public_key"] for one in signatures if one.get("public_key") in known)
        checks = verify(envelope, ring.anchor_of(ours), rfc8785.dumps(ring.document()))
    except (*MALFORMED, StopIteration) as error:
        return f"it is no report that a key of this pool signed ({type(error).__name__})"
    return next((f"{one.name}: {one.detail}" for one in checks if not one.passed), None)


def key_ends(keys: Iterable[Key], at: dt.datetime) -> list[dt.datetime]:
    """When the keys in force that nothing follows end, those that do."""
    in_force = [key for key in keys if key.refusal(at) is None]
    ends = [key.revoked_from or key.valid_to for key in in_force if key.replaced_by is None]
    return [end for end in ends if end is not None]
