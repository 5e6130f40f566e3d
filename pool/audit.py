"""`dmpool audit`: recomputes what the pool owed and paid from the archive alone, and says where it differs.

The archive of a period is lived through in a database of its own, which is dropped in the end; then both
databases are compared, and the reports with their own bytes. Nothing of the pool's is written, and no lock is
held that it waits for: it may run beside it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from payouts.terms import DatedTerms
from pool import archive_file, audit_compare, journal_store, report_keys
from pool import ledger_store as store
from pool.archive_file import ArchiveError
from pool.archive_rows import ArchivedBatch
from pool.audit_compare import Range, Sides, Tally
from pool.audit_database import separate_database
from pool.audit_payments import check_payments
from pool.audit_proof import Proof
from pool.audit_replay import Replay, Step
from pool.audit_reports import Desk, envelope_of
from pool.audit_sources import (
    AuditError,
    Hour,
    Period,
    Told,
    choose_hours,
    dated_terms,
    made_us,
    period_of,
    read_books,
)
from pool.clock import HOUR_US, microseconds
from pool.intake import sort_records
from pool.records import Share, decode_batch
from pool.tables import archive_hour, batch, block_event, register_event, report
from register.event import Event
from register.rules import Rules
from reporting.keyring import KeyRing, RingError

REPORTS_US: Final = 24 * HOUR_US
"""Reports of the period that were made up to so long after it are rebuilt."""
_PORTION: Final = 50
"""Batches whose records are fetched from the live database at a time."""

Progress = Callable[[str, int, int], object]
"""What is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be audited, and by what."""

    archive: Path
    first: dt.date
    last: dt.date
    """Days in Kazakhstan, both included."""
    rules: Rules
    terms: DatedTerms
    """As configured, for days of which no book tells."""
    now_us: int
    public_key: str | None = None
    """A key that the reports' list of keys must have; None: any. Without a list, the key of all reports."""
    prove_work: bool = False


@dataclass(slots=True)
class Outcome:
    """What an audit found."""

    notes: list[str]
    tallies: list[Tally] = field(default_factory=list)
    hours: tuple[str, str] = ("", "")
    """The first and the last hour that were replayed."""
    shares: int = 0
    """Accepted shares that were counted again."""
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """With `prove_work`: refused shares by reason and by what their headers show."""

    @property
    def agrees(self) -> bool:
        """Whether there is no difference at all."""
        return not any(one.different for one in self.tallies)


def _silent(what: str, done: int, whole: int) -> None:
    pass


async def audit(live: AsyncEngine, request: Request, progress: Progress = _silent) -> Outcome:
    """Audit a period; differences are in the outcome. Raises AuditError when no audit can be made."""
    period = period_of(request.first, request.last, request.rules, request.now_us)
    progress("reading books", 0, 1)
    told = await read_books(live, request.archive, period, REPORTS_US)
    terms = dated_terms(told, request.terms, request.rules.day_of(told.until_us))
    longest = max(one.window_multiple for one in [*told.terms.values(), terms.on(period.last)])
    hours = await asyncio.to_thread(choose_hours, request.archive, told, period, request.rules, longest)
    await _shorten(live, told, period, hours[-1])
    outcome = Outcome(told.notes, hours=(hours[0].manifest.hour, hours[-1].manifest.hour))
    outcome.tallies = [
        await _check_hours(live, hours, progress),
        await _check_register(live, told.register),
        await _check_opening(live, told, period),
        await _check_published(live, told, period),
        *check_payments(told.payouts, told.until_us),
    ]
    async with separate_database(live) as rebuilt:
        run = _Run(Sides(rebuilt, live), request, told, period)
        try:
            replayed = await run.through(hours, terms, progress)
        except ArchiveError as error:
            raise AuditError(str(error)) from error
        progress("comparing", 0, 1)
        blocks = sorted({*told.blocks, *await _found_again(rebuilt)})
        outcome.tallies += await audit_compare.compare_all(run.sides, replayed, period, blocks)
        later = await _later(live, replayed.last_batch, period, request.rules)
        outcome.tallies += await audit_compare.compare_days(run.sides, period, later)
    outcome.tallies += run.tallies
    outcome.shares, outcome.refused = run.shares, run.proof.refused
    return outcome


# What is checked before


