"""Variable difficulty: bounds are kept, machines of any size converge, nothing floods, no share is lost."""

import random
from itertools import pairwise
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.vardiff import (
    APART_SECONDS,
    PROVING_SHARES,
    SILENT_STEPS,
    STEP_DOWN,
    STEP_UP,
    UNPROVEN_STEPS,
    DifficultyPolicy,
    Vardiff,
)
from tests.campaign import extent

JOB_SECONDS = 25
HASHES_AT_0 = 2**32
"""Hashes that a share of difficulty 1 takes, near enough."""
LARGEST_HASHRATE = 1e18
"""A farm of a thousand times the largest machine, behind one proxy connection."""

POLICIES = st.tuples(
    st.integers(-40, 40), st.integers(-40, 40), st.integers(-40, 40), st.floats(0.01, 6000)
).map(
    lambda drawn: DifficultyPolicy(
        start=sorted(drawn[:3])[1],
        minimum=sorted(drawn[:3])[0],
        maximum=sorted(drawn[:3])[2],
        shares_per_minute=drawn[3],
    )
)
EXPONENTS = st.integers(-40, 64)
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.integers(1, 300)),
        st.tuples(st.just("suggest"), EXPONENTS),
        st.tuples(st.just("wish_at_least"), EXPONENTS),
        st.tuples(st.just("fix"), EXPONENTS),
        st.tuples(st.just("adopt"), POLICIES),
        st.tuples(st.just("wait"), st.one_of(st.floats(0, 120), st.floats(-1e9, 1e9))),
        st.tuples(st.just("ceiling"), st.integers(-60, 80)),
    ),
    max_size=60,
)


class Machine:
    """A machine and the server's two clocks: jobs each 25 seconds, and a look each second after an alarm."""

    def __init__(self, vardiff: Vardiff, seed: int | None, tick: float = 1.0) -> None:
        self.vardiff = vardiff
        self.chance = None if seed is None else random.Random(seed)
        self.tick = tick
        self.ticks = 0.0
        self.shares = 0
        self.changes: list[tuple[float, int, int]] = []
        self.exponent = vardiff.retarget(0.0, 64)
        self._next_job = float(JOB_SECONDS)
        self._left = 0.0

    def mine(self, hashrate: float, seconds: float) -> list[int]:
        """The exponents in force, second by second."""
        seen = []
        for _ in range(int(seconds / self.tick)):
            self.ticks += self.tick
            arrived = self._arrivals(hashrate * self.tick / (2.0**self.exponent * HASHES_AT_0))
            self.shares += arrived
            alarm = arrived > 0 and self.vardiff.count(arrived)
            if alarm or self.ticks >= self._next_job:
                if self.ticks >= self._next_job:
                    self._next_job += JOB_SECONDS
                before, self.exponent = self.exponent, self.vardiff.retarget(self.ticks, 64)
                if before != self.exponent:
                    self.changes.append((self.ticks, before, self.exponent))
            seen.append(self.exponent)
        return seen

    def _arrivals(self, expected: float) -> int:
        if self.chance is None:
            # The worst a deterministic machine can do: all shares that are due come at the end of the second.
            self._left += expected
            arrived = int(self._left)
            self._left -= arrived
            return arrived
        if expected > 50:
            return max(round(self.chance.gauss(expected, expected**0.5)), 0)
        count, left = 0, self.chance.expovariate(1.0)
        while left < expected:
            count += 1
            left += self.chance.expovariate(1.0)
        return count


def policy(start: int = 14, minimum: int = 0, maximum: int = 40, rate: float = 12.0) -> DifficultyPolicy:
    return DifficultyPolicy(start=start, minimum=minimum, maximum=maximum, shares_per_minute=rate)


def hashrate_for(exponent: float, rate: float = 12.0) -> float:
    """The machine for which 2**exponent is exactly right."""
    return 2.0**exponent * HASHES_AT_0 * rate / 60


def ideal(hashrate: float, rate: float = 12.0) -> float:
    return log2(hashrate * 60 / rate / HASHES_AT_0)


@settings(max_examples=extent(200, 20_000))
@given(POLICIES, CALLS)
def test_i9_no_sequence_of_calls_makes_the_difficulty_leave_its_bounds(
    start: DifficultyPolicy, calls: list[tuple[str, object]]
) -> None:
    """Never above the difficulty of a block, unless the pool's own minimum says so."""
    vardiff, ticks, ceiling = Vardiff(start), 0.0, 64
    for name, argument in calls:
        if name == "wait":
            ticks += argument  # type: ignore[operator]
        elif name == "ceiling":
            ceiling = argument  # type: ignore[assignment]
        elif name == "count":
            for _ in range(argument):  # type: ignore[call-overload]
                vardiff.count()
        else:
            getattr(vardiff, name)(argument)
        exponent = vardiff.retarget(ticks, ceiling)
        bounds = vardiff.policy
        assert exponent == vardiff.exponent
        assert bounds.minimum <= exponent <= bounds.maximum
        assert exponent <= max(ceiling, bounds.minimum)


