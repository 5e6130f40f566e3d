"""A batch sorted for the ledger: slices, refusals, blocks, and where each block's window ends."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.intake import sort_records, work_of
from pool.records import Found, Record, Reject, Share

HOUR_US = 3_600_000_000


def day_of(at_us: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(hours=at_us // HOUR_US + 5)


def share(number: int, miner_id: int = 1, worker: str = "a", at_us: int = 0) -> Share:
    return Share(at_us, miner_id, worker, 1, b"\x0f" + b"\xff" * 31, number.to_bytes(80, "big"))


def found(solved: Share | None, *, credited: bool = True) -> Found:
    header = solved.header if solved else b"\xff" * 80
    name = hashlib.sha256(hashlib.sha256(header).digest()).digest()[::-1].hex()
    return Found(0, 1, "a", 7, name, "00" * 32, b"\x00" + b"\xff" * 31, 50, 0, "11" * 32, credited)


@pytest.mark.parametrize(
    ("target", "work"),
    [(2**256 - 1, 1), (2**255 - 1, 2), (0, 2**256), (2**224 - 1, 2**32), (0xFFFF << 208, 4295032833)],
)
def test_work_is_the_expected_number_of_hashes(target: int, work: int) -> None:
    assert work_of(target.to_bytes(32, "big")) == work


def test_window_ends_with_the_winning_share() -> None:
    """I4: what came after the winner in the same batch is behind its slice, what came before is not."""
    winner = share(2, miner_id=2)
    kept = sort_records(
        [share(0), share(1, miner_id=3), winner, found(winner), share(3, miner_id=2), share(4)], day_of
    )
    assert [(one.miner_id, one.wins is not None) for one in kept.miners] == [
        (1, False),
        (3, False),
        (2, True),
        (2, False),
        (1, False),
    ]
    assert [each.slices_before for each in kept.founds] == [3]


def test_uncredited_block_ends_the_window_before_it() -> None:
    kept = sort_records([share(0), found(None, credited=False), share(1)], day_of)
    assert [one.shares for one in kept.miners] == [1, 1]
    assert all(one.wins is None for one in kept.miners)
    assert [each.slices_before for each in kept.founds] == [1]


def test_block_told_without_its_share_ends_the_window_where_it_stands() -> None:
    stranger = found(None)
    kept = sort_records([share(0), stranger], day_of)
    assert [each.slices_before for each in kept.founds] == [1]
    assert kept.miners[0].wins is None


def test_refusals_are_counted_by_miner_worker_day_and_reason() -> None:
    late = Reject(HOUR_US * 20, 1, "a", "stale")
    kept = sort_records([Reject(0, 1, "a", "stale"), Reject(1, 1, "a", "stale"), late], day_of)
    assert sorted((key.day.day, count) for key, count in kept.rejects.items()) == [(1, 2), (2, 1)]
    assert kept.workers == kept.miners == []


records = st.lists(
    st.one_of(
        st.builds(
            share,
            st.integers(0, 2**64),
            st.integers(1, 3),
            st.sampled_from(["", "a"]),
            st.integers(0, 40 * HOUR_US),
        ),
        st.builds(Reject, st.just(0), st.integers(1, 3), st.just("a"), st.just("stale")),
        st.builds(found, st.none(), credited=st.booleans()),
    ),
    max_size=40,
)


@given(records)
def test_nothing_is_lost_and_nothing_counted_twice(batch: list[Record]) -> None:
    """I1 and I2: work and shares by miner, worker and day are those of the records."""
    kept = sort_records(batch, day_of)
    shares: Counter[tuple[int, str, dt.date]] = Counter()
    for record in batch:
        if isinstance(record, Share):
            shares[record.miner_id, record.worker, day_of(record.at_us)] += 1
    sliced: Counter[tuple[int, str, dt.date]] = Counter()
    for one in kept.workers:
        assert one.work == 16 * one.shares
        sliced[one.miner_id, one.worker, one.day] += one.shares
    assert sliced == shares
    by_miner: Counter[tuple[int, dt.date]] = Counter()
    for one in kept.miners:
        assert (one.work, one.worker) == (16 * one.shares, "")
        by_miner[one.miner_id, one.day] += one.shares
    assert sum(by_miner.values()) == shares.total()
    assert all(
        count == sum(part for (id_, _, on), part in shares.items() if (id_, on) == (miner_id, day))
        for (miner_id, day), count in by_miner.items()
    )
    assert kept.rejects.total() == sum(isinstance(record, Reject) for record in batch)
    before = [
        sum(isinstance(each, Share) for each in batch[:place])
        for place, record in enumerate(batch)
        if isinstance(record, Found)
    ]
    assert [sum(one.shares for one in kept.miners[: each.slices_before]) for each in kept.founds] == before
