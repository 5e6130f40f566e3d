"""Does it pay to come and go? Under PPLNS it does not, under the old proportional scheme it does.

A pool of one honest miner and one that hops. The hopper has one hash of work in ten while it is here; while
it is away it earns elsewhere what work is worth, so it gains by hopping exactly if its work here earns more
than that. The windows and splits are those of the pool, `payouts.pplns`; a block is found by chance, with a
fixed seed. Each strategy sees what a miner can see: how long the round is, how blocks came, its own window.

The proportional scheme, which shares a block over its round alone, must come out as exploitable, or the test
could not tell (Rosenfeld 2011, "Analysis of Bitcoin Pooled Mining Reward Systems": leaving at 43.5 % of a
round's expected length gains most).
"""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest

from payouts.pplns import Entry, split, window
from tests.campaign import extent

pytestmark = pytest.mark.campaign
PAGE: Final = Path(__file__).parents[2] / "docs" / "pplns.md"
NETWORK: Final = 50
"""Work of a block, in shares of work 1."""
MULTIPLE: Final = 2
REWARD: Final = 312_500_000
HONEST, HOPPER = 1, 2
WORTH: Final = Fraction(REWARD, NETWORK)
"""What a share earns anywhere else, in satoshis."""
STRETCHES: Final = 50
"""The run is cut into so many, and their spread says how exact the mean is."""
ROUNDS: Final = extent(100, 2500)
"""Blocks in a stretch."""
NOISE: Final = 4.0
"""Standard errors that chance may make; one strategy in 15,000 gets beyond."""


@dataclass
class View:
    """What a hopper sees before each share."""

    round_work: int = 0
    """Since the last block."""
    last_round: int = 0
    """How long the one before was."""
    own_in_window: int = 0
    clock: int = 0
    recent: deque[int] = field(default_factory=lambda: deque([NETWORK] * 5, maxlen=5))
    """The last rounds' lengths."""


Strategy = Callable[[View], bool]
STRATEGIES: Final[dict[str, Strategy]] = {
    "early in a round": lambda seen: seen.round_work < 0.435 * NETWORK,
    "late in a round": lambda seen: seen.round_work >= NETWORK,
    "after a long round": lambda seen: seen.last_round > 1.5 * NETWORK,
    "after a short round": lambda seen: seen.last_round < 0.5 * NETWORK,
    "while the pool is lucky": lambda seen: sum(seen.recent) < 4 * NETWORK,
    "while the pool is unlucky": lambda seen: sum(seen.recent) > 6 * NETWORK,
    "while its window is thin": lambda seen: seen.own_in_window < 3,
    "in bursts": lambda seen: seen.clock % 500 < 80,
    "always": lambda seen: True,
}


@dataclass
class Earned:
    """Satoshis of the hopper and its shares, in one stretch."""

    amount: int = 0
    shares: int = 0


Scheme = Callable[[deque[int], int], int]
"""The hopper's part of a block that the newest share found, by the shares and the length of the round."""


def pplns(shares: deque[int], _: int) -> int:
    """The pool's own functions."""
    return part(shares, MULTIPLE * NETWORK)


def proportional(shares: deque[int], round_work: int) -> int:
    """The same, were a block shared over its round alone."""
    return part(shares, round_work)


def part(shares: deque[int], size: int) -> int:
    newest_first = (Entry(len(shares) - age, who, 1) for age, who in enumerate(reversed(shares)))
    return split(REWARD, 0, window(newest_first, size).by_miner).amounts.get(HOPPER, 0)


