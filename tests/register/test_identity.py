"""BIN and IIN: known numbers, and the check digit against a second way of computing it."""

import datetime as dt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from register.identity import InvalidIdentity, Kind, check_digit, identify


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("940140000385", Kind.LEGAL_ENTITY),
        ("990140004654", Kind.LEGAL_ENTITY),
        ("230440000105", Kind.LEGAL_ENTITY),  # second pass
        ("061211600012", Kind.INDIVIDUAL_ENTREPRENEUR),  # second pass
    ],
)
def test_known_numbers(number: str, kind: Kind) -> None:
    assert identify(number) is kind


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("000000000000", "nobody's number"),
        ("94014000038", "exactly 12 digits"),
        ("9401400003850", "exactly 12 digits"),
        ("94014000038x", "exactly 12 digits"),
        ("94014000038٥", "exactly 12 digits"),  # an Arabic-Indic five is a digit, but not one of ours
        ("940140000386", "check digit is 6 and should be 5"),
        ("941340000385", "13 is no month"),
        ("940147000385", "digit 6 of a BIN"),
        ("940191000385", "digit 7 of an IIN"),
        ("900230300001", "is no date"),
        ("123456789012", "34 is no month"),
        *((f"23044000018{digit}", "no check digit exists") for digit in range(10)),
    ],
)
def test_refused_with_the_reason(number: str, reason: str) -> None:
    with pytest.raises(InvalidIdentity, match=reason) as caught:
        identify(number)
    assert number in str(caught.value)


def test_check_digits_worked_out_by_hand() -> None:
    assert check_digit("12345678901") == 3
    assert check_digit("23044000018") is None


def independent_check_digit(first: str) -> int | None:
    """Sums 1*a1 + 2*a2 + ... by repeated addition of tails, modulo 11; the second pass rotates by two."""
    tails = sum(int(digit) for start in range(11) for digit in first[start:])
    once = tails % 11
    if once < 10:
        return once
    rotated = first[9:] + first[:9]
    twice = sum(int(digit) for start in range(11) for digit in rotated[start:]) % 11
    return twice if twice < 10 else None


@given(st.text("0123456789", min_size=11, max_size=11))
def test_check_digit_agrees_with_an_independent_one(first: str) -> None:
    assert check_digit(first) == independent_check_digit(first)


@given(
    st.integers(0, 99), st.integers(1, 12), st.sampled_from("46"), st.integers(0, 99_999), st.integers(1, 9)
)
def test_a_wrong_check_digit_is_noticed(year: int, month: int, kind: str, serial: int, shift: int) -> None:
    first = f"{year:02}{month:02}{kind}0{serial:05}"
    digit = check_digit(first)
    assume(digit is not None)
    assert digit is not None
    identify(f"{first}{digit}")
    with pytest.raises(InvalidIdentity, match=f"should be {digit}"):
        identify(f"{first}{(digit + shift) % 10}")


@given(st.dates(dt.date(1900, 1, 1), dt.date(2099, 12, 31)), st.booleans(), st.integers(0, 9999))
def test_every_birth_date_gives_an_individual(born: dt.date, second: bool, serial: int) -> None:
    century = (3 if born.year < 2000 else 5) + second
    first = f"{born:%y%m%d}{century}{serial:04}"
    digit = check_digit(first)
    assume(digit is not None)
    assert identify(f"{first}{digit}") is Kind.INDIVIDUAL_ENTREPRENEUR
