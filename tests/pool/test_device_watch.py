"""The watch over hardware units (O-07), against a slow second way that asks every share again."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.slices import Share, Slice, cut
from pool.clock import HOUR_US, hour_of
from pool.device_watch import (
    CLOSE_US,
    MINUTE_US,
    DeviceWatch,
    Hour,
    Name,
    Part,
    Rate,
    look,
    over_nominal,
    part_of,
)
from register.sighting import SightingKind
from tests.register_world import RULES, at, clerk_of, enter_unit, register_of

DAY = dt.date(2026, 11, 24)
TEN = at(DAY, 10)
"""10:00 in Kazakhstan."""
GHS = 56_000
NOMINAL = GHS * 10**9 * 3600
"""Hashes of a unit in an hour at its nominal rate."""
REGISTER = register_of("altai", units={"altai": ["a", "b", "c"]})
ALTAI = REGISTER.miner("altai").id
OVERRATE, DUPLICATE = SightingKind.OVERRATE, SightingKind.DUPLICATE


class Sent(NamedTuple):
    """A share as a miner sent it."""

    minute: int
    second: int
    gateway: int
    worker: str


def piece(
    first_us: int, last_us: int | None = None, *, worker: str = "a", work: int = 1000, shares: int = 10
) -> Slice:
    last_us = first_us if last_us is None else last_us
    return Slice(ALTAI, worker, RULES.day_of(first_us), work, shares, first_us, last_us, None)


def found_in(hour: Hour) -> list[tuple[SightingKind, str]]:
    found = look(hour, list(hour.rates), REGISTER.units_named, RULES)
    return sorted((one.seen.sighting.kind, one.seen.sighting.worker) for one in found)


def an_hour(shares: Iterable[Sent], work: dict[str, int]) -> Hour:
    """The shares of the hour from 10:00 by way of slices, in one batch for each gateway and minute."""
    watch = DeviceWatch()
    watch.take(1, 1, [], TEN - HOUR_US)
    batches: dict[tuple[int, int], list[Share]] = {}
    for minute, second, gateway, worker in shares:
        at_us = TEN + minute * MINUTE_US + second * 1_000_000
        share = Share(at_us, ALTAI, worker, work[worker], None)
        batches.setdefault((minute, gateway), []).append(share)
    for position, (minute, gateway) in enumerate(sorted(batches), 2):
        slices = cut(batches[minute, gateway], RULES.day_of)
        watch.take(position, gateway, slices, TEN + minute * MINUTE_US)
    hours = watch.closed(TEN + HOUR_US + CLOSE_US)
    return hours[0] if hours else Hour(TEN)


SENT = st.builds(Sent, st.integers(0, 59), st.integers(0, 59), st.integers(1, 3), st.sampled_from("abc"))


@given(
    st.lists(SENT, max_size=200),
    st.fixed_dictionaries({name: st.integers(1, 60) for name in "abc"}),
)
def test_o07_what_is_found_agrees_with_the_slow_way(shares: list[Sent], expected: dict[str, int]) -> None:
    """`expected` is how many shares of its difficulty a unit gives in an hour, nominally."""
    work = {name: NOMINAL // count for name, count in expected.items()}
    slow: list[tuple[SightingKind, str]] = []
    for name in "abc":
        mine = [one for one in shares if one.worker == name]
        likely = Fraction(NOMINAL, work[name])
        too_much = len(mine) * 100 > 130 * likely
        if too_much and (len(mine) - likely) ** 2 >= 25 * likely:
            slow.append((OVERRATE, name))
        gateways = {minute: {one.gateway for one in mine if one.minute == minute} for minute in range(60)}
        if sum(len(here) > 1 for here in gateways.values()) >= 3:
            slow.append((DUPLICATE, name))
    assert found_in(an_hour(shares, work)) == sorted(slow)


@pytest.mark.parametrize(
    ("count", "likely", "told"),
    [
        (936, 720, False),  # 130 %, and not more
        (937, 720, True),
        (1440, 720, True),
        (84, 60, False),  # 140 %, but chance does that once in a thousand hours
        (98, 60, False),
        (99, 60, True),
        (5, 1, False),
        (6, 1, True),
    ],
)
def test_o07_more_than_the_nominal_rate_is_told_when_it_is_no_chance(
    count: int, likely: int, told: bool
) -> None:
    rate = Rate()
    rate.work, rate.shares = count * (NOMINAL // likely), count
    rate.spread = count * (NOMINAL // likely) ** 2
    assert over_nominal(rate, NOMINAL, 130, 5) is told


def test_o07_luck_alone_is_never_told() -> None:
    """Ten thousand hours of honest units, of 10 to 720 shares, half of them with a change of difficulty."""
    dice = random.Random(4)
    for _ in range(10_000):
        share_work = NOMINAL // dice.choice((10, 40, 240, 720))
        rate, spent, changed = Rate(), 0.0, dice.random() < 0.5
        while True:
            work = share_work // 16 if changed and spent < 0.2 else share_work
            spent += dice.expovariate(NOMINAL / work)
            if spent > 1:
                break
            rate.work, rate.spread = rate.work + work, rate.spread + work * work
        assert not over_nominal(rate, NOMINAL, 130, 5)


def test_what_is_told_names_the_unit_the_hour_and_the_measure() -> None:
    hour = Hour(TEN)
    work = NOMINAL // 100
    hour.add(7, (ALTAI, "a"), Part(200 * work, 200 * work * work, 200, 0b111))
    hour.add(9, (ALTAI, "a"), Part(work, work * work, 1, 0b1111))
    rate, twice = look(hour, [(ALTAI, "a")], REGISTER.units_named, RULES)
    assert rate.registry_number == twice.registry_number == "altai-a"
    assert rate.seen.sighting.detail == "201 % of 56000 GH/s in 201 shares, hour from 10:00"
    assert twice.seen.sighting.detail == "at gateways 7 and 9 in the same 3 minutes, hour from 10:00"
    for one in (rate, twice):
        sighting = one.seen.sighting
        assert (sighting.day, sighting.first_us, one.seen.last_us) == (DAY, TEN, TEN + HOUR_US - 1)


def test_a_move_to_another_gateway_and_back_is_no_duplicate() -> None:
    there = [Sent(minute, 30, 2 if 20 <= minute < 40 else 1, "a") for minute in range(60)]
    edges = [Sent(20, 1, 1, "a"), Sent(40, 1, 2, "a")]
    assert found_in(an_hour(there + edges, {"a": 1000})) == []
    both = [Sent(minute, 45, 2, "a") for minute in range(5, 8)]
    assert found_in(an_hour(there + both, {"a": 1000})) == [(DUPLICATE, "a")]


def test_names_that_are_no_registered_units_are_left_to_the_gate() -> None:
    register = register_of("altai", units={"altai": []})
    clerk = clerk_of(register)
    enter_unit(clerk, "altai", "gone", included_on=dt.date(2026, 1, 1), excluded_on=DAY)
    enter_unit(clerk, "altai", "soon", included_on=DAY + dt.timedelta(days=1))
    enter_unit(clerk, "altai", "here", included_on=DAY, excluded_on=DAY + dt.timedelta(days=1))
    hour = Hour(TEN)
    names: list[Name] = [(ALTAI, name) for name in ("gone", "soon", "here", "stranger")] + [(99, "here")]
    for name in names:
        hour.add(1, name, Part(10 * NOMINAL, 1, 1, 7))
    found = look(hour, names, register.units_named, RULES)
    assert [one.registry_number for one in found] == ["altai-here"]


# Slices that cross the bounds of an hour


@given(
    st.integers(0, 3 * HOUR_US), st.integers(0, 3 * HOUR_US), st.integers(1, 10**30), st.integers(1, 10**6)
)
def test_a_slice_that_crosses_hours_is_divided_by_time(
    begin: int, length: int, work: int, shares: int
) -> None:
    one = piece(TEN + begin, TEN + begin + length, work=work, shares=shares)
    starts = range(hour_of(one.first_us), one.last_us + 1, HOUR_US)
    parts = {start_us: part_of(one, start_us) for start_us in starts}
    for start_us, part in parts.items():
        inside = len(range(max(one.first_us, start_us), min(one.last_us + 1, start_us + HOUR_US)))
        assert part.work == int(Fraction(work * inside, length + 1))
        assert part.spread == int(Fraction(int(Fraction(work * work, shares)) * inside, length + 1))
    assert work - len(parts) < sum(part.work for part in parts.values()) <= work
    minutes = {
        start_us + m * MINUTE_US
        for start_us, part in parts.items()
        for m in range(60)
        if part.minutes >> m & 1
    }
    assert minutes == {instant - instant % MINUTE_US for instant in (one.first_us, one.last_us)}


# Which hours are counted in memory, and which are read


def test_the_hour_in_which_a_ledger_starts_is_read_and_the_next_is_counted() -> None:
    watch = DeviceWatch()
    watch.take(70, 1, [piece(TEN + HOUR_US // 2)], TEN + HOUR_US // 2)
    watch.take(71, 1, [piece(TEN + HOUR_US + 5)], TEN + HOUR_US + 9)
    over = TEN + 2 * HOUR_US + CLOSE_US
    assert watch.to_read(TEN + HOUR_US + CLOSE_US - 1) == [TEN - HOUR_US]
    assert watch.to_read(over) == [TEN]
    assert watch.closed(over - 1) == []
    (hour,) = watch.closed(over)
    assert (hour.start_us, hour.rates[ALTAI, "a"].work) == (TEN + HOUR_US, 1000)
    assert watch.closed(over + HOUR_US) == watch.to_read(over + HOUR_US) == []


def test_a_ledger_that_starts_after_a_long_pause_reads_from_the_hour_before_the_first_slice_on() -> None:
    watch = DeviceWatch()
    now_us = TEN + 5 * HOUR_US + HOUR_US // 2
    watch.take(70, 1, [piece(TEN + 2 * HOUR_US)], now_us)
    watch.take(71, 1, [piece(TEN + 3 * HOUR_US)], now_us)
    started = [TEN + hours * HOUR_US for hours in (1, 2, 3)]
    assert watch.to_read(now_us + CLOSE_US) == started
    assert watch.to_read(TEN + 6 * HOUR_US + CLOSE_US) == [TEN + 5 * HOUR_US]


def test_missed_batches_make_the_open_hours_be_read() -> None:
    watch = DeviceWatch()
    watch.take(1, 1, [], TEN - HOUR_US)
    watch.take(2, 1, [piece(TEN)], TEN)
    watch.take(4, 1, [piece(TEN + MINUTE_US)], TEN + MINUTE_US)
    over = TEN + HOUR_US + CLOSE_US
    assert watch.closed(over) == []
    assert TEN in watch.to_read(over)


def test_late_slices_make_their_hour_be_read_once_they_have_ceased() -> None:
    watch = DeviceWatch()
    watch.take(1, 1, [], TEN - HOUR_US)
    watch.take(2, 1, [piece(TEN)], TEN)
    now_us = TEN + HOUR_US + CLOSE_US
    assert [hour.start_us for hour in watch.closed(now_us)] == [TEN]
    assert watch.to_read(now_us) == [TEN - 2 * HOUR_US, TEN - HOUR_US]
    for position in range(3, 8):
        now_us += CLOSE_US - 1
        watch.take(position, 2, [piece(TEN + 7)], now_us)
        assert watch.to_read(now_us) == []
    assert watch.to_read(now_us + CLOSE_US) == [TEN]
    assert watch.to_read(now_us + CLOSE_US) == []


def test_clocks_that_are_far_wrong_are_not_looked_into() -> None:
    watch = DeviceWatch()
    watch.take(1, 1, [], TEN)
    days = [dt.timedelta(days=days) // dt.timedelta(microseconds=1) for days in (-8, 2)]
    watch.take(2, 1, [piece(TEN + away) for away in days], TEN)
    assert watch.closed(TEN + days[1] * 2) == []
    assert watch.to_read(TEN + days[1] * 2) == [TEN - HOUR_US, TEN]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 40 * MINUTE_US),  # the clock goes on
        st.sampled_from([1, 1, 1, 1, 1, 2]),  # the position too
        st.lists(
            st.tuples(st.sampled_from([0, 0, 0, 1, 2, 30, 90, 200, -1]), st.integers(0, 2 * MINUTE_US)),
            max_size=3,
        ),
        st.booleans(),  # then the ledger looks
    ),
    max_size=30,
)


@given(STEPS)
def test_o07_every_slice_is_in_an_hour_that_is_looked_at_after_it_came(
    steps: list[tuple[int, int, list[tuple[int, int]], bool]],
) -> None:
    """Late, over the hour's edge, with lost batches between: counted whole, or read after the last one."""
    watch, now_us, position = DeviceWatch(), TEN, 0
    told: Counter[int] = Counter()
    looked: Counter[int] = Counter()

    def look_now() -> None:
        for hour in watch.closed(now_us):
            looked[hour.start_us] = sum(rate.shares for rate in hour.rates.values())
        for start_us in watch.to_read(now_us):
            looked[start_us] = told[start_us]

    for seconds, further, given_slices, then_look in steps:
        now_us, position = now_us + seconds, position + further
        slices = [
            piece(now_us - ago * MINUTE_US - long, now_us - ago * MINUTE_US) for ago, long in given_slices
        ]
        watch.take(position, 1, slices, now_us)
        for one in slices:
            for start_us in range(hour_of(one.first_us), one.last_us + 1, HOUR_US):
                told[start_us] += part_of(one, start_us).shares
        if then_look:
            look_now()
    now_us += 2 * HOUR_US
    look_now()
    assert {start_us: looked[start_us] for start_us in told} == dict(told)
