"""Luck: the blocks that were found against those that the work done was to be expected to find.

A block of network work N takes N hashes on average, so a stretch of W hashes was to be expected to find W / N
blocks. Expected blocks are added up as fractions, each stretch by the difficulty that it was mined at, and
luck is found / expected: 100 % is what chance promises, more is good luck. Found is every block that was
found, one that left the chain later among them: losing it is another kind of bad luck. Chance is wide: of n
expected blocks the number found differs by about the root of n as a rule, so that 4 found of 9 expected is
nothing unusual.

Pure; all integers and fractions. Where the stretches come from is `pool.pages.luck_reader`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NamedTuple

_DECIMALS: Final = 4
_BPS: Final = 10_000


class Stretch(NamedTuple):
    """Work done, in hashes, and the work of a block at that time."""

    work: int
    network_work: int


@dataclass(frozen=True, slots=True)
class LuckView:
    """Luck over so many of the last blocks, or of the last days in Kazakhstan with today among them."""

    over: Literal["blocks", "days"]
    count: int
    found: int
    expected: str
    """Blocks, with four decimals, cut down."""
    luck_bps: int | None
    """found / expected in hundredths of a percent, cut down; None where nothing was to be expected."""


@dataclass(frozen=True, slots=True)
class RoundView:
    """The work since the newest block, against the work of a block now."""

    work: str
    """Hashes."""
    network_work: str
    effort_bps: int
    """In hundredths of a percent: at 10 000 a block was to be expected."""


def expected(stretches: Iterable[Stretch]) -> Fraction:
    """How many blocks were to be expected; exact."""
    by_difficulty: dict[int, int] = defaultdict(int)
    for one in stretches:
        by_difficulty[one.network_work] += one.work
    return sum((Fraction(work, network) for network, work in by_difficulty.items()), Fraction(0))


def luck(over: Literal["blocks", "days"], count: int, found: int, stretches: Iterable[Stretch]) -> LuckView:
    """The luck of some stretches in which so many blocks were found."""
    promised = expected(stretches)
    whole, rest = divmod(int(promised * 10**_DECIMALS), 10**_DECIMALS)
    return LuckView(
        over=over,
        count=count,
        found=found,
        expected=f"{whole}.{rest:0{_DECIMALS}d}",
        luck_bps=int(found * _BPS / promised) if promised else None,
    )


def effort(work: int, network_work: int) -> RoundView:
    """How far the round that goes on is."""
    return RoundView(str(work), str(network_work), work * _BPS // network_work)
