"""What was submitted to whom, and the receipts (O-40): one row for each document and addressee, only added
to.

A document is one version of a form or of a daily report, by its hash. A submission is recorded when an
export went out, or when a person says that one did; a receipt, a text or a file or both, may come any time
later.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import register_store
from pool.clock import microseconds
from pool.documents import Document
from pool.tables import report
from pool.tables_income import form, receipt, submission
from pool.transport import Delivered
from register.fields import text_of
from register.person import Actor, PersonError, Role, require_current
from register.rules import Rules
from reporting.daily_rows import BODIES

FILE_LIMIT: Final = 10_000_000
"""Bytes of a receipt."""
BY_HAND: Final = Delivered("hand", "", "")
"""What a person sent by other means."""
_NOTE_LIMIT: Final = 500
_MAY: Final = (Role.OPERATOR, Role.COMPLIANCE)


class SubmissionError(ValueError):
    """The submission cannot be recorded. The message says why and what to do."""


class Sending(NamedTuple):
    """A document on its way to an addressee."""

    document: Document
    addressee: str
    sent_us: int
    note: str


class ReceiptFile(NamedTuple):
    """A file that came back."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came back; `file` is empty where there is none."""

    text: str
    file_name: str
    file_sha256: str
    recorded_us: int
    actor: str


@dataclass(frozen=True, slots=True)
class Submission:
    """What went to an addressee."""

    id: int
    sha256: str
    form: str
    """Empty for a daily report."""
    period: str
    version: int
    addressee: str
    addressee_name: str
    sent_us: int
    transport: str
    file_name: str
    file_sha256: str
    note: str
    recorded_us: int
    actor: str
    receipts: tuple[Receipt, ...]


# Recording


async def require_possible(
    connection: AsyncConnection, sending: Sending, rules: Rules, actor: Actor, now_us: int
) -> None:
    """Raises SubmissionError, or PersonError, where a submission could not be recorded."""
    await _require_allowed(connection, actor)
    document, addressee, sent_us, note = sending
    where = f"submission of {document.name}"
    text_of(where, "note", note, SubmissionError, _NOTE_LIMIT, empty=True)
    if addressee not in BODIES:
        raise SubmissionError(f"{where}: addressee {addressee[:40]!r} must be one of {', '.join(BODIES)}")
    if sent_us > now_us:
        raise SubmissionError(f"{where}: {rules.local(sent_us):%Y-%m-%d %H:%M} is to come")
    built_us, sent_on = microseconds(document.built_at), rules.day_of(sent_us)
    first_us, after_us = rules.day_bounds(sent_on)
    # Midnight is what a day becomes that was given without a time.
    until_us = after_us - 1 if sent_us == first_us else sent_us
    if built_us > until_us:
        made, until = (f"{rules.local(at_us):%Y-%m-%d %H:%M:%S}" for at_us in (built_us, until_us))
        raise SubmissionError(
            f"{where}: it was made at {made}, after {until}; name the version that was sent"
        )


async def require_newest(connection: AsyncConnection, document: Document) -> None:
    """Raises SubmissionError for a version that another one replaced, or whose facts have changed since."""
    if document.form:
        wanted = sa.select(sa.func.max(form.c.version)).where(
            form.c.form == document.form, form.c.period == document.period
        )
    else:
        wanted = sa.select(sa.func.max(report.c.version)).where(report.c.day == _day(document))
    newest = await connection.scalar(wanted)
    if newest != document.version:
        raise SubmissionError(
            f"submission of {document.name}: version {newest} took its place; send that one"
        )
    if not document.form:
        return
    of_month = sa.func.to_char(report.c.day, "YYYY-MM") == document.period
    anew = sa.select(sa.func.min(report.c.day)).where(of_month, report.c.built_at > document.built_at)
    day = await connection.scalar(anew)
    if day is not None:
        raise SubmissionError(
            f"submission of {document.name}: {day} was reported anew since it was made; `dmpool income build "
            f"--month {document.period}` makes its next version first"
        )


def _day(document: Document) -> dt.date:
    return dt.date.fromisoformat(document.period)


