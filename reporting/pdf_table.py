"""A table on paper: its headings, and its rows from page to page.

A row goes to the next page whole, and the headings with it; one that is higher than a page is parted. An
official form is ruled, and has its headings in two lines where one stands above several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from reporting.pdf_columns import ORIGINAL, PAD_X, Plan, plan
from reporting.pdf_layout import (
    BOTTOM,
    GREY,
    HEAD,
    INK,
    LEFT,
    RIGHT,
    STRIPE,
    TOP,
    Box,
    Colour,
    Composer,
    Rule,
    Text,
    baseline,
    leading,
)
from reporting.pdf_text import Face, Type
from reporting.report_tables_shape import Kind, Section

_FIRST_LINES: Final = 4
"""Of rows: with fewer a table is not begun on a page."""
_AGAIN: Final = 7.0
"""Of a title that is gone on with."""
_PAD_Y: Final = 0.55


class Cell(NamedTuple):
    """Lines with their faces, and whether they stand at the right."""

    lines: tuple[tuple[str, Face, float], ...]
    right: bool


class Table:
    """A section's table, ready to be put on pages."""

    def __init__(self, section: Section, type_: Type, continued: str) -> None:
        """`continued` stands above the headings on every page but the first."""
        self._section = section
        self._plan = plan(section, type_)
        self._head = _Head(self._plan, type_, continued)

    @property
    def beginning(self) -> float:
        """What its headings and a few lines take."""
        return self._head.height + _FIRST_LINES * leading(self._plan.size)

    def put(self, composer: Composer) -> None:
        """From where the composer is."""
        section, made, head = self._section, self._plan, self._head
        head.put(composer)
        for number, row in enumerate(section.rows):
            cells = _cells(row, made, composer.type)
            _put_row(composer, made, head, cells, striped=bool(number % 2))
        if section.total:
            cells = _cells(section.total, made, composer.type, bold=True)
            _put_row(composer, made, head, cells, striped=False, above=INK)
        composer.page.marks.append(Rule(LEFT, composer.y, LEFT + made.width, composer.y))


def _cells(row: Sequence[str], made: Plan, type_: Type, *, bold: bool = False) -> list[Cell]:
    cells = []
    for place, text in enumerate(row):
        face, size = made.face(place, bold=bold)
        width = made.widths[place] - 2 * PAD_X
        lines = type_.wrap(type_.clean(text, face), face, size, width + 0.001)
        right = made.columns[place].kind is Kind.NUMBER
        cells.append(Cell(tuple((line, face, size) for line in lines), right))
    return cells


def _put_row(
    composer: Composer,
    made: Plan,
    head: _Head,
    cells: list[Cell],
    *,
    striped: bool,
    above: Colour | None = None,
) -> None:
    """A row on this page, or on the next under the headings again; piece by piece when it is too high."""
    step = leading(made.size)
    whole = max(int((BOTTOM - TOP - head.height_again - 2 * _PAD_Y) / step), 1)
    lines = max(len(cell.lines) for cell in cells)
    for start in range(0, lines, whole):
        piece = [cell._replace(lines=cell.lines[start : start + whole]) for cell in cells]
        height = min(lines - start, whole) * step + 2 * _PAD_Y
        if composer.room < height:
            composer.page.marks.append(Rule(LEFT, composer.y, LEFT + made.width, composer.y))
            composer.turn()
            head.put_again(composer)
        if above is not None:
            composer.page.marks.append(Rule(LEFT, composer.y, LEFT + made.width, composer.y, above))
        if striped:
            composer.page.marks.append(Box(LEFT, composer.y, made.width, height, STRIPE))
        _put_cells(composer, made, piece, composer.y + _PAD_Y, step)
        if head.numbered:
            _put_grid(composer, made, composer.y, height)
        composer.y += height


def _put_grid(composer: Composer, made: Plan, top: float, height: float) -> None:
    """An official form is ruled: each column, and each row below."""
    edges = [LEFT + sum(made.widths[:place]) for place in range(len(made.widths) + 1)]
    composer.page.marks += [Rule(x, top, x, top + height) for x in edges]
    composer.page.marks.append(Rule(edges[0], top + height, edges[-1], top + height))


def _put_cells(composer: Composer, made: Plan, cells: Sequence[Cell], top: float, step: float) -> None:
    x = LEFT
    for cell, width in zip(cells, made.widths, strict=True):
        for number, (line, face, size) in enumerate(cell.lines):
            if not line:
                continue
            shift = width - PAD_X - composer.type.width(line, face, size) if cell.right else PAD_X
            y = baseline(top + number * step, made.size)
            composer.page.marks.append(Text(x + shift, y, line, face, size))
        x += width


