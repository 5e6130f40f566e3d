"""An income form as files for people and portals: XLSX and CSV, out of the signed document alone.

The columns and headings are the document's own; nothing is added to the table. Every cell is a text, so
that twelve digits stay twelve digits and eight decimals eight. The same document gives the same bytes. A
form that is not final says so in its first line, on every page and in its name.
"""

from __future__ import annotations

import datetime as dt
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from register.form_columns import GROUP, FormColumn
from reporting.csv_text import csv_bytes

Json = Mapping[str, Any]
NOT_FINAL: Final = "НЕ ОКОНЧАТЕЛЬНО: известны не все графы этой формы, представлять ее как полную нельзя"
"""First line of a form whose columns are not all known (Q-09)."""
FONT: Final = {"font_name": "Times New Roman", "font_size": 10}
A4: Final = 9
_WIDTHS: Final = {
    "row_no": 10,
    "miner_name": 36,
    "miner_bin": 24,
    "miner_and_pool_names": 36,
    "miner_and_pool_bins": 24,
    "licence_number": 22,
    "licence_issued_on": 18,
    "licence_number_and_date": 26,
    "wallet_address": 48,
    "distributed_on": 18,
    "asset": 20,
    "quantity": 20,
    "commission_asset": 20,
    "commission_quantity": 18,
}
"""Of each field, in characters."""
_LINE_HEIGHT: Final = 13
_SPARE: Final = 3
"""Characters of a column that are left free: fonts differ from machine to machine."""


def _licence(row: Json, pool: Json) -> str:
    if not row["licence_number"]:
        return ""
    issued = row["licence_issued_on"]
    return f"{row['licence_number']} от {dotted(issued)}" if issued else str(row["licence_number"])


CELLS: Final[Mapping[str, Callable[[Json, Json], str]]] = {
    "row_no": lambda row, pool: str(row["row_no"]),
    "miner_name": lambda row, pool: row["miner_name"],
    "miner_bin": lambda row, pool: row["miner_bin"],
    "miner_and_pool_names": lambda row, pool: f"{row['miner_name']}; {pool['name']}",
    "miner_and_pool_bins": lambda row, pool: f"{row['miner_bin']}; {pool['bin']}",
    "licence_number": lambda row, pool: row["licence_number"],
    "licence_issued_on": lambda row, pool: dotted(row["licence_issued_on"]),
    "licence_number_and_date": _licence,
    "wallet_address": lambda row, pool: row["wallet_address"],
    "distributed_on": lambda row, pool: dotted(row["distributed_on"]),
    "asset": lambda row, pool: row["asset"],
    "quantity": lambda row, pool: row["quantity"],
    "commission_asset": lambda row, pool: row["commission_asset"],
    "commission_quantity": lambda row, pool: row["commission_quantity"],
}
"""What stands in a column, by its field (`register.form_columns.FIELDS`), of a row and the pool."""


def dotted(day: str | None) -> str:
    """2026-11-24 as 24.11.2026, and nothing as nothing."""
    return f"{dt.date.fromisoformat(day):%d.%m.%Y}" if day else ""


def file_name(document: Json, suffix: str, *, what: str = "") -> str:
    """The name of a file of a form: form, period, version, and whether it is not final."""
    form = re.sub(r"[^A-Za-z0-9._-]", "_", document["form"])
    mark = "" if document["final"] else "-NOT-FINAL"
    return f"income-{form}-{document['period']}-v{document['version']}{what}{mark}.{suffix}"


def columns_of(document: Json) -> list[FormColumn]:
    """The form's columns, headings of groups among them."""
    return [FormColumn(**column) for column in document["columns"]]


def table(document: Json) -> list[list[str]]:
    """The rows of the form as texts, without headings."""
    fields = [column.field for column in columns_of(document) if column.field != GROUP]
    return [[CELLS[field](row, document["pool"]) for field in fields] for row in document["rows"]]


def csv(document: Json) -> bytes:
    """The form as CSV. The heading of a group stands before those of its columns, parted by a colon."""
    headings, group = [], ""
    for column in columns_of(document):
        if column.field == GROUP:
            group = column.heading
        else:
            headings.append(f"{group}: {column.heading}" if "." in column.number else column.heading)
    mark = [] if document["final"] else [[NOT_FINAL]]
    return csv_bytes([*mark, headings, *table(document)])


# XLSX


