"""`dmpool income`: the monthly forms, built, listed, written to files; the annex in tenge; what is due
when.

A form that is not final says so in every file and in its name, and `--final` refuses it. Files are named
by this program; a file that is there already is replaced only by the same bytes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import income, prices_store
from pool.cli_actor import mistakes
from pool.cli_options import ConfigOption, complain
from pool.cli_view import put_file, show, told
from pool.clock import microseconds, unix_microseconds
from pool.config import load
from pool.documents import Document, DocumentError, find_form
from pool.exports import FORMATS, exported
from pool.income import Listed
from pool.income_due import read_dues
from pool.reports import DEFAULT_REASON
from pool.resources import command_database, publisher, rules_of
from register.rules import Row, Rules
from reporting import annex_files
from reporting.annex import annex as annex_of
from reporting.deadlines import Due, State
from reporting.income import FormError, forms_of, month
from reporting.income_files import file_name
from reporting.signing import encode

cli = typer.Typer(
    no_args_is_help=True, help="Monthly income forms for the authorised body and the tax authority."
)

MonthOption = Annotated[str, typer.Option("--month", help="Like 2026-11.")]
FormOption = Annotated[
    str | None, typer.Option("--form", help="Which form; else all in force in that month.")
]
VersionOption = Annotated[int | None, typer.Option(min=1, help="Which version; else the newest.")]
FormatOption = Annotated[str, typer.Option("--format", help="xlsx, csv or json.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Write into this directory.")]
FinalOption = Annotated[bool, typer.Option("--final", help="Refuse a form whose columns are not all known.")]


@cli.command()
def build(
    period: MonthOption,
    form: FormOption = None,
    final: FinalOption = False,
    reason: Annotated[str, typer.Option(help="Why, when this corrects an earlier version.")] = DEFAULT_REASON,
    config: ConfigOption = None,
) -> None:
    """Build and sign the forms of a month that is over; the same facts give the same form again."""
    settings = load(config)
    rules = rules_of(settings)

    async def work(chosen: Sequence[Row]) -> list[Document]:
        async with command_database(settings) as engine:
            by = publisher(settings, rules, wanted.last)
            return [
                await income.build_form(engine, wanted, rule, by, unix_microseconds(), reason=reason)
                for rule in chosen
            ]

    with mistakes():
        wanted = month(period)
        chosen = _chosen(rules, period, form)
        if final:
            _require_final([(rule.text("form"), rule.truth("complete")) for rule in chosen])
    try:
        made = uvloop.run(work(chosen))
    except FormError as error:
        complain(str(error))
        raise SystemExit(1) from None
    for one in made:
        told(
            f"{one.name}: sha256 {one.sha256}{'' if one.final else ', NOT FINAL: not all columns are known'}"
        )
        bare = [row for row in one.told["rows"] if not (row["licence_number"] and row["licence_issued_on"])]
        if bare:
            accounts = ", ".join(sorted({row["account"] for row in bare}))
            told(
                f"{one.name}: no licence, or no day of one, stands in rows of {accounts}; look at them first"
            )


@cli.command("list")
def list_(config: ConfigOption = None) -> None:
    """All forms, newest last."""
    settings = load(config)
    rules = rules_of(settings)

    async def read() -> list[Listed]:
        async with command_database(settings) as engine:
            return await income.list_forms(engine)

    show(
        ("form", "month", "version", "sha256", "built"),
        [
            (one.form, one.period, str(one.version), one.sha256, _clock(one, rules))
            for one in uvloop.run(read())
        ],
    )


def _clock(one: Listed, rules: Rules) -> str:
    return f"{rules.local(microseconds(one.built_at)):%Y-%m-%d %H:%M:%S}"


@cli.command("show")
def show_(
    period: MonthOption,
    form: FormOption = None,
    version: VersionOption = None,
    kind: FormatOption = "xlsx",
    out: OutOption = Path(),
    final: FinalOption = False,
    config: ConfigOption = None,
) -> None:
    """Write the forms of a month to files; JSON is the signed document itself."""
    settings = load(config)

    async def read(names: Sequence[str]) -> list[Document]:
        async with command_database(settings) as engine, engine.connect() as connection:
            return [await find_form(connection, name, period, version) for name in names]

    with mistakes():
        _require_format(kind)
        chosen = _chosen(rules_of(settings), period, form)
        found = uvloop.run(read([rule.text("form") for rule in chosen]))
        if final:
            _require_final([(one.form, one.final) for one in found])
        for one in found:
            put_file(out, *exported(one, kind))


@cli.command()
def annex(
    period: MonthOption,
    form: FormOption = None,
    version: VersionOption = None,
    kind: FormatOption = "xlsx",
    out: OutOption = Path(),
    config: ConfigOption = None,
) -> None:
    """Write the accountants' annex in tenge, of the first form in force; no part of the form."""
    settings = load(config)
    rules = rules_of(settings)

    async def read(engine: AsyncEngine, name: str) -> tuple[str, bytes, int]:
        async with engine.connect() as connection:
            document = await find_form(connection, name, period, version)
            table = await prices_store.read_table(connection)
        made = annex_of(document.told, document.sha256, table, rules)
        match kind:
            case "xlsx":
                content = annex_files.xlsx(made, document.told["generated_at"])
            case "csv":
                content = annex_files.csv(made)
            case _:
                content = encode(made)
        missing = made["totals"]["rows_without_value"]
        return file_name(document.told, kind, what="-annex"), content, missing

    async def work(name: str) -> tuple[str, bytes, int]:
        async with command_database(settings) as engine:
            return await read(engine, name)

    with mistakes():
        _require_format(kind)
        rule = _chosen(rules, period, form)[0]
        name, content, missing = uvloop.run(work(rule.text("form")))
        put_file(out, name, content)
    if missing:
        complain(
            f"{missing} rows have no value in tenge; the notes of the annex say which values are missing"
        )
        raise SystemExit(1)