class _Head:
    """The headings of a table, for each page that it is on."""

    def __init__(self, made: Plan, type_: Type, continued: str) -> None:
        self._made = made
        self._continued = type_.wrap(type_.clean(continued, Face.REGULAR), Face.REGULAR, _AGAIN, RIGHT - LEFT)
        self._type = type_
        self._cells = [self._heading(place) for place in range(len(made.columns))]
        self._groups = self._grouped()
        self.numbered = any(column.number for column in made.columns)
        """Whether it is an official form."""
        self._upper = max((self._high(lines) + _PAD_Y for _, _, lines in self._groups), default=0.0)
        below = [column.group != "" for column in made.columns]
        high = [self._high(lines) + 2 * _PAD_Y for lines in self._cells]
        lower = max((one for one, grouped in zip(high, below, strict=True) if grouped), default=0.0)
        # A heading with nothing above it uses that room too.
        self._both = max(self._upper + lower, *high)
        self._last = leading(made.size) + _PAD_Y if self.numbered else 0.0
        self.height = self._both + self._last

    def _heading(self, place: int) -> list[tuple[str, Face, float]]:
        column, width = self._made.columns[place], self._made.widths[place]
        return self._lines(column.heading, column.original, width)

    def _lines(self, heading: str, original: str, width: float) -> list[tuple[str, Face, float]]:
        size, inner = self._made.size, width - 2 * PAD_X + 0.001
        told = [(heading, Face.BOLD, size), (original, Face.REGULAR, size * ORIGINAL)]
        return [
            (line, face, of)
            for text, face, of in told
            if text
            for line in self._type.wrap(self._type.clean(text, face), face, of, inner)
        ]

    def _grouped(self) -> list[tuple[int, int, list[tuple[str, Face, float]]]]:
        """First and last column of each group, and the lines of its heading."""
        groups: list[tuple[int, int]] = []
        for place, column in enumerate(self._made.columns):
            same = groups and column.group and self._made.columns[place - 1].group == column.group
            if same:
                groups[-1] = (groups[-1][0], place)
            elif column.group:
                groups.append((place, place))
        return [
            (
                first,
                last,
                self._lines(
                    self._made.columns[first].group,
                    self._made.columns[first].group_original,
                    sum(self._made.widths[first : last + 1]),
                ),
            )
            for first, last in groups
        ]

    def _high(self, lines: Sequence[tuple[str, Face, float]]) -> float:
        return sum(leading(size) for _, _, size in lines)

    @property
    def height_again(self) -> float:
        """With what stands above them on a later page."""
        return self.height + len(self._continued) * leading(_AGAIN) + _PAD_Y

    def put_again(self, composer: Composer) -> None:
        """On a later page, below the title that is gone on with."""
        for line in self._continued:
            y = baseline(composer.y, _AGAIN)
            composer.page.marks.append(Text(LEFT, y, line, Face.REGULAR, _AGAIN, GREY))
            composer.y += leading(_AGAIN)
        composer.y += _PAD_Y
        self.put(composer)

    def put(self, composer: Composer) -> None:
        """Draw them where the composer is."""
        made, top = self._made, composer.y
        composer.page.marks.append(Box(LEFT, top, made.width, self.height, HEAD))
        for first, last, lines in self._groups:
            x = LEFT + sum(made.widths[:first])
            self._put(composer, lines, x, top + _PAD_Y, right=0.0)
            y = top + self._upper + _PAD_Y
            composer.page.marks.append(Rule(x, y, x + sum(made.widths[first : last + 1]), y))
        x = LEFT
        for place, lines in enumerate(self._cells):
            column, width = made.columns[place], made.widths[place]
            right = width if column.kind is Kind.NUMBER else 0.0
            y = top + self._both - _PAD_Y - self._high(lines)
            self._put(composer, lines, x, y, right=right)
            if column.number:
                number = [(column.number, Face.REGULAR, made.size * ORIGINAL)]
                self._put(composer, number, x, top + self._both, right=right)
            x += width
        if self.numbered:
            self._put_grid(composer, top)
        composer.y += self.height
        composer.page.marks.append(Rule(LEFT, composer.y, LEFT + made.width, composer.y, INK))

    def _put_grid(self, composer: Composer, top: float) -> None:
        """Between all columns; within a group only below its heading."""
        x, made = LEFT, self._made
        for place, column in enumerate(made.columns):
            within = place > 0 and column.group != "" and made.columns[place - 1].group == column.group
            upper = top + self._upper + _PAD_Y if within else top
            composer.page.marks.append(Rule(x, upper, x, top + self.height))
            x += made.widths[place]
        composer.page.marks.append(Rule(x, top, x, top + self.height))

    def _put(
        self,
        composer: Composer,
        lines: Sequence[tuple[str, Face, float]],
        x: float,
        y: float,
        *,
        right: float,
    ) -> None:
        """Lines from `y` down; at the right of a column so wide, or at its left."""
        for line, face, size in lines:
            shift = right - PAD_X - self._type.width(line, face, size) if right else PAD_X
            colour = INK if face is Face.BOLD else GREY
            composer.page.marks.append(Text(x + shift, baseline(y, size), line, face, size, colour))
            y += leading(size)
