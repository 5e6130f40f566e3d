"""Payments into transactions: none lost, none torn apart, none heavier than allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.batching import batches
from payouts.output import output_weight
from payouts.payout_plan import Due

P2WPKH, P2TR = b"\x00\x14" + b"\x01" * 20, b"\x51\x20" + b"\x01" * 32


def due(miner_id: int, script: bytes = P2WPKH, amount: int = 50_000) -> Due:
    return Due(miner_id, "wallet", "bcrt1...", script, amount, 0, None, "", "L-1", "in_force")


dues = st.lists(st.builds(due, st.integers(1, 30), st.sampled_from((P2WPKH, P2TR))), max_size=60)


@given(dues, st.integers(24_000, 60_000))
def test_every_payment_is_in_one_batch_and_a_miner_in_no_two(given_: list[Due], max_weight: int) -> None:
    """Invariants 3 and 5: nothing is lost or doubled between plan and transactions."""
    packed = batches(given_, max_weight)
    flat = [one for batch in packed for one in batch]
    assert flat == sorted(given_, key=lambda one: one.miner_id)
    miners = [{one.miner_id for one in batch} for batch in packed]
    assert sum(map(len, miners)) == len(set().union(*miners))
    for batch in packed:
        assert batch
        assert sum(output_weight(one.script) for one in batch) <= max_weight // 2


def test_a_batch_is_filled_before_the_next_begins() -> None:
    packed = batches([due(n) for n in range(1, 22)], 2 * 10 * 124)
    assert [len(batch) for batch in packed] == [10, 10, 1]


def test_a_weight_without_room_for_one_miner_is_told() -> None:
    with pytest.raises(ValueError, match=r"max_weight = 400: .* miner 3 weigh 248; set it to 496"):
        batches([due(3), due(3)], 400)


def test_nothing_to_pay_is_no_transaction() -> None:
    assert batches([], 200_000) == []
