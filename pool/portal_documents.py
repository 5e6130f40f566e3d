"""What the portal shows of signed documents, daily reports and income forms, read as plain data.

A page says of a version what anybody would want to compare: its hash, the versions before and behind it, who
signed it and whether that key was in force then, and its place in the transparency log. Nothing of it has to
be believed: each of these lines can be checked with the files that the page offers.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import log_store, report_keys
from pool.clock import microseconds
from pool.documents import Document, find_form, find_report
from pool.report_proofs import leaf_of
from pool.tables import report
from pool.tables_income import form
from pool.tables_report_keys import report_signature
from register.rules import Rules
from reporting.keyring import KeyRing
from reporting.merkle import leaf_hash

PAGE: Final = 50
"""Lines of a list."""
_VERSIONS: Final = 100
"""Versions of one document that are listed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A version in a list; `replaced` tells whether a newer one is there."""

    form: str
    """Empty for a daily report."""
    period: str
    version: int
    sha256: str
    built_at: dt.datetime
    replaced: bool

    @property
    def place(self) -> str:
        """Where a list goes on behind it."""
        return "/".join(one for one in (self.period, self.form, str(self.version)) if one)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature under or beside a document."""

    type: str
    key_id: str
    """Empty for a state signature."""
    at: dt.datetime
    state: str
    """`in_force`, `not_in_force`, `unknown`: the key at that instant; `beside` for a state signature."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the transparency log tells of it."""

    index: int
    leaf_hash: str
    signed: bool
    """Whether a signed checkpoint has it already."""


@dataclass(frozen=True, slots=True)
class Version:
    """Another version of the same document."""

    version: int
    sha256: str
    built_at: dt.datetime


@dataclass(frozen=True, slots=True)
class DocumentView:
    """One version, with what stands around it."""

    document: Document
    told: Mapping[str, Any]
    """What was signed."""
    versions: Sequence[Version]
    """All of them, newest first."""
    signatures: Sequence[Signed]
    place: Place | None
    earlier: str
    """The period before it that has one; empty for none. Likewise `later`."""
    later: str

    @property
    def newest(self) -> bool:
        """Whether no newer version is there."""
        return self.versions[0].version == self.document.version

    @property
    def replaced(self) -> Version | None:
        """The version that it replaces."""
        before = self.document.version - 1
        return next((one for one in self.versions if one.version == before), None)


# Lists


async def list_reports(
    connection: AsyncConnection, rules: Rules, before: tuple[dt.date, int] | None = None
) -> tuple[list[Listed], bool]:
    """A page of daily reports, the newest day first, below a day and version; and whether there are more."""
    newer = report.alias("newer")
    wanted = (
        sa.select(
            sa.literal("").label("form"),
            sa.cast(report.c.day, sa.Text).label("period"),
            report.c.version,
            report.c.sha256,
            report.c.built_at,
            newer.c.id.is_not(None).label("replaced"),
        )
        .outerjoin(newer, newer.c.replaces_sha256 == report.c.sha256)
        .order_by(report.c.day.desc(), report.c.version.desc())
    )
    if before is not None:
        wanted = wanted.where(sa.tuple_(report.c.day, report.c.version) < before)
    return await _listed(connection, rules, wanted)


async def list_forms(
    connection: AsyncConnection, rules: Rules, before: tuple[str, str, int] | None = None
) -> tuple[list[Listed], bool]:
    """A page of income forms, the newest month first, below a month, form and version; and whether more."""
    newer = form.alias("newer")
    columns = (form.c.form, form.c.period, form.c.version, form.c.sha256, form.c.built_at)
    wanted = (
        sa.select(*columns, newer.c.id.is_not(None).label("replaced"))
        .outerjoin(newer, newer.c.replaces_sha256 == form.c.sha256)
        .order_by(form.c.period.desc(), form.c.form.desc(), form.c.version.desc())
    )
    if before is not None:
        wanted = wanted.where(sa.tuple_(form.c.period, form.c.form, form.c.version) < before)
    return await _listed(connection, rules, wanted)


async def _listed(
    connection: AsyncConnection, rules: Rules, wanted: sa.Select[Any]
) -> tuple[list[Listed], bool]:
    lines = [
        Listed(form_, period, version, sha256, rules.local(microseconds(built_at)), replaced)
        for form_, period, version, sha256, built_at, replaced in await connection.execute(
            wanted.limit(PAGE + 1)
        )
    ]
    return lines[:PAGE], len(lines) > PAGE


async def newest_of_day(connection: AsyncConnection, day: dt.date) -> int | None:
    """The newest version of a day's report; None for a day without one."""
    found: int | None = await connection.scalar(
        sa.select(sa.func.max(report.c.version)).where(report.c.day == day)
    )
    return found


