"""Where everything of a printed report stands: pages of marks, before a page is drawn.

Two steps, so that each page can say how many there are, and so that what was laid out can be looked at by a
test. A mark is a text on its baseline, a filled box or a rule; all in millimetres from the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from reporting.pdf_text import MILLIMETRES, Face, Type

Colour = tuple[int, int, int]
INK: Final[Colour] = (22, 24, 28)
GREY: Final[Colour] = (92, 98, 108)
LINE: Final[Colour] = (186, 193, 203)
HEAD: Final[Colour] = (228, 233, 240)
STRIPE: Final[Colour] = (246, 248, 250)
RED: Final[Colour] = (168, 0, 0)

WIDTH: Final = 297.0
HEIGHT: Final = 210.0
"""A4 across: the widest tables are wide."""
LEFT: Final = 12.0
RIGHT: Final = WIDTH - 12.0
TOP: Final = 18.0
BOTTOM: Final = HEIGHT - 32.0
"""Between them stands the report; above and below, what is on every page."""
LEADING: Final = 1.24
"""From line to line, of the size."""
_BASELINE: Final = 0.95
"""Of the size, from the top of a line down to where its letters stand."""


class Text(NamedTuple):
    """One line."""

    x: float
    y: float
    text: str
    face: Face
    size: float
    colour: Colour = INK


class Box(NamedTuple):
    """A filled one."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour


class Rule(NamedTuple):
    """A line across or down."""

    x: float
    y: float
    to_x: float
    to_y: float
    colour: Colour = LINE


Mark = Text | Box | Rule


class Bookmark(NamedTuple):
    """A section that a reader can go to."""

    y: float
    title: str


@dataclass
class Page:
    """Boxes and rules are drawn before texts."""

    marks: list[Mark] = field(default_factory=list)
    bookmarks: list[Bookmark] = field(default_factory=list)


class Composer:
    """Fills pages from top to bottom; `y` is where the next thing begins."""

    def __init__(self, type_: Type) -> None:
        self.type = type_
        self.pages = [Page()]
        self.y = TOP

    @property
    def page(self) -> Page:
        """The one being filled."""
        return self.pages[-1]

    @property
    def room(self) -> float:
        """What is left of it."""
        return BOTTOM - self.y

    def turn(self) -> None:
        """Go on with the next page."""
        self.pages.append(Page())
        self.y = TOP

    def need(self, height: float) -> None:
        """Turn the page unless so much is left; on a fresh page there is no more to be had."""
        if self.room < height and self.y > TOP:
            self.turn()

    def lines(
        self,
        text: str,
        face: Face,
        size: float,
        *,
        colour: Colour = INK,
        width: float = RIGHT - LEFT,
        after: float = 0.0,
    ) -> None:
        """A text in as many lines as it takes."""
        for line in self.type.wrap(self.type.clean(text, face), face, size, width):
            self.need(leading(size))
            self.page.marks.append(Text(LEFT, baseline(self.y, size), line, face, size, colour))
            self.y += leading(size)
        self.y += after


def leading(size: float) -> float:
    """The height of a line."""
    return size * LEADING * MILLIMETRES


def baseline(top: float, size: float) -> float:
    """Where the letters of a line stand whose upper edge is at `top`."""
    return top + size * _BASELINE * MILLIMETRES
