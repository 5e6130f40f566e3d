"""Workers counted in small rings, against counting them from all their shares."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pool.clock import HOUR_US
from pool.intake import work_of
from pool.pages import workers as counting
from pool.pages.workers import DAY_US, HOURS, SPAN_US, Ring, Workers
from pool.records import Found, Record, Reject, Share

NOW = 1_795_503_600_000_000
DAYS = [(NOW - DAY_US - DAY_US // 2, 1), (NOW - DAY_US // 2, 2)]
TARGET = b"\x00\x00\xff" + b"\xff" * 29
WORK = work_of(TARGET)


def share(at_us: int, name: str = "rig1", miner_id: int = 1) -> Share:
    return Share(at_us, miner_id, name, 1, TARGET, bytes(80))


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 10**12)), max_size=80),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_a_ring_has_the_newest_numbers_and_nothing_else(
    added: list[tuple[int, int]], first: int, last: int
) -> None:
    ring = Ring(31, 0)
    newest, all_of = 0, Counter[int]()
    for number, amount in added:
        newest = max(newest, number)
        if number > newest - 31:
            all_of[number] += amount
        ring.add(number, amount)
    kept = sum(all_of[number] for number in range(max(first, newest - 30), min(last, newest) + 1))
    assert ring.total(first, last) == kept


@settings(max_examples=50)
@given(st.lists(st.integers(0, DAY_US + HOUR_US), max_size=60))
def test_rates_are_the_work_of_the_spans_that_are_over(ages: list[int]) -> None:
    told = Workers()
    told.since_us = NOW - 2 * DAY_US
    times = sorted(NOW - age for age in ages)
    told.count([share(at_us) for at_us in times], DAYS, NOW)
    worker = told.find(1, "RIG1")
    if worker is None:
        assert not ages
        return
    end = NOW // SPAN_US
    for seconds in (600, 3600):
        inside = [at for at in times if end - seconds * 1_000_000 // SPAN_US <= at // SPAN_US < end]
        assert worker.over(NOW, 0, seconds) == len(inside) * WORK // seconds
    begin = NOW // HOUR_US - HOURS + 1
    of_day = [at for at in times if at // HOUR_US >= begin]
    assert worker.over_day(NOW, 0) == len(of_day) * WORK * 1_000_000 // (NOW - begin * HOUR_US)
    assert worker.last_us == times[-1]
    assert worker.today(2)[0] == sum(at >= DAYS[1][0] for at in times)


def test_where_counting_began_later_rates_are_over_the_time_since_then() -> None:
    told = Workers()
    told.since_us = NOW - 5 * SPAN_US
    told.count([share(NOW - number * SPAN_US) for number in range(1, 6)], DAYS, NOW)
    worker = told.find(1, "rig1")
    assert worker is not None
    assert worker.over(NOW, told.since_us, 600) == worker.over(NOW, told.since_us, 3600) == 5 * WORK // 600


def test_refusals_are_counted_by_reason_and_only_todays() -> None:
    told = Workers()
    records: list[Record] = [
        *(Reject(NOW - DAY_US, 1, "rig1", "stale") for _ in range(3)),
        *(Reject(NOW - age, 1, "rig1", "duplicate") for age in range(2)),
        *(Reject(NOW, 0, "stranger.rig", "unauthorised"), Reject(NOW + HOUR_US, 1, "Rig1", "stale")),
        Found(NOW, 1, "rig1", 1, "aa", "bb", TARGET, 1, 0, "cc", credited=True),
    ]
    told.count(records, DAYS, NOW)
    worker = told.find(1, "rig1")
    assert worker is not None
    assert worker.today(2) == (0, Counter(duplicate=2, stale=1))
    assert worker.today(3) == (0, Counter())
    assert len(told) == 1, "nobody's are nobody's, and letter case does not matter"


def test_who_is_silent_for_a_day_is_forgotten() -> None:
    told = Workers()
    told.count([share(NOW - DAY_US - 2 * SPAN_US, "old"), share(NOW - DAY_US + SPAN_US, "new")], DAYS, NOW)
    told.forget(NOW)
    assert set(told.of(1)) == {"new"}
    told.forget(NOW + 2 * DAY_US)
    assert len(told) == 0


def test_a_miner_cannot_fill_the_memory_with_names() -> None:
    told = Workers()
    names = (f"rig{number}" for number in range(counting.NAMES_LIMIT + 10))
    told.count([share(NOW, name) for name in names], DAYS, NOW)
    told.count([share(NOW, "rig1"), share(NOW, "other", miner_id=2)], DAYS, NOW)
    assert len(told.of(1)) == counting.NAMES_LIMIT
    assert len(told.of(2)) == 1