async def newest_form(connection: AsyncConnection, name: str, period: str) -> int | None:
    """The newest version of a month's form; None for a month without one."""
    chosen = sa.and_(form.c.form == name, form.c.period == period)
    found: int | None = await connection.scalar(sa.select(sa.func.max(form.c.version)).where(chosen))
    return found


async def count_reports(connection: AsyncConnection, rules: Rules) -> tuple[int, int, Listed | None]:
    """How many days were reported, in how many versions, and the newest of the latest day."""
    days, versions = (
        await connection.execute(
            sa.select(sa.func.count(report.c.day.distinct()), sa.func.count(report.c.id))
        )
    ).one()
    wanted = sa.select(report).order_by(report.c.day.desc(), report.c.version.desc()).limit(1)
    row = (await connection.execute(wanted)).one_or_none()
    if row is None:
        return 0, 0, None
    built_at = rules.local(microseconds(row.built_at))
    newest = Listed("", row.day.isoformat(), row.version, row.sha256, built_at, replaced=False)
    return days, versions, newest


# One version


async def view_report(connection: AsyncConnection, rules: Rules, day: dt.date, version: int) -> DocumentView:
    """A daily report; raises DocumentError."""
    document = await find_report(connection, day, version)
    versions = await _versions(connection, rules, report, report.c.day == day)
    earlier, later = await _around(connection, report.c.day, day)
    return await _view(connection, rules, document, versions, (earlier, later))


async def view_form(
    connection: AsyncConnection, rules: Rules, name: str, period: str, version: int
) -> DocumentView:
    """An income form; raises DocumentError."""
    document = await find_form(connection, name, period, version)
    versions = await _versions(connection, rules, form, sa.and_(form.c.form == name, form.c.period == period))
    around = await _around(connection, form.c.period, period, form.c.form == name)
    return await _view(connection, rules, document, versions, around)


async def _view(
    connection: AsyncConnection,
    rules: Rules,
    document: Document,
    versions: Sequence[Version],
    around: tuple[str, str],
) -> DocumentView:
    envelope = json.loads(document.envelope)
    told = envelope["report"]
    ring = await report_keys.read(connection)
    at = dt.datetime.fromisoformat(told["generated_at"])
    signatures = [_signed(one, ring, at) for one in envelope["signatures"]]
    beside = await connection.scalars(
        sa.select(report_signature.c.signed_us)
        .where(report_signature.c.report_sha256 == document.sha256)
        .order_by(report_signature.c.id)
    )
    signatures += [Signed("cms", "", rules.local(at_us), "beside") for at_us in beside]
    return DocumentView(
        document=document,
        told=told,
        versions=versions,
        signatures=signatures,
        place=await place_of(connection, document.sha256, "form" if document.form else "report"),
        earlier=around[0],
        later=around[1],
    )


def _signed(signature: Mapping[str, Any], ring: KeyRing, at: dt.datetime) -> Signed:
    key = ring.keys.get(signature["key_id"])
    state = "unknown" if key is None else "not_in_force" if key.refusal(at) else "in_force"
    return Signed(signature["type"], signature["key_id"], at, state)


async def _versions(
    connection: AsyncConnection, rules: Rules, table: sa.Table, chosen: sa.ColumnElement[bool]
) -> list[Version]:
    wanted = sa.select(table.c.version, table.c.sha256, table.c.built_at).where(chosen)
    rows = await connection.execute(wanted.order_by(table.c.version.desc()).limit(_VERSIONS))
    return [Version(row.version, row.sha256, rules.local(microseconds(row.built_at))) for row in rows]


async def _around(
    connection: AsyncConnection, column: sa.Column[Any], value: Any, *chosen: sa.ColumnElement[bool]
) -> tuple[str, str]:
    """The nearest value before and behind one, each empty where there is none."""
    before = sa.select(sa.func.max(column)).where(column < value, *chosen).scalar_subquery()
    behind = sa.select(sa.func.min(column)).where(column > value, *chosen).scalar_subquery()
    found = (await connection.execute(sa.select(before, behind))).one()
    return str(found[0] or ""), str(found[1] or "")


async def place_of(connection: AsyncConnection, sha256: str, kind: str) -> Place | None:
    """Where the log tells of a document; None for one that was made before there was a log."""
    leaf = await leaf_of(connection, sha256, kind)
    if leaf is None:
        return None
    signed = await log_store.newest_checkpoint(connection)
    return Place(
        index=leaf.index,
        leaf_hash=leaf_hash(bytes(leaf.data)).hex(),
        signed=signed is not None and signed.checkpoint.size > leaf.index,
    )
