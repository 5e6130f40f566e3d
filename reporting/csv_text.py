"""CSV whose cells no spreadsheet takes for formulas.

An apostrophe is put before =, +, -, @ and ' where a program might take a cell to begin: at the start, and
behind a comma or semicolon, which separates cells for some. `pool.spreadsheet` takes it away again when it
reads.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA: Final = re.compile(r"""((?:^|[,;])[\s"]*)(?=['=+\-@])""")
_MARK: Final = b"\xef\xbb\xbf"
"""Byte order mark: it tells spreadsheets that the text is UTF-8."""


def guarded(cell: str) -> str:
    """The cell, so that it is never a formula."""
    return _FORMULA.sub(r"\1'", cell)


def csv_bytes(rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV file of some rows: UTF-8 with a byte order mark, commas, lines that end with CR LF (RFC 4180)."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([guarded(cell) for cell in row] for row in rows)
    return _MARK + text.getvalue().encode()