async def record(
    connection: AsyncConnection,
    sending: Sending,
    delivered: Delivered,
    rules: Rules,
    actor: Actor,
    now_us: int,
) -> int:
    """Record that a document went to an addressee; the submission's number.

    Raises as `require_possible`, and SubmissionError for what is recorded already: the same file, or without
    one the same document at the same time.
    """
    await connection.execute(sa.text("LOCK TABLE submission IN SHARE ROW EXCLUSIVE MODE"))
    await require_possible(connection, sending, rules, actor, now_us)
    document, addressee, sent_us, note = sending
    key = "form_sha256" if document.form else "report_sha256"
    again = sa.and_(
        submission.c[key] == document.sha256,
        submission.c.addressee == addressee,
        submission.c.file_sha256 == delivered.file_sha256,
        sa.or_(submission.c.file_sha256 != "", submission.c.sent_us == sent_us),
    )
    known = await connection.scalar(sa.select(sa.func.min(submission.c.id)).where(again))
    if known is not None:
        raise SubmissionError(
            f"submission of {document.name} to {addressee}: is recorded already, as {known}; "
            f"`dmpool submissions show {known}` shows it"
        )
    row = sa.insert(submission).values(
        addressee=addressee,
        addressee_name=rules.on(addressee, rules.day_of(sent_us)).text("name"),
        sent_us=sent_us,
        transport=delivered.transport,
        file_name=delivered.file_name,
        file_sha256=delivered.file_sha256,
        note=note,
        recorded_us=now_us,
        actor=actor.name,
        **{key: document.sha256},
    )
    return int((await connection.execute(row.returning(submission.c.id))).scalar_one())


async def add_receipt(
    connection: AsyncConnection,
    submission_id: int,
    text: str,
    file: ReceiptFile | None,
    actor: Actor,
    now_us: int,
) -> None:
    """Record what came back for a submission: a text, a file or both. Raises SubmissionError."""
    await _require_allowed(connection, actor)
    where = f"receipt of submission {submission_id}"
    text_of(where, "text", text, SubmissionError, _NOTE_LIMIT, empty=file is not None)
    if file is not None:
        text_of(where, "file name", file.name, SubmissionError)
        if not 1 <= len(file.content) <= FILE_LIMIT:
            raise SubmissionError(
                f"{where}: {file.name} has {len(file.content)} bytes; a receipt has 1 to {FILE_LIMIT}"
            )
    known = await connection.scalar(sa.select(submission.c.id).where(submission.c.id == submission_id))
    if known is None:
        raise SubmissionError(f"{where}: no such submission; `dmpool submissions list` shows all")
    await connection.execute(
        sa.insert(receipt).values(
            submission_id=submission_id,
            text=text,
            file_name=file.name if file else "",
            file=file.content if file else None,
            file_sha256=hashlib.sha256(file.content).hexdigest() if file else "",
            recorded_us=now_us,
            actor=actor.name,
        )
    )


async def _require_allowed(connection: AsyncConnection, actor: Actor) -> None:
    if actor.role not in _MAY:
        raise PersonError(f"{actor.name}: the role {actor.role} may not record submissions; ask an operator")
    require_current(actor, (await register_store.load(connection, ("person",))).people)


# Reading


async def list_submissions(connection: AsyncConnection) -> list[Submission]:
    """All submissions with their receipts, in the order in which they were recorded."""
    columns = [column for column in receipt.c if column is not receipt.c.file]
    came: dict[int, list[Receipt]] = {}
    for row in await connection.execute(sa.select(*columns).order_by(receipt.c.id)):
        one = Receipt(row.text, row.file_name, row.file_sha256, row.recorded_us, row.actor)
        came.setdefault(row.submission_id, []).append(one)
    rows = await connection.execute(
        sa.select(
            submission,
            form.c.form,
            form.c.period,
            sa.func.coalesce(form.c.version, report.c.version).label("version"),
            report.c.day,
        )
        .outerjoin(form, form.c.sha256 == submission.c.form_sha256)
        .outerjoin(report, report.c.sha256 == submission.c.report_sha256)
        .order_by(submission.c.id)
    )
    return [
        Submission(
            id=row.id,
            sha256=row.form_sha256 or row.report_sha256,
            form=row.form or "",
            period=row.period or row.day.isoformat(),
            version=row.version,
            addressee=row.addressee,
            addressee_name=row.addressee_name,
            sent_us=row.sent_us,
            transport=row.transport,
            file_name=row.file_name,
            file_sha256=row.file_sha256,
            note=row.note,
            recorded_us=row.recorded_us,
            actor=row.actor,
            receipts=tuple(came.get(row.id, ())),
        )
        for row in rows
    ]


async def receipt_files(connection: AsyncConnection, submission_id: int) -> list[ReceiptFile]:
    """The files that came back for a submission."""
    rows = await connection.execute(
        sa.select(receipt.c.file_name, receipt.c.file)
        .where(receipt.c.submission_id == submission_id, receipt.c.file.is_not(None))
        .order_by(receipt.c.id)
    )
    return [ReceiptFile(row.file_name, bytes(row.file)) for row in rows]
