"""Tables in files: CSV and XLSX read into rows of texts, and rows written into either.

CSV is UTF-8, with or without a byte order mark, separated by comma, semicolon or tab, whichever its first
line uses. Of an XLSX file the first sheet is read. Files, rows and columns are bounded, so that a stray cell
far out or a packed bomb is an error and not a machine without memory.

What is written never becomes a formula. In XLSX every cell is a text. In CSV an apostrophe is put before
=, +, -, @ and ' where a program might take a cell to begin: at the start, and behind a comma or semicolon,
which separates cells for some; what is read from CSV loses it again, so a table comes back as it was.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import xlsxwriter

from pool.workbook import COLUMNS_LIMIT, WorkbookError, read_rows
from reporting.csv_text import guarded

BYTES_LIMIT: Final = 200_000_000
ROWS_LIMIT: Final = 1_000_000
_GUARDED: Final = re.compile(r"""((?:^|[,;])[\s"]*)'(?=['=+\-@])""")


class SpreadsheetError(ValueError):
    """The file cannot be read or written as a table. The message names file, place and remedy."""


class Row(NamedTuple):
    """A row that is not blank."""

    line: int
    """Where it begins in the file, from 1."""
    cells: list[str]


class Sheet(NamedTuple):
    """A table that is being read."""

    heading: Row
    """The first row that is not blank."""
    rows: Iterator[Row]
    """Raises SpreadsheetError."""


def read(path: Path) -> Sheet:
    """Begin to read a file, by its suffix; raises SpreadsheetError."""
    try:
        size = path.stat().st_size
        if size > BYTES_LIMIT:
            raise SpreadsheetError(f"{path}: has {size} bytes, more than {BYTES_LIMIT}; split it")
        match path.suffix.lower():
            case ".csv" | ".tsv":
                rows = _read_csv(path)
            case ".xlsx":
                rows = _read_xlsx(path)
            case suffix:
                raise SpreadsheetError(f"{path}: suffix {suffix!r} must be .csv or .xlsx")
        rows = _bounded(path, rows)
        heading = next(rows, None)
    except OSError as error:
        raise SpreadsheetError(f"{path}: {error.strerror or error}; name a file that can be read") from error
    if heading is None:
        raise SpreadsheetError(f"{path}: is empty; the first line holds the headings")
    return Sheet(heading, rows)


def _bounded(path: Path, rows: Iterator[Row]) -> Iterator[Row]:
    count = 0
    for row in rows:
        if not any(row.cells):
            continue
        count += 1
        if count > ROWS_LIMIT + 1:
            raise SpreadsheetError(f"{path}: has more than {ROWS_LIMIT} rows; split it")
        if len(row.cells) > COLUMNS_LIMIT:
            raise SpreadsheetError(
                f"{path}: line {row.line}: has {len(row.cells)} cells, more than {COLUMNS_LIMIT}"
            )
        yield row


# CSV


def _read_csv(path: Path) -> Iterator[Row]:
    line = 1
    try:
        delimiter = _delimiter(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                yield Row(line, [_GUARDED.sub(r"\1", cell.strip()) for cell in cells])
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise SpreadsheetError(
            f"{path}: line {line} or soon after is not UTF-8; save the table as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise SpreadsheetError(f"{path}: line {line}: {error}; look at the quotes there") from error


def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        heading = next((line for line in file if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", heading)
    return max(",;\t", key=bare.count)


# XLSX


def _read_xlsx(path: Path) -> Iterator[Row]:
    width = 0
    try:
        for line, cells in read_rows(path):
            width = width or len(cells)
            yield Row(line, cells + [""] * (width - len(cells)))
    except WorkbookError as error:
        raise SpreadsheetError(f"{path}: {error}") from error


# Writing


def write(path: Path, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, by the file's suffix; raises SpreadsheetError."""
    try:
        match path.suffix.lower():
            case ".csv":
                _write_csv(path, heading, rows)
            case ".xlsx":
                _write_xlsx(path, heading, rows)
            case suffix:
                raise SpreadsheetError(f"{path}: suffix {suffix!r} must be .csv or .xlsx")
    except (OSError, xlsxwriter.exceptions.FileCreateError) as error:
        raise SpreadsheetError(f"{path}: cannot be written: {error}; name another file") from error


def _write_csv(path: Path, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    # The byte order mark tells spreadsheets that it is UTF-8.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        for row in chain([heading], rows):
            writer.writerow([guarded(cell) for cell in row])


def _write_xlsx(path: Path, heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.open("ab").close()  # so that what cannot be written is known before the work
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        # Numbers are texts here so that twelve digits stay whole; no green corner for each.
        sheet.ignore_errors({"number_stored_as_text": f"A1:CV{ROWS_LIMIT + 1}"})
        sheet.freeze_panes(1, 0)
        for line, row in enumerate(chain([heading], rows)):
            for column, cell in enumerate(row):
                sheet.write_string(line, column, cell)
