"""The monthly income form as tables: who tells what, the form itself, and the reports it is built from.

The form has the columns that its dated rule states. In Russian its headings stand letter by letter; in Kazakh
and English a translation stands first and the Russian heading with it, since it is the only one that the form
has. A heading that a rule was given later, without a translation here, stands in Russian alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from register.catalogue import messages
from register.form_columns import GROUP, FormColumn
from reporting.report_tables_daily import addressee_rows, licence_and_date
from reporting.report_tables_shape import Column, Document, Kind, Section
from reporting.report_tables_words import Cells, Json, Words, satoshis

_KINDS: Final[Mapping[str, Kind]] = {
    "row_no": Kind.NUMBER,
    "wallet_address": Kind.CODE,
    "quantity": Kind.NUMBER,
    "commission_quantity": Kind.NUMBER,
}
_COMMISSION: Final = "commission_"
"""What the fields of columns below the heading "commission" begin with."""


def document(form: Json, words: Words) -> Document:
    """See `reporting.report_tables`."""
    pool, month = form["pool"], words.month(form["first_day"])
    rule = form["form_rule"]["rule"]
    title = messages(words.language).get(f"report.title.{rule}") or words.text("title.income")
    return Document(
        language=words.language,
        reference=f"kz-dmp-income:{pool['bin']}:{form['form']}:{form['period']}:{form['version']}",
        title=title,
        subtitle=(
            pool["name"],
            words.text("subtitle.income", month=month, form=form["form"], version=form["version"]),
        ),
        notice="" if form["final"] else words.text("notice.not_final"),
        made_at=form["generated_at"],
        sections=[
            _form(form, words),
            _totals(form["totals"], words),
            _rows(form, words),
            _by_miner(form, words),
            _reports(form, words),
        ],
    )


def _form(form: Json, words: Words) -> Section:
    pool, rule = form["pool"], form["form_rule"]
    issued = pool["accreditation_date"]
    rows = [
        ("form", form["form"]),
        ("form_source", rule["source"]),
        ("form_confidence", words.word("confidence", rule["confidence"])),
        ("period", words.month(form["first_day"])),
        ("days", f"{words.day(form['first_day'])} – {words.day(form['last_day'])}"),
        ("submission_number", words.number(form["submission_number"])),
        ("made_at", words.moment(form["generated_at"])),
        ("software", form["software_version"]),
        ("pool_name", pool["name"]),
        ("pool_bin", pool["bin"]),
        ("accreditation_number", pool["accreditation_number"] or words.text("none_in_force")),
        *([("accreditation_issued", words.day(issued))] if issued else []),
        *addressee_rows(form["addressees"], words),
    ]
    if form["replaces_sha256"]:
        rows += [("replaces", form["replaces_sha256"]), ("reason", form["correction_reason"] or "")]
    return words.facts("form", rows)


def _totals(totals: Json, words: Words) -> Section:
    rows = [
        ("rows", words.number(totals["rows"])),
        ("miners_distributed", words.number(totals["miners"])),
        ("distributions", words.number(totals["payments"])),
        ("distributed", words.amount(totals["quantity"])),
        ("distributed_commission", words.amount(totals["commission_quantity"])),
    ]
    return words.facts("month", rows, kind=Kind.NUMBER)


# The form itself


def _rows(form: Json, words: Words) -> Section:
    told = [FormColumn(**column) for column in form["columns"]]
    fields = [column.field for column in told if column.field != GROUP]
    cells = _cells(form["pool"], words)
    return Section(
        id="rows",
        title=words.text("section.rows"),
        note="",
        columns=_columns(told, words),
        rows=tuple(tuple(cells[field](row) for field in fields) for row in form["rows"]),
        total=_sums(fields, form["totals"], words) if form["rows"] else (),
        empty=words.text("none"),
    )


def _columns(told: Sequence[FormColumn], words: Words) -> tuple[Column, ...]:
    groups = {one.number: one for one in told if one.field == GROUP}
    columns = []
    for one in told:
        if one.field == GROUP:
            continue
        group = groups.get(one.number.partition(".")[0])
        above = ("", "") if group is None else _above(one, group, words)
        heading, original = _heading(one.field, one.heading, words)
        kind = _KINDS.get(one.field, Kind.TEXT)
        columns.append(Column(heading, kind, one.number, original, *above))
    return tuple(columns)


def _above(column: FormColumn, group: FormColumn, words: Words) -> tuple[str, str]:
    """The heading above a column; the one of the commission is known, another stands as the rule has it."""
    if column.field.startswith(_COMMISSION):
        return _heading(_COMMISSION + GROUP, group.heading, words)
    return group.heading, ""


def _heading(field: str, russian: str, words: Words) -> tuple[str, str]:
    """A heading as it is shown, and the form's own where that is another."""
    if words.language == "ru":
        return russian, ""
    return words.text(f"form.{field}"), russian


