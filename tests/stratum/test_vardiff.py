"""Variable difficulty: the bounds are kept, machines of any size converge, odd clocks do no harm."""

import random
from itertools import pairwise
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum.vardiff import STEP_DOWN, STEP_UP, DifficultyPolicy, Vardiff

JOB_SECONDS = 25.0
HASHES_AT_0 = 2**32
"""Hashes that a share of difficulty 1 takes, near enough."""

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
STEPS = st.lists(
    st.tuples(
        st.floats(-1e6, 1e6),
        st.integers(0, 5000),
        st.integers(-60, 80),
        st.one_of(st.none(), st.integers(-40, 64)),
        st.one_of(st.none(), st.integers(-40, 64)),
    ),
    max_size=30,
)


@given(POLICIES, STEPS)
def test_whatever_happens_the_bounds_are_kept(
    policy: DifficultyPolicy, steps: list[tuple[float, int, int, int | None, int | None]]
) -> None:
    """I9: never above the difficulty of a block, unless the pool's own minimum says so."""
    now = 1e9
    vardiff = Vardiff(policy, now)
    for seconds, shares, ceiling, suggestion, wished in steps:
        if suggestion is not None:
            vardiff.suggest(suggestion, now)
        if wished is not None:
            vardiff.wish_at_least(wished)
        for _ in range(shares):
            vardiff.count()
        now += seconds
        exponent = vardiff.retarget(now, ceiling)
        assert policy.minimum <= exponent <= policy.maximum
        assert exponent <= max(ceiling, policy.minimum)


@given(POLICIES, st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 5000)), max_size=20))
def test_one_step_is_bounded(policy: DifficultyPolicy, steps: list[tuple[float, int]]) -> None:
    now = 0.0
    vardiff = Vardiff(policy, now)
    before = vardiff.retarget(now, 64)
    for seconds, shares in steps:
        for _ in range(shares):
            vardiff.count()
        now += seconds
        after = vardiff.retarget(now, 64)
        assert -STEP_DOWN <= after - before <= STEP_UP
        before = after


def mine(vardiff: Vardiff, hashrate: float, seconds: float, seed: int, start: float = 0.0) -> list[int]:
    """The exponents of the jobs that a machine gets whose shares come by a Poisson process."""
    chance = random.Random(seed)
    exponents = []
    now = start
    while now < start + seconds:
        exponent = vardiff.retarget(now, 64)
        exponents.append(exponent)
        expected = hashrate * JOB_SECONDS / (2.0**exponent * HASHES_AT_0)
        # A flood is cut at what counts: far more than any verdict needs.
        spread = round(chance.gauss(expected, expected**0.5)) if expected > 50 else poisson(chance, expected)
        for _ in range(min(max(spread, 0), 2000)):
            vardiff.count()
        now += JOB_SECONDS
    return exponents


def poisson(chance: random.Random, expected: float) -> int:
    count, left = 0, chance.expovariate(1.0)
    while left < expected:
        count += 1
        left += chance.expovariate(1.0)
    return count


@settings(max_examples=60)
@given(
    magnitude=st.floats(9, 17),
    rate=st.sampled_from([1.0, 3.0, 12.0, 60.0]),
    seed=st.integers(0, 2**32),
)
def test_machines_from_a_gigahash_to_a_hundred_petahash_converge(
    magnitude: float, rate: float, seed: int
) -> None:
    policy = DifficultyPolicy(start=14, minimum=-20, maximum=40, shares_per_minute=rate)
    hashrate = 10.0**magnitude
    ideal = log2(hashrate * 60 / rate / HASHES_AT_0)
    # At one share a minute a verdict takes forty minutes.
    exponents = mine(Vardiff(policy, 0.0), hashrate, 4 * 3600 * max(1.0, 6 / rate), seed)
    settled = exponents[len(exponents) // 2 :]
    near = sum(abs(exponent - ideal) <= 1.6 for exponent in settled)
    assert near >= 0.9 * len(settled), (ideal, settled)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0, 6.0, 12.0, 150.0])
def test_a_machine_that_fell_silent_comes_down_to_the_minimum(rate: float) -> None:
    policy = DifficultyPolicy(start=14, minimum=2, maximum=40, shares_per_minute=rate)
    vardiff = Vardiff(policy, 0.0)
    exponents = [
        vardiff.retarget(at * JOB_SECONDS, 64) for at in range(int(3600 / JOB_SECONDS * 12 / min(rate, 12)))
    ]
    assert exponents[-1] == 2
    assert exponents == sorted(exponents, reverse=True)


def test_a_flood_is_answered_with_the_next_job() -> None:
    policy = DifficultyPolicy(start=0, minimum=0, maximum=40, shares_per_minute=12)
    vardiff = Vardiff(policy, 0.0)
    for _ in range(100):
        vardiff.count()
    assert vardiff.retarget(1.0, 64) == 3


def test_a_clock_that_steps_back_starts_the_count_anew() -> None:
    policy = DifficultyPolicy(start=5, minimum=0, maximum=40, shares_per_minute=12)
    vardiff = Vardiff(policy, 1000.0)
    for _ in range(100):
        vardiff.count()
    assert vardiff.retarget(10.0, 64) == 5
    assert vardiff.retarget(30.0, 64) == 5, "four expected and none seen prove nothing yet"
    assert vardiff.retarget(70.0, 64) == 1, "and from there on it works as ever"


def test_a_machine_near_the_wish_is_left_alone() -> None:
    policy = DifficultyPolicy(start=10, minimum=0, maximum=40, shares_per_minute=12)
    exponents = mine(Vardiff(policy, 0.0), 12 / 60 * 2**10 * HASHES_AT_0, 12 * 3600, seed=1)
    changes = sum(one != other for one, other in pairwise(exponents))
    assert changes <= len(exponents) // 100


def test_q61_a_suggestion_repeated_as_keep_alive_does_not_undo_the_adjustment() -> None:
    policy = DifficultyPolicy(start=10, minimum=0, maximum=40, shares_per_minute=12)
    vardiff = Vardiff(policy, 0.0)
    vardiff.suggest(-13, 0.0)
    assert vardiff.retarget(0.0, 64) == 0, "clamped to the floor"
    seen = []
    for at in range(1, 8):
        vardiff.suggest(-13, at * 30.0)
        for _ in range(200):
            vardiff.count()
        seen.append(vardiff.retarget(at * 30.0, 64))
    assert seen[-1] >= 15


def test_the_wished_minimum_is_a_floor() -> None:
    policy = DifficultyPolicy(start=10, minimum=0, maximum=40, shares_per_minute=12)
    vardiff = Vardiff(policy, 0.0)
    vardiff.wish_at_least(12)
    exponents = [vardiff.retarget(at * 25.0, 64) for at in range(100)]
    assert set(exponents) == {12}
    assert vardiff.retarget(3000.0, 7) == 7, "but a block's difficulty is the ceiling"
