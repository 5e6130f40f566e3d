"""What an audit works from: the hours of shares that it needs, and what the books say beside them.

The hours begin so early that the window of every block in question lies in them, which their manifests tell.
Of the books it keeps what happened from the first day on, and what went before of the same blocks and
payouts; all older entries of the journal become one opening balance for each account.

What was written since the last book was closed is read from the live database, and the audit says so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from payouts.block_state import State
from payouts.terms import DatedTerms, Terms, TermsFrom
from pool import archive_book, archive_file
from pool.archive_book import Book, BookError, Line
from pool.archive_file import ArchivedHour, ArchiveError, Manifest
from pool.clock import HOUR_US, microseconds
from register.event import FIRST, ChainError, Event, verify
from register.rules import Rules, RulesError

OF_SHARES: Final = (State.FOUND, State.SUBMITTED)
"""Steps of blocks that the share archive itself tells."""
EARLY_US: Final = HOUR_US
"""How much earlier than a day its shares are looked for: a gateway's clock may have been ahead."""


class AuditError(Exception):
    """The audit cannot be made. The message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Period:
    """The days in Kazakhstan that are audited, and their instants."""

    first: dt.date
    last: dt.date
    start_us: int
    end_us: int

    def __contains__(self, day: dt.date) -> bool:
        return self.first <= day <= self.last


@dataclass(slots=True)
class Told:
    """What the books say."""

    books: list[Book]
    notes: list[str] = field(default_factory=list)
    until_us: int = 0
    """Up to here the audit goes: the end of the period, and the making of its reports."""
    register: list[Event] = field(default_factory=list)
    gateways: list[Line] = field(default_factory=list)
    terms: dict[dt.date, Terms] = field(default_factory=dict)
    blocks: dict[str, list[Line]] = field(default_factory=dict)
    """Steps of the blocks in question, by hash, in order."""
    payouts: dict[int, dict[str, list[Line]]] = field(default_factory=dict)
    """Of the payouts in question: run, payout, payments, versions and events, by the names of the tables."""
    entries: list[Line] = field(default_factory=list)
    """Of the journal, in order: those of the period and behind it, and older ones of the same sources."""
    opening: dict[str, int] = field(default_factory=dict)
    """Booked balances when the period begins."""
    reports: list[Line] = field(default_factory=list)
    """Of the days of the period."""
    rates: list[Line] = field(default_factory=list)
    """Prices of FPPS."""
    credits: list[Line] = field(default_factory=list)
    """Credits of FPPS in the period and behind it, in order."""
    older_credits: list[Line] = field(default_factory=list)
    """Those of before that they build on: of the same days, and each miner's last one."""
    whole_from_us: int = 0
    """From here on all shares are replayed."""


def period_of(first: dt.date, last: dt.date, rules: Rules, now_us: int) -> Period:
    """The period of two days, both included; raises AuditError."""
    if last < first:
        raise AuditError(f"--from {first} --to {last}: the period ends before it begins; turn the days round")
    try:
        period = Period(first, last, rules.day_bounds(first)[0], rules.day_bounds(last)[1])
    except RulesError as error:
        raise AuditError(f"--from {first} --to {last}: {error}") from error
    if now_us < period.end_us:
        raise AuditError(f"--to {last}: that day is not over in Kazakhstan; choose an earlier one")
    return period


# The books


async def read_books(engine: AsyncEngine, archive: Path, period: Period, report_us: int) -> Told:
    """What the books say of a period; reports that were made `report_us` after it and later are left out.

    Raises AuditError.
    """
    try:
        told = Told(await asyncio.to_thread(archive_book.books, archive))
        tail = await _tail(engine, told, period.end_us + report_us)
        await asyncio.to_thread(_read, told, tail, period, report_us)
    except BookError as error:
        raise AuditError(str(error)) from error
    except ChainError as error:
        raise AuditError(f"books in {archive}: {error}; they cannot be trusted") from error
    return told


async def _tail(engine: AsyncEngine, told: Told, until_us: int) -> list[Line]:
    """What is in no book yet, as the live database has it."""
    last = told.books[-1] if told.books else None
    if last is not None and last.closed_us >= until_us:
        return []
    told.notes.append(
        f"what was written after the book of {last.day} was closed is taken from the live database"
        if last is not None
        else "no book was closed yet: all but the shares is taken from the live database"
    )
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            upto = await archive_book.marks_now(connection)
            after = last.upto if last is not None else archive_book.NOTHING
            return [line async for line in archive_book.lines_between(connection, after, upto)]


