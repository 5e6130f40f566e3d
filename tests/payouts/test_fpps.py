"""FPPS against exact fractions: additive, exact over time, a block's reward for a block's work (I2)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.fpps import NOTHING, PARTS, PRICE_UNIT, Carried, Rate, accrue, credit, rate
from payouts.terms import Terms

NETWORK = st.integers(1, 2**100)
SUBSIDY = st.integers(0, 5_000_000_000)
FEES = st.lists(st.integers(0, 10**9), max_size=10)
BPS = st.integers(0, 10_000)
WORK = st.integers(0, 2**90)
RATES = st.builds(rate, NETWORK, SUBSIDY, FEES, BPS)
CARRIED = st.builds(Carried, st.integers(0, PARTS - 1), st.integers(0, PARTS - 1))


@given(NETWORK, SUBSIDY, FEES, BPS)
def test_a_price_is_the_mean_reward_over_the_work_of_a_block(
    network: int, subsidy: int, fees: list[int], bps: int
) -> None:
    mean = subsidy + (Fraction(sum(fees), len(fees)) if fees else 0)
    exact = mean / network
    assert (
        0 <= exact - Fraction(rate(network, subsidy, fees, bps).price, PRICE_UNIT) < Fraction(1, PRICE_UNIT)
    )


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


def test_a_worked_example() -> None:
    """A block's work, at 3.125 BTC and mean fees of 0.02, brings 3.145 BTC; 2.5 % of it is commission."""
    network = 146_472_570_619_930 << 32
    at = rate(network, 312_500_000, [1_000_000, 3_000_000], 250)
    mine, taken, left = credit(NOTHING, network, at)
    # The price was rounded down, so the last satoshi of each is carried and comes with the next share.
    assert (mine, taken) == (306_637_499, 7_862_499)
    assert PARTS - left.miner < PARTS // 10**9
    assert credit(left, 10**13, at)[:2] == (1, 1)


def test_the_blocks_are_the_pools() -> None:
    """Fpps is a scheme behind the same interface: no window, and the whole reward is the pool's."""
    terms = Terms("fpps", 2, 100, "shared")
    assert terms.window_size(10**20, credited=True) == 0
    divided = terms.divide(312_500_000, 1_000_000, None)
    assert (divided.commission, divided.amounts) == (312_500_000, {})


@pytest.mark.parametrize(
    ("network", "subsidy", "fees", "bps", "message"),
    [
        (0, 1, [], 0, "network work is 0"),
        (1, -1, [], 0, "subsidy is -1"),
        (1, 1, [5, -3], 0, "lowest fees -3"),
        (1, 1, [], 10_001, "10001 basis points"),
    ],
)
def test_rates_that_cannot_be(network: int, subsidy: int, fees: list[int], bps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rate(network, subsidy, fees, bps)


def test_work_and_prices_below_nothing_cannot_be() -> None:
    with pytest.raises(ValueError, match="work is -1"):
        credit(NOTHING, -1, Rate(1, 0))
    with pytest.raises(ValueError, match="price of a hash is -1"):
        Rate(-1, 0)