async def _shorten(live: AsyncEngine, told: Told, period: Period, last: Hour) -> None:
    """Where shares behind the last closed hour are waiting to be archived, the audit ends before them."""
    async with live.connect() as connection:
        waiting_us = await connection.scalar(
            sa.select(sa.func.min(batch.c.taken_us)).where(batch.c.position > last.manifest.last_batch)
        )
    if waiting_us is None or waiting_us >= told.until_us:
        return
    if waiting_us < period.end_us:
        raise AuditError(
            f"--to {period.last}: not all shares of that day are archived yet; each hour is archived some "
            f"minutes after its end: choose an earlier day, or wait"
        )
    kept = [one for one in told.reports if made_us(one) < waiting_us]
    if len(kept) < len(told.reports):
        told.notes.append(
            f"{len(told.reports) - len(kept)} reports were made in an hour that is not archived yet, and are "
            f"not rebuilt"
        )
    told.reports, told.until_us = kept, waiting_us


async def _check_hours(live: AsyncEngine, hours: Sequence[Hour], progress: Progress) -> Tally:
    """Each manifest against the live database and the hour before. Raises AuditError for a changed file."""
    tally = Tally("archived hour")
    async with live.connect() as connection:
        rows = await connection.execute(sa.select(archive_hour.c.hour_us, archive_hour.c.manifest_sha256))
        closed = {row.hour_us: row.manifest_sha256 for row in rows}
    position = hours[0].manifest.first_batch
    for number, one in enumerate(hours):
        progress("checking hashes of the archive", number, len(hours))
        sha256 = await asyncio.to_thread(archive_file.sha256_of, one.place.file)
        if sha256 != one.manifest.sha256:
            raise AuditError(
                f"{one.place.file}: has sha256 {sha256}, its manifest says {one.manifest.sha256}; restore it "
                f"from the archive's backup"
            )
        tally.compare(
            one.manifest.hour,
            f"manifest {one.sha256}, first batch {position}",
            f"manifest {closed.get(one.manifest.hour_us)}, first batch {one.manifest.first_batch}",
        )
        position = one.manifest.last_batch + 1
    return tally


async def _check_register(live: AsyncEngine, register: Sequence[Event]) -> Tally:
    """The hash of the last event stands for all before it, on both sides."""
    tally = Tally("event of the register", agree=max(len(register) - 1, 0))
    if register:
        async with live.connect() as connection:
            kept = await connection.scalar(
                sa.select(register_event.c.sha256).where(register_event.c.seq == register[-1].seq)
            )
        tally.compare(f"event {register[-1].seq}", register[-1].sha256, kept)
    return tally


async def _check_opening(live: AsyncEngine, told: Told, period: Period) -> Tally:
    """What the journal in the books adds up to before the period, against the live balances."""
    tally = Tally("opening balance")
    async with live.connect() as connection:
        kept = await journal_store.balances_before(connection, period.first)
    for account in sorted(told.opening.keys() | kept.keys()):
        tally.compare(account, told.opening.get(account, 0), kept.get(account, 0))
    if told.opening:
        told.notes.append(
            f"what was booked before {period.first} is not recomputed: its entries are added up as the books "
            f"have them, and compared with the live balances"
        )
    return tally


async def _check_published(live: AsyncEngine, told: Told, period: Period) -> Tally:
    """The bytes of each report in the books and in the live database."""
    tally = Tally("published report")
    ours = {line["sequence"]: envelope_of(line).decode() for line in told.reports}
    async with live.connect() as connection:
        rows = await connection.execute(
            sa.select(report.c.sequence, report.c.envelope, report.c.built_at).where(
                report.c.day.between(period.first, period.last)
            )
        )
        theirs = {
            row.sequence: row.envelope.decode() for row in rows if microseconds(row.built_at) < told.until_us
        }
    for sequence in sorted(ours.keys() | theirs.keys()):
        tally.compare(f"number {sequence}", ours.get(sequence), theirs.get(sequence))
    return tally


async def _list_of_keys(live: AsyncEngine) -> KeyRing:
    try:
        async with live.connect() as connection:
            return await report_keys.read(connection)
    except RingError as error:
        raise AuditError(f"keys of the reports: {error}") from error


# The replay


