"""`dmpool reports pdf`: daily reports and monthly forms on paper, in Kazakh, Russian and English."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from pool.cli_actor import mistakes
from pool.cli_options import ConfigOption
from pool.cli_view import put_file
from pool.config import load
from pool.documents import Document, DocumentError, find_form, find_report
from pool.report_pdf import pdf_name, pdf_of
from pool.resources import command_database, rules_of
from register.miner import LANGUAGES, Language
from register.rules import Rules
from reporting.income import forms_of, month

DateOption = Annotated[
    dt.datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="The daily report of this day in Kazakhstan time."),
]
MonthOption = Annotated[
    str | None, typer.Option("--month", help="The monthly forms of a month like 2026-11.")
]
FormOption = Annotated[str | None, typer.Option("--form", help="Of a month: which form; else all in force.")]
VersionOption = Annotated[int | None, typer.Option(min=1, help="Which version; else the newest.")]
LanguageOption = Annotated[
    list[str] | None, typer.Option("--language", "-l", help="kk, ru or en, as often as you like; else all.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Write into this directory.")]


def pdf(
    date: DateOption = None,
    period: MonthOption = None,
    form: FormOption = None,
    version: VersionOption = None,
    languages: LanguageOption = None,
    out: OutOption = Path(),
    config: ConfigOption = None,
) -> None:
    """Write a daily report, or the forms of a month, as PDF, with hash and log entry on each page."""
    settings = load(config)
    rules = rules_of(settings)

    async def chosen(connection: AsyncConnection) -> list[Document]:
        if date is not None:
            return [await find_report(connection, date.date(), version)]
        return [await find_form(connection, name, period or "", version) for name in names]

    async def work() -> list[tuple[str, bytes]]:
        async with command_database(settings) as engine, engine.connect() as connection:
            return [
                (pdf_name(one, language), await pdf_of(connection, one, language, settings))
                for one in await chosen(connection)
                for language in _languages(languages)
            ]

    with mistakes():
        _languages(languages)
        names = _names(rules, date, period, form)
        for name, content in uvloop.run(work()):
            put_file(out, name, content)


def _languages(wanted: list[str] | None) -> list[Language]:
    unknown = [one for one in wanted or () if one not in LANGUAGES]
    if unknown:
        raise DocumentError(f"--language {unknown[0][:20]!r} must be one of {', '.join(LANGUAGES)}")
    return [one for one in LANGUAGES if not wanted or one in wanted]


def _names(rules: Rules, date: dt.datetime | None, period: str | None, form: str | None) -> list[str]:
    """The forms that are wanted; none for a daily report."""
    if (date is None) == (period is None):
        raise DocumentError("name a day by --date, or a month by --month")
    if period is None:
        if form is not None:
            raise DocumentError("--form is of a month: name it by --month")
        return []
    in_force = [rule.text("form") for rule in forms_of(rules, month(period))]
    names = [name for name in in_force if form in (None, name)]
    if not names:
        raise DocumentError(
            f"form {form or ''} of {period}: none is in force; in force are: {', '.join(in_force) or 'none'}"
        )
    return names
