"""Wishes for difficulty in the password: what is one, and that nothing else is taken for one."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.difficulty import EXPONENT_MAX, EXPONENT_MIN
from stratum.password import NOTHING, DifficultyWishes, difficulty_wishes


@pytest.mark.parametrize(
    ("password", "wishes"),
    [
        ("x", NOTHING),
        ("", NOTHING),
        ("d=1024", DifficultyWishes(start=10)),
        ("x,d=1023.9", DifficultyWishes(start=9)),
        ("d=1024,md=500", DifficultyWishes(start=10, minimum=9)),
        ("FD=65536;x", DifficultyWishes(fixed=16)),
        ("d=0.5", DifficultyWishes(start=-1)),
        ("d=0", NOTHING),
        ("d=-5", NOTHING),
        ("d=1e9", NOTHING),
        ("id=8", NOTHING),
        ("d=8x", NOTHING),
        ("secret=d=8", NOTHING),
        ("d=8 d=16", DifficultyWishes(start=4)),
        ("th=100", DifficultyWishes(start=16)),
        ("th=100,d=8", DifficultyWishes(start=3)),
        ("d=999999999999999", DifficultyWishes(start=49)),
        ("x" * 256 + ",d=8", NOTHING),
    ],
)
def test_what_is_a_wish(password: str, wishes: DifficultyWishes) -> None:
    assert difficulty_wishes(password, 12) == wishes


def test_a_hashrate_becomes_the_difficulty_that_gives_the_wished_shares() -> None:
    exact = Fraction(100 * 10**12) * 5 / 2**32  # difficulty for one share in five seconds
    start = difficulty_wishes("th=100", 12).start
    assert start is not None
    assert Fraction(2) ** start <= exact < Fraction(2) ** (start + 1)


@given(st.text(alphabet="dmfth=0123456789.,; xX-", max_size=300), st.floats(0.001, 6000))
def test_any_password_gives_wishes_in_range(password: str, shares_per_minute: float) -> None:
    wishes = difficulty_wishes(password, shares_per_minute)
    for wish in (wishes.start, wishes.minimum, wishes.fixed):
        assert wish is None or EXPONENT_MIN <= wish <= EXPONENT_MAX