class _Run:
    """One way through the archive, and what is checked beside it."""

    def __init__(self, sides: Sides, request: Request, told: Told, period: Period) -> None:
        self.sides = sides
        self.proof = Proof()
        self.shares = 0
        self.tallies: list[Tally] = []
        self._request = request
        self._told = told
        self._period = period
        self._records = Tally("records of a batch")
        self._order = Tally("batch behind the one before of its gateway")
        self._last_seq: dict[int, int] = {}
        self._portion: list[ArchivedBatch] = []
        self._events: list[Event] = []

    async def through(self, hours: Sequence[Hour], terms: DatedTerms, progress: Progress) -> Range:
        """Replay everything; what of the ledger's order it was."""
        batches = sum(one.manifest.batches for one in hours)
        async with self.sides.rebuilt.connect() as connection:
            replay = Replay(connection, self._told, self._period, self._request.rules, terms)
            keys = await _list_of_keys(self.sides.live)
            desk = Desk(
                connection,
                self._told.reports,
                self._request.rules,
                self._request.public_key,
                keys,
                self._request.archive,
            )
            await replay.begin(hours[0])
            before = 0
            for step in replay.timeline(hours):
                await self._let_happen(step, replay, desk)
                if isinstance(step.what, ArchivedBatch) and len(self._portion) == _PORTION:
                    await self._compare_records()
                    before += _PORTION
                    progress("counting shares again", before, batches)
            await self._compare_records()
            await replay.enter(self._events)
            await desk.finish()
            replay.finish()
            self.tallies = [self._order, self._records, replay.steps, replay.entries, replay.credits.tally]
            self.tallies += [desk.rebuilt, desk.signatures]
            if self._request.prove_work:
                self.tallies.append(self.proof.work)
            return await self._reached(connection, hours[0])

    @staticmethod
    async def _reached(connection: AsyncConnection, first: Hour) -> Range:
        async with connection.begin():
            head = await store.read_head(connection)
        begin = first.manifest
        return Range(begin.first_batch, head.batch_position, begin.first_slice, head.slice_position)

    async def _let_happen(self, step: Step, replay: Replay, desk: Desk) -> None:
        if isinstance(step.what, Event):
            self._events.append(step.what)
            return
        await replay.enter(self._events)
        self._events.clear()
        await desk.before(step.at_us)
        await replay.do(step)
        if isinstance(step.what, ArchivedBatch):
            self._look(step.what)
            instants = [record.at_us for record in step.what.records]
        else:
            instants = [step.at_us]
        desk.touched(instants)

    def _look(self, one: ArchivedBatch) -> None:
        """Beside the replay: the gateway's own order, and proof of work."""
        expected = self._last_seq.get(one.gateway_number, one.first_seq - 1) + 1
        self._order.compare(
            f"batch {one.position} of gateway {one.gateway_number}",
            f"begins with row {expected} of its spool",
            f"begins with row {one.first_seq} of its spool",
        )
        self._last_seq[one.gateway_number] = one.last_seq
        self.shares += sum(isinstance(record, Share) for record in one.records)
        if self._request.prove_work:
            self.proof.look(one)
        self._portion.append(one)

    async def _compare_records(self) -> None:
        """The archive's records against those that the live database still has."""
        if not self._portion:
            return
        first, last = self._portion[0].position, self._portion[-1].position
        async with self.sides.live.connect() as connection:
            rows = await connection.execute(
                sa.select(batch.c.position, batch.c.payload).where(batch.c.position.between(first, last))
            )
            kept = {row.position: row.payload for row in rows}
        for one in self._portion:
            if one.position not in kept:
                self._records.only_archived += 1
            elif decode_batch(kept[one.position]) == one.records:
                self._records.agree += 1
            else:
                self._records.differs(f"batch {one.position}", "the archive's records", "other records")
        self._portion.clear()


async def _found_again(rebuilt: AsyncEngine) -> list[str]:
    """The blocks that came out of the replay, whether or not the books tell of them."""
    async with rebuilt.connect() as connection:
        return list(await connection.scalars(sa.select(block_event.c.hash).distinct()))


async def _later(
    live: AsyncEngine, last_batch: int, period: Period, rules: Rules
) -> dict[str, dict[Any, tuple[int, ...]]]:
    """What batches behind the replay brought of the period's days: a gateway may have been cut off."""
    work: dict[Any, tuple[int, ...]] = {}
    refused: Counter[Any] = Counter()
    of_then = sa.or_(batch.c.first_us.is_(None), batch.c.first_us < period.end_us)
    async with live.connect() as connection:
        rows = await connection.stream(
            sa.select(batch.c.payload).where(batch.c.position > last_batch, of_then)
        )
        async for row in rows:
            kept = sort_records(decode_batch(row.payload), rules.day_of)
            for one in kept.miners:
                if one.day in period:
                    shares, of_miner = work.get((one.day, one.miner_id), (0, 0))
                    work[one.day, one.miner_id] = (shares + one.shares, of_miner + one.work)
            for key, count in kept.rejects.items():
                if key.day in period:
                    refused[key.day, key.miner_id, key.reason] += count
    return {"miner_day": work, "reject_day": {key: (count,) for key, count in refused.items()}}
