"""Four difficulty controllers beside each other: convergence, spread, lost work, floods. A table, and plots.

    .venv/bin/python benchmarks/vardiff_simulation.py [--seeds 20] [--plots docs]

Machines of 1 GH/s to 300 TH/s (vardiff_machines.py) mine two hours in each of four scenarios on each pool
(vardiff_peers.py). Every run is seeded, so that the same code gives the same table; the figure behind ± is
half of the 90 % interval when the machines are drawn anew (bootstrap). Plots need matplotlib.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterable
from itertools import groupby

from rich.console import Console
from rich.table import Table
from vardiff_machines import SIZES, Run, simulate
from vardiff_peers import POOLS

SETTLED = 1800.0
"""Seconds after which a steady machine is looked at for its spread."""
FELL, WOKE, WOKEN = 1800.0, 5400.0, 6300.0
"""When the machines of two scenarios slow down and come back, and until when their peak is looked for."""

Runs = dict[str, list[Run]]
"""Runs of one pool by scenario."""
Measure = Callable[[Runs], float]


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def converged(scenario: str, since: float, until: float, share: float, least: float = 0.0) -> Measure:
    """Seconds until the rate is within a factor of two of the goal and stays there for ten minutes."""
    return lambda of: quantile(
        (run.converged_after(since, until) for run in of[scenario] if run.hashrate(0.0) >= least), share
    )


def offset(scenario: str) -> Measure:
    """Root mean square of log2 of the true share rate over the goal, weighted by time."""

    def measure(of: Runs) -> float:
        pieces = [piece for run in of[scenario] for piece in run.pieces(SETTLED, run.seconds)]
        total = sum(end - begin for begin, end, _ in pieces)
        return float((sum((end - begin) * level * level for begin, end, level in pieces) / total) ** 0.5)

    return measure


def own_spread(scenario: str) -> Measure:
    """90th over 10th percentile of a machine's 5-minute counts over its own mean, all machines together."""

    def measure(of: Runs) -> float:
        ratios: list[float] = []
        for run in of[scenario]:
            counts = run.counted(SETTLED, run.seconds)
            mean = sum(counts) / len(counts)
            ratios += [count / mean for count in counts if mean]
        return quantile(ratios, 0.9) / quantile(ratios, 0.1)

    return measure


def own_offset(scenario: str) -> Measure:
    """The same around the machine's own mean and not around the goal: how much its share rate moves."""

    def measure(of: Runs) -> float:
        total = squares = 0.0
        for run in of[scenario]:
            pieces = [(end - begin, level) for begin, end, level in run.pieces(SETTLED, run.seconds)]
            seconds = sum(weight for weight, _ in pieces)
            mean = sum(weight * level for weight, level in pieces) / seconds
            squares += sum(weight * (level - mean) ** 2 for weight, level in pieces)
            total += seconds
        return float((squares / total) ** 0.5)

    return measure


def goal_spread(scenario: str) -> Measure:
    """90th over 10th percentile of the 5-minute counts over the goal."""

    def measure(of: Runs) -> float:
        counts = [count for run in of[scenario] for count in run.counted(SETTLED, run.seconds)]
        return quantile(counts, 0.9) / max(quantile(counts, 0.1), 0.01)

    return measure


def changes(scenario: str) -> Measure:
    return lambda of: (
        sum(when > SETTLED for run in of[scenario] for when in run.changes)
        / sum((run.seconds - SETTLED) / 3600.0 for run in of[scenario])
    )


def lost(*scenarios: str) -> Measure:
    """Percent of the work done that no difficulty credited."""
    return lambda of: (
        100.0
        * sum(run.lost / run.work for name in scenarios for run in of[name])
        / sum(len(of[name]) for name in scenarios)
    )


def refused(*scenarios: str) -> Measure:
    """Percent of the shares submitted that were refused as too easy."""
    return lambda of: (
        100.0
        * sum(run.refused / run.submitted for name in scenarios for run in of[name])
        / sum(len(of[name]) for name in scenarios)
    )


