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
    correction,
    direction,
    lost_of,
    miner_immature,
    miner_payable,
    miner_paying,
    orphan_loss,
    payout_cancelled,
    payout_confirmed,
    payout_released,
    payout_reserved,
    payout_reversed,
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
    entries: list[Entry] = []
    for which in draw(st.lists(st.integers(0, len(splits) - 1), max_size=25)):
        following = draw(st.sampled_from(sorted(NEXT[states[which]])))
        entries += step(entries, f"{which:064x}", splits[which], states[which], following)
        states[which] = following
    return entries, list(zip(splits, states, strict=True))


def step(before: list[Entry], name: str, part: Split, state: State, following: State) -> list[Entry]:
    """What a block's step books, as the ledger does it."""
    reversals = [one for one in before if one.block_hash == name and one.kind is EntryKind.BLOCK_REVERSED]
    lost = lost_of(reversals[-1] if reversals else None)
    match following:
        case State.CONFIRMED:
            return [block_confirmed(name, part, lost)]
        case State.MATURE:
            return [block_matured(name, part, lost)]
        case State.ORPHANED if state in (State.CONFIRMED, State.MATURE):
            return [block_reversed(name, part, state, payable(before), lost)]
    return []


def payable(entries: list[Entry]) -> dict[int, int]:
    now = balances(entries)
    return {id_: -now.get(miner_payable(id_), 0) for id_ in range(1, 7)}


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
    part = Split(10, {1: 60, 2: 30}, {1: 7, 2: 3})
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
    assert block_confirmed("ab", Split(0, {1: 1, 2: 0}, {1: 0, 2: 0})).postings == (
        Posting("asset:coinbase:immature", 1),
        Posting("miner:1:immature", -1),
    )


@pytest.mark.parametrize("state", [State.FOUND, State.ORPHANED])
def test_nothing_booked_cannot_be_reversed(state: State) -> None:
    with pytest.raises(ValueError, match="nothing can be reversed"):
        block_reversed("ab", Split(0, {1: 1}, {1: 0}), state)


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


@given(st.data())
def test_i3_a_lost_block_is_borne_by_the_pool_as_far_as_it_was_paid_and_comes_back(
    data: st.DataObject,
) -> None:
    """Blocks come and go while miners are paid: none ever owes, and gets its due in the end."""
    parts = data.draw(st.lists(SPLITS, min_size=1, max_size=3))
    states = [State.FOUND] * len(parts)
    entries: list[Entry] = []
    paid: Counter[int] = Counter()
    for number in range(data.draw(st.integers(0, 30))):
        if data.draw(st.booleans()):
            amounts = {
                id_: data.draw(st.integers(1, owed)) for id_, owed in payable(entries).items() if owed > 0
            }
            if amounts:
                entries += [payout_reserved(number, amounts), payout_confirmed(number, amounts, 7)]
                paid.update(amounts)
            continue
        which = data.draw(st.integers(0, len(parts) - 1))
        following = data.draw(st.sampled_from(sorted(NEXT[states[which]])))
        entries += step(entries, f"{which:064x}", parts[which], states[which], following)
        states[which] = following
        now = balances(entries)
        assert all(amount <= 0 for account, amount in now.items() if account.startswith("miner:"))
        assert all(amount >= 0 for account, amount in now.items() if account.startswith("pool:orphan_loss"))
    # When all blocks are mature in the end, each miner has what they gave, and no loss is left.
    for which, part in enumerate(parts):
        for following in (State.ORPHANED, State.CONFIRMED, State.MATURE):
            if following in NEXT[states[which]] and states[which] is not State.MATURE:
                entries += step(entries, f"{which:064x}", part, states[which], following)
                states[which] = following
    now = balances(entries)
    for id_ in range(1, 7):
        due = sum(part.amounts.get(id_, 0) for part in parts)
        assert paid[id_] - now.get(miner_payable(id_), 0) == due
        assert now.get(orphan_loss(id_), 0) == 0
    assert now["asset:coinbase:mature"] == sum(p.reward for p in parts) - paid.total() - 7 * sum(
        entry.kind is EntryKind.PAYOUT_CONFIRMED for entry in entries
    )


def test_i5_a_payout_from_reserved_to_paid_and_back() -> None:
    amounts = {1: 60, 2: 30}
    reserved, confirmed = payout_reserved(4, amounts), payout_confirmed(4, amounts, 5)
    assert balances([reserved]) == {
        miner_payable(1): 60,
        miner_payable(2): 30,
        miner_paying(1): -60,
        miner_paying(2): -30,
    }
    assert {account: amount for account, amount in balances([reserved, confirmed]).items() if amount} == {
        miner_payable(1): 60,
        miner_payable(2): 30,
        "pool:network_fees": 5,
        "asset:coinbase:mature": -95,
    }
    assert balances([reserved, confirmed, payout_reversed(4, confirmed)]) == balances([reserved]) | {
        "pool:network_fees": 0,
        "asset:coinbase:mature": 0,
    }
    assert not any(balances([reserved, payout_released(4, amounts)]).values())
    cancelled = payout_cancelled(4, amounts, 8)
    assert {account: amount for account, amount in balances([reserved, cancelled]).items() if amount} == {
        "pool:network_fees": 8,
        "asset:coinbase:mature": -8,
    }
    assert balances([reserved, cancelled, payout_reversed(4, cancelled)])[miner_paying(1)] == -60


def test_a_payout_is_not_reversed_by_another_entry() -> None:
    with pytest.raises(ValueError, match="cannot be reversed"):
        payout_reversed(4, payout_reserved(4, {1: 1}))
    with pytest.raises(ValueError, match="cannot be reversed"):
        payout_reversed(5, payout_confirmed(4, {1: 1}, 0))


def test_a_correction_says_why() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        correction([Posting("miner:1:payable", -1), Posting("pool:correction", 1)], " ")
