"""Reports on paper: every letter and number is there, nothing runs over anything, and each page says of what
it is.

Read back by poppler, which knows nothing of how the pages were made. Skipped where it is absent.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rfc8785
import segno

from register.miner import LANGUAGES, Language
from reporting.daily import DayFacts, build
from reporting.daily_first import in_first_schema
from reporting.pdf import LogPlace, PdfError, daily_pdf, income_pdf
from reporting.report_tables import Document, daily_tables, income_tables
from tests.reporting.form_world import FORM_1, FORM_2, form_of, paid
from tests.reporting.print_world import crowded, poppler, signed

KAZAKH = "әғқңөұүһі"
LEAF = "0f" * 32
PLACE = LogPlace("dmpool/940140000385/main", 1234, LEAF)
POINT = 25.4 / 72


@pytest.fixture
def report(facts: DayFacts) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(rfc8785.dumps(build(facts)))  # its members in their order
    return report


def bare(text: str) -> str:
    """Without blanks of any kind: where lines were broken is not asked."""
    return "".join(text.split())


def texts(pdf: bytes, directory: Path) -> list[str]:
    """The text of each page, in the order in which it was drawn: cell by cell."""
    file = directory / "read.pdf"
    file.write_bytes(pdf)
    return poppler("pdftotext", "-raw", file, "-").split("\f")[:-1]


def said(document: Document) -> set[str]:
    """Everything that the tables hold, each once."""
    told = [document.title, *document.subtitle, document.notice]
    for one in document.sections:
        told += [one.title, one.note, *(cell for row in one.rows for cell in row), *one.total]
        if not one.facts and one.rows:
            told += [text for column in one.columns for text in (column.heading, column.original)]
            told += [text for column in one.columns for text in (column.group, column.group_original)]
        if not one.rows:
            told.append(one.empty)
    return {bare(text) for text in told if text}


# What is on the pages


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_and_number_of_the_tables_is_on_paper(
    report: dict[str, Any], language: Language, tmp_path: Path
) -> None:
    forms = [form_of(paid(1), paid(2, 2, on=25), form=name) for name in (FORM_1, FORM_2)]
    printed = [
        (daily_tables(report, language), daily_pdf(signed(report), language, PLACE)),
        *((income_tables(form, language), income_pdf(signed(form), language, PLACE)) for form in forms),
    ]
    first = in_first_schema(report)
    printed.append((daily_tables(first, language), daily_pdf(signed(first), language, None)))
    for document, pdf in printed:
        read = bare("".join(texts(pdf, tmp_path)))
        assert [text for text in said(document) if text not in read] == []


def test_all_kazakh_letters_are_read_back(report: dict[str, Any], tmp_path: Path) -> None:
    letters = KAZAKH + KAZAKH.upper()
    report["miners"][0]["name"] = f"«{letters}»"
    read = "".join(texts(daily_pdf(signed(report), "kk", PLACE), tmp_path))
    assert f"«{letters}»" in read
    text = read.replace(letters, "")
    assert [letter for letter in KAZAKH.replace("һ", "") if letter not in text] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_says_what_it_is_of(report: dict[str, Any], language: Language, tmp_path: Path) -> None:
    envelope = signed(report)
    sha256 = re.search(rb'"report_sha256":"([0-9a-f]{64})"', envelope)
    assert sha256 is not None
    pages = texts(daily_pdf(envelope, language, PLACE), tmp_path)
    assert len(pages) > 3
    for number, page in enumerate(pages, 1):
        assert report["report_id"] in page
        assert sha256[1].decode() in page
        assert LEAF in page
        assert "dmpool/940140000385/main" in page
        assert "1234" in page
        assert re.search(rf"\b{number}\b\D+\b{len(pages)}\b", page), f"page {number} of {len(pages)}"


def test_a_page_of_a_form_that_is_not_final_says_so_each_time(tmp_path: Path) -> None:
    form = form_of(*(paid(number, on=1 + number % 30) for number in range(1, 80)), form=FORM_2)
    pages = texts(income_pdf(signed(form), "kk", None), tmp_path)
    assert len(pages) > 2
    assert all("ТҮПКІЛІКТІ ЕМЕС" in page for page in pages)
    assert all("журналға әлі енгізілмеген" in page for page in pages)


def test_an_envelope_that_was_changed_is_not_printed(report: dict[str, Any]) -> None:
    changed = signed(report).replace(b"Example DMP LLP", b"Another DMP LLP")
    with pytest.raises(PdfError, match="changed after it was signed"):
        daily_pdf(changed, "en", PLACE)


# The same bytes


_AGAIN = """
import sys
from reporting.pdf import LogPlace, daily_pdf
envelope = open(sys.argv[1], "rb").read()
place = LogPlace("dmpool/940140000385/main", 1234, "0f" * 32)
sys.stdout.buffer.write(daily_pdf(envelope, "kk", place))
"""


def test_the_same_document_gives_the_same_bytes_anywhere(report: dict[str, Any], tmp_path: Path) -> None:
    envelope = signed(report)
    (tmp_path / "envelope.json").write_bytes(envelope)
    again = subprocess.run(
        [sys.executable, "-c", _AGAIN, str(tmp_path / "envelope.json")],
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
        capture_output=True,
    ).stdout
    assert daily_pdf(envelope, "kk", PLACE) == again
    (tmp_path / "again.pdf").write_bytes(again)
    told = poppler("pdfinfo", "-isodates", tmp_path / "again.pdf")
    assert "CreationDate:    2026-11-21T01:00:00+05" in told, "that of the document"
    assert "ModDate" not in told


# Where it stands


class Word(NamedTuple):
    """A word on a page, in millimetres."""

    left: float
    top: float
    right: float
    bottom: float
    text: str


def words(pdf: bytes, directory: Path) -> list[list[Word]]:
    """The words of each page with the boxes they stand in."""
    file = directory / "boxes.pdf"
    file.write_bytes(pdf)
    tree = ET.fromstring(re.sub(r' xmlns="[^"]*"', "", poppler("pdftotext", "-bbox", file, "-"), count=1))
    return [
        [
            Word(
                *(float(one.attrib[key]) * POINT for key in ("xMin", "yMin", "xMax", "yMax")), one.text or ""
            )
            for one in page.iter("word")
        ]
        for page in tree.iter("page")
    ]


def overlaps(page: list[Word]) -> list[tuple[str, str]]:
    """Words that run into each other by more than a hair, beside or below each other."""
    found = []
    ordered = sorted(page, key=lambda word: word.top)
    for place, one in enumerate(ordered):
        for other in ordered[place + 1 :]:
            if other.top > one.bottom - 0.3:
                break
            if min(one.right, other.right) - max(one.left, other.left) > 0.1:
                found.append((one.text, other.text))
    return found


@pytest.mark.parametrize(
    ("language", "miners", "payments"), [("kk", 84, 2000), ("ru", 30, 60), ("en", 30, 60)]
)
def test_a_crowded_day_is_told_whole_and_runs_over_nothing(
    report: dict[str, Any], language: Language, miners: int, payments: int, tmp_path: Path
) -> None:
    told = crowded(report, miners=miners, payments=payments)
    pdf = daily_pdf(signed(told), language, PLACE)
    assert len(pdf) < 3_000_000
    for number, page in enumerate(words(pdf, tmp_path), 1):
        assert overlaps(page) == [], f"page {number}"
        assert min(word.left for word in page) >= 11.9
        assert max(word.right for word in page) <= 297 - 11.9
        assert max(word.bottom for word in page) <= 210 - 4
        body = [word for word in page if word.top < 178]
        foot = [word for word in page if word.top >= 178]
        assert max(word.bottom for word in body) < min(word.top for word in foot)
        assert max(word.right for word in foot) <= 297 - 12 - 24, "beside the code"
    read = bare("".join(texts(pdf, tmp_path)))
    assert [text for text in said(daily_tables(told, language)) if text not in read] == []
    for row in told["distributions"]:
        assert f"{row['txid']}:{row['vout']}" in read


def test_a_sentence_higher_than_a_page_goes_on_over_the_next(report: dict[str, Any], tmp_path: Path) -> None:
    """Nobody's reason has so many words; a page must not break for it all the same."""
    sentence = " ".join(f"word{number}" for number in range(12_000))
    report["rules_in_force"][0]["source"] = sentence
    report["correction_reason"], report["replaces_sha256"] = sentence, "ab" * 32
    pages = texts(daily_pdf(signed(report), "en", PLACE), tmp_path)
    read = bare("".join(pages))
    assert read.count("word11999") == 2
    for number, page in enumerate(words(daily_pdf(signed(report), "en", PLACE), tmp_path), 1):
        assert overlaps(page) == [], f"page {number}"
        assert max(word.bottom for word in page) <= 210 - 4


