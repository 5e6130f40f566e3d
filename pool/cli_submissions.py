"""`dmpool submissions`: which version of a form or daily report went to whom, and what came back (O-40).

`send` gives an export to the transport that the form's dated rule names, and records it; `record` is for
what a person sent by other means. Neither can be undone or changed: what was sent was sent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
import uvloop
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import submissions
from pool.cli_actor import TokenOption, mistakes, who_acts
from pool.cli_options import ConfigOption
from pool.cli_view import beginning, show, show_facts, told
from pool.clock import microseconds, unix_microseconds
from pool.config import Settings, load
from pool.documents import Document, DocumentError, find_form, find_report
from pool.exports import exported
from pool.resources import command_database, rules_of
from pool.submissions import BY_HAND, FILE_LIMIT, ReceiptFile, Sending, Submission, SubmissionError
from pool.transport import Export, transport_of
from register.person import Actor
from register.rules import Rules
from reporting.income import FormError, forms_of, month

cli = typer.Typer(no_args_is_help=True, help="What was submitted to the two addressees, and the receipts.")

_Result = TypeVar("_Result")
_NOT_FINAL = {
    True: "not all columns of its form are known; enter them in rules_file",
    False: "it was made before its day was over",
}
"""Why a form, and why a report, is not final."""
MonthOption = Annotated[str | None, typer.Option("--month", help="Of a form, like 2026-11.")]
FormOption = Annotated[str | None, typer.Option("--form", help="Which form; needs --month.")]
ReportOption = Annotated[
    dt.datetime | None, typer.Option("--report", formats=["%Y-%m-%d"], help="The daily report of this day.")
]
VersionOption = Annotated[int | None, typer.Option(min=1, help="Which version; else the newest.")]
ToOption = Annotated[str, typer.Option("--to", help="authorised_body or tax_authority.")]
NoteOption = Annotated[str, typer.Option("--note", help="Anything worth keeping with it.")]


@cli.command()
def send(
    to: ToOption,
    period: MonthOption = None,
    form: FormOption = None,
    day: ReportOption = None,
    version: VersionOption = None,
    kind: Annotated[str, typer.Option("--format", help="Of a form: xlsx, csv or json.")] = "xlsx",
    note: NoteOption = "",
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Give an export to the transport of the form, and record it. With "file": into data_dir/outbox."""

    async def work(connection: AsyncConnection, settings: Settings, rules: Rules, actor: Actor) -> str:
        document = await _find(connection, period, form, day, version)
        if not document.final:
            raise SubmissionError(
                f"{document.name}: it is not final, since {_NOT_FINAL[bool(document.form)]}; build it again"
            )
        await submissions.require_newest(connection, document)
        now_us = unix_microseconds()
        sending = Sending(document, to, now_us, note)
        await submissions.require_possible(connection, sending, rules, actor, now_us)
        name, content = exported(document, kind if document.form else "json")
        transport = transport_of(_way(document, rules), settings.data_dir / "outbox")
        delivered = transport.deliver(Export(to, name, content))
        number = await submissions.record(connection, sending, delivered, rules, actor, now_us)
        return f"submission {number}: {document.name} to {to}: {delivered.file_name}"

    told(_acting(config, token_file, work))


