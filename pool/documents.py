"""Signed documents as they are kept, forms and daily reports alike: found by what they are of."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.tables import report
from pool.tables_income import form


class DocumentError(ValueError):
    """There is no such document, or no such file of it. The message says what there is."""


class Document(NamedTuple):
    """One version of a form (of a month), or of a daily report (of a day: `form` is empty)."""

    sha256: str
    form: str
    period: str
    version: int
    built_at: dt.datetime
    envelope: bytes

    @property
    def name(self) -> str:
        """In words."""
        what = f"form {self.form}" if self.form else "daily report"
        return f"{what} of {self.period}, version {self.version}"

    @property
    def told(self) -> dict[str, Any]:
        """What was signed."""
        told: dict[str, Any] = json.loads(self.envelope)["report"]
        return told

    @property
    def final(self) -> bool:
        """Whether it may call itself final: all columns of its form are known (Q-09), its day was over."""
        return bool(self.told["final" if self.form else "day_complete"])


async def find_form(
    connection: AsyncConnection, name: str, period: str, version: int | None = None
) -> Document:
    """A form of a month, the newest version unless one is named; raises DocumentError."""
    wanted = sa.select(form).where(form.c.form == name, form.c.period == period)
    row = await _newest(connection, wanted, form.c.version, version)
    if row is None:
        raise DocumentError(
            f"form {name} of {period}: {_which(version)} was made; `dmpool income list` shows all forms, "
            f"`dmpool income build --month {period}` makes one"
        )
    return Document(row.sha256, row.form, row.period, row.version, row.built_at, bytes(row.envelope))


async def find_report(connection: AsyncConnection, day: dt.date, version: int | None = None) -> Document:
    """A daily report, the newest version unless one is named; raises DocumentError."""
    wanted = sa.select(report).where(report.c.day == day)
    row = await _newest(connection, wanted, report.c.version, version)
    if row is None:
        raise DocumentError(
            f"daily report of {day}: {_which(version)} was made; `dmpool reports list` shows all reports"
        )
    return Document(row.sha256, "", day.isoformat(), row.version, row.built_at, bytes(row.envelope))


async def _newest(
    connection: AsyncConnection, wanted: sa.Select[Any], column: sa.Column[int], version: int | None
) -> Any | None:
    if version is not None:
        wanted = wanted.where(column == version)
    return (await connection.execute(wanted.order_by(column.desc()).limit(1))).one_or_none()


def _which(version: int | None) -> str:
    return "none" if version is None else f"no version {version}"