def stretches(strategy: Strategy, scheme: Scheme, seed: int = 20261124) -> Iterator[Earned]:
    """What the hopper earned in each stretch of blocks."""
    chance = random.Random(seed)
    seen = View()
    shares: deque[int] = deque([HONEST] * (MULTIPLE * NETWORK), maxlen=50 * NETWORK)
    for _ in range(STRETCHES):
        earned = Earned()
        blocks = 0
        while blocks < ROUNDS:
            seen.clock += 1
            who = HOPPER if chance.random() < 0.1 else HONEST
            if who == HOPPER and not strategy(seen):
                continue  # its work goes elsewhere
            seen.own_in_window += (who == HOPPER) - (shares[-MULTIPLE * NETWORK] == HOPPER)
            shares.append(who)
            seen.round_work += 1
            earned.shares += who == HOPPER
            if chance.random() < 1 / NETWORK:
                earned.amount += scheme(shares, seen.round_work)
                seen.last_round, seen.round_work = seen.round_work, 0
                seen.recent.append(seen.last_round)
                blocks += 1
        yield earned


def gain(earned: list[Earned]) -> tuple[float, float]:
    """By how much a share earned more than its worth (0 is fair), and the standard error of that."""
    each = [float(one.amount - WORTH * one.shares) for one in earned]
    whole = float(WORTH * sum(one.shares for one in earned))
    return sum(each) / whole, statistics.stdev(each) * len(each) ** 0.5 / whole


@pytest.mark.parametrize("name", STRATEGIES)
def test_hopping_earns_nothing_beyond_noise(name: str) -> None:
    more, error = gain(list(stretches(STRATEGIES[name], pplns)))
    print(f"pplns, {name}: {more:+.2%} ± {error:.2%}")
    assert error < 0.04  # else the test says nothing
    assert abs(more) < NOISE * error


@pytest.mark.parametrize(("name", "sign"), [("early in a round", 1), ("late in a round", -1)])
def test_the_same_hopper_would_gain_under_the_proportional_scheme(name: str, sign: int) -> None:
    """So the test above would tell."""
    more, error = gain(list(stretches(STRATEGIES[name], proportional)))
    print(f"proportional, {name}: {more:+.2%} ± {error:.2%}")
    assert more * sign > 0.3
    assert more * sign > 5 * NOISE * error


# A change of the difficulty


def value(distance: int, before: int, after: int) -> Fraction:
    """What a share of work 1, `distance` shares before the difficulty changes, earns on average.

    In units of what it was worth when it was made, 1 / before. Every share from it on finds a block with
    probability 1 / difficulty, and as long as it is in that block's window it gets 1 / window of it.
    """
    earned = Fraction(0)
    for age in range(MULTIPLE * max(before, after)):
        network = before if age < distance else after
        if age < MULTIPLE * network:
            earned += Fraction(1, network) * Fraction(1, MULTIPLE * network)
    return earned * before


@pytest.mark.parametrize(("before", "after"), [(100, 104), (100, 120), (100, 96), (120, 100)])
def test_a_change_of_difficulty_moves_value_by_no_more_than_itself(before: int, after: int) -> None:
    """The last half window before a rise earns less, by the rise at most, and the half before it more."""
    size = MULTIPLE * max(before, after)
    change = max(abs(Fraction(after, before) - 1), abs(Fraction(before, after) - 1))
    gains = [value(distance, before, after) - 1 for distance in range(1, size + 1)]
    assert max(abs(one) for one in gains) <= change
    assert abs(sum(gains, Fraction(0))) <= size * change * change  # all together: nothing, to first order
    half = MULTIPLE * before // 2
    last, first = sum(gains[: half - half // 5]), sum(gains[half + half // 5 : MULTIPLE * before])
    assert (last < 0 < first) if after > before else (first < 0 < last)
    assert value(0, before, after) * after == before  # after the change work earns what it is worth
    assert value(size + 1, before, after) == 1  # and so it does long before


def test_what_leaving_before_a_rise_brings_is_as_the_page_says() -> None:
    """A pool of 1 % of the network does 2016 / 100 blocks' work between changes; the rise is 4 %."""
    lost = sum((1 - value(distance, 100, 104) for distance in range(MULTIPLE * 50)), Fraction(0))
    gained = lost / (2016 * 100 // 100)
    assert Fraction("0.0009") < gained < Fraction("0.0011")
    assert "N = 2 and a rise of 4 %, by 0.1 % of its income" in " ".join(PAGE.read_text("utf-8").split())
