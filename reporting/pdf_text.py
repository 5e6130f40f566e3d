"""Letters on paper: the fonts of the printed reports, how wide a text is in them, and where it is broken.

Every text is broken here, before anything is drawn, so that the pages are known by number and nothing can run
over its cell. Widths are in millimetres, sizes in points. The fonts have all Kazakh letters; a letter that
they do not have becomes a white square, since a text is never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, cast

from fpdf import FPDF
from fpdf.fonts import TTFFont

_FONTS: Final = Path(__file__).with_name("fonts")
MILLIMETRES: Final = 25.4 / 72
"""In a point."""
_UNKNOWN: Final = "\N{WHITE SQUARE}"
_BLANKS: Final = re.compile(r"[ \t\r\n\v\f\x1c-\x1f\x85\u2028\u2029]+")
_JOINTS: Final = re.compile(r"[^-/;:,._@]+[-/;:,._@]*|[-/;:,._@]+")
"""Pieces that a word too long for its line is broken into first."""


class Face(StrEnum):
    """One font: family and style as the document knows them."""

    REGULAR = "sans"
    BOLD = "sansB"
    MONO = "mono"


_FILES: Final[Mapping[Face, str]] = {
    Face.REGULAR: "DejaVuSansCondensed.ttf",
    Face.BOLD: "DejaVuSansCondensed-Bold.ttf",
    Face.MONO: "DejaVuSansMono.ttf",
}


class Type:
    """The fonts of one document, and texts measured in them."""

    def __init__(self, pdf: FPDF) -> None:
        self._widths: dict[Face, Mapping[int, int]] = {}
        self._letters: dict[Face, frozenset[str]] = {}
        self._known: dict[tuple[Face, str], int] = {}
        self._cleaned: dict[tuple[Face, str], str] = {}
        for face, file in _FILES.items():
            family, style = face.removesuffix("B"), "B" if face is Face.BOLD else ""
            pdf.add_font(family, style, _FONTS / file)
            font = cast(TTFFont, pdf.fonts[face])
            letters = font.cmap
            self._letters[face] = frozenset(map(chr, letters))
            self._widths[face] = {int(letter): int(font.cw[letter]) for letter in letters}

    def clean(self, text: str, face: Face) -> str:
        """A text as it can be drawn: one line, of letters that the font has."""
        known = self._cleaned.get((face, text))
        if known is None:
            letters = self._letters[face]
            line = _BLANKS.sub(" ", text).strip(" ")
            if not letters.issuperset(line):
                line = "".join(letter if letter in letters else _UNKNOWN for letter in line)
            known = self._cleaned[face, text] = line
        return known

    def width(self, text: str, face: Face, size: float) -> float:
        """Of a text that was cleaned."""
        return self._units(text, face) * size * MILLIMETRES / 1000

    def _units(self, text: str, face: Face) -> int:
        known = self._known.get((face, text))
        if known is None:
            widths = self._widths[face]
            known = self._known[face, text] = sum(widths[ord(letter)] for letter in text)
        return known

    def widest_word(self, text: str, face: Face, size: float) -> float:
        """What a column needs so that no word of a text is broken; blanks that do not break hold."""
        return max((self.width(word, face, size) for word in text.split(" ")), default=0.0)

    def wrap(self, text: str, face: Face, size: float, width: float) -> list[str]:
        """The lines of a text; none is wider than `width`, but for a single letter that is."""
        if self.width(text, face, size) <= width:
            return [text]
        if face is Face.MONO and " " not in text:
            return self._even(text, face, size, width)
        lines, line = [], ""
        for word in self._words(text, face, size, width):
            # A piece goes on where the one before it ended: only whole words are parted by blanks.
            longer = f"{line}{word}" if not word.startswith(" ") or line else word[1:]
            if line and self.width(longer, face, size) > width:
                lines.append(line)
                longer = word.removeprefix(" ")
            line = longer
        return [*lines, line]

    def _words(self, text: str, face: Face, size: float, width: float) -> Iterator[str]:
        """Words, each after the first with the blank before it; what is too wide for a line, in pieces."""
        for number, word in enumerate(text.split(" ")):
            blank = " " if number else ""
            if self.width(word, face, size) <= width:
                yield blank + word
                continue
            for piece in _JOINTS.findall(word):
                pieces = [piece] if self.width(piece, face, size) <= width else piece
                for part in pieces:
                    yield blank + part
                    blank = ""

    def _even(self, text: str, face: Face, size: float, width: float) -> list[str]:
        """A hash in lines of one length, so that it is compared easily."""
        fitting = max(int(width / self.width("0", face, size) + 1e-6), 1)
        lines = -(-len(text) // fitting)
        each = -(-len(text) // lines)
        return [text[at : at + each] for at in range(0, len(text), each)]
