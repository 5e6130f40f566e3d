"""An XLSX workbook read cell by cell: the first sheet, as texts.

The file may be anybody's. Of the package only stored and deflated parts are unpacked, in pieces, up to a
bound; of XML no document type is taken, and no depth, tag or list of names without end. What is bounded and
what is read is the same pass, so that there is nothing a second reader could see differently; nothing is
held but the strings that cells share and the rows of one piece.

A cell says what one would type: a number whole, a date at midnight as a day. Formulas count by their last
value. Sources: ECMA-376 parts 1 (18.3, 18.4, 18.8) and 2.
"""

from __future__ import annotations

import datetime as dt
import io
import itertools
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from xml.parsers import expat

COLUMNS_LIMIT: Final = 100
ROWS_LAST: Final = 1_048_576
CELLS_LAST: Final = 16_384
"""The last row and cell that the format knows."""
UNPACKED_LIMIT: Final = 1_000_000_000
SMALL_PART_LIMIT: Final = 20_000_000
"""Of the parts that are no sheet and no strings."""
STRINGS_LIMIT: Final = 2_000_000
STRINGS_PART_LIMIT: Final = 100_000_000
TEXT_LIMIT: Final = 32_767
"""Characters of one cell, as the format has it."""
_PIECE: Final = 1 << 18
_DIRECTORY_LIMIT: Final = 1 << 20
_TAG_LIMIT: Final = 1 << 20
_DEPTH_LIMIT: Final = 50
_NAMES_LIMIT: Final = 5_000
"""Different names of elements, attributes and name spaces: each stays in memory."""
_SPACES: Final = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)
_KNOWN: Final = {f"{space} {name}": name for space in _SPACES for name in ("c", "row", "v", "t", "si", "rPh")}
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NAMES: Final = tuple(
    "".join(letters) for size in (1, 2, 3) for letters in itertools.product(_LETTERS, repeat=size)
)[:CELLS_LAST]
_COLUMNS: Final = {name: column for column, name in enumerate(_NAMES)}
_ROW: Final = re.compile(r"[1-9][0-9]{0,6}")
_INDEX: Final = re.compile(r"[0-9]{1,9}")
_NUMBER: Final = re.compile(r"-?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_ESCAPED: Final = re.compile(r"_x((?!D[89A-F])[0-9A-F]{4})_", re.IGNORECASE)
_NO_DATE: Final = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]|General', re.IGNORECASE)
_DATE_FORMATS: Final = frozenset((*range(14, 23), *range(27, 37), *range(50, 59)))
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, expat.ExpatError, struct.error, KeyError, EOFError)
_UNREADABLE: Final = (*_BROKEN, OSError, RuntimeError, ValueError, OverflowError)
"""What zipfile, zlib and expat raise for a file that is broken, by accident or by design."""


class WorkbookError(ValueError):
    """The workbook cannot be read as a table. The message says what is wrong."""


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row that has some; raises WorkbookError, or OSError."""
    with _File(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield from _Workbook(archive).rows()
        except WorkbookError:
            raise
        except _UNREADABLE as error:
            raise WorkbookError(
                f"is no XLSX workbook that can be read: {str(error) or type(error).__name__}; "
                f"save it anew, or as CSV UTF-8"
            ) from error


class _File(io.FileIO):
    """The package; its list of parts, which is read at once, is bounded."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_LIMIT:
            raise zipfile.BadZipFile("it has too many parts")
        return super().read(-1 if size is None else size) or b""


