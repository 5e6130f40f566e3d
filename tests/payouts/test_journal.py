"""The journal: every entry balances, and every satoshi is accounted for through any history (I2, I3)."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.block_state import NEXT, State
from payouts.journal import (
    Entry,
    EntryKind,
    Posting,
    Unbalanced,
    balances,
    block_confirmed,
    block_matured,
    block_reversed,
    direction,
    miner_immature,
    miner_payable,
    statement,
)
from payouts.pplns import Split, split

SPLITS = st.builds(
    split,
    st.integers(1, 5 * 10**9),
    st.integers(0, 10_000),
    st.dictionaries(st.integers(1, 6), st.integers(1, 10**6), min_size=1),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Entry], list[tuple[Split, State]]]:
    """Entries of a few blocks walking the state table at random, interleaved; and where each block stands."""
    splits = draw(st.lists(SPLITS, min_size=1, max_size=5))
    states = [State.FOUND] * len(splits)
    entries = []
    for which in draw(st.lists(st.integers(0, len(splits) - 1), max_size=25)):
        state, name = states[which], f"{which:064x}"
        following = draw(st.sampled_from(sorted(NEXT[state])))
        if following is State.CONFIRMED:
            entries.append(block_confirmed(name, splits[which]))
        elif following is State.MATURE:
            entries.append(block_matured(name, splits[which]))
        elif state is not State.FOUND:
            entries.append(block_reversed(name, splits[which], state))
        states[which] = following
    return entries, list(zip(splits, states, strict=True))


@given(histories())
def test_i3_every_entry_balances_and_so_does_the_whole(
    history: tuple[list[Entry], list[tuple[Split, State]]],
) -> None:
    entries, _ = history
    assert all(sum(posting.amount for posting in entry.postings) == 0 for entry in entries)
    assert sum(balances(entries).values()) == 0


@given(histories())
def test_i3_balances_are_those_of_the_blocks_as_they_stand_now(
    history: tuple[list[Entry], list[tuple[Split, State]]],
) -> None:
    entries, blocks = history
    owed: Counter[str] = Counter()
    for part, state in blocks:
        if state in (State.CONFIRMED, State.MATURE):
            mature = state is State.MATURE
            owed["asset:coinbase:" + ("mature" if mature else "immature")] += part.reward
            owed["pool:commission:" + ("earned" if mature else "immature")] -= part.commission
            for miner_id, amount in part.amounts.items():
                owed[f"miner:{miner_id}:" + ("payable" if mature else "immature")] -= amount
    found = {account: amount for account, amount in balances(entries).items() if amount}
    assert found == {account: amount for account, amount in owed.items() if amount}


@given(histories(), st.integers(0, 25))
def test_i3_opening_plus_in_minus_out_is_closing_for_every_account(
    history: tuple[list[Entry], list[tuple[Split, State]]], at: int
) -> None:
    entries, _ = history
    opening = balances(entries[:at])
    closing = balances(entries)
    lines = statement(opening, entries[at:])
    assert set(lines) == set(closing)
    for account, line in lines.items():
        assert line.opening + line.into - line.out == line.closing == direction(account) * closing[account]
        assert line.opening == direction(account) * opening.get(account, 0)
        assert line.into >= 0 <= line.out
    assets = sum(line.closing for account, line in lines.items() if direction(account) == 1)
    assert assets == sum(line.closing for account, line in lines.items() if direction(account) == -1)


def test_a_block_from_confirmation_to_payable() -> None:
    part = Split(10, {1: 60, 2: 30})
    credited = block_confirmed("ab", part)
    assert credited.kind is EntryKind.BLOCK_CONFIRMED
    assert credited.postings == (
        Posting("asset:coinbase:immature", 100),
        Posting("miner:1:immature", -60),
        Posting("miner:2:immature", -30),
        Posting("pool:commission:immature", -10),
    )
    after = balances([credited, block_matured("ab", part)])
    assert {account: amount for account, amount in after.items() if amount} == {
        "asset:coinbase:mature": 100,
        "miner:1:payable": -60,
        "miner:2:payable": -30,
        "pool:commission:earned": -10,
    }
    assert statement({}, [credited, block_matured("ab", part)])["miner:1:immature"] == (0, 60, 60, 0)


def test_parts_of_zero_are_not_posted() -> None:
    assert block_confirmed("ab", Split(0, {1: 1, 2: 0})).postings == (
        Posting("asset:coinbase:immature", 1),
        Posting("miner:1:immature", -1),
    )


@pytest.mark.parametrize("state", [State.FOUND, State.ORPHANED])
def test_nothing_booked_cannot_be_reversed(state: State) -> None:
    with pytest.raises(ValueError, match="nothing can be reversed"):
        block_reversed("ab", Split(0, {1: 1}), state)


@pytest.mark.parametrize(
    ("postings", "error", "message"),
    [
        ([("miner:1:payable", 1)], Unbalanced, "sum to 1 satoshis"),
        ([("miner:1:payable", 1), ("miner:2:payable", -2)], Unbalanced, "sum to -1"),
        ([("miner:1:payable", 1), ("miner:1:payable", -1)], ValueError, "posted to twice"),
        ([("miner:1:payable", 0)], ValueError, "posted to with 0"),
        ([("miner:0:payable", 1), ("miner:1:payable", -1)], ValueError, "chart of accounts"),
        ([("cash", 1), ("miner:1:payable", -1)], ValueError, "chart of accounts"),
        ([("miner:1:payable\n", 1), ("miner:1:payable", -1)], ValueError, "chart of accounts"),
    ],
)
def test_i3_what_does_not_balance_cannot_be_an_entry(
    postings: list[tuple[str, int]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Entry(EntryKind.BLOCK_CONFIRMED, "ab", "test", tuple(Posting(*each) for each in postings))


def test_account_names() -> None:
    assert (miner_immature(12), miner_payable(12)) == ("miner:12:immature", "miner:12:payable")
