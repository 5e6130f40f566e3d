"""What a report looks like to people: a title, lines below it, and sections with a table each.

PDF and HTML page are made of the same `Document`, so they cannot tell different things. All texts are ready
to be shown, in one language; nothing here is read back by a program, which takes the signed JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from register.miner import Language


class Kind(StrEnum):
    """What the cells of a column are, which says how they stand and where they may be broken."""

    TEXT = "text"
    NUMBER = "number"
    """To the right, never broken."""
    CODE = "code"
    """A hash or an address: every letter counts, and it may be broken anywhere."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; of an official form with the form's number, and with a heading above it where it has one.

    `original` and `group_original` are the form's own Russian headings, letter by letter, where `heading` and
    `group` are translations of them; else empty.
    """

    heading: str
    kind: Kind = Kind.TEXT
    number: str = ""
    original: str = ""
    group: str = ""
    group_original: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One table. `facts` says that it is a list of names and values: two columns that need no headings."""

    id: str
    title: str
    note: str
    """A sentence below the title; empty for none."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    """One cell for each column, or nothing."""
    empty: str = ""
    """What is said instead of a table without rows."""
    facts: bool = False

    @property
    def headers(self) -> tuple[str, ...]:
        """The headings alone."""
        return tuple(column.heading for column in self.columns)

    @property
    def numeric(self) -> frozenset[int]:
        """Which columns hold numbers, from 0."""
        return frozenset(place for place, column in enumerate(self.columns) if column.kind is Kind.NUMBER)


@dataclass(frozen=True, slots=True)
class Document:
    """A report in one language."""

    language: Language
    reference: str
    """How it is called in letters: the report id."""
    title: str
    subtitle: tuple[str, ...]
    notice: str
    """What everybody who sees a page must know, such as that a form is not final; empty for nothing."""
    made_at: str
    """ISO 8601, of the signed document: its clock is the only one."""
    sections: Sequence[Section]