@settings(max_examples=extent(200, 20_000))
@given(POLICIES, st.lists(st.tuples(st.floats(-10, 1000), st.integers(0, 5000)), max_size=30))
def test_one_step_is_bounded(start: DifficultyPolicy, steps: list[tuple[float, int]]) -> None:
    vardiff, ticks = Vardiff(start), 0.0
    before = vardiff.retarget(ticks, 64)
    for seconds, shares in steps:
        vardiff.count(shares)
        ticks += seconds
        after = vardiff.retarget(ticks, 64)
        assert -STEP_DOWN <= after - before <= STEP_UP
        before = after


@settings(max_examples=extent(200, 20_000))
@given(st.lists(st.tuples(st.floats(0, 300), st.integers(0, 60)), max_size=60))
def test_silence_never_lowers_more_than_stated(steps: list[tuple[float, int]]) -> None:
    """16 times under the last share whatever comes, less by silence, 256 times before three shares."""
    vardiff, ticks = Vardiff(policy(start=20, minimum=-40)), 0.0
    sent = vardiff.retarget(ticks, 64)
    first, proven, total = sent, None, 0
    for seconds, shares in steps:
        for _ in range(shares):
            vardiff.count()
        total += shares
        proven = sent if shares and total >= PROVING_SHARES else proven
        ticks += seconds
        before, sent = sent, vardiff.retarget(ticks, 64)
        if proven is None:
            assert sent >= first - UNPROVEN_STEPS
        else:
            assert sent >= proven - STEP_DOWN
            if not shares:
                assert sent >= min(before, proven - SILENT_STEPS)


@settings(max_examples=extent(200, 20_000))
@given(st.integers(0, 24), st.lists(st.integers(1, 25), min_size=10, max_size=100))
def test_q23_after_the_ramp_changes_are_a_minute_apart(ramp: int, intervals: list[int]) -> None:
    """Whatever comes, as long as it is neither silence nor a flood."""
    vardiff = Vardiff(policy(start=14))
    sent, changes = vardiff.retarget(0.0, 64), []
    for at, shares in enumerate([ramp] * 8 + intervals, start=1):
        vardiff.count(shares)
        before, sent = sent, vardiff.retarget(at * 25.0, 64)
        if before != sent and at > 16:
            changes.append(at * 25.0)
    assert all(other - one >= APART_SECONDS for one, other in pairwise(changes))


@settings(max_examples=extent(60, 3_000), deadline=None)
@given(above=st.integers(-UNPROVEN_STEPS, 20), exponent=st.floats(0, 30), seed=st.integers(0, 2**32))
def test_q23_a_steady_machine_sees_few_changes(above: int, exponent: float, seed: int) -> None:
    machine = Machine(Vardiff(policy(start=max(round(exponent) - above, 0))), seed)
    machine.mine(hashrate_for(exponent), 3600)
    before = len(machine.changes)
    machine.mine(hashrate_for(exponent), 3 * 3600)
    assert len(machine.changes) - before <= 6


@pytest.mark.parametrize("steps", [3.0, 4.4, 7.7, 12.0, 18.4, 26.5])
def test_far_above_its_start_a_machine_is_right_within_ten_seconds(steps: float) -> None:
    """The start is 8 to 90 million times too easy; right is within a factor of two, nearly always."""
    near = 0
    for seed in range(100):
        seen = Machine(Vardiff(policy(start=0)), seed).mine(hashrate_for(steps), 10)
        near += abs(seen[-1] - steps) <= 1.0
    assert near >= 80


@settings(max_examples=extent(60, 3_000), deadline=None)
@given(start=st.integers(0, 30), magnitude=st.floats(9.5, 18), seed=st.integers(0, 2**32))
def test_from_any_start_a_steady_machine_converges_to_within_one_step(
    start: int, magnitude: float, seed: int
) -> None:
    hashrate = 10.0**magnitude
    machine = Machine(Vardiff(policy(start=start, minimum=-20)), seed)
    # Where the start is far more than 256 times too hard, the first share has to be waited for.
    first_share = 5 * 2.0 ** (start - UNPROVEN_STEPS - ideal(hashrate))
    machine.tick = max(first_share / 100, 1.0)
    machine.mine(hashrate, 20 * first_share)
    machine.tick = 1.0
    machine.mine(hashrate, 3600)
    seen = machine.mine(hashrate, 7200)
    near = sum(abs(exponent - ideal(hashrate)) <= 1.0 for exponent in seen)
    assert near >= 0.9 * len(seen)


