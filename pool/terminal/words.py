"""How the terminal writes numbers: short, in plain letters, a dash for what is not known. Pure."""

from __future__ import annotations

from math import isfinite
from typing import Final

from pool.wording import hashrate as hashes_per_second

_PLAIN: Final = str.maketrans({"\N{NARROW NO-BREAK SPACE}": " ", "\N{HORIZONTAL ELLIPSIS}": ".."})
NONE: Final = "-"
_LONG: Final = 1e15


def duration(seconds: float | None) -> str:
    """A time in its largest unit; below a minute in seconds, below ten with a tenth."""
    if seconds is None:
        return NONE
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == 0 else f"{max(seconds, 0):.1f} s"


def hashrate(value: float | None) -> str:
    """1234567 as 1.23 MH/s."""
    known = value is not None and isfinite(value)
    return hashes_per_second(int(max(value, 0))).translate(_PLAIN) if known and value is not None else NONE


def count(value: float | None) -> str:
    """1234567 as 1 234 567."""
    return whole(value) if value is None or abs(value) >= _LONG else f"{value:,.0f}".replace(",", " ")


def whole(value: float | None) -> str:
    """1234567 as it is: for a narrow column; what no pool can have, short."""
    return NONE if value is None else f"{value:.0f}" if abs(value) < _LONG else f"{value:.3g}"


def milliseconds(seconds: float | None) -> str:
    """0.0123 as 12 ms."""
    return NONE if seconds is None else f"{seconds * 1000:.3g} ms"


def part(value: float | None) -> str:
    """0.0123 as 1.2 %."""
    return NONE if value is None else f"{value * 100:.1f} %"


def cut(text: str, width: int) -> str:
    """At most so many letters; what was cut shows."""
    plain = "".join(one if one.isprintable() else "?" for one in text.translate(_PLAIN))
    return plain if len(plain) <= width else f"{plain[: max(width - 2, 0)]}.."
