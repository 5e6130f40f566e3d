"""docs/pplns.md: the numbers of its example, computed again by the code and by the reference (I2, I4)."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import get_args

import pytest

from payouts.fpps import PRICE_UNIT
from payouts.pplns import Entry, divide, split, window
from payouts.terms import Scheme, Terms
from tests.payouts.reference_pplns import Worked, split_by_fractions, window_by_units

TEXT = (Path(__file__).parents[2] / "docs" / "pplns.md").read_text("utf-8")
PLAIN = " ".join(TEXT.split())
SIZE = 2 * 1000


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first line begins with `heading`."""
    lines = TEXT.split(f"\n| {heading}", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


SLICES = [[int(cell) for cell in row] for row in table("slice | miner | work")]
PARTS = table("miner | work | exact part")
TERMS = Terms("pplns", 2, 100, "shared")


def number(pattern: str) -> int:
    found = re.search(pattern, PLAIN)
    assert found, pattern
    return int(found[1])


SUBSIDY = number(r"a subsidy of (\d+)")
FEES = number(r"transaction fees of (\d+)")


def newest_first(slices: list[list[int]]) -> list[Entry]:
    return [Entry(position, miner, work) for position, miner, work, _ in reversed(slices)]


def test_the_window_of_the_example() -> None:
    found = window(newest_first(SLICES), TERMS.window_size(1000, credited=True))
    inside = [row for row in SLICES if row[3]]
    assert found.work_total == sum(row[3] for row in inside) == SIZE
    assert (found.first_order, found.first_taken_work, found.last_order) == (42, 600, 47)
    assert inside[0] == [42, 3, 700, 600]
    assert all(row[2] == row[3] for row in inside[1:])
    ledger = [Worked(miner, work) for _, miner, work, _ in SLICES]
    assert found.by_miner == window_by_units(ledger, len(ledger), SIZE).by_miner
    assert found.by_miner == {int(row[0]): int(row[1]) for row in PARTS}


def test_the_split_of_the_example() -> None:
    reward = SUBSIDY + FEES
    by_miner = {int(row[0]): int(row[1]) for row in PARTS}
    found = split(reward, 100, by_miner)
    assert (found.commission, found.amounts, found.commissions) == split_by_fractions(reward, 100, by_miner)
    assert f"together {reward} satoshis" in PLAIN
    assert f"= {found.commission}, and {reward - found.commission} are divided" in PLAIN
    assert f"floor({reward // 100}.{reward % 100:02})" in PLAIN
    for miner, work, exact, floor, remainder, gets, commission in PARTS:
        part = Fraction((reward - found.commission) * int(work), SIZE)
        assert Fraction(exact) == part
        assert int(floor) == part.numerator // part.denominator
        assert Fraction(remainder) == part - int(floor)
        assert int(gets) == found.amounts[int(miner)]
        assert int(commission) == found.commissions[int(miner)]
    amounts = " + ".join(str(amount) for _, amount in sorted(found.amounts.items()))
    assert f"{found.commission} + {amounts} = {reward}" in PLAIN


def test_the_other_numbers_of_the_example() -> None:
    by_miner = {int(row[0]): int(row[1]) for row in PARTS}
    kept = Terms("pplns", 2, 100, "pool").divide(SUBSIDY + FEES, FEES, window(newest_first(SLICES), SIZE))
    assert f"{FEES} + {kept.commission - FEES} = {kept.commission}" in PLAIN
    one, two, three = (kept.amounts[miner] for miner in sorted(by_miner))
    assert f"would get {one}, {two} and {three}" in PLAIN
    young = window(newest_first(SLICES[-3:]), SIZE)
    assert f"would be these {young.work_total}." in PLAIN
    ties = divide(101, {1: 5, 2: 5, 3: 5})
    assert f"lower ids: {ties[1]}, {ties[2]}, {ties[3]}." in PLAIN


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_every_scheme_is_told(scheme: str) -> None:
    assert f"\n| `{scheme}` |" in TEXT


def test_the_unit_of_a_price_is_told() -> None:
    assert PRICE_UNIT == 2**128
    assert "`floor(rewards × 2**128 / work)`" in PLAIN