def xlsx(document: Json, sha256: str) -> bytes:
    """The form as a workbook: its table on the first sheet, the daily reports it is built from on another."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        stamp(book, document, f"{document['form']} {document['period']}")
        _table_sheet(book, document, sha256)
        _reports_sheet(book, document)
    return content.getvalue()


def stamp(book: xlsxwriter.Workbook, document: Json, title: str) -> None:
    """What a workbook says of itself: the time of the document, so that the bytes are the same each time."""
    created = dt.datetime.fromisoformat(document["generated_at"]).replace(tzinfo=None, microsecond=0)
    book.set_properties({"title": title, "author": document["pool"]["name"], "created": created})


def print_setup(sheet: Worksheet, first: int, last: int, footer: str, header: str = "") -> None:
    """A4 across, as wide as a page; rows `first` to `last` on each page, with its number."""
    sheet.set_landscape()
    sheet.set_paper(A4)
    sheet.set_margins(left=0.4, right=0.4, top=0.6, bottom=0.6)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(first, last)
    sheet.set_footer(f"&L&8{footer}&R&8&P / &N")
    if header:
        sheet.set_header(f"&C&B{header}")


def lines_of(text: str, width: int) -> int:
    """How many lines a text takes in a column of so many characters, words whole where they can be."""
    width -= _SPARE
    lines, used = 1, 0
    for word in text.split():
        if used and used + 1 + len(word) > width:
            lines, used = lines + 1, 0
        lines += max(len(word) - 1, 0) // width
        used += len(word) + bool(used)
    return lines


def height(lines: int) -> int:
    """Of a row with so many lines, in points: programs do not all find it by themselves."""
    return lines * _LINE_HEIGHT + 4


def head_lines(document: Json, sha256: str) -> list[tuple[str, str]]:
    """What stands above the table: who, when, which form, which version."""
    pool = document["pool"]
    number = pool["accreditation_number"]
    accreditation = f"{number} от {dotted(pool['accreditation_date'])}" if number else "не указана"
    version = str(document["submission_number"])
    if document["correction_reason"]:
        version += f", взамен {document['replaces_sha256']}: {document['correction_reason']}"
    return [
        ("Цифровой майнинговый пул", pool["name"]),
        ("БИН", pool["bin"]),
        ("Аккредитация", accreditation),
        ("Период", document["period"]),
        ("Версия формы", document["form"]),
        ("Номер представления", version),
        ("SHA-256", sha256),
    ]


def _table_sheet(book: xlsxwriter.Workbook, document: Json, sha256: str) -> None:
    sheet = book.add_worksheet("Форма")
    plain, bold = book.add_format(FONT), book.add_format({**FONT, "bold": True})
    at = 0
    if not document["final"]:
        sheet.write_string(at, 0, NOT_FINAL, book.add_format({**FONT, "bold": True, "font_color": "#B00000"}))
        at += 1
    for name, value in head_lines(document, sha256):
        sheet.write_string(at, 0, f"{name}:", bold)
        sheet.write_string(at, 2, value, plain)
        at += 1
    first = at + 1
    _headings(book, sheet, columns_of(document), first)
    cell = book.add_format({**FONT, "border": 1, "text_wrap": True, "valign": "top"})
    rows = table(document)
    widths = [_WIDTHS[column.field] for column in columns_of(document) if column.field != GROUP]
    for number, row in enumerate(rows, first + 3):
        for place, text in enumerate(row):
            sheet.write_string(number, place, text, cell)
        sheet.set_row(number, height(max(map(lines_of, row, widths))))
    # Numbers are texts here on purpose; no green corner for each.
    sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{first + 4 + len(rows)}"})
    sheet.freeze_panes(first + 3, 0)
    print_setup(sheet, first, first + 2, f"SHA-256 {sha256}", "" if document["final"] else NOT_FINAL)


def _headings(book: xlsxwriter.Workbook, sheet: Worksheet, columns: Sequence[FormColumn], first: int) -> None:
    """Two lines of headings and one of numbers; a group's heading stands over its columns."""
    head = book.add_format(
        {**FONT, "border": 1, "text_wrap": True, "align": "center", "valign": "vcenter", "bold": True}
    )
    place, upper, lower = 0, 1, 1
    for column in columns:
        if column.field == GROUP:
            below = [one for one in columns if one.number.startswith(f"{column.number}.")]
            _merged(sheet, (first, place, first, place + len(below) - 1), column.heading, head)
            width = sum(_WIDTHS[one.field] for one in below)
            upper = max(upper, lines_of(column.heading, width))
            continue
        width = _WIDTHS[column.field]
        sheet.set_column(place, place, width)
        lines = lines_of(column.heading, width)
        if "." in column.number:
            sheet.write_string(first + 1, place, column.heading, head)
            lower = max(lower, lines)
        else:
            _merged(sheet, (first, place, first + 1, place), column.heading, head)
            lower = max(lower, lines - upper)
        sheet.write_string(first + 2, place, column.number, head)
        place += 1
    sheet.set_row(first, height(upper))
    sheet.set_row(first + 1, height(lower))


def _merged(sheet: Worksheet, cells: tuple[int, int, int, int], text: str, style: Format) -> None:
    """A text over some cells; a single cell is not merged."""
    if cells[:2] == cells[2:]:
        sheet.write_string(*cells[:2], text, style)
    else:
        sheet.merge_range(*cells, "", style)
        sheet.write_string(*cells[:2], text, style)


def _reports_sheet(book: xlsxwriter.Workbook, document: Json) -> None:
    sheet = book.add_worksheet("Ежедневные отчеты")
    head = book.add_format({**FONT, "bold": True, "border": 1})
    cell = book.add_format({**FONT, "border": 1})
    for place, (text, width) in enumerate((("День", 12), ("Версия", 9), ("SHA-256", 70))):
        sheet.set_column(place, place, width)
        sheet.write_string(0, place, text, head)
    for number, one in enumerate(document["daily_reports"], 1):
        for place, text in enumerate((dotted(one["day"]), str(one["version"]), one["sha256"])):
            sheet.write_string(number, place, text, cell)
    sheet.ignore_errors({"number_stored_as_text": "A1:C100"})
    print_setup(sheet, 0, 0, f"{document['form']} {document['period']}")
