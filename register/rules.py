"""What the law says on a given day, read from dated rows (`configs/rules.toml`).

Invariant 8: no share, term, form, body or time zone is a constant in code. Each row of a rule carries the
day from which it holds, its source and how sure we are of it; the row in force on a day is the latest that
began by then. The file is checked whole when it is read: an unknown rule or key, a missing value or a wrong
type is an error that names the row.

Days are calendar days in Kazakhstan. A change of the clock falls at 00:00 of its `effective_from` as the
old clock shows it, so the days always tile time: the day before the clock went back in 2024 has 25 hours.
Instants are unix microseconds (UTC).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from register.fields import FIRST_DAY, day_of
from register.rules_schema import COMMON, OFFSET, SCHEMA, Value, whole_row

Confidence = Literal["primary", "secondary", "assumed"]

_MICROSECONDS: Final = 1_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class RulesError(ValueError):
    """The rules file is wrong, or has no answer for a day. The message names rule, row and remedy."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of one rule: it holds from `effective_from` until the next row of that rule."""

    rule: str
    effective_from: dt.date
    values: Mapping[str, Value]
    source: str
    confidence: Confidence

    def integer(self, key: str) -> int:
        """The value `key` of a rule whose schema makes it an integer."""
        value = self.values[key]
        if not isinstance(value, int):
            raise RulesError(f"rule {self.rule} {key} = {value!r} is no integer")
        return value

    def truth(self, key: str) -> bool:
        """The value `key` of a rule whose schema makes it true or false."""
        value = self.values[key]
        if not isinstance(value, bool):
            raise RulesError(f"rule {self.rule} {key} = {value!r} is neither true nor false")
        return value

    def text(self, key: str) -> str:
        """The value `key` of a rule whose schema makes it a text."""
        value = self.values[key]
        if not isinstance(value, str):
            raise RulesError(f"rule {self.rule} {key} = {value!r} is no text")
        return value

    def texts(self, key: str) -> list[str]:
        """The value `key` of a rule whose schema makes it a list of texts."""
        value = self.values[key]
        if not isinstance(value, list):
            raise RulesError(f"rule {self.rule} {key} = {value!r} is no list")
        return [str(item) for item in value]

    def integers(self, key: str) -> list[int]:
        """The value `key` of a rule whose schema makes it a list of integers."""
        value = self.values[key]
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise RulesError(f"rule {self.rule} {key} = {value!r} is no list of integers")
        return [int(item) for item in value]


