"""Cutting shares into slices, against a slow second way; conservation of work (I2, I4)."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.slices import Share, Slice, cut, of_miners

DAY0 = dt.date(2026, 1, 1)


def day_of(at_us: int) -> dt.date:
    return DAY0 + dt.timedelta(days=at_us // 100)


shares_strategy = st.lists(
    st.builds(
        Share,
        at_us=st.integers(0, 250),
        miner_id=st.integers(1, 3),
        worker=st.sampled_from(["", "a", "b"]),
        work=st.integers(1, 2**80),
        wins=st.sampled_from([None, None, None, None, "ab" * 32, "cd" * 32]),
    ),
    max_size=60,
)


def slow_cut(shares: list[Share]) -> list[Slice]:
    """Splits the list after each winning share, then groups each run by asking every share again."""
    runs: list[list[Share]] = [[]]
    for share in shares:
        runs[-1].append(share)
        if share.wins:
            runs.append([])
    slices = []
    for run in runs:
        keys = list(dict.fromkeys((s.miner_id, s.worker, day_of(s.at_us)) for s in run))
        if run and run[-1].wins:
            winner = (run[-1].miner_id, run[-1].worker, day_of(run[-1].at_us))
            keys = [key for key in keys if key != winner] + [winner]
        for key in keys:
            mine = [s for s in run if (s.miner_id, s.worker, day_of(s.at_us)) == key]
            times = [s.at_us for s in mine]
            slices.append(
                Slice(*key, sum(s.work for s in mine), len(mine), min(times), max(times), mine[-1].wins)
            )
    return slices


@given(shares_strategy)
def test_i4_cut_agrees_with_the_slow_way(shares: list[Share]) -> None:
    assert cut(iter(shares), day_of) == slow_cut(shares)


@given(shares_strategy)
def test_i2_no_work_is_lost_or_made(shares: list[Share]) -> None:
    slices = cut(shares, day_of)
    for miner_id in (1, 2, 3):
        assert sum(s.work for s in slices if s.miner_id == miner_id) == sum(
            s.work for s in shares if s.miner_id == miner_id
        )
    assert sum(s.shares for s in slices) == len(shares)
    assert [s.wins for s in slices if s.wins] == [s.wins for s in shares if s.wins]


@given(shares_strategy)
def test_i4_everything_up_to_a_winning_share_and_nothing_after_it_precedes_the_end_of_its_slice(
    shares: list[Share],
) -> None:
    slices = cut(shares, day_of)
    for place, share in enumerate(shares):
        if share.wins:
            nth = sum(1 for s in shares[: place + 1] if s.wins)
            ends = [i for i, s in enumerate(slices) if s.wins][nth - 1]
            assert sum(s.work for s in slices[: ends + 1]) == sum(s.work for s in shares[: place + 1])


def test_the_winner_stands_last_and_its_earlier_shares_with_it() -> None:
    shares = [
        Share(10, 1, "a", 5, None),
        Share(11, 2, "", 7, None),
        Share(12, 1, "a", 5, "ff" * 32),
        Share(13, 1, "a", 5, None),
    ]
    assert cut(shares, day_of) == [
        Slice(2, "", DAY0, 7, 1, 11, 11, None),
        Slice(1, "a", DAY0, 10, 2, 10, 12, "ff" * 32),
        Slice(1, "a", DAY0, 5, 1, 13, 13, None),
    ]


def test_a_share_without_work_is_refused() -> None:
    with pytest.raises(ValueError, match="miner 4 worker 'w' at 9 has work 0"):
        cut([Share(9, 4, "w", 0, None)], day_of)


@given(shares_strategy)
def test_i4_slices_of_miners_are_those_of_their_workers_put_together(shares: list[Share]) -> None:
    workers = cut(shares, day_of)
    miners = of_miners(workers)
    assert sum(one.work for one in miners) == sum(one.work for one in workers)
    assert [one.wins for one in miners if one.wins] == [one.wins for one in workers if one.wins]
    # The same as if every miner had one worker.
    assert miners == cut([share._replace(worker="") for share in shares], day_of)
