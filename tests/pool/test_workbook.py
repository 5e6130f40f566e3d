"""Workbooks of all makers, and of those who mean harm: read as meant, or one clear error in little memory."""

from __future__ import annotations

import datetime as dt
import resource
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pool import workbook
from pool.workbook import WorkbookError, read_rows

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
RELATIONS = (
    f'<Relationships xmlns="{PACKAGE}">'
    f'<Relationship Id="r1" Type="{OFFICE}/worksheet" Target="worksheets/one.xml"/>'
    f'<Relationship Id="r2" Type="{OFFICE}/sharedStrings" Target="/xl/texts.xml"/>'
    f'<Relationship Id="r3" Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>'
)
BOOK = (
    f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">'
    '<sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>'
)
HEAD = '<row r="1"><c r="A1"><v>1</v></c></row>'
MEMORY = 400 << 20


def make(
    path: Path,
    rows: str,
    texts: str = "",
    styles: str = "",
    book: str = BOOK,
    relations: str = RELATIONS,
    method: int = zipfile.ZIP_DEFLATED,
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("xl/workbook.xml", book)
        archive.writestr("xl/_rels/workbook.xml.rels", relations)
        archive.writestr("xl/texts.xml", f'<sst xmlns="{MAIN}">{texts}</sst>')
        archive.writestr("xl/styles.xml", f'<styleSheet xmlns="{MAIN}">{styles}</styleSheet>')
        archive.writestr(
            "xl/worksheets/one.xml", f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
        )
    return path


def rows_of(path: Path) -> list[tuple[int, list[str]]]:
    return list(read_rows(path))


# As it is meant


def test_texts_wherever_they_stand(tmp_path: Path) -> None:
    texts = (
        "<si><t>shared</t></si><si/>"
        "<si><r><t>in </t></r><r><rPr><b/></rPr><t>parts</t></r><rPh sb='0' eb='1'><t>said so</t></rPh></si>"
        "<si><t>a_x000D_b _x005F_x0041_ _xD800_</t></si>"
    )
    rows = (
        "<row><c t='s'><v>0</v></c><c t='s'><v>1</v></c><c t='s'><v>2</v></c><c t='s'><v>3</v></c></row>"
        "<row r='5'><c r='B5' t='inlineStr'><is><r><t> in</t></r><r><t>line </t></r></is></c>"
        "<c t='str'><f>A1&amp;A2</f><v>a formula</v></c><c s='3'/>"
        "<c r='F5' t='b'><v>0</v></c></row><row r='7'/>"
    )
    assert rows_of(make(tmp_path / "t.xlsx", rows, texts)) == [
        (1, ["shared", "", "in parts", "a\rb _x0041_ _xD800_"]),
        (5, ["", "inline", "a formula", "", "", "FALSE"]),
    ]


@pytest.mark.parametrize(
    ("value", "style", "shown"),
    [
        ("230440000105", 0, "230440000105"),
        ("9.5299999999999997E1", 0, "95.3"),
        ("-0.5", 0, "-0.5"),
        ("1E3", 0, "1000"),
        ("46053", 1, "2026-01-31"),
        ("46053", 2, "2026-01-31"),
        ("46053.770833333336", 2, "2026-01-31 18:30:00"),
        ("0.5", 2, "12:00:00"),
        ("46053", 3, "46053"),
        ("46053", 4, "46053"),
        ("46053", 99, "46053"),
        ("1e300", 1, "1e300"),
    ],
)
def test_numbers_and_days(tmp_path: Path, value: str, style: int, shown: str) -> None:
    """Style 1 is a built-in format of days, 2 an own one; 3 and 4 are none, with letters of days in texts."""
    styles = (
        '<numFmts><numFmt numFmtId="164" formatCode="[$-419]dd\\.mm\\.yyyy;@"/>'
        """<numFmt numFmtId="165" formatCode='#,##0 "days"_)'/>"""
        '<numFmt numFmtId="166" formatCode="\\d0"/></numFmts>'
        '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
        '<xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="166"/></cellXfs>'
    )
    path = make(tmp_path / "t.xlsx", f'<row><c s="{style}"><v>{value}</v></c></row>', styles=styles)
    assert rows_of(path) == [(1, [shown])]


def test_days_counted_from_1904_and_days_as_texts(tmp_path: Path) -> None:
    book = BOOK.replace("<sheets>", '<workbookPr date1904="1"/><sheets>')
    rows = (
        "<row><c s='0'><v>44591</v></c><c t='d'><v>2026-01-31</v></c>"
        "<c t='d'><v>2026-01-31T18:30:00</v></c></row>"
    )
    path = make(tmp_path / "t.xlsx", rows, styles='<cellXfs><xf numFmtId="14"/></cellXfs>', book=book)
    assert rows_of(path) == [(1, ["2026-01-31", "2026-01-31", "2026-01-31 18:30:00"])]


def test_the_first_sheet_of_a_maker_who_writes_prefixes(tmp_path: Path) -> None:
    """ECMA-376 in its strict form, with prefixes, single quotes, and UTF-16."""
    strict = "http://purl.oclc.org/ooxml/spreadsheetml/main"
    path = tmp_path / "t.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/workbook.xml",
            f"<x:workbook xmlns:x='{strict}' xmlns:q='http://purl.oclc.org/ooxml/officeDocument/relationships'>"
            "<x:sheets><x:sheet q:id='r1' name='A'/><x:sheet q:id='r2' name='B'/></x:sheets></x:workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            RELATIONS.partition('<Relationship Id="r2"')[0] + "</Relationships>",
        )
        sheet = (
            f"<?xml version='1.0' encoding='UTF-16'?><x:worksheet xmlns:x='{strict}'><x:sheetData>"
            "<x:row r='2'><x:c r='A2' t='inlineStr'><x:is><x:t>қазақ</x:t></x:is></x:c></x:row>"
            "</x:sheetData></x:worksheet>"
        )
        archive.writestr("xl/worksheets/one.xml", sheet.encode("utf-16"))
    assert rows_of(path) == [(2, ["қазақ"])]