class _Workbook:
    """The parts of a package."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        sheets, self._epoch = _read_book(self._feed, "xl/workbook.xml")
        relations = _read_relations(self._feed, "xl/_rels/workbook.xml.rels")
        self._sheet = next((target for one, _, target in relations if one == sheets), None)
        parts = {kind.rpartition("/")[2]: target for _, kind, target in relations}
        self._strings = parts.get("sharedStrings")
        self._styles = parts.get("styles")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        if self._sheet is None:
            raise WorkbookError("is a workbook without a sheet; save it anew, or as CSV UTF-8")
        strings = _read_strings(self._feed, self._strings) if self._strings else []
        dated = _read_styles(self._feed, self._styles) if self._styles else []
        reader = _SheetReader(strings, dated, self._epoch)
        for _ in self._feed(self._sheet, reader.parser, UNPACKED_LIMIT):
            yield from reader.taken()

    def _feed(self, name: str, parser: expat.XMLParserType, limit: int) -> Iterator[None]:
        """Parse a part, a piece at a time."""
        part = self._archive.getinfo(name)
        if part.flag_bits & 1:
            raise WorkbookError("is protected by a password; save it without one")
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WorkbookError("is packed in a way that XLSX does not know; save it anew")
        parser.StartDoctypeDeclHandler = _refuse_doctype
        fed = 0
        with self._archive.open(part) as content:
            while piece := content.read(_PIECE):
                fed += len(piece)
                if fed > limit:
                    raise WorkbookError(f"unpacks to more than {limit} bytes; split it")
                parser.Parse(piece, False)
                if fed - parser.CurrentByteIndex > _TAG_LIMIT:
                    raise WorkbookError(f"has a tag of more than {_TAG_LIMIT} bytes; save it anew")
                if len(parser.intern) > _NAMES_LIMIT:
                    raise WorkbookError(f"has more than {_NAMES_LIMIT} names of elements; save it anew")
                yield
        parser.Parse(b"", True)
        yield


_Feed = Callable[[str, expat.XMLParserType, int], Iterator[None]]


def _refuse_doctype(*_: object) -> None:
    raise WorkbookError("declares a document type, which no workbook does; save it anew")


def _note(*_: object) -> None:
    """Nothing is to be done."""


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=" ", intern={})
    parser.buffer_text = True
    parser.StartNamespaceDeclHandler = _note  # so that the names are counted in parser.intern
    return parser


def _read_small(feed: _Feed, name: str, see: Callable[[tuple[str, ...], dict[str, str]], object]) -> None:
    """Show `see` every element by its path of local names, with its attributes."""
    path: list[str] = []

    def start(element: str, attributes: dict[str, str]) -> None:
        path.append(element.rpartition(" ")[2])
        if len(path) > _DEPTH_LIMIT:
            raise WorkbookError("is nested deeper than any workbook; save it anew")
        see(tuple(path[-2:]), attributes)

    parser = _parser()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda element: path.pop()
    for _ in feed(name, parser, SMALL_PART_LIMIT):
        pass


def _read_book(feed: _Feed, name: str) -> tuple[str | None, dt.datetime]:
    """The relation of the first sheet, and the day from which dates are counted."""
    first: list[str] = []
    epoch = [dt.datetime(1899, 12, 30)]

    def see(path: tuple[str, ...], attributes: dict[str, str]) -> None:
        if path == ("sheets", "sheet") and not first:
            first.extend(value for key, value in attributes.items() if key.endswith("/relationships id"))
        elif path[-1] == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            epoch[0] = dt.datetime(1904, 1, 1)

    _read_small(feed, name, see)
    return (first[0] if first else None), epoch[0]


def _read_relations(feed: _Feed, name: str) -> list[tuple[str, str, str]]:
    """Id, kind and name of each part of the workbook."""
    found: list[tuple[str, str, str]] = []

    def see(path: tuple[str, ...], attributes: dict[str, str]) -> None:
        if path[-1] == "Relationship":
            target = posixpath.normpath(posixpath.join("/xl", attributes["Target"])).lstrip("/")
            found.append((attributes["Id"], attributes["Type"], target))

    _read_small(feed, name, see)
    return found


def _read_styles(feed: _Feed, name: str) -> list[bool]:
    """Of each style of cells, whether its numbers are dates."""
    own: dict[str, bool] = {}
    dated: list[bool] = []

    def see(path: tuple[str, ...], attributes: dict[str, str]) -> None:
        if path == ("numFmts", "numFmt"):
            bare = _NO_DATE.sub("", attributes["formatCode"].partition(";")[0])
            own[attributes["numFmtId"]] = any(letter in "ymdhs" for letter in bare.lower())
        elif path == ("cellXfs", "xf"):
            number = attributes.get("numFmtId", "0")
            dated.append(own.get(number, number.isdecimal() and int(number[:9]) in _DATE_FORMATS))

    _read_small(feed, name, see)
    return dated


def _read_strings(feed: _Feed, name: str) -> list[str]:
    """The strings that cells share, without what tells how they are pronounced."""
    found: list[str] = []
    texts = _Texts()

    def end(element: str) -> None:
        texts.end(element)
        if _KNOWN.get(element) == "si":
            if len(found) == STRINGS_LIMIT:
                raise WorkbookError(f"has more than {STRINGS_LIMIT} different texts; split it")
            found.append(texts.take("one of its texts"))

    parser = _parser()
    parser.StartElementHandler = texts.start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = texts.data
    for _ in feed(name, parser, STRINGS_PART_LIMIT):
        pass
    return found


class _Texts:
    """What stands in the `t` elements of a string, those of how it is pronounced excepted."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._size = 0
        self._depth = 0
        self._open = False
        self._silent = 0

    def start(self, element: str, _: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise WorkbookError("is nested deeper than any workbook; save it anew")
        if _KNOWN.get(element) == "rPh":
            self._silent = self._silent or self._depth
        self._open = not self._silent and _KNOWN.get(element) == "t"

    def end(self, element: str) -> None:
        if self._silent == self._depth:
            self._silent = 0
        self._depth -= 1
        self._open = False

    def data(self, text: str) -> None:
        if self._open:
            self._size += len(text)
            if self._size <= TEXT_LIMIT:
                self.parts.append(text)

    def take(self, where: str) -> str:
        if self._size > TEXT_LIMIT:
            raise WorkbookError(f"{where} has more than {TEXT_LIMIT} characters; shorten it")
        text = "".join(self.parts)
        self.parts.clear()
        self._size = 0
        return _plain(text)


def _plain(text: str) -> str:
    if "_x" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return text.strip()


# The sheet


class _SheetReader:
    """Handlers of the elements of a sheet; rows come out in the order of their numbers."""

    def __init__(self, strings: list[str], dated: list[bool], epoch: dt.datetime) -> None:
        self._strings = strings
        self._dated = dated
        self._epoch = epoch
        self._done: list[tuple[int, list[str]]] = []
        self._depth = 0
        self._row = 0
        self._number_of_row = "0"
        self._in_row = False
        self._cells: list[str] = []
        self._column = -1
        self._kind = ""
        self._style = ""
        self._wanted: str | None = None
        self._silent = 0
        self._open = False
        self._parts: list[str] = []
        self._size = 0
        self.parser = _parser()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data

    def taken(self) -> list[tuple[int, list[str]]]:
        """The rows that have ended since it was asked last."""
        done, self._done = self._done, []
        return done

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        name = _KNOWN.get(element)
        if name == "c":
            if self._in_row and self._depth == 4:
                self._begin_cell(attributes)
        elif name is not None and name == self._wanted:
            self._open = not self._silent
        elif name == "row":
            if self._depth == 3:
                self._begin_row(attributes.get("r"))
        elif name == "rPh":
            self._silent = self._silent or self._depth
        if self._depth > _DEPTH_LIMIT:
            raise WorkbookError("is nested deeper than any workbook; save it anew")

    def _end(self, element: str) -> None:
        if self._depth == 4:
            if self._wanted is not None:
                self._end_cell()
        elif self._depth == 3 and self._in_row:
            self._in_row = False
            if self._cells:
                self._done.append((self._row, self._cells))
        if self._silent == self._depth:
            self._silent = 0
        self._depth -= 1
        self._open = False

    def _data(self, text: str) -> None:
        if self._open:
            self._size += len(text)
            if self._size > TEXT_LIMIT:
                raise WorkbookError(f"{self._place} has more than {TEXT_LIMIT} characters; shorten it")
            self._parts.append(text)

    def _begin_row(self, number: str | None) -> None:
        row = self._row + 1
        if number is not None:
            if not _ROW.fullmatch(number) or int(number) < row:
                raise WorkbookError(f"row {number[:20]!r} follows row {self._row}; save it anew")
            row = int(number)
        if row > ROWS_LAST:
            raise WorkbookError(f"row {row} is beyond {ROWS_LAST} rows; split it")
        self._row = row
        self._number_of_row = str(row)
        self._in_row = True
        self._cells = []
        self._column = -1

    def _begin_cell(self, attributes: dict[str, str]) -> None:
        column = self._column + 1
        if "r" in attributes:
            column = self._place_of(attributes["r"], column)
        if column == CELLS_LAST:
            raise WorkbookError(f"row {self._row} has more than {CELLS_LAST} cells; split it")
        self._column = column
        self._kind = attributes.get("t", "n")
        self._style = attributes.get("s", "")
        self._wanted = "t" if self._kind == "inlineStr" else "v"

    def _place_of(self, reference: str, least: int) -> int:
        letters = reference.rstrip("0123456789")
        column = _COLUMNS.get(letters, -1)
        if column < least or reference[len(letters) :] != self._number_of_row:
            raise WorkbookError(f"cell {reference[:20]!r} is out of place in row {self._row}; save it anew")
        return column

    @property
    def _place(self) -> str:
        return f"cell {_NAMES[self._column]}{self._row}"

    def _end_cell(self) -> None:
        self._wanted = None
        if not self._parts:
            return
        text = self._text("".join(self._parts))
        self._parts.clear()
        self._size = 0
        if not text:
            return
        if self._column >= COLUMNS_LIMIT:
            raise WorkbookError(
                f"{self._place} is beyond {COLUMNS_LIMIT} columns; delete what stands far beside the table"
            )
        if self._column > len(self._cells):
            self._cells.extend([""] * (self._column - len(self._cells)))
        self._cells.append(text)

    def _text(self, value: str) -> str:
        match self._kind:
            case "inlineStr" | "str":
                return _plain(value)
            case "s":
                index = int(value) if _INDEX.fullmatch(value) else len(self._strings)
                if index >= len(self._strings):
                    raise WorkbookError(f"{self._place} names a text that is not there; save it anew")
                return self._strings[index]
            case "n":
                return self._number(value.strip())
            case "b":
                return "TRUE" if value.strip() in ("1", "true") else "FALSE"
            case "d":
                return _typed(dt.datetime.fromisoformat(value.strip()))
            case "e":
                raise WorkbookError(f"{self._place} holds an error value; correct it")
            case kind:
                raise WorkbookError(f"{self._place} is of unknown type {kind[:20]!r}; save it anew")

    def _number(self, value: str) -> str:
        if not _NUMBER.fullmatch(value):
            raise WorkbookError(f"{self._place} holds {value[:20]!r}, which is no number; correct it")
        number = float(value)
        if (
            self._style.isdecimal()
            and int(self._style[:9]) < len(self._dated)
            and self._dated[int(self._style)]
        ):
            try:
                moment = self._epoch + dt.timedelta(seconds=round(number * 86_400))
            except OverflowError:
                return value
            return str(moment.time()) if 0 <= number < 1 else _typed(moment)
        return str(int(number)) if number.is_integer() else str(number)


def _typed(moment: dt.datetime) -> str:
    return str(moment.date()) if moment.time() == dt.time() else str(moment)