def test_letters_that_the_font_does_not_have_are_squares(report: dict[str, Any], tmp_path: Path) -> None:
    report["miners"][0]["name"] = "挖矿\U0001f4a9 Ltd\n\x07\u2028Қ"
    read = "".join(texts(daily_pdf(signed(report), "en", PLACE), tmp_path))
    assert "□□□ Ltd □ Қ" in read


# The code


def modules(pdf: bytes, page: int, directory: Path) -> list[list[bool]]:
    """The dark squares of the code at the foot of a page, read from its picture."""
    file = directory / "code.pdf"
    file.write_bytes(pdf)
    dots = 600
    each = dots / 25.4
    size = 24.0
    box = [round(value * each) for value in (297 - 12 - size, 210 - size - 4, size, size)]
    picture = directory / "code"
    where = [flag for name, value in zip("xyWH", box, strict=True) for flag in (f"-{name}", str(value))]
    poppler(
        "pdftoppm",
        "-gray",
        "-r",
        str(dots),
        "-f",
        str(page),
        "-l",
        str(page),
        "-singlefile",
        *where,
        file,
        picture,
    )
    header, width, height, pixels = _pgm((directory / "code.pgm").read_bytes())
    assert header == b"P5"
    dark = [[pixels[row * width + place] < 128 for place in range(width)] for row in range(height)]
    rows = [row for row in dark if any(row)]
    first = min(row.index(True) for row in rows)
    last = max(len(row) - row[::-1].index(True) for row in rows)
    finder = next(place for place, one in enumerate(rows[0][first:]) if not one)  # seven modules
    count = round((last - first) / (finder / 7))
    step = (last - first) / count
    top = dark.index(rows[0])
    return [
        [dark[int(top + (y + 0.5) * step)][int(first + (x + 0.5) * step)] for x in range(count)]
        for y in range(count)
    ]


def _pgm(data: bytes) -> tuple[bytes, int, int, bytes]:
    kind, width, height, _, pixels = re.split(rb"\s", data, maxsplit=4)
    return kind, int(width), int(height), pixels


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (PLACE, f"dmpool/940140000385/main/1234/{LEAF}"),
        (
            LogPlace(PLACE.origin, 7, LEAF, "https://pool.example/portal/kk/log/7"),
            "https://pool.example/portal/kk/log/7",
        ),
    ],
)
def test_the_code_on_first_and_last_page_is_that_of_the_entry(
    place: LogPlace, told: str, tmp_path: Path
) -> None:
    pdf = income_pdf(signed(form_of(paid(1))), "kk", place)
    wanted = [[bool(one) for one in row] for row in segno.make_qr(told, error="m", boost_error=False).matrix]
    for page in (1, len(texts(pdf, tmp_path))):
        assert modules(pdf, page, tmp_path) == wanted
