"""Lists of names and values on paper: two beside each other where two follow each other.

A list is short; it goes to the next page whole when it does not fit, and only one that is higher than a page
is parted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from reporting.pdf_layout import (
    BOTTOM,
    GREY,
    INK,
    LEFT,
    RIGHT,
    TOP,
    Bookmark,
    Composer,
    Rule,
    Text,
    baseline,
    leading,
)
from reporting.pdf_text import Face, Type
from reporting.report_tables_shape import Kind, Section

SIZE: Final = 7.5
TITLE: Final = 10.0
NOTE: Final = 7.0
_CODE: Final = 6.3
_CODE_LETTERS: Final = 32
"""A value of so many letters without a blank is a hash or an address."""
_GAP: Final = 8.0
"""Between two lists."""
_HALF: Final = (RIGHT - LEFT - _GAP) / 2
_NAMES: Final = 46.0
_NUMBER_NAMES: Final = 88.0
"""Of a list whose values are numbers, which are short."""
_PAD: Final = 0.7

_MOST_LINES: Final = 30
"""Of one value in one piece."""

Line = tuple[str, Face, float]


class _Row(NamedTuple):
    name: list[str]
    value: list[Line]

    @property
    def height(self) -> float:
        lines = max(len(self.name), len(self.value))
        return lines * leading(SIZE) + 2 * _PAD

    def pieces(self) -> Iterator[_Row]:
        """Itself; a value that would fill a page, in pieces that do not."""
        for start in range(0, max(len(self.value), 1), _MOST_LINES):
            yield _Row([] if start else self.name, self.value[start : start + _MOST_LINES])


def put_facts(composer: Composer, sections: Sequence[Section]) -> None:
    """One list, or two beside each other."""
    lists = [_List(section, composer.type) for section in sections]
    height = max(one.height for one in lists)
    if height > BOTTOM - TOP:
        for one in lists:
            _put_long(composer, one)
        return
    composer.need(height)
    top = composer.y
    for place, one in enumerate(lists):
        composer.y = top
        one.put(composer, LEFT + place * (_HALF + _GAP), one.rows, titled=True)
    composer.y = top + height


def _put_long(composer: Composer, one: _List) -> None:
    """Row by row, from page to page."""
    composer.need(one.head + one.rows[0].height)
    for number, row in enumerate(one.rows):
        composer.need(row.height)
        one.put(composer, LEFT, [row], titled=number == 0)


class _List:
    """One of them, its texts broken to half a page."""

    def __init__(self, section: Section, type_: Type) -> None:
        self._type = type_
        self._numbers = section.columns[1].kind is Kind.NUMBER
        self._names = _NUMBER_NAMES if self._numbers else _NAMES
        self._title = section.title
        self._titles = self._wrapped(section.title, Face.BOLD, TITLE, _HALF)
        self._notes = self._wrapped(section.note, Face.REGULAR, NOTE, _HALF) if section.note else []
        self.rows = [
            piece
            for name, value in section.rows
            for piece in _Row(self._name(name), self._value(value)).pieces()
        ]
        self.head = len(self._titles) * leading(TITLE) + len(self._notes) * leading(NOTE) + 1.0

    @property
    def height(self) -> float:
        """With title and note."""
        return self.head + sum(row.height for row in self.rows)

    def _wrapped(self, text: str, face: Face, size: float, width: float) -> list[str]:
        return self._type.wrap(self._type.clean(text, face), face, size, width)

    def _name(self, name: str) -> list[str]:
        return self._wrapped(name, Face.REGULAR, SIZE, self._names - 2.0)

    def _value(self, value: str) -> list[Line]:
        code = " " not in value and len(value) >= _CODE_LETTERS
        face, size = (Face.MONO, _CODE) if code else (Face.BOLD if self._numbers else Face.REGULAR, SIZE)
        return [(line, face, size) for line in self._wrapped(value, face, size, _HALF - self._names)]

    def put(self, composer: Composer, x: float, rows: Sequence[_Row], *, titled: bool) -> None:
        """Rows from where the composer is."""
        marks = composer.page.marks
        if titled:
            composer.page.bookmarks.append(Bookmark(composer.y, self._title))
            for line in self._titles:
                marks.append(Text(x, baseline(composer.y, TITLE), line, Face.BOLD, TITLE))
                composer.y += leading(TITLE)
            for line in self._notes:
                marks.append(Text(x, baseline(composer.y, NOTE), line, Face.REGULAR, NOTE, GREY))
                composer.y += leading(NOTE)
            composer.y += 1.0
            marks.append(Rule(x, composer.y, x + _HALF, composer.y, INK))
        for row in rows:
            y = composer.y + _PAD
            for number, line in enumerate(row.name):
                marks.append(
                    Text(x, baseline(y + number * leading(SIZE), SIZE), line, Face.REGULAR, SIZE, GREY)
                )
            for number, (line, face, size) in enumerate(row.value):
                shift = _HALF - self._type.width(line, face, size) if self._numbers else self._names
                marks.append(Text(x + shift, baseline(y + number * leading(SIZE), SIZE), line, face, size))
            composer.y += row.height
            marks.append(Rule(x, composer.y, x + _HALF, composer.y))
