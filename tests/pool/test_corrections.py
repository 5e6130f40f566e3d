"""What a person may put right in the journal, and which way the satoshis go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts import journal
from pool.corrections import LARGEST_SAT, CorrectionError, correction

COINS = "asset:coinbase:mature"
OPEN = (
    *(COINS, "miner:3:payable", "miner:40:payable", "pool:commission:earned", "pool:network_fees"),
    *("pool:orphan_loss:3", "pool:fpps", "pool:correction"),
)


@pytest.mark.parametrize(
    ("source", "target", "falls", "rises"),
    [
        ("miner:3:payable", "miner:40:payable", "miner:3:payable", "miner:40:payable"),
        ("pool:commission:earned", "miner:3:payable", "pool:commission:earned", "miner:3:payable"),
        (COINS, "miner:3:payable", "both", ""),
        (COINS, "pool:correction", "both", ""),
        ("pool:correction", COINS, "", "both"),
        ("miner:3:payable", COINS, "", "both"),
    ],
)
def test_coins_and_claims_move_as_the_words_say(source: str, target: str, falls: str, rises: str) -> None:
    """I3: paid out of the coins by hand: owed no more. Given back to the coins: owed again."""
    entry = correction(source, target, 5, "a reason")
    for account, amount in entry.postings:
        shown = amount * journal.direction(account)
        if shown < 0:
            assert falls in (account, "both")
        else:
            assert rises in (account, "both")


@given(st.sampled_from(OPEN), st.sampled_from(OPEN), st.integers(1, LARGEST_SAT))
def test_every_correction_balances_and_its_opposite_undoes_it(source: str, target: str, amount: int) -> None:
    """I3: a correction is put right by another one."""
    if source == target:
        with pytest.raises(CorrectionError, match="named twice"):
            correction(source, target, amount, "a reason")
        return
    there = correction(source, target, amount, "a reason")
    back = correction(target, source, amount, "that was wrong")
    assert not any(journal.balances([there, back]).values())


@pytest.mark.parametrize(
    "account",
    [
        "miner:3:paying",
        "miner:3:immature",
        "asset:coinbase:immature",
        "pool:commission:immature",
        "miner:0:payable",
    ],
)
def test_what_follows_from_blocks_and_payouts_is_not_corrected(account: str) -> None:
    """I5: the journal of a payout is the payout's."""
    with pytest.raises(CorrectionError, match="cannot be corrected; those that can are"):
        correction(account, "pool:correction", 5, "a reason")


@pytest.mark.parametrize(
    ("amount", "reason", "words"),
    [
        (0, "a reason", "amount is 0 satoshis; it is 1 to"),
        (-5, "a reason", "amount is -5 satoshis"),
        (LARGEST_SAT + 1, "a reason", "it is 1 to 2100000000000000"),
        (5, "  ", "needs a reason"),
        (5, "two\nlines", "needs a reason in one line"),
        (5, "x" * 501, "1 to 500 characters"),
    ],
)
def test_what_is_wrong_is_said(amount: int, reason: str, words: str) -> None:
    with pytest.raises(CorrectionError, match=words):
        correction("pool:correction", "miner:3:payable", amount, reason)
