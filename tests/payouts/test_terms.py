"""Terms by day: what a block is divided over, and what the pool keeps (I2, I4)."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.pplns import Window
from payouts.terms import DatedTerms, Scheme, Terms, TermsFrom, TransactionFees

ONE = Window(4, 1, 4, 1, {7: 1})


def terms(
    scheme: Scheme = "pplns", bps: int = 100, fees: TransactionFees = "shared", multiple: int = 2
) -> Terms:
    return Terms(scheme, multiple, bps, fees)


def test_each_scheme_says_how_much_work_a_block_is_divided_over() -> None:
    assert terms().window_size(1000, credited=True) == 2000
    assert terms().window_size(1000, credited=False) == 2000
    assert terms("solo").window_size(1000, credited=True) == 1
    assert terms("solo").window_size(1000, credited=False) == 0  # the share before it is somebody else's
    assert terms("fpps").window_size(1000, credited=True) == 0


def test_a_solo_block_is_its_finders_less_commission() -> None:
    divided = terms("solo").divide(5_000_000_000, 7, ONE)
    assert (divided.commission, divided.amounts) == (50_000_000, {7: 4_950_000_000})


def test_transaction_fees_may_stay_with_the_pool() -> None:
    divided = terms(fees="pool").divide(1_000_000, 1_000, ONE)
    assert divided.commission == 1_000 + 9_990
    assert divided.amounts == {7: 989_010}
    assert divided.commissions == {7: 10_990}


@given(st.integers(0, 10**10), st.integers(0, 10_000), st.data())
def test_i2_whatever_the_terms_the_parts_are_the_reward(reward: int, bps: int, data: st.DataObject) -> None:
    fees = data.draw(st.integers(0, reward))
    work = data.draw(st.dictionaries(st.integers(1, 9), st.integers(1, 2**90), min_size=1))
    window = Window(1, 1, 9, sum(work.values()), work)
    for who in ("shared", "pool"):
        divided = terms(bps=bps, fees=who).divide(reward, fees, window)  # type: ignore[arg-type]
        assert divided.reward == reward
        assert sum(divided.commissions.values()) == divided.commission
        assert divided.commission >= (fees if who == "pool" else 0)
    assert terms().divide(reward, fees, None).commission == reward


def test_terms_hold_from_their_day_on() -> None:
    first, second = terms(bps=100), terms(bps=80)
    dated = DatedTerms(first, [TermsFrom(dt.date(2026, 7, 1), second)])
    assert dated.on(dt.date(2026, 6, 30)) is first
    assert dated.on(dt.date(2026, 7, 1)) is dated.on(dt.date(2030, 1, 1)) is second
    with pytest.raises(ValueError, match="in the order of their days"):
        DatedTerms(first, [TermsFrom(dt.date(2026, 7, 1), second), TermsFrom(dt.date(2026, 7, 1), first)])


@pytest.mark.parametrize(("multiple", "bps"), [(0, 0), (1001, 0), (1, -1), (1, 10_001)])
def test_terms_that_cannot_be(multiple: int, bps: int) -> None:
    with pytest.raises(ValueError, match="it is"):
        terms(multiple=multiple, bps=bps)


def test_whether_a_scheme_ever_holds() -> None:
    dated = DatedTerms(terms(), [TermsFrom(dt.date(2026, 7, 1), terms("fpps"))])
    assert dated.ever("pplns")
    assert dated.ever("fpps")
    assert not dated.ever("solo")
