"""A statement adds up or is not made; the numbers that it gives with a part recompute that part."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts import journal
from payouts.block_state import State
from payouts.journal import EntryKind
from payouts.pplns import Split, Window
from payouts.statement import (
    Facts,
    Movement,
    Owed,
    Part,
    Period,
    SharedBlock,
    StatementError,
    Step,
    make,
    part_of,
    preview,
)
from payouts.statement_document import COLUMNS, document, table
from payouts.terms import Terms
from register.rules import load_rules

RULES = load_rules(Path(__file__).parents[2] / "configs" / "rules.toml")
NOON = 1_795_503_600_000_000
DAY = dt.date(2026, 11, 24)
WORKS = st.dictionaries(st.integers(1, 60), st.integers(1, 2**70), min_size=1, max_size=40)
TERMS = st.builds(
    Terms,
    st.just("pplns"),
    st.integers(1, 8),
    st.integers(0, 10_000),
    st.sampled_from(["shared", "pool"]),
)


def shared(works: dict[int, int], reward: int, fees: int, terms: Terms) -> SharedBlock:
    total = sum(works.values())
    window = Window(1, 1, 9, total, works)
    split = terms.divide(reward, fees, window)
    steps = [Step(State.FOUND, NOON), Step(State.CONFIRMED, NOON + 1)]
    return SharedBlock(800_000, "ab" * 32, "cd" * 32, NOON, total, reward, fees, terms, window, split, steps)


def by_hand(part: Part) -> int:
    """The part again, from nothing but the numbers that the miner is given."""
    shared_sat = part.block.reward_sat - part.block.split.commission
    floor, remainder = divmod(shared_sat * part.own_work, part.block.window.work_total)
    assert (floor, remainder) == (part.floor_sat, part.remainder)
    return floor + (1 if part.rank <= part.left_sat else 0)


@given(WORKS, st.integers(0, 2**53), st.integers(0, 2**53), TERMS)
def test_every_part_is_recomputed_by_its_own_numbers(
    works: dict[int, int], reward: int, fees: int, terms: Terms
) -> None:
    """I2, I4: to the satoshi, for every miner of the window; and together they are the reward."""
    block = shared(works, reward, min(fees, reward), terms)
    parts = [part_of(block, miner_id) for miner_id in works]
    assert [by_hand(part) for part in parts] == [part.amount_sat for part in parts]
    assert sum(part.amount_sat for part in parts) == parts[0].shared_sat
    assert sum(part.commission_sat for part in parts) == block.split.commission
    assert sorted(part.rank for part in parts) == list(range(1, len(works) + 1))


def test_a_split_that_the_window_does_not_give_is_no_part() -> None:
    """I4."""
    block = shared({1: 3, 2: 5}, 5_000_000_001, 0, Terms("pplns", 2, 100, "shared"))
    split = block.split
    wrong = Split(split.commission, {1: split.amounts[1] + 1, 2: split.amounts[2] - 1}, split.commissions)
    told = SharedBlock(*(wrong if name == "split" else getattr(block, name) for name in block.__slots__))
    with pytest.raises(StatementError, match=f"split of block {'ab' * 32}"):
        part_of(told, 1)


def movement(kind: EntryKind, moved: Owed) -> Movement:
    source = (
        ("ab" * 32, None) if kind in journal.OF_BLOCKS else (None, 7 if kind in journal.OF_PAYOUTS else None)
    )
    return Movement(NOON, DAY, kind, *source, "why", moved)


def facts(opening: Owed, closing: Owed, movements: Sequence[Movement]) -> Facts:
    period = Period.parse("2026-11-24")
    return Facts(
        1, "altai", "Altai LLP", "940140000385", period, True, NOON, opening, closing, movements, [], [], []
    )


MOVED = st.one_of(
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.BLOCK_CONFIRMED, Owed(sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.BLOCK_MATURED, Owed(-sat, sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.BLOCK_REVERSED, Owed(0, -sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.PAYOUT_RESERVED, Owed(0, -sat, sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.PAYOUT_RELEASED, Owed(0, sat, -sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.PAYOUT_CONFIRMED, Owed(0, 0, -sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.PAYOUT_REVERSED, Owed(0, 0, sat))),
    st.integers(-(10**12), 10**12).map(lambda sat: movement(EntryKind.CORRECTION, Owed(0, sat))),
    st.integers(1, 10**12).map(lambda sat: movement(EntryKind.FPPS_CREDITED, Owed(0, sat))),
)


@given(st.lists(MOVED, max_size=30), st.tuples(*[st.integers(0, 10**12)] * 3))
def test_opening_and_what_moved_are_the_closing(moved: list[Movement], opening: tuple[int, int, int]) -> None:
    """I3, whatever happened in whatever order."""
    start = end = Owed(*opening)
    for one in moved:
        end = end.plus(one.moved)
    made = make(facts(start, end, moved))
    assert (
        start.total + made.credited_sat - made.reversed_sat - made.paid_sat + made.corrected_sat == end.total
    )
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table(made, RULES)]
    assert [row["section"] for row in rows] == ["opening", *["movement"] * len(moved), "closing"]
    assert rows[-1]["total_sat"] == rows[-2]["total_sat"] == str(end.total)
    told = document(made, RULES)
    assert sum(one["total_sat"] for one in told["movements"]) == end.total - start.total


def test_a_closing_that_entries_do_not_give_is_no_statement() -> None:
    """I3."""
    moved = [movement(EntryKind.BLOCK_CONFIRMED, Owed(5))]
    with pytest.raises(StatementError, match="statement of altai for 2026-11-24: opening and movements make"):
        make(facts(Owed(1), Owed(5, 1), moved))


def test_a_preview_is_what_the_block_would_be_divided_into() -> None:
    terms = Terms("pplns", 2, 150, "shared")
    window = Window(1, 1, 9, 8, {1: 3, 2: 5})
    told = preview(terms, 840_000, 4, 312_500_000, window, 2)
    assert told.amount_sat == terms.divide(312_500_000, 0, window).amounts[2]
    assert preview(terms, 840_000, 4, 312_500_000, window, 3).amount_sat == 0
    assert preview(terms, 840_000, 4, 312_500_000, None, 3).own_work == 0


@pytest.mark.parametrize(
    ("text", "first", "last", "before", "after"),
    [
        ("2026-11-24", "2026-11-24", "2026-11-24", "2026-11-23", "2026-11-25"),
        ("2026-11", "2026-11-01", "2026-11-30", "2026-10", "2026-12"),
        ("2028-02", "2028-02-01", "2028-02-29", "2028-01", "2028-03"),
        ("2026-01-01", "2026-01-01", "2026-01-01", "2025-12-31", "2026-01-02"),
        ("2026-12", "2026-12-01", "2026-12-31", "2026-11", "2027-01"),
    ],
)
def test_periods(text: str, first: str, last: str, before: str, after: str) -> None:
    period = Period.parse(text)
    assert (str(period.first), str(period.last)) == (first, last)
    assert (period.before, period.after) == (before, after)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-13",
        "2026-02-30",
        "20261124",
        "2026-W48-2",
        "2026-11-24T00",
        "1-01",
        "0001-01",
        "2026-11 ",
    ],
)
def test_what_is_no_period_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no day and no month; write it like 2026-11-24 or 2026-11"):
        Period.parse(text)