class Rules:
    """All rows of all rules, and the calendar of Kazakhstan that follows from the time zone rows."""

    def __init__(self, rows: Sequence[Row], sha256: str = "") -> None:
        self.sha256 = sha256
        """Of the file that they were read from."""
        self._rows: dict[str, list[Row]] = {rule: [] for rule in SCHEMA}
        for row in rows:
            earlier = self._rows[row.rule]
            if earlier and row.effective_from <= earlier[-1].effective_from:
                raise RulesError(
                    f"rule {row.rule}: the row of {row.effective_from} comes after that of "
                    f"{earlier[-1].effective_from}; rows stand in order of effective_from, one a day"
                )
            earlier.append(row)
        missing = [rule for rule, found in self._rows.items() if not found]
        if missing:
            raise RulesError(
                f"rule {missing[0]} has no row; add one with effective_from, source and confidence"
            )
        self._zones = self._rows["timezone"]
        self._offsets = [_offset_seconds(row) for row in self._zones]
        # A change takes place at 00:00 as the clock before it shows.
        before = [self._offsets[0], *self._offsets[:-1]]
        self._changes = [
            _utc_midnight(row.effective_from) - offset * _MICROSECONDS
            for row, offset in zip(self._zones, before, strict=True)
        ]

    def find(self, rule: str, day: dt.date) -> Row | None:
        """The row of `rule` in force on `day`, or None before its first; KeyError for an unknown rule."""
        rows = self._rows[rule]
        index = bisect_right(rows, day, key=lambda row: row.effective_from)
        return rows[index - 1] if index else None

    def until(self, rule: str, day: dt.date) -> dt.date | None:
        """The day from which the next row of `rule` after the one of `day` holds; None when there is none."""
        rows = self._rows[rule]
        index = bisect_right(rows, day, key=lambda row: row.effective_from)
        return rows[index].effective_from if index < len(rows) else None

    def require(self, day: dt.date) -> None:
        """Raises RulesError when a rule says nothing of `day`: today, say, when a pool starts."""
        for rule in self._rows:
            self.on(rule, day)

    def on(self, rule: str, day: dt.date) -> Row:
        """The row of `rule` in force on `day`; raises RulesError before its first."""
        row = self.find(rule, day)
        if row is None:
            first = self._rows[rule][0].effective_from
            raise RulesError(
                f"rule {rule} says nothing of {day}: its first row begins on {first}; add an earlier row"
            )
        return row

    def in_force(self, day: dt.date) -> list[Row]:
        """The rows of all rules in force on `day`, by name of rule."""
        found = (self.find(rule, day) for rule in sorted(self._rows))
        return [row for row in found if row is not None]

    def utc_offset(self, at: dt.datetime) -> dt.timedelta:
        """The offset of Kazakhstan time from UTC at an instant (an aware datetime)."""
        if at.tzinfo is None:
            raise ValueError(f"time {at.isoformat()} has no zone; give an aware datetime")
        return dt.timedelta(seconds=self._offset((at - _EPOCH) // dt.timedelta(microseconds=1)))

    def local(self, at_us: int) -> dt.datetime:
        """An instant as Kazakhstan's clock showed it, aware of its offset."""
        zone = dt.timezone(dt.timedelta(seconds=self._offset(at_us)))
        return (_EPOCH + dt.timedelta(microseconds=at_us)).astimezone(zone)

    def day_of(self, at_us: int) -> dt.date:
        """The calendar day in Kazakhstan at an instant."""
        days = (at_us + self._offset(at_us) * _MICROSECONDS) // (86_400 * _MICROSECONDS)
        return dt.date.fromordinal(_EPOCH.toordinal() + days)

    def day_bounds(self, day: dt.date) -> tuple[int, int]:
        """First microsecond of a day in Kazakhstan, and first of the next: half-open."""
        return self._start(day), self._start(day + dt.timedelta(days=1))

    def _start(self, day: dt.date) -> int:
        index = bisect_right(self._zones, day, key=lambda row: row.effective_from) - 1
        if index < 0:
            raise RulesError(
                f"rule timezone says nothing of {day}; its first row is of {self._zones[0].effective_from}"
            )
        midnight = _utc_midnight(day) - self._offsets[index] * _MICROSECONDS
        # Where the clock jumps forward at midnight, the day begins at the jump.
        return max(midnight, self._changes[index])

    def _offset(self, at_us: int) -> int:
        index = bisect_right(self._changes, at_us) - 1
        if index < 0:
            at = (_EPOCH + dt.timedelta(microseconds=at_us)).isoformat()
            raise RulesError(
                f"rule timezone says nothing of {at}; its first row begins on {self._zones[0].effective_from}"
            )
        return self._offsets[index]


def load_rules(path: Path) -> Rules:
    """The rules of a file; raises RulesError naming file, rule and row, or OSError when it cannot be read."""
    try:
        return parse_rules(path.read_bytes().decode("utf-8"))
    except (RulesError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: {error}") from error


def parse_rules(text: str) -> Rules:
    """The rules in a TOML text: one array of tables for each rule of SCHEMA, and nothing else."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"not TOML: {error}") from error
    rows: list[Row] = []
    for rule, tables in document.items():
        if rule not in SCHEMA:
            raise RulesError(f"rule {rule!r} is unknown; known are {', '.join(SCHEMA)}")
        if not isinstance(tables, list):
            raise RulesError(f"rule {rule} must be rows, each under its own [[{rule}]]")
        rows.extend(_row(rule, number, table) for number, table in enumerate(tables, 1))
    rules = Rules(rows, hashlib.sha256(text.encode()).hexdigest())
    rules.on("timezone", FIRST_DAY)  # every day that can be entered has its bounds
    return rules


def _row(rule: str, number: int, table: object) -> Row:
    where = f"rule {rule}, row {number}"
    if not isinstance(table, dict):
        raise RulesError(f"{where}: must be a table under [[{rule}]]")
    fields = {**COMMON, **SCHEMA[rule]}
    for key in table:
        if key not in fields:
            raise RulesError(f"{where}: key {key!r} is unknown; known are {', '.join(fields)}")
    for key, field in fields.items():
        if key not in table:
            raise RulesError(f"{where}: {key} is missing; write {key} = {field.wanted}")
        if not field.holds(table[key]):
            raise RulesError(f"{where}: {key} = {table[key]!r} is wrong; it must be {field.wanted}")
    values = {key: table[key] for key in SCHEMA[rule]}
    contradiction = whole_row(rule, values)
    if contradiction is not None:
        raise RulesError(f"{where}: {contradiction}")
    day_of(where, "effective_from", table["effective_from"], RulesError)
    return Row(rule, table["effective_from"], values, table["source"], table["confidence"])


def _offset_seconds(row: Row) -> int:
    match = OFFSET.fullmatch(str(row.values["offset"]))
    if match is None:
        raise RulesError(f'rule timezone: offset = {row.values["offset"]!r}; write it like "+05:00"')
    sign, hours, minutes = match.groups()
    seconds = int(hours) * 3600 + int(minutes) * 60
    return -seconds if sign == "-" else seconds


def _utc_midnight(day: dt.date) -> int:
    return (day.toordinal() - _EPOCH.toordinal()) * 86_400 * _MICROSECONDS
