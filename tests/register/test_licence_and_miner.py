"""Licences (O-03 to O-06) and miners (O-02): what cannot be is refused, and says why."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from register.identity import Kind
from register.licence import Licence, LicenceError
from register.miner import Miner, MinerError
from register.rules import load_rules

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")


def licence(**changes: Any) -> Licence:
    usual: dict[str, Any] = {
        "number": "KZ00LAA00000001",
        "subtype": 1,
        "valid_from": dt.date(2024, 2, 29),
        "valid_to": dt.date(2027, 2, 28),
    }
    return Licence(**(usual | changes))


def miner(**changes: Any) -> Miner:
    usual: dict[str, Any] = {
        "id": 1,
        "name": "alatau",
        "title": "ТОО «Алатау Майнинг»",
        "bin": "940140000385",
        "licence": licence(),
        "payout_address": "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x",
    }
    return Miner(**(usual | changes))


def test_a_licence_is_in_force_from_midnight_to_the_end_of_its_last_day() -> None:
    start, end = licence().in_force(RULES)
    assert RULES.local(start).isoformat() == "2024-02-29T00:00:00+06:00"
    assert RULES.local(end).isoformat() == "2027-03-01T00:00:00+05:00"


def test_o04_the_longest_term_is_that_of_the_rule() -> None:
    licence().check_term(RULES)
    licence(valid_from=dt.date(2024, 5, 10), valid_to=dt.date(2027, 5, 10)).check_term(RULES)
    with pytest.raises(LicenceError, match="2027-05-11 is later than 2027-05-10"):
        licence(valid_from=dt.date(2024, 5, 10), valid_to=dt.date(2027, 5, 11)).check_term(RULES)
    with pytest.raises(LicenceError, match="2027-03-01 is later than 2027-02-28"):
        licence(valid_to=dt.date(2027, 3, 1)).check_term(RULES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": ""}, "1 to 64 printable"),
        ({"number": " KZ1"}, "1 to 64 printable"),
        ({"number": "KZ\n1"}, "1 to 64 printable"),
        ({"number": "K" * 65}, "1 to 64 printable"),
        ({"subtype": 3}, "subtype is 3; it must be 1 or 2"),
        ({"valid_to": dt.date(2024, 2, 28)}, "is before valid_from 2024-02-29"),
    ],
)
def test_impossible_licences(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LicenceError, match=message):
        licence(**changes)


def test_a_miner_knows_its_kind() -> None:
    assert miner().kind is Kind.LEGAL_ENTITY
    assert miner(bin="061211600012").kind is Kind.INDIVIDUAL_ENTREPRENEUR


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 0}, "ids begin at 1"),
        ({"name": ""}, "use 1 to 32"),
        ({"name": "a.b"}, "no dot"),
        ({"name": "a" * 33}, "use 1 to 32"),
        ({"name": "алатау"}, "use 1 to 32"),
        ({"name": "alatau\n"}, "use 1 to 32"),
        ({"title": ""}, "legal name"),
        ({"title": "x" * 201}, "legal name"),
        ({"title": "x\x00"}, "legal name"),
        ({"bin": "940140000386"}, "miner alatau: .*should be 5"),
        ({"bin": "940150000384"}, "non-resident"),
        ({"payout_address": "bc1 q"}, "no bitcoin address"),
        ({"payout_address": ""}, "no bitcoin address"),
    ],
)
def test_impossible_miners(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MinerError, match=message):
        miner(**changes)
