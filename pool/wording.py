"""How the status page writes numbers and states for people. Pure; nothing here is read back by a program.

Integers all the way: what is cut is cut down, never rounded up. Groups of digits are parted by a narrow
no-break space.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

_UNITS: Final = ("H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s", "ZH/s")
_GAP: Final = "\N{NARROW NO-BREAK SPACE}"
_SATOSHIS: Final = 100_000_000


def number(value: int) -> str:
    """1234567 as 1 234 567."""
    return f"{value:,}".replace(",", _GAP)


def hashrate(value: str | int) -> str:
    """Hashes per second with three digits that count: 1234567 as 1.23 MH/s."""
    hashes = int(value)
    unit = min(max(len(str(hashes)) - 1, 0) // 3, len(_UNITS) - 1)
    whole, rest = divmod(hashes, 1000**unit)
    if unit == 0 or whole >= 100:
        return f"{number(whole)} {_UNITS[unit]}"
    decimals = 2 if whole < 10 else 1
    return f"{whole}.{rest * 10**decimals // 1000**unit:0{decimals}d} {_UNITS[unit]}"


def bitcoin(satoshis: int) -> str:
    """Satoshis as BTC with all eight decimals."""
    whole, rest = divmod(abs(satoshis), _SATOSHIS)
    return f"{'-' if satoshis < 0 else ''}{number(whole)}.{rest:08d}"


def percent(basis_points: int) -> str:
    """150 as 1.50 %."""
    return f"{basis_points // 100}.{basis_points % 100:02d}{_GAP}%"


def moment(at: dt.datetime) -> str:
    """Date and time as the clock in Kazakhstan shows them."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def zone(at: dt.datetime) -> str:
    """The offset of that clock, like UTC+05:00."""
    offset = at.isoformat()[-6:]
    return f"UTC{offset}"


def short(text: str) -> str:
    """The start of a hash that begins with what tells it apart."""
    return f"{text[:10]}…"


def short_block(text: str) -> str:
    """The end of a block hash; its start is the zeros of its work."""
    return f"…{text[-10:]}"
