"""BIN and IIN: the twelve-digit numbers by which Kazakhstan knows its subjects.

A BIN names an organisation, an IIN a person; the fifth digit tells them apart. `identify` checks the
structure and both passes of the check digit (regulation.md 6.3; the algorithm is that of Government
resolution 565 of 11 June 2003) and says what kind of subject the number belongs to.

It does not know whether the number was ever given out, nor whether a person is registered as an
entrepreneur: that is for the one who enters the miner to see (O-02).
"""

from __future__ import annotations

import datetime
from enum import StrEnum

_FIRST_PASS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
_SECOND_PASS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)
_CENTURIES = {"1": 1800, "2": 1800, "3": 1900, "4": 1900, "5": 2000, "6": 2000}


class Kind(StrEnum):
    """What sort of subject a number belongs to."""

    LEGAL_ENTITY = "legal_entity"
    FOREIGN_LEGAL_ENTITY = "foreign_legal_entity"
    JOINT_ENTREPRENEUR = "joint_entrepreneur"
    INDIVIDUAL_ENTREPRENEUR = "individual_entrepreneur"


_BIN_KINDS = {"4": Kind.LEGAL_ENTITY, "5": Kind.FOREIGN_LEGAL_ENTITY, "6": Kind.JOINT_ENTREPRENEUR}


class InvalidIdentity(ValueError):
    """The text is no BIN or IIN. The message names the number, the reason and the remedy."""


def identify(number: str) -> Kind:
    """The kind of subject behind a BIN or IIN; raises InvalidIdentity when it cannot be one."""
    if len(number) != 12 or not (number.isascii() and number.isdigit()):
        raise _invalid(number, "it must be exactly 12 digits")
    if number == "000000000000":
        raise _invalid(number, "twelve zeros are nobody's number")
    kind = _BIN_KINDS.get(number[4])
    if kind is None:
        _check_birth_date(number)
        kind = Kind.INDIVIDUAL_ENTREPRENEUR
    else:
        _check_bin(number)
    expected = check_digit(number[:11])
    if expected is None:
        raise _invalid(
            number, "no check digit exists for its first 11 digits, so such a number is never given"
        )
    if expected != int(number[11]):
        raise _invalid(number, f"its check digit is {number[11]} and should be {expected}")
    return kind


def check_digit(first_eleven: str) -> int | None:
    """The twelfth digit that belongs to eleven, or None where both passes give 10 (number not used)."""
    digits = [int(digit) for digit in first_eleven]
    for weights in (_FIRST_PASS, _SECOND_PASS):
        digit = sum(value * weight for value, weight in zip(digits, weights, strict=True)) % 11
        if digit != 10:
            return digit
    return None


def _check_bin(number: str) -> None:
    if not 1 <= int(number[2:4]) <= 12:
        raise _invalid(number, f"digits 3-4 are the month of registration, and {number[2:4]} is no month")
    if number[5] not in "0123":
        raise _invalid(number, f"digit 6 of a BIN is 0, 1, 2 or 3, not {number[5]}")


def _check_birth_date(number: str) -> None:
    century = _CENTURIES.get(number[6])
    if century is None:
        raise _invalid(number, f"digit 5 is of an IIN, and digit 7 of an IIN is 1 to 6, not {number[6]}")
    try:
        datetime.date(century + int(number[:2]), int(number[2:4]), int(number[4:6]))
    except ValueError:
        raise _invalid(
            number, f"its first 6 digits are a birth date YYMMDD, and {number[:6]} is no date"
        ) from None


def _invalid(number: str, reason: str) -> InvalidIdentity:
    return InvalidIdentity(
        f"BIN/IIN {number[:40]!r}: {reason}; copy it again from the registration certificate"
    )
