"""Difficulty, target, work and the wire's number, against exact fractions."""

import json
from fractions import Fraction

import pytest
from bitcoin.core import uint256_from_compact
from hypothesis import given
from hypothesis import strategies as st

from stratum.difficulty import (
    DIFFICULTY_1_TARGET,
    EXPONENT_MAX,
    EXPONENT_MIN,
    LARGEST_TARGET,
    difficulty,
    exponent_at_least,
    exponent_at_most,
    network_exponent,
    work_of,
)

EXPONENTS = st.integers(EXPONENT_MIN, EXPONENT_MAX)
POSITIVE = st.fractions(min_value=Fraction(1, 2**38), max_value=2**60).filter(bool)


def test_difficulty_one_is_the_target_of_the_first_blocks() -> None:
    assert uint256_from_compact(0x1D00FFFF) == DIFFICULTY_1_TARGET
    assert (
        difficulty(0).work == 2**256 // (DIFFICULTY_1_TARGET + 1) == 4295032833
    )  # the first block's chainwork


@given(EXPONENTS)
def test_target_is_the_exact_quotient_floored(exponent: int) -> None:
    one = difficulty(exponent)
    exact = Fraction(DIFFICULTY_1_TARGET) / one.value
    assert one.target == min(exact.numerator // exact.denominator, LARGEST_TARGET)
    assert one.target_bytes == one.target.to_bytes(32, "big")


@given(EXPONENTS)
def test_i2_work_is_the_floor_of_the_expected_hashes(exponent: int) -> None:
    one = difficulty(exponent)
    expected = Fraction(2**256, one.target + 1)
    assert isinstance(one.work, int)
    assert one.work <= expected < one.work + 1
    assert one.work >= 1


@given(EXPONENTS)
def test_the_number_on_the_wire_is_the_one_that_is_judged(exponent: int) -> None:
    message = json.loads(difficulty(exponent).line)
    (number,) = message["params"]
    assert message == {"id": None, "method": "mining.set_difficulty", "params": [number]}
    assert Fraction(number) == difficulty(exponent).value
    assert isinstance(number, int) == (exponent >= 0), "an integer from difficulty 1 up (peers 3.7)"


@given(st.integers(1, 2**256 - 1))
def test_work_formula_is_that_of_the_node(target: int) -> None:
    # Bitcoin Core cannot write 2**256 in 256 bits and computes ~target / (target + 1) + 1.
    assert work_of(target) == (2**256 - 1 - target) // (target + 1) + 1


@given(POSITIVE)
def test_rounding_down_and_up(value: Fraction) -> None:
    low, high = exponent_at_most(value), exponent_at_least(value)
    assert Fraction(2) ** low <= value < Fraction(2) ** (low + 1)
    assert Fraction(2) ** (high - 1) < value <= Fraction(2) ** high


@pytest.mark.parametrize(
    ("value", "exponent"),
    [(5e-324, EXPONENT_MIN), (1e308, EXPONENT_MAX), (0.00015, -13), (1, 0), (16384, 14)],
)
def test_extremes_are_clamped(value: float, exponent: int) -> None:
    assert exponent_at_most(value) == exponent


@pytest.mark.parametrize("value", [0, -1, -0.0])
def test_nothing_is_not_a_difficulty(value: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        exponent_at_most(value)


@pytest.mark.parametrize("exponent", [EXPONENT_MIN - 1, EXPONENT_MAX + 1])
def test_outside_the_range_is_an_error(exponent: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        difficulty(exponent)


@given(st.integers(1, LARGEST_TARGET))
def test_i9_a_share_of_the_network_exponent_is_no_harder_than_a_block(target: int) -> None:
    exponent = network_exponent(target)
    assert difficulty(exponent).target >= target or exponent == EXPONENT_MAX
    if EXPONENT_MIN < exponent < EXPONENT_MAX:
        assert Fraction(DIFFICULTY_1_TARGET, target) < Fraction(2) ** (exponent + 1)


def test_network_exponent_of_nothing_does_not_divide_by_it() -> None:
    assert network_exponent(0) == EXPONENT_MAX
