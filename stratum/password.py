"""Wishes for the difficulty in the password field, the one field that every firmware and rental lets people
fill freely.

`d=` start, `md=` floor, `fd=` fixed, `th=` the machine's hashrate in TH/s (a start, reckoned), separated by
commas, semicolons or spaces; letter case ignored, anything else in the password too. They are wishes: the
bounds of the pool and of the device class hold. Sources: peers 1.1 (target), D-05, D-07, D-38, Q-74.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from stratum.difficulty import exponent_at_least, exponent_at_most

PASSWORD_LIMIT = 256
"""Characters that are looked at."""
_OPTION = re.compile(r"(?:^|[,; ])(d|md|fd|th)=([0-9]{1,15}(?:\.[0-9]{1,15})?)(?=$|[,; ])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DifficultyWishes:
    """Exponents of two; None where nothing was wished."""

    start: int | None = None
    minimum: int | None = None
    fixed: int | None = None


NOTHING = DifficultyWishes()


def difficulty_wishes(password: str, shares_per_minute: float) -> DifficultyWishes:
    """What a password asks for; `th=` becomes the difficulty that gives the wished number of shares."""
    if "=" not in password:
        return NOTHING
    found: dict[str, Fraction] = {}
    for key, number in _OPTION.findall(password[:PASSWORD_LIMIT]):
        value = Fraction(number)
        if value > 0:
            found[key.lower()] = value
    start = found.get("d")
    if start is None and "th" in found:
        start = found["th"] * 10**12 * 60 / Fraction(shares_per_minute) / 2**32
    minimum, fixed = found.get("md"), found.get("fd")
    return DifficultyWishes(
        start=None if start is None else exponent_at_most(start),
        minimum=None if minimum is None else exponent_at_least(minimum),
        fixed=None if fixed is None else exponent_at_most(fixed),
    )
