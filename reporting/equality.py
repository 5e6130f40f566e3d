"""What every check of a report is made of: its outcome, both sides of an equality, and careful reading.

A report comes from a stranger: each look at it may meet a missing member or one of another type.
`run_check` makes an outcome of that, so that nothing a file says can end a verifier.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from reporting.dmpool_verify import Check

MALFORMED: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading a document of unknown shape raises."""
HEX32: Final = re.compile(r"[0-9a-f]{64}")

Object = Mapping[str, Any]
Look = Callable[[Any], str]
"""Answers with what it saw, or raises Broken or one of MALFORMED."""


class Broken(Exception):
    """A check does not hold; the text shows both sides."""


def run_check(name: str, look: Look, subject: Any) -> Check:
    """The outcome of one check."""
    try:
        return Check(name, True, look(subject))
    except Broken as broken:
        return Check(name, False, str(broken))
    except MALFORMED as error:
        return Check(name, False, f"a field is missing or malformed: {type(error).__name__}: {error}")


def same(what: str, left: object, right: object) -> None:
    """Raises Broken unless both sides are equal and of one type (in JSON, true is not 1)."""
    if left != right or type(left) is not type(right):
        raise Broken(f"{what}: {left!r} is not {right!r}")


def whole(row: Object, key: str) -> int:
    """An integer of a row."""
    if type(row[key]) is not int:
        raise Broken(f"{key} is {row[key]!r}; it must be an integer")
    return int(row[key])


def amount(row: Object, key: str) -> int:
    """An integer of a row that cannot be negative."""
    if whole(row, key) < 0:
        raise Broken(f"{key} is {row[key]}; it cannot be negative")
    return int(row[key])


def number(row: Object, key: str) -> int:
    """Work, a whole number in a decimal string, spelt in its one way."""
    value = int(row[key])
    same(f"spelling of {key}", row[key], str(value))
    return value


def moment(text: str) -> dt.datetime:
    """A time with its offset."""
    at = dt.datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise Broken(f"time {text} has no offset")
    return at


def bounds(report: Object) -> tuple[dt.datetime, dt.datetime]:
    """The first instant of the day and of the next."""
    return moment(report["day_start"]), moment(report["day_end"])
