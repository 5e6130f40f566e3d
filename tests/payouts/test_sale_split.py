"""The part of payouts that goes to the miner's exchange: exact to the satoshi over time (O-50 to O-52)."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.sale_split import Side, for_exchange, without_dust

amounts = st.integers(1, 10**12) | st.integers(1, 2000)
shares = st.sampled_from((0, 1, 3333, 5000, 7500, 9999, 10_000)) | st.integers(0, 10_000)
DUSTS = st.sampled_from((294, 330, 540, 546))


@given(st.lists(st.tuples(amounts, shares), min_size=1, max_size=40))
def test_over_any_payouts_the_exchange_has_the_share_rounded_up_once(rows: list[tuple[int, int]]) -> None:
    """Invariants 2 and 3: against exact fractions, the share changing as it likes."""
    exact, due, paid = Fraction(0), 0, 0
    for amount, share in rows:
        part = for_exchange(amount, share, due, paid)
        exact += Fraction(amount * share, 10_000)
        due += amount * share
        paid += part
        assert 0 <= part <= amount
        assert paid == ceil(exact)


@given(st.lists(st.tuples(amounts, shares), min_size=1, max_size=40), DUSTS, DUSTS)
def test_dust_is_made_good_by_the_next_payout(
    rows: list[tuple[int, int]], exchange_dust: int, wallet_dust: int
) -> None:
    """Invariant 3: no payout sends dust, none loses a satoshi, and no side is behind by dust."""
    exact, due, paid = Fraction(0), 0, 0
    for amount, share in rows:
        part = for_exchange(amount, share, due, paid)
        sent = without_dust(Side(part, exchange_dust), Side(amount - part, wallet_dust))
        if sent is None:
            assert amount < exchange_dust + wallet_dust
            continue
        to_exchange, to_wallet = sent
        assert to_exchange + to_wallet == amount
        assert to_exchange == 0 or to_exchange >= exchange_dust
        assert to_wallet == 0 or to_wallet >= wallet_dust
        exact += Fraction(amount * share, 10_000)
        due += amount * share
        paid += to_exchange
        assert -wallet_dust < ceil(exact) - paid < exchange_dust


@pytest.mark.parametrize(
    ("exchange", "wallet", "sent"),
    [
        (750, 250, (1000, 0)),  # the wallet's part is dust
        (200, 9_800, (0, 10_000)),
        (0, 600, (0, 600)),
        (600, 0, (600, 0)),
        (293, 293, (586, 0)),  # both are: the exchange first
        (100, 100, None),
        (100, 0, None),
        (0, 100, None),
        (0, 0, (0, 0)),
    ],
)
def test_what_dust_does(exchange: int, wallet: int, sent: tuple[int, int] | None) -> None:
    assert without_dust(Side(exchange, 294), Side(wallet, 294)) == sent


def test_between_dusts_of_two_kinds_it_goes_where_it_can() -> None:
    assert without_dust(Side(150, 546), Side(150, 294)) == (0, 300)
    assert without_dust(Side(150, 294), Side(150, 546)) == (300, 0)


def test_what_one_side_is_to_have_whole_waits_rather_than_goes_to_the_other() -> None:
    assert without_dust(Side(0, 294), Side(300, 546)) is None
    assert without_dust(Side(300, 546), Side(0, 294)) is None


@pytest.mark.parametrize("wrong", [(-1, 0, 0, 0), (1, 0, -1, 0), (1, 0, 0, -1)])
def test_nothing_is_negative(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="none may be negative"):
        for_exchange(*wrong)


def test_a_share_is_at_most_the_whole() -> None:
    with pytest.raises(ValueError, match="10001 basis points"):
        for_exchange(1, 10_001, 0, 0)