def _cells(pool: Json, words: Words) -> dict[str, Callable[[Json], str]]:
    """What stands in a column, by its field (`register.form_columns.FIELDS`)."""
    return {
        "row_no": lambda row: str(row["row_no"]),
        "miner_name": lambda row: row["miner_name"],
        "miner_bin": lambda row: row["miner_bin"],
        "miner_and_pool_names": lambda row: f"{row['miner_name']}; {pool['name']}",
        "miner_and_pool_bins": lambda row: f"{row['miner_bin']}; {pool['bin']}",
        "licence_number": lambda row: row["licence_number"],
        "licence_issued_on": lambda row: words.day(row["licence_issued_on"]),
        "licence_number_and_date": lambda row: licence_and_date(row, words),
        "wallet_address": lambda row: row["wallet_address"],
        "distributed_on": lambda row: words.day(row["distributed_on"]),
        "asset": lambda row: row["asset"],
        "quantity": lambda row: words.amount(row["quantity"]),
        "commission_asset": lambda row: row["commission_asset"],
        "commission_quantity": lambda row: words.amount(row["commission_quantity"]),
    }


def _sums(fields: Sequence[str], totals: Json, words: Words) -> tuple[str, ...]:
    """Under the columns of amounts their sums; nothing where the form has none of them."""
    sums = {
        field: words.amount(totals[field]) for field in ("quantity", "commission_quantity") if field in fields
    }
    if not sums:
        return ()
    first = next((field for field in fields if field not in ("row_no", *sums)), "")
    return tuple(words.text("total") if field == first else sums.get(field, "") for field in fields)


# Beside the form


def _by_miner(form: Json, words: Words) -> Section:
    """What each miner got in the month: the form's rows added up."""
    sums: dict[int, Json] = {}
    for row in form["rows"]:
        of_miner = sums.setdefault(
            row["miner_id"],
            {"name": row["miner_name"], "bin": row["miner_bin"], "payments": 0, "quantity": 0, "fee": 0},
        )
        of_miner["payments"] += len(row["payments"])
        of_miner["quantity"] += satoshis(row["quantity"])
        of_miner["fee"] += satoshis(row["commission_quantity"])
    cells = [
        Cells("miner", lambda row: row["name"]),
        Cells("bin", lambda row: row["bin"]),
        Cells("payments", lambda row: words.number(row["payments"]), Kind.NUMBER),
        Cells("quantity", lambda row: words.bitcoin(row["quantity"]), Kind.NUMBER),
        Cells("commission", lambda row: words.bitcoin(row["fee"]), Kind.NUMBER),
    ]
    totals = form["totals"]
    return words.table(
        "by_miner",
        cells,
        [sums[id_] for id_ in sorted(sums)],
        note=words.text("note.by_miner"),
        total=[
            words.number(totals["payments"]),
            words.amount(totals["quantity"]),
            words.amount(totals["commission_quantity"]),
        ],
    )


def _reports(form: Json, words: Words) -> Section:
    cells = [
        Cells("day", lambda row: words.day(row["day"])),
        Cells("version", lambda row: words.number(row["version"]), Kind.NUMBER),
        Cells("sha256", lambda row: row["sha256"], Kind.CODE),
    ]
    return words.table("daily_reports", cells, form["daily_reports"], note=words.text("note.daily_reports"))
