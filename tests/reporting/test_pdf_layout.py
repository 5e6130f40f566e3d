"""How texts are broken and columns made: whatever stands in them, nothing leaves its cell or the page."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from fpdf import FPDF
from hypothesis import given
from hypothesis import strategies as st

from reporting.pdf_columns import SIZES, plan
from reporting.pdf_layout import BOTTOM, LEFT, RIGHT, TOP, Composer, Rule, Text
from reporting.pdf_table import Table
from reporting.pdf_text import Face, Type
from reporting.report_tables_shape import Column, Kind, Section

TYPE = Type(FPDF(unit="mm"))
HAIR = 0.01
LETTERS = st.characters(codec="utf-8")
TEXTS = st.text(LETTERS, max_size=60) | st.text("aЖқһіWi.-/;: \N{NO-BREAK SPACE}", max_size=200)
FACES = st.sampled_from(Face)
KAZAKH = "әғқңөұүһіӘҒҚҢӨҰҮҺІ"


@pytest.mark.parametrize("face", Face)
def test_each_font_has_the_letters_of_the_three_languages(face: Face) -> None:
    russian = "".join(chr(code) for code in range(ord("А"), ord("я") + 1)) + "Ёё"
    for text in (KAZAKH, russian, "«»№–−·…", "\N{NO-BREAK SPACE}0"):
        assert TYPE.clean(text, face) == text


@given(text=TEXTS, face=FACES, width=st.floats(4, 200), size=st.sampled_from(SIZES))
def test_lines_are_as_wide_as_they_may_be_and_hold_everything(
    text: str, face: Face, width: float, size: float
) -> None:
    clean = TYPE.clean(text, face)
    lines = TYPE.wrap(clean, face, size, width)
    assert "".join(lines).replace(" ", "") == clean.replace(" ", "")
    assert all(TYPE.width(line, face, size) <= width or len(line) == 1 for line in lines)
    assert len(lines) == 1 or all(line and line == line.strip(" ") for line in lines)
    assert clean == TYPE.clean(clean, face)
    assert not set(clean) & set("\n\r\t\v\f\x85\u2028\u2029")


@given(text=st.text("0123456789abcdef", min_size=1, max_size=64), width=st.floats(8, 200))
def test_a_hash_is_broken_into_lines_of_one_length(text: str, width: float) -> None:
    lines = TYPE.wrap(text, Face.MONO, 7, width)
    assert "".join(lines) == text
    assert len({len(line) for line in lines[:-1]}) <= 1
    assert len(lines[-1]) <= len(lines[0])


def test_words_are_kept_whole_where_they_can_be() -> None:
    line = "Цифрлық майнингке арналған аппараттық-бағдарламалық кешен"
    lines = TYPE.wrap(line, Face.REGULAR, 7, 32)
    assert lines == ["Цифрлық майнингке", "арналған аппараттық-", "бағдарламалық кешен"]
    number = "1\N{NO-BREAK SPACE}234\N{NO-BREAK SPACE}567,12345678"
    width = TYPE.width(number, Face.REGULAR, 7) + HAIR
    assert TYPE.wrap(f"a {number}", Face.REGULAR, 7, width) == ["a", number], "a number is one word"


@st.composite
def sections(draw: st.DrawFn) -> Section:
    columns = draw(
        st.lists(
            st.builds(
                Column,
                heading=TEXTS,
                kind=st.sampled_from(Kind),
                number=st.sampled_from(("", "1", "9.1")),
                original=TEXTS,
                group=st.sampled_from(("", "", "Комиссия цифрового майнингового пула", "Z")),
            ),
            min_size=1,
            max_size=24,
        )
    )
    row = st.tuples(*(TEXTS for _ in columns))
    rows = draw(st.lists(row, min_size=1, max_size=12))
    total = draw(st.just(()) | row)
    return Section("x", "t", "", tuple(columns), tuple(rows), total)


@given(section=sections())
def test_a_table_of_anything_stays_within_its_cells(section: Section) -> None:
    made = plan(section, TYPE)
    assert all(width > 0 for width in made.widths)
    assert made.width <= RIGHT - LEFT + HAIR
    composer = Composer(TYPE)
    Table(section, TYPE, "continued").put(composer)
    edges = list(accumulate(made.widths, initial=LEFT))
    for page in composer.pages:
        for mark in page.marks:
            if isinstance(mark, Text):
                right = mark.x + TYPE.width(mark.text, mark.face, mark.size)
                assert TOP - HAIR <= mark.y <= BOTTOM + HAIR or _headings_alone(section, made.size)
                inside = [first <= mark.x + HAIR and right <= last + HAIR for first, last in pairwise(edges)]
                grouped = any(column.group for column in section.columns) or mark.text == "continued"
                # A single letter may be wider than the narrowest of two dozen columns.
                assert any(inside) or grouped or len(mark.text) == 1, mark
            elif isinstance(mark, Rule):
                assert mark.to_x <= RIGHT + HAIR


def _headings_alone(section: Section, size: float) -> bool:
    """Headings of 200 letters in two dozen columns may be higher than a page: no report has such."""
    return size == SIZES[-1] and len(section.columns) > 12
