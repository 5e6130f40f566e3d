"""The window and the split, against slow and obvious second implementations (I2, I4)."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.pplns import Entry, Split, Window, split, window
from tests.payouts.reference_pplns import split_by_fractions

SMALL = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=30)
WORK = st.dictionaries(st.integers(1, 500), st.integers(1, 2**90), min_size=1, max_size=40)
REWARD = st.integers(0, 21_000_000 * 100_000_000)
BPS = st.integers(0, 10_000)


def entries(slices: list[tuple[int, int]]) -> list[Entry]:
    return [Entry(order, miner, work) for order, (miner, work) in enumerate(slices, 1)]


@given(SMALL, st.integers(1, 300))
def test_i4_the_window_agrees_with_counting_unit_by_unit(slices: list[tuple[int, int]], size: int) -> None:
    ledger = entries(slices)
    units = [(entry.order, entry.miner_id) for entry in ledger for _ in range(entry.work)]
    taken = units[-size:]
    found = window(reversed(ledger), size)
    assert found.by_miner == Counter(miner for _, miner in taken)
    assert (found.first_order, found.last_order) == (taken[0][0], len(ledger))
    assert found.first_taken_work == sum(1 for order, _ in taken if order == taken[0][0])
    assert found.work_total == len(taken) == min(size, len(units))


def test_the_window_reads_only_what_it_needs() -> None:
    def endless() -> Iterator[Entry]:
        order = 10**9
        while True:
            yield Entry(order, 1, 10)
            order -= 1

    assert window(endless(), 25) == Window(10**9 - 2, 5, 10**9, 25, {1: 25})


def test_the_window_reaches_exactly_its_size_at_a_slice_boundary() -> None:
    assert window([Entry(3, 2, 5), Entry(2, 1, 5), Entry(1, 1, 5)], 10) == Window(2, 5, 3, 10, {2: 5, 1: 5})


def test_a_short_history_is_taken_whole() -> None:
    assert window([Entry(2, 2, 5), Entry(1, 1, 5)], 1000) == Window(1, 5, 2, 10, {2: 5, 1: 5})


@pytest.mark.parametrize(
    ("given_entries", "size", "message"),
    [
        ([], 5, "no slice was given"),
        ([Entry(1, 1, 5)], 0, "window size is 0"),
        ([Entry(1, 1, 0)], 5, "has work 0"),
        ([Entry(1, 1, 1), Entry(2, 1, 1)], 5, "give the newest first"),
        ([Entry(2, 1, 1), Entry(2, 1, 1)], 5, "give the newest first"),
    ],
)
def test_windows_that_cannot_be(given_entries: list[Entry], size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        window(given_entries, size)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 1, 1, 1, {1: 1}), "orders begin at 1"),
        ((2, 1, 1, 1, {1: 1}), "orders begin at 1"),
        ((1, 1, 1, 2, {1: 1}), "is 1, its total is 2"),
        ((1, 2, 1, 1, {1: 1}), "at most its total 1"),
        ((1, 1, 1, 0, {}), "work of at least 1"),
        ((1, 1, 1, 1, {1: 1, 2: 0}), "work of at least 1"),
    ],
)
def test_window_objects_check_themselves(
    values: tuple[int, int, int, int, dict[int, int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Window(*values)


@given(REWARD, BPS, WORK)
def test_i2_the_split_agrees_with_exact_fractions(reward: int, bps: int, by_miner: dict[int, int]) -> None:
    found = split(reward, bps, by_miner)
    assert (found.commission, found.amounts, found.commissions) == split_by_fractions(reward, bps, by_miner)


@given(REWARD, BPS, WORK)
def test_i2_the_split_sums_to_the_reward_and_is_fair_to_a_satoshi(
    reward: int, bps: int, by_miner: dict[int, int]
) -> None:
    found = split(reward, bps, by_miner)
    assert found.reward == reward
    assert 0 <= reward * bps - found.commission * 10_000 < 10_000
    for miner_id, work in by_miner.items():
        exact = Fraction((reward - found.commission) * work, sum(by_miner.values()))
        assert abs(found.amounts[miner_id] - exact) < 1


@given(REWARD, BPS, WORK)
def test_i4_the_split_does_not_depend_on_the_order_it_was_told_in(
    reward: int, bps: int, by_miner: dict[int, int]
) -> None:
    assert split(reward, bps, dict(reversed(by_miner.items()))) == split(reward, bps, by_miner)


def test_ties_go_to_the_lower_miner_id() -> None:
    assert split(100, 0, {3: 1, 1: 1, 2: 1}).amounts == {1: 34, 2: 33, 3: 33}
    assert split(101, 0, {3: 1, 1: 1, 2: 1}).amounts == {1: 34, 2: 34, 3: 33}


def test_a_worked_example() -> None:
    # 3.125 BTC, 1 %: commission 3125000; 309375000 shared over 7 units of work as 4, 2, 1
    found = split(312_500_000, 100, {1: 4, 2: 2, 3: 1})
    amounts = {1: 176_785_714, 2: 88_392_857, 3: 44_196_429}
    assert found == Split(3_125_000, amounts, {1: 1_785_714, 2: 892_857, 3: 446_429})


@pytest.mark.parametrize(
    ("reward", "bps", "by_miner", "message"),
    [
        (-1, 0, {1: 1}, "must hold"),
        (1, -1, {1: 1}, "0 to 10000"),
        (1, 10_001, {1: 1}, "0 to 10000"),
        (1, 0, {}, "at least one miner"),
        (1, 0, {1: 0}, "work of at least 1"),
    ],
)
def test_splits_that_cannot_be(reward: int, bps: int, by_miner: dict[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(reward, bps, by_miner)


def test_a_split_with_a_negative_part_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no part may be negative"):
        Split(0, {1: -1}, {1: 0})