def _read(told: Told, tail: list[Line], period: Period, report_us: int) -> None:
    """Twice through all lines: which sources are in question is known only when all steps were seen."""
    latest_us = period.end_us + report_us
    steps: dict[str, list[Line]] = defaultdict(list)
    events: dict[int, list[Line]] = defaultdict(list)
    gateways: dict[int, Line] = {}
    for line in _lines(told.books, tail):
        match line["table"]:
            case "register_event":
                told.register.append(_event(line))
            case "block_event":
                steps[line["hash"]].append(line)
            case "payout_event":
                events[line["payout_id"]].append(line)
            case "gateway":
                gateways[line["number"]] = line
            case "terms":
                _keep_terms(told, line)
            case "report" if dt.date.fromisoformat(line["day"]) in period:
                told.reports.append(line)
    verify(told.register)
    told.gateways = [gateways[number] for number in sorted(gateways)]
    made = [one for one in told.reports if made_us(one) < latest_us]
    told.until_us = max([period.end_us, *(made_us(one) + 1 for one in made)])
    if len(made) < len(told.reports):
        told.notes.append(
            f"{len(told.reports) - len(made)} reports were made later than the audit goes, and are not "
            f"rebuilt: choose a --to after the day on which they were made"
        )
    told.reports = made
    told.blocks = {hash_: of for hash_, of in steps.items() if _in_question(of, period, told.until_us)}
    told.payouts = {
        id_: {"payout_event": of} for id_, of in events.items() if _in_question(of, period, told.until_us)
    }
    _read_entries(told, tail, period)


def _read_entries(told: Told, tail: list[Line], period: Period) -> None:
    opening: dict[str, int] = defaultdict(int)
    versions: dict[tuple[int, int], Line] = {}
    kept: dict[str, list[Line]] = defaultdict(list)
    for line in _lines(told.books, tail):
        match line["table"]:
            case "journal_entry":
                before = dt.date.fromisoformat(line["day"]) < period.first
                if before:
                    for account, amount in line["postings"]:
                        opening[account] += amount
                wanted = line["block_hash"] in told.blocks or line["payout_id"] in told.payouts
                if line["at_us"] < told.until_us and (not before or wanted):
                    told.entries.append(line)
            case "payout_run" | "payout" | "payment" | "fpps_rate" | "fpps_credit":
                kept[line["table"]].append(line)
            case "payout_version":
                versions[line["payout_id"], line["number"]] = line  # the last book knows most
    told.opening = {account: amount for account, amount in opening.items() if amount}
    told.rates = kept["fpps_rate"]
    _keep_credits(told, kept["fpps_credit"], period)
    kept["payout_version"] = [line for _, line in sorted(versions.items())]
    _keep_payouts(told, kept)


def _keep_payouts(told: Told, kept: dict[str, list[Line]]) -> None:
    """All that belongs to the payouts in question."""
    runs = {line["id"]: line for line in kept["payout_run"]}
    for line in kept["payout"]:
        if line["id"] in told.payouts:
            told.payouts[line["id"]] |= {"payout": [line], "payout_run": [runs[line["run_id"]]]}
    for table in ("payment", "payout_version"):
        for line in kept[table]:
            if line["payout_id"] in told.payouts:
                told.payouts[line["payout_id"]].setdefault(table, []).append(line)


def _keep_credits(told: Told, credits: Sequence[Line], period: Period) -> None:
    """Credits of FPPS in question, and what they build on."""
    older = [line for line in credits if line["at_us"] < period.start_us]
    told.credits = [line for line in credits if period.start_us <= line["at_us"] < told.until_us]
    days = {line["day"] for line in told.credits}
    newest = {line["miner_id"]: line["id"] for line in older}
    told.older_credits = [
        line for line in older if line["day"] in days or newest[line["miner_id"]] == line["id"]
    ]


def _lines(books: Sequence[Book], tail: list[Line]) -> Iterator[Line]:
    for book in books:
        yield from archive_book.read_lines(book)
    yield from tail


def _in_question(steps: Sequence[Line], period: Period, until_us: int) -> bool:
    return any(period.start_us <= line["at_us"] < until_us for line in steps)