@cli.command()
def due(
    config: ConfigOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what was submitted.")] = False,
) -> None:
    """Which form is due to whom, by when; ends with exit code 1 when one is late."""
    settings = load(config)
    rules = rules_of(settings)
    today = rules.day_of(unix_microseconds())

    async def read() -> list[Due]:
        async with command_database(settings) as engine, engine.connect() as connection:
            return await read_dues(connection, rules, today)

    found = uvloop.run(read())
    show(
        ("month", "form", "addressee", "deadline", "days", "state", "now"),
        [
            (
                one.period,
                one.form,
                one.addressee,
                str(one.deadline),
                str(one.days_left(today)) if one.open else "",
                one.state.value,
                _urgency(one, today),
            )
            for one in found
            if everything or one.state is not State.SUBMITTED
        ],
    )
    if any(one.late(today) for one in found):
        raise SystemExit(1)


def _urgency(one: Due, today: dt.date) -> str:
    if one.late(today):
        return "late"
    return "see to it" if one.reminded(today) or one.corrected else ""


def _chosen(rules: Rules, period: str, form: str | None) -> list[Row]:
    """The forms in force in a month, or the one that is named; raises FormError."""
    found = forms_of(rules, month(period))
    names = [rule.text("form") for rule in found]
    if form is not None:
        found = [rule for rule in found if rule.text("form") == form]
    if not found:
        raise FormError(
            f"form {form or ''} of {period}: none is in force; in force are: {', '.join(names) or 'none'}"
        )
    return found


def _require_final(forms: Sequence[tuple[str, bool]]) -> None:
    for name, final in forms:
        if not final:
            raise FormError(
                f"form {name}: not all of its columns are known, so it is not final; enter them from the "
                f"order itself in rules_file, with complete = true, or name another --form"
            )


def _require_format(kind: str) -> None:
    if kind not in FORMATS:
        raise DocumentError(f"--format {kind[:20]!r} must be one of {', '.join(FORMATS)}")
