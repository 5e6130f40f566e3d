"""The names that a ledger has written: each once a day, and only what was committed is remembered."""

import datetime as dt

from payouts.slices import Slice
from pool.workers_seen import DAYS_KEPT, WorkersSeen

DAY = dt.date(2026, 11, 24)


def worked(worker: str, miner_id: int = 1, day: dt.date = DAY) -> Slice:
    return Slice(miner_id, worker, day, 16, 1, 0, 0, None)


def test_a_name_is_fresh_until_it_is_written() -> None:
    seen = WorkersSeen()
    slices = [worked("a"), worked("b"), worked("a"), worked("a", 2), worked("a", 1, DAY + dt.timedelta(1))]
    fresh = seen.fresh(slices)
    assert fresh == {(DAY, 1): ["a", "b"], (DAY, 2): ["a"], (DAY + dt.timedelta(1), 1): ["a"]}
    assert seen.fresh(slices) == fresh  # the transaction may have failed
    seen.written(fresh)
    assert seen.fresh([*slices, worked("c"), worked("b", 2)]) == {(DAY, 1): ["c"], (DAY, 2): ["b"]}
    seen.forget()
    assert seen.fresh(slices) == fresh


def test_days_that_nobody_speaks_of_are_forgotten_first() -> None:
    seen = WorkersSeen()
    days = [DAY + dt.timedelta(number) for number in range(DAYS_KEPT + 1)]
    for day in days[:-1]:
        seen.written(seen.fresh([worked("a", day=day)]))
    assert seen.fresh([worked("a", day=days[0])]) == {}  # the oldest is delivered still
    seen.written(seen.fresh([worked("a", day=days[-1])]))
    assert [bool(seen.fresh([worked("a", day=day)])) for day in days] == [False, True, False, False, False]
