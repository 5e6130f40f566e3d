"""How numbers are written for people, against decimals."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool import wording

GAP = "\N{NARROW NO-BREAK SPACE}"
SCALE = {
    unit: 1000**power for power, unit in enumerate(("H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"))
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0 H/s"),
        ("999", "999 H/s"),
        ("1000", "1.00 kH/s"),
        ("1239", "1.23 kH/s"),
        ("80000", "80.0 kH/s"),
        ("999999", "999 kH/s"),
        ("433333333333333", "433 TH/s"),
        (str(10**19), "10.0 EH/s"),
        (str(10**25), f"10{GAP}000 ZH/s"),
    ],
)
def test_hashrates(value: str, text: str) -> None:
    assert wording.hashrate(value) == text


@given(st.integers(0, 10**20))
def test_a_hashrate_is_cut_and_never_more_than_it_was(hashes: int) -> None:
    figure, unit = wording.hashrate(hashes).replace(GAP, "").split(" ")
    shown = Decimal(figure) * SCALE[unit]
    assert shown <= hashes < shown + max(Decimal(hashes) / 100, 1)


@given(st.integers(-(2**63), 2**63 - 1))
def test_bitcoin_is_exact(satoshis: int) -> None:
    text = wording.bitcoin(satoshis).replace(GAP, "")
    assert Decimal(text) == Decimal(satoshis).scaleb(-8)
    assert len(text.partition(".")[2]) == 8


def test_small_things() -> None:
    assert wording.number(1_234_567) == f"1{GAP}234{GAP}567"
    assert wording.percent(150) == f"1.50{GAP}%"
    assert wording.percent(5) == f"0.05{GAP}%"
    at = dt.datetime(2026, 11, 24, 12, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    assert (wording.moment(at), wording.zone(at)) == ("2026-11-24 12:00:00", "UTC+05:00")
