"""Luck, in fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from pool.pages.luck import LuckView, Stretch, effort, expected, luck

STRETCHES = st.lists(st.builds(Stretch, st.integers(0, 2**90), st.integers(1, 2**80)), max_size=20)


@given(STRETCHES)
def test_expected_blocks_are_the_exact_sum_of_each_stretch(stretches: list[Stretch]) -> None:
    """I2: no float, and the order does not matter."""
    promised = sum((Fraction(one.work, one.network_work) for one in stretches), Fraction(0))
    assert expected(stretches) == expected(reversed(stretches)) == promised


@given(STRETCHES, st.integers(0, 10**6))
def test_luck_is_found_by_expected_cut_down(stretches: list[Stretch], found: int) -> None:
    told = luck("blocks", 10, found, stretches)
    promised = expected(stretches)
    assert Fraction(told.expected) <= promised < Fraction(told.expected) + Fraction(1, 10_000)
    if promised:
        assert told.luck_bps is not None
        assert told.luck_bps * promised <= found * 10_000 < (told.luck_bps + 1) * promised
    else:
        assert told.luck_bps is None


def test_an_example() -> None:
    """Half a block's work at one difficulty, three at a harder one: seven found of three and a half."""
    told = luck("days", 7, 7, [Stretch(50, 100), Stretch(600, 200)])
    assert told == LuckView("days", 7, 7, "3.5000", 20_000)
    assert effort(75, 100).effort_bps == 7500
