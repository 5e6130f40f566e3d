"""The daily report and the monthly form on paper, in Kazakh, Russian and English.

What is printed is what is signed: the tables are those of `reporting.report_tables`, and the hash on every
page is computed here over the very bytes that they were made of. On every page stand the report's id, that
hash, the page's number among all, and the entry of the transparency log in letters and as a QR code, so that
one page that was torn out still says where it belongs.

The same document gives the same bytes: the only date in the file is the document's own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785
import segno
from fpdf import FPDF

from register import catalogue
from register.miner import Language
from reporting.pdf_facts import NOTE, SIZE, TITLE, put_facts
from reporting.pdf_layout import (
    BOTTOM,
    GREY,
    HEIGHT,
    INK,
    LEFT,
    LINE,
    RED,
    RIGHT,
    Bookmark,
    Box,
    Colour,
    Composer,
    Page,
    Rule,
    Text,
    leading,
)
from reporting.pdf_table import Table
from reporting.pdf_text import Face, Type
from reporting.report_tables import daily_tables, income_tables
from reporting.report_tables_shape import Document, Section

_HEADLINE: Final = 16.0
_SUBTITLE: Final = 10.0
_AFTER: Final = 6.0
"""Millimetres between sections."""
_RUNNING: Final = 7.0
_NOTICE: Final = 9.0
_QR_SIZE: Final = 24.0
_QR_QUIET: Final = 4
"""Modules of white around the code, as its standard asks."""
_QR_PIXELS: Final = 8
"""Of a module: sharp on paper."""
_QR_CORRECTION: Final = "m"


class PdfError(ValueError):
    """The document cannot be printed. The message says why."""


@dataclass(frozen=True, slots=True)
class LogPlace:
    """Where the transparency log tells of a document."""

    origin: str
    index: int
    leaf_hash_hex: str
    url: str | None = None
    """Where the entry can be looked up by people; none: the code holds the rest of this."""

    @property
    def told(self) -> str:
        """What the QR code says."""
        return self.url or f"{self.origin}/{self.index}/{self.leaf_hash_hex}"


def daily_pdf(envelope: bytes, language: Language, place: LogPlace | None) -> bytes:
    """A signed daily report as a PDF; raises PdfError for an envelope whose hash is not its report's."""
    return _printed(envelope, daily_tables, language, place)


def income_pdf(document: bytes, language: Language, place: LogPlace | None) -> bytes:
    """A signed monthly form as a PDF; raises PdfError likewise."""
    return _printed(document, income_tables, language, place)


def _printed(
    envelope: bytes,
    tables: Callable[[Mapping[str, Any], Language], Document],
    language: Language,
    place: LogPlace | None,
) -> bytes:
    told = json.loads(envelope)
    sha256 = hashlib.sha256(rfc8785.dumps(told["report"])).hexdigest()
    if sha256 != told["report_sha256"]:
        raise PdfError(
            f"the envelope says report_sha256 {told['report_sha256']}, and its report has {sha256}: it was "
            f"changed after it was signed, and is not printed"
        )
    return render(tables(told["report"], language), sha256, place)


