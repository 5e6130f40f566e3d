"""Tables in files: what is written comes back, and nothing in it becomes a formula."""

from __future__ import annotations

import csv
import datetime as dt
import zipfile
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pool import spreadsheet
from pool.spreadsheet import SpreadsheetError

HEADING = ["number", "title"]
DANGEROUS = (
    *("=1+1", "+7 701 123 45 67", "-1", "@SUM(A1)", "'quoted", "''=x", "'", "=", '"=1+1', "x;=cmd()", "a,@b"),
    *(
        "Aset;a@b.kz;+7 701",
        'x; "-1',
        "x;'=1",
        "обычный текст",
        "қазақша",
        "230440000105",
        "061211600012",
        "1e5",
    ),
)
texts = st.one_of(
    st.sampled_from(DANGEROUS),
    st.text(alphabet="=+-@'\";,| \\ab1", max_size=12).map(str.strip),
    st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), max_size=30),
)


def came_back(path: Path) -> list[list[str]]:
    sheet = spreadsheet.read(path)
    assert sheet.heading.cells == HEADING
    return [row.cells for row in sheet.rows]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(texts, texts).filter(any), max_size=20))
def test_what_is_written_comes_back(tmp_path: Path, suffix: str, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / f"table{suffix}"
    spreadsheet.write(path, HEADING, rows)
    assert came_back(path) == [list(row) for row in rows]


@given(rows=st.lists(st.tuples(texts, texts), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path, separator: str, rows: list[tuple[str, str]]) -> None:
    """Nor when a program in another country takes semicolons, or naive cuts, for the ends of cells."""
    path = tmp_path / "table.csv"
    spreadsheet.write(path, HEADING, rows)
    text = path.read_text("utf-8-sig")
    cells = [cell for row in csv.reader(text.splitlines(), delimiter=separator) for cell in row]
    cells += [cell for line in text.splitlines() for cell in line.split(separator)]
    assert [cell for cell in cells if cell.strip(' "')[:1] in tuple("=+-@")] == []


def test_no_cell_of_an_xlsx_is_a_formula_or_a_number(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    spreadsheet.write(path, HEADING, [(text, "x") for text in DANGEROUS])
    with zipfile.ZipFile(path) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert sheet.count("<c ") == sheet.count('t="inlineStr"') + sheet.count('t="s"')


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_of_every_country_is_read(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    path = tmp_path / "table.csv"
    lines = [
        "",
        separator.join(HEADING),
        separator.join(
            ("1", '"ТОО ""Алтай""'),
        ),
        "",
        separator.join(("2", '"a\nb"')),
        "3",
    ]
    lines[2] += '"'
    path.write_text(end.join(lines), encoding, newline="")
    sheet = spreadsheet.read(path)
    assert sheet.heading == (2, HEADING)
    assert [(row.line, row.cells) for row in sheet.rows] == [
        (3, ["1", 'ТОО "Алтай"']),
        (5, ["2", "a\nb"]),
        (7, ["3"]),
    ]


def test_cells_of_a_workbook_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    with xlsxwriter.Workbook(path) as book:
        day = book.add_format({"num_format": "dd.mm.yyyy"})
        sheet = book.add_worksheet()
        sheet.write_row(1, 0, ["bin", "on", "ths", "w", "text", "truth", "at"])
        sheet.write_number(3, 0, 230440000105)
        sheet.write_datetime(3, 1, dt.datetime(2026, 1, 31), day)
        sheet.write_number(3, 2, 95.3)
        sheet.write_number(3, 3, 3250)
        sheet.write_string(3, 4, " 061211600012 ")
        sheet.write_boolean(3, 5, True)
        sheet.write_datetime(3, 6, dt.datetime(2026, 1, 31, 18, 30), day)
        book.add_worksheet().write_string(0, 200, "another sheet may be as it likes")
    read = spreadsheet.read(path)
    assert read.heading.line == 2
    assert list(read.rows) == [
        (4, ["230440000105", "2026-01-31", "95.3", "3250", "061211600012", "TRUE", "2026-01-31 18:30:00"])
    ]


def workbook(path: Path, *cells: tuple[int, int, str]) -> None:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADING)
        for row, column, text in cells:
            sheet.write(row, column, text)


def test_a_stray_cell_far_out_is_an_error_before_it_costs_memory(tmp_path: Path) -> None:
    path = tmp_path / "far.xlsx"
    workbook(path, (900_000, 16_000, "x"))
    with pytest.raises(SpreadsheetError, match="cell WQK900001 is beyond 100 columns"):
        spreadsheet.read(path)


def test_an_error_value_is_not_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "wrong.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADING)
        sheet.write_formula(1, 1, "=1/0", None, "#DIV/0!")
    with pytest.raises(SpreadsheetError, match="cell B2 holds an error value"):
        spreadsheet.read(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, "No such file"),
        ("table.ods", b"", "must be .csv or .xlsx"),
        ("table.csv", b"", "is empty"),
        ("table.csv", b"\n\n", "is empty"),
        ("table.csv", "number;название\n1;x\n".encode("cp1251"), "is not UTF-8"),
        ("table.csv", b'number,title\n1,"x\n2,y\n', "line 2: .*quotes"),
        ("table.csv", b'number,title\n1,"x"y\n', "line 2: .*quotes"),
        ("table.csv", b"number,title\n" + b"," * 100 + b"x\n", "line 2: has 101 cells"),
        ("table.csv", b"number,title\n" + b"x" * 200_000 + b"\n", "line 2: field larger"),
        ("table.xlsx", b"PK\x03\x04 nothing", "no XLSX workbook"),
        ("table.xlsx", b"", "no XLSX workbook"),
    ],
)
def test_a_file_that_is_no_table_is_told_so(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpreadsheetError, match=words) as caught:
        list(spreadsheet.read(path).rows)
    assert str(path) in str(caught.value)


def test_a_workbook_without_its_parts_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "x")
    with pytest.raises(SpreadsheetError, match="no XLSX workbook"):
        spreadsheet.read(path)


def test_files_and_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    spreadsheet.write(path, HEADING, [(str(number), "x") for number in range(11)])
    monkeypatch.setattr(spreadsheet, "ROWS_LIMIT", 10)
    with pytest.raises(SpreadsheetError, match="more than 10 rows"):
        came_back(path)
    monkeypatch.setattr(spreadsheet, "BYTES_LIMIT", 10)
    with pytest.raises(SpreadsheetError, match="more than 10; split it"):
        spreadsheet.read(path)


@pytest.mark.parametrize("name", ["table.pdf", "no-such-folder/table.csv", "no-such-folder/table.xlsx"])
def test_what_cannot_be_written_is_told_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpreadsheetError, match=name):
        spreadsheet.write(tmp_path / name, HEADING, [])