@settings(max_examples=extent(60, 3_000), deadline=None)
@given(
    start=st.integers(0, 20),
    hashrate=st.floats(9, 18).map(lambda magnitude: 10.0**magnitude),
    minutes=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=8),
    seed=st.one_of(st.none(), st.integers(0, 2**32)),
)
def test_a_machine_cannot_flood_however_it_sleeps_and_wakes(
    start: int, hashrate: float, minutes: list[tuple[int, int]], seed: int | None
) -> None:
    """Shares over all time: the first seconds at the start difficulty, then a small multiple of the wish."""
    machine = Machine(Vardiff(policy(start=start)), seed)
    lowest = max(start - UNPROVEN_STEPS, 0) if minutes[0][0] else start
    for asleep, awake in minutes:
        machine.mine(0.0, asleep * 60)
        machine.mine(hashrate, awake * 60)
    first_second = hashrate / (2.0**lowest * HASHES_AT_0)
    awake = sum(minute for _, minute in minutes)
    assert machine.shares <= 2.5 * first_second + 40 * len(minutes) + 12 * awake * 3


@pytest.mark.parametrize("asleep", [60, 120, 600, 3600, 30_000])
def test_a_machine_that_wakes_gives_few_shares_too_many(asleep: float) -> None:
    bursts = []
    for seed in range(20):
        machine = Machine(Vardiff(policy(start=14)), seed)
        machine.mine(100e12, 1800)
        machine.mine(0.0, asleep)
        assert machine.exponent >= ideal(100e12) - SILENT_STEPS - 1
        before = machine.shares
        machine.mine(100e12, 60)
        bursts.append(machine.shares - before)
    assert max(bursts) <= 48
    assert sorted(bursts)[10] <= 26


def test_a_machine_curtailed_to_a_third_is_followed_down_and_up_again() -> None:
    machine = Machine(Vardiff(policy()), seed=5)
    machine.mine(100e12, 1800)
    machine.mine(30e12, 900)
    assert abs(machine.exponent - ideal(30e12)) <= 1
    machine.mine(100e12, 300)
    assert abs(machine.exponent - ideal(100e12)) <= 1


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0, 6.0, 12.0, 150.0])
def test_a_machine_without_a_share_comes_down_256_times_and_not_under_the_floor(rate: float) -> None:
    for minimum, lowest in [(2, 6), (10, 10)]:
        vardiff = Vardiff(policy(start=14, minimum=minimum, rate=rate))
        exponents = [
            vardiff.retarget(at * JOB_SECONDS, 64)
            for at in range(int(3600 / JOB_SECONDS * 12 / min(rate, 12)))
        ]
        assert exponents[-1] == lowest
        assert exponents == sorted(exponents, reverse=True)


def test_a_flood_rings_the_alarm_and_is_answered_at_the_next_look() -> None:
    vardiff = Vardiff(policy(start=0))
    vardiff.retarget(0.0, 64)
    rings = [vardiff.count() for _ in range(100)]
    assert rings.index(True) == 5
    assert vardiff.retarget(1.0, 64) == 3
    assert vardiff.count(), "what was more than one job may bring waits for a share at the new difficulty"
    vardiff.count(11)
    assert vardiff.retarget(2.0, 64) == 6


def test_q06_a_burst_of_stored_shares_raises_by_one_step_only() -> None:
    vardiff = Vardiff(policy(start=14))
    vardiff.retarget(0.0, 64)
    for _ in range(100):
        vardiff.count()
    assert vardiff.retarget(1.0, 64) == 17
    assert vardiff.count()
    assert vardiff.retarget(20.0, 64) == 17, "one share in 19 seconds does not confirm the rest"


def test_no_alarm_where_nothing_can_be_raised() -> None:
    vardiff = Vardiff(policy(start=3, maximum=3))
    vardiff.retarget(0.0, 64)
    assert not any(vardiff.count() for _ in range(1000))


def test_a_share_of_an_earlier_job_weighs_its_own_difficulty() -> None:
    vardiff = Vardiff(policy(start=10))
    vardiff.retarget(0.0, 64)
    for _ in range(40):
        vardiff.count(2.0**-3)
    assert vardiff.retarget(25.0, 64) == 10, "forty eighths are the five that were expected"


def test_a_clock_that_steps_back_starts_the_count_anew() -> None:
    vardiff = Vardiff(policy(start=5))
    vardiff.retarget(1000.0, 64)
    vardiff.count(100)
    assert vardiff.retarget(10.0, 64) == 5
    vardiff.count(100)
    assert vardiff.retarget(12.0, 64) == 8, "and from there on it works as ever"


def test_a_machine_near_the_wish_is_left_alone() -> None:
    machine = Machine(Vardiff(policy(start=10)), seed=1)
    machine.mine(hashrate_for(10), 24 * 3600)
    assert len(machine.changes) <= 2