# Harm


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (f"{HEAD}<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>", "XFD1048576 is beyond 100 columns"),
        (f"{HEAD}<row r='1048576'><c r='xfd1048576'><v>1</v></c></row>", "out of place"),
        (f"{HEAD}<row r='1048576'>{'<c><v>1</v></c>' * 16_384}</row>", "beyond 100 columns"),
        (f"<row>{'<c/>' * 16_385}</row>", "more than 16384 cells"),
        ("<row r='1048577'/>", "beyond 1048576 rows"),
        ("<row r='1048576'/><row/>", "beyond 1048576 rows"),
        ("<row r='99999999999999999999'/>", "follows row 0"),
        ("<row r='-1'/>", "follows row 0"),
        ("<row r='2'/><row r='2'/>", "follows row 2"),
        ("<row r='2'><c r='A3'><v>1</v></c></row>", "out of place in row 2"),
        ("<row><c r='B1'><v>1</v></c><c r='A1'><v>1</v></c></row>", "out of place"),
        ("<row><c r='AAAA1'><v>1</v></c></row>", "out of place"),
        ("<row><c r='1'><v>1</v></c></row>", "out of place"),
        ("<row><c r='A٣'><v>1</v></c></row>", "out of place"),
        ("<row><c t='s'><v>0</v></c></row>", "names a text that is not there"),
        ("<row><c t='s'><v>-1</v></c></row>", "names a text that is not there"),
        ("<row><c t='e'><v>#REF!</v></c></row>", "cell A1 holds an error value"),
        ("<row><c t='x'><v>1</v></c></row>", "unknown type"),
        ("<row><c><v>nan</v></c></row>", "no number"),
        ("<row><c t='d'><v>soon</v></c></row>", "no XLSX workbook"),
        (f"<row><c t='str'><v>{'x' * 32_768}</v></c></row>", "A1 has more than 32767 characters"),
        ("<a>" * 100, "nested deeper"),
        (f"<a b='{'x' * 2_000_000}'/>", "tag of more than"),
        (f"<!--{'x' * 2_000_000}-->", "tag of more than"),
        ("".join(f"<a{number}/>" for number in range(60_000)), "names of elements"),
        ("".join(f"<a b{number}=''/>" for number in range(60_000)), "names of elements"),
        ("".join(f"<a xmlns:b{number}='u'/>" for number in range(60_000)), "names of elements"),
        ("<row>", "no XLSX workbook"),
    ],
)
def test_a_sheet_beyond_its_bounds_is_one_clear_error(tmp_path: Path, rows: str, words: str) -> None:
    """I10: and costs no memory, however it is written."""
    with pytest.raises(WorkbookError, match=words):
        rows_of(make(tmp_path / "t.xlsx", rows))


