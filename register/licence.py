"""A licence for digital mining: its number, subtype and the days it is in force.

Dates are calendar days in Kazakhstan and both are days in force: a licence holds from 00:00 of `valid_from`
to 24:00 of `valid_to` (regulation.md Q-11). The longest term is a dated rule (O-04), so it is checked with
the rules of the day on which the licence begins. Suspension and revocation are not here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from register.rules import Rules


class LicenceError(ValueError):
    """The licence cannot be as given. The message names the licence, the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Licence:
    """Subtype 1: own data centre; subtype 2: own hardware in another's data centre (O-05, O-06)."""

    number: str
    subtype: Literal[1, 2]
    valid_from: dt.date
    valid_to: dt.date

    def __post_init__(self) -> None:
        if (
            not 1 <= len(self.number) <= 64
            or not self.number.isprintable()
            or self.number != self.number.strip()
        ):
            raise LicenceError(
                f"licence number {self.number[:80]!r}: it must be 1 to 64 printable characters"
            )
        if self.subtype not in (1, 2):
            raise LicenceError(f"licence {self.number}: subtype is {self.subtype!r}; it must be 1 or 2")
        if self.valid_to < self.valid_from:
            raise LicenceError(
                f"licence {self.number}: valid_to {self.valid_to} is before valid_from {self.valid_from}; "
                f"valid_to is the last day in force"
            )

    def check_term(self, rules: Rules) -> None:
        """O-04: raises LicenceError when the licence is longer than the law gave on its first day."""
        years = rules.on("licence", self.valid_from).integer("term_years")
        latest = _years_later(self.valid_from, years)
        if self.valid_to > latest:
            raise LicenceError(
                f"licence {self.number}: valid_to {self.valid_to} is later than {latest}; a licence that "
                f"begins on {self.valid_from} is given for {years} years"
            )

    def in_force(self, rules: Rules) -> tuple[int, int]:
        """First microsecond in force, and first no longer in force (unix, half-open)."""
        return rules.day_bounds(self.valid_from)[0], rules.day_bounds(self.valid_to)[1]


def _years_later(day: dt.date, years: int) -> dt.date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, day=28)