def made_us(report: Line) -> int:
    """When a report was made, unix microseconds."""
    return microseconds(dt.datetime.fromisoformat(report["built_at"]))


def _event(line: Line) -> Event:
    values = {name: line[name] for name in Event.__struct_fields__ if name != "previous"}
    return Event(**values, previous=line["previous"] or FIRST)


def _keep_terms(told: Told, line: Line) -> None:
    day = dt.date.fromisoformat(line["day"])
    terms = Terms(line["scheme"], line["window_multiple"], line["commission_bps"], line["transaction_fees"])
    if told.terms.get(day, terms) != terms:
        told.notes.append(f"terms of {day}: two books differ, the later one is taken")
    told.terms[day] = terms


def dated_terms(told: Told, configured: DatedTerms, until: dt.date) -> DatedTerms:
    """The terms of each day as the books have them, and as configured for days of which no book tells."""
    rows = [TermsFrom(day, terms) for day, terms in sorted(told.terms.items())]
    first = rows[0].effective_from if rows else until
    day = rows[-1].effective_from + dt.timedelta(days=1) if rows else first
    while day <= until:
        rows.append(TermsFrom(day, configured.on(day)))
        day += dt.timedelta(days=1)
    return DatedTerms(configured.on(first), rows)


# The hours of shares


@dataclass(frozen=True, slots=True)
class Hour:
    """A closed hour: where it lies and what closes it; `sha256` is that of the manifest."""

    place: ArchivedHour
    manifest: Manifest
    sha256: str


def choose_hours(archive: Path, told: Told, period: Period, rules: Rules, longest: int) -> list[Hour]:
    """The hours that the audit replays, without a gap; `longest` is the largest window multiple in question.

    Where FPPS credited a day for the first time, they begin with that day.

    Raises AuditError when the archive does not reach from where the windows begin to the period's end.
    """
    known = [one for one in _chained(archive) if one.manifest.hour_us < told.until_us]
    if not known:
        raise AuditError(
            f"archive {archive}: holds no closed hour from before the end of {period.last}; name the right "
            f"folder with --archive, or wait until the hour is closed"
        )
    steps = [line["at_us"] for of in told.blocks.values() for line in of if line["state"] in OF_SHARES]
    begun = {line["day"] for line in told.older_credits}
    credited = {line["day"] for line in told.credits} - begun
    days = [rules.day_bounds(dt.date.fromisoformat(day))[0] for day in credited]
    earliest_us = min([period.start_us, *steps, *days]) - EARLY_US
    asked = next(
        (place for place, one in enumerate(known) if one.manifest.hour_us + HOUR_US > earliest_us),
        len(known) - 1,
    )
    begin = _reach([one.manifest for one in known[asked:]], longest)
    first = max(
        (place for place in range(asked + 1) if int(known[place].manifest.total_before) <= begin), default=0
    )
    oldest = known[first].manifest
    if oldest.previous is not None and (int(oldest.total_before) > begin or oldest.hour_us > earliest_us):
        raise AuditError(
            f"archive {archive}: begins with {oldest.hour}; this period needs older hours, bring them back "
            f"from the archive's backup"
        )
    told.whole_from_us = earliest_us if oldest.previous is not None else 0
    return known[first:]


def _reach(asked: Sequence[Manifest], longest: int) -> int:
    """How much work of the ledger stands before the oldest window of blocks in some hours, or less."""
    before = int(asked[0].total_before)
    if not any(one.founds for one in asked):
        return before
    hardest = max(int(one.network_work) for one in asked)
    return max(before - longest * hardest, 0) if hardest else 0


def _chained(archive: Path) -> list[Hour]:
    """All closed hours, each naming the one before; raises AuditError."""
    known: list[Hour] = []
    try:
        for place in archive_file.hours(archive, 0, 2**62):
            content = place.manifest.read_bytes()
            manifest = archive_file.parse_manifest(content, str(place.manifest))
            previous = known[-1].sha256 if known else None
            if known and manifest.previous != previous:
                raise AuditError(
                    f"{place.manifest}: names {manifest.previous} as the manifest before, which is "
                    f"{previous}; restore the archive from its backup"
                )
            known.append(Hour(place, manifest, hashlib.sha256(content).hexdigest()))
    except (ArchiveError, OSError) as error:
        raise AuditError(str(error)) from error
    return known
