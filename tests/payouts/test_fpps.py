"""FPPS against exact fractions: additive, exact over time, a block's reward for a block's work (I2)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.fpps import NOTHING, PARTS, PRICE_UNIT, Carried, Paid, Rate, accrue, credit, rate
from payouts.terms import Terms


def terms(commission_bps: int, transaction_fees: str = "shared") -> Terms:
    return Terms("fpps", 2, commission_bps, transaction_fees)  # type: ignore[arg-type]


BLOCKS = st.lists(
    st.tuples(st.integers(0, 5_000_000_000), st.integers(0, 10**9), st.integers(1, 2**100)),
    min_size=1,
    max_size=10,
)
"""Of a day: subsidy, fees and network work of each block."""
BPS = st.integers(0, 10_000)
WORK = st.integers(0, 2**90)


def paid(blocks: list[tuple[int, int, int]]) -> Paid:
    fees = sum(one[1] for one in blocks)
    return Paid(sum(one[0] for one in blocks) + fees, fees, sum(one[2] for one in blocks))


RATES = st.builds(lambda blocks, bps: rate(paid(blocks), terms(bps)), BLOCKS, BPS)
CARRIED = st.builds(Carried, st.integers(0, PARTS - 1), st.integers(0, PARTS - 1))


@given(BLOCKS, BPS)
def test_a_price_is_what_the_days_blocks_paid_over_what_they_took(
    blocks: list[tuple[int, int, int]], bps: int
) -> None:
    """And without their transaction fees where the terms leave these to the pool."""
    work = sum(one[2] for one in blocks)
    for kept, exact in (
        ("shared", Fraction(sum(one[0] + one[1] for one in blocks), work)),
        ("pool", Fraction(sum(one[0] for one in blocks), work)),
    ):
        found = rate(paid(blocks), terms(bps, kept))
        assert 0 <= exact - Fraction(found.price, PRICE_UNIT) < Fraction(1, PRICE_UNIT)
        assert found.commission_bps == bps


@given(RATES, CARRIED, st.lists(WORK, max_size=12))
def test_i2_it_does_not_matter_how_work_is_cut(at: Rate, carried: Carried, pieces: list[int]) -> None:
    mine = taken = 0
    left = carried
    for work in pieces:
        more, commission, left = credit(left, work, at)
        mine, taken = mine + more, taken + commission
    assert (mine, taken, left) == credit(carried, sum(pieces), at)


@given(st.lists(st.tuples(RATES, WORK), max_size=20))
def test_i2_credits_never_stray_from_the_worth_by_a_satoshi(steps: list[tuple[Rate, int]]) -> None:
    """Through any changes of difficulty, fees and commission."""
    owed_miner = owed_pool = Fraction(0)
    mine = taken = 0
    left = NOTHING
    for at, work in steps:
        worth = Fraction(at.price, PRICE_UNIT) * work
        owed_miner += worth * Fraction(10_000 - at.commission_bps, 10_000)
        owed_pool += worth * Fraction(at.commission_bps, 10_000)
        more, commission, left = credit(left, work, at)
        mine, taken = mine + more, taken + commission
        assert owed_miner - mine == Fraction(left.miner, PARTS)
        assert owed_pool - taken == Fraction(left.commission, PARTS)
        assert 0 <= left.miner < PARTS
        assert 0 <= left.commission < PARTS


@given(
    RATES,
    st.dictionaries(st.integers(1, 20), CARRIED, max_size=8),
    st.dictionaries(st.integers(1, 20), WORK, max_size=8),
)
def test_i2_an_accrual_loses_and_makes_nothing(
    at: Rate, carried: dict[int, Carried], by_miner: dict[int, int]
) -> None:
    found = accrue(carried, by_miner, at)
    before = sum(sum(one) for one in carried.values())
    after = sum(sum(one) for one in found.carried.values())
    assert found.total * PARTS + after - before == at.price * sum(by_miner.values()) * 10_000
    assert found.carried.keys() == carried.keys() | by_miner.keys()
    assert found.amounts.keys() == found.commissions.keys() == by_miner.keys()
    for miner_id in carried.keys() - by_miner.keys():
        assert found.carried[miner_id] == carried[miner_id]


@given(
    st.lists(
        st.tuples(RATES, st.lists(st.dictionaries(st.integers(1, 4), WORK, max_size=4), max_size=3)),
        max_size=6,
    )
)
def test_i2_all_days_together_are_worth_all_work_within_a_satoshi_each(
    days: list[tuple[Rate, list[dict[int, int]]]],
) -> None:
    """Each day in several credits, late ones among them: what a miner has is the floor of the exact sum."""
    left: dict[int, Carried] = {}
    given_to: dict[int, int] = {}
    kept = 0
    for at, credits in days:
        for by_miner in credits:
            found = accrue(left, by_miner, at)
            left = dict(found.carried)
            kept += sum(found.commissions.values())
            for miner_id, amount in found.amounts.items():
                given_to[miner_id] = given_to.get(miner_id, 0) + amount
    commission = Fraction(0)
    for miner_id, amount in given_to.items():
        worth = Fraction(0)
        for at, credits in days:
            work = sum(one.get(miner_id, 0) for one in credits)
            whole = Fraction(at.price, PRICE_UNIT) * work
            worth += whole * Fraction(10_000 - at.commission_bps, 10_000)
            commission += whole * Fraction(at.commission_bps, 10_000)
        assert amount == worth.numerator // worth.denominator
    assert 0 <= commission - kept < max(len(given_to), 1)


def test_a_worked_example() -> None:
    """A block's work, on a day of two blocks with fees of 0.01 and 0.03 BTC; 2.5 % of it is commission."""
    network = 146_472_570_619_930 << 32
    day = paid([(312_500_000, 1_000_000, network), (312_500_000, 3_000_000, network)])
    at = rate(day, terms(250))
    mine, taken, left = credit(NOTHING, network, at)
    # The price was rounded down, so the last satoshi of each is carried and comes with the next share.
    assert (mine, taken) == (306_637_499, 7_862_499)
    assert PARTS - left.miner < PARTS // 10**9
    assert credit(left, 10**13, at)[:2] == (1, 1)


def test_the_blocks_are_the_pools() -> None:
    """Fpps is a scheme behind the same interface: no window, and the whole reward is the pool's."""
    assert terms(100).window_size(10**20, credited=True) == 0
    divided = terms(100).divide(312_500_000, 1_000_000, None)
    assert (divided.commission, divided.amounts) == (312_500_000, {})


@pytest.mark.parametrize(
    ("day", "bps", "message"),
    [
        (Paid(1, 0, 0), 0, "network work is 0"),
        (Paid(-1, 0, 1), 0, "fees are 0 of a reward of -1"),
        (Paid(1, -3, 1), 0, "fees are -3"),
        (Paid(1, 2, 1), 0, "fees are 2 of a reward of 1"),
        (Paid(1, 1, 1), 10_001, "10001 basis points"),
    ],
)
def test_rates_that_cannot_be(day: Paid, bps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rate(day, terms(bps))


def test_work_and_prices_below_nothing_cannot_be() -> None:
    with pytest.raises(ValueError, match="work is -1"):
        credit(NOTHING, -1, Rate(1, 0))
    with pytest.raises(ValueError, match="price of a hash is -1"):
        Rate(-1, 0)
