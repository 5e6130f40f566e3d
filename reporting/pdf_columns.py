"""How wide the columns of a printed table are, and how large its letters.

A column takes what its longest word, number or heading needs; what is left of the page's width goes to the
columns that would use it, so that rows are low. When even words do not fit, the letters get smaller; when
the smallest do not either, words are broken. They also get a little smaller where that makes a long table
shorter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reporting.pdf_layout import LEFT, RIGHT, leading
from reporting.pdf_text import Face, Type
from reporting.report_tables_shape import Column, Kind, Section

SIZES: Final = (7.5, 7.0, 6.5, 6.0, 5.5, 5.0, 4.5)
"""Points."""
_EASY: Final = 6.5
"""Nothing is set smaller than this only to save paper."""
_WORTH: Final = 1.25
"""So much higher may a table be for the sake of larger letters."""
_CODE_SIZE: Final = 0.88
"""Of a hash's letters: they are wider than others, and look larger."""
_CODE_LETTERS: Final = 16
"""In a line of a hash at least: a quarter of most."""
_LONG_WORD: Final = 34.0
"""Millimetres: a word that is wider may be broken."""
_HEADING_LINES: Final = 3
"""What a heading takes where there is room for that."""
PAD_X: Final = 1.1
ORIGINAL: Final = 0.88
"""Of the size: the form's own heading below its translation."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a table: letters and widths, paddings among these."""

    size: float
    widths: tuple[float, ...]
    columns: tuple[Column, ...]

    def face(self, place: int, *, bold: bool = False) -> tuple[Face, float]:
        """Font and size of a column's cells."""
        if self.columns[place].kind is Kind.CODE:
            return Face.MONO, self.size * _CODE_SIZE
        return (Face.BOLD if bold else Face.REGULAR), self.size

    @property
    def width(self) -> float:
        """Of the table."""
        return sum(self.widths)


def plan(section: Section, type_: Type) -> Plan:
    """How a table fits a page."""
    fitting: list[tuple[Plan, float]] = []
    for size in SIZES:
        made = _fitted(section, size, type_)
        if made is not None:
            fitting.append((made, _height(section, made, type_)))
        if fitting and size <= _EASY:
            break
    if fitting:
        lowest = min(height for _, height in fitting)
        return next(made for made, height in fitting if height <= lowest * _WORTH)
    needs = _all_needs(section, SIZES[-1], type_)
    shrink = (RIGHT - LEFT) / sum(least for least, _ in needs)
    return Plan(SIZES[-1], tuple(least * shrink for least, _ in needs), section.columns)


def _fitted(section: Section, size: float, type_: Type) -> Plan | None:
    """With letters of a size, unless its words do not fit then."""
    available = RIGHT - LEFT
    needs = _all_needs(section, size, type_)
    if sum(least for least, _ in needs) > available:
        return None
    first = Plan(size, _shared(needs, available), section.columns)
    return Plan(size, _shared(_even(section, first, needs, type_), available), section.columns)


def _height(section: Section, made: Plan, type_: Type) -> float:
    """About, without breaking a single line."""
    inner = [width - 2 * PAD_X + 0.001 for width in made.widths]
    faces = [made.face(place) for place in range(len(inner))]
    lines = sum(
        max(
            -(-type_.width(type_.clean(text, face), face, size) // width)
            for text, width, (face, size) in zip(row, inner, faces, strict=True)
        )
        for row in section.rows
    )
    return lines * leading(made.size)


def _all_needs(section: Section, size: float, type_: Type) -> list[tuple[float, float]]:
    made = Plan(size, (0.0,) * len(section.columns), section.columns)
    return [_needs(section, made, place, type_) for place in range(len(section.columns))]


def _needs(section: Section, made: Plan, place: int, type_: Type) -> tuple[float, float]:
    """The least width of a column, and the one beyond which it has no use for more."""
    column = made.columns[place]
    face, size = made.face(place)
    texts = [type_.clean(row[place], face) for row in section.rows]
    bold, bold_size = made.face(place, bold=True)
    widest = [type_.width(text, face, size) for text in texts]
    if section.total:
        widest.append(type_.width(type_.clean(section.total[place], bold), bold, bold_size))
    most = max(widest, default=0.0)
    match column.kind:
        case Kind.NUMBER:
            least = most
        case Kind.CODE:
            least = min(most, type_.width("0" * _CODE_LETTERS, face, size))
        case Kind.TEXT:
            words = max((type_.widest_word(text, face, size) for text in texts), default=0.0)
            least = min(words, _LONG_WORD)
    headings = [(column.heading, Face.BOLD, size), (column.original, Face.REGULAR, size * ORIGINAL)]
    headings.append((column.number, Face.REGULAR, size * ORIGINAL))
    if column.kind is Kind.CODE:
        headings = [(text, one, of / _CODE_SIZE) for text, one, of in headings]
    for text, one, of in headings:
        heading = type_.clean(text, one)
        least = max(least, type_.widest_word(heading, one, of))
        most = max(most, type_.width(heading, one, of) / _HEADING_LINES)
    if column.group:
        beside = sum(other.group == column.group for other in made.columns)
        above = type_.width(type_.clean(column.group, Face.BOLD), Face.BOLD, size)
        most = max(most, above / _HEADING_LINES / beside)
    return least + 2 * PAD_X, max(most, least) + 2 * PAD_X


def _even(
    section: Section, made: Plan, needs: Sequence[tuple[float, float]], type_: Type
) -> list[tuple[float, float]]:
    """The same with hashes in lines of one length: what they do not use is for the other columns."""
    even = list(needs)
    for place, (least, _) in enumerate(needs):
        if made.columns[place].kind is not Kind.CODE:
            continue
        face, size = made.face(place)
        letter = type_.width("0", face, size)
        longest = max((len(type_.clean(row[place], face)) for row in section.rows), default=0) or 1
        fitting = max(int((made.widths[place] - 2 * PAD_X) / letter + 1e-6), 1)
        lines = -(-longest // fitting)
        width = max(-(-longest // lines) * letter + 2 * PAD_X, least)
        even[place] = width, width
    return even


def _shared(needs: Sequence[tuple[float, float]], available: float) -> tuple[float, ...]:
    """The least widths and, of what is left, to each column its part of what it could use.

    Roots make it fair: a column of long sentences leaves something to those that need a little.
    """
    wants = [most - least for least, most in needs]
    extra = available - sum(least for least, _ in needs)
    if sum(wants) <= extra:
        return tuple(most for _, most in needs)
    given = [0.0] * len(needs)
    while extra > 0.01 and (
        open_ := [place for place, want in enumerate(wants) if want - given[place] > 0.01]
    ):
        roots = {place: (wants[place] - given[place]) ** 0.5 for place in open_}
        portion = extra / sum(roots.values())
        for place, root in roots.items():
            more = min(portion * root, wants[place] - given[place])
            given[place] += more
            extra -= more
    return tuple(least + more for (least, _), more in zip(needs, given, strict=True))