def test_a_cell_far_out_that_is_empty_is_none(tmp_path: Path) -> None:
    path = make(tmp_path / "t.xlsx", f"{HEAD}<row r='1048576'><c r='XFD1048576' s='1'/></row>")
    assert rows_of(path) == [(1, ["1"])]


@pytest.mark.parametrize("part", ["workbook.xml", "workbook.xml.rels", "texts.xml", "styles.xml", "one.xml"])
def test_a_document_type_is_not_taken_anywhere(tmp_path: Path, part: str) -> None:
    """No entities, so none that grow."""
    path, target = make(tmp_path / "t.xlsx", HEAD), tmp_path / "harm.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for one in old.namelist():
            harm = b'<!DOCTYPE a [<!ENTITY b "c">]>' if one.endswith(f"/{part}") else b""
            new.writestr(one, harm + old.read(one))
    with pytest.raises(WorkbookError, match="document type"):
        rows_of(target)


@pytest.mark.parametrize(
    ("limit", "rows", "texts", "words"),
    [
        ("UNPACKED_LIMIT", HEAD * 9, "", "more than 100 bytes"),
        ("STRINGS_PART_LIMIT", HEAD, "<si><t>a</t></si>" * 9, "more than 100 bytes"),
        ("SMALL_PART_LIMIT", HEAD, "", "more than 100 bytes"),
        ("STRINGS_LIMIT", HEAD, "<si/>" * 101, "more than 100 different texts"),
        ("TEXT_LIMIT", HEAD, f"<si><t>{'x' * 101}</t></si>", "more than 100 characters"),
        ("_DIRECTORY_LIMIT", HEAD, "", "too many parts"),
    ],
)
def test_what_unpacks_to_too_much_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, rows: str, texts: str, words: str
) -> None:
    path = make(tmp_path / "t.xlsx", rows, texts)
    monkeypatch.setattr(workbook, limit, 100)
    with pytest.raises(WorkbookError, match=words):
        rows_of(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_pack_are_not_taken(tmp_path: Path, method: int) -> None:
    with pytest.raises(WorkbookError, match="packed in a way"):
        rows_of(make(tmp_path / "t.xlsx", HEAD, method=method))


def flagged(path: Path, offset: int, value: int) -> None:
    """Set a byte in the headers of all parts, there and in the list of parts."""
    content = bytearray(path.read_bytes())
    for mark, more in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset + more] = value
            at = content.find(mark, at + 4)
    path.write_bytes(content)


@pytest.mark.parametrize(("offset", "value", "words"), [(6, 1, "password"), (8, 99, "packed in a way")])
def test_a_locked_or_unknown_package_is_told(tmp_path: Path, offset: int, value: int, words: str) -> None:
    path = make(tmp_path / "t.xlsx", HEAD)
    flagged(path, offset, value)
    with pytest.raises(WorkbookError, match=words):
        rows_of(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=20))
def test_a_damaged_file_is_an_error_or_a_table(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    """I10."""
    path = tmp_path / "t.xlsx"
    if not path.exists():
        with xlsxwriter.Workbook(path) as book:
            sheet = book.add_worksheet()
            for row in range(50):
                sheet.write_row(row, 0, [f"a{row}", row, 0.5])
            sheet.write_datetime(50, 0, dt.datetime(2026, 1, 1), book.add_format({"num_format": "yyyy"}))
    content = bytearray(path.read_bytes())
    for place, value in damage:
        content[place % len(content)] = value
    harmed = tmp_path / "harmed.xlsx"
    harmed.write_bytes(content)
    with suppress(WorkbookError):
        assert len(rows_of(harmed)) <= 100


@pytest.mark.parametrize(
    "rows",
    [
        f"{HEAD}<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>",
        f"{HEAD}<row r='1048576'>{'<c><v>1</v></c>' * 16_384}</row>",
        "<a>" * 5_000_000,
        f"<a b='{'x' * 60_000_000}'/>",
    ],
    ids=["far", "unnumbered", "deep", "tag"],
)
def test_what_is_packed_small_stays_small(tmp_path: Path, rows: str) -> None:
    """In a process that may have so much memory and no more."""
    path = make(tmp_path / "t.xlsx", rows)
    assert path.stat().st_size < 100_000
    program = (
        "import sys; from pathlib import Path; from pool.workbook import WorkbookError, read_rows\n"
        "try: print(len(list(read_rows(Path(sys.argv[1])))))\nexcept WorkbookError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