def render(document: Document, sha256: str, place: LogPlace | None) -> bytes:
    """The bytes of a document whose signed form has this hash."""
    pdf = FPDF(orientation="landscape", unit="mm", format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.set_creation_date(dt.datetime.fromisoformat(document.made_at))
    pdf.set_title(f"{document.title}. {document.reference}")
    pdf.set_author(document.subtitle[0])
    pdf.set_subject(f"SHA-256 {sha256}")
    pdf.set_producer("dmpool")
    pdf.set_lang(document.language)
    composer = Composer(Type(pdf))
    _compose(composer, document)
    _Press(pdf, composer.type, document, sha256, place).run(composer.pages)
    return bytes(pdf.output())


# What stands on the pages


def _compose(composer: Composer, document: Document) -> None:
    composer.lines(document.title, Face.BOLD, _HEADLINE, after=0.5)
    for line in document.subtitle:
        composer.lines(line, Face.REGULAR, _SUBTITLE, colour=GREY)
    composer.y += _AFTER
    waiting: list[Section] = []
    for section in document.sections:
        if section.facts and len(waiting) < 2:
            waiting.append(section)
            continue
        _put_waiting(composer, waiting)
        if section.facts:
            waiting.append(section)
        else:
            _put_section(composer, section, document.language)
    _put_waiting(composer, waiting)


def _put_waiting(composer: Composer, waiting: list[Section]) -> None:
    """Lists that stand beside each other."""
    if waiting:
        put_facts(composer, waiting)
        composer.y += _AFTER
        waiting.clear()


def _put_section(composer: Composer, section: Section, language: Language) -> None:
    """A title is not left alone at the foot of a page."""
    continued = catalogue.text(language, "report.pdf.continued", title=section.title)
    table = Table(section, composer.type, continued) if section.rows else None
    composer.need(leading(TITLE) + 2 * leading(NOTE) + (table.beginning if table else leading(_SUBTITLE)))
    composer.page.bookmarks.append(Bookmark(composer.y, section.title))
    composer.lines(section.title, Face.BOLD, TITLE)
    if section.note:
        composer.lines(section.note, Face.REGULAR, NOTE, colour=GREY)
    composer.y += 1.0
    if table is None:
        composer.lines(section.empty, Face.REGULAR, SIZE)
    else:
        table.put(composer)
    composer.y += _AFTER


# What is drawn


class _Press:
    """Draws pages of marks, each with what stands on every page."""

    def __init__(
        self, pdf: FPDF, type_: Type, document: Document, sha256: str, place: LogPlace | None
    ) -> None:
        self._pdf = pdf
        self._type = type_
        self._document = document
        self._sha256 = sha256
        self._place = place
        self._code = io.BytesIO(_qr(place.told)) if place else None
        self._font: tuple[Face, float] | None = None
        self._colour: Colour | None = None

    def run(self, pages: list[Page]) -> None:
        """All of them."""
        for number, page in enumerate(pages, 1):
            self._pdf.add_page()
            self._font = self._colour = None
            for bookmark in page.bookmarks:
                self._pdf.set_y(bookmark.y)
                self._pdf.start_section(self._type.clean(bookmark.title, Face.BOLD))
            self._marks(page)
            self._head()
            self._foot(number, len(pages))

    def _marks(self, page: Page) -> None:
        pdf = self._pdf
        for mark in page.marks:
            if isinstance(mark, Box):
                pdf.set_fill_color(*mark.colour)
                pdf.rect(mark.x, mark.y, mark.width, mark.height, style="F")
        pdf.set_line_width(0.15)
        for mark in page.marks:
            if isinstance(mark, Rule):
                self._rule(mark)
        for mark in page.marks:
            if isinstance(mark, Text):
                self._text(mark)

    def _rule(self, rule: Rule) -> None:
        self._pdf.set_draw_color(*rule.colour)
        self._pdf.line(rule.x, rule.y, rule.to_x, rule.to_y)

    def _text(self, text: Text) -> None:
        if self._font != (text.face, text.size):
            self._font = text.face, text.size
            self._pdf.set_font(text.face.removesuffix("B"), "B" if text.face is Face.BOLD else "", text.size)
        if self._colour != text.colour:
            self._colour = text.colour
            self._pdf.set_text_color(*text.colour)
        self._pdf.text(text.x, text.y, text.text)

    # On every page

    def _head(self) -> None:
        document = self._document
        told = self._type.clean(" · ".join((*document.subtitle, document.title)), Face.REGULAR)
        self._text(Text(LEFT, 9.5, self._fitted(told, _RUNNING), Face.REGULAR, _RUNNING, GREY))
        self._rule(Rule(LEFT, 11.0, RIGHT, 11.0, LINE))
        if document.notice:
            notice = self._type.clean(document.notice, Face.BOLD)
            self._text(Text(LEFT, 15.0, self._fitted(notice, _NOTICE), Face.BOLD, _NOTICE, RED))

    def _fitted(self, text: str, size: float) -> str:
        """One line of it; it stands whole on the first page."""
        lines = self._type.wrap(text, Face.BOLD, size, RIGHT - LEFT - 4.0)
        return lines[0] if len(lines) == 1 else f"{lines[0]}…"

    def _foot(self, number: int, pages: int) -> None:
        top = BOTTOM + 4.0
        self._rule(Rule(LEFT, top - 1.5, RIGHT, top - 1.5, LINE))
        edge = RIGHT
        if self._code is not None:
            edge = RIGHT - _QR_SIZE - 3.0
            x, y = RIGHT - _QR_SIZE, HEIGHT - _QR_SIZE - 4.0
            link = self._place.url if self._place and self._place.url else ""
            self._pdf.image(self._code, x, y, _QR_SIZE, _QR_SIZE, link=link)
        page = self._said("pdf.page", page=number, pages=pages)
        shown = self._type.width(page, Face.BOLD, _RUNNING)
        self._text(Text(edge - shown, top + 2.2, page, Face.BOLD, _RUNNING))
        names = max(self._type.width(name, Face.REGULAR, _RUNNING) for name, _, _ in self._lines())
        y = top + 2.2
        for name, value, face in self._lines():
            self._text(Text(LEFT, y, name, Face.REGULAR, _RUNNING, GREY))
            self._text(Text(LEFT + names + 3.0, y, value, face, _RUNNING, INK))
            y += leading(_RUNNING) + 0.5
        copy = self._said("pdf.copy")
        self._text(Text(LEFT, y + 0.6, copy, Face.REGULAR, _RUNNING - 1, GREY))

    def _lines(self) -> list[tuple[str, str, Face]]:
        """Names and values below each page."""
        place = self._place
        told = [
            (self._said("pdf.document"), self._document.reference, Face.BOLD),
            (self._said("pdf.sha256"), self._sha256, Face.MONO),
        ]
        if place is None:
            return [*told, (self._said("pdf.entry"), self._said("pdf.entry_none"), Face.REGULAR)]
        return [
            *told,
            (
                self._said("pdf.entry"),
                self._said("pdf.entry_place", origin=place.origin, index=place.index),
                Face.REGULAR,
            ),
            ("", place.leaf_hash_hex, Face.MONO),
        ]

    def _said(self, id_: str, **values: str | int) -> str:
        return catalogue.text(self._document.language, f"report.{id_}", **values)


def _qr(told: str) -> bytes:
    """A PNG with the quiet zone around it."""
    content = io.BytesIO()
    code = segno.make_qr(told, error=_QR_CORRECTION, boost_error=False)
    code.save(content, kind="png", scale=_QR_PIXELS, border=_QR_QUIET)
    return content.getvalue()
