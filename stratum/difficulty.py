"""Share difficulty: what it is as a target, as work, and as a line on the wire.

Difficulties are powers of two, named by their exponent, so that targets are exact integers and the number
that the miner reads (an integer from 1 up, a short binary fraction below) is exactly the one that is judged.
Difficulty 1 is the "pool difficulty" of Stratum: target 0x00000000FFFF followed by zeros.
Work is the expected number of hashes of a share, `2**256 // (target + 1)`: an integer (invariant I2).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

DIFFICULTY_1_TARGET = 0xFFFF << 208
LARGEST_TARGET = 2**256 - 1

EXPONENT_MIN = -40
"""Below 2**-32 every hash is a share; a little room is left for tests."""
EXPONENT_MAX = 64


def work_of(target: int) -> int:
    """Expected number of hashes to meet `target`, floored (the formula of Bitcoin Core's GetBlockProof)."""
    return 2**256 // (target + 1)


@dataclass(frozen=True, slots=True)
class Difficulty:
    """One step of difficulty, `2**exponent`, with everything that the hot path needs already computed."""

    exponent: int
    target: int
    target_bytes: bytes
    """The target as 32 bytes, big-endian: the form the C core and the spool take."""
    work: int
    line: bytes
    """The whole `mining.set_difficulty` message, newline included."""

    @property
    def value(self) -> Fraction:
        """The difficulty as an exact number."""
        return Fraction(2) ** self.exponent


@cache
def difficulty(exponent: int) -> Difficulty:
    """The difficulty `2**exponent`; raises ValueError outside EXPONENT_MIN..EXPONENT_MAX."""
    if not EXPONENT_MIN <= exponent <= EXPONENT_MAX:
        raise ValueError(
            f"difficulty 2**{exponent} is outside 2**{EXPONENT_MIN}..2**{EXPONENT_MAX}; choose one inside"
        )
    shifted = DIFFICULTY_1_TARGET >> exponent if exponent >= 0 else DIFFICULTY_1_TARGET << -exponent
    target = min(shifted, LARGEST_TARGET)
    number = str(1 << exponent) if exponent >= 0 else repr(2.0**exponent)
    return Difficulty(
        exponent=exponent,
        target=target,
        target_bytes=target.to_bytes(32, "big"),
        work=work_of(target),
        line=b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % number.encode(),
    )


def exponent_at_most(value: Fraction | float) -> int:
    """The largest exponent in range whose difficulty does not exceed `value`; ValueError unless value > 0."""
    exact = Fraction(value)
    if exact <= 0:
        raise ValueError(f"difficulty {value} must be greater than 0")
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    if Fraction(2) ** exponent > exact:
        exponent -= 1
    return min(max(exponent, EXPONENT_MIN), EXPONENT_MAX)


def exponent_at_least(value: Fraction | float) -> int:
    """The smallest exponent in range whose difficulty is not below `value`; ValueError unless value > 0."""
    exponent = exponent_at_most(value)
    return exponent if Fraction(2) ** exponent >= Fraction(value) else min(exponent + 1, EXPONENT_MAX)


def network_exponent(network_target: int) -> int:
    """The highest exponent not harder than a block: above it a miner would keep a block to itself (I9)."""
    return exponent_at_most(Fraction(DIFFICULTY_1_TARGET, max(network_target, 1)))