def test_q61_a_suggestion_repeated_as_keep_alive_does_not_undo_the_adjustment() -> None:
    vardiff = Vardiff(policy(start=10))
    vardiff.suggest(-13)
    assert vardiff.retarget(0.0, 64) == 0, "clamped to the floor"
    seen = []
    for at in range(1, 8):
        vardiff.suggest(-13)
        vardiff.count(200)
        seen.append(vardiff.retarget(at * 30.0, 64))
    assert seen[-1] >= 15


def test_d06_a_suggestion_is_a_start_and_adjustment_goes_on() -> None:
    vardiff = Vardiff(policy(start=14))
    vardiff.suggest(9)
    machine = Machine(vardiff, seed=3)
    assert machine.exponent == 9
    machine.mine(100e12, 20)
    assert abs(machine.exponent - ideal(100e12)) <= 1.5


def test_a_suggestion_cannot_undo_a_known_rate() -> None:
    vardiff = Vardiff(policy(start=16))
    machine = Machine(vardiff, seed=3)
    machine.mine(hashrate_for(16), 120)
    vardiff.suggest(0)
    assert vardiff.retarget(121.0, 64) >= 16 - STEP_DOWN


def test_the_start_of_the_class_counts_before_the_first_job_and_without_a_wish() -> None:
    fresh, wishing, working = Vardiff(policy()), Vardiff(policy()), Vardiff(policy())
    wishing.suggest(12)
    working.retarget(0.0, 64)
    for vardiff in (fresh, wishing, working):
        vardiff.adopt(policy(start=17, minimum=13))
    assert fresh.retarget(1.0, 64) == 17
    assert wishing.retarget(1.0, 64) == 13, "the floor of the class holds against the wish"
    assert working.retarget(1.0, 64) == 14


def test_the_wished_minimum_is_a_floor() -> None:
    vardiff = Vardiff(policy(start=10))
    vardiff.wish_at_least(12)
    exponents = [vardiff.retarget(at * 25.0, 64) for at in range(100)]
    assert set(exponents) == {12}
    assert vardiff.retarget(3000.0, 7) == 7, "but a block's difficulty is the ceiling"


def test_a_fixed_difficulty_stays_unless_it_floods() -> None:
    for hashrate in [0.0, 1e12, hashrate_for(12), hashrate_for(15)]:
        vardiff = Vardiff(policy(start=14))
        vardiff.fix(12)
        assert set(Machine(vardiff, seed=2).mine(hashrate, 3600)) == {12}
    vardiff = Vardiff(policy(start=14))
    vardiff.fix(12)
    assert Machine(vardiff, seed=2).mine(hashrate_for(20), 60)[-1] in {17, 18}


@settings(max_examples=extent(100, 5_000), deadline=None)
@given(
    hashrate=st.floats(9, 16).map(lambda magnitude: 10.0**magnitude),
    start=st.integers(0, 20),
    lag=st.integers(0, 30),
    wishes=st.dictionaries(st.integers(1, 299), st.integers(0, 30), max_size=5),
    seed=st.integers(0, 2**32),
)
def test_i2_no_honest_share_is_refused_for_a_change(
    hashrate: float, start: int, lag: int, wishes: dict[int, int], seed: int
) -> None:
    """The machine takes up jobs `lag` seconds late and knows a difficulty only from the line before a job.

    The server judges by what the job was sent with; shares of earlier jobs do not drive the difficulty up.
    """
    vardiff, chance = Vardiff(policy(start=start)), random.Random(seed)
    steps: list[tuple[int, int]] = []
    lines: list[tuple[int, int, int | None]] = []

    def send(second: int, exponent: int) -> None:
        changed = not steps or steps[-1][1] != exponent
        if changed:
            steps.append((len(lines), exponent))
        lines.append((second, len(lines), exponent if changed else None))

    send(0, vardiff.retarget(0.0, 64))
    job = told = read = -1
    for second in range(300):
        while read + 1 < len(lines) and (read < 0 or lines[read + 1][0] <= second - lag):
            read += 1
            job, told = lines[read][1], told if lines[read][2] is None else lines[read][2]
        judged = next(exponent for first, exponent in reversed(steps) if job >= first)
        assert judged == told
        expected = hashrate / (2.0**told * HASHES_AT_0)
        arrived = round(expected) + (chance.random() < expected % 1)
        alarm = arrived > 0 and vardiff.count(arrived * 2.0 ** (told - steps[-1][1]))
        if second in wishes:
            vardiff.suggest(wishes[second])
        if alarm or second % JOB_SECONDS == 0:
            exponent = vardiff.retarget(float(second), 64)
            if exponent != steps[-1][1] or second % JOB_SECONDS == 0:
                send(second, exponent)
    if not wishes:
        assert steps[-1][1] <= max(ideal(hashrate) + 2.5, start)
