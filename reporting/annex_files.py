"""The accountants' annex as files: XLSX with numbers to reckon with, and one flat CSV.

The workbook's numbers are decimals with all of their places, so sums may be made of them; what is missing
is an empty cell and a note. Headings and notes are in Russian, the accountants' language; they are ours
and no form's.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from reporting.csv_text import csv_bytes
from reporting.income_files import FONT, NOT_FINAL, dotted, height, lines_of, print_setup, stamp

Json = Mapping[str, Any]
_COINS: Final = "0.00000000"
_TENGE: Final = "#,##0.00"
_ANY: Final = "0.########"


class _Column(NamedTuple):
    key: str
    heading: str
    width: int
    number: str = ""
    """How a number is shown; empty for a text."""
    day: bool = False


_ROW: Final = (
    _Column("row_no", "№ строки формы", 10),
    _Column("miner_name", "Цифровой майнер", 36),
    _Column("miner_bin", "БИН/ИИН", 17),
    _Column("distributed_on", "Дата распределения", 16, day=True),
    _Column("received_on", "Дата получения", 14, day=True),
    _Column("asset", "Актив", 11),
    _Column("quantity", "Количество", 15, _COINS),
    _Column("commission_quantity", "Комиссия, количество", 15, _COINS),
    _Column("official_price", "Официальная стоимость", 15, _ANY),
    _Column("price_date_used", "Стоимость за", 14, day=True),
    _Column("price_currency", "Валюта", 10),
    _Column("fx_rate_to_kzt", "Курс Национального Банка к тенге", 17, _ANY),
    _Column("fx_date", "Курс за", 14, day=True),
    _Column("amount_kzt", "Сумма, тенге", 18, _TENGE),
    _Column("commission_kzt", "Комиссия, тенге", 18, _TENGE),
)
_MINER: Final = (
    _Column("miner_name", "Цифровой майнер", 40),
    _Column("miner_bin", "БИН/ИИН", 15),
    _Column("rows", "Строк", 8),
    _Column("rows_without_value", "Из них без стоимости", 12),
    _Column("quantity", "Количество", 16, _COINS),
    _Column("commission_quantity", "Комиссия, количество", 16, _COINS),
    _Column("amount_kzt", "Сумма, тенге", 20, _TENGE),
    _Column("commission_kzt", "Комиссия, тенге", 20, _TENGE),
)
_TOTAL: Final = "Итого по пулу"
_NOTES_WIDTH: Final = 100
ROUNDING: Final = (
    "Каждая сумма округлена один раз, до целого тиына, половина вверх; "
    "итоги складываются из округленных сумм."
)
CSV_COLUMNS: Final = ("section", *(column.key for column in _ROW), "rows", "rows_without_value", "note")
"""Headings of the CSV: `section` is row, miner, total or note."""


def note_text(note: Json) -> str:
    """A note in words."""
    if note["what"] == "day_off":
        return (
            f"{dotted(note['day'])} — нерабочий день: {note['asset']} по последнему рабочему дню, "
            f"{dotted(note['used'])}."
        )
    where = "" if note["day"] == note["missing_on"] else f" (нужна для {dotted(note['day'])})"
    return (
        f"Нет стоимости или курса {note['asset']} за {dotted(note['missing_on'])}{where}: суммы в тенге не "
        f"указаны. Внесите ее или отметьте нерабочий день (dmpool prices)."
    )


def csv(annex: Json) -> bytes:
    """All sections in one table."""
    lines: list[dict[str, Any]] = [{"section": "row", **row} for row in annex["rows"]]
    lines += [{"section": "miner", **row} for row in annex["miners"]]
    lines.append({"section": "total", **annex["totals"]})
    lines += [{"section": "note", "note": text} for text in _notes(annex)]
    return csv_bytes([CSV_COLUMNS, *([_text(line.get(key)) for key in CSV_COLUMNS] for line in lines)])


def _notes(annex: Json) -> list[str]:
    """The notes in words; first that the form is not final, where it is not."""
    mark = [] if annex["form_final"] else [NOT_FINAL]
    return [*mark, *(note_text(note) for note in annex["notes"])]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def xlsx(annex: Json, generated_at: str) -> bytes:
    """Rows, totals and notes, a sheet each; `generated_at` is the form's, so that the bytes are the same."""
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        stamp(book, {"pool": annex["pool"], "generated_at": generated_at}, f"Приложение {annex['period']}")
        footer = f"{annex['form']} {annex['period']}, версия {annex['form_version']}: {annex['form_sha256']}"
        for name, columns, rows in (
            ("По строкам", _ROW, annex["rows"]),
            ("По майнерам", _MINER, annex["miners"]),
        ):
            sheet = book.add_worksheet(name)
            total = {**annex["totals"], "miner_name": _TOTAL}
            _sheet(book, sheet, columns, [*rows, total])
            print_setup(sheet, 0, 0, footer)
        _notes_sheet(book, annex)
    return content.getvalue()


def _sheet(
    book: xlsxwriter.Workbook, sheet: Worksheet, columns: tuple[_Column, ...], rows: list[Json]
) -> None:
    """Headings, rows and, as the last row, the totals."""
    head = book.add_format(
        {**FONT, "bold": True, "border": 1, "text_wrap": True, "align": "center", "valign": "vcenter"}
    )
    sheet.set_row(0, 44)
    sheet.freeze_panes(1, 0)
    for place, column in enumerate(columns):
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, column.heading, head)
        style = {**FONT, "border": 1, "valign": "top", "num_format": column.number or "@", "text_wrap": True}
        plain, bold = book.add_format(style), book.add_format({**style, "bold": True})
        for number, row in enumerate(rows, 1):
            cell = bold if number == len(rows) else plain
            value = row.get(column.key)
            if value is None:
                sheet.write_blank(number, place, None, cell)
            elif column.number:
                sheet.write_number(number, place, Decimal(value), cell)
            else:
                sheet.write_string(number, place, dotted(value) if column.day else str(value), cell)
    for number, row in enumerate(rows, 1):
        texts = [(str(row.get(column.key) or ""), column.width) for column in columns if not column.number]
        sheet.set_row(number, height(max(lines_of(text, width) for text, width in texts)))
    sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{len(rows) + 1}"})


def _notes_sheet(book: xlsxwriter.Workbook, annex: Json) -> None:
    sheet = book.add_worksheet("Примечания")
    sheet.set_column(0, 0, _NOTES_WIDTH)
    cell = book.add_format({**FONT, "text_wrap": True, "valign": "top"})
    texts = [
        f"{annex['pool']['name']}, БИН {annex['pool']['bin']}: {annex['form']} за {annex['period']}, версия "
        f"{annex['form_version']}, SHA-256 {annex['form_sha256']}. Приложение не является частью формы.",
        ROUNDING,
        *(
            f"С {dotted(rule['effective_from'])}: {rule['act']}, {rule['quotation']}."
            for rule in annex["rules"]
        ),
        *_notes(annex),
    ]
    for number, text in enumerate(texts):
        sheet.write_string(number, 0, text, cell)
        sheet.set_row(number, height(lines_of(text, _NOTES_WIDTH)))
    print_setup(sheet, 0, 0, f"{annex['form']} {annex['period']}")