def peak(scenario: str, since: float, until: float, share: float) -> Measure:
    """Most shares in one minute, as a multiple of the goal."""
    return lambda of: quantile((run.peak(since, until) / run.pool.goal for run in of[scenario]), share)


CHANGING = ("noise", "asleep", "curtailed")
MEASURES: list[tuple[str, str, Measure]] = [
    ("convergence after connecting, s", "median", converged("steady", 0, 7200, 0.5)),
    ("", "90th percentile", converged("steady", 0, 7200, 0.9)),
    ("", "from 20 TH/s, median", converged("steady", 0, 7200, 0.5, 20e12)),
    ("", "from 20 TH/s, 90th percentile", converged("steady", 0, 7200, 0.9, 20e12)),
    ("convergence after a drop to 30 %, s", "median", converged("curtailed", FELL, WOKE, 0.5)),
    ("", "90th percentile", converged("curtailed", FELL, WOKE, 0.9)),
    (
        "convergence after the return, s",
        "from 30 %, 90th percentile",
        converged("curtailed", WOKE, 7200, 0.9),
    ),
    ("", "from sleep, median", converged("asleep", WOKE, 7200, 0.5)),
    ("", "from sleep, 90th percentile", converged("asleep", WOKE, 7200, 0.9)),
    ("5-minute counts of a machine, p90/p10", "steady", own_spread("steady")),
    ("", "wandering by 20 %", own_spread("noise")),
    ("true rate over its own mean, rms log2", "steady", own_offset("steady")),
    ("", "wandering by 20 %", own_offset("noise")),
    ("5-minute counts over the goal, p90/p10", "steady", goal_spread("steady")),
    ("true rate over the goal, rms log2", "steady", offset("steady")),
    ("", "wandering by 20 %", offset("noise")),
    ("changes of difficulty an hour", "steady", changes("steady")),
    ("", "wandering by 20 %", changes("noise")),
    ("work lost at changes, %", "steady", lost("steady")),
    ("", "wandering, sleep, curtailment", lost(*CHANGING)),
    ("shares refused as too easy, %", "steady", refused("steady")),
    ("", "wandering, sleep, curtailment", refused(*CHANGING)),
    (
        "most shares in a minute, times the goal",
        "after connecting, 90th percentile",
        peak("steady", 0, FELL, 0.9),
    ),
    ("", "after an hour asleep, median", peak("asleep", WOKE, WOKEN, 0.5)),
    ("", "after an hour asleep, maximum", peak("asleep", WOKE, WOKEN, 1.0)),
    ("", "after an hour at 30 %, median", peak("curtailed", WOKE, WOKEN, 0.5)),
]


def with_noise(measure: Measure, of: Runs) -> tuple[float, float]:
    """The figure, and half of its 90 % interval when the machines are drawn anew."""
    chance = random.Random(1)
    by_size = [
        list(group)
        for _, group in groupby(range(len(of["steady"])), lambda at: at * SIZES // len(of["steady"]))
    ]
    drawn = []
    for _ in range(40):
        chosen = [chance.choice(size) for size in by_size for _ in size]
        drawn.append(measure({name: [runs[at] for at in chosen] for name, runs in of.items()}))
    return measure(of), (quantile(drawn, 0.95) - quantile(drawn, 0.05)) / 2


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seeds", type=int, default=20, help="machines of each of the 12 sizes")
    options.add_argument("--plots", help="folder for the plots; without it none are made")
    chosen = options.parse_args()
    began = time.monotonic()
    results = simulate(chosen.seeds)
    table = Table("measure", "", *(kind.name for kind in POOLS))
    for group, name, measure in MEASURES:
        figures = [
            with_noise(measure, {scenario: of[kind.name] for scenario, of in results.items()})
            for kind in POOLS
        ]
        table.add_row(group, name, *(f"{figure:.3g} ±{noise:.2g}" for figure, noise in figures))
    Console(width=150).print(table)
    print(f"{SIZES * chosen.seeds} machines, 4 scenarios of two hours; {time.monotonic() - began:.0f} s")
    if chosen.plots:
        from vardiff_plots import draw  # noqa: PLC0415  # matplotlib is not needed for the table

        draw(results, chosen.plots)


if __name__ == "__main__":
    main()