@cli.command()
def record(
    to: ToOption,
    sent: Annotated[str, typer.Option("--sent", help="When: a day, or an ISO timestamp.")],
    period: MonthOption = None,
    form: FormOption = None,
    day: ReportOption = None,
    version: VersionOption = None,
    note: NoteOption = "",
    receipt: Annotated[str, typer.Option("--receipt", help="What came back, in words or a number.")] = "",
    receipt_file: Annotated[Path | None, typer.Option("--receipt-file", help="What came back.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Record what a person sent to an addressee."""

    async def work(connection: AsyncConnection, settings: Settings, rules: Rules, actor: Actor) -> str:
        document = await _find(connection, period, form, day, version)
        now_us = unix_microseconds()
        sent_us = beginning(sent, rules)
        if version is None:
            _require_one_of_day(document, sent_us, rules)
        sending = Sending(document, to, sent_us, note)
        number = await submissions.record(connection, sending, BY_HAND, rules, actor, now_us)
        if receipt or receipt_file is not None:
            file = _read(receipt_file)
            await submissions.add_receipt(connection, number, receipt, file, actor, now_us)
        return f"submission {number}: {document.name} to {to}, recorded"

    told(_acting(config, token_file, work))


@cli.command()
def receipt(
    submission: int,
    text: Annotated[str, typer.Option("--text", help="In words, or a number.")] = "",
    file: Annotated[Path | None, typer.Option("--file", help="What came back.")] = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Record what came back for a submission."""

    async def work(connection: AsyncConnection, settings: Settings, rules: Rules, actor: Actor) -> str:
        now_us = unix_microseconds()
        await submissions.add_receipt(connection, submission, text, _read(file), actor, now_us)
        return f"submission {submission}: receipt recorded"

    told(_acting(config, token_file, work))


@cli.command("list")
def list_(config: ConfigOption = None) -> None:
    """All submissions, newest last."""
    settings = load(config)
    rules = rules_of(settings)
    show(
        ("number", "what", "version", "to", "sent", "how", "receipts", "by", "note"),
        [
            (
                str(one.id),
                f"{one.form or 'daily report'} {one.period}",
                str(one.version),
                one.addressee,
                _clock(one.sent_us, rules),
                one.transport,
                str(len(one.receipts)),
                one.actor,
                one.note,
            )
            for one in uvloop.run(_all(settings))
        ],
    )


@cli.command("show")
def show_(
    submission: int,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the receipts into this directory.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """All about one submission."""
    settings = load(config)
    rules = rules_of(settings)

    async def files() -> list[ReceiptFile]:
        async with command_database(settings) as engine, engine.connect() as connection:
            return await submissions.receipt_files(connection, submission)

    with mistakes():
        found = [one for one in uvloop.run(_all(settings)) if one.id == submission]
        if not found:
            raise SubmissionError(f"submission {submission}: none has this number; `dmpool submissions list`")
        _show(found[0], rules)
        for file in uvloop.run(files()) if save is not None else ():
            _save(save or Path(), file)


def _show(one: Submission, rules: Rules) -> None:
    show_facts(
        [
            ("what", f"{one.form or 'daily report'} of {one.period}, version {one.version}"),
            ("sha256", one.sha256),
            ("to", f"{one.addressee}: {one.addressee_name}"),
            ("sent", _clock(one.sent_us, rules)),
            ("how", one.transport),
            ("file", f"{one.file_name}, sha256 {one.file_sha256}" if one.file_name else "none"),
            ("recorded", f"{_clock(one.recorded_us, rules)} by {one.actor}"),
            ("note", one.note),
        ]
    )
    show(
        ("receipt", "file", "sha256", "recorded", "by"),
        [
            (each.text, each.file_name, each.file_sha256, _clock(each.recorded_us, rules), each.actor)
            for each in one.receipts
        ],
        "receipts",
    )


def _clock(at_us: int, rules: Rules) -> str:
    return f"{rules.local(at_us):%Y-%m-%d %H:%M:%S}"


async def _all(settings: Settings) -> list[Submission]:
    async with command_database(settings) as engine, engine.connect() as connection:
        return await submissions.list_submissions(connection)


def _acting(
    config: Path | None,
    token_file: Path | None,
    work: Callable[[AsyncConnection, Settings, Rules, Actor], Awaitable[_Result]],
) -> _Result:
    """One transaction by whoever acts; ends the program when it cannot be."""
    settings = load(config)
    rules = rules_of(settings)

    async def run() -> _Result:
        async with command_database(settings) as engine:
            actor = await who_acts(engine, token_file or settings.compliance.token_file)
            async with engine.begin() as connection:
                return await work(connection, settings, rules, actor)

    with mistakes():
        return uvloop.run(run())


async def _find(
    connection: AsyncConnection,
    period: str | None,
    form: str | None,
    day: dt.datetime | None,
    version: int | None,
) -> Document:
    """The document that options name; raises DocumentError."""
    if day is not None and period is None and form is None:
        return await find_report(connection, day.date(), version)
    if day is not None or period is None or form is None:
        raise DocumentError("name one document: --month and --form, or --report")
    return await find_form(connection, form, month(period).text, version)


def _require_one_of_day(document: Document, sent_us: int, rules: Rules) -> None:
    """Raises SubmissionError for a correction made on the day, given without a time, on which it was sent.

    The version that it replaces may be the one that went out on that day.
    """
    made_on = rules.day_of(microseconds(document.built_at))
    if document.version > 1 and sent_us == rules.day_bounds(made_on)[0]:
        raise SubmissionError(
            f"{document.name}: it was made on {made_on}, the day on which something was sent; say which "
            f"version that was by --version, or when it was sent"
        )


def _way(document: Document, rules: Rules) -> str:
    """The transport of a document by the rule of its form; daily reports go by file."""
    if not document.form:
        return "file"
    for rule in forms_of(rules, month(document.period)):
        if rule.text("form") == document.form:
            return rule.text("transport")
    raise FormError(f"{document.name}: the rules of that month have no such form any more")


def _read(path: Path | None) -> ReceiptFile | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return ReceiptFile(path.name, file.read(FILE_LIMIT + 1))
    except OSError as error:
        raise SubmissionError(f"{path}: {error.strerror}; name a file that can be read") from error


def _save(directory: Path, file: ReceiptFile) -> None:
    # A name that came from elsewhere leads nowhere else.
    path = directory / Path(file.name).name
    try:
        with path.open("xb") as into:
            into.write(file.content)
    except OSError as error:
        raise SubmissionError(f"{path}: {error.strerror}; name another --save") from error
    told(str(path))
