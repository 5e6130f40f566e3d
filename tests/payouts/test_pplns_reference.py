"""The window and the split against the second implementation; what every scheme keeps (I2, I4)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from payouts.pplns import Entry, Split, Window, divide, split, window
from payouts.terms import Terms
from tests.payouts.reference_pplns import (
    Range,
    Worked,
    divided,
    split_by_fractions,
    window_by_line,
    window_by_units,
)

MINERS = st.integers(1, 5)
SMALL = st.lists(st.builds(Worked, MINERS, st.integers(1, 9)), min_size=1, max_size=30)
LARGE = st.lists(st.builds(Worked, MINERS, st.integers(1, 2**90)), min_size=1, max_size=60)
WORK = st.dictionaries(st.integers(1, 500), st.integers(1, 2**90), min_size=1, max_size=40)
REWARD = st.integers(0, 21_000_000 * 100_000_000)
BPS = st.integers(0, 10_000)


def newest_first(ledger: list[Worked], last: int) -> list[Entry]:
    return [Entry(position, *one) for position, one in enumerate(ledger[:last], 1)][::-1]


def plain(found: Window) -> Range:
    return Range(
        found.first_order,
        found.first_taken_work,
        found.last_order,
        found.work_total,
        dict(found.by_miner),
    )


def parts(found: Split) -> tuple[int, dict[int, int], dict[int, int]]:
    return found.commission, dict(found.amounts), dict(found.commissions)


@st.composite
def cuts(draw: st.DrawFn, ledgers: st.SearchStrategy[list[Worked]]) -> tuple[list[Worked], int, int]:
    """A ledger, the slice that wins in it, and a size: any, or one that falls on a slice's edge."""
    ledger = draw(ledgers)
    last = draw(st.integers(1, len(ledger)))
    whole = sum(one.work for one in ledger[:last])
    edge = sum(one.work for one in ledger[draw(st.integers(0, last - 1)) : last])
    size = draw(st.one_of(st.just(edge), st.just(edge + 1), st.integers(1, 2 * whole)))
    return ledger, last, size


@given(cuts(SMALL))
def test_i4_windows_agree_with_counting_every_unit(cut: tuple[list[Worked], int, int]) -> None:
    ledger, last, size = cut
    assert plain(window(newest_first(ledger, last), size)) == window_by_units(ledger, last, size)


@given(cuts(SMALL))
def test_the_two_references_agree(cut: tuple[list[Worked], int, int]) -> None:
    assert window_by_line(*cut) == window_by_units(*cut)


@given(cuts(LARGE))
def test_i4_windows_of_real_work_agree_with_the_line(cut: tuple[list[Worked], int, int]) -> None:
    ledger, last, size = cut
    assert plain(window(newest_first(ledger, last), size)) == window_by_line(ledger, last, size)


@given(cuts(LARGE), st.data())
def test_i4_a_slice_may_be_cut_in_two_anywhere(
    cut: tuple[list[Worked], int, int], data: st.DataObject
) -> None:
    """Whom a window pays depends on the order of work alone, not on how the ledger's runs cut it."""
    ledger, last, size = cut
    chosen = data.draw(st.integers(0, last - 1))
    miner, work = ledger[chosen]
    front = data.draw(st.integers(0, work))
    halves = [Worked(miner, part) for part in (front, work - front) if part]
    finer = [*ledger[:chosen], *halves, *ledger[chosen + 1 :]]
    coarse = window(newest_first(ledger, last), size)
    fine = window(newest_first(finer, last + len(halves) - 1), size)
    assert (fine.by_miner, fine.work_total) == (coarse.by_miner, coarse.work_total)


@given(REWARD, BPS, WORK, st.data())
def test_i2_splits_agree_with_exact_fractions(
    reward: int, bps: int, by_miner: dict[int, int], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, reward))
    found = split(reward, bps, by_miner, kept)
    assert parts(found) == split_by_fractions(reward, bps, by_miner, kept)


@given(REWARD, BPS, WORK, st.data())
def test_i2_nothing_is_made_and_nothing_is_lost(
    reward: int, bps: int, by_miner: dict[int, int], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, reward))
    found = split(reward, bps, by_miner, kept)
    assert found.commission + sum(found.amounts.values()) == reward
    assert sum(found.commissions.values()) == found.commission
    assert kept <= found.commission <= reward
    total = sum(by_miner.values())
    for miner, work in by_miner.items():
        assert abs(found.amounts[miner] - Fraction((reward - found.commission) * work, total)) < 1
        assert abs(found.commissions[miner] - Fraction(found.commission * work, total)) < 1


@given(st.integers(0, 200), st.dictionaries(st.integers(1, 9), st.integers(1, 4), min_size=1))
def test_i2_many_equal_remainders_go_to_the_lower_ids(amount: int, by_miner: dict[int, int]) -> None:
    """Small numbers, so that ties are the rule."""
    assert divide(amount, by_miner) == divided(amount, by_miner)
    reverse = dict(sorted(by_miner.items(), reverse=True))
    assert divide(amount, reverse) == divided(amount, by_miner)


@given(WORK, REWARD)
def test_more_work_is_never_paid_less(by_miner: dict[int, int], amount: int) -> None:
    found = divide(amount, by_miner)
    ranked = sorted(by_miner, key=lambda miner: by_miner[miner])
    for less, more in pairwise(ranked):
        assert by_miner[less] == by_miner[more] or found[less] <= found[more]


@given(cuts(SMALL), REWARD, BPS)
def test_solo_is_a_window_of_one_hash(cut: tuple[list[Worked], int, int], reward: int, bps: int) -> None:
    """The finder alone is paid, by the same two functions."""
    ledger, last, _ = cut
    terms = Terms("solo", 2, bps, "shared")
    found = window(newest_first(ledger, last), terms.window_size(1000, credited=True))
    divided_up = terms.divide(reward, 0, found)
    finder = ledger[last - 1].miner_id
    assert divided_up.amounts == {finder: reward - divided_up.commission}
    assert divided_up.reward == reward


@given(REWARD, BPS, WORK, st.data())
def test_i2_terms_say_whose_the_transaction_fees_are(
    reward: int, bps: int, by_miner: dict[int, int], data: st.DataObject
) -> None:
    fees = data.draw(st.integers(0, reward))
    found = Window(1, 1, 1, sum(by_miner.values()), by_miner)
    shared = Terms("pplns", 2, bps, "shared").divide(reward, fees, found)
    kept = Terms("pplns", 2, bps, "pool").divide(reward, fees, found)
    assert parts(shared) == split_by_fractions(reward, bps, by_miner)
    assert parts(kept) == split_by_fractions(reward, bps, by_miner, fees)
    assert shared.reward == kept.reward == reward
